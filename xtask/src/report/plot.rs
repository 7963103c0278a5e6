//! A chart of curves over steps.

use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::curve::{Curve, Point, Style};
use super::legend;
use super::picture::{Picture, WIDTH};

const HEIGHT: u32 = 460;

/// Beyond this ratio of greatest to least the axis is logarithmic.
const LOG_FROM: f64 = 50.0;

/// A chart.
#[derive(Debug)]
pub struct Plot {
    /// The name of its files.
    pub name: &'static str,
    pub title: String,
    /// What the values are, and their unit.
    pub unit: &'static str,
    pub axis: Axis,
    pub curves: Vec<Curve>,
}

/// The axis of the values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Axis {
    /// From the least to the greatest, logarithmic if they are far apart.
    Fit,
    /// From zero.
    FromZero,
    /// From zero to a limit; higher values are drawn at it.
    Within(f64),
}

/// An axis with its range fixed.
#[derive(Debug, Clone, PartialEq)]
struct Scale {
    is_log: bool,
    range: Range<f64>,
}

impl Scale {
    fn new(axis: Axis, values: impl Iterator<Item = f64>) -> Self {
        let (min, max) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), value| (a.min(value), b.max(value)));
        let is_log = axis == Axis::Fit && min > 0.0 && max / min > LOG_FROM;
        let range = match axis {
            Axis::Fit if is_log => padded(min.log10(), max.log10()),
            Axis::Fit => padded(min, max),
            Axis::FromZero => 0.0..padded(0.0, max).end,
            Axis::Within(limit) => 0.0..limit,
        };
        Self { is_log, range }
    }

    /// Where a value goes.
    fn place(&self, value: f64) -> f64 {
        let place = if self.is_log { value.log10() } else { value };
        place.clamp(self.range.start, self.range.end)
    }

    fn label(&self, place: f64) -> String {
        if self.is_log {
            return format!("{:.1e}", 10_f64.powf(place));
        }
        let width = self.range.end - self.range.start;
        // As many digits as tell the ten or so ticks of the axis apart.
        let digits = (1.0 - (width / 10.0).log10()).ceil() as i32;
        let is_plain = self.range.end.abs().max(self.range.start.abs()) < 1e7 && digits <= 9;
        if is_plain { format!("{place:.*}", (digits - 1).max(0) as usize) } else { format!("{place:.2e}") }
    }
}

/// The number of a step; nothing between two.
fn step_label(step: f64) -> String {
    if (step - step.round()).abs() < 1e-6 && step > -0.5 { format!("{:.0}", step.abs()) } else { String::new() }
}

/// A range with room on both sides, also around a single value.
fn padded(min: f64, max: f64) -> Range<f64> {
    let width = if max > min { max - min } else { min.abs().max(1.0) };
    min - width * 0.05..max + width * 0.05
}

impl Plot {
    /// Draws the curves that have points.
    pub fn draw(mut self) -> Result<Picture> {
        self.curves.retain(|curve| !curve.is_empty());
        if self.curves.is_empty() {
            return Ok(Picture { name: self.name, svg: None });
        }
        let mut svg = String::new();
        self.draw_to(&mut svg)?;
        Ok(Picture { name: self.name, svg: Some(svg) })
    }

