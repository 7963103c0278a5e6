//! The training loop.

use std::time::{Duration, Instant};

use braidnet_monitor::metrics::{self, Record};
use braidnet_monitor::timeline;
use braidnet_nn::{Gradients, Network};
use tracing::trace_span;

use super::agree::{Agreed, Agreement, Bad};
use super::evaluate::Pass;
use super::record::{EpochSums, Records, run_record};
use super::resume::Progress;
use super::saving::{Saved, Saver};
use super::show::Display;
use super::stop::{Watch, Why};
use super::{OnNan, Samples, Score, Trainer};
use crate::data::{EpochPlan, LoadedStep, Loader, Micro, Order};
use crate::learning_rate::Rates;
use crate::{GradientError, Shard, StepReport, TrainError, clip, gradient_norm, snapshot};

/// Updates left out in a row after which a run is given up.
const SKIPS: usize = 100;
/// Steps that the timeline leaves out: buffers grow and pages are touched for the first time.
const BEFORE_TRACE: u64 = 3;

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
    /// Times of the steps of this run on this rank, without those that probed.
    pub steps: Vec<Duration>,
    /// Gradient errors of the probes.
    pub gradient_errors: Vec<GradientError>,
    /// Part of the steps' time that ranks spent waiting for layer ranks, mean over all ranks; of the last epoch.
    pub waiting: Option<f64>,
}

