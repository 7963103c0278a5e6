//! The table at the end of the examples that train.

use std::path::Path;
use std::time::Duration;

use braidnet::prelude::*;
use braidnet::train::memory;

/// One line of the final table.
pub struct Row {
    pub name: String,
    /// Right part of the test set, by the exact forward pass and by the schedule's; none if the run stopped before its first
    /// evaluation.
    pub accuracy: [Option<f64>; 2],
    /// Median, and first and last decile, of a training step.
    pub step: [Duration; 3],
    /// Peak memory of the process in bytes.
    pub memory: Option<u64>,
    /// Whether the schedule's gradients are exact.
    pub is_exact: bool,
    /// Gradient errors: first step, median and last step of those measured, if any were.
    pub gradient_error: Option<[f64; 3]>,
    /// How the run ended.
    pub end: String,
}

impl Row {
    /// The line of a run of `schedule` that came to `outcome`; `out` is its folder.
    pub fn new(
        name: &str,
        accuracy: [Option<f64>; 2],
        schedule: &Schedule,
        out: Option<&Path>,
        outcome: &Outcome,
    ) -> Self {
        let errors: Vec<f64> = outcome.gradient_errors.iter().map(|error| error.relative).collect();
        Self {
            name: name.to_owned(),
            accuracy,
            step: deciles(outcome.steps.clone()),
            memory: memory::peak(),
            is_exact: schedule.is_exact(),
            gradient_error: summary(&errors),
            end: match (outcome.end, out) {
                (End::Finished, _) => "finished".to_owned(),
                (End::Stopped, Some(_)) => format!("stopped at step {}; resume with --resume auto", outcome.step),
                (End::Stopped, None) => format!("stopped at step {}; nothing is saved without --out", outcome.step),
            },
        }
    }
}

/// First decile, median, last decile.
fn deciles(mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort_unstable();
    let at = |tenths: usize| times.get(tenths * times.len().saturating_sub(1) / 10).copied().unwrap_or_default();
    [at(1), at(5), at(9)]
}

/// First, median, last.
fn summary(errors: &[f64]) -> Option<[f64; 3]> {
    let mut sorted = errors.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Some([*errors.first()?, sorted[sorted.len() / 2], *errors.last()?])
}

/// The table, with the speed-up over its first row.
pub fn print_table(rows: &[Row]) {
    let heads = [
        "",
        "test accuracy",
        "as scheduled",
        "ms per step (10-90 %)",
        "peak memory",
        "speed-up",
        "gradient error start/median/end",
    ];
    let [name, exact, scheduled, step, memory, speed_up, error] = heads;
    println!("\n{name:<26} {exact:>14} {scheduled:>13} {step:>24} {memory:>12} {speed_up:>9} {error:>32}");
    for row in rows {
        let [low, median, high] = row.step.map(|d| d.as_secs_f64() * 1e3);
        let speed_up = rows.first().filter(|_| rows.len() > 1).map(|first| first.step[1].as_secs_f64() * 1e3 / median);
        let [exact, scheduled] =
            row.accuracy.map(|part| part.map_or("-".to_owned(), |part| format!("{:.2} %", 100.0 * part)));
        let error = match row.gradient_error {
            _ if row.is_exact => "exact".to_owned(),
            Some(errors) => errors.map(|e| format!("{:.2} %", 100.0 * e)).join(" / "),
            None => "not measured".to_owned(),
        };
        println!(
            "{:<26} {exact:>14} {scheduled:>13} {:>24} {:>12} {:>9} {:>32}",
            row.name,
            if median > 0.0 { format!("{median:.1} ({low:.1}-{high:.1})") } else { "-".to_owned() },
            row.memory.map_or("unknown".to_owned(), |bytes| format!("{:.0} MiB", bytes as f64 / (1 << 20) as f64)),
            speed_up.map_or(String::new(), |s| format!("{s:.2}")),
            error,
        );
    }
}
