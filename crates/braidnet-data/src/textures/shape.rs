//! The eight shapes, in a frame of their own: around the origin, reaching out to about 1.

/// What outline is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Disc,
    Square,
    Triangle,
    Ring,
    Cross,
    Star,
    Bar,
    Crescent,
}

/// Directions to the corners of a regular pentagon, one of them down.
const FIFTHS: [[f32; 2]; 5] = [
    [0.0, 1.0],
    [0.951_056_5, 0.309_017],
    [0.587_785_25, -0.809_017],
    [-0.587_785_25, -0.809_017],
    [-0.951_056_5, 0.309_017],
];

/// The same of a triangle.
const THIRDS: [[f32; 2]; 3] = [[0.0, 1.0], [0.866_025_4, -0.5], [-0.866_025_4, -0.5]];

impl Shape {
    pub(super) const ALL: [Self; 8] =
        [Self::Disc, Self::Square, Self::Triangle, Self::Ring, Self::Cross, Self::Star, Self::Bar, Self::Crescent];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Disc => "disc",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Ring => "ring",
            Self::Cross => "cross",
            Self::Star => "star",
            Self::Bar => "bar",
            Self::Crescent => "crescent",
        }
    }

    /// Whether a point lies in the shape.
    pub(super) fn contains(self, [x, y]: [f32; 2]) -> bool {
        let beyond =
            |normals: &[[f32; 2]], distance: f32| normals.iter().filter(|[nx, ny]| nx * x + ny * y > distance).count();
        let [width, height] = [x.abs(), y.abs()];
        let square = x * x + y * y;
        match self {
            Self::Disc => square < 0.7,
            Self::Square => width.max(height) < 0.74,
            Self::Triangle => beyond(&THIRDS, 0.52) == 0,
            Self::Ring => (0.25..0.9).contains(&square),
            Self::Cross => width.min(height) < 0.3 && width.max(height) < 0.95,
            // The tips of a pentagram lie beyond one edge of the pentagon in its middle.
            Self::Star => beyond(&FIFTHS, 0.34) < 2,
            Self::Bar => width < 1.0 && height < 0.34,
            Self::Crescent => square < 0.9 && (x - 0.5) * (x - 0.5) + y * y > 0.5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of the square from -1.2 to 1.2 that a shape covers, times the square's area.
    fn area(shape: Shape) -> f32 {
        let places = (0..240).map(|i| (i as f32 + 0.5) / 100.0 - 1.2);
        let inside = places.clone().map(|x| places.clone().filter(|&y| shape.contains([x, y])).count()).sum::<usize>();
        inside as f32 / 10_000.0
    }

    #[test]
    fn every_shape_has_its_area() {
        let pi = std::f32::consts::PI;
        let expected = [
            (Shape::Disc, 0.7 * pi),
            (Shape::Square, 1.48 * 1.48),
            // Three times the square root of three times the square of the inner radius.
            (Shape::Triangle, 3.0 * 3.0_f32.sqrt() * 0.52 * 0.52),
            (Shape::Ring, 0.65 * pi),
            (Shape::Cross, 4.0 * 0.6 * 0.95 - 0.36),
            // Ten triangles from the middle: tip at 0.34 / cos 72, edge from there to a corner at 0.34 / cos 36.
            (Shape::Star, 5.0 * (0.34 / 0.309_017) * (0.34 / 0.809_017) * 0.587_785_25),
            (Shape::Bar, 2.0 * 0.68),
        ];
        for (shape, expected) in expected {
            assert!((area(shape) - expected).abs() < 0.02, "{shape:?}: {} for {expected}", area(shape));
        }
        // What is left of a disc is less than the disc, and more than a third of it.
        assert!((0.3 * pi..0.9 * pi).contains(&area(Shape::Crescent)), "{}", area(Shape::Crescent));
    }

    #[test]
    fn every_shape_lies_around_the_origin_and_reaches_out_to_about_one() {
        for shape in Shape::ALL {
            let places = (0..300).map(|i| (i as f32 + 0.5) / 100.0 - 1.5);
            let points = places.clone().flat_map(|x| places.clone().map(move |y| [x, y]));
            let reach = points.filter(|&point| shape.contains(point)).map(|[x, y]| (x * x + y * y).sqrt());
            let reach = reach.fold(0.0, f32::max);
            assert!((0.8..1.15).contains(&reach), "{shape:?} reaches {reach}");
        }
    }
}
