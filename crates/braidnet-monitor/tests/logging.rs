//! What appears on stderr, in a process of its own: a process can start logging once.

#![allow(clippy::unwrap_used)]

use std::env;
use std::process::Command;
use std::thread;

use braidnet_comm::set_thread_rank;
use braidnet_monitor::{logging, timeline};

const CHILD: &str = "BRAIDNET_LOGGING_CHILD";

/// What the tests below start: three ranks, one after the other, log within a span of the timeline.
#[test]
fn child() {
    if env::var_os(CHILD).is_none() {
        return;
    }
    if let Err(error) = logging::init(Some(timeline::layer())) {
        eprintln!("refused: {error}");
        return;
    }
    tracing::info!(target: "braidnet_train", "no rank");
    for rank in 0..3 {
        let rank = move || {
            set_thread_rank(rank);
            tracing::trace_span!(target: "braidnet::timeline", "secret").in_scope(|| {
                tracing::debug!(target: "braidnet_train", "fine");
                tracing::info!(target: "braidnet_train", rank, "hello");
                tracing::info!(target: "another", "chatter");
                tracing::warn!(target: "another", "trouble");
            });
        };
        thread::spawn(rank).join().unwrap();
    }
}

/// The lines of a child, without times.
fn lines(variables: &[(&str, &str)]) -> Vec<String> {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(CHILD, "1");
    command.env_remove("RUST_LOG").env_remove("LOG_RANK").envs(variables.iter().copied());
    let output = command.output().unwrap();
    assert!(output.status.success());
    let without_time =
        |line: &str| line.split_whitespace().filter(|word| !word.ends_with('Z')).collect::<Vec<_>>().join(" ");
    String::from_utf8(output.stderr).unwrap().lines().map(without_time).collect()
}

#[test]
fn by_default_rank_0_speaks() {
    let expected = [
        "INFO braidnet_train: no rank",
        "[rank 0] INFO braidnet_train: hello rank=0",
        "[rank 0] WARN another: trouble",
    ];
    assert_eq!(lines(&[]), expected);
    assert_eq!(lines(&[("LOG_RANK", ""), ("RUST_LOG", "")]), expected);
}

#[test]
fn ranks_and_levels_can_be_chosen() {
    let expected = ["[rank 0] WARN another: trouble", "[rank 2] WARN another: trouble"];
    assert_eq!(lines(&[("LOG_RANK", "0,2"), ("RUST_LOG", "warn")]), expected);
    let lines = lines(&[("LOG_RANK", "all"), ("RUST_LOG", "trace")]);
    assert_eq!(lines.len(), 1 + 3 * 4);
    assert_eq!(lines[9], "[rank 2] DEBUG braidnet_train: fine", "spans of the timeline must not appear");
}

#[test]
fn bad_values_are_refused() {
    let expected = "refused: LOG_RANK is `first`; set it to `all`, a rank as `0`, or several as `0,2`";
    assert_eq!(lines(&[("LOG_RANK", "first")]), [expected]);
    let refused = lines(&[("RUST_LOG", "braidnet=loud")]);
    assert!(refused[0].starts_with("refused: RUST_LOG is `braidnet=loud`"), "{refused:?}");
}
