//! The five textures: where the second colour of a shape shows.

/// What is drawn on the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Texture {
    Plain,
    Stripes,
    Checks,
    Dots,
    Ripples,
}

impl Texture {
    pub(super) const ALL: [Self; 5] = [Self::Plain, Self::Stripes, Self::Checks, Self::Dots, Self::Ripples];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Stripes => "striped",
            Self::Checks => "checked",
            Self::Dots => "dotted",
            Self::Ripples => "rippled",
        }
    }

    /// Whether a point has the second colour. Places are in periods of the texture from the middle of the shape, which
    /// is where ripples start; the others are moved by `phase`.
    pub(super) fn is_second(self, [x, y]: [f32; 2], phase: [f32; 2]) -> bool {
        let [u, v] = [x + phase[0], y + phase[1]].map(|place| place - place.floor());
        match self {
            Self::Plain => false,
            Self::Stripes => u < 0.5,
            Self::Checks => (u < 0.5) != (v < 0.5),
            Self::Dots => (u - 0.5) * (u - 0.5) + (v - 0.5) * (v - 0.5) < 0.1,
            Self::Ripples => {
                let rings = (x * x + y * y).sqrt() + phase[0];
                rings - rings.floor() < 0.5
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of some whole periods that has the second colour.
    fn share(texture: Texture, phase: [f32; 2]) -> f32 {
        let places = (0..200).map(|i| (i as f32 + 0.5) / 50.0 - 2.0);
        let second = places.clone().map(|x| places.clone().filter(|&y| texture.is_second([x, y], phase)).count());
        second.sum::<usize>() as f32 / 40_000.0
    }

    #[test]
    fn every_texture_has_its_share_wherever_it_is_moved() {
        for phase in [[0.0, 0.0], [0.3, 0.8], [-0.4, 0.1]] {
            assert_eq!(share(Texture::Plain, phase), 0.0);
            assert!((share(Texture::Stripes, phase) - 0.5).abs() < 0.02);
            assert!((share(Texture::Checks, phase) - 0.5).abs() < 0.02);
            // A disc in a square.
            assert!((share(Texture::Dots, phase) - 0.1 * std::f32::consts::PI).abs() < 0.02);
            assert!((0.35..0.65).contains(&share(Texture::Ripples, phase)));
        }
    }

    #[test]
    fn textures_repeat_and_ripples_are_round() {
        for k in 0..200 {
            let point = [k as f32 * 0.013, k as f32 * 0.029 - 3.0];
            for texture in [Texture::Stripes, Texture::Checks, Texture::Dots] {
                // Exact binary fractions, so that a whole period changes no rounding that matters.
                let [x, y] = point.map(|place| (place * 64.0).floor() / 64.0);
                assert_eq!(texture.is_second([x, y], [0.25; 2]), texture.is_second([x + 3.0, y - 2.0], [0.25; 2]));
            }
            let [x, y] = point;
            assert_eq!(Texture::Ripples.is_second([x, y], [0.2, 0.0]), Texture::Ripples.is_second([-y, x], [0.2, 0.9]));
        }
    }
}
