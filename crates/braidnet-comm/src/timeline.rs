//! Spans of message passing, for timelines: target `braidnet::timeline`, level `TRACE`. Without a subscriber each costs
//! one look at a counter.

/// Enters a span; it ends when the guard is dropped.
macro_rules! span {
    ($name:literal $(, $field:ident = $value:expr)?) => {
        tracing::trace_span!(target: "braidnet::timeline", $name $(, $field = $value)?).entered()
    };
}

pub(crate) use span;
