//! Measurements as Markdown.

use std::fmt::Write;

use braidnet_monitor::{Framework, Measurement, Seconds};

use super::gains;
use super::pareto::front;
use super::ratios::{baseline, is_baseline, median, over_pytorch, per_rank, speed_up};
use super::results::{Results, place};

/// Errors up to this are rounding, and all alike.
pub const EXACT: f64 = 1e-6;

/// What a column says of a measurement, among those of its case.
type Cell = fn(&Measurement, &[&Measurement]) -> Option<String>;

/// The columns of a case's table; those without a value are left out.
const COLUMNS: [(&str, Cell); 16] = [
    ("variant", |one, _| Some(one.variant.clone())),
    ("on", |one, _| Some(place(one))),
    ("device", |one, _| (one.device != "cpu").then(|| one.device.clone())),
    ("time (first to last decile)", |one, _| one.seconds.as_ref().map(milliseconds)),
    ("speed-up", |one, case| speed_up(one, case).map(ratio)),
    ("over PyTorch, 1 thread", |one, case| over_pytorch(one, case, 1).map(ratio)),
    ("over PyTorch, 2 threads", |one, case| over_pytorch(one, case, 2).map(ratio)),
    ("waiting", |one, _| one.waiting.map(|part| format!("{:.1} %", 100.0 * part))),
    ("gradient error", |one, _| one.gradient_error.map(error)),
    ("gradient error, trained", |one, _| one.gradient_error_trained.map(error)),
    ("state error", |one, _| one.state_error.map(error)),
    ("peak memory", |one, _| one.peak_bytes.map(|bytes| format!("{:.0} MiB", bytes as f64 / (1u64 << 20) as f64))),
    ("predicted", |one, _| one.predicted.map(|seconds| format!("{:.1} ms", 1e3 * seconds))),
    ("instructions", |one, _| one.count.map(|count| count.to_string())),
    ("launches (copies)", |one, _| Some(format!("{} ({})", one.launches?, one.copies?))),
    ("floor", |one, _| Some(format!("{:.1} %", 100.0 * one.floor? / median(one)?))),
];

/// The whole page: the machine, a table per case, what the suite is about, and the pictures.
pub fn page(results: &Results, pictures: &[(String, String)]) -> String {
    let mut text = format!("# Bench `{}`\n\n", results.suite);
    let machine = results.machine.rows().into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    text += &table(&["machine".to_owned(), String::new()], machine);
    text += "\nTimes are medians of one repetition, with the first and the last decile; speed-up is over the sequential \
             step on one rank of the same run. Waiting is the part of the time in which ranks wait for each other.\n";
    for note in &results.notes {
        text += &format!("\nNote: {note}\n");
    }
    for case in results.cases() {
        let _ = write!(text, "\n## {}: {}\n\n{}", case.0, case.1, of_case(&results.of_case(case)));
    }
    match results.suite.as_str() {
        "gpu" => text += &gains::page(results),
        "weak" => text += &weak(results),
        "schedules" => results.cases().into_iter().for_each(|case| text += &fronts(case, &results.of_case(case))),
        _ => {}
    }
    for (name, title) in pictures {
        let _ = write!(text, "\n![{title}]({name}.svg)\n");
    }
    text
}

/// The table of one case.
pub fn of_case(case: &[&Measurement]) -> String {
    let cells = |(_, cell): &(&str, Cell)| case.iter().map(|one| cell(one, case)).collect::<Vec<_>>();
    let filled: Vec<(&str, Vec<Option<String>>)> = COLUMNS
        .iter()
        .map(|column| (column.0, cells(column)))
        .filter(|(_, cells)| cells.iter().any(Option::is_some))
        .collect();
    let names: Vec<String> = filled.iter().map(|(name, _)| (*name).to_owned()).collect();
    let rows = (0..case.len()).map(|row| {
        filled.iter().map(|(_, cells)| cells[row].clone().unwrap_or_else(|| "-".to_owned())).collect::<Vec<_>>()
    });
    table(&names, rows)
}

