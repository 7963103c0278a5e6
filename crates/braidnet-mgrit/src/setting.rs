//! What stays the same around all sweeps of a solve, and what they count.

use std::time::{Duration, Instant};

use braidnet_comm::{Communicator, Tag, Transfer};
use tracing::trace_span;

use crate::{MgritError, ResidualForm, State};

/// What one rank counts during a solve.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    pub evaluations: Vec<u64>,
    pub messages: u64,
    pub bytes: u64,
    pub waiting: Duration,
}

/// The surroundings of a sweep that stay the same throughout a solve.
pub(crate) struct Setting<S: State> {
    pub comm: Communicator,
    pub context: <S as Transfer>::Context,
    pub batch: usize,
    pub form: ResidualForm,
    pub way: Way,
}

/// What a solver solves for; names its sweeps in a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// States.
    Forward,
    /// The adjoint.
    Adjoint,
}

impl Way {
    /// What a sweep computes.
    pub fn work(self) -> &'static str {
        match self {
            Self::Forward => "forward pass",
            Self::Adjoint => "adjoint",
        }
    }

    /// The span of a sweep over `level`.
    pub fn span(self, level: usize) -> tracing::Span {
        match (self, level) {
            (Self::Forward, 0) => trace_span!(target: TIMELINE, "relax"),
            (Self::Forward, _) => trace_span!(target: TIMELINE, "coarse solve", level),
            (Self::Adjoint, 0) => trace_span!(target: TIMELINE, "pullback"),
            (Self::Adjoint, _) => trace_span!(target: TIMELINE, "coarse pullback", level),
        }
    }
}

/// Spans of this target make up a timeline.
pub(crate) const TIMELINE: &str = "braidnet::timeline";

impl<S: State> Setting<S> {
    pub fn send(&self, to: usize, tag: Tag, state: S, counters: &mut Counters) -> Result<(), MgritError> {
        counters.messages += 1;
        counters.bytes += state.n_bytes() as u64;
        Ok(self.comm.send(to, tag, state)?)
    }

    pub fn wait(&self, message: braidnet_comm::Receive<S>, counters: &mut Counters) -> Result<S, MgritError> {
        let start = Instant::now();
        let state = message.wait(&self.context)?;
        counters.waiting += start.elapsed();
        Ok(state)
    }
}
