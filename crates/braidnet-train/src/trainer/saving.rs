//! Checkpoints written in the background, by all ranks together.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use braidnet_checkpoint::{Begun, Committer, Manifest, Part, RunState, Store};
use braidnet_comm::{Communicator, set_thread_rank, thread_rank};
use braidnet_monitor::metrics::{self, Record};
use braidnet_nn::Network;
use tracing::trace_span;

use super::Trainer;
use super::fit::Fit;
use super::record::Records;
use super::stop::Watch;
use crate::{TrainError, snapshot};

/// A checkpoint that was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Saved {
    pub step: u64,
    pub folder: PathBuf,
    pub seconds: f64,
    pub bytes: u64,
}

/// Writes checkpoints while the training goes on: one at a time, each by a thread of every rank.
pub(crate) struct Saver {
    /// Apart from the training's messages.
    comm: Communicator,
    store: Store,
    /// On rank 0.
    committer: Option<Arc<Committer>>,
    running: Option<JoinHandle<Result<Option<Saved>, TrainError>>>,
}

impl Saver {
    /// Checkpoints below `root`, the newest `keep` of which stay.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    ///
    /// # Communication
    /// Collective over the world.
    pub fn new(world: &Communicator, root: &Path, keep: usize) -> Result<Self, TrainError> {
        let comm = world.duplicate()?;
        let keep = NonZeroUsize::new(keep).unwrap_or(NonZeroUsize::MIN);
        let committer = if comm.rank() == 0 { Some(Arc::new(Committer::open(root, keep)?)) } else { None };
        Ok(Self { comm, store: Store::at(root), committer, running: None })
    }

    /// Starts to write a checkpoint of the parts of all ranks, after the one before it is done; returns that one.
    ///
    /// # Errors
    /// If the checkpoint before could not be written.
    ///
    /// # Communication
    /// Every rank must call it; waits for this rank's part of the checkpoint before.
    pub fn start(&mut self, parts: Vec<Part>, run: RunState) -> Result<Option<Saved>, TrainError> {
        let before = self.finish()?;
        let (comm, store, committer) = (self.comm.clone(), self.store.clone(), self.committer.clone());
        let rank = thread_rank();
        let write = move || {
            if let Some(rank) = rank {
                set_thread_rank(rank);
            }
            write(&comm, &store, committer.as_deref(), &parts, &run)
        };
        let name = rank.map_or_else(|| "checkpoint".to_owned(), |rank| format!("rank {rank} checkpoint"));
        self.running = Some(Builder::new().name(name).spawn(write).map_err(TrainError::Thread)?);
        Ok(before)
    }

    /// The checkpoint being written, if it is done by now.
    ///
    /// # Errors
    /// If it could not be written.
    pub fn poll(&mut self) -> Result<Option<Saved>, TrainError> {
        if self.running.as_ref().is_some_and(JoinHandle::is_finished) { self.finish() } else { Ok(None) }
    }

    /// Waits for the checkpoint being written, if there is one.
    ///
    /// # Errors
    /// If it could not be written.
    pub fn finish(&mut self) -> Result<Option<Saved>, TrainError> {
        let Some(running) = self.running.take() else { return Ok(None) };
        match running.join() {
            Ok(saved) => saved,
            Err(_) => Err(TrainError::SaverPanicked),
        }
    }
}

/// One rank's side: rank 0 begins, all write their parts, rank 0 commits, and all wait until it has: a rank that ends the run for
/// an error of its own must not take a half-written checkpoint with it. None where the step is saved already.
fn write(
    comm: &Communicator,
    store: &Store,
    committer: Option<&Committer>,
    parts: &[Part],
    run: &RunState,
) -> Result<Option<Saved>, TrainError> {
    let _span = trace_span!(target: braidnet_monitor::timeline::TARGET, "checkpoint", step = run.step).entered();
    let start = Instant::now();
    let begun = committer.map(|committer| committer.begin(run.step)).transpose()?;
    if comm.broadcast(0, begun.map(|begun| u8::from(begun == Begun::New)), &())? == 0 {
        return Ok(None);
    }
    let manifest = store.write_parts(run.step, parts)?;
    let failed = |e: serde_json::Error| TrainError::Record { reason: e.to_string() };
    let all = comm.gather(0, serde_json::to_string(&manifest).map_err(failed)?, &())?;
    let mut saved = None;
    if let (Some(committer), Some(all)) = (committer, all) {
        let manifests = all.iter().map(|text| serde_json::from_str(text)).collect::<Result<Vec<Manifest>, _>>();
        let manifests = manifests.map_err(failed)?;
        let bytes = manifests.iter().flat_map(|m| &m.parts).flat_map(|p| p.files()).map(|f| f.size).sum();
        let folder = committer.commit(manifests, run)?;
        saved = Some((folder.display().to_string(), bytes));
    }
    let path = comm.broadcast(0, saved.as_ref().map(|(path, _)| path.clone()), &())?;
    let bytes = comm.broadcast(0, saved.map(|(_, bytes)| bytes), &())?;
    Ok(Some(Saved { step: run.step, folder: path.into(), seconds: start.elapsed().as_secs_f64(), bytes }))
}

impl<N: Network, T> Trainer<N, T> {
    /// Starts to save a checkpoint, unless this step has one.
    pub(super) fn save(&mut self, fit: &mut Fit<'_, N::Input, T>) -> Result<(), TrainError> {
        let step = fit.progress.step;
        let Some(saver) = fit.saver.as_mut().filter(|_| fit.last_saved != Some(step)) else { return Ok(()) };
        // Before anything can go wrong with this one.
        note_saved(&mut fit.records, &mut fit.watch, saver.finish()?)?;
        let parts = match self.mesh.data_rank() {
            0 => snapshot::take(self.model.network(), &self.optimizer, &self.model.parts_kept())?,
            _ => Vec::new(),
        };
        let saved = saver.start(parts, self.run_state(&fit.progress, fit.train.n)?)?;
        note_saved(&mut fit.records, &mut fit.watch, saved)?;
        fit.last_saved = Some(step);
        Ok(())
    }

    /// Waits for the checkpoint being written.
    pub(super) fn finish_saving(&self, fit: &mut Fit<'_, N::Input, T>) -> Result<(), TrainError> {
        let Some(saver) = &mut fit.saver else { return Ok(()) };
        let saved = saver.finish()?;
        note_saved(&mut fit.records, &mut fit.watch, saved)
    }
}

/// Writes down a checkpoint, if there is one.
pub(super) fn note_saved(records: &mut Records, watch: &mut Watch, saved: Option<Saved>) -> Result<(), TrainError> {
    let Some(Saved { step, folder, seconds, bytes }) = saved else { return Ok(()) };
    watch.note_save(Duration::from_secs_f64(seconds));
    let path = folder.display().to_string();
    records.write(&Record::Checkpoint(metrics::Checkpoint { step, path, seconds, bytes }))
}
