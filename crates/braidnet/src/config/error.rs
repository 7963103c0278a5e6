//! Errors of options and their file.

use std::path::PathBuf;

/// What can be wrong with options and their file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: check that it is a text file of TOML that may be read ({source})", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The reason given by the operating system.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}: not valid TOML: {message}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What the TOML parser says.
        message: String,
    },
    /// Keys or values are wrong: all that are, in the file's order.
    #[error("{}", lines(file, problems))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// What is wrong, at least one.
        problems: Vec<Problem>,
    },
    /// clap refuses the arguments of file and command line together, or prints the help that was asked for.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
}

/// One wrong key of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {kind}")]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// The key as the file spells it.
    pub key: String,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The program has no such flag.
    #[error("no such option{}", suggestion(nearest.as_deref()))]
    Unknown {
        /// The most similar key, if any is similar.
        nearest: Option<String>,
    },
    /// The option was set before, perhaps in another table, spelled in another way or by another name.
    #[error("already set in line {first}: keep one of the two")]
    Duplicate {
        /// Line of the first.
        first: usize,
    },
    /// A file cannot name another.
    #[error("a file cannot name another file of options: give it on the command line")]
    Nested,
    /// The option takes another type of value.
    #[error("{got} where {expected} is needed")]
    Type {
        /// What the option takes.
        expected: &'static str,
        /// What the file has.
        got: &'static str,
    },
    /// The value is refused.
    #[error("{message}")]
    Value {
        /// clap's reason.
        message: String,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    match nearest {
        Some(key) => format!(": did you mean `{key}`?"),
        None => ": --help lists all, a key is a long flag without its dashes".to_owned(),
    }
}

fn lines(file: &std::path::Path, problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(|p| format!("{}:{}: {p}", file.display(), p.line)).collect();
    lines.join("\n")
}
