//! The steps of a sequence as the solver sees them.

use std::ops::Range;
use std::sync::Arc;

use braidnet_grid::Step;
use braidnet_mgrit::{Differentiable, Output, PendingGradients, Propagator, StepError};
use burn::tensor::Device;

use super::pointwise::gates;
use super::prepared::Prepared;
use super::rows::Rows;
use super::tape::{self, CellTape, GruTape};
use crate::{CoarseOperator, Gradients, NetworkError, TensorState};

/// Rows of a product at most on a processor: beyond it is no faster, but leaves the caches.
const MAX_ROWS: usize = 1600;

/// The steps of a rank and the batch that they are applied to. As all steps share their parameters, those of several intervals
/// are one call on the rows of all their states.
pub struct GruSteps {
    pub(super) prepared: Arc<Prepared>,
    pub(super) layers: Range<usize>,
    pub(super) device: Device,
    pub(super) is_on_gpu: bool,
}

/// That a step can be done by the rank that has the steps `layers`.
pub(super) fn supports(step: &Step, layers: &Range<usize>, input: CoarseOperator) -> Result<(), StepError> {
    if !layers.contains(&step.layer) {
        return Err(
            format!("step {} of the sequence is not among the steps {layers:?} of this rank", step.layer).into()
        );
    }
    if input == CoarseOperator::Mean && step.fine.end > layers.end {
        return Err(NetworkError::RunIsSplit { operator: input, run: step.fine.clone() }.into());
    }
    Ok(())
}

impl GruSteps {
    /// The parts that a step is taken in. Where a run goes on on another rank, its parts there read the last input that is here.
    fn parts(&self, step: &Step) -> Vec<Step> {
        let last = self.layers.end - 1;
        let parts = step.parts(self.prepared.config.coarse_parts);
        parts.map(|part| Step { layer: part.layer.min(last), ..part }).collect()
    }

    /// Takes states through steps, all cells of them; returns what a linearisation keeps.
    fn through(&self, steps: &[Step], states: &mut [TensorState<3>]) -> Vec<CellTape> {
        let prepared = &self.prepared;
        let pace = prepared.pace(steps);
        let inputs: Vec<_> = steps.iter().map(|step| prepared.projection(step)).collect();
        let mut new: Vec<Rows> = Vec::with_capacity(prepared.cells.len());
        let mut tapes = Vec::with_capacity(prepared.cells.len());
        for (k, weights) in prepared.cells.iter().enumerate() {
            let h = Rows::stack(states, k);
            let from_state = h.clone().matmul(weights.h.clone());
            let gates = match new.last() {
                None => gates(&inputs.iter().map(|x| x.part()).collect::<Vec<_>>(), from_state, &weights.h_bias),
                Some(below) => {
                    let mut from_input = below.clone().matmul(weights.x.clone());
                    from_input.add_bias(&weights.x_bias);
                    gates(&[from_input.all()], from_state, &weights.h_bias)
                }
            };
            new.push(pace.apply(&gates, &h));
            tapes.push(CellTape { h, gates });
        }
        for (state, new) in states.iter_mut().zip(Rows::states(&new, steps.len())) {
            *state = new;
        }
        tapes
    }
}

impl Propagator for GruSteps {
    type State = TensorState<3>;

    /// The parts of all steps at once, where they have equally many.
    fn step(&self, steps: &[Step], states: &mut [TensorState<3>]) -> Result<(), StepError> {
        if steps.iter().all(|step| step.fine.len() == 1) {
            self.through(steps, states);
            return Ok(());
        }
        let parts: Vec<Vec<Step>> = steps.iter().map(|step| self.parts(step)).collect();
        let n = parts[0].len();
        if parts.iter().all(|parts| parts.len() == n) {
            for i in 0..n {
                self.through(&parts.iter().map(|parts| parts[i].clone()).collect::<Vec<_>>(), states);
            }
            return Ok(());
        }
        for (parts, state) in parts.iter().zip(states) {
            for part in parts {
                self.through(std::slice::from_ref(part), std::slice::from_mut(state));
            }
        }
        Ok(())
    }

    fn supports(&self, step: &Step) -> Result<(), StepError> {
        supports(step, &self.layers, self.prepared.config.coarse_input)
    }

    fn batch(&self) -> usize {
        if self.is_on_gpu { usize::MAX } else { (MAX_ROWS / self.prepared.samples().max(1)).max(1) }
    }

    fn context(&self) -> Device {
        self.device.clone()
    }

    fn step_with_diagonal(
        &self,
        steps: &[Step],
        states: &mut [TensorState<3>],
    ) -> Result<Vec<TensorState<3>>, StepError> {
        let tapes = self.linearize_batch(steps, states, Output::Used)?;
        self.diagonal_batch(steps, &tapes.iter().collect::<Vec<_>>())
    }
}

impl Differentiable for GruSteps {
    type Linearization = GruTape;

    fn linearize(&self, step: &Step, state: &mut TensorState<3>, output: Output) -> Result<GruTape, StepError> {
        let (steps, states) = (std::slice::from_ref(step), std::slice::from_mut(state));
        self.linearize_batch(steps, states, output)?.pop().ok_or_else(|| "a step has one linearisation".into())
    }

    /// The linearisation of a coarse step is that of it as a whole: the adjoint solve uses those of the layers in its parts.
    fn linearize_batch(
        &self,
        steps: &[Step],
        states: &mut [TensorState<3>],
        _: Output,
    ) -> Result<Vec<GruTape>, StepError> {
        let is_in_parts = self.prepared.config.coarse_parts > 1 && steps.iter().any(|step| step.fine.len() > 1);
        let cells: Arc<[CellTape]> = if is_in_parts {
            let cells = self.through(steps, &mut states.to_vec());
            self.step(steps, states)?;
            cells.into()
        } else {
            self.through(steps, states).into()
        };
        let tape = |at| GruTape { prepared: Arc::clone(&self.prepared), cells: Arc::clone(&cells), at };
        Ok((0..steps.len()).map(tape).collect())
    }

    fn pullback_batch(
        &self,
        steps: &[Step],
        tapes: &[&GruTape],
        lambdas: &mut [TensorState<3>],
    ) -> Result<(), StepError> {
        tape::pullback(steps, tapes, lambdas);
        Ok(())
    }

    fn pullback_batch_with_gradients(
        &self,
        steps: &[Step],
        tapes: Vec<GruTape>,
        lambdas: &mut [TensorState<3>],
        _: Output,
    ) -> Result<Vec<PendingGradients<Gradients>>, StepError> {
        Ok(tape::pullback_with_gradients(steps, tapes, lambdas))
    }

    fn diagonal_batch(&self, steps: &[Step], tapes: &[&GruTape]) -> Result<Vec<TensorState<3>>, StepError> {
        Ok(tape::diagonals(steps, tapes))
    }

    fn parts(&self, step: &Step) -> Vec<Step> {
        GruSteps::parts(self, step)
    }

    /// The gates in the middle of a part are a better mean of its fine steps than those of its first.
    fn shared_linearization(&self, step: &Step) -> Option<usize> {
        Some((step.fine.start + step.fine.len() / 2).min(self.layers.end - 1))
    }
}
