//! What the example prints.

use std::time::Duration;

/// One line of the final table.
pub struct Row {
    pub name: String,
    /// Correct part of the test images, by the exact forward pass; none if the run stopped before its first evaluation.
    pub accuracy: Option<f64>,
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

/// The table, with the speed-up over its first row.
pub fn print_table(rows: &[Row]) {
    let heads =
        ["", "test accuracy", "ms per step (10-90 %)", "peak memory", "speed-up", "gradient error start/median/end"];
    println!();
    println!("{:<26} {:>14} {:>24} {:>12} {:>9} {:>32}", heads[0], heads[1], heads[2], heads[3], heads[4], heads[5]);
    for row in rows {
        let [low, median, high] = row.step.map(|d| d.as_secs_f64() * 1e3);
        let speed_up = rows.first().filter(|_| rows.len() > 1).map(|first| first.step[1].as_secs_f64() * 1e3 / median);
        let error = match row.gradient_error {
            _ if row.is_exact => "exact".to_owned(),
            Some(errors) => errors.map(|e| format!("{:.2} %", 100.0 * e)).join(" / "),
            None => "not measured".to_owned(),
        };
        println!(
            "{:<26} {:>14} {:>24} {:>12} {:>9} {:>32}",
            row.name,
            row.accuracy.map_or("-".to_owned(), |part| format!("{:.2} %", 100.0 * part)),
            if median > 0.0 { format!("{median:.1} ({low:.1}-{high:.1})") } else { "-".to_owned() },
            row.memory.map_or("unknown".to_owned(), |bytes| format!("{:.0} MiB", bytes as f64 / (1 << 20) as f64)),
            speed_up.map_or(String::new(), |s| format!("{s:.2}")),
            error,
        );
    }
}
