//! Measuring what the parts of a network cost.

mod ends;
mod layers;
mod links;
mod parameters;

use braidnet_comm::Transfer;
use braidnet_mgrit::Propagator;
use braidnet_nn::{CoarseOperator, Network, Pass};
use burn::tensor::Tensor;

use super::{CoarseCosts, Costs, EndCosts, LayerCosts, SharedCosts, StateCosts};
use crate::{LayerParallel, OptimizerConfig, TrainError};
use ends::End;
pub(crate) use layers::{Measured, Op};
pub use links::measure_links;
use parameters::Parameters;

/// What is measured, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Measuring {
    /// Which network, for people.
    pub network: String,
    /// Its coarse operator.
    pub operator: CoarseOperator,
    /// The optimizer whose updates are measured.
    pub optimizer: OptimizerConfig,
    /// Times that everything is measured; the median counts.
    pub repeats: usize,
}

impl<N: Network> LayerParallel<N> {
    /// Measures what the parts of the network cost for a batch of so many samples, whose inputs the first rank must give: all that a
    /// prediction needs of one number of samples ([`Costs::join`] puts several together). The same on every rank.
    ///
    /// Times are medians over the repeats, and over all layers of equal sizes. Coarse steps are those of the schedule's backward solve; of a
    /// schedule without any, those of coarsening by 4. Nothing is trained.
    ///
    /// # Errors
    /// A layer that fails, or a failed message.
    ///
    /// # Communication
    /// Collective over the layer axis. All ranks measure their own layers at the same time, as they will work: on one rank, what a rank
    /// costs that works alone.
    ///
    /// # Cost
    /// About four sequential training steps per repeat.
    pub fn measure_costs(
        &mut self,
        what: &Measuring,
        samples: usize,
        input: Option<&N::Input>,
        loss: impl Fn(Tensor<2>) -> Tensor<1>,
    ) -> Result<Costs, TrainError> {
        let (batch, _) = self.open(samples, input, None)?;
        let rows = samples * self.network.block(&batch).batch();
        let raw = self.network.largest_batch(samples);
        let is_known = self.network.batch_of_size(samples, Pass::Training(None)).is_some();
        let batch_bytes = if is_known { 0 } else { raw.n_bytes() };
        let (mut layers, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..what.repeats.max(1) {
            layers.extend(self.time_layers(&raw)?);
            ends.push(self.time_ends(what.optimizer, input, (&raw, &batch), &loss)?);
        }
        let measured = Measured::gather(self, samples, layers)?;
        let end = ends::gather(&self.comm, &ends)?;
        let parameters = self.parameters_of_parts(&raw)?;
        let of = |work: End, back: f64, update: End, parameters| EndCosts {
            work: end(work).into(),
            back: back.into(),
            parameters,
            update: end(update),
        };
        let shares = self.network.shares_parameters();
        let shared = || SharedCosts {
            parameters: parameters.shared,
            complete: end(End::Complete).into(),
            update: end(End::UpdateShared),
        };
        let mut costs = Costs {
            network: what.network.clone(),
            batch: samples,
            operator: what.operator,
            rows: if rows > samples { rows } else { 0 },
            samples: vec![samples],
            batch_bytes: batch_bytes as f64 / samples as f64,
            prepare: shares.then(|| end(End::Prepare).into()),
            shared: shares.then(shared),
            states: StateCosts {
                axpy_per_byte: end(End::Axpy),
                norm_per_byte: end(End::Norm),
                ..StateCosts::default()
            },
            opening: of(End::Opening, end(End::OpeningBack), End::UpdateOpening, parameters.opening),
            closing: of(End::Closing, 0.0, End::UpdateClosing, parameters.closing),
            layers: self.layers_measured(samples, &measured, &parameters, end(End::UpdateLayer)),
        };
        costs.merge_runs();
        Ok(costs)
    }

    /// The layers one by one, with what was measured of them.
    fn layers_measured(
        &self,
        samples: usize,
        measured: &Measured,
        parameters: &Parameters,
        update: f64,
    ) -> Vec<LayerCosts> {
        let batch = self.network.largest_batch(samples);
        let per_sample = |bytes: usize| bytes as f64 / samples as f64;
        let costs_of = |layer: usize| {
            let time = |op| measured.seconds(layer, op).unwrap_or(0.0).into();
            let coarse = measured.seconds(layer, Op::CoarseForward).map(|forward| CoarseCosts {
                forward: forward.into(),
                pullback: time(Op::CoarsePullback),
                linearize: measured.seconds(layer, Op::CoarseLinearize).map(Into::into),
            });
            LayerCosts {
                count: 1,
                transition: self.grid.kind(layer) == braidnet_grid::StepKind::Transition,
                state_bytes: per_sample(self.network.state_bytes(layer, &batch)),
                tape_bytes: per_sample(parameters.tape_bytes[layer]),
                parameters: parameters.layers[layer],
                update,
                forward: time(Op::Forward),
                linearize: time(Op::Linearize),
                pullback: time(Op::Pullback),
                back: time(Op::Back),
                back_unused: time(Op::BackUnused),
                gradients: time(Op::Gradients),
                coarse,
            }
        };
        (0..self.n_layers()).map(costs_of).collect()
    }
}

/// The middle one; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
