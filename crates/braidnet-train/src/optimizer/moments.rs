//! Parameters that are updated in one call, and what is kept of them.

use std::collections::{HashMap, HashSet};

use braidnet_nn::Packing;
use burn::module::ParamId;
use burn::optim::{DynOptimizer, DynState};
use burn::tensor::Tensor;

use super::kept::{self, Kept, OptimizerState};
use crate::TrainError;

/// The most numbers that are updated in one call, unless a parameter alone has more: with so many the launch no longer matters,
/// and what a call needs besides stays below some hundred MiB.
const GROUP: usize = 1 << 24;

/// A parameter and its gradient, both flat.
pub(super) struct Trained {
    pub id: ParamId,
    /// Extents, as burn has them.
    pub dims: Vec<usize>,
    pub values: Tensor<1>,
    pub gradient: Tensor<1>,
}

impl Trained {
    fn n_elements(&self) -> usize {
        self.dims.iter().product()
    }
}

/// Parameters, at least one, that are updated in one call.
struct Group {
    members: Vec<ParamId>,
    /// Extents of each.
    dims: Vec<Vec<usize>>,
    packing: Packing,
    /// Of all members, as the packing has them; none before the first update.
    state: Option<DynState>,
}

/// A rule, and what it keeps of parameters: by groups where they are, or on this processor until their next update.
pub(super) struct Moments {
    rule: Box<dyn DynOptimizer>,
    groups: Vec<Group>,
    loaded: HashMap<ParamId, Kept>,
}

impl Moments {
    pub fn new(rule: Box<dyn DynOptimizer>) -> Self {
        Self { rule, groups: Vec::new(), loaded: HashMap::new() }
    }

    /// Updates parameters, together or one by one; their new values, flat.
    pub fn update(&mut self, rate: f64, trained: Vec<Trained>, grouped: bool) -> HashMap<ParamId, Tensor<1>> {
        self.arrange(&trained, grouped);
        let mut trained: HashMap<_, _> = trained.into_iter().map(|p| (p.id, (p.values, p.gradient))).collect();
        let mut updated = HashMap::with_capacity(trained.len());
        for Group { members, packing, state, .. } in &mut self.groups {
            // All have a gradient, or none.
            let Some(parts) = members.iter().map(|id| trained.remove(id)).collect::<Option<Vec<_>>>() else { continue };
            let (values, gradients) = parts.into_iter().unzip();
            let [values, gradients] = [values, gradients].map(|all| packed(packing, all).into_bridge());
            let (values, new) = self.rule.step_dyn(1, rate, values, gradients, state.take());
            *state = new;
            updated.extend(members.iter().copied().zip(unpacked(packing, Tensor::from_bridge(values))));
        }
        updated
    }

    /// Sees to it that every parameter that has a gradient is in a group, and all or none of a group.
    fn arrange(&mut self, trained: &[Trained], grouped: bool) {
        let ids: HashSet<ParamId> = trained.iter().map(|p| p.id).collect();
        let is_torn = |group: &mut Group| {
            let n = group.members.iter().filter(|id| ids.contains(id)).count();
            n > 0 && n < group.members.len()
        };
        let torn: Vec<Group> = self.groups.extract_if(.., is_torn).collect();
        torn.into_iter().for_each(|group| self.put_away(&group));
        let placed: HashSet<ParamId> = self.groups.iter().flat_map(|group| group.members.iter().copied()).collect();
        let mut new: Vec<(usize, Vec<&Trained>)> = Vec::new();
        for p in trained.iter().filter(|p| !placed.contains(&p.id)) {
            let n = p.n_elements();
            let has_room = |(size, members): &&mut (usize, Vec<&Trained>)| {
                grouped && *size + n <= GROUP && self.agree(members[0].id, p.id)
            };
            match new.iter_mut().find(has_room) {
                Some((size, members)) => {
                    *size += n;
                    members.push(p);
                }
                None => new.push((n, vec![p])),
            }
        }
        for (_, members) in new {
            let kept: Vec<Kept> = members.iter().filter_map(|p| self.loaded.remove(&p.id)).collect();
            let lengths: Vec<usize> = members.iter().map(|p| p.n_elements()).collect();
            let packing = Packing::new(&lengths, &members[0].values);
            let state = kept::pack(&*self.rule, &kept, &packing, &members[0].values.device());
            let (members, dims) = members.iter().map(|p| (p.id, p.dims.clone())).unzip();
            self.groups.push(Group { members, dims, packing, state });
        }
    }

    /// Whether what is kept of two parameters can be put together.
    fn agree(&self, a: ParamId, b: ParamId) -> bool {
        match (self.loaded.get(&a), self.loaded.get(&b)) {
            (Some(a), Some(b)) => a.agrees(b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }

    /// What is kept of every member of a group.
    fn parts(&self, Group { members, dims, packing, state }: &Group) -> Vec<(ParamId, Kept)> {
        let parts = state.as_ref().map(|state| kept::unpack(&*self.rule, state, dims, packing));
        members.iter().copied().zip(parts.unwrap_or_default()).collect()
    }

    fn put_away(&mut self, group: &Group) {
        let parts = self.parts(group);
        self.loaded.extend(parts);
    }

    /// Gives the groups up; new ones are made in the next update.
    pub fn spread(&mut self) {
        for group in std::mem::take(&mut self.groups) {
            self.put_away(&group);
        }
    }

    /// What is kept of all parameters.
    pub fn state(&self) -> OptimizerState {
        let mut state = OptimizerState { tensors: Vec::new(), scalars: Vec::new() };
        let loaded = self.loaded.iter().map(|(id, kept)| (*id, kept.clone()));
        for (id, kept) in loaded.chain(self.groups.iter().flat_map(|group| self.parts(group))) {
            kept.write(id, &mut state);
        }
        state
    }

    /// Forgets all and goes on from `state`.
    ///
    /// # Errors
    /// [`TrainError::Record`] if it is not what this rule keeps.
    pub fn load(&mut self, state: OptimizerState) -> Result<(), TrainError> {
        let all = kept::read(state)?.into_iter().map(|(id, kept)| (ParamId::from(id), kept));
        let all: HashMap<ParamId, Kept> = all.collect();
        all.iter().try_for_each(|(id, kept)| kept.check(*id, &*self.rule))?;
        self.groups.clear();
        self.loaded = all;
        Ok(())
    }
}

/// As one; one alone is not copied.
fn packed(packing: &Packing, mut parts: Vec<Tensor<1>>) -> Tensor<1> {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => packing.pack(parts),
    }
}

/// The inverse of [`packed`].
fn unpacked(packing: &Packing, all: Tensor<1>) -> Vec<Tensor<1>> {
    match packing.ranges().len() {
        1 => vec![all],
        _ => packing.unpack(all),
    }
}
