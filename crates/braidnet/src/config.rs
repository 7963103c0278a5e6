//! Options from a TOML file as well as from flags, for any clap [`Parser`].
//!
//! `--config FILE` names a file whose keys are the long flags of the program, with dashes or underscores:
//!
//! ```toml
//! layers = 36
//! no-baseline = true          # a flag without value; false leaves it out
//! channels = [8, 16]          # values of a flag that takes several
//! [solver]                    # tables only group: the name means nothing
//! fwd_levels = 2
//! ```
//!
//! A flag given on the command line replaces the file's value, a value in the file replaces the default. Paths are as on
//! the command line: relative to the working folder. Only options with a long flag can be in the file; positional
//! arguments and options of subcommands cannot.
//!
//! The file is turned into arguments that go before those of the command line, so that clap checks both in the same way.
//!
//! ```
//! # use braidnet::config::{self, ConfigArgs};
//! #[derive(clap::Parser)]
//! struct Options {
//!     #[command(flatten)]
//!     config: ConfigArgs,
//!     /// ODE layers.
//!     #[arg(long, default_value_t = 36)]
//!     layers: usize,
//! }
//! let merged = config::parse_from::<Options>(["program", "--layers", "72"])?;
//! assert_eq!(merged.options.layers, 72);
//! assert_eq!(merged.table, "# Options\nlayers = 72  # command line\n");
//! # Ok::<(), config::ConfigError>(())
//! ```

mod duration;
mod entry;
mod error;
mod file;
mod table;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Parser};

pub use duration::{DurationError, duration};
use entry::Entry;
pub use error::{ConfigError, Problem, ProblemKind};

/// The flag that names the file; flatten it into the program's options.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ConfigArgs {
    /// TOML file with options: its keys are the long flags; flags given here as well replace it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Options of all sources together.
#[derive(Debug, Clone)]
pub struct Merged<O> {
    /// The options.
    pub options: O,
    /// Every option with its value and where that comes from: a TOML file that, given back with `--config`, means the
    /// same options. Options without a value are comments, and so is a path that is not UTF-8.
    pub table: String,
}

/// Options of this process: command line, then the file of `--config`, then defaults.
///
/// As [`Parser::parse`], ends the process on `--help`, `--version` and wrong arguments.
///
/// # Errors
/// [`ConfigError`] if the file cannot be read or its contents are wrong.
pub fn parse<O: Parser>() -> Result<Merged<O>, ConfigError> {
    parse_with_defaults(&[])
}

/// As [`parse`], where options that programs share have other defaults: pairs of a long flag without dashes and its
/// default. `--help` shows them.
///
/// # Errors
/// As [`parse`].
///
/// # Panics
/// In debug builds, if there is no such flag.
pub fn parse_with_defaults<O: Parser>(defaults: &[(&str, &'static str)]) -> Result<Merged<O>, ConfigError> {
    match merged(std::env::args_os(), defaults) {
        Err(ConfigError::Arguments(error)) => error.exit(),
        result => result,
    }
}

/// As [`parse`], from given arguments, of which the first is the program's name; never ends the process.
///
/// # Errors
/// [`ConfigError`]; `--help`, `--version` and wrong arguments are [`ConfigError::Arguments`].
pub fn parse_from<O: Parser>(args: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Merged<O>, ConfigError> {
    merged(args, &[])
}

fn merged<O: Parser>(
    args: impl IntoIterator<Item = impl Into<OsString>>,
    defaults: &[(&str, &'static str)],
) -> Result<Merged<O>, ConfigError> {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let mut command = O::command().args_override_self(true);
    for (flag, default) in defaults {
        let is_it = |arg: &&clap::Arg| arg.get_long() == Some(flag);
        let id = command.get_arguments().find(is_it).map(|arg| arg.get_id().clone());
        debug_assert!(id.is_some(), "no option --{flag}");
        if let Some(id) = id {
            command = command.mut_arg(id, |arg| arg.default_value(*default));
        }
    }
    command.build();
    // Errors of the command line show in the merged arguments below, where what the file provides is there.
    let own = command.clone().ignore_errors(true).try_get_matches_from(&args)?;
    let file = own.try_get_one::<PathBuf>("config").ok().flatten().cloned();
    let mut entries = match &file {
        Some(file) => file::read(file, &command)?,
        None => Vec::new(),
    };
    // Flags that add up (lists, counts) would be joined with the file's.
    entries.retain(|entry| own.value_source(&entry.id) != Some(ValueSource::CommandLine));
    let matches = merge(&command, &args, file.as_deref(), &entries)?;
    let table = table::render(&command, &matches, file.as_deref(), &entries);
    let options = O::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok(Merged { options, table })
}

/// What clap makes of the file's entries and the command line.
///
/// Entries that say what the default says are left out at first: given explicitly, a default may conflict with other
/// options. Those are put in that do not hold without being given, or all where something is missing without them.
fn merge(
    command: &Command,
    args: &[OsString],
    file: Option<&Path>,
    entries: &[Entry],
) -> Result<ArgMatches, clap::Error> {
    let parse = |given: &dyn Fn(&Entry) -> bool| {
        let given = entries.iter().filter(|entry| given(entry));
        command.clone().try_get_matches_from(join(args, file, given))
    };
    match parse(&|entry| !entry.is_default) {
        Ok(matches) if entries.iter().all(|entry| !entry.is_default || entry.holds(&matches)) => Ok(matches),
        Ok(matches) => parse(&|entry| !entry.is_default || !entry.holds(&matches)),
        Err(error) if error.use_stderr() => parse(&|_| true),
        Err(help) => Err(help),
    }
}

/// The program's name, the words of `entries`, the rest of the command line.
fn join<'a>(args: &[OsString], file: Option<&Path>, entries: impl Iterator<Item = &'a Entry>) -> Vec<OsString> {
    let (name, rest) = args.split_at(args.len().min(1));
    let mut words = name.to_vec();
    words.extend(entries.flat_map(|entry| entry.words.iter().map(OsString::from)));
    if let Some(file) = file {
        // Ends the values of the last entry: they must not run on into positional arguments.
        let mut end = OsString::from("--config=");
        end.push(file);
        words.push(end);
    }
    words.extend_from_slice(rest);
    words
}
