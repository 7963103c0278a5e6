//! The table at the end.

use std::fmt::Write;
use std::time::Duration;

/// One kill, for the table.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// What was done.
    pub blow: &'static str,
    /// What the job was doing.
    pub phase: &'static str,
    /// Until all of its processes were gone.
    pub gone_after: Duration,
    /// Steps since the newest checkpoint.
    pub lost_steps: u64,
}

/// Kills by kind and phase.
pub fn table(outcomes: &[Outcome], n_runs: usize, n_steps: u64) -> String {
    let mut rows: Vec<(&str, &str)> = outcomes.iter().map(|outcome| (outcome.blow, outcome.phase)).collect();
    rows.sort_unstable();
    rows.dedup();
    let mut table =
        format!("{:20} {:12} {:>5}  {:>12}  {:>14}\n", "what", "phase", "kills", "gone after", "steps to redo");
    for row in rows {
        let those = || outcomes.iter().filter(|outcome| (outcome.blow, outcome.phase) == row);
        let gone = those().map(|outcome| outcome.gone_after.as_secs_f64()).fold(0.0, f64::max);
        let lost = those().map(|outcome| outcome.lost_steps).max().unwrap_or(0);
        // Writing to a string does not fail.
        let _ = writeln!(table, "{:20} {:12} {:5}  {gone:10.2} s  {lost:14}", row.0, row.1, those().count());
    }
    let n = outcomes.len();
    let _ = write!(table, "{n} kills in {n_runs} runs of {n_steps} steps: every loss is the undisturbed one");
    table
}
