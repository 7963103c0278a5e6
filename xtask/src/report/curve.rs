//! A curve: points, with gaps, made few enough to draw.

use plotters::style::RGBColor;

/// More points than this are drawn as means of neighbours with a band from the least to the greatest.
const MAX_POINTS: usize = 1000;

/// Colours that can be told apart, also by most colour-blind people.
pub const COLORS: [RGBColor; 8] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xe6, 0x6b, 0x00),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xc0, 0x26, 0x2d),
    RGBColor(0x7b, 0x4f, 0xb0),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0xd1, 0x4f, 0xa8),
    RGBColor(0x11, 0x8a, 0x94),
];

/// How a curve is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A line.
    Line,
    /// A line with a dot at each point: for points that are few.
    Dotted,
    /// A dot at each point and no line.
    Dots,
    /// A thin, light line: for what is only the background of another.
    Faint,
}

/// Points to be drawn in one colour.
#[derive(Debug, Clone)]
pub struct Curve {
    pub label: String,
    pub color: RGBColor,
    pub style: Style,
    /// Place, as a step, and value, by place; a value that is not finite is a gap.
    pub points: Vec<(f64, f64)>,
}

/// Neighbouring points as one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub x: f64,
    pub min: f64,
    pub mean: f64,
    pub max: f64,
}

impl Curve {
    /// A curve over steps, of the values that are known.
    pub fn new(label: &str, color: usize, style: Style, values: impl IntoIterator<Item = (u64, Option<f64>)>) -> Self {
        let points = values.into_iter().map(|(step, value)| (step as f64, value.unwrap_or(f64::NAN)));
        Self::through(label, color, style, points.collect())
    }

    /// A curve through points, which are ordered by place.
    pub fn through(label: &str, color: usize, style: Style, points: Vec<(f64, f64)>) -> Self {
        Self { label: label.to_owned(), color: COLORS[color % COLORS.len()], style, points }
    }

    /// The colour on white.
    pub fn shade(&self) -> RGBColor {
        let pale = |part: u8| if self.style == Style::Faint { 255 - (255 - part) / 3 } else { part };
        RGBColor(pale(self.color.0), pale(self.color.1), pale(self.color.2))
    }

    /// Whether there is anything to draw.
    pub fn is_empty(&self) -> bool {
        !self.points.iter().any(|(_, value)| value.is_finite())
    }

    /// Without the points where the value was not asked for: gaps are for values that should be there and are not.
    pub fn sparse(mut self) -> Self {
        self.points.retain(|(_, value)| value.is_finite());
        self
    }

    /// The pieces between gaps, of at most [`MAX_POINTS`] points together.
    pub fn pieces(&self) -> Vec<Vec<Point>> {
        let size = self.points.len().div_ceil(MAX_POINTS).max(1);
        let mut pieces = vec![Vec::new()];
        for points in self.points.chunks(size) {
            match (merge(points), pieces.last_mut()) {
                (Some(point), Some(piece)) => piece.push(point),
                (None, Some(piece)) if !piece.is_empty() => pieces.push(Vec::new()),
                _ => {}
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }
}

/// Neighbours as one point; `None` if no value of theirs is finite.
fn merge(points: &[(f64, f64)]) -> Option<Point> {
    let finite: Vec<_> = points.iter().filter(|(_, value)| value.is_finite()).collect();
    let n = finite.len() as f64;
    let values = || finite.iter().map(|(_, value)| *value);
    let point = Point {
        x: finite.iter().map(|(x, _)| x / n).sum(),
        min: values().fold(f64::INFINITY, f64::min),
        mean: values().map(|value| value / n).sum(),
        max: values().fold(f64::NEG_INFINITY, f64::max),
    };
    (!finite.is_empty()).then_some(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(values: impl IntoIterator<Item = f64>) -> Curve {
        Curve::new("loss", 0, Style::Line, (1..).zip(values.into_iter().map(Some)))
    }

    #[test]
    fn gaps_cut_a_curve() {
        let pieces = curve([1.0, 2.0, f64::NAN, f64::INFINITY, 3.0]).pieces();
        let means: Vec<Vec<_>> = pieces.iter().map(|piece| piece.iter().map(|p| (p.x, p.mean)).collect()).collect();
        assert_eq!(means, [vec![(1.0, 1.0), (2.0, 2.0)], vec![(5.0, 3.0)]]);
        assert!(curve([f64::NAN]).is_empty() && curve([f64::NAN]).pieces().is_empty());
        assert!(curve([]).is_empty() && curve([]).pieces().is_empty());
    }

    #[test]
    fn many_points_become_few_and_nothing_sticks_out() {
        let values = (0..100_000).map(|n| if n == 77_777 { 50.0 } else { f64::from(n % 2) });
        let pieces = curve(values).pieces();
        assert_eq!((pieces.len(), pieces[0].len()), (1, 1000));
        assert_eq!(pieces[0].iter().map(|point| point.max).fold(0.0, f64::max), 50.0);
        let first = pieces[0][0];
        assert_eq!((first.min, first.max), (0.0, 1.0));
        assert!((first.mean - 0.5).abs() < 1e-9 && (first.x - 50.5).abs() < 1e-9, "{first:?}");
    }
}
