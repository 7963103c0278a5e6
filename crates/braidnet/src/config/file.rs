//! A file of options, as arguments for clap.

use std::collections::HashMap;
use std::path::Path;

use clap::{Arg, ArgAction, Command, Id};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::entry::{Entry, flag_value, is_list, range};
use super::error::{ConfigError, Problem, ProblemKind};

/// The options of a program that a file can set, with their long flags.
pub fn options(command: &Command) -> impl Iterator<Item = (&Arg, &str)> {
    use ArgAction::{Append, Count, Set, SetFalse, SetTrue};
    let settable = |arg: &&Arg| matches!(arg.get_action(), Set | Append | SetTrue | SetFalse | Count);
    let named = command.get_arguments().filter(settable).filter_map(|arg| Some((arg, arg.get_long()?)));
    named.filter(|(_, long)| *long != "config")
}

/// The options in `file`, in its order, each of which clap accepts by itself.
///
/// # Errors
/// [`ConfigError`], with everything that is wrong with keys and values.
pub fn read(file: &Path, command: &Command) -> Result<Vec<Entry>, ConfigError> {
    let text =
        std::fs::read_to_string(file).map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
    let root = DeTable::parse(&text).map_err(|error| ConfigError::Syntax {
        file: file.to_owned(),
        line: line(&text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    let mut reader = Reader { text: &text, command, first: HashMap::new(), entries: Vec::new(), problems: Vec::new() };
    for (at, key, value) in leaves(root.get_ref()) {
        reader.add(line(&text, at), key, value);
    }
    if reader.problems.is_empty() {
        Ok(reader.entries)
    } else {
        Err(ConfigError::Invalid { file: file.to_owned(), problems: reader.problems })
    }
}

/// Line of a byte, from 1.
fn line(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|&byte| byte == b'\n').count() + 1
}

/// All (position, key, value) of a table and the tables in it, in the order of the file.
fn leaves<'a>(root: &'a DeTable<'a>) -> Vec<(usize, &'a str, &'a Spanned<DeValue<'a>>)> {
    let (mut leaves, mut tables) = (Vec::new(), vec![root]);
    while let Some(table) = tables.pop() {
        for (key, value) in table.iter() {
            match value.get_ref() {
                DeValue::Table(inner) => tables.push(inner),
                _ => leaves.push((key.span().start, key.get_ref().as_ref(), value)),
            }
        }
    }
    leaves.sort_by_key(|(at, ..)| *at);
    leaves
}

struct Reader<'a> {
    text: &'a str,
    command: &'a Command,
    /// Line where each option was first set.
    first: HashMap<Id, usize>,
    entries: Vec<Entry>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn add(&mut self, line: usize, key: &str, value: &Spanned<DeValue>) {
        match self.entry(line, key, value) {
            Ok(entry) => self.entries.push(entry),
            Err(kind) => self.problems.push(Problem { line, key: key.to_owned(), kind }),
        }
    }

    fn entry(&mut self, line: usize, key: &str, value: &Spanned<DeValue>) -> Result<Entry, ProblemKind> {
        let arg = find(self.command, key)?;
        if let Some(&first) = self.first.get(arg.get_id()) {
            return Err(ProblemKind::Duplicate { first });
        }
        self.first.insert(arg.get_id().clone(), line);
        let entry = Entry::new(arg, values(arg, value, self.text)?);
        match entry.refusal(self.command) {
            Some(message) => Err(ProblemKind::Value { message }),
            None => Ok(entry),
        }
    }
}

/// The option of a key, by its flag or another name of it.
fn find<'a>(command: &'a Command, key: &str) -> Result<&'a Arg, ProblemKind> {
    let dashed = key.replace('_', "-");
    if dashed == "config" {
        return Err(ProblemKind::Nested);
    }
    let is_name = |name: &str| name.replace('_', "-") == dashed;
    let known = |(arg, long): &(&Arg, &str)| {
        is_name(long) || arg.get_all_aliases().is_some_and(|names| names.into_iter().any(is_name))
    };
    if let Some((arg, _)) = options(command).find(known) {
        return Ok(arg);
    }
    // The measure and the threshold of clap's own suggestions.
    let similar =
        options(command).map(|(_, long)| (strsim::jaro(&dashed, long), long)).filter(|(score, _)| *score > 0.7);
    let nearest = similar.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, long)| long.to_owned());
    Err(ProblemKind::Unknown { nearest })
}

/// The values of an option, as clap would hold them before it splits at delimiters.
fn values(arg: &Arg, value: &Spanned<DeValue>, text: &str) -> Result<Vec<String>, ProblemKind> {
    let wrong = |expected| ProblemKind::Type { expected, got: type_name(value.get_ref()) };
    match (value.get_ref(), flag_value(arg)) {
        (DeValue::Boolean(is_given), Some(given)) => Ok(vec![((given == "true") == *is_given).to_string()]),
        (_, Some(_)) => Err(wrong("true or false")),
        (value, None) if matches!(arg.get_action(), ArgAction::Count) => {
            let count = value.as_integer().filter(|count| count.radix() == 10);
            let count = count.and_then(|count| count.as_str().parse::<u8>().ok());
            Ok(vec![count.ok_or_else(|| wrong("a number from 0 to 255"))?.to_string()])
        }
        (DeValue::Array(items), None) if is_list(arg) => {
            if items.is_empty() && range(arg).min_values() > 0 {
                return Err(ProblemKind::Type { expected: "at least one value", got: "an empty array" });
            }
            items.iter().map(|item| scalar(item, text, "a plain value in an array")).collect()
        }
        (DeValue::Array(items), None) if items.is_empty() && range(arg).min_values() == 0 => Ok(Vec::new()),
        (_, None) => Ok(vec![scalar(value, text, "a single value")?]),
    }
}

/// A value as it would be typed after a flag.
fn scalar(value: &Spanned<DeValue>, text: &str, expected: &'static str) -> Result<String, ProblemKind> {
    let wrong = || ProblemKind::Type { expected, got: type_name(value.get_ref()) };
    match value.get_ref() {
        DeValue::String(string) => Ok(string.to_string()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Float(float) => Ok(float.as_str().to_owned()),
        DeValue::Integer(integer) if integer.radix() == 10 => Ok(integer.as_str().to_owned()),
        // What is too large for this cannot be an option's number either: clap says so.
        DeValue::Integer(integer) => {
            let number = u128::from_str_radix(integer.as_str(), integer.radix());
            Ok(number.map_or_else(|_| text[value.span()].to_owned(), |number| number.to_string()))
        }
        // Times of day are durations to some options: as written, not as TOML would normalise them.
        DeValue::Datetime(_) => Ok(text[value.span()].to_owned()),
        DeValue::Array(_) | DeValue::Table(_) => Err(wrong()),
    }
}

fn type_name(value: &DeValue) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
