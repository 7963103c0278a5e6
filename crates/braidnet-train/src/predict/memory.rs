//! Estimates of a rank's memory, without the working memory of the layers themselves.

use braidnet_mgrit::{Activations, Method, Mgrit, State};

use crate::{OptimizerConfig, Schedule};

/// What a rank's memory is made of.
pub(crate) struct Holdings {
    /// Layers.
    pub n_layers: usize,
    /// Bytes of a state, the mean over them.
    pub state: u64,
    /// Bytes of a linearisation.
    pub tape: u64,
}

/// Bytes for parameters, gradients and moments.
pub(crate) fn of_parameters(n: u64, optimizer: OptimizerConfig) -> u64 {
    4 * n * (2 + optimizer.n_moments())
}

/// Points that a rank holds on each level.
pub(crate) fn points<S: State>(solver: &Mgrit<S>) -> Vec<usize> {
    (0..solver.hierarchy().n_levels()).map(|l| solver.layout().share(l).points().len()).collect()
}

impl Holdings {
    /// Bytes of what a pipeline keeps of the micro-batches that are under way.
    pub fn of_pipeline(&self, activations: Activations, in_flight: u64) -> u64 {
        let tapes = self.n_layers as u64 * self.tape;
        match activations {
            Activations::Store => in_flight * tapes,
            // Those of the micro-batch that is on its way back.
            Activations::Recompute => in_flight * self.state + tapes,
        }
    }

    /// Bytes of states and of what the adjoint needs, for solves that hold such `points` forward and back.
    pub fn of_solves(&self, schedule: &Schedule, points: [&[usize]; 2]) -> u64 {
        // States u on all levels; v and f on the coarse ones.
        let mut states = 0;
        for counts in points {
            let finest = match schedule.activations {
                Activations::Store => counts[0],
                Activations::Recompute => 2 * counts.get(1).copied().unwrap_or(counts[0].isqrt()) + 2,
            };
            states += finest + 3 * counts[1..].iter().sum::<usize>();
        }
        for solve in [&schedule.forward, &schedule.backward] {
            // The states held, those of the trial, and the equations of both.
            states += if solve.method == Method::Newton { 5 * self.n_layers } else { 0 };
        }
        let n_layers = self.n_layers as u64;
        let tapes = match schedule.activations {
            Activations::Store => n_layers,
            Activations::Recompute => {
                let intervals = points[0].get(1).map_or((n_layers as f64).sqrt(), |n| *n as f64).max(1.0);
                (intervals + (n_layers as f64 / intervals)).ceil() as u64
            }
        };
        states as u64 * self.state + tapes.min(n_layers) * self.tape
    }
}
