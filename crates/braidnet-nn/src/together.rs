//! Steps of several intervals as one call on layers side by side.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use braidnet_grid::{Step, StepKind};
use braidnet_mgrit::{Output, PendingGradients, State, StepError};

use crate::block_on::BlockOn;
use crate::linearization::{OdeLinearization, Together, pull_back, pull_back_with_gradients};
use crate::rhs::{At, BatchOf, Layers, StateOf};
use crate::stack::{Ids, Stack, parameters, same_shapes};
use crate::{Gradients, RightHandSide, StateSpace};

/// What the sweeps of a solve ask for again and again.
pub(crate) struct Stacks<R> {
    /// Layers side by side, by the layers as the solver counts.
    known: Mutex<HashMap<Vec<usize>, Arc<Stack<R>>>>,
    /// Of every layer of the block the first that is like it.
    like: OnceLock<Vec<usize>>,
}

impl<R> Default for Stacks<R> {
    fn default() -> Self {
        Self { known: Mutex::default(), like: OnceLock::new() }
    }
}

/// Steps of equal length differ by this at most, relative to it: by the rounding of their times.
const ROUNDING: f64 = 1e-10;

/// The places `0..n` by what is alike there.
fn grouped(n: usize, are_alike: impl Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for place in 0..n {
        match groups.iter_mut().find(|group| are_alike(group[0], place)) {
            Some(group) => group.push(place),
            None => groups.push(vec![place]),
        }
    }
    groups
}

/// The steps at these places.
pub(crate) fn at_places<'a>(group: &[usize], steps: &'a [Step]) -> Vec<&'a Step> {
    group.iter().map(|place| &steps[*place]).collect()
}

/// What was found for places, by place.
pub(crate) fn in_order<T>(mut found: Vec<(usize, T)>) -> Vec<T> {
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, thing)| thing).collect()
}

impl<R: RightHandSide> BlockOn<'_, R> {
    /// The first layer of the block that is like this one, which the solver counts so; `None` of a layer that is not there.
    fn like(&self, layer: usize) -> Option<usize> {
        let like = self.stacks.like.get_or_init(|| {
            let each: Vec<_> = self.block.layers().map(|(_, rhs)| (rhs, parameters(rhs))).collect();
            let are_alike = |a: usize, b: usize| {
                let (a, b) = (&each[a], &each[b]);
                a.0.stacks_with(b.0) && same_shapes(&a.1, &b.1)
            };
            (0..each.len()).map(|n| (0..n).find(|first| are_alike(*first, n)).unwrap_or(n)).collect()
        });
        like.get(self.block.place(layer)?).copied()
    }

    /// Whether two steps can be one call.
    fn are_alike(&self, a: &Step, b: &Step) -> bool {
        let layers = |step: &Step| Some([self.like(step.layer)?, self.like(self.layer_of(step))?]);
        self.block.stacks()
            && (a.level, a.kind, a.fine.len()) == (b.level, StepKind::Ode, b.fine.len())
            && a.kind == b.kind
            && (a.dt - b.dt).abs() <= ROUNDING * a.dt
            && (a.fine.len() == 1 || !self.block.coarse_operator().combines_parameters())
            && layers(a).is_some_and(|of_a| layers(b) == Some(of_a))
    }

    /// Places of steps that are done together. In the order of the layers, in which their parameters and, from an earlier call,
    /// their states lie.
    pub(crate) fn groups(&self, steps: &[Step]) -> Vec<Vec<usize>> {
        let mut groups = grouped(steps.len(), |a, b| self.are_alike(&steps[a], &steps[b]));
        groups.iter_mut().for_each(|group| group.sort_by_key(|place| steps[*place].layer));
        groups
    }

    /// Places of steps that are pulled back together: their linearisations were made in one call. In the order of that call.
    pub(crate) fn groups_back<'a>(
        &self,
        steps: &[Step],
        tape: impl Fn(usize) -> &'a OdeLinearization<R::Tape>,
    ) -> Vec<Vec<usize>> {
        let are_of_one = |a, b| match (tape(a).row(), tape(b).row()) {
            (Some((a, _)), Some((b, _))) => Arc::ptr_eq(a, b),
            _ => false,
        };
        let mut groups = grouped(steps.len(), |a, b| are_of_one(a, b) && self.are_alike(&steps[a], &steps[b]));
        let row = |place: &usize| tape(*place).row().map(|(_, row)| row);
        groups.iter_mut().for_each(|group| group.sort_by_key(row));
        groups
    }

    /// The states of a group as one; `None` where that has no use, or cannot be had.
    pub(crate) fn side_by_side(&self, group: &[usize], states: &[StateOf<R>]) -> Option<StateOf<R>> {
        let own = || group.iter().map(|place| states[*place].clone()).collect();
        if group.len() > 1 { self.space.stack(own()) } else { None }
    }

    /// The inverse of `side_by_side`.
    pub(crate) fn hand_out(&self, together: StateOf<R>, group: &[usize], states: &mut [StateOf<R>]) {
        for (place, own) in group.iter().zip(self.space.unstack(together, group.len())) {
            states[*place] = own;
        }
    }

    /// Layers, as the solver counts, as one.
    fn chosen(&self, layers: impl Iterator<Item = usize>) -> Result<Chosen<R>, StepError> {
        let layers: Vec<usize> = layers.collect();
        let global = layers.iter().map(|layer| self.block.global(*layer)).collect();
        let mut known = self.stacks.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stack) = known.get(&layers) {
            return Ok(Chosen { stack: stack.clone(), layers: global });
        }
        let modules = layers.iter().map(|layer| self.block.layer(*layer)).collect::<Result<Vec<_>, _>>()?;
        let stack = Arc::new(Stack::of(&modules).ok_or(NotAlike)?);
        known.insert(layers, stack.clone());
        Ok(Chosen { stack, layers: global })
    }

    /// Applies the steps of a group to their states side by side.
    pub(crate) fn step_together(&self, group: &[&Step], u: &mut StateOf<R>) -> Result<(), StepError> {
        let chosen = self.chosen(group.iter().map(|step| self.layer_of(step)))?;
        let stage = self.stage_together(group, u.clone())?;
        u.axpy(group[0].dt, &chosen.stack.module.evaluate(stage, chosen.at(self, group[0].dt)));
        Ok(())
    }

    /// As `stage` of one step.
    fn stage_together(&self, group: &[&Step], u: StateOf<R>) -> Result<StateOf<R>, StepError> {
        if !self.has_stage(group[0]) {
            return Ok(u);
        }
        let to_the_middle = self.to_the_middle(group[0]);
        let first = self.chosen(group.iter().map(|step| step.layer))?;
        let slope = first.stack.module.evaluate(u.clone(), first.at(self, to_the_middle));
        let mut stage = u;
        stage.axpy(to_the_middle, &slope);
        Ok(stage)
    }

    /// Linearises the steps of a group at their states side by side.
    pub(crate) fn linearize_together(
        &self,
        group: &[&Step],
        u: &mut StateOf<R>,
        output: Output,
    ) -> Result<Vec<OdeLinearization<R::Tape>>, StepError> {
        let chosen = self.chosen(group.iter().map(|step| self.layer_of(step)))?;
        let at = chosen.at(self, group[0].dt);
        let (mut f, tape) = chosen.stack.module.linearize(u.clone(), at, output);
        if output == Output::Used {
            if self.has_stage(group[0]) {
                f = chosen.stack.module.evaluate(self.stage_together(group, u.clone())?, at);
            }
            u.axpy(group[0].dt, &f);
        }
        let together = Together::new(tape, chosen.stack.ids.clone(), group.len());
        Ok(OdeLinearization::of_rows(together, self.block.is_pulled_back_from_the_middle()))
    }
}

