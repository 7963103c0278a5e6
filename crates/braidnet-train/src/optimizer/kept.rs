//! What an optimizer keeps of a parameter, on this processor: for checkpoints, and where parameters are put together anew.

use std::collections::BTreeMap;

use braidnet_nn::Packing;
use burn::module::ParamId;
use burn::optim::{DynOptimizer, DynState, StateSink, StateSource};
use burn::tensor::{Device, TensorData};
use burn_pack::Scalar;

use crate::TrainError;

/// What an optimizer keeps, named `{parameter id}.{field}`.
pub(crate) struct OptimizerState {
    pub tensors: Vec<(String, TensorData)>,
    pub scalars: Vec<(String, Scalar)>,
}

/// burn's name for the number of dimensions of the parameter.
const RANK: &str = "__rank";

/// What is kept of one parameter, by field; in single precision, as the parameters are that an optimizer updates.
#[derive(Default, Clone)]
pub(super) struct Kept {
    pub tensors: BTreeMap<String, TensorData>,
    pub scalars: BTreeMap<String, Scalar>,
}

impl Kept {
    /// Whether both can be put together: the same fields after as many updates.
    pub fn agrees(&self, other: &Self) -> bool {
        let scalars = |kept: &Self| {
            let fields = kept.scalars.iter().filter(|(field, _)| *field != RANK);
            fields.map(|(field, value)| (field.clone(), *value)).collect::<Vec<_>>()
        };
        scalars(self) == scalars(other) && self.tensors.keys().eq(other.tensors.keys())
    }

    /// Adds this to `state`.
    pub fn write(self, id: ParamId, state: &mut OptimizerState) {
        let name = |field: String| format!("{}.{field}", id.val());
        state.tensors.extend(self.tensors.into_iter().map(|(field, data)| (name(field), data)));
        state.scalars.extend(self.scalars.into_iter().map(|(field, value)| (name(field), value)));
    }

    /// That it is what `rule` keeps.
    pub fn check(&self, id: ParamId, rule: &dyn DynOptimizer) -> Result<(), TrainError> {
        let mut source = StateSource::new(self.scalars.clone());
        for field in self.tensors.keys() {
            // What fields there are says it all.
            source.insert_tensor(field.clone(), TensorData::new(vec![0f32], [1]));
        }
        if rule.state_unflatten(1, "", &mut source, &Device::flex()).is_some() {
            return Ok(());
        }
        let fields: Vec<_> = self.tensors.keys().chain(self.scalars.keys()).map(String::as_str).collect();
        Err(TrainError::Record { reason: format!("of parameter {} there is only {}", id.val(), fields.join(", ")) })
    }
}

/// The parts of a state.
///
/// # Errors
/// [`TrainError::Record`] for a name that is none.
pub(super) fn read(state: OptimizerState) -> Result<BTreeMap<u64, Kept>, TrainError> {
    let mut all: BTreeMap<u64, Kept> = BTreeMap::new();
    for (name, data) in state.tensors {
        let (id, field) = split(&name)?;
        all.entry(id).or_default().tensors.insert(field, data);
    }
    for (name, value) in state.scalars {
        let (id, field) = split(&name)?;
        all.entry(id).or_default().scalars.insert(field, value);
    }
    Ok(all)
}

/// `{parameter id}.{field}`
fn split(name: &str) -> Result<(u64, String), TrainError> {
    let parts = name.split_once('.').and_then(|(id, field)| Some((id.parse().ok()?, field.to_owned())));
    parts.ok_or_else(|| TrainError::Record { reason: format!("{name} does not begin with the number of a parameter") })
}

/// What `rule` makes of what is kept of parameters that agree, as `packing` has them; nothing of none.
pub(super) fn pack(rule: &dyn DynOptimizer, all: &[Kept], packing: &Packing, device: &Device) -> Option<DynState> {
    let first = all.first()?;
    let mut source = StateSource::new(first.scalars.clone());
    for field in first.tensors.keys() {
        let mut values = vec![0f32; packing.n_elements()];
        for (kept, range) in all.iter().zip(packing.ranges()) {
            let own = kept.tensors.get(field).into_iter().flat_map(|data| data.iter::<f32>());
            values[range.clone()].iter_mut().zip(own).for_each(|(value, own)| *value = own);
        }
        let n = values.len();
        source.insert_tensor(field.clone(), TensorData::new(values, [n]));
    }
    rule.state_unflatten(1, "", &mut source, device)
}

/// The inverse of [`pack`] for parameters of these extents.
pub(super) fn unpack(rule: &dyn DynOptimizer, state: &DynState, dims: &[Vec<usize>], packing: &Packing) -> Vec<Kept> {
    let mut sink = StateSink::default();
    rule.state_flatten("", state, &mut sink);
    let scalars: BTreeMap<_, _> = sink.scalars.into_iter().collect();
    let with_rank = |dims: &Vec<usize>| {
        let mut scalars = scalars.clone();
        scalars.insert(RANK.to_owned(), Scalar::from(dims.len()));
        Kept { scalars, ..Kept::default() }
    };
    let mut all: Vec<Kept> = dims.iter().map(with_rank).collect();
    for (field, data) in sink.tensors {
        let values: Vec<f32> = data.iter::<f32>().collect();
        for ((kept, dims), range) in all.iter_mut().zip(dims).zip(packing.ranges()) {
            let own = values.get(range.clone()).unwrap_or_default().to_vec();
            kept.tensors.insert(field.clone(), TensorData::new(own, dims.clone()));
        }
    }
    all
}
