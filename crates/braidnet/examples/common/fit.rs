//! A training with a test set, scored after every epoch.

use std::path::Path;

use braidnet::prelude::*;

use crate::epochs::EpochScores;
use crate::phase::{Phase, Trained};
use crate::report::Row;

/// Trains to the end, and writes the network to the file `export` unless it is the baseline's; `out` is the folder of the run.
pub fn fit<N: Network<Input: Send + 'static>, T: Send + 'static>(
    mut trainer: Trainer<N, T>,
    phase: &Phase<'_>,
    [train, test]: [&Samples<N::Input, T>; 2],
    (out, export): (Option<&Path>, Option<&Path>),
) -> anyhow::Result<Trained> {
    let mut epochs = Vec::new();
    let outcome = trainer.fit_with(train, Some(test), &mut |_, record| {
        let test = [record.test_accuracy, record.test_accuracy_scheduled];
        epochs.push(EpochScores { epoch: record.epoch, sets: vec![test] });
        Ok(())
    })?;
    let accuracy = match (outcome.test, outcome.end) {
        // Nothing was left to train.
        (None, End::Finished) => trainer.evaluate_both(test)?.map(|score| score.accuracy),
        // The time may be up.
        (_, _) => [outcome.test, outcome.test_scheduled].map(|score| score.and_then(|score| score.accuracy)),
    };
    if let Some(file) = export.filter(|_| !phase.is_baseline) {
        trainer.export(file)?;
    }
    let shows = trainer.mesh().world().rank() == 0;
    let row = shows.then(|| Row::new(&phase.name, accuracy, phase.schedule, out, &outcome));
    Ok(Trained { row, epochs, end: outcome.end })
}
