//! The timeline of several ranks: the same bodies on threads and under `mpirun`.

#![allow(clippy::unwrap_used)]

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use braidnet_comm::testing::{RankTest, run_rank_tests};
use braidnet_comm::{Communicator, set_thread_rank};
use braidnet_monitor::timeline::{self, Event, Trace};
use braidnet_monitor::{MonitorError, logging};
use serde_json::Value;
use tracing::trace_span;

const TESTS: &[RankTest] = &[
    ("clocks_agree", clocks_agree),
    ("one_trace_holds_every_span_once", one_trace_holds_every_span_once),
    ("the_file_is_in_the_trace_event_format", the_file_is_in_the_trace_event_format),
    ("only_windows_are_recorded", only_windows_are_recorded),
];

fn main() {
    logging::init(Some(timeline::layer())).unwrap();
    run_rank_tests(TESTS);
}

type Checked = Result<(), String>;

fn text(error: impl Display) -> String {
    error.to_string()
}

fn check(holds: bool, what: impl Display) -> Checked {
    if holds { Ok(()) } else { Err(what.to_string()) }
}

/// Writes the timeline to a new folder and looks at it on rank 0.
fn write_and_check(world: &Communicator, look: impl Fn(PathBuf) -> Checked) -> Checked {
    let folder = if world.rank() == 0 { Some(tempfile::tempdir().map_err(text)?) } else { None };
    let path = folder.as_ref().map(|folder| folder.path().display().to_string());
    let path: String = world.broadcast(0, path, &()).map_err(text)?;
    timeline::write(&path, world).map_err(text)?;
    let looked = if world.rank() == 0 { look(PathBuf::from(path).join("trace.json")) } else { Ok(()) };
    world.barrier().map_err(text)?;
    looked
}

fn read(path: PathBuf) -> Result<Trace, String> {
    timeline::read(path).map_err(text)
}

/// The spans of one rank with one name. Messages between ranks have spans of their own, so tests look for theirs.
fn named<'a>(trace: &'a Trace, rank: usize, name: &str) -> Vec<&'a Event> {
    trace.events.iter().filter(|event| event.rank == rank && event.name == name).collect()
}

fn only<'a>(trace: &'a Trace, rank: usize, name: &str) -> Result<&'a Event, String> {
    match named(trace, rank, name)[..] {
        [event] => Ok(event),
        ref others => Err(format!("{} spans `{name}` of rank {rank}, expected one", others.len())),
    }
}

fn end(event: &Event) -> u64 {
    event.start_ns + event.duration_ns
}

/// What happens after a message on one rank is later in the trace than what happened before it on another. The clocks of
/// processes are made to differ by more than the pauses here.
fn clocks_agree(world: &Communicator) -> Checked {
    let pause = || thread::sleep(Duration::from_millis(20));
    timeline::record(true);
    if world.rank() == 0 {
        trace_span!(target: "braidnet::timeline", "first").in_scope(|| thread::sleep(Duration::from_millis(200)));
        for rank in 1..world.size() {
            trace_span!(target: "braidnet::timeline", "ping", rank).in_scope(pause);
            world.send(rank, 0, ()).map_err(text)?;
            world.receive::<()>(rank, 0).map_err(text)?.wait(&()).map_err(text)?;
        }
        trace_span!(target: "braidnet::timeline", "last").in_scope(pause);
    } else {
        // Without a span of its own up to here, so that the clock of a process of its own begins here.
        thread::sleep(Duration::from_millis(150));
        world.receive::<()>(0, 0).map_err(text)?.wait(&()).map_err(text)?;
        trace_span!(target: "braidnet::timeline", "pong").in_scope(pause);
        world.send(0, 0, ()).map_err(text)?;
    }
    timeline::record(false);
    write_and_check(world, |path| {
        let trace = read(path)?;
        let pings = named(&trace, 0, "ping");
        let last = only(&trace, 0, "last")?;
        check(only(&trace, 0, "first")?.start_ns == 0, "the trace does not begin at 0")?;
        for (ping, rank) in pings.iter().zip(1..) {
            check(ping.args["rank"] == rank, "pings out of order")?;
            let pong = only(&trace, rank, "pong")?;
            check(ping.start_ns < pong.start_ns, format!("rank {rank} answers before it is asked"))?;
            check(pong.start_ns < last.start_ns, format!("rank {rank} answers after its answer came"))?;
        }
        check(pings.len() + 1 == world.size(), "a ping is missing")
    })
}

