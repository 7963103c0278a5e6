//! Commands: shown before they run, stopped when they take too long, and named when they fail.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::cargo::root;

/// How long a command has to end after it was asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How much of a failed command's words an error quotes.
const LAST_LINES: usize = 20;

/// Runs a command to its end.
///
/// # Errors
/// If it cannot be started or does not succeed; the error says how to repeat it.
pub fn run(command: &mut Command) -> Result<()> {
    show(command);
    let status = command.status().with_context(|| cannot_start(command))?;
    judge(command, status)
}

/// Runs a command that must end by itself, in time, and well.
///
/// # Errors
/// Like [`run`], and if it was stopped because it took longer than `limit`.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    show(command);
    let child = command.stdin(Stdio::null()).spawn().with_context(|| cannot_start(command))?;
    let status = wait_within(child, limit)?.ok_or_else(|| too_slow(command, limit))?;
    judge(command, status)
}

/// Runs a command that must end by itself, in time, and well, and returns what it wrote to stdout and stderr.
///
/// # Errors
/// Like [`run_within`]; the error quotes the last lines.
pub fn capture_within(command: &mut Command, limit: Duration) -> Result<String> {
    show(command);
    let mut written = scratch()?;
    // Both at the same place of the file, in the order written.
    command.stdin(Stdio::null()).stdout(written.try_clone()?).stderr(written.try_clone()?);
    let child = command.spawn().with_context(|| cannot_start(command))?;
    let status = wait_within(child, limit)?;
    let mut bytes = Vec::new();
    written.rewind()?;
    written.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let judged = status.ok_or_else(|| too_slow(command, limit)).and_then(|status| judge(command, status));
    judged.map_err(|error| anyhow!("{error:#}\nits last lines are\n{}", last_lines(&text)))?;
    Ok(text)
}

/// The end of what a command wrote.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n")
}

/// Runs a command that must fail by itself, in time, in words, and without a panic that nobody caught: what it writes
/// to stderr must contain every one of `words`.
///
/// # Errors
/// If one of that is not so; the error quotes what the command wrote.
pub fn fails_within(command: &mut Command, limit: Duration, words: &[&str], panics: Panics) -> Result<()> {
    show(command);
    let mut stderr = scratch()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr.try_clone()?);
    let child = command.spawn().with_context(|| cannot_start(command))?;
    let status = wait_within(child, limit)?.ok_or_else(|| too_slow(command, limit))?;
    let mut bytes = Vec::new();
    stderr.rewind()?;
    stderr.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let missing = words.iter().find(|word| !text.contains(**word));
    let complaint = if status.success() {
        "succeeded, but must fail".to_owned()
    } else if panics == Panics::Forbidden && text.contains("panicked") {
        "panicked, but must report an error".to_owned()
    } else if let Some(word) = missing {
        format!("failed without {word:?} in what it wrote to stderr")
    } else {
        return Ok(());
    };
    bail!("{complaint}{}\nit wrote\n{}", repeat(command), text.trim_end())
}

/// Whether a command that must fail may write `panicked`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Panics {
    /// It may: the panic is what is tried.
    Allowed,
    /// It may not.
    Forbidden,
}

/// What a command wrote to stdout, if it could be started and succeeded; what it wrote to stderr is lost.
pub fn probe<S: AsRef<OsStr>>(program: S, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Prints the line that a command is about to run.
pub fn show(command: &Command) {
    println!("$ {}", line(command));
}

/// An error unless the command succeeded.
///
/// # Errors
/// The exit code or signal, and how to repeat the command.
pub fn judge(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { bail!("ended with {status}{}", repeat(command)) }
}

/// The start of an error about a program that is not there.
pub fn cannot_start(command: &Command) -> String {
    format!("cannot start {}; is it installed?", command.get_program().display())
}

/// The line that a person types, in the workspace's root, to run a command again.
fn line(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        words.extend(value.map(|value| format!("{}={}", name.display(), quoted(value))));
    }
    words.push(quoted(command.get_program()));
    words.extend(command.get_args().map(quoted));
    let line = words.join(" ");
    match command.get_current_dir() {
        Some(folder) if folder != root() => {
            let folder = folder.strip_prefix(root()).unwrap_or(folder);
            format!("(cd {} && {line})", quoted(folder.as_os_str()))
        }
        _ => line,
    }
}

/// A word for a POSIX shell.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "_-+=./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn repeat(command: &Command) -> String {
    format!("; repeat it with\n    {}", line(command))
}

fn too_slow(command: &Command, limit: Duration) -> anyhow::Error {
    anyhow!("did not end within {} s and was stopped{}", limit.as_secs(), repeat(command))
}

/// Waits for a child's end; after `limit` the child is stopped, and there is no status.
fn wait_within(mut child: Child, limit: Duration) -> Result<Option<ExitStatus>> {
    if let Some(status) = poll(&mut child, limit)? {
        return Ok(Some(status));
    }
    // Asked politely first, because only then mpirun ends its ranks.
    if cfg!(unix) {
        let _ = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status();
        if poll(&mut child, GRACE)?.is_some() {
            return Ok(None);
        }
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn poll(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        match child.try_wait()? {
            None if start.elapsed() < limit => thread::sleep(Duration::from_millis(20)),
            status => return Ok(status),
        }
    }
}

/// A file without a name. Not a pipe: a pipe's reader would wait for every process that a killed command left behind.
fn scratch() -> Result<File> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("xtask-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    forget(&path);
    Ok(file)
}

/// Takes an open file's name away. Where the system refuses that, the file stays, which harms nobody.
fn forget(path: &Path) {
    let _ = fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn lines_can_be_typed() {
        let mut command = Command::new("cargo");
        command.args(["doc", "", "it's"]).env("RUSTDOCFLAGS", "-D warnings").env_remove("HOME").current_dir(root());
        assert_eq!(line(&command), r"RUSTDOCFLAGS='-D warnings' cargo doc '' 'it'\''s'");
        command.current_dir(root().join("xtask"));
        assert!(line(&command).starts_with("(cd xtask && RUST"));
    }

    #[test]
    fn slow_commands_are_stopped() {
        let start = Instant::now();
        let error = run_within(&mut shell("exec sleep 60"), Duration::from_millis(50)).unwrap_err().to_string();
        assert!(error.starts_with("did not end within 0 s") && error.contains("exec sleep 60"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn failures_say_how_to_repeat_them() {
        run_within(&mut shell("true"), GRACE).unwrap();
        let error = run(&mut shell("exit 3")).unwrap_err().to_string();
        assert_eq!(error, "ended with exit status: 3; repeat it with\n    sh -c 'exit 3'");
    }

    #[test]
    fn refusals_are_checked() {
        let refused = |script: &str| {
            let result = fails_within(&mut shell(script), GRACE, &["layers"], Panics::Forbidden);
            result.map_err(|error| error.to_string())
        };
        assert_eq!(refused("echo 0 layers >&2; exit 1"), Ok(()));
        let complaint = |script: &str, part: &str| assert!(refused(script).unwrap_err().contains(part));
        complaint("echo layers >&2", "succeeded, but must fail");
        complaint("echo layers; exit 1", "failed without \"layers\"");
        complaint("echo layers panicked >&2; exit 1", "panicked, but must report");
        complaint("exec sleep 60 & sleep 0.1; echo other >&2; exit 1", "failed without \"layers\"");
    }
}
