//! What a training step is made of: from outside nobody sees which part of it a kill hits, but how long each part takes
//! is known, and kills at random moments fall into the parts by their shares of the time.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use braidnet_monitor::timeline::{self, Trace};

/// The span around a step.
const STEP: &str = "step";

/// The parts of a step, longest first, with their shares of the time of all ranks.
#[derive(Debug, Clone, PartialEq)]
pub struct Phases(Vec<(String, f64)>);

impl Phases {
    /// Reads them from the timeline of a run that nothing disturbed.
    ///
    /// # Errors
    /// If there is no timeline, or no step in it.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("trace.json");
        let phases = Self::of(&timeline::read(&path)?);
        ensure!(!phases.0.is_empty(), "{} has no steps", path.display());
        Ok(phases)
    }

    /// Spans right inside a step count with all that they hold; what is in none of them is `other`.
    fn of(trace: &Trace) -> Self {
        let (mut times, mut steps) = (BTreeMap::<&str, u64>::new(), 0);
        // Where the step ends that a thread is in, and the span within it.
        let mut ends = BTreeMap::<(usize, usize), (u64, u64)>::new();
        for event in &trace.events {
            let end = event.start_ns + event.duration_ns;
            let (step_end, inner_end) = ends.entry((event.rank, event.thread)).or_default();
            if event.name == STEP {
                (*step_end, *inner_end) = (end, event.start_ns);
                steps += event.duration_ns;
            } else if event.start_ns < *step_end && event.start_ns >= *inner_end {
                *inner_end = end;
                *times.entry(&event.name).or_default() += event.duration_ns;
            }
        }
        if steps == 0 {
            return Self(Vec::new());
        }
        let rest = steps.saturating_sub(times.values().sum());
        times.insert("other", rest);
        let share = |(name, time): (&str, u64)| (name.to_owned(), time as f64 / steps as f64);
        let mut shares: Vec<_> = times.into_iter().map(share).collect();
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
        Self(shares)
    }

    /// How many of `n_kills` at random moments of the training fall into each part on average, as a sentence.
    pub fn expected(&self, n_kills: usize) -> String {
        let part =
            |(name, share): &(String, f64)| format!("{name} {:.0} % ({:.1})", 100.0 * share, share * n_kills as f64);
        let parts: Vec<_> = self.0.iter().map(part).collect();
        format!(
            "{n_kills} kills at random moments of the training; which part of a step each hit is not seen, but they \
             fall into it by its share of the time (so many kills on average): {}",
            parts.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use braidnet_monitor::timeline::Event;

    fn span(name: &str, rank: usize, start_ns: u64, duration_ns: u64) -> Event {
        Event { name: name.to_owned(), rank, thread: 0, start_ns, duration_ns, args: Default::default() }
    }

    #[test]
    fn shares_are_of_what_is_right_inside_a_step() {
        let events = vec![
            span("load", 0, 0, 50),
            span("step", 0, 100, 100),
            span("relax", 0, 110, 40),
            span("wait", 0, 120, 20),
            span("pullback", 0, 150, 20),
            span("checkpoint", 0, 300, 50),
            span("step", 1, 100, 100),
            span("relax", 1, 100, 60),
        ];
        let phases = Phases::of(&Trace { events, ..Trace::default() });
        assert_eq!(
            phases,
            Phases(["relax", "other", "pullback"].map(str::to_owned).into_iter().zip([0.5, 0.4, 0.1]).collect())
        );
        assert!(phases.expected(20).ends_with(": relax 50 % (10.0), other 40 % (8.0), pullback 10 % (2.0)"));
        assert_eq!(Phases::of(&Trace::default()), Phases(Vec::new()));
    }
}
