//! How far the gradients of a schedule are from the exact ones.

use std::collections::HashMap;

use braidnet_comm::ReduceOp;
use braidnet_mgrit::State;
use braidnet_nn::{Gradients, Network};
use burn::tensor::Tensor;

use crate::copies::is_shared;
use crate::{LayerParallel, TrainError};

/// Distance of the gradients of all ODE layers from those of the sequential schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradientError {
    /// `||g - e|| / ||e||` over all parameters of all ODE layers.
    pub relative: f64,
    /// Cosine of the angle between them.
    pub cosine: f64,
}

impl<N: Network> LayerParallel<N> {
    /// Compares `gradients` (of this rank, by this schedule) with the exact ones of the same batch.
    ///
    /// The opening and the closing layer are left out: their gradients are large, hardly affected, and would hide the error.
    ///
    /// # Errors
    /// A failed solve.
    ///
    /// # Communication
    /// Collective: a sequential forward and backward solve over the ranks, and one all-reduce.
    ///
    /// # Cost
    /// A sequential training step.
    pub fn gradient_error(
        &mut self,
        batch: usize,
        input: Option<&N::Input>,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
        gradients: &Gradients,
    ) -> Result<GradientError, TrainError> {
        let exact = self.exact_forward(batch, input)?.loss(loss)?.backward()?.gradients;
        self.distance(gradients, exact)
    }

    /// Relative distance of the scheduled states of a batch from the exact ones, over all points of the time grid whose states both
    /// solvers keep: where activations are recomputed, those that they are recomputed from.
    ///
    /// # Errors
    /// A failed solve.
    ///
    /// # Communication
    /// Collective: the scheduled forward solve, a sequential one, and one all-reduce.
    pub fn state_error(&mut self, batch: usize, input: Option<&N::Input>) -> Result<f64, TrainError> {
        self.evaluate(batch, input)?;
        self.evaluate_exact(batch, input)?;
        // Sums of (u - e)^2 and e^2.
        let mut sums = [0.0; 2];
        if let Some(exact) = &self.exact {
            // A point at a border is held by both ranks: it counts where it is computed.
            let own = self.layers();
            let both = [&self.solvers.forward, &exact.forward];
            let points = own.start + usize::from(!self.is_first())..=own.end;
            for point in points.filter(|point| both.iter().all(|solver| solver.keeps(*point))) {
                let Some((u, e)) = self.solvers.forward.state(point).zip(exact.forward.state(point)) else { continue };
                let mut difference = u.clone();
                difference.axpy(-1.0, e);
                sums[0] += difference.norm_squared();
                sums[1] += e.norm_squared();
            }
        }
        self.comm.all_reduce(&mut sums, ReduceOp::Sum)?;
        Ok((sums[0] / sums[1]).sqrt())
    }

    /// How far `gradients` are from the `exact` ones.
    ///
    /// # Communication
    /// Collective: one all-reduce.
    pub(crate) fn distance(&self, gradients: &Gradients, exact: Gradients) -> Result<GradientError, TrainError> {
        let exact: HashMap<_, _> = exact.into_iter().map(|g| (g.id, g.values)).collect();
        let mut in_layers = std::collections::HashSet::new();
        self.network.visit_parameters(|p| {
            // All ranks have what layers share.
            if !p.is_statistic && (p.name.starts_with("layers.") || (is_shared(&p.name) && self.is_first())) {
                in_layers.insert(p.id);
            }
        });
        // Sums of g e, g g, e e and (g - e)^2.
        let mut sums = [0.0; 4];
        for g in gradients.iter().filter(|g| in_layers.contains(&g.id)) {
            let Some(e) = exact.get(&g.id) else { continue };
            let (g, e) = (g.values.clone(), e.clone());
            let difference = g.clone() - e.clone();
            let products = [g.clone() * e.clone(), g.clone() * g, e.clone() * e, difference.clone() * difference];
            for (sum, product) in sums.iter_mut().zip(products) {
                *sum += product.sum().into_scalar::<f64>();
            }
        }
        self.comm.all_reduce(&mut sums, ReduceOp::Sum)?;
        let [ge, gg, ee, dd] = sums;
        Ok(GradientError { relative: (dd / ee).sqrt(), cosine: ge / (gg * ee).sqrt() })
    }
}
