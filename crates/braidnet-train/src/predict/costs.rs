//! What the parts of a network cost.

mod combine;

use braidnet_grid::{StepKind, TimeGrid};
use braidnet_nn::CoarseOperator;
use serde::{Deserialize, Serialize};

use super::PredictError;
use super::times::{Times, amount, count};

/// What the parts of a network cost on one rank that works alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// Which network, for people.
    pub network: String,
    /// Samples of the global batch that it is trained with.
    #[serde(deserialize_with = "count")]
    pub batch: usize,
    /// The operator of coarse steps: whether their layers must be on one rank.
    pub operator: CoarseOperator,
    /// Samples times steps of one call at most, where steps are taken many at once; 0: one by one. So many at once cost as much as so many times the
    /// samples.
    #[serde(default)]
    pub rows: usize,
    /// The numbers of samples that all [`Times`] are of, ascending.
    pub samples: Vec<usize>,
    /// What the ranks agree on at the start of a micro-batch, bytes per sample; 0 where its size says it all.
    #[serde(default, deserialize_with = "amount")]
    pub batch_bytes: f64,
    /// What every rank makes of a micro-batch before its sweeps.
    #[serde(default)]
    pub prepare: Option<Times>,
    /// What layers share, if they do.
    #[serde(default)]
    pub shared: Option<SharedCosts>,
    /// The solver's own work on states.
    #[serde(default)]
    pub states: StateCosts,
    /// The opening layer: `work` forward, `back` for its gradients.
    pub opening: EndCosts,
    /// The closing layer and the loss: `work` for output, loss, gradients and derivatives in one; `back` is 0.
    pub closing: EndCosts,
    /// The layers, in runs of equal ones.
    pub layers: Vec<LayerCosts>,
}

/// Equal layers, one behind the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerCosts {
    /// How many.
    #[serde(deserialize_with = "count")]
    pub count: usize,
    /// A step that is never merged into a coarse one.
    #[serde(default)]
    pub transition: bool,
    /// Bytes of the state before each, per sample.
    #[serde(deserialize_with = "amount")]
    pub state_bytes: f64,
    /// Bytes that the linearisation of each keeps, per sample.
    #[serde(default, deserialize_with = "amount")]
    pub tape_bytes: f64,
    /// Parameters of each.
    #[serde(default)]
    pub parameters: usize,
    /// Seconds of the optimizer for each.
    #[serde(default, deserialize_with = "amount")]
    pub update: f64,
    /// [`Propagator::step`](braidnet_mgrit::Propagator::step).
    pub forward: Times,
    /// [`Differentiable::linearize`](braidnet_mgrit::Differentiable::linearize).
    pub linearize: Times,
    /// [`Linearization::pullback`](braidnet_mgrit::Linearization::pullback).
    pub pullback: Times,
    /// [`Linearization::pullback_with_gradients`](braidnet_mgrit::Linearization::pullback_with_gradients), before lambda is sent on.
    pub back: Times,
    /// The same where nobody needs lambda: at the end of an interval.
    pub back_unused: Times,
    /// The rest of it: the gradients.
    pub gradients: Times,
    /// A coarse step that begins with such a layer; of a transition, which is in none, nothing.
    #[serde(default)]
    pub coarse: Option<CoarseCosts>,
}

/// A coarse step, whatever its length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoarseCosts {
    /// Its evaluation.
    pub forward: Times,
    /// Its pullback.
    pub pullback: Times,
    /// Its linearisation, unless it shares that of a layer.
    #[serde(default)]
    pub linearize: Option<Times>,
}

/// The layer at one end of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndCosts {
    /// Forward.
    pub work: Times,
    /// Back.
    pub back: Times,
    /// Parameters.
    #[serde(default)]
    pub parameters: usize,
    /// Seconds of the optimizer.
    #[serde(default, deserialize_with = "amount")]
    pub update: f64,
}

/// Parameters that layers share: every rank has a copy of them, and their gradients are summed over the layer axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedCosts {
    /// How many.
    pub parameters: usize,
    /// Forming their gradients, behind the adjoint.
    pub complete: Times,
    /// Seconds of the optimizer.
    #[serde(default, deserialize_with = "amount")]
    pub update: f64,
}

/// The solver's own work on states: seconds per byte, and for each call.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateCosts {
    /// `u += a x` and other work of its kind, per call.
    #[serde(deserialize_with = "amount")]
    pub axpy: f64,
    /// Per byte.
    #[serde(deserialize_with = "amount")]
    pub axpy_per_byte: f64,
    /// A norm, per call.
    #[serde(deserialize_with = "amount")]
    pub norm: f64,
    /// Per byte.
    #[serde(deserialize_with = "amount")]
    pub norm_per_byte: f64,
}

