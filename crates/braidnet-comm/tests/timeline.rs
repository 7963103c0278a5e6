//! The spans that timelines are made of.

#![allow(clippy::unwrap_used)]

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use braidnet_comm::{CommError, Communicator, Launch, ReduceOp, launch, thread_rank};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Writes every span of rank 0 in the timeline down, with its field. It is the subscriber of the whole process: one that comes
/// and goes on one thread races with the other's first use of a span.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {field} {value:?}");
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "braidnet::timeline" && *metadata.level() == Level::TRACE
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(span.metadata().name().to_owned());
        span.record(&mut line);
        if thread_rank() == Some(0) {
            self.0.lock().unwrap().push(line.0);
        }
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn event(&self, _event: &Event<'_>) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

/// The spans of rank 0 of two.
fn spans_of(spans: &Spans, program: fn(&Communicator) -> Result<(), CommError>) -> Vec<String> {
    launch(&Launch::ranks(2), |world| program(&world)).unwrap();
    std::mem::take(&mut spans.0.lock().unwrap())
}

#[test]
fn every_call_has_its_span() {
    let all = Spans::default();
    tracing::subscriber::set_global_default(all.clone()).unwrap();
    let spans_of = |program| spans_of(&all, program);
    let lines = spans_of(|world| {
        let other = 1 - world.rank();
        world.send(other, 0, 1u64)?;
        world.receive::<u64>(other, 0)?.wait(&()).map(drop)
    });
    assert_eq!(lines, ["send to 1", "wait from 1"]);
    let lines = spans_of(|world| world.barrier());
    assert_eq!(lines, ["barrier", "send to 1", "wait from 1"]);
    assert_eq!(spans_of(|world| world.broadcast(0, Some(1u64), &()).map(drop)), ["broadcast", "send to 1"]);
    assert_eq!(spans_of(|world| world.gather(0, 1u64, &()).map(drop)), ["gather", "wait from 1"]);
    let all_reduce = ["all-reduce", "wait from 1", "send to 1"];
    assert_eq!(spans_of(|world| world.all_reduce(&mut [1.0], ReduceOp::Sum)), all_reduce);
    assert_eq!(spans_of(|world| world.start_all_reduce(vec![1.0], ReduceOp::Sum)?.wait().map(drop)), all_reduce);
}
