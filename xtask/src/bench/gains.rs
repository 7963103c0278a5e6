//! Where layer-parallel steps on one device gain: every network's best schedule against the sequential step and PyTorch, and a
//! table over depth and batch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use braidnet_monitor::{Framework, Measurement};

use super::ratios::{SEQUENTIAL, baseline, is_baseline, median, split};
use super::results::Results;
use super::table::{error, milliseconds, ratio, table};

/// The gradient error that a schedule may have.
const MOST_ERROR: f64 = 0.05;
/// How many times faster the best schedule is to be than the sequential step, and than PyTorch's.
const AIM: f64 = 3.0;
/// PyTorch's variants, by the names that its programs give them.
const EAGER: &str = "eager";
const GRAPHS: &str = "graphs";
/// What stands where nothing was measured.
const NOT_MEASURED: &str = "not measured";

/// The fastest schedule on one rank that is not sequential and whose gradient error is known and small enough.
fn best<'a>(case: &[&'a Measurement]) -> Option<&'a Measurement> {
    let fits = |one: &&Measurement| {
        let is_own = one.by == Framework::Braidnet && one.ranks == 1 && one.variant != SEQUENTIAL;
        is_own && one.gradient_error.is_some_and(|error| error <= MOST_ERROR)
    };
    let timed = case.iter().copied().filter(fits).filter_map(|one| Some((one, median(one)?)));
    timed.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(one, _)| one)
}

/// The median of a variant of PyTorch's.
fn pytorch(case: &[&Measurement], variant: &str) -> Option<f64> {
    let is_it = |one: &&&Measurement| {
        let (name, _) = one.variant.split_once(", ").unwrap_or((&one.variant, ""));
        one.by == Framework::PyTorch && name == variant
    };
    case.iter().filter(is_it).filter_map(|one| median(one)).reduce(f64::min)
}

/// How many times faster the best schedule is than the sequential step, PyTorch, and PyTorch's graphs, as far as measured.
fn gains(case: &[&Measurement]) -> [Option<f64>; 3] {
    let time = best(case).and_then(median);
    [baseline(case), pytorch(case, EAGER), pytorch(case, GRAPHS)].map(|other| Some(other? / time?))
}

/// Both tables.
pub fn page(results: &Results) -> String {
    let cases: Vec<_> = results.cases().into_iter().filter(|(bench, _)| *bench == "study").collect();
    let mut text = format!(
        "\n## The best schedule of each network\n\nThe fastest layer-parallel schedule on one rank with a gradient error of \
         at most {:.0} %. Launches are kernels that a step starts, in brackets those that only copy; the floor is the part of \
         the time that the device's memory and arithmetic need at least.\n\n",
        100.0 * MOST_ERROR
    );
    text += &table(&NAMES.map(str::to_owned), cases.iter().map(|case| row(case.1, &results.of_case(*case))));
    for (series, points) in by_series(results, &cases) {
        let _ = write!(
            text,
            "\n## Where the gain begins and ends: {series}\n\nThe sequential step's time over that of the best schedule, by layers \
             and samples of a batch.\n\n{}",
            over_depth_and_batch(&points)
        );
    }
    text
}

/// The columns of the first table.
const NAMES: [&str; 11] = [
    "network",
    "sequential",
    "best schedule",
    "its time",
    "gradient error",
    "over sequential",
    "over PyTorch, eager",
    "over PyTorch, graphs",
    "at least 3 x over all",
    "launches, sequential -> best",
    "floor, sequential -> best",
];

fn row(name: &str, case: &[&Measurement]) -> Vec<String> {
    let (best, sequential) = (best(case), case.iter().copied().find(|one| is_baseline(one)));
    let missing = || NOT_MEASURED.to_owned();
    let of = |one: Option<&Measurement>, cell: fn(&Measurement) -> Option<String>| {
        one.and_then(cell).unwrap_or_else(missing)
    };
    let time = |one: &Measurement| one.seconds.as_ref().map(milliseconds);
    let launches = |one: &Measurement| Some(format!("{} ({})", one.launches?, one.copies?));
    let floor = |one: &Measurement| Some(format!("{:.1} %", 100.0 * one.floor? / median(one)?));
    let both = |cell| format!("{} -> {}", of(sequential, cell), of(best, cell));
    let gains = gains(case);
    let mut cells = vec![
        name.to_owned(),
        of(sequential, time),
        best.map_or_else(|| format!("none within {:.0} %", 100.0 * MOST_ERROR), |one| one.variant.clone()),
        of(best, time),
        of(best, |one| one.gradient_error.map(error)),
    ];
    cells.extend(gains.map(|gain| gain.map_or_else(missing, ratio)));
    cells.push(verdict(gains).to_owned());
    cells.extend([both(launches), both(floor)]);
    cells
}

/// Whether all gains reach the aim; a single one that does not is enough to say no.
fn verdict(gains: [Option<f64>; 3]) -> &'static str {
    if gains.iter().flatten().any(|gain| *gain < AIM) {
        return "no";
    }
    if gains.iter().all(Option::is_some) { "yes" } else { NOT_MEASURED }
}

