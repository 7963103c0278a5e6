//! The state of the control, and what a probe does to it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decision::{Cause, Decision, Held};
use super::{ControlConfig, ControlError, ControlKind, Ladder, Measured};
use crate::Schedule;

/// The dwell before a descent doubles so many times at most.
const MAX_DOUBLINGS: u32 = 5;

/// A descent has lasted after so many times the dwell before it.
const LASTING: usize = 4;

/// Chooses a rung of a ladder by what probes find; see the [module](super) for the rules.
#[derive(Debug, Clone)]
pub struct Controller {
    pub(super) config: ControlConfig,
    ladder: Ladder,
    pub(super) state: State,
}

/// What a run that goes on needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// Names of the rungs, to know another ladder by.
    rungs: Vec<String>,
    pub rung: usize,
    /// Training steps done on each rung.
    steps: Vec<u64>,
    /// Readings of the rung in use, in the order of [`Quantity::ALL`](super::Quantity::ALL), the newest last.
    pub recent: [Vec<f64>; 3],
    /// Calm probes in a row, of the rung in use and then of the one below it.
    pub calm: usize,
    pub calm_below: usize,
    /// Probes since the last change.
    since: Option<usize>,
    /// Whether that was a descent which has not lasted yet.
    descended: bool,
    /// Descents that did not last.
    failed: u32,
}

impl State {
    fn new(ladder: &Ladder, steps: Vec<u64>) -> Self {
        Self {
            rungs: ladder.names(),
            rung: 0,
            steps,
            recent: Default::default(),
            calm: 0,
            calm_below: 0,
            since: None,
            descended: false,
            failed: 0,
        }
    }
}

impl Controller {
    /// A controller on the first rung.
    ///
    /// # Errors
    /// [`ControlError::Config`] with all problems of the configuration.
    pub fn new(config: ControlConfig, ladder: Ladder) -> Result<Self, ControlError> {
        config.validate()?;
        let state = State::new(&ladder, vec![0; ladder.n_rungs()]);
        Ok(Self { config, ladder, state })
    }

    /// A controller that goes on from what [`Controller::to_json`] gave. Unless it is adaptive it goes back to the
    /// first rung; the counts of steps stay, if they are of the same rungs.
    ///
    /// # Errors
    /// As [`Controller::new`]; [`ControlError::State`] if the state is none, [`ControlError::OtherLadder`] if an adaptive
    /// controller is to go on from that of a ladder with other rungs which has changed the schedule.
    pub fn from_json(config: ControlConfig, ladder: Ladder, state: &Value) -> Result<Self, ControlError> {
        config.validate()?;
        let damaged = |reason| ControlError::State { reason };
        let state = State::deserialize(state).map_err(|e| damaged(e.to_string()))?;
        let now = ladder.names();
        let adaptive = config.kind == ControlKind::Adaptive;
        let is_untouched = state.rung == 0 && state.since.is_none();
        if state.rungs != now && (!adaptive || is_untouched) {
            return Self::new(config, ladder);
        }
        if state.rungs != now {
            return Err(ControlError::OtherLadder { saved: state.rungs, now });
        }
        if state.rung > ladder.last() || state.steps.len() != ladder.n_rungs() {
            let State { rung, steps, .. } = state;
            let n = steps.len();
            return Err(damaged(format!("rung {rung} and counts of {n} rungs, for {} rungs", ladder.n_rungs())));
        }
        let state = if adaptive { state } else { State::new(&ladder, state.steps) };
        Ok(Self { config, ladder, state })
    }

    /// The state, for a checkpoint.
    ///
    /// # Errors
    /// [`ControlError::State`] with the reason of the serializer.
    pub fn to_json(&self) -> Result<Value, ControlError> {
        serde_json::to_value(&self.state).map_err(|e| ControlError::State { reason: e.to_string() })
    }

    /// Whether a probe is to be made after `step` updates; never of a schedule that is exact as given.
    pub fn due(&self, step: u64) -> bool {
        let watches = self.config.kind != ControlKind::Off && self.ladder.n_rungs() > 1;
        watches && step.is_multiple_of(self.config.probe_every as u64)
    }

    /// The rung in use.
    pub fn rung(&self) -> usize {
        self.state.rung
    }

    /// The schedule to train with.
    pub fn schedule(&self) -> &Schedule {
        self.ladder.schedule(self.rung())
    }

    /// The rung that the next probe measures: the one in use, or the one below it.
    pub fn probe_rung(&self) -> usize {
        let rung = self.rung();
        let has_time = self.probes_to_wait(self.dwell_down()) == 0;
        let looks = self.must_look(rung) && self.state.calm >= self.config.patience_down && has_time;
        if rung > 0 && (self.schedule().is_exact() || looks) { rung - 1 } else { rung }
    }

    /// The schedule that the next probe measures, its gradient error too.
    pub fn probe_schedule(&self) -> &Schedule {
        self.ladder.schedule(self.probe_rung())
    }

    /// The ladder.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// What it was told.
    pub fn config(&self) -> &ControlConfig {
        &self.config
    }

    /// Counts a training step with the schedule in use.
    pub fn count_step(&mut self) {
        self.state.steps[self.state.rung] += 1;
    }

    /// Training steps done on each rung.
    pub fn steps(&self) -> &[u64] {
        &self.state.steps
    }