/// A step with phases inside, and a helper thread.
fn work(rank: usize) {
    let step = trace_span!(target: "braidnet::timeline", "step", step = 7, loss = tracing::field::Empty).entered();
    {
        let _forward = trace_span!(target: "braidnet::timeline", "forward", level = 0, kind = "F").entered();
        for sweep in 0..2 {
            trace_span!(target: "braidnet::timeline", "relax", sweep).in_scope(thread::yield_now);
        }
    }
    step.record("loss", 0.5);
    let load = move || {
        set_thread_rank(rank);
        trace_span!(target: "braidnet::timeline", "load").in_scope(thread::yield_now);
    };
    thread::Builder::new().name("loader".into()).spawn(load).unwrap().join().unwrap();
    tracing::trace_span!("not of the timeline").in_scope(thread::yield_now);
}

fn one_trace_holds_every_span_once(world: &Communicator) -> Checked {
    timeline::record(true);
    work(world.rank());
    timeline::record(false);
    write_and_check(world, |path| {
        let trace = read(path)?;
        for rank in 0..world.size() {
            let (step, forward) = (only(&trace, rank, "step")?, only(&trace, rank, "forward")?);
            let relax = named(&trace, rank, "relax");
            check(relax.len() == 2, format!("{} spans `relax` of rank {rank}", relax.len()))?;
            check(relax[0].args["sweep"] == 0 && end(relax[0]) <= relax[1].start_ns, "order of two spans")?;
            for (outer, inner) in [(step, forward), (forward, relax[0]), (forward, relax[1])] {
                let is_inside = outer.start_ns <= inner.start_ns && end(inner) <= end(outer);
                check(is_inside, format!("{} is not inside {}", inner.name, outer.name))?;
                check(outer.thread == inner.thread, "one thread, two numbers")?;
            }
            check(step.args["step"] == 7 && step.args["loss"] == 0.5, format!("fields {:?}", step.args))?;
            check(forward.args["kind"] == "F", format!("fields {:?}", forward.args))?;
            let load = only(&trace, rank, "load")?;
            check(trace.threads[&(rank, load.thread)] == "loader", "the name of a thread")?;
            check(named(&trace, rank, "not of the timeline").is_empty(), "a span of another target")?;
        }
        check(trace.n_dropped == 0, "spans were dropped")
    })?;
    write_and_check(world, |path| {
        let left = read(path)?.events.into_iter().filter(|event| event.name == "step").count();
        check(left == 0, format!("{left} spans were written a second time"))
    })
}

/// What the description of the format asks of each kind of event.
fn the_file_is_in_the_trace_event_format(world: &Communicator) -> Checked {
    timeline::record(true);
    work(world.rank());
    timeline::record(false);
    write_and_check(world, |path| {
        let document: Value = serde_json::from_slice(&fs::read(&path).map_err(text)?).map_err(text)?;
        let events = document["traceEvents"].as_array().ok_or("no array `traceEvents`")?;
        let mut names = vec![0; world.size()];
        for event in events {
            let pid = event["pid"].as_u64().ok_or("no pid")? as usize;
            check(event["tid"].is_u64() && event["name"].is_string() && event["cat"].is_string(), event)?;
            match event["ph"].as_str() {
                Some("X") => {
                    let time = |key: &str| event[key].as_f64().is_some_and(|time| time >= 0.0);
                    check(time("ts") && time("dur") && event["args"].is_object(), event)?;
                }
                Some("M") if event["name"] == "process_name" => {
                    check(event["args"]["name"] == format!("rank {pid}"), event)?;
                    names[pid] += 1;
                }
                Some("M") if event["name"] == "process_sort_index" => check(event["args"]["sort_index"] == pid, event)?,
                Some("M") if event["name"] == "thread_name" => check(event["args"]["name"].is_string(), event)?,
                _ => return Err(format!("an event of another kind: {event}")),
            }
        }
        check(names.iter().all(|&n| n == 1), format!("names of ranks: {names:?}"))?;
        check(!path.with_added_extension("tmp").exists(), "a temporary file is left")
    })
}

fn only_windows_are_recorded(world: &Communicator) -> Checked {
    let span = |name: u64| trace_span!(target: "braidnet::timeline", "probe", name).in_scope(|| ());
    let everyone = || world.barrier().map_err(text);
    // The switch is one for all ranks of a process, so no rank may switch before all are here.
    span(0);
    everyone()?;
    timeline::record(true);
    span(1);
    everyone()?;
    timeline::record(false);
    everyone()?;
    span(2);
    everyone()?;
    timeline::record(true);
    timeline::record(true);
    span(3);
    everyone()?;
    timeline::record(false);
    everyone()?;
    span(4);
    write_and_check(world, |path| {
        let trace = read(path)?;
        for rank in 0..world.size() {
            let names: Vec<_> = named(&trace, rank, "probe").iter().map(|event| event.args["name"].clone()).collect();
            check(names == [1, 3], format!("rank {rank} recorded {names:?}"))?;
        }
        Ok(())
    })?;
    check(matches!(logging::init(None), Err(MonitorError::LoggingStarted)), "logging started twice")
}
