//! The two data sets of an image set.

use std::sync::Arc;

use braidnet_data::ImageSet;
use burn_dataset::{Dataset, DatasetError};

/// The images of a set, each as its normalised pixels, row by row.
#[derive(Clone, Debug)]
pub struct Images(
    /// The set.
    pub Arc<ImageSet>,
);

/// The classes of a set.
#[derive(Clone, Debug)]
pub struct Labels(
    /// The set.
    pub Arc<ImageSet>,
);

impl Dataset<Vec<f32>> for Images {
    fn get(&self, index: usize) -> Result<Vec<f32>, DatasetError> {
        let mut pixels = Vec::new();
        self.0.normalised_into(&[index], &mut pixels);
        Ok(pixels)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl Dataset<i64> for Labels {
    fn get(&self, index: usize) -> Result<i64, DatasetError> {
        Ok(i64::from(self.0.label(index)))
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_and_labels_are_those_of_the_set() {
        let set = Arc::new(ImageSet::new(vec![0, 255, 10, 20, 30, 40], 1, 3, vec![2, 0], 3).unwrap());
        let (images, labels) = (Images(Arc::clone(&set)), Labels(Arc::clone(&set)));
        assert_eq!((images.len(), labels.len()), (2, 2));
        let mut both = Vec::new();
        set.normalised_into(&[1, 0], &mut both);
        assert_eq!([images.get(1).unwrap(), images.get(0).unwrap()].concat(), both);
        assert_eq!([labels.get(0).unwrap(), labels.get(1).unwrap()], [2, 0]);
    }
}
