//! Going on from a checkpoint, and what is needed for it.

use std::path::{Path, PathBuf};

use braidnet_checkpoint::{Checkpoint, RunState, find};
use braidnet_nn::Network;
use serde_json::{Map, json};

use super::{Resume, Trainer};
use crate::{TrainError, snapshot};

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Progress {
    /// Updates done.
    pub step: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// Samples of the epoch that are done.
    pub position: u64,
    /// Sums over the samples of the epoch that are done: their loss, and how many were right.
    pub loss: f64,
    pub correct: u64,
}

impl<N: Network, T> Trainer<N, T> {
    /// Where checkpoints are.
    pub(super) fn checkpoints(&self) -> Option<PathBuf> {
        self.config.out.as_ref().map(|out| out.join("checkpoints"))
    }

    /// Loads the checkpoint that the configuration asks for; `n` is the number of training samples.
    ///
    /// # Errors
    /// If it is refused, or is of another network, seed or number of samples.
    ///
    /// # Communication
    /// Collective over the world: rank 0 says which checkpoint; every rank reads its own layers.
    pub(super) fn resume(&mut self, n: usize) -> Result<Option<Progress>, TrainError> {
        let world = self.mesh.world();
        let mut folder = None;
        if world.rank() == 0 {
            let found = self.find_checkpoint()?;
            folder = Some(found.map_or_else(String::new, |found| found.folder().display().to_string()));
        }
        let folder = world.broadcast(0, folder, &())?;
        if folder.is_empty() {
            return Ok(None);
        }
        let checkpoint = Checkpoint::open(Path::new(&folder))?;
        checkpoint.check_network(&self.description)?;
        let run = checkpoint.run().clone();
        self.check_data(&folder, &run, n)?;
        let (layers, n_layers) = (self.model.layers(), self.model.n_layers());
        let network =
            snapshot::restore(self.model.network().clone(), &mut self.optimizer, &layers, n_layers, &checkpoint)?;
        self.model.update(|_| network);
        let number = |key: &str| run.extra.get(key).and_then(serde_json::Value::as_f64).unwrap_or(0.0);
        let (step, epoch, position) = (run.step, run.epoch, run.position);
        Ok(Some(Progress { step, epoch, position, loss: number("loss_sum"), correct: number("correct") as u64 }))
    }

    fn find_checkpoint(&self) -> Result<Option<Checkpoint>, TrainError> {
        let own = self.checkpoints();
        match (&self.config.checkpoints.resume, own) {
            (Resume::From(path), _) => match find(path)? {
                Some(checkpoint) => Ok(Some(checkpoint)),
                None => Err(TrainError::NoCheckpoint { path: path.clone() }),
            },
            (Resume::Auto, Some(root)) => Ok(find(root)?),
            (Resume::No, Some(root)) => match find(&root) {
                Ok(None) => Ok(None),
                _ => Err(TrainError::OutInUse { path: root }),
            },
            (_, None) => Ok(None),
        }
    }

    /// That the data is visited in the order it was.
    fn check_data(&self, folder: &str, run: &RunState, n: usize) -> Result<(), TrainError> {
        let saved = run.extra.get("samples").and_then(serde_json::Value::as_u64);
        let differs =
            [("seed", run.seed, self.config.seed), ("number of training samples", saved.unwrap_or(n as u64), n as u64)];
        match differs.into_iter().find(|(_, saved, now)| saved != now) {
            Some((what, saved, now)) => Err(TrainError::OtherRun { folder: folder.into(), what, saved, now }),
            None => Ok(()),
        }
    }

    /// What a checkpoint says of the run.
    pub(super) fn run_state(&self, progress: &Progress, n: usize) -> RunState {
        let mut extra = Map::new();
        extra.insert("samples".to_owned(), json!(n));
        extra.insert("loss_sum".to_owned(), json!(progress.loss));
        extra.insert("correct".to_owned(), json!(progress.correct));
        RunState {
            step: progress.step,
            epoch: progress.epoch,
            position: progress.position,
            seed: self.config.seed,
            n_layers: self.model.n_layers(),
            schedule: self.schedule.to_string(),
            network: self.description.clone(),
            extra,
        }
    }
}
