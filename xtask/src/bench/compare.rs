//! Two runs of a suite side by side: what moved beyond its spread, and how much.

use std::fmt::Write;

use braidnet_monitor::{Measurement, Seconds};

use super::results::{Key, Results};
use super::table::milliseconds;

/// What is compared of a measurement.
type Value = fn(&Measurement) -> Option<f64>;

/// Values without a spread, and the least share by which they must change to count as moved.
const VALUES: [(&str, Value, f64); 6] = [
    ("instructions", |one| one.count.map(|count| count as f64), 0.005),
    ("launches", |one| one.launches.map(|launches| launches as f64), 0.005),
    ("gradient error", |one| one.gradient_error, 0.01),
    ("gradient error after training", |one| one.gradient_error_trained, 0.01),
    ("state error", |one| one.state_error, 0.01),
    ("peak memory", |one| one.peak_bytes.map(|bytes| bytes as f64), 0.1),
];
/// Errors below this are rounding, which may differ from build to build.
const ROUNDING: f64 = 1e-5;

/// What two runs differ in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Comparison {
    /// What moved, in words.
    pub moved: Vec<String>,
    /// How many measurements did not move.
    pub n_still: usize,
    /// What only the earlier run measured.
    pub only_before: Vec<String>,
    /// What only the later run measured.
    pub only_after: Vec<String>,
    /// Whether the runs are of machines alike.
    pub is_same_machine: bool,
}

impl Comparison {
    /// Compares what both runs measured. Times moved where the intervals from the first to the last decile do not
    /// overlap; values without a spread, where they changed by more than they do by chance.
    pub fn of(before: &Results, after: &Results) -> Self {
        let is_same_machine = before.machine.is_like(&after.machine);
        let mut comparison = Self { is_same_machine, ..Self::default() };
        for new in &after.measurements {
            match before.measurements.iter().find(|old| Key::of(old) == Key::of(new)) {
                None => comparison.only_after.push(Key::of(new).to_string()),
                Some(old) => match moves(old, new) {
                    moves if moves.is_empty() => comparison.n_still += 1,
                    moves => comparison.moved.extend(moves.iter().map(|what| format!("{}: {what}", Key::of(new)))),
                },
            }
        }
        let is_gone = |old: &&Measurement| !after.measurements.iter().any(|new| Key::of(new) == Key::of(old));
        comparison.only_before =
            before.measurements.iter().filter(is_gone).map(|old| Key::of(old).to_string()).collect();
        comparison
    }

    /// The comparison in Markdown, with the earlier run's name.
    pub fn markdown(&self, earlier: &str) -> String {
        let mut text = format!("Compared with {earlier}: {} moved, {} did not.\n", self.moved.len(), self.n_still);
        if !self.is_same_machine {
            text += "\nThe machines differ: only ratios of one run can be compared, not times.\n";
        }
        for (heading, lines) in [
            ("Moved beyond the spread", &self.moved),
            ("Measured only in the earlier run", &self.only_before),
            ("Measured only in this run", &self.only_after),
        ] {
            if !lines.is_empty() {
                // Writing to a string does not fail.
                let _ = write!(text, "\n{heading}:\n\n");
                lines.iter().for_each(|line| text += &format!("- {line}\n"));
            }
        }
        text
    }
}

fn moves(old: &Measurement, new: &Measurement) -> Vec<String> {
    let mut moves = Vec::new();
    if let Some((old, new)) = old.seconds.zip(new.seconds).filter(|(old, new)| are_apart(old, new)) {
        let word = if new.median < old.median { "faster" } else { "slower" };
        let change = percent(old.median, new.median);
        moves.push(format!("{word}, {} -> {} ({change})", milliseconds(&old), milliseconds(&new)));
    }
    for (name, value, least) in VALUES {
        let Some((old, new)) = value(old).zip(value(new)) else { continue };
        let is_rounding = old.abs().max(new.abs()) < ROUNDING;
        if !is_rounding && (new - old).abs() > least * old.abs() {
            moves.push(format!("{name} {old:.4} -> {new:.4} ({})", percent(old, new)));
        }
    }
    moves
}

fn are_apart(a: &Seconds, b: &Seconds) -> bool {
    a.last_decile < b.first_decile || b.last_decile < a.first_decile
}

/// The change of a value, with its sign.
fn percent(old: f64, new: f64) -> String {
    format!("{:+.1} %", 100.0 * (new / old - 1.0))
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{measured, timed};
    use super::*;

    #[test]
    fn times_move_beyond_their_spread_only() {
        // Deciles are 10 % away from the median on either side.
        let before = measured(vec![timed("seq", 1, 0.100), timed("dp", 2, 0.100), timed("lp:2/4/1/1", 2, 0.1)]);
        let after = measured(vec![timed("seq", 1, 0.119), timed("dp", 2, 0.130), timed("lp:2/4/1/1", 2, 0.05)]);
        let comparison = Comparison::of(&before, &after);
        assert_eq!(comparison.n_still, 1);
        assert_eq!(
            comparison.moved,
            [
                "study conv:36x3@50, dp, 2 ranks: slower, 100.0 ms (90.0-110.0) -> 130.0 ms (117.0-143.0) (+30.0 %)",
                "study conv:36x3@50, lp:2/4/1/1, 2 ranks: faster, 100.0 ms (90.0-110.0) -> 50.0 ms (45.0-55.0) (-50.0 %)",
            ]
        );
        assert_eq!(Comparison::of(&before, &before).moved, [""; 0]);
    }

    #[test]
    fn values_without_a_spread_move_too() {
        let with = |count, gradient_error| Measurement { count, gradient_error, ..timed("seq", 1, 0.1) };
        let moved = |old: &Measurement, new: &Measurement| {
            Comparison::of(&measured(vec![old.clone()]), &measured(vec![new.clone()])).moved
        };
        assert_eq!(moved(&with(Some(1000), Some(0.1)), &with(Some(1004), Some(0.1005))), [""; 0]);
        assert_eq!(moved(&with(None, Some(1e-7)), &with(None, Some(3e-7))), [""; 0]);
        let lines = moved(&with(Some(1000), Some(0.1)), &with(Some(900), Some(0.2)));
        assert!(lines[0].ends_with("instructions 1000.0000 -> 900.0000 (-10.0 %)"), "{lines:?}");
        assert!(lines[1].ends_with("gradient error 0.1000 -> 0.2000 (+100.0 %)"), "{lines:?}");
    }

    #[test]
    fn what_one_run_lacks_is_listed() {
        let (before, mut after) = (measured(vec![timed("dp", 2, 0.1)]), measured(vec![timed("seq", 1, 0.1)]));
        after.machine.usable = 64;
        let text = Comparison::of(&before, &after).markdown("old.json");
        assert!(text.starts_with("Compared with old.json: 0 moved, 0 did not.\n\nThe machines differ"), "{text}");
        assert!(text.contains("earlier run:\n\n- study conv:36x3@50, dp, 2 ranks\n"), "{text}");
        assert!(text.contains("this run:\n\n- study conv:36x3@50, seq, 1 rank\n"), "{text}");
    }
}
