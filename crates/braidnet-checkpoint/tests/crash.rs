//! Runs that end while they write: the checkpoint before stays in force.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use braidnet_checkpoint::{Begun, Checkpoint, Committer, find};
use common::{folder, keep, part, parts, run_state, save, saved};

const ROOT: &str = "BRAIDNET_CRASH_ROOT";

/// The checkpoint found is this one, and is whole.
fn assert_found(root: &Path, step: u64) {
    let found = find(root).unwrap().unwrap();
    assert_eq!(found.run().step, step);
    found.verify().unwrap();
    for name in found.part_names() {
        let (read, written) = (found.read_part(name).unwrap(), part(name, step));
        assert_eq!((read.moments, read.scalars), (written.moments, written.scalars));
        assert!(read.parameters.iter().all(|tensor| written.parameters.contains(tensor)));
    }
}

/// The next run: opens the folder, finds no left-overs, and saves where the last one failed.
fn assert_goes_on(root: &Path, step: u64) {
    let writer = Committer::open(root, keep(100)).unwrap();
    assert_eq!(names(root, ".tmp"), 0);
    save(&writer, step).unwrap();
    drop(writer);
    assert_found(root, step);
}

fn names(root: &Path, ending: &str) -> usize {
    fs::read_dir(root)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().to_str().unwrap().ends_with(ending))
        .count()
}

#[test]
fn ending_after_any_file_leaves_the_one_before() {
    for n_parts in 0..=parts(20).len() {
        let root = saved(&[10]);
        let writer = Committer::open(root.path(), keep(1)).unwrap();
        writer.begin(20).unwrap();
        writer.store().write_parts(20, &parts(20)[..n_parts]).unwrap();
        drop(writer);
        assert_found(root.path(), 10);
        assert_goes_on(root.path(), 20);
    }
}

#[test]
fn ending_within_any_file_leaves_the_one_before() {
    let whole = saved(&[20]);
    let files: Vec<_> = common::snapshot(&folder(&whole, 20)).into_iter().collect();
    for n in 0..files.len() {
        for half in [0, 1, files[n].1.len() / 2] {
            let root = saved(&[10]);
            let unfinished = root.path().join("step-00000020.tmp");
            fs::create_dir(&unfinished).unwrap();
            for (path, bytes) in &files[..n] {
                fs::write(unfinished.join(path.file_name().unwrap()), bytes).unwrap();
            }
            fs::write(unfinished.join(files[n].0.file_name().unwrap()), &files[n].1[..half]).unwrap();
            assert_found(root.path(), 10);
            assert_goes_on(root.path(), 20);
        }
    }
}

#[test]
fn ending_between_the_renames_leaves_one_or_the_other() {
    // The folder has its name, `latest` still the old content, its new file half of the new one.
    let root = saved(&[10, 20]);
    fs::write(root.path().join("latest"), "step-00000010\n").unwrap();
    fs::write(root.path().join("latest.tmp"), "step-000").unwrap();
    assert_found(root.path(), 10);
    // The next run comes to step 20 again: it is saved already, and from now on the latest.
    let writer = Committer::open(root.path(), keep(100)).unwrap();
    assert_eq!(names(root.path(), ".tmp"), 0);
    assert_eq!(writer.begin(20).unwrap(), Begun::Saved);
    assert_found(root.path(), 20);
    drop(writer);
    // The very first checkpoint, before there was a `latest`.
    fs::remove_file(root.path().join("latest")).unwrap();
    assert_found(root.path(), 20);
}

#[test]
fn ending_while_the_oldest_is_removed_leaves_no_half() {
    let root = saved(&[10, 20]);
    fs::rename(folder(&root, 10), root.path().join("step-00000010.tmp")).unwrap();
    fs::remove_file(root.path().join("step-00000010.tmp/open.safetensors")).unwrap();
    assert_found(root.path(), 20);
    assert_goes_on(root.path(), 30);
}

#[test]
fn a_failed_attempt_is_begun_anew() {
    let root = tempfile::tempdir().unwrap();
    let writer = Committer::open(root.path(), keep(1)).unwrap();
    writer.begin(5).unwrap();
    writer.store().write_parts(5, &parts(4)[..3]).unwrap();
    save(&writer, 5).unwrap();
    assert_found(root.path(), 5);
}

#[test]
fn a_commit_that_fails_leaves_the_one_before() {
    let root = saved(&[10]);
    let writer = Committer::open(root.path(), keep(1)).unwrap();
    writer.begin(20).unwrap();
    let manifest = writer.store().write_parts(20, &parts(20)).unwrap();
    fs::create_dir(root.path().join("step-00000020.tmp/index.json")).unwrap();
    writer.commit(vec![manifest], &run_state(20)).unwrap_err();
    assert_found(root.path(), 10);
    save(&writer, 20).unwrap();
    assert_found(root.path(), 20);
}

/// What a reader sees at any time is what a crash at that time leaves.
#[test]
fn whenever_one_looks_there_is_a_whole_checkpoint() {
    let root = saved(&[1]);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let writer = Committer::open(root.path(), keep(100)).unwrap();
            (2..=20).for_each(|step| drop(save(&writer, step).unwrap()));
        });
        let mut last = 1;
        while !writer.is_finished() {
            let found = find(root.path()).unwrap().unwrap();
            assert!(found.run().step >= last, "step {} after step {last}", found.run().step);
            last = found.run().step;
        }
    });
    assert_found(root.path(), 20);
}

#[test]
fn a_killed_run_leaves_a_whole_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let mut known = 0;
    for round in 0..8 {
        let mut writer = spawn_writer(root.path());
        // It is killed a little later each round, somewhere in a checkpoint.
        let seen = wait_for_more_than(root.path(), known + 2, &mut writer);
        thread::sleep(Duration::from_micros(700 * round));
        writer.kill().unwrap();
        writer.wait().unwrap();
        known = find(root.path()).unwrap().unwrap().run().step;
        assert!(known >= seen, "step {seen} was committed, but {known} is found");
        assert_found(root.path(), known);
        // Also those that are older, or were not yet the latest.
        let saved = (1..known + 2).map(|step| folder(&root, step)).filter(|folder| folder.exists());
        saved.for_each(|folder| Checkpoint::open(folder).unwrap().verify().unwrap());
    }
    assert_goes_on(root.path(), known + 2);
}

fn spawn_writer(root: &Path) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["saves_until_killed", "--exact", "--ignored"]).env(ROOT, root);
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// Waits until a checkpoint above `step` is found, and returns its step.
fn wait_for_more_than(root: &Path, step: u64, writer: &mut Child) -> u64 {
    loop {
        assert!(writer.try_wait().unwrap().is_none(), "the writer ended by itself");
        // It may be gone between `latest` and itself: old ones are removed meanwhile.
        match find(root) {
            Ok(Some(found)) if found.run().step > step => return found.run().step,
            _ => thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[test]
#[ignore = "the process that a_killed_run_leaves_a_whole_checkpoint starts and kills"]
fn saves_until_killed() {
    let Some(root) = env::var_os(ROOT) else { return };
    let writer = Committer::open(root, keep(2)).unwrap();
    let from = find(writer.store().root()).unwrap().map_or(0, |found| found.run().step);
    for step in from + 1.. {
        // A step may be saved that `latest` did not yet name.
        if writer.begin(step).unwrap() == Begun::New {
            let manifest = writer.store().write_parts(step, &parts(step)).unwrap();
            writer.commit(vec![manifest], &run_state(step)).unwrap();
        }
    }
}
