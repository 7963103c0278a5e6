//! The table at the end.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use super::strike::{Blow, Phase};

/// One kill, for the table.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was done.
    pub blow: Blow,
    /// What the job was doing.
    pub phase: Phase,
    /// The exit code or signal that it ended with.
    pub end: String,
    /// Until all of its processes were gone.
    pub gone_after: Duration,
    /// Steps since the newest checkpoint.
    pub lost_steps: u64,
}

/// Kills by kind and phase.
pub fn table(outcomes: &[Outcome]) -> String {
    let row_of = |outcome: &Outcome| (outcome.blow.name(), outcome.phase);
    let rows: BTreeSet<_> = outcomes.iter().map(row_of).collect();
    let mut table = format!(
        "{:20} {:12} {:>5}  {:>12}  {:>13}  ended with\n",
        "what", "phase", "kills", "gone after", "steps to redo"
    );
    for row in rows {
        let those = || outcomes.iter().filter(|outcome| row_of(outcome) == row);
        let gone = those().map(|outcome| outcome.gone_after.as_secs_f64()).fold(0.0, f64::max);
        let lost = those().map(|outcome| outcome.lost_steps).max().unwrap_or(0);
        let ends: BTreeSet<_> = those().map(|outcome| outcome.end.as_str()).collect();
        let ends = ends.into_iter().collect::<Vec<_>>().join(", ");
        // Writing to a string does not fail.
        let _ =
            writeln!(table, "{:20} {:12} {:5}  {gone:10.2} s  {lost:13}  {ends}", row.0, row.1.name(), those().count());
    }
    table
}
