//! A chart of curves.

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
    pub name: String,
    pub title: String,
    /// What the curves are over, and its unit.
    pub over: &'static str,
    pub x_axis: Axis,
    /// What the values are, and their unit.
    pub unit: &'static str,
    pub axis: Axis,
    pub curves: Vec<Curve>,
    pub marks: Vec<Mark>,
}

/// A point with a ring around it and a text beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    pub x: f64,
    pub value: f64,
    pub text: String,
}

/// An axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Axis {
    /// From zero, whole numbers.
    Steps,
    /// Logarithmic; powers of two are named.
    Ranks,
    /// From the least to the greatest, logarithmic if they are far apart.
    Fit,
    /// From zero.
    FromZero,
    /// From zero to a limit; higher values are drawn at it.
    Within(f64),
}

/// Where values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Linear,
    Whole,
    Log2,
    Log10,
}

/// An axis with its range fixed.
#[derive(Debug, Clone, PartialEq)]
struct Scale {
    kind: Kind,
    range: Range<f64>,
}

impl Scale {
    fn new(axis: Axis, values: impl Iterator<Item = f64>) -> Self {
        let (min, max) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), value| (a.min(value), b.max(value)));
        let is_log = axis == Axis::Fit && min > 0.0 && max / min > LOG_FROM;
        let (kind, range) = match axis {
            Axis::Fit if is_log => (Kind::Log10, padded(min.log10(), max.log10())),
            Axis::Fit => (Kind::Linear, padded(min, max)),
            Axis::FromZero => (Kind::Linear, 0.0..padded(0.0, max).end),
            Axis::Within(limit) => (Kind::Linear, 0.0..limit),
            Axis::Steps => (Kind::Whole, padded(min.min(0.0), max)),
            Axis::Ranks => (Kind::Log2, padded(min.log2(), max.log2())),
        };
        Self { kind, range }
    }

    /// Where a value goes.
    fn place(&self, value: f64) -> f64 {
        let place = match self.kind {
            Kind::Linear | Kind::Whole => value,
            Kind::Log2 => value.log2(),
            Kind::Log10 => value.log10(),
        };
        place.clamp(self.range.start, self.range.end)
    }

    fn label(&self, place: f64) -> String {
        match self.kind {
            Kind::Whole => return whole(place),
            Kind::Log2 if whole(place).is_empty() => return String::new(),
            Kind::Log2 => return format!("{:.0}", place.exp2()),
            Kind::Log10 => return format!("{:.1e}", 10_f64.powf(place)),
            Kind::Linear => {}
        }
        let width = self.range.end - self.range.start;
        // As many digits as tell the ten or so ticks of the axis apart.
        let digits = (1.0 - (width / 10.0).log10()).ceil() as i32;
        let is_plain = self.range.end.abs().max(self.range.start.abs()) < 1e7 && digits <= 9;
        if is_plain { format!("{place:.*}", (digits - 1).max(0) as usize) } else { format!("{place:.2e}") }
    }

    /// No more ticks than have names.
    fn n_ticks(&self) -> usize {
        match self.kind {
            Kind::Whole => (self.range.end as usize + 1).min(10),
            Kind::Log2 => (self.range.end - self.range.start) as usize + 1,
            Kind::Linear | Kind::Log10 => 10,
        }
    }
}

/// A whole number that is not negative; nothing between two.
fn whole(place: f64) -> String {
    if (place - place.round()).abs() < 1e-6 && place > -0.5 { format!("{:.0}", place.abs()) } else { String::new() }
}

/// A range with room on both sides, also around a single value.
fn padded(min: f64, max: f64) -> Range<f64> {
    let width = if max > min { max - min } else { min.abs().max(1.0) };
    min - width * 0.05..max + width * 0.05
}

impl Plot {
    /// Curves over the steps of a training run, without marks.
    pub fn over_steps(name: &str, title: String, unit: &'static str, axis: Axis, curves: Vec<Curve>) -> Self {
        let (name, marks) = (name.to_owned(), Vec::new());
        Self { name, title, over: "step", x_axis: Axis::Steps, unit, axis, curves, marks }
    }

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
        let x = Scale::new(self.x_axis, all().map(|point| point.x));
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
            .x_desc(self.over)
            .y_desc(self.unit)
            .x_labels(x.n_ticks())
            .label_style(("sans-serif", legend::FONT))
            .axis_desc_style(("sans-serif", legend::FONT))
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(0xe4, 0xe4, 0xe4))
            .x_label_formatter(&|place| x.label(*place))
            .y_label_formatter(&|place| y.label(*place))
            .draw()
            .map_err(failed)?;
        for (curve, pieces) in &points {
            for piece in pieces {
                let places = places(piece, &x, &y);
                chart.draw_series(band(curve, &places)).map_err(failed)?;
                chart.draw_series(line(curve, &places)).map_err(failed)?;
                chart.draw_series(dots(curve, &places)).map_err(failed)?;
            }
        }
        let place = |mark: &Mark| chart.plotting_area().map_coordinate(&(x.place(mark.x), y.place(mark.value)));
        self.marks.iter().try_for_each(|mark| draw_mark(&root, mark, place(mark))).map_err(failed)?;
        root.present().map_err(failed)
    }
}

