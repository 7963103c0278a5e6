//! A labelled set of grey images in memory.

use crate::DataError;

/// Mean of all pixels of MNIST's training images, on the scale 0 to 1; the number everybody
/// normalises with.
pub const MNIST_MEAN: f32 = 0.1307;

/// Standard deviation of all pixels of MNIST's training images, on the scale 0 to 1.
pub const MNIST_STD: f32 = 0.3081;

/// Grey images of one size, one byte a pixel (0 is background), with a class each.
///
/// Every image has exactly one label, and every label is below [`classes`](Self::classes): the
/// constructor checks it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSet {
    pixels: Vec<u8>,
    rows: usize,
    cols: usize,
    labels: Vec<u8>,
    classes: usize,
}

/// The two sets every experiment needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// What the network learns from.
    pub train: ImageSet,
    /// What it is judged by; never trained on.
    pub test: ImageSet,
}

impl ImageSet {
    /// A set from its parts: `pixels` holds the images one after another, each row by row.
    ///
    /// # Errors
    /// [`DataError::PixelCount`] where `pixels` is not `labels.len() x rows x cols` long, and
    /// [`DataError::LabelNotAClass`] where a label is not below `classes`.
    pub fn new(pixels: Vec<u8>, rows: usize, cols: usize, labels: Vec<u8>, classes: usize) -> Result<Self, DataError> {
        let n_labels = labels.len();
        let expected = rows.checked_mul(cols).and_then(|size| size.checked_mul(n_labels));
        if expected != Some(pixels.len()) {
            return Err(DataError::PixelCount { n_labels, rows, cols, got: pixels.len() });
        }
        if let Some(index) = labels.iter().position(|&label| usize::from(label) >= classes) {
            return Err(DataError::LabelNotAClass { index, label: labels[index], classes });
        }
        Ok(Self { pixels, rows, cols, labels, classes })
    }

    /// A set of parts known to fit: the generator's own.
    pub(crate) fn from_valid(pixels: Vec<u8>, rows: usize, cols: usize, labels: Vec<u8>, classes: usize) -> Self {
        debug_assert_eq!(pixels.len(), rows * cols * labels.len());
        Self { pixels, rows, cols, labels, classes }
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Rows of every image.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of every image.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// How many classes the labels come from.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Image `index`, row by row.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Self::len), as a slice does.
    pub fn image(&self, index: usize) -> &[u8] {
        assert!(index < self.len(), "image {index} of a set of {}", self.len());
        let size = self.rows * self.cols;
        &self.pixels[index * size..(index + 1) * size]
    }

    /// The class of image `index`.
    ///
    /// # Panics
    /// Where `index` is not below [`len`](Self::len), as a slice does.
    pub fn label(&self, index: usize) -> u8 {
        self.labels[index]
    }

    /// Replaces `out` by the images `indices`, one after another, each pixel as `(pixel / 255 -
    /// mean) / std`.
    ///
    /// The mean and the deviation are [`MNIST_MEAN`] and [`MNIST_STD`]; the operations and their
    /// order are torchvision's, in single precision. The vector is an argument so that one
    /// allocation serves all batches.
    ///
    /// # Shapes
    /// `out`: `[indices.len(), rows, cols]`, row-major.
    ///
    /// # Panics
    /// Where an index is not below [`len`](Self::len).
    pub fn normalised_into(&self, indices: &[usize], out: &mut Vec<f32>) {
        out.clear();
        out.reserve(indices.len() * self.rows * self.cols);
        for &index in indices {
            out.extend(self.image(index).iter().map(|&pixel| normalise(pixel)));
        }
    }

    /// The classes of the images `indices`, as the integers that losses take.
    ///
    /// # Panics
    /// Where an index is not below [`len`](Self::len).
    pub fn labels(&self, indices: &[usize]) -> Vec<i64> {
        indices.iter().map(|&index| i64::from(self.label(index))).collect()
    }

    /// How many images each class has.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        for &label in &self.labels {
            counts[usize::from(label)] += 1;
        }
        counts
    }
}

fn normalise(pixel: u8) -> f32 {
    (f32::from(pixel) / 255.0 - MNIST_MEAN) / MNIST_STD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> ImageSet {
        ImageSet::new(vec![0, 255, 10, 20, 30, 40], 1, 3, vec![2, 0], 3).unwrap()
    }

    #[test]
    fn images_and_labels_are_found_by_index() {
        let set = two();
        assert_eq!((set.len(), set.rows(), set.cols(), set.classes()), (2, 1, 3, 3));
        assert_eq!(set.image(0), [0, 255, 10]);
        assert_eq!(set.image(1), [20, 30, 40]);
        assert_eq!(set.labels(&[1, 0, 1]), [0, 2, 0]);
        assert_eq!(set.class_counts(), [1, 0, 1]);
        assert!(!set.is_empty());
    }

    #[test]
    fn normalised_pixels_replace_what_was_in_the_buffer() {
        let mut out = vec![99.0; 50];
        two().normalised_into(&[1, 0], &mut out);
        assert_eq!(out.len(), 6);
        // The two values every MNIST program prints: background and full ink.
        assert!((out[3] + 0.424_213).abs() < 1e-5, "{}", out[3]);
        assert!((out[4] - 2.821_487).abs() < 1e-5, "{}", out[4]);
        two().normalised_into(&[], &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let short = ImageSet::new(vec![0; 5], 1, 3, vec![0, 1], 2).unwrap_err();
        assert!(short.to_string().contains("got 5"), "{short}");
        let label = ImageSet::new(vec![0; 6], 1, 3, vec![0, 2], 2).unwrap_err();
        assert!(matches!(label, DataError::LabelNotAClass { index: 1, label: 2, classes: 2 }));
        let huge = ImageSet::new(vec![], usize::MAX, 2, vec![0], 1);
        assert!(matches!(huge, Err(DataError::PixelCount { .. })));
    }
}