/// Takes adjoint states, side by side, back through a step of layers whose linearisations are rows of one, in ascending order.
pub(crate) fn pull_back_together<R: RightHandSide>(
    step: &Step,
    tapes: &[&OdeLinearization<R::Tape>],
    lambda: &mut StateOf<R>,
) -> Result<(), StepError> {
    let found: Vec<_> = tapes.iter().filter_map(|tape| tape.row()).collect();
    let rows: Vec<usize> = found.iter().map(|(_, row)| *row).collect();
    let (together, _) = found.first().ok_or(NotAlike)?;
    let midpoint = tapes[0].is_midpoint();
    match together.is_all(&rows) {
        true => pull_back(&[(1.0, &together.tape)], midpoint, step, lambda),
        false => pull_back(&[(1.0, &*together.rows(&rows)?)], midpoint, step, lambda),
    }
}

/// As [`pull_back_together`], and the gradients of every layer.
pub(crate) fn pull_back_together_with_gradients<R: RightHandSide>(
    step: &Step,
    tapes: Vec<OdeLinearization<R::Tape>>,
    lambda: &mut StateOf<R>,
    output: Output,
) -> Result<Vec<PendingGradients<Gradients>>, StepError> {
    let (mut together, mut rows) = (None, Vec::with_capacity(tapes.len()));
    for (of, row) in tapes.into_iter().filter_map(OdeLinearization::into_row) {
        rows.push(row);
        together = Some(of);
    }
    let together = together.ok_or(NotAlike)?;
    // Where all rows are here nobody else has it.
    let (tape, ids) = match Arc::try_unwrap(together) {
        Ok(together) if together.is_all(&rows) => (together.tape, together.ids),
        Ok(together) => (together.own_rows(&rows)?, together.ids),
        Err(shared) => (shared.own_rows(&rows)?, shared.ids.clone()),
    };
    Ok(told_apart(pull_back_with_gradients(tape, step, lambda, output)?, ids, rows))
}

#[derive(Debug, thiserror::Error)]
#[error("layers that are not alike cannot be computed side by side")]
struct NotAlike;

/// Layers as one module, with their global indices.
struct Chosen<R> {
    stack: Arc<Stack<R>>,
    layers: Vec<usize>,
}

impl<R: RightHandSide> Chosen<R> {
    fn at<'a>(&'a self, on: &'a BlockOn<'_, R>, dt: f64) -> At<'a, BatchOf<R>> {
        At { layers: Layers::Stacked(&self.layers), dt, batch: on.batch }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the gradients of layers side by side could not be formed, or were asked for twice")]
struct NotFormed;

/// The gradients of the layers at `rows` as those of each: formed by the first that is called.
fn told_apart(pending: PendingGradients<Gradients>, ids: Ids, rows: Vec<usize>) -> Vec<PendingGradients<Gradients>> {
    type Formed = (Option<PendingGradients<Gradients>>, Vec<Option<Gradients>>);
    let n = rows.len();
    let shared = Arc::new((Mutex::<Formed>::new((Some(pending), Vec::new())), ids, rows));
    let of = |place: usize| -> PendingGradients<Gradients> {
        let shared = shared.clone();
        Box::new(move || {
            let (formed, ids, rows) = &*shared;
            let mut formed = formed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(pending) = formed.0.take() {
                formed.1 = ids.split(pending()?, rows)?.into_iter().map(Some).collect();
            }
            formed.1.get_mut(place).and_then(Option::take).ok_or_else(|| NotFormed.into())
        })
    };
    (0..n).map(of).collect()
}
