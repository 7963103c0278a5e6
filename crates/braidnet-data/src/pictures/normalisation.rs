//! Numbers for a network.

use super::{CHANNELS, SIDE, SIZE};

/// Mean of red, green and blue over ImageNet's training pictures, on the scale 0 to 1; the numbers everybody uses.
pub const IMAGENET_MEAN: [f32; CHANNELS] = [0.485, 0.456, 0.406];

/// Standard deviation of red, green and blue over ImageNet's training pictures, on the scale 0 to 1.
pub const IMAGENET_STD: [f32; CHANNELS] = [0.229, 0.224, 0.225];

/// Mean and standard deviation of each channel, on the scale 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// What becomes 0.
    pub mean: [f32; CHANNELS],
    /// How far from the mean becomes 1.
    pub std: [f32; CHANNELS],
}

impl Default for Normalisation {
    /// Those of ImageNet.
    fn default() -> Self {
        Self { mean: IMAGENET_MEAN, std: IMAGENET_STD }
    }
}

impl Normalisation {
    /// Each byte as `(byte / 255 - mean) / std`; the operations and their order are torchvision's.
    ///
    /// # Shapes
    /// `picture` and the result: `[CHANNELS, SIDE, SIDE]`.
    ///
    /// # Panics
    /// Where `picture` has another length.
    pub fn apply(&self, picture: &[u8]) -> Vec<f32> {
        assert_eq!(picture.len(), SIZE, "bytes of a picture");
        let planes = picture.chunks(SIDE * SIDE).zip(self.mean.iter().zip(&self.std));
        planes
            .flat_map(|(plane, (mean, std))| plane.iter().map(move |&byte| (f32::from(byte) / 255.0 - mean) / std))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_has_its_own_numbers() {
        let picture: Vec<u8> = (0..SIZE).map(|k| [0, 255, 51][k % 3]).collect();
        let numbers = Normalisation::default().apply(&picture);
        for (k, (&byte, &number)) in picture.iter().zip(&numbers).enumerate() {
            let channel = k / (SIDE * SIDE);
            let back = (number * IMAGENET_STD[channel] + IMAGENET_MEAN[channel]) * 255.0;
            assert!((back - f32::from(byte)).abs() < 1e-4, "{k}: {number}");
        }
        // White, as every program for ImageNet has it.
        for (channel, white) in [2.248_91, 2.428_57, 2.64].into_iter().enumerate() {
            let number = Normalisation::default().apply(&[255; SIZE])[channel * SIDE * SIDE];
            assert!((number - white).abs() < 1e-4, "{number}");
        }
        let own = Normalisation { mean: [0.0, 1.0, 0.5], std: [1.0, 1.0, 0.25] }.apply(&[255; SIZE]);
        assert_eq!([own[0], own[SIDE * SIDE], own[SIZE - 1]], [1.0, 0.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "bytes of a picture")]
    fn a_picture_of_another_size_is_refused() {
        Normalisation::default().apply(&[0; 12]);
    }
}
