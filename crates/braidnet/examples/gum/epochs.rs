//! How accuracy grew.

/// Right parts of the dev and the test set after an epoch.
#[derive(Debug, Clone, Copy)]
pub struct EpochScores {
    pub epoch: u64,
    /// Dev and test set by the exact forward pass.
    pub exact: [Option<f64>; 2],
    /// By the schedule's.
    pub scheduled: [Option<f64>; 2],
}

/// The epochs of several runs side by side, each with its name.
pub fn print_epochs(runs: &[(String, Vec<EpochScores>)]) {
    println!("\naccuracy after each epoch by the exact forward pass, in brackets by the schedule's");
    let names: String = runs.iter().map(|(name, _)| format!("  {name:^38}")).collect();
    println!("{:>5}{}", "", names.trim_end());
    println!("{:>5}{}", "epoch", format!("  {:>18}  {:>18}", "dev", "test").repeat(runs.len()));
    let mut epochs: Vec<u64> = runs.iter().flat_map(|(_, scores)| scores.iter().map(|scores| scores.epoch)).collect();
    epochs.sort_unstable();
    epochs.dedup();
    for epoch in epochs {
        let line: String = runs.iter().map(|(_, scores)| cells(scores.iter().find(|s| s.epoch == epoch))).collect();
        println!("{epoch:>5}{line}");
    }
}

/// Dev and test of one run, blank where it has no such epoch.
fn cells(scores: Option<&EpochScores>) -> String {
    let percent = |part: Option<f64>| part.map_or("-".to_owned(), |part| format!("{:.2} %", 100.0 * part));
    let cell = |set: usize| {
        scores.map_or(String::new(), |s| format!("{} ({})", percent(s.exact[set]), percent(s.scheduled[set])))
    };
    format!("  {:>18}  {:>18}", cell(0), cell(1))
}
