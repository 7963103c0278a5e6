//! Parameters that are updated in one call, and what is kept of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use burn::module::ParamId;
use burn::optim::{DynOptimizer, DynState};
use burn::tensor::Tensor;

use super::kept::{self, Kept, OptimizerState};
use crate::TrainError;

/// What parameters have in common that are the same but for the layer they are of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    /// The global name, `*` in place of the layer's number.
    name: String,
    /// Extents, as burn has them.
    dims: Vec<usize>,
}

impl Kind {
    /// Of a parameter of this global name.
    pub fn new(name: &str, dims: Vec<usize>) -> Self {
        let of_layer = name.strip_prefix("layers.").and_then(|rest| rest.split_once('.'));
        Self { name: of_layer.map_or_else(|| name.to_owned(), |(_, rest)| format!("layers.*.{rest}")), dims }
    }
}

/// A parameter and its gradient, both flat.
pub(super) struct Trained {
    pub id: ParamId,
    pub kind: Kind,
    pub values: Tensor<1>,
    pub gradient: Tensor<1>,
}

/// Parameters of one kind, at least one, that are updated in one call.
struct Group {
    members: Vec<ParamId>,
    dims: Vec<usize>,
    /// Of all members, one behind the other; none before the first update.
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

    /// Updates parameters, by kinds or one by one; their new values, flat.
    pub fn update(&mut self, rate: f64, trained: Vec<Trained>, grouped: bool) -> HashMap<ParamId, Tensor<1>> {
        self.arrange(&trained, grouped);
        let mut trained: HashMap<_, _> = trained.into_iter().map(|p| (p.id, (p.values, p.gradient))).collect();
        let mut updated = HashMap::with_capacity(trained.len());
        for Group { members, dims, state } in &mut self.groups {
            // All have a gradient, or none.
            let Some(parts) = members.iter().map(|id| trained.remove(id)).collect::<Option<Vec<_>>>() else { continue };
            let (values, gradients) = parts.into_iter().unzip();
            let [values, gradients] = [joined(values), joined(gradients)].map(Tensor::into_bridge);
            let (values, new) = self.rule.step_dyn(1, rate, values, gradients, state.take());
            *state = new;
            updated.extend(members.iter().copied().zip(parted(Tensor::from_bridge(values), dims, members.len())));
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
        let mut new: BTreeMap<&Kind, Vec<Vec<&Trained>>> = BTreeMap::new();
        for p in trained.iter().filter(|p| !placed.contains(&p.id)) {
            let groups = new.entry(&p.kind).or_default();
            match groups.iter_mut().find(|members| grouped && self.agree(members[0].id, p.id)) {
                Some(members) => members.push(p),
                None => groups.push(vec![p]),
            }
        }
        for members in new.into_values().flatten() {
            let kept: Vec<Kept> = members.iter().filter_map(|p| self.loaded.remove(&p.id)).collect();
            let state = kept::stack(&*self.rule, &kept, &members[0].values.device());
            let dims = members[0].kind.dims.clone();
            self.groups.push(Group { members: members.iter().map(|p| p.id).collect(), dims, state });
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
    fn parts(&self, Group { members, dims, state }: &Group) -> Vec<(ParamId, Kept)> {
        let parts = state.as_ref().map(|state| kept::unstack(&*self.rule, state, dims, members.len()));
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

/// One behind the other; one alone is not copied.
fn joined(mut parts: Vec<Tensor<1>>) -> Tensor<1> {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => Tensor::cat(parts, 0),
    }
}

/// The inverse of [`joined`] for `n` parts of these extents.
fn parted(all: Tensor<1>, dims: &[usize], n: usize) -> Vec<Tensor<1>> {
    match n {
        1 => vec![all],
        _ => all.split(dims.iter().product(), 0),
    }
}