/// The points where they go.
fn places(piece: &[Point], x: &Scale, y: &Scale) -> Vec<Point> {
    let place = |&Point { x: at, min, mean, max }: &Point| Point {
        x: x.place(at),
        min: y.place(min),
        mean: y.place(mean),
        max: y.place(max),
    };
    piece.iter().map(place).collect()
}

/// From the least to the greatest of merged neighbours.
fn band(curve: &Curve, piece: &[Point]) -> Option<Polygon<(f64, f64)>> {
    let is_wide = curve.style != Style::Faint && piece.iter().any(|point| point.max > point.min);
    let upper = piece.iter().map(|point| (point.x, point.max));
    let lower = piece.iter().rev().map(|point| (point.x, point.min));
    is_wide.then(|| Polygon::new(upper.chain(lower).collect::<Vec<_>>(), curve.color.mix(0.18)))
}

fn line(curve: &Curve, piece: &[Point]) -> Option<PathElement<(f64, f64)>> {
    let style = match curve.style {
        Style::Dots => return None,
        Style::Faint => curve.shade().stroke_width(1),
        Style::Line | Style::Dotted => curve.shade().stroke_width(2),
    };
    let points: Vec<_> = piece.iter().map(|point| (point.x, point.mean)).collect();
    (points.len() > 1).then(|| PathElement::new(points, style))
}

/// A lone point is no line: it needs a dot to be seen.
fn dots(curve: &Curve, piece: &[Point]) -> Vec<Circle<(f64, f64), i32>> {
    let are_shown = matches!(curve.style, Style::Dotted | Style::Dots) || piece.len() == 1;
    let points = if are_shown { piece } else { &[] };
    points.iter().map(|point| Circle::new((point.x, point.mean), 3, curve.shade().filled())).collect()
}

/// A ring, and its text on the side that has room.
fn draw_mark<'a>(
    root: &legend::Area<'a>,
    mark: &Mark,
    (x, y): (i32, i32),
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    let width = legend::text_width(&mark.text);
    let left = if x + width + 40 < WIDTH as i32 { x + 9 } else { x - 9 - width };
    root.draw(&Circle::new((x, y), 6, legend::INK.stroke_width(1)))?;
    root.draw_text(&mark.text, &legend::text_style(legend::FONT), (left, y - 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_room_and_logarithms_where_values_are_far_apart() {
        assert_eq!(Scale::new(Axis::Fit, [3.0].into_iter()).range, 2.85..3.15);
        assert_eq!(Scale::new(Axis::Fit, [0.0].into_iter()).range, -0.05..0.05);
        assert_eq!(Scale::new(Axis::FromZero, [3.0, 10.0].into_iter()).range, 0.0..10.5);
        assert!(Scale::new(Axis::Fit, [0.001, 1.0].into_iter()).kind == Kind::Log10);
        assert!(Scale::new(Axis::Fit, [0.0, 1.0].into_iter()).kind == Kind::Linear);
        assert_eq!(Scale::new(Axis::Within(5.0), [3.0, 100.0].into_iter()).place(100.0), 5.0);
    }

    #[test]
    fn ticks_can_be_told_apart() {
        for width in [1e-6, 0.03, 0.5, 1.0, 7.0, 300.0, 1e9] {
            let scale = Scale { kind: Kind::Linear, range: 1.0..1.0 + width };
            let labels: std::collections::BTreeSet<_> =
                (0..=10).map(|n| scale.label(1.0 + width * f64::from(n) / 10.0)).collect();
            assert_eq!(labels.len(), 11, "{labels:?}");
        }
        assert_eq!([0.0, 0.999_999_999, 0.5, -1.0].map(whole), ["0", "1", "", ""]);
        assert_eq!(Scale { kind: Kind::Log10, range: -3.0..0.0 }.label(-2.0), "1.0e-2");
        let ranks = Scale::new(Axis::Ranks, [1.0, 8.0].into_iter());
        assert_eq!([0.0, 1.5, 3.0].map(|place| ranks.label(place)), ["1", "", "8"]);
        assert_eq!(ranks.place(4.0), 2.0);
    }
}
