//! The solver's own cost, counted in instructions, which no other load of the machine changes.

use std::process::Command;

use anyhow::{Context, Result};
use braidnet_monitor::{Measurement, Transport};

use super::programs::{Collector, Programs, capture};
use crate::command::probe;

const TOOL: &str = "valgrind";
const POINTS: u64 = 20_000;
/// The cycles of two runs: what is done once is in both, and not in their difference.
const CYCLES: [u64; 2] = [1, 3];
/// The measurement is of so many points and one cycle.
const PER: u64 = 1000;

/// Counts the instructions per 1000 points and cycle; a note instead where the tool is missing.
///
/// # Errors
/// If the program fails, or the tool reports no count.
pub fn count(programs: &Programs, collector: &mut Collector) -> Result<Option<String>> {
    if probe(TOOL, &["--version"]).is_none() {
        let note = "instructions are not counted: no valgrind; install it with sudo apt-get install valgrind, or alike";
        return Ok(Some(note.to_owned()));
    }
    let [few, many] = CYCLES.map(|cycles| instructions(programs, collector, cycles));
    let difference = many?.saturating_sub(few?);
    collector.keep(measurement(difference));
    Ok(None)
}

/// What a difference between both runs is.
fn measurement(difference: u64) -> Measurement {
    Measurement {
        bench: "points".to_owned(),
        case: format!("scalar, {PER} points, one cycle"),
        variant: "3 levels, cfactor 4, FCF".to_owned(),
        ranks: 1,
        transport: Transport::None,
        device: "cpu".to_owned(),
        count: Some(difference * PER / (POINTS * (CYCLES[1] - CYCLES[0]))),
        ..Measurement::default()
    }
}

fn instructions(programs: &Programs, collector: &Collector, cycles: u64) -> Result<u64> {
    let mut out = std::ffi::OsString::from("--callgrind-out-file=");
    out.push(collector.folder().join("callgrind.out"));
    let mut command = Command::new(TOOL);
    command.arg("--tool=callgrind").arg(out).arg(&programs.points);
    command.args(["--points", &POINTS.to_string(), "--cycles", &cycles.to_string()]);
    let text = capture(&mut command)?;
    collected(&text).with_context(|| format!("{TOOL} reported no count of instructions; it wrote\n{text}"))
}

/// The count in `==7899== Collected : 10978878`.
fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        let text = "20000 points\n==79== Events    : Ir\n==79== Collected : 10978878\n==79== \n";
        assert_eq!(collected(text), Some(10_978_878));
        assert_eq!((collected("==79== Collected : ?"), collected("")), (None, None));
    }

    #[test]
    fn counts_are_per_thousand_points_and_cycle() {
        assert_eq!(measurement(40_000 * 385).count, Some(385_000));
    }
}
