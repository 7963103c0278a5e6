//! `metrics.jsonl`: what rank 0 writes down, and the sums of an epoch.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use braidnet_comm::{Communicator, ReduceOp, under_mpi};
use braidnet_monitor::metrics::{Epoch, Event, MetricsWriter, RanksAre, Record, Run, SCHEMA};
use serde_json::Value;

use super::resume::Progress;
use crate::TrainError;

/// Where records go; nowhere on other ranks than the first.
#[derive(Default)]
pub(super) struct Records {
    file: Option<MetricsWriter>,
    #[cfg(feature = "tensorboard")]
    tensorboard: Option<braidnet_monitor::metrics::TensorBoardWriter>,
}

impl Records {
    /// Opens `metrics.jsonl` in `out`; a run that goes on from `resumed` continues the file.
    pub fn open(out: &Path, resumed: Option<u64>) -> Result<Self, TrainError> {
        let path = out.join("metrics.jsonl");
        let file = match resumed {
            Some(step) => MetricsWriter::resume(path, step)?,
            None => MetricsWriter::create(path)?,
        };
        Ok(Self {
            file: Some(file),
            #[cfg(feature = "tensorboard")]
            tensorboard: Some(braidnet_monitor::metrics::TensorBoardWriter::create(out.join("tensorboard"))?),
        })
    }

    pub fn write(&mut self, record: &Record) -> Result<(), TrainError> {
        if let Some(file) = &mut self.file {
            file.write(record)?;
        }
        #[cfg(feature = "tensorboard")]
        if let Some(tensorboard) = &mut self.tensorboard {
            tensorboard.write(record)?;
        }
        Ok(())
    }

    pub fn event(&mut self, step: u64, what: &str, detail: String) -> Result<(), TrainError> {
        self.write(&Record::Event(Event { step, what: what.to_owned(), detail }))
    }
}

/// The first record of a run.
pub(super) fn run_record(
    trainer: (&super::TrainerConfig, &crate::Schedule, &Value),
    sizes: (usize, usize, usize, u64),
    world: &Communicator,
    resumed_from: Option<u64>,
) -> Record {
    let (config, schedule, network) = trainer;
    let (layers, layer_ranks, data_ranks, parameters) = sizes;
    Record::Run(Run {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        layers,
        layer_ranks,
        data_ranks,
        batch: config.batch,
        micro_batches: config.micro_batches,
        schedule: schedule.to_string(),
        optimizer: format!("{:?}, learning rate {:?}", config.optimizer, config.learning_rate),
        seed: config.seed,
        parameters,
        resumed_from,
        ranks_are: if under_mpi() { RanksAre::Mpi } else { RanksAre::Threads },
        device_path: world.device_path().map(ToString::to_string),
        config: serde_json::json!({ "training": config, "network": network }),
    })
}

/// What adds up over the steps of an epoch on one rank.
pub(super) struct EpochSums {
    start: Instant,
    steps: Vec<Duration>,
    samples: u64,
    working: f64,
    waiting: f64,
    pub rho: [Option<f64>; 2],
    /// This rank's part of the penalty on jumps between layers, in the last step.
    pub penalty: Option<f64>,
}

impl EpochSums {
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            steps: Vec::new(),
            samples: 0,
            working: 0.0,
            waiting: 0.0,
            rho: [None; 2],
            penalty: None,
        }
    }

    pub fn add(&mut self, took: Duration, waited: f64, samples: usize) {
        self.steps.push(took);
        self.working += took.as_secs_f64();
        self.waiting += waited;
        self.samples += samples as u64;
    }

    /// The epoch's record, without scores on test samples.
    ///
    /// # Communication
    /// Collective over the world: one all-reduce.
    pub fn record(
        &self,
        progress: &Progress,
        has_score: bool,
        (world, data_ranks): (&Communicator, usize),
    ) -> Result<Epoch, TrainError> {
        let mut sums = [self.waiting, self.working, self.penalty.unwrap_or(0.0) / data_ranks as f64];
        world.all_reduce(&mut sums, ReduceOp::Sum)?;
        let seconds = self.start.elapsed().as_secs_f64();
        let mut steps = self.steps.clone();
        steps.sort_unstable();
        Ok(Epoch {
            epoch: progress.epoch,
            loss: Some(progress.loss / progress.counted as f64),
            accuracy: has_score.then_some(progress.correct as f64 / progress.items as f64),
            milliseconds_per_step: steps.get(steps.len() / 2).map(|d| 1e3 * d.as_secs_f64()),
            samples_per_second: (self.samples > 0).then(|| self.samples as f64 / seconds),
            rho_forward: self.rho[0],
            rho_backward: self.rho[1],
            penalty: self.penalty.map(|_| sums[2]),
            waiting: (sums[1] > 0.0).then(|| sums[0] / sums[1]),
            seconds,
            ..Epoch::default()
        })
    }
}
