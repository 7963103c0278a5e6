//! The timeline of a few steps: switched on before the first of them, written after the last.

use braidnet_comm::Communicator;
use braidnet_monitor::timeline;

use super::TraceConfig;
use crate::TrainError;

/// Steps that the timeline leaves out: buffers grow and pages are touched for the first time.
const LEFT_OUT: u64 = 3;

/// The timeline of a run.
pub(super) struct Trace {
    /// None once it is written.
    config: Option<TraceConfig>,
    /// Updates done before this run.
    started_at: u64,
    is_recording: bool,
}

impl Trace {
    /// The timeline of a run that starts with `started_at` updates done; nothing without a configuration.
    pub fn new(config: Option<TraceConfig>, started_at: u64) -> Self {
        Self { config, started_at, is_recording: false }
    }

    /// Starts to record if the step that comes is the first of the timeline; `step` updates are done.
    pub fn before_step(&mut self, step: u64) {
        if self.config.is_some() && step == self.started_at + LEFT_OUT {
            timeline::record(true);
            self.is_recording = true;
        }
    }

    /// Writes the timeline if the step that ended is its last; `step` updates are done.
    ///
    /// # Errors
    /// If a message fails or, on rank 0, the file cannot be written.
    ///
    /// # Communication
    /// Every rank of `world` must call it; collective after the last step of the timeline.
    pub fn after_step(&mut self, step: u64, world: &Communicator) -> Result<(), TrainError> {
        let steps = self.config.as_ref().map(|config| config.steps as u64);
        if steps.is_some_and(|steps| step == self.started_at + LEFT_OUT + steps) {
            self.write(world)?;
        }
        Ok(())
    }

    /// Writes the timeline of a run that ends before its last step.
    ///
    /// # Errors
    /// As [`Trace::after_step`].
    ///
    /// # Communication
    /// Every rank of `world` must call it; collective if a timeline is under way.
    pub fn finish(&mut self, world: &Communicator) -> Result<(), TrainError> {
        if self.is_recording {
            self.write(world)?;
        } else if self.config.is_some() && world.rank() == 0 {
            tracing::warn!("no timeline: it leaves out the first {LEFT_OUT} steps, and the run had no more");
        }
        Ok(())
    }

    fn write(&mut self, world: &Communicator) -> Result<(), TrainError> {
        timeline::record(false);
        self.is_recording = false;
        if let Some(config) = self.config.take() {
            timeline::write(&config.folder, world)?;
        }
        Ok(())
    }
}
