//! The training loop.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use braidnet_comm::ReduceOp;
use braidnet_mgrit::place;
use braidnet_monitor::metrics::{Epoch, Record};
use braidnet_nn::{Network, memory_limits};

use super::agree::Agreement;
use super::record::{EpochSums, Records, run_record};
use super::resume::Progress;
use super::saving::Saver;
use super::show::Display;
use super::stop::{Next, Watch, Why};
use super::trace::Trace;
use super::{Plan, Samples, Score, Show, Trainer};
use crate::copies::is_shared;
use crate::data::{EpochPlan, Loader, Order};
use crate::learning_rate::Rates;
use crate::shortage::judge;
use crate::{GradientError, TrainError};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All epochs are done.
    Finished,
    /// It was told to stop, by a signal or its time limit, and has saved a checkpoint if it has a folder.
    Stopped,
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Updates done, with those before a resume.
    pub step: u64,
    /// Score on the test samples after the last epoch, by the exact forward pass.
    pub test: Option<Score>,
    /// The same by the forward pass of the schedule.
    pub test_scheduled: Option<Score>,
    /// Times of the steps of this run on this rank, without those that probed.
    pub steps: Vec<Duration>,
    /// Gradient errors of the probes.
    pub gradient_errors: Vec<GradientError>,
    /// Part of the steps' time that ranks spent waiting for each other, mean over all ranks; of the last epoch.
    pub waiting: Option<f64>,
}

impl Outcome {
    fn new(step: u64) -> Self {
        let (steps, gradient_errors) = (Vec::new(), Vec::new());
        Self { end: End::Finished, step, test: None, test_scheduled: None, steps, gradient_errors, waiting: None }
    }
}

/// What is called after every epoch; see [`Trainer::fit_with`].
pub type AfterEpoch<'a, N, T> = dyn FnMut(&mut Trainer<N, T>, &Epoch) -> Result<(), TrainError> + 'a;

/// The state of a run besides the trainer's.
pub(super) struct Fit<'a, I, T> {
    pub train: &'a Samples<I, T>,
    pub progress: Progress,
    pub rates: Rates,
    pub agreement: Agreement,
    pub saver: Option<Saver>,
    pub records: Records,
    pub display: Display,
    pub watch: Watch,
    pub sums: EpochSums,
    pub skipped: usize,
    pub last_saved: Option<u64>,
    pub trace: Trace,
    pub outcome: Outcome,
}

impl<N: Network<Input: Send + 'static>, T: Send + 'static> Trainer<N, T> {
    /// Trains until all epochs are done, or the run is told to stop. Every rank must call it.
    ///
    /// # Errors
    /// The first error of any rank: data, a solve, a loss that is not finite (unless skipped), a checkpoint that is refused
    /// or cannot be written.
    ///
    /// # Communication
    /// Collective over the mesh. Per step: the schedule's messages on the layer axis, all-reduces of gradients on the data axis, an
    /// exchange of five numbers over all ranks; where gradients are clipped, an all-gather on the layer axis; of tied parameters, and with a
    /// penalty on jumps, messages between first and last or neighbouring layer ranks; those of the controller where it probes.
    pub fn fit(
        &mut self,
        train: &Samples<N::Input, T>,
        test: Option<&Samples<N::Input, T>>,
    ) -> Result<Outcome, TrainError> {
        self.fit_with(train, test, &mut |_, _| Ok(()))
    }

    /// As [`Trainer::fit`]; after every epoch, all ranks call `after_epoch` with its record, for instance to evaluate other
    /// samples as well.
    ///
    /// # Errors
    /// As [`Trainer::fit`], and what `after_epoch` returns.
    ///
    /// # Communication
    /// As [`Trainer::fit`], and that of `after_epoch`.
    pub fn fit_with(
        &mut self,
        train: &Samples<N::Input, T>,
        test: Option<&Samples<N::Input, T>>,
        after_epoch: &mut AfterEpoch<'_, N, T>,
    ) -> Result<Outcome, TrainError> {
        self.within_memory(|trainer| trainer.fit_all(train, test, after_epoch))
    }

    fn fit_all(
        &mut self,
        train: &Samples<N::Input, T>,
        test: Option<&Samples<N::Input, T>>,
        after_epoch: &mut AfterEpoch<'_, N, T>,
    ) -> Result<Outcome, TrainError> {
        if train.n == 0 {
            return Err(TrainError::EmptyBatch);
        }
        let mut fit = self.begin(train)?;
        while fit.progress.epoch < self.config.epochs as u64 {
            let mut stop = self.epoch(&mut fit)?;
            if stop.is_none() {
                stop = self.end_epoch(&mut fit, test, after_epoch)?;
            }
            if let Some(why) = stop {
                self.stop(&mut fit, why)?;
                break;
            }
        }
        self.sum_up_control(&mut fit)?;
        self.finish_saving(&mut fit)?;
        self.model.set_noise(None);
        fit.trace.finish(self.mesh.world())?;
        self.write_state(fit.outcome.end)?;
        fit.display.finish();
        fit.outcome.step = fit.progress.step;
        Ok(fit.outcome)
    }

