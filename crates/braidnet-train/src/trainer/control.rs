//! The controller in the training loop: probing steps, what they measure, and changes of the schedule.

use braidnet_comm::Communicator;
use braidnet_mgrit::SolveReport;
use braidnet_monitor::metrics::{self, Record};
use braidnet_nn::Network;

use super::fit::Fit;
use super::{Score, Trainer};
use crate::control::{Measured, is_round_off};
use crate::data::{LoadedStep, Micro};
use crate::{Precision, StepReport, TrainError};

impl<N: Network<Input: Send + 'static>, T: Send + 'static> Trainer<N, T> {
    /// Whether the step to come tells how the schedule in use converges: it does one more iteration, with norms. Its
    /// gradients are those of training, a little better than others.
    pub(super) fn begin_probing(&mut self, step: u64) -> Result<bool, TrainError> {
        let probes = self.controller.due(step);
        if probes && self.controller.probe_rung() == self.controller.rung() {
            self.model.set_solves(self.controller.schedule(), super::probe::two_norms)?;
        }
        Ok(probes)
    }

    /// What the step that probed found, the same on every rank; before the solvers are used again.
    ///
    /// # Communication
    /// Collective: one all-reduce on the layer axis, one all-gather on the data axis; a separate solve where the
    /// controller looks at another schedule, and a sequential step where the gradient error is wanted.
    pub(super) fn measure(
        &mut self,
        loaded: &LoadedStep<N::Input, T>,
        report: &StepReport,
    ) -> Result<Measured, TrainError> {
        let looks_below = self.controller.probe_rung() != self.controller.rung();
        let schedule = self.controller.probe_schedule().clone();
        let mut measured = Measured::default();
        let micro: Option<&Micro<N::Input, T>> = loaded.micro.first();
        match micro {
            Some(micro) if looks_below => {
                self.model.set_solves(&schedule, super::probe::two_norms)?;
                let [forward, backward] = self.model.solve_once(micro, &self.task)?;
                measured = self.judge_solves(Some(&forward), Some(&backward))?;
            }
            Some(_) => measured = self.judge_solves(report.forward.as_ref(), report.backward.as_ref())?,
            None => {}
        }
        if let Some(micro) = micro.filter(|_| self.controller.config().gradient_error) {
            self.model.set_solves(&schedule, |options| options)?;
            let error = self.model.error_of(micro, &self.task)?;
            (measured.gradient_error, measured.cosine) = (Some(error.relative), Some(error.cosine));
        }
        self.model.set_solves(self.controller.schedule(), |options| options)?;
        agree(&measured, self.mesh.data())
    }

    /// Lets the controller decide, and does what it says.
    pub(super) fn decide(&mut self, fit: &mut Fit<'_, N::Input, T>, measured: &Measured) -> Result<(), TrainError> {
        let step = fit.progress.step;
        let decision = self.controller.observe(step, measured);
        let line = self.controller.line(&decision);
        if decision.is_change() {
            self.model.set_solves(self.controller.schedule(), |options| options)?;
            fit.display.say(&format!("step {step}: {line}"));
        }
        fit.sums.rho = [measured.rho_forward, measured.rho_backward];
        fit.records.write(&Record::Probe(metrics::Probe {
            step,
            gradient_error: measured.gradient_error,
            gradient_cosine: measured.cosine,
            rho_forward: measured.rho_forward,
            rho_backward: measured.rho_backward,
            rung: Some(decision.to as u64),
        }))?;
        fit.records.event(step, "control", line)
    }

    /// Lets the controller see how far the scheduled score of an evaluation is from the exact one.
    pub(super) fn judge_scores(
        &mut self,
        fit: &mut Fit<'_, N::Input, T>,
        [exact, scheduled]: [Score; 2],
    ) -> Result<(), TrainError> {
        let mismatch = match (exact.accuracy, scheduled.accuracy) {
            (Some(exact), Some(scheduled)) => (scheduled - exact).abs(),
            _ => ((scheduled.loss - exact.loss) / exact.loss).abs(),
        };
        let step = fit.progress.step;
        let Some(decision) = self.controller.observe_mismatch(step, mismatch) else { return Ok(()) };
        let line = self.controller.line(&decision);
        if decision.is_change() {
            self.model.set_solves(self.controller.schedule(), |options| options)?;
            fit.display.say(&format!("step {step}: {line}"));
        }
        fit.records.event(step, "control", line)
    }