impl Costs {
    /// Number of layers.
    pub fn n_layers(&self) -> usize {
        self.layers.iter().map(|run| run.count).sum()
    }

    /// Parameters of the whole network.
    pub fn n_parameters(&self) -> usize {
        let layers = self.layers.iter().map(|run| run.count * run.parameters).sum::<usize>();
        layers + self.opening.parameters + self.closing.parameters + self.n_shared()
    }

    /// Parameters that layers share.
    pub(super) fn n_shared(&self) -> usize {
        self.shared.as_ref().map_or(0, |shared| shared.parameters)
    }

    /// The run of every layer.
    pub(super) fn runs(&self) -> Vec<usize> {
        let runs = self.layers.iter().enumerate();
        runs.flat_map(|(run, costs)| std::iter::repeat_n(run, costs.count)).collect()
    }

    /// The grid: ODE layers have steps of 1.
    pub(super) fn grid(&self) -> Result<TimeGrid, PredictError> {
        let kind = |run: usize| match self.layers[run].transition {
            true => StepKind::Transition,
            false => StepKind::Ode,
        };
        let kinds: Vec<StepKind> = self.runs().into_iter().map(kind).collect();
        Ok(TimeGrid::from_kinds(&kinds, 1.0)?)
    }

    /// Seconds of every layer, forward and back, for `n` samples.
    pub fn of_layers(&self, n: usize) -> Vec<f64> {
        let of_run = |run: &LayerCosts| {
            [&run.linearize, &run.back, &run.gradients].map(|times| times.at(&self.samples, n)).iter().sum::<f64>()
        };
        let of_runs: Vec<f64> = self.layers.iter().map(of_run).collect();
        self.runs().into_iter().map(|run| of_runs[run]).collect()
    }

    /// All times, with their keys in a file.
    fn named(&mut self) -> Vec<(String, &mut Times)> {
        let mut all = Vec::new();
        for (name, end) in [("opening", &mut self.opening), ("closing", &mut self.closing)] {
            all.extend([(format!("{name}.work"), &mut end.work), (format!("{name}.back"), &mut end.back)]);
        }
        all.extend(self.prepare.iter_mut().map(|times| ("prepare".to_owned(), times)));
        all.extend(self.shared.iter_mut().map(|shared| ("shared.complete".to_owned(), &mut shared.complete)));
        for (run, costs) in self.layers.iter_mut().enumerate() {
            all.extend(costs.named().into_iter().map(|(name, times)| (format!("layers[{run}].{name}"), times)));
        }
        all
    }

    /// That there are layers, and as many times of each operation as numbers of samples.
    ///
    /// # Errors
    /// [`PredictError::BadCosts`].
    pub fn check(&self) -> Result<(), PredictError> {
        let bad = |problem: String| Err(PredictError::BadCosts { problem });
        let n = self.samples.len();
        if n == 0 || self.samples[0] == 0 || !self.samples.is_sorted_by(|a, b| a < b) {
            return bad(format!("samples = {:?}: give ascending numbers from 1", self.samples));
        }
        if self.layers.is_empty() {
            return bad("there are no layers: give at least one".to_owned());
        }
        let mut copy = self.clone();
        for (name, times) in copy.named() {
            if times.0.len() != n {
                let times = times.0.len();
                return bad(format!("{name} has {times} times for {n} numbers of samples: give one for each"));
            }
            if let Some(time) = times.0.iter().find(|time| !(time.is_finite() && **time >= 0.0)) {
                return bad(format!("{name} has a time of {time}: use finite numbers, at least 0"));
            }
        }
        Ok(())
    }
}

impl LayerCosts {
    fn named(&mut self) -> Vec<(&'static str, &mut Times)> {
        let mut all = vec![
            ("forward", &mut self.forward),
            ("linearize", &mut self.linearize),
            ("pullback", &mut self.pullback),
            ("back", &mut self.back),
            ("back_unused", &mut self.back_unused),
            ("gradients", &mut self.gradients),
        ];
        if let Some(CoarseCosts { forward, pullback, linearize }) = &mut self.coarse {
            all.extend([("coarse.forward", forward), ("coarse.pullback", pullback)]);
            all.extend(linearize.iter_mut().map(|times| ("coarse.linearize", times)));
        }
        all
    }
}
