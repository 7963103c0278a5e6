//! The linearisation of one step of ODE layers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use braidnet_grid::{Step, StepKind};
use braidnet_mgrit::{Linearization, Output, PendingGradients, State, StepError};

use crate::stack::Ids;
use crate::{Gradients, RhsTape};

/// The linearisation of one step: those of its right-hand sides, each with its share of the step, or a row of one that has many
/// layers side by side.
pub struct OdeLinearization<T> {
    of: Of<T>,
    /// Whether coarse steps are pulled back as midpoint steps: `lambda + dt J^T (lambda + (1 - 1/m) dt/2 J^T lambda)`, equal to `m`
    /// pullbacks of `I + dt/m J` to second order.
    midpoint: bool,
}

enum Of<T> {
    /// Fraction of the step's `dt`, and tape.
    Parts(Vec<(f64, T)>),
    Row(Arc<Together<T>>, usize),
}

/// The linearisation of layers side by side.
pub(crate) struct Together<T> {
    pub tape: T,
    pub ids: Ids,
    pub layers: usize,
    /// Those of some of the layers, which coarse steps share with the finest level.
    some: Mutex<HashMap<Vec<usize>, Arc<T>>>,
    /// Those of each, where they are told apart at once.
    each: OnceLock<Option<Vec<Arc<T>>>>,
}

impl<T: RhsTape> Together<T> {
    pub fn new(tape: T, ids: Ids, layers: usize) -> Self {
        Self { tape, ids, layers, some: Mutex::default(), each: OnceLock::new() }
    }

    /// Whether these are all rows, in order.
    pub fn is_all(&self, rows: &[usize]) -> bool {
        rows.iter().copied().eq(0..self.layers)
    }

    /// That of the layers at `rows` alone.
    pub fn rows(&self, rows: &[usize]) -> Result<Arc<T>, StepError> {
        if let [row] = rows
            && let Some(tape) = self.each().and_then(|each| each.get(*row))
        {
            return Ok(tape.clone());
        }
        let mut some = self.some.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tape) = some.get(rows) {
            return Ok(tape.clone());
        }
        let tape = Arc::new(self.own_rows(rows)?);
        some.insert(rows.to_vec(), tape.clone());
        Ok(tape)
    }

    fn each(&self) -> Option<&[Arc<T>]> {
        let each = || Some(self.tape.each(self.layers)?.into_iter().map(Arc::new).collect());
        self.each.get_or_init(each).as_deref()
    }

    /// As `rows`, shared with nobody.
    pub fn own_rows(&self, rows: &[usize]) -> Result<T, StepError> {
        self.tape.rows(rows, self.layers).ok_or_else(|| NotStacked.into())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("layers that are computed side by side cannot be told apart: leave STACKS of their right-hand side false")]
struct NotStacked;

impl<T> OdeLinearization<T> {
    pub(crate) fn new(parts: Vec<(f64, T)>, midpoint: bool) -> Self {
        Self { of: Of::Parts(parts), midpoint }
    }

    /// Those of layers side by side.
    pub(crate) fn of_rows(together: Together<T>, midpoint: bool) -> Vec<Self> {
        let n = together.layers;
        let together = Arc::new(together);
        (0..n).map(|row| Self { of: Of::Row(together.clone(), row), midpoint }).collect()
    }

    /// Where it is a row, and of what.
    pub(crate) fn row(&self) -> Option<(&Arc<Together<T>>, usize)> {
        match &self.of {
            Of::Row(together, row) => Some((together, *row)),
            Of::Parts(_) => None,
        }
    }

    pub(crate) fn into_row(self) -> Option<(Arc<Together<T>>, usize)> {
        match self.of {
            Of::Row(together, row) => Some((together, row)),
            Of::Parts(_) => None,
        }
    }

    pub(crate) fn is_midpoint(&self) -> bool {
        self.midpoint
    }
}

/// `lambda += dt J^T stage`.
fn add<S: State, T: RhsTape<State = S>>(
    parts: &[(f64, &T)],
    dt: f64,
    stage: &S,
    lambda: &mut S,
) -> Result<(), StepError> {
    for (fraction, tape) in parts {
        lambda.axpy(dt * fraction, &tape.pullback(stage.clone())?);
    }
    Ok(())
}

/// Takes `lambda` back through a step with these right-hand sides and their fractions of it.
pub(crate) fn pull_back<S: State, T: RhsTape<State = S>>(
    parts: &[(f64, &T)],
    midpoint: bool,
    step: &Step,
    lambda: &mut S,
) -> Result<(), StepError> {
    if let (StepKind::Transition, [(_, tape)]) = (step.kind, parts) {
        *lambda = tape.pullback(lambda.clone())?;
        return Ok(());
    }
    let mut stage = lambda.clone();
    if midpoint && step.fine.len() > 1 {
        let to_the_middle = 0.5 * (step.dt - step.dt / step.fine.len() as f64);
        add(parts, to_the_middle, lambda, &mut stage)?;
    }
    add(parts, step.dt, &stage, lambda)
}

/// As [`pull_back`] with one right-hand side, and its gradients.
pub(crate) fn pull_back_with_gradients<S: State, T: RhsTape<State = S>>(
    tape: T,
    step: &Step,
    lambda: &mut S,
    output: Output,
) -> Result<PendingGradients<Gradients>, StepError> {
    let mut delta = lambda.clone();
    if step.kind == StepKind::Ode {
        delta.scale(step.dt);
    }
    let (term, pending) = tape.pullback_with_gradients(delta, output)?;
    match (term, step.kind) {
        (Some(term), StepKind::Ode) => lambda.axpy(1.0, &term),
        (Some(term), StepKind::Transition) => *lambda = term,
        (None, _) => {}
    }
    Ok(pending)
}

#[derive(Debug, thiserror::Error)]
#[error("layer {layer} has {parts} right-hand sides at once: gradients are formed on the finest level only")]
struct NotFinest {
    layer: usize,
    parts: usize,
}

impl<S: State, T: RhsTape<State = S>> Linearization for OdeLinearization<T> {
    type State = S;
    type Gradients = Gradients;

    fn pullback(&self, step: &Step, lambda: &mut S) -> Result<(), StepError> {
        match &self.of {
            Of::Parts(parts) => {
                let parts: Vec<(f64, &T)> = parts.iter().map(|(fraction, tape)| (*fraction, tape)).collect();
                pull_back(&parts, self.midpoint, step, lambda)
            }
            Of::Row(together, row) => pull_back(&[(1.0, &*together.rows(&[*row])?)], self.midpoint, step, lambda),
        }
    }

    fn pullback_with_gradients(
        self,
        step: &Step,
        lambda: &mut S,
        output: Output,
    ) -> Result<PendingGradients<Gradients>, StepError> {
        match self.of {
            Of::Parts(mut parts) => {
                let n = parts.len();
                let (Some((_, tape)), 1) = (parts.pop(), n) else {
                    return Err(NotFinest { layer: step.layer, parts: n }.into());
                };
                pull_back_with_gradients(tape, step, lambda, output)
            }
            Of::Row(together, row) => {
                let pending = pull_back_with_gradients(together.own_rows(&[row])?, step, lambda, output)?;
                Ok(Box::new(move || Ok(together.ids.split(pending()?, &[row])?.into_iter().flatten().collect())))
            }
        }
    }
}
