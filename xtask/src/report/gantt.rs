//! The chart of one step: a row per rank, coloured by phase.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::legend;
use super::picture::{Picture, WIDTH};
use super::run::Run;
use super::schedule::{Row, Schedule};

/// The colours of the phases that training has: what computes is strong, what waits or only encloses is pale.
const PHASES: [(&str, u32); 19] = [
    ("step", 0xf1f1f1),
    ("forward", 0xc6dbef),
    ("backward", 0xfdd9b5),
    ("wait", 0xbdbdbd),
    ("barrier", 0xa0a0a0),
    ("send", 0xdbdb8d),
    ("relax", 0x1f77b4),
    ("coarse solve", 0x08306b),
    ("linearize", 0x17becf),
    ("pullback", 0xff7f0e),
    ("gradients", 0xc0262d),
    ("all-reduce", 0x7b4fb0),
    ("broadcast", 0xc5b0d5),
    ("gather", 0xb39ddb),
    ("optimizer", 0x2ca02c),
    ("load", 0x8c564b),
    ("checkpoint", 0xd14fa8),
    ("loss", 0xe7ba52),
    ("residual", 0x6baed6),
];

/// Colours of other phases.
const OTHERS: [u32; 6] = [0x393b79, 0x637939, 0x843c39, 0x7b4173, 0xad8a1c, 0x5f6b6d];

/// A phase of less than this share of the time is not named.
const LEAST_SHARE: f64 = 0.0005;

/// Draws the typical step of a run's timeline.
pub fn draw(run: &Run) -> Result<Picture> {
    let mut picture = Picture { name: "schedule".to_owned(), svg: None };
    if let Some(schedule) = run.trace.as_ref().and_then(Schedule::of) {
        let title = match schedule.step {
            Some(step) => format!("Schedule: {}, step {step}, shares of the ranks' time", run.name),
            None => format!("Schedule: {}, whole timeline, shares of the ranks' time", run.name),
        };
        draw_to(picture.svg.insert(String::new()), &title, &schedule)?;
    }
    Ok(picture)
}

fn draw_to(svg: &mut String, title: &str, schedule: &Schedule) -> Result<()> {
    let entries = entries(schedule);
    let labels: Vec<_> = entries.iter().map(|(label, _)| label.clone()).collect();
    let n_rows = schedule.rows.len();
    let row_height = (1600 / n_rows.max(1)).clamp(4, 34) as u32;
    let height = legend::height(&labels) + n_rows as u32 * row_height + 68;
    let root = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    let area = legend::draw(&root, title, &entries)?;
    let failed = |error: DrawingAreaErrorKind<_>| anyhow!("cannot draw the schedule: {error}");

    let label_width = schedule.rows.iter().map(|row| legend::text_width(&row.label)).max().unwrap_or(0).min(260) + 16;
    let milliseconds = schedule.duration_ns as f64 / 1e6;
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .margin_right(24)
        .margin_left(label_width)
        .x_label_area_size(44)
        .build_cartesian_2d(0.0..milliseconds, n_rows as f64..0.0)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc("milliseconds")
        .label_style(("sans-serif", legend::FONT))
        .axis_desc_style(("sans-serif", legend::FONT))
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(0xe4, 0xe4, 0xe4))
        .x_label_formatter(&|time| tick(*time, milliseconds))
        .draw()
        .map_err(failed)?;
    for (index, row) in schedule.rows.iter().enumerate() {
        let bar = |phase: usize, start: f64, end: f64| {
            let corners = [(start * milliseconds, index as f64 + 0.08), (end * milliseconds, index as f64 + 0.92)];
            Rectangle::new(corners, color_of(&schedule.phases[phase], phase).filled())
        };
        chart.draw_series(row.blocks.iter().map(|block| bar(block.phase, block.start, block.end))).map_err(failed)?;
    }
    let place = |row: usize| chart.plotting_area().map_coordinate(&(0.0, row as f64 + 0.5)).1;
    draw_labels(&root, &schedule.rows, label_width, row_height, place)?;
    root.present().map_err(failed)
}

/// Phases that take part, with their share of the time.
fn entries(schedule: &Schedule) -> Vec<(String, RGBColor)> {
    let shares = &schedule.shares;
    let mut order: Vec<usize> = (0..shares.len()).filter(|&phase| shares[phase] >= LEAST_SHARE).collect();
    order.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]));
    let entry = |phase: usize| {
        let name = &schedule.phases[phase];
        let rest = if ["step", "forward", "backward"].contains(&name.as_str()) { "rest of " } else { "" };
        (format!("{rest}{name} {:.1} %", 100.0 * shares[phase]), color_of(name, phase))
    };
    order.into_iter().map(entry).collect()
}

fn color_of(name: &str, index: usize) -> RGBColor {
    let known = PHASES.iter().find(|(phase, _)| *phase == name);
    let rgb = known.map_or(OTHERS[index % OTHERS.len()], |(_, rgb)| *rgb);
    RGBColor((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8)
}

/// A name beside each row; only beside every so many, where rows are lower than text.
fn draw_labels(
    root: &legend::Area<'_>,
    rows: &[Row],
    width: i32,
    row_height: u32,
    place: impl Fn(usize) -> i32,
) -> Result<()> {
    let every = (legend::FONT as usize + 2).div_ceil(row_height as usize);
    for (index, row) in rows.iter().enumerate().step_by(every) {
        let text = legend::fit(&row.label, width - 12);
        let style = legend::text_style(legend::FONT);
        root.draw_text(&text, &style, (10, place(index))).map_err(|error| anyhow!("{error}"))?;
    }
    Ok(())
}

/// A time with as many digits as its axis needs.
fn tick(time: f64, range: f64) -> String {
    let digits = (1.0 - range.log10()).ceil().clamp(0.0, 6.0) as usize;
    format!("{time:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_fit_the_axis() {
        assert_eq!(
            [(2.0, 10.0), (20.0, 250.0), (0.05, 0.4), (0.5, 3.0)].map(|(t, r)| tick(t, r)),
            ["2", "20", "0.05", "0.5"]
        );
    }

    #[test]
    fn phases_have_colours_of_their_own() {
        let colors: std::collections::BTreeSet<u32> = PHASES.iter().map(|(_, rgb)| *rgb).chain(OTHERS).collect();
        assert_eq!(colors.len(), PHASES.len() + OTHERS.len());
    }
}
