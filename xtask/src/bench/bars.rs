//! The time of every variant as a bar: its part that computes, and its part that waits.

use anyhow::{Result, anyhow};
use braidnet_monitor::Measurement;
use plotters::prelude::*;

use super::charts::{Titled, file_name};
use super::ratios::median;
use super::results::place;
use crate::report::legend;
use crate::report::picture::{Picture, WIDTH};

const ROW: u32 = 30;
const BUSY: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const WAITING: RGBColor = RGBColor(0xbd, 0xbd, 0xbd);

/// A bar.
struct Bar {
    label: String,
    /// Milliseconds in which a rank computes, mean over ranks.
    busy: f64,
    /// Milliseconds in all.
    total: f64,
}

/// Draws the variants whose waiting is known.
///
/// # Errors
/// If they cannot be drawn.
pub fn draw(name: &str, case: &[&Measurement]) -> Result<Titled> {
    let title = format!("Where the time of a step goes: {name}");
    let mut picture = Picture { name: file_name("split", name), svg: None };
    let bars: Vec<Bar> = case.iter().filter_map(|one| bar(one)).collect();
    if !bars.is_empty() {
        draw_to(picture.svg.insert(String::new()), &title, &bars)?;
    }
    Ok((picture, title))
}

fn bar(one: &Measurement) -> Option<Bar> {
    let (total, waiting) = (1e3 * median(one)?, one.waiting?);
    let label = format!("{}, {}", one.variant, place(one));
    Some(Bar { label, busy: total * (1.0 - waiting), total })
}

fn draw_to(svg: &mut String, title: &str, bars: &[Bar]) -> Result<()> {
    let entries = [("computing".to_owned(), BUSY), ("waiting for other ranks, mean".to_owned(), WAITING)];
    let labels = entries.clone().map(|(label, _)| label);
    let height = legend::height(&labels) + bars.len() as u32 * ROW + 68;
    let root = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    let area = legend::draw(&root, title, &entries)?;
    let failed = |error: DrawingAreaErrorKind<_>| anyhow!("cannot draw the time of a step: {error}");

    let label_width = bars.iter().map(|bar| legend::text_width(&bar.label)).max().unwrap_or(0).min(360) + 24;
    let most = bars.iter().map(|bar| bar.total).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .margin_right(24)
        .margin_left(label_width)
        .x_label_area_size(44)
        .build_cartesian_2d(0.0..most * 1.05, bars.len() as f64..0.0)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc("milliseconds per step")
        .label_style(("sans-serif", legend::FONT))
        .axis_desc_style(("sans-serif", legend::FONT))
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(0xe4, 0xe4, 0xe4))
        .draw()
        .map_err(failed)?;
    let rectangle = |(row, bar): (usize, &Bar), is_busy: bool| {
        let (start, end, color) = if is_busy { (0.0, bar.busy, BUSY) } else { (bar.busy, bar.total, WAITING) };
        Rectangle::new([(start, row as f64 + 0.12), (end, row as f64 + 0.88)], color.filled())
    };
    for is_busy in [true, false] {
        chart.draw_series(bars.iter().enumerate().map(|bar| rectangle(bar, is_busy))).map_err(failed)?;
    }
    for (row, bar) in bars.iter().enumerate() {
        let at = chart.plotting_area().map_coordinate(&(0.0, row as f64 + 0.5)).1;
        let text = legend::fit(&bar.label, label_width - 12);
        let style = legend::text_style(legend::FONT);
        root.draw_text(&text, &style, (10, at)).map_err(|error| anyhow!("{error}"))?;
    }
    root.present().map_err(failed)
}