/// The state of a run besides the trainer's.
struct Fit<'a, I, T> {
    train: &'a Samples<I, T>,
    progress: Progress,
    rates: Rates,
    agreement: Agreement,
    saver: Option<Saver>,
    records: Records,
    display: Display,
    watch: Watch,
    sums: EpochSums,
    skipped: usize,
    last_saved: Option<u64>,
    started_at: u64,
    outcome: Outcome,
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
    /// exchange of three numbers over all ranks; where gradients are clipped, an all-gather on the layer axis.
    pub fn fit(
        &mut self,
        train: &Samples<N::Input, T>,
        test: Option<&Samples<N::Input, T>>,
    ) -> Result<Outcome, TrainError> {
        if train.n == 0 {
            return Err(TrainError::EmptyBatch);
        }
        let mut fit = self.begin(train)?;
        while fit.progress.epoch < self.config.epochs as u64 {
            if let Some(why) = self.epoch(&mut fit)? {
                self.stop(&mut fit, why)?;
                break;
            }
            self.end_epoch(&mut fit, test)?;
        }
        if fit.outcome.end == End::Finished {
            self.save(&mut fit)?;
        }
        if let Some(saver) = &mut fit.saver {
            let saved = saver.finish()?;
            note_saved(&mut fit.records, &mut fit.watch, saved)?;
        }
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
        let mut records = Records::default();
        if world.rank() == 0
            && let Some(out) = &self.config.out
        {
            std::fs::create_dir_all(out).map_err(|source| TrainError::Folder { path: out.clone(), source })?;
            records = Records::open(out, from)?;
        }
        let sizes = (self.model.n_layers(), self.mesh.shape().layer_ranks, self.mesh.shape().data_ranks);
        let parameters = self.n_parameters()?;
        let sizes = (sizes.0, sizes.1, sizes.2, parameters);
        records.write(&run_record((&self.config, &self.schedule, &self.description), sizes, from))?;
        let checkpoints = self.checkpoints();
        let saver = checkpoints.map(|root| Saver::new(&world, &root, self.config.checkpoints.keep)).transpose()?;
        let display = Display::new(world.rank() == 0);
        if let Some(step) = from {
            let text = format!("resumed at step {step}, epoch {}, sample {}", progress.epoch, progress.position);
            display.say(&text);
        }
        let outcome = Outcome {
            end: End::Finished,
            step: progress.step,
            test: None,
            steps: Vec::new(),
            gradient_errors: Vec::new(),
            waiting: None,
        };
        Ok(Fit {
            train,
            rates: self.config.learning_rate.start(n_steps, progress.step as usize)?,
            agreement: Agreement::new(&world, self.model.n_layers())?,
            watch: Watch::new(self.config.time_limit).map_err(TrainError::Signals)?,
            sums: EpochSums::new(),
            skipped: 0,
            last_saved: from,
            started_at: progress.step,
            progress,
            saver,
            records,
            display,
            outcome,
        })
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
            self.trace_window(fit, false)?;
            let probes = self.config.probe_every.is_some_and(|every| fit.progress.step.is_multiple_of(every as u64));
            if probes {
                self.probe(fit, &loaded)?;
            }
            let start = if probes { Instant::now() } else { start };
            let (agreed, took) = self.step(fit, loaded, start)?;
            if !probes {
                fit.outcome.steps.push(took);
            }
            fit.display.step(
                epoch,
                fit.progress.position.div_ceil(self.config.batch as u64),
                n_steps,
                fit.progress.step,
                agreed.loss,
            );
            self.trace_window(fit, true)?;
            if agreed.stop {
                return Ok(Some(fit.watch.why().unwrap_or(Why::TimeLimit)));
            }
            if self.config.checkpoints.every.is_some_and(|every| fit.progress.step.is_multiple_of(every as u64)) {
                self.save(fit)?;
            }
        }
    }

    /// One update.
    fn step(
        &mut self,
        fit: &mut Fit<'_, N::Input, T>,
        loaded: LoadedStep<N::Input, T>,
        start: Instant,
    ) -> Result<(Agreed, Duration), TrainError> {
        let _span = trace_span!(target: timeline::TARGET, "step", step = fit.progress.step + 1).entered();
        let shard = Shard { micro: &loaded.micro, global: loaded.global };
        let stop = fit.watch.why().is_some();
        let agreement = &mut fit.agreement;
        let mut tell = |forwarded: &_| agreement.start(forwarded, stop);
        let report = self.model.train_step(shard, &self.task, &mut self.reducer, &mut tell)?;
        fit.agreement.advance()?;
        let mut gradients = self.reducer.finish()?;
        let agreed = fit.agreement.finish()?.ok_or(TrainError::NoAgreement)?;
        let (norm, is_clipped) = self.norm(&mut gradients)?;
        let rate = fit.rates.next();
        let step = fit.progress.step + 1;
        let bad = self.what_is_bad(&agreed, &report, norm);
        match bad {
            None => {
                let _span = trace_span!(target: "braidnet::timeline", "optimizer").entered();
                self.optimizer.set_learning_rate(rate);
                self.optimizer.step(&mut self.model, gradients);
                fit.skipped = 0;
            }
            Some(bad) => self.leave_out(fit, step, bad)?,
        }
        let took = start.elapsed();
        fit.watch.note_step(took);
        fit.sums.add(took, report.seconds_waiting, loaded.global);
        self.note_step(fit, &loaded, &agreed, &report, (norm, is_clipped, bad.is_some(), rate, took))?;
        if let Some(saver) = &mut fit.saver {
            let saved = saver.poll()?;
            note_saved(&mut fit.records, &mut fit.watch, saved)?;
        }
        Ok((agreed, took))
    }

    /// The norm of the gradients, where somebody needs it, and whether they were clipped.
    fn norm(&self, gradients: &mut Gradients) -> Result<(Option<f64>, bool), TrainError> {
        if self.config.clip.is_none() && self.config.on_nan == OnNan::Stop {
            return Ok((None, false));
        }
        let norm = gradient_norm(self.model.network(), gradients, self.mesh.layer())?;
        let is_clipped = self.config.clip.is_some_and(|limit| clip(gradients, norm, limit));
        Ok((Some(norm), is_clipped))
    }

    /// What is not finite: in the forward pass (known to all ranks), or in the backward pass (known to the rank that finds it, or
    /// to all by the norm).
    fn what_is_bad(&self, agreed: &Agreed, report: &StepReport, norm: Option<f64>) -> Option<Bad> {
        let backward = report.backward.as_ref().and_then(|backward| backward.not_finite);
        match (agreed.bad, norm) {
            (Some(bad), _) => Some(bad),
            (None, Some(norm)) => (!norm.is_finite()).then_some(Bad::Gradients),
            (None, None) => backward.map(|found| Bad::Adjoint(found.layer)),
        }
    }

    /// Leaves an update out, or ends the run, as configured.
    fn leave_out(&self, fit: &mut Fit<'_, N::Input, T>, step: u64, bad: Bad) -> Result<(), TrainError> {
        let Progress { epoch, .. } = fit.progress;
        fit.skipped += 1;
        if self.config.on_nan == OnNan::Stop || fit.skipped >= SKIPS {
            fit.records.event(step, "not_finite", format!("{bad} is not finite"))?;
            let from = match (self.checkpoints(), fit.last_saved) {
                (Some(root), Some(step)) => {
                    format!("; the checkpoint of step {step} in {} is untouched", root.display())
                }
                _ => String::new(),
            };
            return Err(TrainError::NotFinite { step, epoch, what: bad.to_string(), from });
        }
        fit.display.say(&format!("step {step}: {bad} is not finite, the update is left out"));
        fit.records.event(step, "skipped", format!("{bad} is not finite"))
    }

    fn note_step(
        &self,
        fit: &mut Fit<'_, N::Input, T>,
        loaded: &LoadedStep<N::Input, T>,
        agreed: &Agreed,
        report: &StepReport,
        (gradient_norm, clipped, skipped, learning_rate, took): (Option<f64>, bool, bool, f64, Duration),
    ) -> Result<(), TrainError> {
        let samples = loaded.global as u64;
        fit.progress.step += 1;
        fit.progress.position = loaded.position_after as u64;
        // A loss that is no number would spoil the epoch's mean.
        fit.progress.loss += if agreed.loss.is_finite() { agreed.loss * samples as f64 } else { 0.0 };
        fit.progress.correct += agreed.correct;
        let residual = |of: &Option<_>| of.as_ref().and_then(braidnet_mgrit::SolveReport::residual);
        let rho = |of: &Option<_>| of.as_ref().and_then(braidnet_mgrit::SolveReport::rho);
        let seconds = took.as_secs_f64();
        fit.records.write(&Record::Step(metrics::Step {
            step: fit.progress.step,
            epoch: fit.progress.epoch,
            samples,
            loss: Some(agreed.loss),
            accuracy: self.task.correct.as_ref().map(|_| agreed.correct as f64 / samples as f64),
            learning_rate,
            milliseconds: 1e3 * seconds,
            gradient_norm,
            clipped,
            skipped,
            forward_residual: residual(&report.forward),
            backward_residual: residual(&report.backward),
            rho_forward: rho(&report.forward),
            rho_backward: rho(&report.backward),
            waiting: Some(report.seconds_waiting / seconds),
        }))?;
        for (last, new) in fit.sums.rho.iter_mut().zip([rho(&report.forward), rho(&report.backward)]) {
            *last = new.or(*last);
        }
        Ok(())
    }

    /// Measures gradient error and rho on this rank's first micro-batch; ranks of the data axis all on their own, the first
    /// one's are noted.
    fn probe(&mut self, fit: &mut Fit<'_, N::Input, T>, loaded: &LoadedStep<N::Input, T>) -> Result<(), TrainError> {
        let Some(micro): Option<&Micro<N::Input, T>> = loaded.micro.first() else { return Ok(()) };
        let probe = self.model.probe(&self.schedule, micro, &self.task)?;
        fit.outcome.gradient_errors.push(probe.gradient_error);
        fit.sums.rho = [probe.rho_forward, probe.rho_backward];
        fit.records.write(&Record::Probe(metrics::Probe {
            step: fit.progress.step,
            gradient_error: Some(probe.gradient_error.relative),
            gradient_cosine: Some(probe.gradient_error.cosine),
        }))
    }

    /// Scores and the record of an epoch.
    fn end_epoch(
        &mut self,
        fit: &mut Fit<'_, N::Input, T>,
        test: Option<&Samples<N::Input, T>>,
    ) -> Result<(), TrainError> {
        let mut record = fit.sums.record(&fit.progress, self.task.correct.is_some(), self.mesh.world())?;
        if let Some(test) = test.filter(|test| test.n > 0) {
            let exact = self.evaluate_by(Pass::Exact, test)?;
            let scheduled = self.evaluate_by(Pass::Scheduled, test)?;
            (record.test_loss, record.test_accuracy) = (Some(exact.loss), exact.accuracy);
            record.test_accuracy_scheduled = scheduled.accuracy;
            fit.outcome.test = Some(exact);
        }
        fit.outcome.waiting = record.waiting;
        fit.display.epoch(&record);
        fit.records.write(&Record::Epoch(record))?;
        let Progress { step, epoch, .. } = fit.progress;
        fit.progress = Progress { step, epoch: epoch + 1, ..Progress::default() };
        Ok(())
    }

    /// Starts to save a checkpoint, unless this step has one.
    fn save(&mut self, fit: &mut Fit<'_, N::Input, T>) -> Result<(), TrainError> {
        let step = fit.progress.step;
        let Some(saver) = fit.saver.as_mut().filter(|_| fit.last_saved != Some(step)) else { return Ok(()) };
        let parts = match self.mesh.data_rank() {
            0 => snapshot::take(self.model.network(), &self.optimizer, &self.model.layers(), self.model.n_layers())?,
            _ => Vec::new(),
        };
        let saved = saver.start(parts, self.run_state(&fit.progress, fit.train.n))?;
        note_saved(&mut fit.records, &mut fit.watch, saved)?;
        fit.last_saved = Some(step);
        Ok(())
    }

    fn stop(&mut self, fit: &mut Fit<'_, N::Input, T>, why: Why) -> Result<(), TrainError> {
        fit.outcome.end = End::Stopped;
        let step = fit.progress.step;
        let what = if why == Why::TimeLimit { "time_limit" } else { "signal" };
        fit.records.event(step, what, why.to_string())?;
        fit.display.say(&format!("{why}: stopping after step {step}"));
        self.save(fit)
    }

    /// Records the steps of the timeline's window: switched on before its first, written after its last.
    fn trace_window(&self, fit: &Fit<'_, N::Input, T>, after_step: bool) -> Result<(), TrainError> {
        let Some(trace) = &self.config.trace else { return Ok(()) };
        let done = fit.progress.step - fit.started_at;
        if !after_step && done == BEFORE_TRACE {
            timeline::record(true);
        }
        if after_step && done == BEFORE_TRACE + trace.steps as u64 {
            timeline::record(false);
            timeline::write(&trace.folder, self.mesh.world())?;
        }
        Ok(())
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
        self.model.network().visit_parameters(|p| n[0] += p.shape.iter().product::<usize>() as u64);
        self.mesh.layer().all_reduce(&mut n, braidnet_comm::ReduceOp::Sum)?;
        Ok(n[0])
    }
}

fn note_saved(records: &mut Records, watch: &mut Watch, saved: Option<Saved>) -> Result<(), TrainError> {
    let Some(Saved { step, folder, seconds, bytes }) = saved else { return Ok(()) };
    watch.note_save(Duration::from_secs_f64(seconds));
    let path = folder.display().to_string();
    records.write(&Record::Checkpoint(metrics::Checkpoint { step, path, seconds, bytes }))
}
