//! Which measurements go into which picture.

use anyhow::Result;
use braidnet_monitor::{Framework, Measurement};

use super::bars;
use super::ratios::{SEQUENTIAL, baseline, crossover, is_baseline, median, over_pytorch, speed_up};
use super::results::{Results, place};
use super::table::{EXACT, WeakPoint, WeakSeries, on_front, weak_series};
use crate::report::curve::{Curve, Style};
use crate::report::legend::INK;
use crate::report::picture::Picture;
use crate::report::plot::{Axis, Mark, Plot};

/// A picture and its title.
pub type Titled = (Picture, String);

/// All pictures that the measurements are enough for.
///
/// # Errors
/// If one cannot be drawn.
pub fn draw(results: &Results) -> Result<Vec<Titled>> {
    // Its tables say more than a picture per network.
    if results.suite == "gpu" {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for case in results.cases().into_iter().filter(|(bench, _)| *bench == "study") {
        let measured = results.of_case(case);
        if results.suite == "schedules" {
            all.push(errors_over_time(case.1, &measured));
        } else if results.suite != "weak" {
            all.extend(speed_up_over_ranks(case.1, &measured));
        }
    }
    if results.suite == "weak" {
        all.extend(weak(&weak_series(results)));
    }
    let mut pictures = Vec::new();
    for plot in all {
        let title = plot.title.clone();
        pictures.push((plot.draw()?, title));
    }
    for case in results.cases().into_iter().filter(|(bench, _)| *bench == "study" && results.suite != "schedules") {
        pictures.push(bars::draw(case.1, &results.of_case(case))?);
    }
    pictures.retain(|(picture, _)| picture.svg.is_some());
    Ok(pictures)
}

/// Speed-up over the sequential step on one rank, against ranks; nothing where there is only one number of ranks.
fn speed_up_over_ranks(name: &str, case: &[&Measurement]) -> Option<Plot> {
    let base = baseline(case)?;
    let mut series: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for one in case.iter().filter(|one| one.by == Framework::Braidnet) {
        let Some(value) = speed_up(one, case) else { continue };
        let point = (one.ranks as f64, value);
        match series.iter_mut().find(|(variant, _)| *variant == one.variant) {
            Some((_, points)) => points.push(point),
            None => series.push((&one.variant, vec![point])),
        }
    }
    let most = series.iter().flat_map(|(_, points)| points).map(|point| point.0).fold(1.0, f64::max);
    if most == 1.0 {
        return None;
    }
    let serial = Curve::through("sequential, 1 rank", 0, Style::Line, vec![(1.0, 1.0), (most, 1.0)]);
    let mut curves = vec![Curve { color: INK, ..serial }];
    let mut marks = Vec::new();
    for (index, (variant, points)) in series.iter_mut().enumerate() {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let crossing = crossover(points).filter(|_| *variant != SEQUENTIAL);
        let label = match crossing {
            Some(ranks) => format!("{variant} (crossover at {ranks:.1})"),
            None => (*variant).to_owned(),
        };
        curves.push(Curve::through(&label, index, Style::Dotted, points.clone()));
        marks.extend(crossing.map(|ranks| Mark { x: ranks, value: 1.0, text: format!("{ranks:.1}") }));
    }
    // Of those at one place one is enough.
    marks.sort_by(|a, b| a.x.total_cmp(&b.x));
    marks.dedup_by(|a, b| a.text == b.text);
    curves.extend(peers(base, case, most));
    Some(Plot {
        name: file_name("speed-up", name),
        title: format!("Speed-up over the sequential step on one rank: {name}"),
        over: "ranks",
        x_axis: Axis::Ranks,
        unit: "speed-up",
        axis: Axis::FromZero,
        curves,
        marks,
    })
}

/// PyTorch's speed on one and two threads as lines.
fn peers(base: f64, case: &[&Measurement], most: f64) -> Vec<Curve> {
    let line = |threads: usize| {
        let sequential = case.iter().find(|one| is_baseline(one))?;
        let speed = over_pytorch(sequential, case, threads).map(|ratio| 1.0 / ratio)?;
        let label = format!("PyTorch, {threads} thread{}", if threads == 1 { "" } else { "s" });
        Some(Curve::through(&label, 6 + threads - 1, Style::Faint, vec![(1.0, speed), (most, speed)]))
    };
    if base > 0.0 { [1, 2].into_iter().filter_map(line).collect() } else { Vec::new() }
}

/// Time and efficiency against ranks, for networks that grow with these.
fn weak(all: &[WeakSeries<'_>]) -> Vec<Plot> {
    let mut networks: Vec<&str> = all.iter().map(|series| series.network.as_str()).collect();
    networks.sort_unstable();
    networks.dedup();
    let of_network = |network: &str| {
        let series: Vec<_> = all.iter().filter(|series| series.network == network).collect();
        let time = |point: &WeakPoint<'_>| median(point.measurement).map_or(f64::NAN, |seconds| 1e3 * seconds);
        [
            weak_plot("weak-time", "milliseconds per step", &series, time),
            weak_plot("weak-efficiency", "efficiency in %", &series, |point| 100.0 * point.efficiency),
        ]
    };
    networks.into_iter().flat_map(of_network).collect()
}

/// A chart of the variants of one network.
fn weak_plot(
    what: &str,
    unit: &'static str,
    series: &[&WeakSeries<'_>],
    value: impl Fn(&WeakPoint<'_>) -> f64,
) -> Plot {
    let network = series.first().map_or("", |series| &series.network);
    let curve = |(index, series): (usize, &&WeakSeries<'_>)| {
        let points = series.points.iter().map(|point| (point.measurement.ranks as f64, value(point)));
        Curve::through(series.variant, index, Style::Dotted, points.collect())
    };
    Plot {
        name: file_name(what, network),
        title: format!("Weak scaling: {network} on each rank"),
        over: "ranks",
        x_axis: Axis::Ranks,
        unit,
        axis: Axis::FromZero,
        curves: series.iter().enumerate().map(curve).collect(),
        marks: Vec::new(),
    }
}

/// Gradient error against time, with the schedules that nothing beats in both.
fn errors_over_time(name: &str, case: &[&Measurement]) -> Plot {
    // A logarithmic axis has no zero.
    let place_of = |time: f64, error: f64| (1e3 * time, 100.0 * error.max(EXACT));
    let relaxed = |one: &&&Measurement, is_fcf: bool| one.variant.contains("+fcf") == is_fcf;
    let dots = |is_fcf: bool| {
        let points = case.iter().filter(|one| relaxed(one, is_fcf));
        points.filter_map(|one| Some(place_of(median(one)?, one.gradient_error?))).collect::<Vec<_>>()
    };
    let front = on_front(case);
    let line: Vec<_> = front.iter().map(|(_, time, error)| place_of(*time, *error)).collect();
    let mark = |(index, &(x, value)): (usize, &(f64, f64))| Mark { x, value, text: (index + 1).to_string() };
    let marks = line.iter().enumerate().map(mark).collect();
    let names = front.iter().map(|(one, ..)| place(one));
    let n_places = names.collect::<std::collections::BTreeSet<_>>().len();
    let curves = vec![
        // First, so that its line does not hide the dots.
        Curve::through("Pareto front, numbers as in the table", 3, Style::Line, line),
        Curve::through("F-relaxation", 0, Style::Dots, dots(false)),
        Curve::through("FCF-relaxation", 1, Style::Dots, dots(true)),
    ];
    Plot {
        name: file_name("front", name),
        title: format!("Gradient error against time: {name}{}", if n_places > 1 { ", all ranks" } else { "" }),
        over: "milliseconds per step",
        x_axis: Axis::Fit,
        unit: "gradient error in % (exact at the foot)",
        axis: Axis::Fit,
        curves,
        marks,
    }
}

/// A name of files, without what folders and shells take for something else.
pub fn file_name(what: &str, case: &str) -> String {
    let plain: String = case.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    format!("{what}-{plain}")
}
