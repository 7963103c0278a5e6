//! A small network, saved and damaged.
#![allow(dead_code, reason = "no test uses all of it")]

use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use braidnet_checkpoint::{Begun, CheckpointError, Committer, Dtype, NamedTensor, Part, PartName, RunState, Scalar};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

pub const N_LAYERS: usize = 3;

pub fn keep(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

pub fn run_state(step: u64) -> RunState {
    RunState {
        step,
        epoch: 2,
        position: 1_600,
        seed: u64::MAX,
        n_layers: N_LAYERS,
        schedule: "two levels, then one".to_owned(),
        network: json!({"kind": "odenet", "channels": 8, "dt": 0.1 + 0.2}),
        extra: Map::from_iter([("note".to_owned(), json!(["any", 1, null]))]),
    }
}

/// A part whose every byte depends on its name and on the step.
pub fn part(name: PartName, step: u64) -> Part {
    let values = |salt: f32| -> Vec<f32> { (0..6).map(|n| n as f32 * 0.1 + step as f32 + salt).collect() };
    let tensor = |tail: &str, salt| NamedTensor::from_f32(format!("{name}.{tail}"), &[2, 3], &values(salt));
    let count = NamedTensor {
        name: format!("{name}.norm.count"),
        dtype: Dtype::I64,
        shape: vec![],
        bytes: step.to_le_bytes().to_vec(),
    };
    let layer = matches!(name, PartName::Layer(_));
    Part {
        name,
        parameters: vec![count, tensor("conv1.bias", 1.0), tensor("conv1.weight", 2.0)],
        moments: if layer { vec![tensor("conv1.weight.momentum.velocity", 3.0)] } else { Vec::new() },
        scalars: if layer { scalars(step) } else { BTreeMap::new() },
    }
}

fn scalars(step: u64) -> BTreeMap<String, Scalar> {
    let scalars = [
        ("steps", Scalar::U64(step)),
        ("rate", Scalar::F64(0.1 + 0.2)),
        ("best", Scalar::F64(f64::INFINITY)),
        ("offset", Scalar::I64(-3)),
        ("warm", Scalar::Bool(true)),
    ];
    scalars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub fn parts(step: u64) -> Vec<Part> {
    PartName::all(N_LAYERS).map(|name| part(name, step)).collect()
}

pub fn save(writer: &Committer, step: u64) -> Result<PathBuf, CheckpointError> {
    assert_eq!(writer.begin(step)?, Begun::New);
    let manifest = writer.store().write_parts(step, &parts(step))?;
    writer.commit(vec![manifest], &run_state(step))
}

/// A root with checkpoints of the given steps, none removed.
pub fn saved(steps: &[u64]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let writer = Committer::open(root.path(), keep(100)).unwrap();
    for &step in steps {
        save(&writer, step).unwrap();
    }
    root
}

pub fn folder(root: impl AsRef<Path>, step: u64) -> PathBuf {
    root.as_ref().join(format!("step-{step:08}"))
}

/// Rewrites the index, and its hash with it: an index that is wrong, not one that is damaged.
pub fn edit_index(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let mut index = serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    edit(&mut index);
    write_index(folder, index.to_string().as_bytes());
}

pub fn write_index(folder: &Path, text: &[u8]) {
    fs::write(folder.join("index.json"), text).unwrap();
    fs::write(folder.join("index.sha256"), hash_line(text)).unwrap();
}

pub fn hash_line(text: &[u8]) -> String {
    format!("{}  index.json\n", sha256(text))
}

pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Replaces a part's file, and its size and hash in the index with it.
pub fn replace_file(folder: &Path, part: usize, bytes: &[u8]) {
    edit_index(folder, |index| {
        let entry = &mut index["parts"][part]["parameters"];
        fs::write(folder.join(entry["name"].as_str().unwrap()), bytes).unwrap();
        entry["size"] = bytes.len().into();
        entry["sha256"] = sha256(bytes).into();
    });
}

/// A message with all of these words, in one line and without a stop.
pub fn assert_says(error: impl std::fmt::Display, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
    assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
}

/// Everything below a folder, and its bytes.
pub fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}
