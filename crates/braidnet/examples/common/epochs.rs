//! How accuracy grew.

/// Right parts of some sets of samples after an epoch.
#[derive(Debug, Clone)]
pub struct EpochScores {
    pub epoch: u64,
    /// Of each set, by the exact forward pass and by the schedule's.
    pub sets: Vec<[Option<f64>; 2]>,
}

/// Width of all columns of a run together.
const WIDTH: usize = 38;

/// The epochs of several runs side by side, each with its name; the columns of a run are `sets`.
pub fn print_epochs(sets: &[&str], runs: &[(String, Vec<EpochScores>)]) {
    println!("\naccuracy after each epoch by the exact forward pass, in brackets by the schedule's");
    let names: String = runs.iter().map(|(name, _)| format!("  {name:^WIDTH$}")).collect();
    println!("{:>5}{}", "", names.trim_end());
    let width = (WIDTH + 2) / sets.len() - 2;
    let heads: String = sets.iter().map(|set| format!("  {set:>width$}")).collect();
    println!("{:>5}{}", "epoch", heads.repeat(runs.len()));
    let mut epochs: Vec<u64> = runs.iter().flat_map(|(_, scores)| scores.iter().map(|scores| scores.epoch)).collect();
    epochs.sort_unstable();
    epochs.dedup();
    for epoch in epochs {
        let of_run = |(_, scores): &(String, Vec<EpochScores>)| -> String {
            let found = scores.iter().find(|scores| scores.epoch == epoch);
            (0..sets.len()).map(|set| format!("  {:>width$}", cell(found, set))).collect()
        };
        println!("{epoch:>5}{}", runs.iter().map(of_run).collect::<String>());
    }
}

/// One set of one run, blank where it has no such epoch.
fn cell(scores: Option<&EpochScores>, set: usize) -> String {
    let percent = |part: Option<f64>| part.map_or("-".to_owned(), |part| format!("{:.2} %", 100.0 * part));
    let both = scores.map(|scores| scores.sets[set].map(percent));
    both.map_or(String::new(), |[exact, scheduled]| format!("{exact} ({scheduled})"))
}
