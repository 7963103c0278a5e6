//! Log lines on stderr, each with the rank that wrote it.
//!
//! | variable | chooses | default |
//! |---|---|---|
//! | `RUST_LOG` | levels, overall and per target: `info`, `warn,braidnet=debug` | `warn,braidnet=info` |
//! | `LOG_RANK` | the ranks whose lines appear: `0`, `0,2`, `all` | `0` |
//!
//! ```text
//! [rank 0] 2026-01-31T12:00:00.000000Z  INFO braidnet_train::trainer: epoch 1 done
//! ```
//! Lines of threads that work for no rank have no prefix and always appear.

use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::io;

use braidnet_comm::thread_rank;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{FilterExt, Targets, dynamic_filter_fn, filter_fn};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::MonitorError;
use crate::timeline::{self, TimelineLayer};

/// The levels where `RUST_LOG` says nothing.
const LEVELS: &str = "warn,braidnet=info";

/// Starts logging, and with a layer from [`timeline::layer`] the timeline beside it. Once per process, before the launch.
///
/// # Errors
/// [`MonitorError::BadLogRank`], [`MonitorError::BadLogFilter`], [`MonitorError::LoggingStarted`].
pub fn init(timeline: Option<TimelineLayer>) -> Result<(), MonitorError> {
    let levels = parse_levels(&variable("RUST_LOG").unwrap_or(LEVELS.into()))?;
    let ranks = Ranks::parse(&variable("LOG_RANK").unwrap_or("0".into()))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .event_format(RankFormat(Format::default()))
        .with_filter(lines(levels, ranks));
    let subscriber = Registry::default().with(lines).with(timeline.map(TimelineLayer::filtered));
    subscriber.try_init().map_err(|_| MonitorError::LoggingStarted)
}

/// An environment variable; an empty one counts as none.
fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.trim().is_empty())
}

fn parse_levels(value: &str) -> Result<Targets, MonitorError> {
    let bad = |error: tracing_subscriber::filter::ParseError| MonitorError::BadLogFilter {
        value: value.to_owned(),
        reason: error.to_string(),
    };
    value.parse().map_err(bad)
}

/// Which lines appear. Spans of the timeline are none of them: they would burden every line within.
fn lines<S: Subscriber>(levels: Targets, ranks: Ranks) -> impl tracing_subscriber::layer::Filter<S> {
    levels
        .and(filter_fn(|metadata| metadata.target() != timeline::TARGET))
        .and(dynamic_filter_fn(move |_, _| ranks.contain(thread_rank())))
}

/// The ranks whose lines appear.
#[derive(Debug, PartialEq, Eq)]
enum Ranks {
    All,
    Some(BTreeSet<usize>),
}

impl Ranks {
    fn parse(value: &str) -> Result<Self, MonitorError> {
        if value.trim() == "all" {
            return Ok(Self::All);
        }
        let ranks: Result<_, _> = value.split(',').map(|rank| rank.trim().parse()).collect();
        ranks.map(Self::Some).map_err(|_| MonitorError::BadLogRank { value: value.to_owned() })
    }

    fn contain(&self, rank: Option<usize>) -> bool {
        match (self, rank) {
            (Self::All, _) | (_, None) => true,
            (Self::Some(ranks), Some(rank)) => ranks.contains(&rank),
        }
    }
}

/// The usual line behind the rank.
struct RankFormat(Format);

impl<S, N> FormatEvent<S, N> for RankFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if let Some(rank) = thread_rank() {
            write!(writer, "[rank {rank}] ")?;
        }
        self.0.format_event(ctx, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_chosen() {
        assert_eq!(Ranks::parse("all").unwrap(), Ranks::All);
        assert_eq!(Ranks::parse(" 0, 2 ").unwrap(), Ranks::Some([0, 2].into()));
        for bad in ["", "first", "-1", "0,", "0;2", "all,1"] {
            let message = Ranks::parse(bad).unwrap_err().to_string();
            assert_eq!(message, format!("LOG_RANK is `{bad}`; set it to `all`, a rank as `0`, or several as `0,2`"));
        }
        assert!(Ranks::All.contain(Some(7)));
        let some = Ranks::Some([0, 2].into());
        assert_eq!([None, Some(0), Some(1), Some(2)].map(|rank| some.contain(rank)), [true, true, false, true]);
    }

    #[test]
    fn levels_are_checked() {
        assert!(parse_levels(LEVELS).is_ok());
        let message = parse_levels("braidnet=loud").unwrap_err().to_string();
        assert!(message.starts_with("RUST_LOG is `braidnet=loud` ("), "{message}");
    }
}
