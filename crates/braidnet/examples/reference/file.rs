//! A file of PyTorch's tensors.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

/// What a file's metadata says; families have different entries.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Case {
    pub family: String,
    pub layers: Option<usize>,
    pub final_time: Option<f64>,
    pub classes: Option<usize>,
    pub rhs: Option<String>,
    pub open: Option<String>,
    // Networks on images and voxels.
    pub channels: Option<usize>,
    pub image: Option<Vec<usize>>,
    pub hidden: Option<usize>,
    // Networks of blocks.
    pub per_block: Option<Vec<usize>>,
    pub transition: Option<String>,
    pub step: Option<String>,
    pub close: Option<String>,
    pub bn: Option<String>,
    // Transformers.
    pub encoder_layers: Option<usize>,
    pub decoder_layers: Option<usize>,
    pub d_model: Option<usize>,
    pub heads: Option<usize>,
    pub d_ff: Option<usize>,
    pub vocab: Option<usize>,
    pub pad: Option<u32>,
    pub mask: Option<String>,
    pub layer_norm_eps: Option<f64>,
    // Recurrent networks.
    pub steps: Option<usize>,
    pub inputs: Option<usize>,
    pub stacked: Option<usize>,
    pub dt: Option<f64>,
    pub cell: Option<String>,
}

/// A tensor of a file.
#[derive(Debug, Clone)]
pub struct Values {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// A file's tensors by name.
#[derive(Debug)]
pub struct File {
    pub name: String,
    pub case: Case,
    tensors: HashMap<String, Values>,
}

impl File {
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let whole = || format!("{} is not a whole safetensors file", path.display());
        let (_, header) = SafeTensors::read_metadata(&bytes).with_context(whole)?;
        let case = header.metadata().as_ref().and_then(|m| m.get("case"));
        let case = case.with_context(|| format!("{} has no metadata entry `case`", path.display()))?;
        let case = serde_json::from_str(case)
            .with_context(|| format!("the metadata entry `case` of {} is not as expected", path.display()))?;
        let mut tensors = HashMap::new();
        for (key, view) in SafeTensors::deserialize(&bytes).with_context(whole)?.iter() {
            let values = numbers(view.dtype(), view.data())
                .with_context(|| format!("tensor {key} of {} has type {:?}", path.display(), view.dtype()))?;
            tensors.insert(key.to_owned(), Values { shape: view.shape().to_vec(), values });
        }
        Ok(Self { name, case, tensors })
    }

    /// A tensor, of the given shape if there is one.
    pub fn tensor(&self, key: &str, shape: Option<&[usize]>) -> anyhow::Result<&Values> {
        let values = self.tensors.get(key).with_context(|| format!("{}: tensor {key} is missing", self.name))?;
        if let Some(shape) = shape {
            ensure!(values.shape == shape, "{}: {key} has shape {:?}, expected {shape:?}", self.name, values.shape);
        }
        Ok(values)
    }

    /// The name in the file of a parameter of ours: PyTorch numbers layers without leading zeros, and some files name the
    /// parts of the opening and the closing layer, and those that layers share, directly; batch norms are `bn`. `tied` names the one
    /// that stands for another.
    pub fn name_of(&self, name: &str, tied: &[[String; 2]]) -> String {
        let plain = match name.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) {
            Some((layer, rest)) => format!("layers.{}.{rest}", layer.parse().unwrap_or(0)),
            None => name.to_owned(),
        };
        let within = ["open.", "close.", "shared."].iter().find_map(|part| plain.strip_prefix(part)).map(str::to_owned);
        let bn = plain.replace("open.norm.", "open_bn.").replace(".norm", ".bn");
        let opening = plain.replace("open.conv.", "open.");
        let candidates = [Some(plain.clone()), within, Some(bn), Some(opening)];
        let is_there = |name: &String| ["param", "buffer_after"].iter().any(|of| self.has(&format!("{of}.{name}")));
        let known = candidates.into_iter().flatten().find(is_there);
        let one = tied.iter().find(|names| names[1] == name).map(|names| &names[0]);
        match (known, one) {
            (Some(known), _) => known,
            (None, Some(one)) => self.name_of(one, &[]),
            (None, None) => plain,
        }
    }

    /// The norm of all expected gradients.
    pub fn gradient_norm(&self) -> f64 {
        let gradients = self.tensors.iter().filter(|(key, _)| key.starts_with("grad."));
        gradients.flat_map(|(_, tensor)| &tensor.values).map(|v| v * v).sum::<f64>().sqrt()
    }

    pub fn has(&self, key: &str) -> bool {
        self.tensors.contains_key(key)
    }

    /// Class or token ids of shape `shape`, all of them below `n`.
    pub fn ids(&self, key: &str, shape: &[usize], n: usize) -> anyhow::Result<Vec<i64>> {
        let ids: Vec<i64> = self.tensor(key, Some(shape))?.values.iter().map(|v| *v as i64).collect();
        if let Some(id) = ids.iter().find(|id| !(0..n as i64).contains(*id)) {
            bail!("{}: {key} has {id}, but there are {n}", self.name);
        }
        Ok(ids)
    }

    /// An entry of the metadata.
    pub fn said<T: Clone>(&self, what: &str, value: &Option<T>) -> anyhow::Result<T> {
        value.clone().with_context(|| format!("{}: the metadata says nothing of {what}", self.name))
    }
}

fn numbers(dtype: Dtype, data: &[u8]) -> anyhow::Result<Vec<f64>> {
    Ok(match dtype {
        Dtype::F64 => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        Dtype::F32 => data.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        Dtype::I64 => data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
        Dtype::I32 => data.as_chunks().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect(),
        Dtype::BOOL | Dtype::U8 => data.iter().map(|b| f64::from(*b)).collect(),
        _ => bail!("F64, F32, I64, I32, U8 and BOOL can be read"),
    })
}
