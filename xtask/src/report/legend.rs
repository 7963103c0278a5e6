//! The names of colours, in rows above a chart, where they hide nothing.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::picture::WIDTH;

/// The size of all small text.
pub const FONT: i32 = 16;

/// The colour of all text.
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);

/// The size of titles.
const TITLE_FONT: i32 = 21;

const ROW: i32 = 22;
const MARGIN: i32 = 16;
const SWATCH: i32 = 14;

/// A drawing on its way to SVG.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The height of the title alone.
const TITLE_HEIGHT: i32 = 38;

/// A guess from above: the SVG's reader has fonts of its own.
pub fn text_width(text: &str) -> i32 {
    text.chars().count() as i32 * FONT / 2
}

/// Text as large as `font`, its anchor at the left and halfway up.
pub fn text_style(font: i32) -> TextStyle<'static> {
    let position = plotters::style::text_anchor::Pos::new(
        plotters::style::text_anchor::HPos::Left,
        plotters::style::text_anchor::VPos::Center,
    );
    ("sans-serif", font).into_font().color(&INK).pos(position)
}

/// Text that fits a width, its end cut off if it must be.
pub fn fit(text: &str, width: i32) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let n = (2 * width / FONT - 1).max(1) as usize;
    text.chars().take(n).chain(['…']).collect()
}

/// Where each label goes, and the height of title and legend together.
fn layout(labels: &[String]) -> (Vec<(i32, i32)>, i32) {
    let (mut x, mut y) = (MARGIN, TITLE_HEIGHT);
    let mut places = Vec::new();
    for label in labels {
        let width = SWATCH + 6 + text_width(label) + MARGIN;
        if x > MARGIN && x + width > WIDTH as i32 {
            (x, y) = (MARGIN, y + ROW);
        }
        places.push((x, y));
        x += width;
    }
    (places, if labels.is_empty() { TITLE_HEIGHT } else { y + ROW })
}

/// The height that [`draw`] takes.
pub fn height(labels: &[String]) -> u32 {
    layout(labels).1 as u32
}

/// Draws a title and a legend; returns the area below.
pub fn draw<'a>(root: &Area<'a>, title: &str, entries: &[(String, RGBColor)]) -> Result<Area<'a>> {
    root.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
    let draw_text = |text: &str, style: &TextStyle<'_>, place: (i32, i32)| {
        root.draw_text(text, style, place).map_err(|error| anyhow!("{error}"))
    };
    draw_text(title, &text_style(TITLE_FONT), (MARGIN, TITLE_HEIGHT / 2))?;
    let available = WIDTH as i32 - 2 * MARGIN - SWATCH - 6;
    let labels: Vec<String> = entries.iter().map(|(label, _)| fit(label, available)).collect();
    let (places, height) = layout(&labels);
    for ((label, (_, color)), (x, y)) in labels.iter().zip(entries).zip(places) {
        let corners = [(x, y + (ROW - SWATCH) / 2), (x + SWATCH, y + (ROW + SWATCH) / 2)];
        root.draw(&Rectangle::new(corners, color.filled())).map_err(|error| anyhow!("{error}"))?;
        draw_text(label, &text_style(FONT), (x + SWATCH + 6, y + ROW / 2))?;
    }
    Ok(root.split_vertically(height).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stay_apart_and_inside() {
        let labels: Vec<String> = (0..30).map(|n| format!("a name of some length {n}")).collect();
        let (places, height) = layout(&labels);
        for (label, &(x, y)) in labels.iter().zip(&places) {
            assert!(x + SWATCH + 6 + text_width(label) <= WIDTH as i32 && y + ROW <= height);
        }
        for (pair, label) in places.windows(2).zip(&labels) {
            let ((x, y), (next_x, next_y)) = (pair[0], pair[1]);
            assert!(next_y > y || next_x > x + SWATCH + 6 + text_width(label));
        }
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(fit("short", 100), "short");
        assert!(text_width(&fit(&"x".repeat(500), 200)) <= 200);
    }
}