    fn draw_to(&self, svg: &mut String) -> Result<()> {
        let entries: Vec<_> = self.curves.iter().map(|curve| (curve.label.clone(), curve.shade())).collect();
        let labels: Vec<_> = entries.iter().map(|(label, _)| label.clone()).collect();
        let root = SVGBackend::with_string(svg, (WIDTH, HEIGHT + legend::height(&labels))).into_drawing_area();
        let area = legend::draw(&root, &self.title, &entries)?;
        let points: Vec<(&Curve, Vec<Vec<Point>>)> = self.curves.iter().map(|curve| (curve, curve.pieces())).collect();
        let all = || points.iter().flat_map(|(_, pieces)| pieces.iter().flatten());
        let x = Scale::new(Axis::Fit, all().map(|point| point.x).chain([0.0]));
        let y = Scale::new(self.axis, all().flat_map(|point| [point.min, point.max]));
        let failed = |error: DrawingAreaErrorKind<_>| anyhow!("cannot draw {}: {error}", self.name);

        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .margin_right(24)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d(x.range.clone(), y.range.clone())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc("step")
            .y_desc(self.unit)
            // No more ticks than steps: between two steps there is none.
            .x_labels((x.range.end as usize + 1).min(10))
            .label_style(("sans-serif", legend::FONT))
            .axis_desc_style(("sans-serif", legend::FONT))
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(0xe4, 0xe4, 0xe4))
            .x_label_formatter(&|step| step_label(*step))
            .y_label_formatter(&|place| y.label(*place))
            .draw()
            .map_err(failed)?;
        for (curve, pieces) in &points {
            for piece in pieces {
                chart.draw_series(band(curve, piece, &y)).map_err(failed)?;
                chart.draw_series(line(curve, piece, &y)).map_err(failed)?;
                chart.draw_series(dots(curve, piece, &y)).map_err(failed)?;
            }
        }
        root.present().map_err(failed)
    }
}

/// From the least to the greatest of merged neighbours.
fn band(curve: &Curve, piece: &[Point], y: &Scale) -> Option<Polygon<(f64, f64)>> {
    let is_wide = curve.style != Style::Faint && piece.iter().any(|point| point.max > point.min);
    let upper = piece.iter().map(|point| (point.x, y.place(point.max)));
    let lower = piece.iter().rev().map(|point| (point.x, y.place(point.min)));
    is_wide.then(|| Polygon::new(upper.chain(lower).collect::<Vec<_>>(), curve.color.mix(0.18)))
}

fn line(curve: &Curve, piece: &[Point], y: &Scale) -> Option<PathElement<(f64, f64)>> {
    let style = match curve.style {
        Style::Faint => curve.shade().stroke_width(1),
        Style::Line | Style::Dotted => curve.shade().stroke_width(2),
    };
    let points: Vec<_> = piece.iter().map(|point| (point.x, y.place(point.mean))).collect();
    (points.len() > 1).then(|| PathElement::new(points, style))
}

/// A lone point is no line: it needs a dot to be seen.
fn dots(curve: &Curve, piece: &[Point], y: &Scale) -> Vec<Circle<(f64, f64), i32>> {
    let points = if curve.style == Style::Dotted || piece.len() == 1 { piece } else { &[] };
    points.iter().map(|point| Circle::new((point.x, y.place(point.mean)), 3, curve.shade().filled())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_room_and_logarithms_where_values_are_far_apart() {
        assert_eq!(Scale::new(Axis::Fit, [3.0].into_iter()).range, 2.85..3.15);
        assert_eq!(Scale::new(Axis::Fit, [0.0].into_iter()).range, -0.05..0.05);
        assert_eq!(Scale::new(Axis::FromZero, [3.0, 10.0].into_iter()).range, 0.0..10.5);
        assert!(Scale::new(Axis::Fit, [0.001, 1.0].into_iter()).is_log);
        assert!(!Scale::new(Axis::Fit, [0.0, 1.0].into_iter()).is_log);
        assert_eq!(Scale::new(Axis::Within(5.0), [3.0, 100.0].into_iter()).place(100.0), 5.0);
    }

    #[test]
    fn ticks_can_be_told_apart() {
        for width in [1e-6, 0.03, 0.5, 1.0, 7.0, 300.0, 1e9] {
            let scale = Scale { is_log: false, range: 1.0..1.0 + width };
            let labels: std::collections::BTreeSet<_> =
                (0..=10).map(|n| scale.label(1.0 + width * f64::from(n) / 10.0)).collect();
            assert_eq!(labels.len(), 11, "{labels:?}");
        }
        assert_eq!([0.0, 0.999_999_999, 0.5, -1.0].map(step_label), ["0", "1", "", ""]);
        assert_eq!(Scale { is_log: true, range: -3.0..0.0 }.label(-2.0), "1.0e-2");
    }
}