/// Weak scaling: layers grow with the ranks, so that equal times are the best there is.
fn weak(results: &Results) -> String {
    let mut text = String::new();
    for series in weak_series(results) {
        let _ = write!(text, "\n## Weak scaling: {} on each rank, {}\n\n", series.network, series.variant);
        let names = ["ranks", "network", "time (first to last decile)", "efficiency"].map(str::to_owned);
        let rows = series.points.iter().map(|point| {
            let Measurement { ranks, case, seconds, .. } = point.measurement;
            let time = seconds.as_ref().map_or("-".to_owned(), milliseconds);
            vec![ranks.to_string(), case.clone(), time, format!("{:.0} %", 100.0 * point.efficiency)]
        });
        text += &table(&names, rows);
    }
    text
}

/// Weak scaling of one variant.
pub struct WeakSeries<'a> {
    /// What every rank has of the network.
    pub network: String,
    /// The variant.
    pub variant: &'a str,
    /// By ranks.
    pub points: Vec<WeakPoint<'a>>,
}

/// One point of it.
pub struct WeakPoint<'a> {
    /// What was measured.
    pub measurement: &'a Measurement,
    /// The time of a rank's part, done sequentially on one rank, over the time of this.
    pub efficiency: f64,
}

/// Every variant of every network by ranks, where what one rank has of it was measured sequentially.
pub fn weak_series(results: &Results) -> Vec<WeakSeries<'_>> {
    let own = || results.measurements.iter().filter(|one| one.by == Framework::Braidnet && one.bench == "study");
    let mut all: Vec<WeakSeries<'_>> = Vec::new();
    for measurement in own() {
        let Some(network) = per_rank(&measurement.case, measurement.ranks) else { continue };
        let base = own().find(|one| one.case == network && is_baseline(one)).and_then(median);
        let Some(efficiency) = base.zip(median(measurement)).map(|(base, time)| base / time) else { continue };
        let (variant, point) = (measurement.variant.as_str(), WeakPoint { measurement, efficiency });
        match all.iter_mut().find(|series| series.network == network && series.variant == variant) {
            Some(series) => series.points.push(point),
            None => all.push(WeakSeries { network, variant, points: vec![point] }),
        }
    }
    all.iter_mut().for_each(|series| series.points.sort_by_key(|point| point.measurement.ranks));
    // What ran on one rank only does not scale.
    all.retain(|series| series.points.iter().any(|point| point.measurement.ranks > 1));
    all
}

/// The schedules of a case that nothing beats in both time and gradient error, as the plot numbers them.
pub fn on_front<'a>(case: &[&'a Measurement]) -> Vec<(&'a Measurement, f64, f64)> {
    let known = |one: &&'a Measurement| Some((*one, median(one)?, one.gradient_error?.max(EXACT)));
    let known: Vec<_> = case.iter().filter_map(known).collect();
    let points: Vec<_> = known.iter().map(|(_, time, error)| (*time, *error)).collect();
    front(&points).into_iter().filter_map(|index| known.get(index).copied()).collect()
}

fn fronts((bench, name): (&str, &str), case: &[&Measurement]) -> String {
    let members = on_front(case);
    if members.is_empty() {
        return String::new();
    }
    let names = ["", "variant", "on", "time", "speed-up", "gradient error"].map(str::to_owned);
    let rows = members.iter().enumerate().map(|(index, (one, time, gradient_error))| {
        let speed_up = baseline(case).map_or("-".to_owned(), |base| ratio(base / time));
        let place = place(one);
        let (number, time) = ((index + 1).to_string(), format!("{:.1} ms", 1e3 * time));
        vec![number, one.variant.clone(), place, time, speed_up, error(*gradient_error)]
    });
    format!(
        "\n## Pareto front: {bench}, {name}\n\nNothing measured is both faster and more exact than these.\n\n{}",
        table(&names, rows)
    )
}

/// A table in Markdown.
pub fn table(names: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = format!("|{}\n", "---|".repeat(names.len()));
    line(names) + &rule + &rows.map(|row| line(&row)).collect::<String>()
}

