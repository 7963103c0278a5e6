//! Whose the parameters are, and what linearisations keep.

use braidnet_comm::ReduceOp;
use braidnet_nn::Network;

use crate::copies::is_shared;
use crate::{LayerParallel, TrainError};

/// Parameters of the parts of a network.
pub(super) struct Parameters {
    pub opening: usize,
    pub closing: usize,
    pub shared: usize,
    /// Of every layer, as the solver counts.
    pub layers: Vec<usize>,
    /// Bytes that the linearisation of every layer keeps.
    pub tape_bytes: Vec<usize>,
}

/// A part that has parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Opening,
    Closing,
    Shared,
    Layer(usize),
}

impl<N: Network> LayerParallel<N> {
    /// Whose a parameter of this name is. Layers at the ends that the solver does not count belong to those.
    pub(super) fn owner(&self, name: &str) -> Owner {
        let layer = name.split('.').find_map(|part| part.parse::<usize>().ok());
        match layer {
            _ if is_shared(name) => Owner::Shared,
            _ if name.starts_with("open") => Owner::Opening,
            _ if name.starts_with("close") => Owner::Closing,
            Some(layer) => match layer.checked_sub(self.network.buffer_layers()) {
                None => Owner::Opening,
                Some(layer) if layer < self.n_layers() => Owner::Layer(layer),
                Some(_) => Owner::Closing,
            },
            None => Owner::Closing,
        }
    }

    /// What the whole network has, and keeps of such a batch: every rank knows of its own layers.
    ///
    /// # Communication
    /// One all-reduce over the layer axis.
    pub(super) fn parameters_of_parts(&self, batch: &N::Batch) -> Result<Parameters, TrainError> {
        let n = self.n_layers();
        let mut counts = vec![0u64; 3 + n];
        self.network.visit_parameters(|p| {
            let at = match self.owner(&p.name) {
                Owner::Opening => 0,
                Owner::Closing => 1,
                Owner::Shared => 2,
                Owner::Layer(layer) => 3 + layer,
            };
            if !p.is_statistic {
                counts[at] += p.shape.iter().product::<usize>() as u64;
            }
        });
        counts.extend((0..n).map(|layer| self.network.tape_bytes(layer, batch) as u64));
        // Every rank counts what it has; what several have they count alike.
        self.comm.all_reduce(&mut counts, ReduceOp::Max)?;
        let count = |at: usize| counts[at] as usize;
        let [layers, tape_bytes] = [3, 3 + n].map(|first| (first..first + n).map(count).collect());
        Ok(Parameters { opening: count(0), closing: count(1), shared: count(2), layers, tape_bytes })
    }
}
