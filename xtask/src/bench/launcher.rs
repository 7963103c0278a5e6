//! How ranks are started: as threads of one program, or by a launcher such as mpirun.

use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use thiserror::Error;

/// What stands for the number of ranks.
const RANKS: &str = "{ranks}";

/// How ranks are started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Launcher {
    /// Threads of one process.
    Threads,
    /// Processes, by this program and its arguments.
    Processes(Vec<String>),
}

/// A launcher that does not say where the number of ranks goes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no {RANKS} in {0:?}; use threads, or a command as 'mpirun -n {RANKS}' or 'srun -n {RANKS}'")]
pub struct LauncherError(String);

impl FromStr for Launcher {
    type Err = LauncherError;

    fn from_str(text: &str) -> Result<Self, LauncherError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        match &words[..] {
            [word] if word == "threads" => Ok(Self::Threads),
            [program, args @ ..] if !program.contains(RANKS) && args.iter().any(|arg| arg.contains(RANKS)) => {
                Ok(Self::Processes(words))
            }
            _ => Err(LauncherError(text.to_owned())),
        }
    }
}

impl Launcher {
    /// The numbers of ranks of each start: threads take turns in one, processes need one each.
    pub fn starts(&self, ranks: &[usize]) -> Vec<Vec<usize>> {
        match self {
            Self::Threads => vec![ranks.to_vec()],
            Self::Processes(_) => ranks.iter().map(|&n| vec![n]).collect(),
        }
    }

    /// The command that starts a program with so many ranks; of threads the program itself makes them.
    pub fn command(&self, program: &Path, n: usize) -> Command {
        match self {
            Self::Processes(words) => {
                let filled = words.iter().map(|word| word.replace(RANKS, &n.to_string()));
                let mut words = filled.chain([program.to_string_lossy().into_owned()]);
                let mut command = Command::new(words.next().unwrap_or_default());
                command.args(words);
                command
            }
            Self::Threads => Command::new(program),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_filled_in() {
        let launcher: Launcher = "mpirun --oversubscribe -n {ranks}".parse().unwrap();
        let command = launcher.command(Path::new("/t/study"), 4);
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        assert_eq!(
            (command.get_program().to_str(), args.join(" ")),
            (Some("mpirun"), "--oversubscribe -n 4 /t/study".into())
        );
        assert_eq!(launcher.starts(&[1, 2]), [vec![1], vec![2]]);
        let threads: Launcher = "threads".parse().unwrap();
        assert_eq!(threads.command(Path::new("/t/study"), 4).get_program(), "/t/study");
        assert_eq!(threads.starts(&[1, 2]), [vec![1, 2]]);
    }

    #[test]
    fn launchers_without_ranks_are_refused() {
        for text in ["", "mpirun -n 2", "{ranks}", "thread", "run-{ranks} now", "threads now"] {
            let message = text.parse::<Launcher>().unwrap_err().to_string();
            assert!(message.starts_with("no {ranks} in \"") && message.contains("'mpirun -n {ranks}'"), "{message}");
        }
    }
}
