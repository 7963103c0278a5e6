//! What is saved comes back; what stays, and what is removed.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::{fs, thread};

use braidnet_checkpoint::{
    Begun, Checkpoint, CheckpointError, Committer, Dtype, Manifest, PartName, Store, export, find, import,
};
use common::{assert_says, folder, keep, part, parts, run_state, save, saved, snapshot};
use safetensors::SafeTensors;
use serde_json::json;

#[test]
fn a_checkpoint_comes_back_whole() {
    let root = saved(&[400]);
    let checkpoint = find(root.path()).unwrap().unwrap();
    assert_eq!(checkpoint.folder(), folder(&root, 400));
    let mut run = run_state(400);
    // JSON may take the last bit of a fraction; what matters of the network is told by `check_network`.
    run.network = checkpoint.run().network.clone();
    assert_eq!(*checkpoint.run(), run);
    assert_eq!(checkpoint.part_names().collect::<Vec<_>>(), PartName::all(3).collect::<Vec<_>>());
    for name in checkpoint.part_names() {
        let mut expected = part(name, 400);
        // The order of the file: wide elements first, then by name.
        expected.parameters.sort_by(|a, b| b.dtype.cmp(&a.dtype).then_with(|| a.name.cmp(&b.name)));
        assert_eq!(checkpoint.read_part(name).unwrap(), expected);
        assert_eq!(checkpoint.read_parameters(name).unwrap(), expected.parameters);
    }
    checkpoint.verify().unwrap();
}

