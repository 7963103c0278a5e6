//! Damaged and foreign checkpoints: each is refused in its own words, and loading changes nothing.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::{fs, path::Path};

use braidnet_checkpoint::{
    Checkpoint, CheckpointError, Committer, Dtype, NamedTensor, Part, PartName, RunState, find, import,
};
use common::{
    N_LAYERS, assert_says, edit_index, folder, keep, part, parts, replace_file, run_state, saved, snapshot, write_index,
};
use serde_json::{Value, json};

/// What is said of the checkpoint of step 400, damaged, next to a sound one of step 300; however it is read.
fn said(damage: impl FnOnce(&Path)) -> String {
    let root = saved(&[300, 400]);
    damage(&folder(&root, 400));
    let before = snapshot(root.path());
    let read_all = |checkpoint: Checkpoint| -> Result<(), CheckpointError> {
        checkpoint.part_names().try_for_each(|name| checkpoint.read_part(name).map(drop))
    };
    let by_find = find(root.path()).and_then(|found| read_all(found.unwrap())).unwrap_err().to_string();
    let by_folder = Checkpoint::open(folder(&root, 400)).and_then(read_all).unwrap_err().to_string();
    let by_verify = Checkpoint::open(folder(&root, 400)).and_then(|checkpoint| checkpoint.verify());
    assert_eq!(by_find, by_folder);
    assert_eq!(by_find, by_verify.unwrap_err().to_string());
    assert_eq!(snapshot(root.path()), before, "loading has written");
    let offer = "; the checkpoint before it, `step-00000300`, is complete: resume from ";
    assert_says(&by_find, &[&format!("{offer}{}", folder(&root, 300).display())]);
    by_find
}

/// What is said of a wrong index with the right hash.
fn said_of_index(edit: impl FnOnce(&mut Value)) -> String {
    said(|folder| edit_index(folder, edit))
}

/// What is said of a file of layer 0 that differs from the index, with the right hash.
fn said_of_file(bytes: &[u8]) -> String {
    said(|folder| replace_file(folder, 1, bytes))
}

