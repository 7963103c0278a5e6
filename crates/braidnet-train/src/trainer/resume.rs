//! Going on from a checkpoint, and what is needed for it.

use std::path::{Path, PathBuf};

use braidnet_checkpoint::{Checkpoint, CheckpointError, RunState, find};
use braidnet_nn::Network;
use serde_json::{Map, Value, json};

use super::{Resume, Trainer};
use crate::control::{Controller, Ladder};
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
    /// Sums over the samples of the epoch that are done: the loss of their items, how many of these have a finite one, how
    /// many there are, and how many were right.
    pub loss: f64,
    pub counted: u64,
    pub items: u64,
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
    /// If it is refused, or is of another network, seed, batch, optimizer or number of samples, or of another ladder.
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
        let parts = self.model.parts_needed();
        let network = snapshot::restore(self.model.network().clone(), &mut self.optimizer, &parts, &checkpoint)?;
        self.model.update(|_| network);
        if let Some(state) = run.extra.get("control") {
            let ladder = Ladder::new(&self.schedule);
            self.controller = Controller::from_json(self.config.control.clone(), ladder, state)?;
            self.model.set_schedule(self.controller.schedule())?;
        }
        let number = |key: &str| run.extra.get(key).and_then(Value::as_f64).unwrap_or(0.0);
        let (step, epoch, position) = (run.step, run.epoch, run.position);
        let [counted, items, correct] = ["loss_items", "items", "correct"].map(|key| number(key) as u64);
        Ok(Some(Progress { step, epoch, position, loss: number("loss_sum"), counted, items, correct }))
    }

    fn find_checkpoint(&self) -> Result<Option<Checkpoint>, TrainError> {
        let own = self.checkpoints();
        match (&self.config.checkpoints.resume, own) {
            (Resume::From(path), own) => {
                let found = find(path)?.ok_or_else(|| TrainError::NoCheckpoint { path: path.clone() })?;
                // A step that is saved already is not saved again: what is there must not be of another run.
                let step = found.run().step;
                match own.and_then(|root| later_than(step, &root)) {
                    Some(path) => Err(TrainError::LaterCheckpoint { path, step }),
                    None => Ok(Some(found)),
                }
            }
            (Resume::Auto, Some(root)) => Ok(find(root)?),
            (Resume::No, Some(root)) => match find(&root) {
                Ok(None) => Ok(None),
                Ok(Some(_)) | Err(CheckpointError::Refused { .. }) => Err(TrainError::OutInUse { path: root }),
                Err(error) => Err(error.into()),
            },
            (_, None) => Ok(None),
        }
    }

    /// That the data is visited in the order it was, and the moments are those of this optimizer.
    fn check_data(&self, folder: &str, run: &RunState, n: usize) -> Result<(), TrainError> {
        let saved = |key: &str, now: Value| (run.extra.get(key).cloned().unwrap_or_else(|| now.clone()), now);
        let pairs = [
            ("seed", (json!(run.seed), json!(self.config.seed))),
            ("number of training samples", saved("samples", json!(n))),
            ("batch", saved("batch", json!(self.config.batch))),
            ("optimizer", saved("optimizer", json!(self.config.optimizer.name()))),
        ];
        match pairs.into_iter().find(|(_, (saved, now))| saved != now) {
            Some((what, (saved, now))) => {
                let (saved, now) = (saved.to_string(), now.to_string());
                Err(TrainError::OtherRun { folder: folder.into(), what, saved, now })
            }
            None => Ok(()),
        }
    }

    /// What a checkpoint says of the run.
    pub(super) fn run_state(&self, progress: &Progress, n: usize) -> Result<RunState, TrainError> {
        let mut extra = Map::new();
        extra.insert("samples".to_owned(), json!(n));
        extra.insert("optimizer".to_owned(), json!(self.config.optimizer.name()));
        extra.insert("batch".to_owned(), json!(self.config.batch));
        extra.insert("loss_sum".to_owned(), json!(progress.loss));
        extra.insert("loss_items".to_owned(), json!(progress.counted));
        extra.insert("items".to_owned(), json!(progress.items));
        extra.insert("correct".to_owned(), json!(progress.correct));
        extra.insert("control".to_owned(), self.controller.to_json()?);
        Ok(RunState {
            step: progress.step,
            epoch: progress.epoch,
            position: progress.position,
            seed: self.config.seed,
            n_layers: self.model.n_layers_kept(),
            schedule: self.schedule.to_string(),
            network: self.description.clone(),
            extra,
        })
    }
}

/// A checkpoint in `root`, sound or not, of a later step.
fn later_than(step: u64, root: &Path) -> Option<PathBuf> {
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("step-")?.parse::<u64>().ok();
    let mut paths = std::fs::read_dir(root).ok()?.flatten().map(|entry| entry.path());
    paths.find(|path| number(path).is_some_and(|number| number > step))
}
