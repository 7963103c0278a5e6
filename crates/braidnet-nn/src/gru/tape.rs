//! The linearisation of steps, written by hand.

use std::sync::Arc;

use braidnet_grid::Step;
use braidnet_mgrit::{Linearization, Output, PendingGradients, StepError};

use super::pointwise::Deltas;
use super::prepared::{Prepared, Product};
use super::rows::Rows;
use crate::{Gradients, TensorState};

/// What a call keeps of a cell in all its steps.
#[derive(Debug)]
pub(super) struct CellTape {
    /// The states before.
    pub h: Rows,
    pub gates: Rows,
}

/// The derivative of one step, at its state. State and input alone make the gates, so it serves every length of the step; only
/// what a cell reads of the one below it, whose new state depends on that length, is kept as the fine step had it.
#[derive(Debug, Clone)]
pub struct GruTape {
    pub(super) prepared: Arc<Prepared>,
    /// Cells of the call that this was made in.
    pub(super) cells: Arc<[CellTape]>,
    /// Which of its steps.
    pub(super) at: usize,
}

/// Pulls `lambdas` back through steps, all cells of them, the top one first; returns the cotangents of each cell's products,
/// with those of the inputs where they are wanted.
fn pull_back(steps: &[Step], tapes: &[&GruTape], lambdas: &mut [TensorState<3>], with_inputs: bool) -> Vec<Deltas> {
    let prepared = &tapes[0].prepared;
    let pace = prepared.pace(steps);
    let mut from_above: Option<Rows> = None;
    let (mut all, mut below) = (Vec::new(), Vec::new());
    for (k, weights) in prepared.cells.iter().enumerate().rev() {
        let mut lambda = Rows::stack(lambdas, k);
        if let Some(more) = from_above.take() {
            lambda.add(&more.all());
        }
        let gates: Vec<_> = tapes.iter().map(|tape| (&tape.cells[k].gates, tape.at)).collect();
        let h: Vec<_> = tapes.iter().map(|tape| (&tape.cells[k].h, tape.at)).collect();
        let deltas = pace.pullback(&gates, &h, &mut lambda, with_inputs || k > 0);
        lambda.add(&deltas.state.clone().matmul(weights.h_transposed.clone()).all());
        if k > 0 {
            from_above = deltas.input.as_ref().map(|delta| delta.clone().matmul(weights.x_transposed.clone()));
        }
        all.push(lambda);
        below.push(deltas);
    }
    all.reverse();
    below.reverse();
    for (lambda, new) in lambdas.iter_mut().zip(Rows::states(&all, steps.len())) {
        *lambda = new;
    }
    below
}

/// Adds the gradients of steps to the sums of their rank.
fn add_gradients(steps: &[Step], tapes: &[GruTape], deltas: Vec<Deltas>) {
    let prepared = &tapes[0].prepared;
    let (pace, samples) = (prepared.pace(steps), prepared.samples());
    let all = |of: fn(&CellTape) -> &Rows, k: usize| {
        let parts: Vec<_> = tapes.iter().map(|tape| (of(&tape.cells[k]), tape.at)).collect();
        Rows::gather(&parts, samples).into_owned()
    };
    // The new state of the cell below.
    let mut below = None;
    let top = prepared.cells.len() - 1;
    for (k, Deltas { state, input }) in deltas.into_iter().enumerate() {
        let h = all(|cell| &cell.h, k);
        let new = (k < top).then(|| pace.apply(&all(|cell| &cell.gates, k), &h));
        prepared.add(k, Product::State, h, &state);
        match (input, below.take()) {
            (Some(input), Some(below)) => prepared.add(k, Product::Input, below, &input),
            (Some(input), None) => {
                let layers: Vec<_> = steps.iter().map(|step| step.layer).collect();
                prepared.add_to_projections(&layers, input);
            }
            (None, _) => {}
        }
        below = new;
    }
}

pub(super) fn pullback(steps: &[Step], tapes: &[&GruTape], lambdas: &mut [TensorState<3>]) {
    pull_back(steps, tapes, lambdas, false);
}

/// As [`pullback`]; the first of what is pending forms the gradients of all steps.
pub(super) fn pullback_with_gradients(
    steps: &[Step],
    tapes: Vec<GruTape>,
    lambdas: &mut [TensorState<3>],
) -> Vec<PendingGradients<Gradients>> {
    let deltas = pull_back(steps, &tapes.iter().collect::<Vec<_>>(), lambdas, true);
    let steps = steps.to_vec();
    let form = move || {
        add_gradients(&steps, &tapes, deltas);
        // They are taken from the sums, once they are complete.
        Ok(Gradients::new())
    };
    let nothing = || -> PendingGradients<Gradients> { Box::new(|| Ok(Gradients::new())) };
    let others = (1..lambdas.len()).map(|_| nothing());
    std::iter::once(Box::new(form) as PendingGradients<Gradients>).chain(others).collect()
}

impl Linearization for GruTape {
    type State = TensorState<3>;
    type Gradients = Gradients;

    fn pullback(&self, step: &Step, lambda: &mut TensorState<3>) -> Result<(), StepError> {
        pullback(std::slice::from_ref(step), &[self], std::slice::from_mut(lambda));
        Ok(())
    }

    fn pullback_with_gradients(
        self,
        step: &Step,
        lambda: &mut TensorState<3>,
        _: Output,
    ) -> Result<PendingGradients<Gradients>, StepError> {
        let lambdas = std::slice::from_mut(lambda);
        let mut pending = pullback_with_gradients(std::slice::from_ref(step), vec![self], lambdas);
        Ok(pending.swap_remove(0))
    }

    fn diagonal(&self, step: &Step) -> Result<TensorState<3>, StepError> {
        diagonals(std::slice::from_ref(step), &[self]).pop().ok_or_else(|| "a step has one diagonal".into())
    }
}

/// The diagonals of the Jacobians of steps.
pub(super) fn diagonals(steps: &[Step], tapes: &[&GruTape]) -> Vec<TensorState<3>> {
    let prepared = &tapes[0].prepared;
    let pace = prepared.pace(steps);
    let all = |of: fn(&CellTape) -> &Rows, k: usize| {
        let parts: Vec<_> = tapes.iter().map(|tape| (of(&tape.cells[k]), tape.at)).collect();
        Rows::gather(&parts, prepared.samples())
    };
    let each = prepared.cells.iter().enumerate();
    let diagonals: Vec<Rows> = each
        .map(|(k, weights)| pace.diagonal(&all(|cell| &cell.gates, k), &all(|cell| &cell.h, k), &weights.diagonals))
        .collect();
    Rows::states(&diagonals, steps.len())
}