    /// Opens the run's folder and goes on from a checkpoint, if one is asked for.
    fn begin<'a>(&mut self, train: &'a Samples<N::Input, T>) -> Result<Fit<'a, N::Input, T>, TrainError> {
        let resumed = self.resume(train.n)?;
        let progress = resumed.unwrap_or_default();
        let world = self.mesh.world().clone();
        let n_steps = self.config.epochs * train.n.div_ceil(self.config.batch);
        let from = resumed.map(|progress| progress.step);
        // First of all: it locks the folder, which another run may be using.
        let checkpoints = self.checkpoints();
        let saver = checkpoints.map(|root| Saver::new(&world, &root, self.config.checkpoints.keep)).transpose()?;
        let mut records = self.open_records(from)?;
        let display = Display::new(world.rank() == 0 && self.config.show == Show::Progress);
        let plan = self.plan()?;
        display.say(plan.to_string().trim_end());
        self.check_memory(&plan)?;
        for warning in self.config.precision.unreachable(&self.schedule) {
            display.say(&format!("warning: {warning}"));
            records.event(progress.step, "precision", warning)?;
        }
        if let Some(step) = from {
            let text = format!("resumed at step {step}, epoch {}, sample {}", progress.epoch, progress.position);
            display.say(&text);
        }
        Ok(Fit {
            train,
            rates: self.config.learning_rate.start(n_steps, progress.step as usize)?,
            agreement: Agreement::new(&world, self.model.n_layers())?,
            watch: Watch::new(self.config.time_limit).map_err(TrainError::Signals)?,
            sums: EpochSums::new(),
            skipped: 0,
            last_saved: from,
            trace: Trace::new(self.config.trace.clone(), progress.step),
            outcome: Outcome::new(progress.step),
            progress,
            saver,
            records,
            display,
        })
    }

    /// Compares the plan with what this rank's device says of its memory.
    fn check_memory(&mut self, plan: &Plan) -> Result<(), TrainError> {
        let Some(own) = plan.ranks.get(self.mesh.layer_rank()) else { return Ok(()) };
        self.predicted = Some(own.memory);
        let Some(limits) = memory_limits(&self.model.device()) else { return Ok(()) };
        self.looks_closely = true;
        if let Some(warning) = judge(own, self.config.optimizer.n_moments(), limits)? {
            tracing::warn!("{warning}");
        }
        Ok(())
    }

    /// Opens the files of the run's folder, with what is known of the run; a `state` of an earlier start goes.
    fn open_records(&self, from: Option<u64>) -> Result<Records, TrainError> {
        let parameters = self.n_parameters()?;
        let Some(out) = self.config.out.as_ref().filter(|_| self.mesh.world().rank() == 0) else {
            return Ok(Records::default());
        };
        let failed = |path: PathBuf| move |source| TrainError::Folder { path, source };
        let (state, configuration) = (out.join("state"), out.join("config.toml"));
        match std::fs::remove_file(&state) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(state)(error)),
            _ => {}
        }
        if let Some(text) = &self.config.configuration {
            std::fs::write(&configuration, text).map_err(failed(configuration))?;
        }
        let mut records = Records::open(out, from)?;
        let sizes = (self.model.n_layers(), self.mesh.shape().layer_ranks, self.mesh.shape().data_ranks, parameters);
        let what = (&self.config, &self.schedule, &self.description);
        records.write(&run_record(what, sizes, self.mesh.world(), from))?;
        Ok(records)
    }

    /// The rest of an epoch; why it was stopped, if it was.
    fn epoch(&mut self, fit: &mut Fit<'_, N::Input, T>) -> Result<Option<Why>, TrainError> {
        let (n, epoch) = (fit.train.n, fit.progress.epoch);
        let order = Order::Shuffled { seed: self.config.seed, epoch };
        let plan = EpochPlan { n, shards: self.shards(), order, position: fit.progress.position as usize };
        let n_steps = n.div_ceil(self.config.batch) as u64;
        fit.display.begin(n_steps, fit.progress.position / self.config.batch as u64);
        fit.sums = EpochSums::new();
        let mut loader = Loader::start(fit.train.inputs.as_ref(), fit.train.targets.as_ref(), plan)?;
        loop {
            let start = Instant::now();
            let Some(loaded) = loader.next() else { return Ok(None) };
            let loaded = loaded?;
            fit.trace.before_step(fit.progress.step);
            place::look_closely(std::mem::take(&mut self.looks_closely));
            let probes = self.config.probe_every.is_some_and(|every| fit.progress.step.is_multiple_of(every as u64));
            if probes {
                self.probe(fit, &loaded)?;
            }
            let controls = self.controller.due(fit.progress.step);
            let probed = start.elapsed();
            let start = if probes { Instant::now() } else { start };
            let samples = loaded.global;
            let (agreed, took) = self.step(fit, loaded, start)?;
            fit.watch.note_step(if probes { probed + took } else { took });
            if !probes && !controls {
                fit.outcome.steps.push(took);
            }
            fit.display.step(
                epoch,
                fit.progress.position.div_ceil(self.config.batch as u64),
                n_steps,
                fit.progress.step,
                agreed.mean_loss(samples),
            );
            fit.trace.after_step(fit.progress.step, self.mesh.world())?;
            if agreed.stop.is_some() {
                return Ok(agreed.stop);
            }
            if self.config.checkpoints.every.is_some_and(|every| fit.progress.step.is_multiple_of(every as u64)) {
                self.save(fit)?;
            }
        }
    }

    /// Scores and the record of an epoch; why to stop then, if there is a reason.
    fn end_epoch(
        &mut self,
        fit: &mut Fit<'_, N::Input, T>,
        test: Option<&Samples<N::Input, T>>,
        after_epoch: &mut AfterEpoch<'_, N, T>,
    ) -> Result<Option<Why>, TrainError> {
        let is_last = fit.progress.epoch + 1 == self.config.epochs as u64;
        if is_last {
            // Whatever happens to the evaluation, the training is done.
            self.save(fit)?;
        }
        let mut record = fit.sums.record(
            &fit.progress,
            self.task.correct.is_some(),
            (self.mesh.world(), self.mesh.shape().data_ranks),
        )?;
        let start = Instant::now();
        if let Some(test) = test.filter(|test| test.n > 0) {
            let [exact, scheduled] = self.evaluate_both(test)?;
            (record.test_loss, record.test_accuracy) = (Some(exact.loss), exact.accuracy);
            record.test_accuracy_scheduled = scheduled.accuracy;
            (fit.outcome.test, fit.outcome.test_scheduled) = (Some(exact), Some(scheduled));
            self.judge_scores(fit, [exact, scheduled])?;
        }
        fit.outcome.waiting = record.waiting;
        fit.display.epoch(&record);
        fit.records.write(&Record::Epoch(record.clone()))?;
        after_epoch(self, &record)?;
        fit.watch.note_evaluation(start.elapsed());
        let Progress { step, epoch, .. } = fit.progress;
        fit.progress = Progress { step, epoch: epoch + 1, ..Progress::default() };
        let mut urgency = [Why::urgency(fit.watch.why(Next::Step))];
        self.mesh.world().all_reduce(&mut urgency, ReduceOp::Max)?;
        // Without time for a single step, a run that is started again and again would never get on: it does one.
        let may_stop = |why: &Why| *why != Why::TimeLimit || step > fit.outcome.step;
        Ok(Why::of_urgency(urgency[0]).filter(may_stop).filter(|_| !is_last))
    }

    fn stop(&mut self, fit: &mut Fit<'_, N::Input, T>, why: Why) -> Result<(), TrainError> {
        fit.outcome.end = End::Stopped;
        let step = fit.progress.step;
        let what = if why == Why::TimeLimit { "time_limit" } else { "signal" };
        fit.records.event(step, what, why.to_string())?;
        fit.display.say(&format!("{why}: stopping after step {step}"));
        self.save(fit)
    }

    /// Leaves word in the run's folder of how the run ended, for scripts.
    fn write_state(&self, end: End) -> Result<(), TrainError> {
        let Some(out) = self.config.out.as_ref().filter(|_| self.mesh.world().rank() == 0) else { return Ok(()) };
        let text = if end == End::Finished { "finished\n" } else { "stopped\n" };
        let path = out.join("state");
        std::fs::write(&path, text).map_err(|source| TrainError::Folder { path, source })
    }

    fn n_parameters(&self) -> Result<u64, TrainError> {
        let mut n = [0];
        // Parameters that are one count once.
        let copies: Vec<String> = self.model.network().tied().into_iter().map(|[_, closing]| closing).collect();
        let is_first = self.model.is_first();
        self.model.network().visit_parameters(|p| {
            if !p.is_statistic && !copies.contains(&p.name) && (is_first || !is_shared(&p.name)) {
                n[0] += p.shape.iter().product::<usize>() as u64;
            }
        });
        self.mesh.layer().all_reduce(&mut n, ReduceOp::Sum)?;
        Ok(n[0])
    }
}