    /// The part of the steps that were solved by MGRIT in at least one direction; `None` before the first.
    pub fn layer_parallel_share(&self) -> Option<f64> {
        let total: u64 = self.steps().iter().sum();
        let inexact = (0..self.ladder.n_rungs()).filter(|rung| !self.ladder.schedule(*rung).is_exact());
        let inexact: u64 = inexact.map(|rung| self.steps()[rung]).sum();
        (total > 0).then(|| inexact as f64 / total as f64)
    }

    /// The steps on each rung as one line; `None` where there was no choice, or before the first step.
    pub fn summary(&self) -> Option<String> {
        let has_choice = self.config.kind != ControlKind::Off && self.ladder.n_rungs() > 1;
        let share = self.layer_parallel_share().filter(|_| has_choice)?;
        let of_rung = |(rung, steps): (usize, &u64)| format!("{} {steps}", self.ladder.name(rung));
        let steps: Vec<String> = self.steps().iter().enumerate().map(of_rung).collect();
        Some(format!(
            "control: {:.1} % of the steps layer-parallel; steps per rung: {}",
            100.0 * share,
            steps.join(", ")
        ))
    }

    /// Takes note of a probe with [`Controller::probe_schedule`] after `step` updates, and goes to another rung if
    /// it says so.
    pub fn observe(&mut self, step: u64, measured: &Measured) -> Decision {
        let (from, probed) = (self.rung(), self.probe_rung());
        self.tick();
        let readings = measured.readings(self.ladder.schedule(probed), &self.config);
        let cause = if probed == from { self.judge(&readings) } else { self.judge_below(&readings) };
        let wanted = match cause {
            Cause::Diverges { .. } => self.ladder.last(),
            Cause::High { .. } | Cause::Mismatch { .. } => from + 1,
            Cause::Calm { .. } => from - 1,
            Cause::BelowHigh { .. } | Cause::Steady | Cause::NotMeasured => from,
        };
        let held = self.held(cause, wanted);
        let to = if held.is_some() { from } else { wanted };
        if to != from {
            self.go_to(to);
        }
        Decision { step, from, to, probed, cause, held }
    }

    /// Takes note of an evaluation after `step` updates whose scores by the schedule's forward pass and by the exact one
    /// are `mismatch` apart, and goes one rung up if that is too far; `None` where it is not, or nobody asked.
    pub fn observe_mismatch(&mut self, step: u64, mismatch: f64) -> Option<Decision> {
        let limit = self.config.max_mismatch.filter(|_| self.config.kind != ControlKind::Off)?;
        let from = self.rung();
        // A NaN is too far from anything.
        if mismatch <= limit || self.schedule().forward.is_sequential() {
            return None;
        }
        let cause = Cause::Mismatch { value: mismatch, limit };
        let held = self.held(cause, from + 1);
        let to = if held.is_some() { from } else { from + 1 };
        if to != from {
            self.go_to(to);
        }
        Some(Decision { step, from, to, probed: from, cause, held })
    }

    /// A decision as one line, with the names of the rungs.
    pub fn line(&self, decision: &Decision) -> String {
        let Decision { from, to, probed, cause, held, .. } = decision;
        let [from_name, to_name, probed_name] = [from, to, probed].map(|rung| self.ladder.name(*rung));
        let mut line = match decision.is_change() {
            true => format!("{from_name} -> {to_name}: {cause}"),
            false => format!("kept {from_name}: {cause}"),
        };
        if probed != from {
            line += &format!(" (probe of {probed_name})");
        }
        if let Some(held) = held {
            line += &format!("; not followed, {held}");
        }
        line
    }

    /// Whether probes of a rung do not tell what the one below would do.
    pub(super) fn must_look(&self, rung: usize) -> bool {
        self.config.max_gradient_error.is_some() || !self.ladder.rho_is_that_of_below(rung)
    }

    fn held(&self, cause: Cause, wanted: usize) -> Option<Held> {
        let dwell = match cause {
            Cause::High { .. } | Cause::Mismatch { .. } => self.config.dwell,
            Cause::Calm { .. } => self.dwell_down(),
            _ => 0,
        };
        match self.probes_to_wait(dwell) {
            _ if wanted == self.rung() => None,
            _ if self.config.kind != ControlKind::Adaptive => Some(Held::Fixed),
            0 => None,
            left => Some(Held::Dwell { left }),
        }
    }

    /// Probes before a descent, after a change.
    fn dwell_down(&self) -> usize {
        self.config.dwell.saturating_mul(1 << self.state.failed.min(MAX_DOUBLINGS))
    }

    fn probes_to_wait(&self, dwell: usize) -> usize {
        self.state.since.map_or(0, |since| dwell.saturating_sub(since))
    }

    fn tick(&mut self) {
        self.state.since = self.state.since.map(|since| since.saturating_add(1));
        if self.state.descended && self.probes_to_wait(self.dwell_down().saturating_mul(LASTING)) == 0 {
            (self.state.descended, self.state.failed) = (false, 0);
        }
    }

    fn go_to(&mut self, rung: usize) {
        let state = &mut self.state;
        let climbs = rung > state.rung;
        if climbs && state.descended {
            state.failed = state.failed.saturating_add(1);
        }
        state.descended = !climbs;
        state.rung = rung;
        state.since = Some(0);
        (state.calm, state.calm_below) = (0, 0);
        state.recent = Default::default();
    }
}