/// A table's entries by depth and batch.
type Points = BTreeMap<(usize, usize), String>;

/// The networks that differ in depth and batch only, with the gain over the sequential step; those of several depths or batches.
fn by_series(results: &Results, cases: &[(&str, &str)]) -> BTreeMap<String, Points> {
    let mut all: BTreeMap<String, Points> = BTreeMap::new();
    for case in cases {
        let Some((series, depth, batch)) = split(case.1) else { continue };
        let measured = results.of_case(*case);
        let cell = match (best(&measured), gains(&measured)[0]) {
            (Some(best), Some(gain)) => format!("{} ({})", ratio(gain), best.variant),
            (None, _) => "none".to_owned(),
            (Some(_), None) => NOT_MEASURED.to_owned(),
        };
        all.entry(series).or_default().insert((depth, batch), cell);
    }
    all.retain(|_, points| points.len() > 1);
    all
}

fn over_depth_and_batch(points: &Points) -> String {
    let batches: BTreeSet<usize> = points.keys().map(|(_, batch)| *batch).collect();
    let depths: BTreeSet<usize> = points.keys().map(|(depth, _)| *depth).collect();
    let names: Vec<String> =
        std::iter::once("layers".to_owned()).chain(batches.iter().map(|batch| format!("batch {batch}"))).collect();
    let rows = depths.into_iter().map(|depth| {
        let cell = |batch: &usize| points.get(&(depth, *batch)).cloned().unwrap_or_else(|| NOT_MEASURED.to_owned());
        std::iter::once(depth.to_string()).chain(batches.iter().map(cell)).collect()
    });
    table(&names, rows)
}

#[cfg(test)]
mod tests {
    use braidnet_monitor::Transport;

    use super::super::made_up::{measured, timed};
    use super::*;

    fn with(case: &str, variant: &str, median: f64, gradient_error: f64) -> Measurement {
        Measurement { case: case.into(), gradient_error: Some(gradient_error), ..timed(variant, 1, median) }
    }

    fn peer(case: &str, variant: &str, median: f64) -> Measurement {
        let (by, transport) = (Framework::PyTorch, Transport::None);
        Measurement { by, transport, case: case.into(), ..timed(variant, 1, median) }
    }

    /// Of two depths and one batch; the fastest schedule of the deep one is too far off.
    fn results() -> Results {
        let (shallow, deep) = ("conv:32x12@50", "conv:256x12@50");
        let sequential =
            Measurement { launches: Some(6900), copies: Some(2800), floor: Some(0.02), ..with(deep, "seq", 0.4, 0.0) };
        let all = vec![
            sequential,
            with(deep, "lp:2/8/1/1", 0.1, 0.02),
            with(deep, "lp:2/32/1/1", 0.05, 0.2),
            peer(deep, "eager", 0.3),
            peer(deep, "graphs", 0.2),
            with(shallow, "seq", 0.1, 0.0),
            with(shallow, "lp:2/4/1/1", 0.2, 0.01),
        ];
        Results { suite: "gpu".into(), ..measured(all) }
    }

    #[test]
    fn the_best_schedule_is_the_fastest_that_is_exact_enough() {
        let results = results();
        let text = page(&results);
        let deep = "| conv:256x12@50 | 400.0 ms (360.0-440.0) | lp:2/8/1/1 | 100.0 ms (90.0-110.0) | 2.000 % | 4.00 x | 3.00 x \
                    | 2.00 x | no | 6900 (2800) -> not measured | 5.0 % -> not measured |";
        assert!(text.contains(deep), "{text}");
        assert!(text.contains("| 0.50 x | not measured | not measured | no |"), "{text}");
        assert!(
            text.contains("| layers | batch 50 |\n|---|---|\n| 32 | 0.50 x (lp:2/4/1/1) |\n| 256 | 4.00 x"),
            "{text}"
        );
    }

    #[test]
    fn what_was_not_measured_meets_no_aim() {
        assert_eq!(verdict([Some(4.0), Some(3.0), Some(3.5)]), "yes");
        assert_eq!(verdict([Some(4.0), None, Some(3.5)]), NOT_MEASURED);
        assert_eq!(verdict([None, Some(2.9), None]), "no");
        let only = Results { suite: "gpu".into(), ..measured(vec![with("gru:8@1", "seq", 0.1, 0.0)]) };
        let text = page(&only);
        assert!(text.contains("| none within 5 % | not measured |") && !text.contains("begins and ends"), "{text}");
    }

    #[test]
    fn variants_of_pytorch_are_told_by_their_first_word() {
        let all = [peer("gru:8@1", "eager, implicit", 0.5), peer("gru:8@1", "graphs, implicit", 0.25)];
        let case: Vec<&Measurement> = all.iter().collect();
        assert_eq!((pytorch(&case, EAGER), pytorch(&case, GRAPHS)), (Some(0.5), Some(0.25)));
    }
}
