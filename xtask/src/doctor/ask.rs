//! Asking tools about themselves, with patience that ends.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a tool may think about a question about itself.
pub const LIMIT: Duration = Duration::from_secs(10);
/// How long a tool has to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);

/// What a tool said.
#[derive(Debug)]
pub struct Answer {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Answer {
    /// The last line that is not empty, of stderr if it has one; an error message is often there.
    pub fn last_words(&self) -> &str {
        let last = |text: &'_ str| text.trim_end().rfind('\n').map_or(0, |at| at + 1);
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        text[last(text)..].trim()
    }
}

/// Why a tool said nothing.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// It is not installed.
    #[error("not found")]
    NotHere,
    /// It was stopped.
    #[error("did not answer within {} s and was stopped", .0.as_secs())]
    TooSlow(Duration),
    /// It cannot be run.
    #[error("cannot be run: {0}")]
    Unusable(io::Error),
}

impl From<io::Error> for Silence {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::NotHere } else { Self::Unusable(error) }
    }
}

/// Runs a tool within [`LIMIT`].
///
/// # Errors
/// If it is not here, cannot be run, or was stopped.
pub fn ask(program: &str, args: &[&str]) -> Result<Answer, Silence> {
    ask_within(Command::new(program).args(args), LIMIT)
}

/// What a tool wrote to stdout, if it succeeded within [`LIMIT`].
pub fn told(program: &str, args: &[&str]) -> Option<String> {
    ask(program, args).ok().filter(|answer| answer.status.success()).map(|answer| answer.stdout)
}

/// Runs a command and keeps what it writes.
///
/// # Errors
/// Like [`ask`].
pub fn ask_within(command: &mut Command, limit: Duration) -> Result<Answer, Silence> {
    // Files, not pipes: a pipe's reader would wait for every process that a stopped tool left behind.
    let (stdout, stderr) = (scratch()?, scratch()?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let mut child = command.spawn()?;
    let Some(status) = wait(&mut child, limit)? else {
        stop(&mut child)?;
        return Err(Silence::TooSlow(limit));
    };
    Ok(Answer { status, stdout: content(stdout)?, stderr: content(stderr)? })
}

/// Runs a search of our own that asks tools, and gives up on it after `limit`; nothing then.
pub fn search_within<T: Send + 'static>(limit: Duration, search: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Nobody listens any more if the search took too long.
        let _ = sender.send(search());
    });
    receiver.recv_timeout(limit).ok()
}

fn scratch() -> Result<File, Silence> {
    tempfile::tempfile().map_err(Silence::Unusable)
}

fn content(mut file: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        match child.try_wait()? {
            None if start.elapsed() < limit => thread::sleep(Duration::from_millis(10)),
            status => return Ok(status),
        }
    }
}

/// Ends a child: politely first, because only then mpirun ends its ranks.
fn stop(child: &mut Child) -> io::Result<()> {
    #[cfg(unix)]
    {
        rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::TERM)?;
        if wait(child, GRACE)?.is_some() {
            return Ok(());
        }
    }
    child.kill()?;
    // A process that not even this ends, for instance in a broken driver, is left alone.
    wait(child, GRACE).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<Answer, Silence> {
        ask_within(Command::new("sh").args(["-c", script]), limit)
    }

    #[test]
    fn answers_are_kept() {
        let answer = shell("echo a; echo b >&2; echo c >&2; exit 3", LIMIT).unwrap();
        assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("a\n", "b\nc\n"));
        assert_eq!((answer.status.code(), answer.last_words()), (Some(3), "c"));
        assert_eq!(told("sh", &["-c", "echo a"]).as_deref(), Some("a\n"));
        assert_eq!(told("sh", &["-c", "echo a; false"]), None);
    }

    #[test]
    fn odd_tools_are_survived() {
        assert!(matches!(ask("no-such-program", &[]), Err(Silence::NotHere)));
        let slow = Duration::from_millis(50);
        assert!(matches!(shell("exec sleep 600", slow), Err(Silence::TooSlow(_))));
        assert!(matches!(shell("trap '' TERM; while :; do sleep 0.1; done", slow), Err(Silence::TooSlow(_))));
        // A process left behind holds the output open.
        assert_eq!(shell("sleep 20 & echo a", LIMIT).unwrap().stdout, "a\n");
        assert_eq!(search_within(slow, || thread::sleep(Duration::from_secs(60))), None);
        assert_eq!(search_within(LIMIT, || 7), Some(7));
    }
}
