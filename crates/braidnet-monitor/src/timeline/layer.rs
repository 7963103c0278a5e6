//! The layer that turns spans into records.

use std::cell::RefCell;
use std::fmt::Debug;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use super::{TARGET, recorder};

/// The layer that records the timeline, for [`logging::init`](crate::logging::init), or
/// [`filtered`](Self::filtered) for a subscriber of one's own.
#[derive(Debug, Clone, Copy)]
pub struct TimelineLayer(());

/// The layer that records the timeline, once [`record`](super::record) switches it on.
pub fn layer() -> TimelineLayer {
    TimelineLayer(())
}

impl TimelineLayer {
    /// The layer together with the filter that lets it see its own spans only, and those only while recording.
    pub fn filtered<S>(self) -> impl Layer<S> + Send + Sync
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        Recording.with_filter(Wanted)
    }
}

/// Lets spans of the timeline pass while recording.
struct Wanted;

impl<S> Filter<S> for Wanted {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        is_phase(metadata) && recorder::is_on()
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Right until recording is switched: that makes every callsite ask again.
        if is_phase(metadata) && recorder::is_on() { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if recorder::is_on() { LevelFilter::TRACE } else { LevelFilter::OFF })
    }
}

fn is_phase(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TARGET
}

thread_local! {
    /// The spans that this thread is in, and since when.
    static OPEN: RefCell<Vec<(Id, u64)>> = const { RefCell::new(Vec::new()) };
}

/// Measures spans from entering to leaving.
struct Recording;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recording {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut args = Args::default();
        attributes.record(&mut args);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(args);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(args) = span.extensions_mut().get_mut::<Args>()
        {
            values.record(args);
        }
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        OPEN.with_borrow_mut(|open| open.push((id.clone(), recorder::now_ns())));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let start = OPEN.with_borrow_mut(|open| {
            let place = open.iter().rposition(|(other, _)| other == id)?;
            Some(open.remove(place).1)
        });
        if let (Some(start), Some(span)) = (start, context.span(id)) {
            let args = span.extensions().get::<Args>().map(|args| args.0.clone());
            recorder::keep(span.name(), start, args.unwrap_or_default());
        }
    }
}

/// The fields of a span.
#[derive(Debug, Default)]
struct Args(recorder::Args);

impl Args {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.push((field.name(), value.into()));
    }
}

impl Visit for Args {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }
}
