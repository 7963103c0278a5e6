//! The run that was asked for, and the sequential one before it that it is compared with.

use anyhow::Context;
use braidnet::prelude::*;
use clap::ValueEnum;

use crate::epochs::{EpochScores, print_epochs};
use crate::report::{Row, print_table};
use crate::run::alone;

/// What is run.
pub struct Phase<'a> {
    pub name: String,
    pub schedule: &'a Schedule,
    /// What the folder of the run keeps as `config.toml`.
    pub configuration: Option<String>,
    /// The sequential run that the other is compared with: no folder, no timeline.
    pub is_baseline: bool,
}

impl<'a> Phase<'a> {
    /// The run that was asked for, by a schedule of the name `kind`; `table` are the options.
    pub fn asked(kind: &str, schedule: &'a Schedule, mesh: &Mesh, table: &str) -> Self {
        let shape = mesh.shape();
        let name = format!("{kind}, {} x {} ranks", shape.layer_ranks, shape.data_ranks);
        Self { name, schedule, configuration: Some(table.to_owned()), is_baseline: false }
    }

    /// One that is planned only.
    pub fn dry(schedule: &'a Schedule) -> Self {
        Self { name: "dry run".to_owned(), schedule, configuration: None, is_baseline: false }
    }
}

/// What came of a run.
pub struct Trained {
    /// The line for the table, on the first rank.
    pub row: Option<Row>,
    pub epochs: Vec<EpochScores>,
    pub end: End,
}

/// What the command line calls a choice.
pub fn name_of(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// With `baseline`, the number of layers, the sequential run on rank 0, for which the others wait; then the one asked for on `mesh`, unless the
/// first was stopped.
pub fn run_both(
    world: &Communicator,
    mesh: &Mesh,
    baseline: Option<usize>,
    asked: &Phase<'_>,
    train: impl Fn(&Phase<'_>, &Mesh) -> anyhow::Result<Trained>,
) -> anyhow::Result<Vec<Trained>> {
    let mut runs = Vec::new();
    let mut end = End::Finished;
    if let Some(n_layers) = baseline {
        let (name, schedule) = ("sequential, 1 rank".to_owned(), Schedule::sequential());
        let phase = Phase { name, schedule: &schedule, configuration: None, is_baseline: true };
        let first = alone(world, n_layers, |mesh| train(&phase, mesh), |trained| trained.end);
        let (trained, how) = first.context("sequential run")?;
        end = how;
        runs.extend(trained);
    }
    if end == End::Finished {
        runs.push(train(asked, mesh)?);
    }
    Ok(runs)
}

/// The tables of all runs, whose epochs were scored on `sets`; `between` comes between accuracies and times.
pub fn print_tables(sets: &[&str], runs: Vec<Trained>, between: impl FnOnce()) {
    let (rows, epochs): (Vec<_>, Vec<_>) = runs.into_iter().map(|run| (run.row, run.epochs)).unzip();
    let rows: Vec<_> = rows.into_iter().flatten().collect();
    let epochs: Vec<_> = rows.iter().map(|row| row.name.clone()).zip(epochs).collect();
    print_epochs(sets, &epochs);
    between();
    print_table(&rows);
    println!("{}", rows.last().map_or("", |row| row.end.as_str()));
}