fn safetensors_of_text(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn damaged_files_are_named() {
    let file = "step-00000400/layers.00001.safetensors";
    let at = |folder: &Path| folder.join("layers.00001.safetensors");
    assert_says(said(|folder| fs::remove_file(at(folder)).unwrap()), &[file, "is missing"]);
    let cut = said(|folder| {
        let bytes = fs::read(at(folder)).unwrap();
        fs::write(at(folder), &bytes[..bytes.len() - 1]).unwrap();
    });
    assert_says(cut, &[file, "bytes, but", "were written"]);
    let flipped = said(|folder| {
        let mut bytes = fs::read(at(folder)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(at(folder), bytes).unwrap();
    });
    assert_says(flipped, &[file, "SHA-256", "damaged"]);
    let a_folder = said(|folder| {
        fs::remove_file(at(folder)).unwrap();
        fs::create_dir(at(folder)).unwrap();
    });
    assert_says(a_folder, &[file, "not a plain file"]);
    let moments = said(|folder| fs::write(folder.join("layers.00002.optimizer.safetensors"), "").unwrap());
    assert_says(moments, &["layers.00002.optimizer.safetensors", "0 bytes"]);
    let swapped = said(|folder| {
        fs::copy(folder.join("layers.00000.safetensors"), at(folder)).unwrap();
    });
    assert_says(swapped, &[file, "SHA-256"]);
}

#[test]
fn a_damaged_index_is_named() {
    let index = |folder: &Path| folder.join("index.json");
    assert_says(said(|folder| fs::remove_file(index(folder)).unwrap()), &["index.json is missing"]);
    let hash = |folder: &Path| folder.join("index.sha256");
    assert_says(said(|folder| fs::remove_file(hash(folder)).unwrap()), &["index.sha256 is missing"]);
    assert_says(said(|folder| fs::write(hash(folder), "abc").unwrap()), &["index.sha256", "does not hold"]);
    let changed = said(|folder| {
        let text = fs::read_to_string(index(folder)).unwrap().replace("\"epoch\": 2", "\"epoch\": 3");
        fs::write(index(folder), text).unwrap();
    });
    assert_says(changed, &["index.json", "SHA-256"]);
}

#[test]
fn what_is_no_index_is_told() {
    let no_index = &["index.json is not the index of a braidnet checkpoint"];
    assert_says(said(|folder| write_index(folder, b"not JSON")), no_index);
    assert_says(said(|folder| write_index(folder, &[0xff, 0, 7])), no_index);
    assert_says(said(|folder| write_index(folder, br#"{"architectures": ["Bert"]}"#)), no_index);
    assert_says(said(|folder| write_index(folder, b"[1, 2]")), no_index);
    assert_says(said(|folder| write_index(folder, "[".repeat(100_000).as_bytes())), no_index);
    assert_says(said_of_index(|index| index["run"]["step"] = json!(-1)), no_index);
    assert_says(said_of_index(|index| index["more"] = json!(1)), &["index.json", "`more`"]);
    // Also where there is no hash: a foreign file is not missing one.
    let foreign = said(|folder| {
        fs::remove_file(folder.join("index.sha256")).unwrap();
        fs::write(folder.join("index.json"), "{}").unwrap();
    });
    assert_says(foreign, no_index);
}

#[test]
fn other_formats_are_told_by_their_maker() {
    let newer = said_of_index(|index| {
        index["format"] = json!(9);
        index["braidnet"] = json!("9.9");
        index["run"] = json!("of a kind unknown today");
    });
    assert_says(newer, &["index.json is of format 9", "made by braidnet 9.9", "reads format 1", "upgrade"]);
    assert_says(said_of_index(|index| index["format"] = json!(0)), &["format 0", "was changed"]);
    // The hash of another version may be elsewhere.
    let elsewhere = said(|folder| fs::write(folder.join("index.json"), r#"{"braidnet": "9.9", "format": 2}"#).unwrap());
    assert_says(elsewhere, &["made by braidnet 9.9"]);
}

#[test]
fn the_parts_are_the_network() {
    let remove = |n: usize| move |index: &mut Value| drop(index["parts"].as_array_mut().unwrap().remove(n));
    assert_says(said_of_index(remove(2)), &["index.json", "layers.00001 is missing", "3 layers"]);
    assert_says(said_of_index(remove(3)), &["layers.00002 is missing"]);
    assert_says(said_of_index(remove(0)), &["part open is missing"]);
    assert_says(said_of_index(remove(4)), &["part close is missing"]);
    let more = said_of_index(|index| index["run"]["n_layers"] = json!(u64::MAX));
    assert_says(more, &["layers.00003 is missing"]);
    assert_says(said_of_index(|index| index["run"]["n_layers"] = json!(2)), &["layers.00002 is no part", "2 layers"]);
    let twice = said_of_index(|index| {
        let part = index["parts"][1].clone();
        index["parts"].as_array_mut().unwrap().insert(1, part);
    });
    assert_says(twice, &["layers.00000 is there twice"]);
    let order = said_of_index(|index| index["parts"].as_array_mut().unwrap().swap(1, 2));
    assert_says(order, &["layers.00000 is missing"]);
}

#[test]
fn names_lead_nowhere_else() {
    for name in ["../x", "/etc/passwd", "layers.00000.safetensors/../../x", "open.safetensors", ""] {
        let told = said_of_index(|index| index["parts"][1]["parameters"]["name"] = json!(name));
        assert_says(told, &["index.json", &format!("`{name}`"), "`layers.00000.safetensors`"]);
    }
    let told = said_of_index(|index| index["parts"][1]["name"] = json!("../x"));
    assert_says(told, &["index.json", "`../x` is not the name of a part"]);
    let told = said_of_index(|index| index["parts"][1]["moments"]["name"] = json!("../x"));
    assert_says(told, &["`../x`", "`layers.00000.optimizer.safetensors`"]);
}

#[test]
fn absurd_indexes_are_refused() {
    let size = said_of_index(|index| index["parts"][1]["parameters"]["size"] = json!(u64::MAX));
    assert_says(size, &["layers.00000.safetensors", "18446744073709551615"]);
    let hash = said_of_index(|index| index["parts"][1]["parameters"]["sha256"] = json!("../x"));
    assert_says(hash, &["layers.00000.safetensors", "hash"]);
    for shape in [json!([u64::MAX, u64::MAX]), json!([1_u64 << 40]), json!([u64::MAX, 2, 0, 7])] {
        let told = said_of_index(|index| index["parts"][1]["parameters"]["tensors"][2]["shape"] = shape);
        assert_says(told, &["index.json", "`layers.00000.conv1.weight` takes more bytes than its file has"]);
    }
    let twice = said_of_index(|index| {
        index["parts"][1]["parameters"]["tensors"][1]["name"] = json!("layers.00002.conv1.weight");
    });
    assert_says(twice, &["index.json", "`layers.00002.conv1.weight` is there twice"]);
    assert_says(said_of_index(|index| index["run"]["step"] = json!(300)), &["step-00000400 holds step 300"]);
}

#[test]
fn index_and_file_must_agree() {
    let file = "layers.00000.safetensors";
    let edited = |edit: fn(&mut Value)| said_of_index(|index| edit(&mut index["parts"][1]["parameters"]["tensors"]));
    let renamed = edited(|tensors| tensors[1]["name"] = json!("layers.00000.other"));
    assert_says(renamed, &[file, "`layers.00000.conv1.bias` is not in the index"]);
    let removed = edited(|tensors| drop(tensors.as_array_mut().unwrap().remove(1)));
    assert_says(removed, &[file, "`layers.00000.conv1.bias` is not in the index"]);
    let added = edited(|tensors| {
        let tensor = json!({"name": "layers.00000.more", "dtype": "F32", "shape": [1]});
        tensors.as_array_mut().unwrap().push(tensor);
    });
    assert_says(added, &[file, "`layers.00000.more` is missing"]);
    let shape = edited(|tensors| tensors[1]["shape"] = json!([3, 2]));
    assert_says(shape, &[file, "`layers.00000.conv1.bias` has shape [2, 3], but the index says [3, 2]"]);
    let dtype = edited(|tensors| tensors[1]["dtype"] = json!("I32"));
    assert_says(dtype, &[file, "`layers.00000.conv1.bias` is of type F32, but the index says I32"]);
}

#[test]
fn files_that_are_no_safetensors_are_told() {
    let file = "layers.00000.safetensors";
    assert_says(said_of_file(&[7; 100]), &[file, "header"]);
    assert_says(said_of_file(&safetensors_of_text("not JSON", 90)), &[file, "not a whole safetensors file"]);
    let said_of_tensor = |tensor: Value, data: usize| {
        let bytes = safetensors_of_text(&json!({"w": tensor}).to_string(), data);
        assert_says(said_of_file(&bytes), &[file]);
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.safetensors");
        fs::write(&path, &bytes).unwrap();
        assert_says(import(&path).unwrap_err(), &["a.safetensors is not a whole safetensors file"]);
    };
    let tensor =
        |shape: Value, start: u64, end: u64| json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
    said_of_tensor(tensor(json!([2, 3]), 0, 24), 100);
    said_of_tensor(tensor(json!([2, 3]), 0, 24), 20);
    said_of_tensor(tensor(json!([2, 3]), 0, 100), 100);
    said_of_tensor(tensor(json!([2, 3]), 76, 100), 100);
    said_of_tensor(tensor(json!([2, 3]), 24, 0), 100);
    said_of_tensor(tensor(json!([u64::MAX, u64::MAX]), 0, 100), 100);
    said_of_tensor(tensor(json!([1_u64 << 40]), 0, 1 << 42), 100);
    said_of_tensor(json!({"dtype": "X99", "shape": [1], "data_offsets": [0, 4]}), 100);
}

#[test]
fn imports_are_checked_as_well() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.safetensors");
    let refused = |bytes: &[u8], words: &[&str]| {
        fs::write(&path, bytes).unwrap();
        assert_says(import(&path).unwrap_err(), &[&["a.safetensors"], words].concat());
    };
    refused(&[], &["too few"]);
    refused(&u64::MAX.to_le_bytes(), &["header of 18446744073709551615 bytes", "limit of 0"]);
    let w = r#""w": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}"#;
    refused(&safetensors_of_text(&format!("{{{w}, {w}}}"), 0), &["`w` is there twice"]);
    fs::remove_file(&path).unwrap();
    assert_says(import(&path).unwrap_err(), &["a.safetensors is missing"]);
    assert_says(import(root.path()).unwrap_err(), &["not a plain file"]);
}

#[test]
fn what_latest_says_counts() {
    let root = saved(&[300, 400]);
    let latest = root.path().join("latest");
    for content in ["../elsewhere", "", "step-400", "step-00000400/..", &"x".repeat(1_000)] {
        fs::write(&latest, content).unwrap();
        let error = find(root.path()).unwrap_err();
        assert_says(error, &["latest", "not the name of a checkpoint", "`step-00000400`, is complete"]);
    }
    fs::write(&latest, "step-00000500\n").unwrap();
    assert_says(
        find(root.path()).unwrap_err(),
        &["step-00000500/index.json is missing", "`step-00000400`, is complete"],
    );
    fs::remove_file(&latest).unwrap();
    assert_eq!(find(root.path()).unwrap().unwrap().run().step, 400);
    fs::remove_file(folder(&root, 400).join("open.safetensors")).unwrap();
    assert_eq!(find(root.path()).unwrap().unwrap().run().step, 300);
    fs::remove_file(folder(&root, 300).join("open.safetensors")).unwrap();
    let error = find(root.path()).unwrap_err();
    assert_says(
        error,
        &["step-00000400/open.safetensors is missing", "no complete checkpoint before it", "start anew"],
    );
}

#[test]
fn the_offer_is_verified() {
    let root = saved(&[200, 300, 400]);
    for (step, name) in [(300, "close.safetensors"), (400, "open.safetensors")] {
        let file = folder(&root, step).join(name);
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(file, bytes).unwrap();
    }
    let found = find(root.path()).unwrap().unwrap();
    found.read_part(PartName::Layer(0)).unwrap();
    let error = found.read_part(PartName::Open).unwrap_err();
    assert_says(&error, &["step-00000400/open.safetensors", "`step-00000200`, is complete"]);
    let error = Checkpoint::open(folder(&root, 200)).unwrap().read_part(PartName::Layer(9)).unwrap_err();
    assert_says(error, &["part layers.00009 is missing"]);
    let error = Checkpoint::open(folder(&root, 100)).unwrap_err();
    assert_says(error, &["step-00000100/index.json is missing", "there is no complete checkpoint before it"]);
}

#[test]
fn nothing_to_find_is_no_error() {
    let root = tempfile::tempdir().unwrap();
    assert!(find(root.path()).unwrap().is_none());
    assert!(find(root.path().join("absent")).unwrap().is_none());
    fs::create_dir(root.path().join("step-00000001.tmp")).unwrap();
    assert!(find(root.path()).unwrap().is_none());
    let error = find(root.path().join("step-00000001.tmp")).unwrap_err();
    assert_says(error, &["step-00000001.tmp/index.json is missing"]);
    fs::write(root.path().join("a-file"), "").unwrap();
    assert_says(find(root.path().join("a-file")).unwrap_err(), &["a-file is not a folder"]);
    assert_says(Committer::open(root.path().join("a-file"), keep(1)).unwrap_err(), &["a-file is not a folder"]);
}

/// What a commit of these parts says.
fn commit(parts: &[Part], run: &RunState) -> String {
    let root = tempfile::tempdir().unwrap();
    let writer = Committer::open(root.path(), keep(1)).unwrap();
    writer.begin(run.step).unwrap();
    // Each part by a rank of its own, so that no file is written twice by one.
    let manifests = parts.iter().map(|part| writer.store().write_parts(run.step, std::slice::from_ref(part)));
    let manifests: Result<Vec<_>, _> = manifests.collect();
    let error = manifests.and_then(|manifests| writer.commit(manifests, run)).unwrap_err();
    assert!(find(root.path()).unwrap().is_none());
    error.to_string()
}

#[test]
fn commits_of_half_a_network_are_refused() {
    let without = |n: usize| {
        let mut parts = parts(5);
        parts.remove(n);
        commit(&parts, &run_state(5))
    };
    assert_says(without(2), &["step-00000005.tmp", "layers.00001 is missing"]);
    assert_says(without(N_LAYERS), &["layers.00002 is missing"]);
    assert_says(without(N_LAYERS + 1), &["close is missing"]);
    let mut twice = parts(5);
    twice.push(part(PartName::Layer(1), 5));
    assert_says(commit(&twice, &run_state(5)), &["layers.00001.safetensors", "layers.00001 is there twice"]);
    let mut twice = parts(5);
    twice[1].parameters[1].name = "layers.00001.conv1.bias".to_owned();
    assert_says(commit(&twice, &run_state(5)), &["`layers.00001.conv1.bias` is there twice"]);
}

#[test]
fn impossible_tensors_are_not_written() {
    let with = |tensor: NamedTensor| {
        let mut parts = parts(5);
        parts[1].parameters.push(tensor);
        commit(&parts, &run_state(5))
    };
    let short = NamedTensor::from_f32("short", &[2, 2], &[1.0; 3]);
    assert_says(with(short), &["layers.00000.safetensors", "`short`", "bytes"]);
    let huge = NamedTensor { name: "huge".to_owned(), dtype: Dtype::F32, shape: vec![usize::MAX; 2], bytes: vec![] };
    assert_says(with(huge), &["`huge` is too large"]);
    let reserved = NamedTensor::from_f32("__metadata__", &[0], &[]);
    assert_says(with(reserved), &["`__metadata__` has a name"]);
    let twice = NamedTensor::from_f32("layers.00000.conv1.bias", &[0], &[]);
    assert_says(with(twice), &["`layers.00000.conv1.bias` is there twice"]);
}

#[test]
fn calls_out_of_order_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let writer = Committer::open(root.path(), keep(1)).unwrap();
    assert_says(writer.store().write_parts(5, &parts(5)).unwrap_err(), &["step-00000005.tmp is not there", "begin"]);
    assert_says(writer.commit(vec![], &run_state(5)).unwrap_err(), &["begin"]);
    writer.begin(5).unwrap();
    let manifest = writer.store().write_parts(5, &parts(5)).unwrap();
    writer.begin(6).unwrap();
    let error = writer.commit(vec![manifest.clone()], &run_state(6)).unwrap_err();
    assert_says(error, &["manifest of step 5", "commit of step 6"]);
    // What a rank says it wrote must be there.
    fs::write(root.path().join("step-00000005.tmp/open.safetensors"), "").unwrap();
    assert_says(writer.commit(vec![manifest], &run_state(5)).unwrap_err(), &["open.safetensors", "0 bytes"]);
}