#[test]
fn the_files_are_as_documented() {
    let root = saved(&[400]);
    let mut names: Vec<_> = snapshot(root.path()).into_keys().collect();
    names.iter_mut().for_each(|name| *name = name.strip_prefix(root.path()).unwrap().to_owned());
    let names: Vec<_> = names.iter().map(|name| name.to_str().unwrap()).collect();
    let listed = [
        ".lock",
        "latest",
        "step-00000400/close.safetensors",
        "step-00000400/index.json",
        "step-00000400/index.sha256",
        "step-00000400/layers.00000.optimizer.safetensors",
        "step-00000400/layers.00000.safetensors",
        "step-00000400/layers.00001.optimizer.safetensors",
        "step-00000400/layers.00001.safetensors",
        "step-00000400/layers.00002.optimizer.safetensors",
        "step-00000400/layers.00002.safetensors",
        "step-00000400/open.safetensors",
    ];
    assert_eq!(names, listed);
    assert_eq!(fs::read_to_string(root.path().join("latest")).unwrap(), "step-00000400\n");
    let bytes = fs::read(folder(&root, 400).join("layers.00001.optimizer.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.names(), ["layers.00001.conv1.weight.momentum.velocity"]);
}

#[test]
fn ranks_write_at_once() {
    let root = tempfile::tempdir().unwrap();
    let writer = Committer::open(root.path(), keep(1)).unwrap();
    assert_eq!(writer.begin(7).unwrap(), Begun::New);
    let store = Store::at(root.path());
    let manifests = thread::scope(|scope| {
        let rank = |part| {
            let store = store.clone();
            // As it travels between processes.
            scope.spawn(move || serde_json::to_string(&store.write_parts(7, &[part]).unwrap()).unwrap())
        };
        let ranks: Vec<_> = parts(7).into_iter().rev().map(rank).collect();
        ranks.into_iter().map(|rank| serde_json::from_str(&rank.join().unwrap()).unwrap()).collect::<Vec<Manifest>>()
    });
    writer.commit(manifests, &run_state(7)).unwrap();
    let together = saved(&[7]);
    let bytes = |root: &tempfile::TempDir| snapshot(&folder(root, 7)).into_values().collect::<Vec<_>>();
    assert_eq!(bytes(&root), bytes(&together), "files depend on who wrote them");
}

#[test]
fn the_newest_stay() {
    let root = tempfile::tempdir().unwrap();
    let foreign = folder(&root, 1);
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("index.json"), "{}").unwrap();
    let writer = Committer::open(root.path(), keep(2)).unwrap();
    for step in [10, 20, 30, 40] {
        save(&writer, step).unwrap();
    }
    let there = |step| folder(&root, step).exists();
    assert_eq!([1, 10, 20, 30, 40].map(there), [true, false, false, true, true]);
    // Going on from an earlier one: `latest` is the oldest by number, and stays.
    save(&writer, 25).unwrap();
    assert_eq!([1, 25, 30, 40].map(there), [true; 4]);
    assert_eq!(find(root.path()).unwrap().unwrap().run().step, 25);
}

#[test]
fn a_saved_step_is_left_alone() {
    let root = saved(&[10, 20]);
    let before = snapshot(root.path());
    let writer = Committer::open(root.path(), keep(2)).unwrap();
    assert_eq!(writer.begin(10).unwrap(), Begun::Saved);
    assert_eq!(writer.begin(20).unwrap(), Begun::Saved);
    assert_eq!(snapshot(root.path()), before);
    fs::write(folder(&root, 20).join("open.safetensors"), "x").unwrap();
    let error = writer.begin(20).unwrap_err();
    assert_says(error, &["step-00000020 exists", "never overwritten", "open.safetensors", "move it away"]);
    assert_eq!(fs::read(folder(&root, 20).join("open.safetensors")).unwrap(), b"x");
}

#[test]
fn one_run_at_a_time_writes() {
    let root = tempfile::tempdir().unwrap();
    let writer = Committer::open(root.path(), keep(1)).unwrap();
    writer.begin(3).unwrap();
    let error = Committer::open(root.path(), keep(1)).unwrap_err();
    assert_says(error, &["another run", root.path().to_str().unwrap()]);
    assert!(root.path().join("step-00000003.tmp").is_dir(), "a live run's folder was taken for a left-over");
    drop(writer);
    Committer::open(root.path(), keep(1)).unwrap();
    assert!(!root.path().join("step-00000003.tmp").exists());
}

#[test]
fn parts_without_tensors_are_parts() {
    let root = tempfile::tempdir().unwrap();
    let writer = Committer::open(root.path(), keep(1)).unwrap();
    writer.begin(0).unwrap();
    let empty: Vec<_> = PartName::all(1).map(braidnet_checkpoint::Part::new).collect();
    let manifest = writer.store().write_parts(0, &empty).unwrap();
    let run = braidnet_checkpoint::RunState { n_layers: 1, ..Default::default() };
    let checkpoint = Checkpoint::open(writer.commit(vec![manifest], &run).unwrap()).unwrap();
    assert_eq!(checkpoint.read_part(PartName::Layer(0)).unwrap(), empty[1]);
    checkpoint.verify().unwrap();
}

#[test]
fn networks_are_told_apart() {
    let root = saved(&[1]);
    let checkpoint = find(root.path()).unwrap().unwrap();
    checkpoint.check_network(&run_state(1).network).unwrap();
    let error = checkpoint.check_network(&json!({"kind": "odenet", "channels": 16, "dt": 0.3})).unwrap_err();
    assert_says(error, &["step-00000001", "another network", "`/channels` is 8, but 16 here"]);
}

#[test]
fn an_export_is_one_plain_file() {
    let root = saved(&[400]);
    let checkpoint = find(root.path()).unwrap().unwrap();
    let file = root.path().join("model.safetensors");
    fs::write(&file, "an older one").unwrap();
    export(&checkpoint, &file).unwrap();
    let bytes = fs::read(&file).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let free = metadata.metadata().as_ref().unwrap();
    assert_eq!((free["step"].as_str(), free.len()), ("400", 2));

    let back = import(&file).unwrap();
    let mut expected: Vec<_> = parts(400).into_iter().flat_map(|part| part.parameters).collect();
    expected.sort_by(|a, b| b.dtype.cmp(&a.dtype).then_with(|| a.name.cmp(&b.name)));
    assert_eq!(back, expected);
    let theirs = SafeTensors::deserialize(&bytes).unwrap();
    for tensor in &expected {
        assert_eq!(theirs.tensor(&tensor.name).unwrap().data(), tensor.bytes);
    }
    assert!(!root.path().join("model.safetensors.tmp").exists());
}

#[test]
fn a_failed_export_leaves_the_older_file() {
    let root = saved(&[400]);
    let checkpoint = find(root.path()).unwrap().unwrap();
    let file = root.path().join("model.safetensors");
    fs::write(&file, "an older one").unwrap();
    fs::write(folder(&root, 400).join("close.safetensors"), "x").unwrap();
    assert_says(export(&checkpoint, &file).unwrap_err(), &["close.safetensors"]);
    assert_eq!(fs::read(&file).unwrap(), b"an older one");
    assert!(!root.path().join("model.safetensors.tmp").exists());
}

#[test]
fn files_of_others_are_imported() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("theirs.safetensors");
    let bytes = [1_u8, 2, 3, 4, 5, 6, 7, 8];
    let view = |dtype, shape| safetensors::tensor::TensorView::new(dtype, shape, &bytes).unwrap();
    let views =
        [("a", view(Dtype::U8, vec![8])), ("b", view(Dtype::BF16, vec![2, 2])), ("c", view(Dtype::F64, vec![]))];
    fs::write(&file, safetensors::serialize(views, None).unwrap()).unwrap();
    let back = import(&file).unwrap();
    let told: Vec<_> = back.iter().map(|t| (t.name.as_str(), t.dtype, t.shape.as_slice())).collect();
    assert_eq!(told, [("c", Dtype::F64, &[][..]), ("b", Dtype::BF16, &[2, 2]), ("a", Dtype::U8, &[8])]);
    assert!(back.iter().all(|tensor| tensor.bytes == bytes));
    assert!(matches!(back[0].to_f32(), Err(CheckpointError::NotF32 { .. })));
}
