//! The scripts for Slurm, with a pretended Slurm: what a job does when training ends in each of its ways.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const SCRIPTS: [&str; 4] =
    ["cpu-one-node.sbatch", "cpu-several-nodes.sbatch", "gpu-one-node.sbatch", "gpu-several-nodes.sbatch"];

/// srun without its own options starts the program once.
const SRUN: &str = "while [ \"${1#-}\" != \"$1\" ]; do shift; done; exec \"$@\"";
/// The program keeps its arguments, and then does what the test says.
const PROGRAM: &str = "echo \"$@\" > arguments; out=$(echo \"$@\" | sed 's/.*--out \\([^ ]*\\).*/\\1/'); ";
/// Ends when it is told to save.
const LONG: &str = "trap 'echo stopped > \"$out/state\"; exit 0' USR1; touch started; while :; do sleep 0.05; done";

fn script(path: &Path, body: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A workspace with a program that does `body`, and a Slurm that gives the job `left`.
fn cluster(body: &str, left: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    script(&at("bin/srun"), SRUN);
    script(&at("bin/squeue"), &format!("echo '  {left}'"));
    script(&at("bin/scontrol"), "echo \"$@\" >> requeued");
    script(&at("target/release/examples/mnist"), &format!("{PROGRAM}{body}"));
    fs::create_dir_all(at("scripts")).unwrap();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/slurm");
    std::os::unix::fs::symlink(scripts, at("scripts/slurm")).unwrap();
    folder
}

fn submit(cluster: &TempDir, name: &str, restarts: usize) -> Child {
    let path = format!("{}:{}", cluster.path().join("bin").display(), std::env::var("PATH").unwrap());
    Command::new("bash")
        .arg(cluster.path().join("scripts/slurm").join(name))
        .envs([("PATH", path.as_str()), ("SLURM_JOB_ID", "7"), ("SLURM_CPUS_PER_TASK", "8")])
        .envs([("SLURM_SUBMIT_DIR", cluster.path()), ("OUT", Path::new("results"))])
        .env("SLURM_RESTART_COUNT", restarts.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The exit code, and what Slurm was asked to do.
fn outcome(cluster: &TempDir, mut job: Child) -> (Option<i32>, String) {
    let code = job.wait().unwrap().code();
    (code, fs::read_to_string(cluster.path().join("requeued")).unwrap_or_default())
}

fn run(body: &str, restarts: usize) -> (Option<i32>, String) {
    let cluster = cluster(body, "1:00:00");
    let job = submit(&cluster, SCRIPTS[0], restarts);
    outcome(&cluster, job)
}

#[test]
fn only_what_is_stopped_is_requeued() {
    let nothing = String::new();
    assert_eq!(run("echo finished > $out/state", 0), (Some(0), nothing.clone()));
    assert_eq!(run("echo stopped > $out/state", 0), (Some(0), "requeue 7\n".to_owned()));
    assert_eq!(run("echo stopped > $out/state; exit 3", 0), (Some(3), nothing.clone()));
    assert_eq!(run("true", 0), (Some(1), nothing.clone()));
    assert_eq!(run("echo stopped > $out/state", 50), (Some(1), nothing));
}

#[test]
fn signals_reach_the_program() {
    for (signal, requeued) in [(Signal::USR1, "requeue 7\n"), (Signal::TERM, "")] {
        let cluster = cluster(LONG, "1:00:00");
        let job = submit(&cluster, SCRIPTS[1], 0);
        while !cluster.path().join("started").exists() {
            thread::sleep(Duration::from_millis(10));
        }
        kill_process(Pid::from_child(&job), signal).unwrap();
        assert_eq!(outcome(&cluster, job), (Some(0), requeued.to_owned()));
    }
}

#[test]
fn every_script_starts_the_program() {
    for name in SCRIPTS {
        let cluster = cluster("echo finished > $out/state", "1:00:00");
        let job = submit(&cluster, name, 0);
        assert_eq!(outcome(&cluster, job), (Some(0), String::new()), "{name}");
        let arguments = fs::read_to_string(cluster.path().join("arguments")).unwrap();
        assert!(arguments.trim_end().ends_with("--out results --resume auto --time-limit=55m"), "{name}: {arguments}");
        assert_eq!(arguments.contains("--device cuda"), name.starts_with("gpu"), "{name}: {arguments}");
    }
}

#[test]
fn the_time_left_is_read() {
    for (left, option) in [
        ("1-01:30:00", "--time-limit=1525m"),
        ("08:09:00", "--time-limit=484m"),
        ("12:30", "--time-limit=7m"),
        ("0:30", "--time-limit=1m"),
        ("UNLIMITED", "--resume auto"),
        ("INVALID", "--resume auto"),
    ] {
        let cluster = cluster("echo finished > $out/state", left);
        let job = submit(&cluster, SCRIPTS[0], 0);
        outcome(&cluster, job);
        let arguments = fs::read_to_string(cluster.path().join("arguments")).unwrap();
        assert!(arguments.trim_end().ends_with(option), "{left}: {arguments}");
    }
}
