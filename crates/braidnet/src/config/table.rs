//! Merged options as a TOML file.

use std::ffi::OsStr;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use toml::de::DeValue;

use super::entry::{Entry, flag_value, is_list};
use super::file::options;

/// Values wider than this push their comment out, not those of all lines.
const VALUE_WIDTH: usize = 32;

/// An option of the table.
struct Row {
    heading: String,
    key: String,
    value: String,
    source: Option<String>,
}

/// All options that a file can set, grouped as `--help` groups them; see [`Merged::table`](super::Merged::table).
pub fn render(command: &Command, matches: &ArgMatches, file: Option<&Path>, entries: &[Entry]) -> String {
    let rows: Vec<Row> =
        options(command).map(|(arg, long)| row(arg, long, matches, || source(arg, matches, file, entries))).collect();
    let mut headings: Vec<&str> = Vec::new();
    for row in &rows {
        if !headings.contains(&row.heading.as_str()) {
            headings.push(&row.heading);
        }
    }
    // Options without a heading are first in --help.
    headings.sort_by_key(|heading| *heading != "Options");
    let blocks = headings.iter().map(|heading| {
        let lines = rows.iter().filter(|row| row.heading == *heading).map(|row| line(row, &rows));
        format!("# {heading}\n{}", lines.collect::<String>())
    });
    blocks.collect::<Vec<_>>().join("\n")
}

fn row(arg: &Arg, long: &str, matches: &ArgMatches, source: impl FnOnce() -> String) -> Row {
    let key = if is_bare(long) { long.to_owned() } else { quoted(long) };
    let raw = matches.get_raw(arg.get_id().as_str()).map(|raw| raw.map(OsStr::to_str).collect::<Option<Vec<_>>>());
    let (key, value, source) = match raw {
        Some(Some(raw)) => (key, value(arg, &raw), Some(source())),
        Some(None) => (format!("# {key}"), "(not UTF-8, give it as a flag)".to_owned(), None),
        None => (format!("# {key}"), "(not given)".to_owned(), None),
    };
    let heading = one_line(arg.get_help_heading().unwrap_or("Options"));
    Row { heading, key, value, source }
}

fn line(row: &Row, rows: &[Row]) -> String {
    let keys = rows.iter().map(|row| width(&row.key)).max().unwrap_or(0);
    let values = rows.iter().filter(|row| row.source.is_some()).map(|row| width(&row.value));
    let values = values.filter(|width| *width <= VALUE_WIDTH).max().unwrap_or(0);
    match &row.source {
        Some(source) => format!("{:keys$} = {:values$}  # {source}\n", row.key, row.value),
        None => format!("{:keys$} = {}\n", row.key, row.value),
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn source(arg: &Arg, matches: &ArgMatches, file: Option<&Path>, entries: &[Entry]) -> String {
    let id = arg.get_id().as_str();
    let entry = entries.iter().find(|entry| entry.id == id);
    match (file, matches.value_source(id)) {
        (Some(file), _) if entry.is_some_and(|entry| entry.holds(matches)) => one_line(&file.to_string_lossy()),
        (_, Some(ValueSource::CommandLine)) => "command line".to_owned(),
        (_, Some(ValueSource::EnvVariable)) => "environment".to_owned(),
        _ => "default".to_owned(),
    }
}

/// The value in TOML.
fn value(arg: &Arg, raw: &[&str]) -> String {
    match (flag_value(arg), raw) {
        (Some(given), [value]) => (*value == given).to_string(),
        (None, [value]) if !is_list(arg) => scalar(value),
        _ => format!("[{}]", raw.iter().map(|value| scalar(value)).collect::<Vec<_>>().join(", ")),
    }
}

/// Numbers, `true` and `false` as they are, if TOML reads them back letter for letter; anything else as a string.
fn scalar(raw: &str) -> String {
    let reads_back = match DeValue::parse(raw).as_ref().map(|value| value.get_ref()) {
        // Larger ones are not TOML to other programs.
        Ok(DeValue::Integer(integer)) => integer.radix() == 10 && integer.as_str() == raw && raw.parse::<i64>().is_ok(),
        Ok(DeValue::Float(float)) => float.as_str() == raw,
        Ok(DeValue::Boolean(value)) => value.to_string() == raw,
        _ => false,
    };
    if reads_back { raw.to_owned() } else { quoted(raw) }
}

fn is_bare(key: &str) -> bool {
    key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// For comments: they end with their line.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, "?")
}
