//! One step of a run: gradients, what all ranks must know, the update, and its record.

use std::time::{Duration, Instant};

use braidnet_mgrit::place;
use braidnet_monitor::metrics::{self, Record};
use braidnet_monitor::timeline;
use braidnet_nn::{Gradients, Network, Noise};
use tracing::trace_span;

use super::agree::{Agreed, Bad};
use super::fit::Fit;
use super::resume::Progress;
use super::saving::note_saved;
use super::stop::Next;
use super::{OnNan, Trainer};
use crate::data::{LoadedStep, Micro};
use crate::{Continuity, Shard, StepReport, TrainError, clip, gradient_norm, sum_copies};

/// Makes gradients of the sum of all losses over the samples of a batch those of the mean loss over its items.
fn mean_over_items(gradients: &mut Gradients, agreed: &Agreed, samples: usize) {
    if agreed.items as usize == samples || agreed.items == 0 {
        return;
    }
    let factor = samples as f64 / agreed.items as f64;
    for gradient in gradients.iter_mut().filter(|gradient| !gradient.is_statistic) {
        gradient.values.inplace(|g| g * factor);
    }
}

/// Updates left out in a row after which a run is given up.
const SKIPS: usize = 100;

impl<N: Network<Input: Send + 'static>, T: Send + 'static> Trainer<N, T> {
    /// One update.
    pub(super) fn step(
        &mut self,
        fit: &mut Fit<'_, N::Input, T>,
        loaded: LoadedStep<N::Input, T>,
        start: Instant,
    ) -> Result<(Agreed, Duration), TrainError> {
        let _span = trace_span!(target: timeline::TARGET, "step", step = fit.progress.step + 1).entered();
        let shard = Shard { micro: &loaded.micro, global: loaded.global };
        self.model.set_noise(Some(self.noise_of(fit.progress.step)));
        let next = if loaded.position_after < fit.train.n { Next::Step } else { Next::Evaluation };
        let probes = self.begin_probing(fit.progress.step)?;
        let (agreement, watch) = (&mut fit.agreement, &fit.watch);
        let mut tell = |forwarded: &_| agreement.start(forwarded, watch.why(next));
        let mut report = self.model.train_step(shard, &self.task, &mut self.reducer, &mut tell)?;
        let measured = probes.then(|| self.measure(&loaded, &report)).transpose()?;
        let waits = Instant::now();
        let mut gradients = self.reducer.finish()?;
        let agreed = fit.agreement.finish()?;
        sum_copies(self.model.network(), self.model.comm(), &mut gradients)?;
        mean_over_items(&mut gradients, &agreed, loaded.global);
        if let Some(continuity) = self.continuity() {
            fit.sums.penalty = Some(continuity.add(&self.model, &mut gradients)?);
        }
        let (norm, is_clipped) = self.norm(&mut gradients)?;
        report.seconds_waiting += waits.elapsed().as_secs_f64();
        let rate = fit.rates.next();
        let step = fit.progress.step + 1;
        let bad = self.what_is_bad(&agreed, &report, norm);
        match bad {
            None => {
                let _span = trace_span!(target: timeline::TARGET, "optimizer").entered();
                place::enter("update");
                self.optimizer.set_learning_rate(rate);
                self.optimizer.step(&mut self.model, gradients);
                fit.skipped = 0;
            }
            Some(bad) => self.leave_out(fit, step, bad)?,
        }
        let took = start.elapsed();
        fit.sums.add(took, report.seconds_waiting, loaded.global);
        self.note_step(fit, &loaded, &agreed, &report, (norm, is_clipped, bad.is_some(), rate, took))?;
        self.controller.count_step();
        if let Some(measured) = measured {
            self.decide(fit, &measured)?;
        }
        if let Some(saver) = &mut fit.saver {
            let saved = saver.poll()?;
            note_saved(&mut fit.records, &mut fit.watch, saved)?;
        }
        Ok((agreed, took))
    }

    /// What is random in the step after `step` updates.
    fn noise_of(&self, step: u64) -> Noise {
        Noise { seed: self.config.seed, step, first_sample: 0 }
    }

    /// The penalty on jumps between layers, if there is one.
    fn continuity(&self) -> Option<Continuity> {
        let gamma = self.config.continuity.filter(|gamma| *gamma > 0.0)?;
        Some(Continuity { gamma, dt: self.model.network().step_length() })
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
        match (agreed.bad, norm) {
            (Some(bad), _) => Some(bad),
            (None, Some(norm)) => (!norm.is_finite()).then_some(Bad::Gradients),
            (None, None) => report.bad_adjoint.map(Bad::Adjoint),
        }
    }

    /// Leaves an update out, or ends the run, as configured.
    fn leave_out(&self, fit: &mut Fit<'_, N::Input, T>, step: u64, bad: Bad) -> Result<(), TrainError> {
        let Progress { epoch, .. } = fit.progress;
        fit.skipped += 1;
        if self.config.on_nan == OnNan::Stop || fit.skipped >= SKIPS {
            fit.records.event(step, "not_finite", format!("{bad} is not finite"))?;
            // The first rank to return ends them all: not before the checkpoint that the error speaks of is on the disk.
            self.finish_saving(fit)?;
            if bad.is_known_to_all() {
                self.mesh.world().barrier()?;
            }
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
        let (samples, items) = (loaded.global as u64, agreed.items.max(1));
        fit.progress.step += 1;
        fit.progress.position = loaded.position_after as u64;
        let sum = agreed.loss * samples as f64;
        // A loss that is no number would spoil the epoch's mean.
        if sum.is_finite() {
            fit.progress.loss += sum;
            fit.progress.counted += items;
        }
        fit.progress.items += items;
        fit.progress.correct += agreed.correct;
        let residual = |of: &Option<_>| of.as_ref().and_then(braidnet_mgrit::SolveReport::residual);
        let rho = |of: &Option<_>| of.as_ref().and_then(braidnet_mgrit::SolveReport::rho);
        let seconds = took.as_secs_f64();
        fit.records.write(&Record::Step(metrics::Step {
            step: fit.progress.step,
            epoch: fit.progress.epoch,
            samples,
            loss: Some(agreed.mean_loss(loaded.global)),
            accuracy: self.task.correct.as_ref().map(|_| agreed.correct as f64 / items as f64),
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
    pub(super) fn probe(
        &mut self,
        fit: &mut Fit<'_, N::Input, T>,
        loaded: &LoadedStep<N::Input, T>,
    ) -> Result<(), TrainError> {
        let Some(micro): Option<&Micro<N::Input, T>> = loaded.micro.first() else { return Ok(()) };
        self.model.set_noise(Some(self.noise_of(fit.progress.step)));
        let probe = self.model.probe(self.controller.schedule(), micro, &self.task)?;
        fit.outcome.gradient_errors.push(probe.gradient_error);
        fit.sums.rho = [probe.rho_forward, probe.rho_backward];
        fit.records.write(&Record::Probe(metrics::Probe {
            step: fit.progress.step,
            gradient_error: Some(probe.gradient_error.relative),
            gradient_cosine: Some(probe.gradient_error.cosine),
            rho_forward: probe.rho_forward,
            rho_backward: probe.rho_backward,
            rung: None,
        }))
    }
}
