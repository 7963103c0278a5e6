//! One option of a file and its arguments.

use clap::builder::ValueRange;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// One option of a file.
pub struct Entry {
    /// clap's name of the option.
    pub id: String,
    /// The arguments that set it: none for a flag that is false.
    pub words: Vec<String>,
    /// Whether it says what the default says.
    pub is_default: bool,
    values: Vec<String>,
}

impl Entry {
    /// Whether `matches` has the option as this entry sets it.
    pub fn holds(&self, matches: &ArgMatches) -> bool {
        matches.get_raw(&self.id).is_some_and(|raw| raw.eq(self.values.iter().map(String::as_str)))
    }

    /// The option `arg` with `values`, as clap would hold them before it splits at delimiters.
    pub fn new(arg: &Arg, values: Vec<String>) -> Self {
        let words = words(arg, &values);
        let values = split(arg, values);
        let defaults = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        let is_default = match flag_value(arg) {
            Some(given) => values[0] != given,
            None => !values.is_empty() && values == split(arg, defaults),
        };
        Self { id: arg.get_id().to_string(), words, is_default, values }
    }

    /// Why clap refuses these words whatever else is given; `None` if it does not.
    pub fn refusal(&self, command: &Command) -> Option<String> {
        use ErrorKind::{InvalidUtf8, InvalidValue, TooFewValues, TooManyValues, ValueValidation, WrongNumberOfValues};
        if self.words.is_empty() {
            return None;
        }
        let words = std::iter::once(command.get_name()).chain(self.words.iter().map(String::as_str));
        // What other options this one needs or excludes shows when all are known.
        match command.clone().try_get_matches_from(words) {
            Err(error) => match error.kind() {
                InvalidUtf8 | InvalidValue | TooFewValues | TooManyValues | ValueValidation | WrongNumberOfValues => {
                    Some(message(&error))
                }
                _ => None,
            },
            Ok(_) => None,
        }
    }
}

/// Whether a file's value of this option is a list.
pub fn is_list(arg: &Arg) -> bool {
    let many = matches!(arg.get_action(), ArgAction::Append) || arg.get_value_delimiter().is_some();
    arg.get_action().takes_values() && (many || range(arg).max_values() > 1)
}

/// What clap holds for a flag that is given: `true`, or `false` with `SetFalse`. `None` if this is no such flag.
pub fn flag_value(arg: &Arg) -> Option<&'static str> {
    match arg.get_action() {
        ArgAction::SetTrue => Some("true"),
        ArgAction::SetFalse => Some("false"),
        _ => None,
    }
}

/// How many values may follow the flag.
pub fn range(arg: &Arg) -> ValueRange {
    arg.get_num_args().unwrap_or_else(|| usize::from(arg.get_action().takes_values()).into())
}

/// The arguments that set an option to `values`.
fn words(arg: &Arg, values: &[String]) -> Vec<String> {
    let flag = format!("--{}", arg.get_long().unwrap_or_default());
    if let Some(given) = flag_value(arg) {
        return if values.iter().any(|value| value == given) { vec![flag] } else { Vec::new() };
    }
    let attached = |value: &str| format!("{flag}={value}");
    let range = range(arg);
    match (arg.get_action(), arg.get_value_delimiter()) {
        (ArgAction::Count, _) => {
            let count = values.first().and_then(|value| value.parse().ok()).unwrap_or(0);
            vec![flag; count]
        }
        // clap counts values before it splits them.
        (_, Some(delimiter)) if range.min_values() <= 1 && !values.is_empty() => {
            vec![attached(&values.join(delimiter.encode_utf8(&mut [0; 4])))]
        }
        (ArgAction::Append, _) if range.min_values() <= 1 && !values.is_empty() => {
            values.iter().map(|value| attached(value)).collect()
        }
        _ if values.len() == 1 => vec![attached(&values[0])],
        (ArgAction::Append, _) if range.min_values() == range.max_values() => {
            let occurrences = values.chunks(range.max_values().max(1));
            occurrences.flat_map(|values| [std::slice::from_ref(&flag), values].concat()).collect()
        }
        _ => [&[flag], values].concat(),
    }
}

/// Values as clap splits them at the option's delimiter.
fn split(arg: &Arg, values: Vec<String>) -> Vec<String> {
    match arg.get_value_delimiter() {
        Some(delimiter) => values.iter().flat_map(|value| value.split(delimiter)).map(str::to_owned).collect(),
        None => values,
    }
}

/// clap's message in one line, without its advice on the command line.
fn message(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim);
    let lines = lines.take_while(|line| !line.starts_with("For more information") && !line.starts_with("Usage:"));
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}
