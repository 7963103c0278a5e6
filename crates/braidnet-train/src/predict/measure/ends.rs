//! Times of everything but the layers: the ends of the network, the solver's work on states, the optimizer.

use std::time::Instant;

use braidnet_comm::Communicator;
use braidnet_mgrit::State;
use braidnet_nn::{Gradient, Network};
use burn::tensor::Tensor;

use super::median;
use super::parameters::Owner;
use crate::{LayerParallel, Optimizer, OptimizerConfig, TrainError};

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Opening,
    OpeningBack,
    Closing,
    Prepare,
    Complete,
    /// Per byte.
    Axpy,
    /// Per byte.
    Norm,
    UpdateOpening,
    UpdateClosing,
    UpdateShared,
    /// Of one layer.
    UpdateLayer,
}

/// Seconds of everything that a rank has.
pub(super) type EndTimes = Vec<(End, f64)>;

const N_ENDS: usize = End::UpdateLayer as usize + 1;

/// The median over all ranks and repeats; 0 of what no rank has.
///
/// # Communication
/// One all-gather.
pub(super) fn gather(comm: &Communicator, own: &[EndTimes]) -> Result<impl Fn(End) -> f64 + use<>, TrainError> {
    let flat = own.iter().flatten().flat_map(|(end, seconds)| [*end as usize as f64, *seconds]);
    let all = comm.all_gather(flat.collect::<Vec<f64>>(), &())?.concat();
    let of = |end: usize| all.chunks_exact(2).filter(|entry| entry[0] as usize == end).map(|entry| entry[1]).collect();
    let medians: Vec<f64> = (0..N_ENDS).map(|end| median(of(end))).collect();
    Ok(move |end: End| medians[end as usize])
}

fn seconds<T>(act: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let done = act();
    (start.elapsed().as_secs_f64(), done)
}

impl<N: Network> LayerParallel<N> {
    /// Times once what this rank has, for a batch as it travels and as it was prepared.
    pub(super) fn time_ends(
        &mut self,
        optimizer: OptimizerConfig,
        input: Option<&N::Input>,
        (raw, batch): (&N::Batch, &N::Batch),
        loss: impl Fn(Tensor<2>) -> Tensor<1>,
    ) -> Result<EndTimes, TrainError> {
        let network = &self.network;
        let mut times = EndTimes::new();
        if self.network.shares_parameters() {
            let raw = raw.clone();
            let (took, prepared) = seconds(|| network.prepare(raw));
            times.push((End::Prepare, took));
            times.push((End::Complete, seconds(|| network.complete(&prepared)).0));
        }
        if let (true, Some(input)) = (self.is_first(), input) {
            let (took, opened) = seconds(|| network.open_recorded(input, batch));
            times.push((End::Opening, took));
            if let Some((state, pullback)) = opened {
                let (took, gradients) = seconds(|| pullback(state));
                gradients.map_err(TrainError::Opening)?;
                times.push((End::OpeningBack, took));
            }
        }
        let states = network.zero_states(batch);
        if self.is_last() {
            let state = states.at(self.n_layers());
            let (took, closed) = seconds(|| network.close_recorded(state, batch, &loss));
            closed.map_err(TrainError::Closing)?;
            times.push((End::Closing, took));
        }
        times.extend(time_state(states.at(self.layers().start)));
        times.extend(self.time_updates(optimizer)?);
        Ok(times)
    }

    /// Times the optimizer for the parts of the network one by one, on gradients of zeros. The network stays as it is.
    fn time_updates(&mut self, config: OptimizerConfig) -> Result<EndTimes, TrainError> {
        let mut gradients = Vec::new();
        self.network.visit_parameters(|p| {
            if !p.is_statistic {
                let values = Tensor::zeros([p.shape.iter().product::<usize>()], &p.values.device());
                gradients.push((self.owner(&p.name), Gradient::new::<1>(p.id, values)));
            }
        });
        let before = self.network.clone();
        let mut optimizer = Optimizer::new(config, 1e-3)?;
        // Once for the moments, which are made in the first step.
        optimizer.step(self, gradients.iter().map(|(_, gradient)| gradient.clone()).collect());
        let mut time = |wanted: &dyn Fn(Owner) -> bool| {
            let wanted = gradients.iter().filter(|(owner, _)| wanted(*owner));
            let some: Vec<Gradient> = wanted.map(|(_, gradient)| gradient.clone()).collect();
            let is_empty = some.is_empty();
            (seconds(|| optimizer.step(self, some)).0, is_empty)
        };
        // What the optimizer does before it looks at a gradient counts with the layers.
        let (none, _) = time(&|_| false);
        let mut times = EndTimes::new();
        let ends = [
            (End::UpdateOpening, Owner::Opening),
            (End::UpdateClosing, Owner::Closing),
            (End::UpdateShared, Owner::Shared),
        ];
        for (end, owner) in ends {
            let (took, is_empty) = time(&|other| other == owner);
            if !is_empty {
                times.push((end, (took - none).max(0.0)));
            }
        }
        let (took, _) = time(&|owner| matches!(owner, Owner::Layer(_)));
        times.push((End::UpdateLayer, took / self.layers().len() as f64));
        self.update(|_| before);
        Ok(times)
    }
}

/// Per byte, with the copy that a state shared with the solver's storage takes.
fn time_state<S: State>(state: &S) -> EndTimes {
    let n_bytes = (state.n_bytes() as f64).max(1.0);
    let mut copy = state.clone();
    let (axpy, ()) = seconds(|| copy.axpy(1.0, state));
    let (norm, _) = seconds(|| copy.norm_squared());
    vec![(End::Axpy, axpy / n_bytes), (End::Norm, norm / n_bytes)]
}