    /// Says how much of the training was layer-parallel, where the controller had a choice.
    pub(super) fn sum_up_control(&self, fit: &mut Fit<'_, N::Input, T>) -> Result<(), TrainError> {
        let Some(line) = self.controller.summary() else { return Ok(()) };
        fit.display.say(&line);
        fit.records.event(fit.progress.step, "control_summary", line)
    }

    /// Convergence factors, and whether they are round-off.
    fn judge_solves(
        &self,
        forward: Option<&SolveReport>,
        backward: Option<&SolveReport>,
    ) -> Result<Measured, TrainError> {
        let (norms, n_elements) = self.model.state_norms()?;
        let precision = self.model.precision();
        let eps = 2.0 * precision.unit_roundoff();
        // A low type is what sums are rounded to, once; they are formed in single precision.
        let n_elements = if precision == Precision::F32 { n_elements } else { 1 };
        let at_floor = |report: Option<&SolveReport>, norm| {
            report.and_then(SolveReport::residual).is_some_and(|r| is_round_off(r, norm, n_elements, eps))
        };
        Ok(Measured {
            rho_forward: forward.and_then(SolveReport::rho),
            rho_backward: backward.and_then(SolveReport::rho),
            at_floor_forward: at_floor(forward, norms[0]),
            at_floor_backward: at_floor(backward, norms[1]),
            ..Measured::default()
        })
    }
}

/// The worst of what the data ranks measured: the largest, with what is not finite above all, and round-off only where
/// nobody has more.
///
/// # Communication
/// Collective: one all-gather.
fn agree(own: &Measured, data: &Communicator) -> Result<Measured, TrainError> {
    if data.size() == 1 {
        return Ok(*own);
    }
    // A residual of exactly 0 is round-off without a rho.
    let pack = |value: Option<f64>, at_floor: bool| {
        [f64::from(u8::from(value.is_some() || at_floor)), value.unwrap_or(0.0), f64::from(u8::from(at_floor))]
    };
    let packed = [
        pack(own.rho_forward, own.at_floor_forward),
        pack(own.rho_backward, own.at_floor_backward),
        pack(own.gradient_error, false),
        pack(own.cosine.map(|cosine| -cosine), false),
    ];
    let all: Vec<Vec<f64>> = data.all_gather(packed.concat(), &())?;
    let of = |n: usize| worst(all.iter().filter_map(|said| <[f64; 3]>::try_from(&said[3 * n..3 * n + 3]).ok()));
    let [(rho_forward, at_floor_forward), (rho_backward, at_floor_backward)] = [of(0), of(1)];
    let cosine = of(3).0.map(|negative| -negative);
    Ok(Measured { rho_forward, rho_backward, at_floor_forward, at_floor_backward, gradient_error: of(2).0, cosine })
}

/// The worst of what ranks say, each whether it has a value, the value, and whether that is round-off.
fn worst(said: impl IntoIterator<Item = [f64; 3]>) -> (Option<f64>, bool) {
    let mut worst: (Option<f64>, bool) = (None, false);
    for [present, value, at_floor] in said {
        let at_floor = at_floor == 1.0 && value.is_finite();
        let is_worse = match worst {
            _ if present != 1.0 => false,
            (None, _) => true,
            // Nothing is worse than a NaN.
            (Some(known), _) if known.is_nan() => false,
            (Some(_), true) if !at_floor => true,
            (Some(_), false) if at_floor => false,
            (Some(known), _) => value.is_nan() || value > known,
        };
        if is_worse {
            worst = (Some(value), at_floor);
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_is_the_worst_whoever_says_it() {
        let (nan, infinity) = (f64::NAN, f64::INFINITY);
        for said in [[0.5, nan], [nan, 0.5], [infinity, nan], [nan, infinity]] {
            let (value, at_floor) = worst(said.map(|value| [1.0, value, 0.0]));
            assert!(value.is_some_and(f64::is_nan) && !at_floor, "{said:?}");
        }
        assert_eq!(worst([[1.0, 0.7, 0.0], [1.0, 0.5, 0.0]]), (Some(0.7), false));
    }

    #[test]
    fn round_off_counts_where_nobody_has_more() {
        let (floor, more, absent) = ([1.0, 0.9, 1.0], [1.0, 0.1, 0.0], [0.0; 3]);
        assert_eq!(worst([floor, more]), (Some(0.1), false));
        assert_eq!(worst([more, floor]), (Some(0.1), false));
        assert_eq!(worst([absent, floor]), (Some(0.9), true));
        assert_eq!(worst([absent; 2]), (None, false));
    }
}