/// Median and deciles in milliseconds, with as many digits as the median needs.
pub fn milliseconds(seconds: &Seconds) -> String {
    let [low, median, high] = [seconds.first_decile, seconds.median, seconds.last_decile].map(|time| 1e3 * time);
    let digits = [(1.0, 4), (10.0, 2)].iter().find(|(below, _)| median < *below).map_or(1, |(_, digits)| *digits);
    format!("{median:.digits$} ms ({low:.digits$}-{high:.digits$})")
}

/// How many times faster.
pub fn ratio(value: f64) -> String {
    format!("{value:.2} x")
}

/// A relative error in per cent; what is only rounding is called exact.
pub fn error(value: f64) -> String {
    match value {
        ..=EXACT => "exact".to_owned(),
        ..1e-4 => format!("{:.1e} %", 100.0 * value),
        _ => format!("{:.3} %", 100.0 * value),
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{measured, timed};
    use super::*;

    #[test]
    fn columns_without_values_are_left_out() {
        let all = [
            timed("seq", 1, 0.2),
            Measurement { waiting: Some(0.25), gradient_error: Some(0.0123), ..timed("lp:2/4/1/1", 2, 0.1) },
        ];
        let case: Vec<&Measurement> = all.iter().collect();
        let text = of_case(&case);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "| variant | on | time (first to last decile) | speed-up | waiting | gradient error |");
        assert_eq!(lines[2], "| seq | 1 rank | 200.0 ms (180.0-220.0) | 1.00 x | - | - |");
        assert_eq!(lines[3], "| lp:2/4/1/1 | 2 ranks | 100.0 ms (90.0-110.0) | 2.00 x | 25.0 % | 1.230 % |");
    }

    #[test]
    fn weak_scaling_is_of_growing_networks() {
        let of = |case: &str, one: Measurement| Measurement { case: case.into(), ..one };
        let results = Results {
            suite: "weak".into(),
            ..measured(vec![
                of("conv:32x3@50", timed("seq", 1, 0.1)),
                of("conv:128x3@50", timed("lp:2/8/1/1", 4, 0.4)),
                of("conv:64x3@50", timed("lp:2/8/1/1", 2, 0.2)),
                of("conv:64x3@50", timed("seq", 1, 0.2)),
            ])
        };
        let series = weak_series(&results);
        let points: Vec<_> = series[0].points.iter().map(|p| (p.measurement.ranks, p.efficiency)).collect();
        assert_eq!((series.len(), points), (1, vec![(2, 0.5), (4, 0.25)]));
        let text = page(&results, &[]);
        assert!(
            text.contains("## Weak scaling: conv:32x3@50 on each rank, lp:2/8/1/1")
                && text.contains("| 4 | conv:128x3@50 |"),
            "{text}"
        );
    }

    #[test]
    fn the_front_is_named() {
        let with = |error, one| Measurement { gradient_error: Some(error), ..one };
        let results = Results {
            suite: "schedules".into(),
            notes: vec!["no PyTorch".into()],
            ..measured(vec![
                with(0.0, timed("seq", 1, 0.4)),
                with(0.1, timed("lp:2/8/1/1", 2, 0.1)),
                with(0.2, timed("lp:2/16/1/1", 2, 0.2)),
            ])
        };
        let text = page(&results, &[("front-conv".into(), "Errors".into())]);
        for line in [
            "| 1 | lp:2/8/1/1 | 2 ranks | 100.0 ms | 4.00 x | 10.000 % |",
            "| 2 | seq | 1 rank | 400.0 ms | 1.00 x | exact |",
            "Note: no PyTorch",
            "![Errors](front-conv.svg)",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} in {text}");
        }
        assert_eq!(text.matches("| lp:2/16/1/1 |").count(), 1, "only in the table of the case");
    }

    #[test]
    fn small_times_have_digits() {
        let seconds = Seconds { first_decile: 1e-5, median: 2.5e-5, last_decile: 3e-5, n: 9 };
        assert_eq!(milliseconds(&seconds), "0.0250 ms (0.0100-0.0300)");
        assert_eq!([1e-8, 2e-5, 0.5].map(error), ["exact", "2.0e-3 %", "50.000 %"]);
    }
}
