//! Samples of like length together.

use braidnet_data::bucket::bucketed_order;
use burn_dataset::Dataset;

use crate::data::in_memory::InMemoryReader;
use crate::data::{LoadError, Order, Reader, Source};

/// A data set whose shuffled order puts samples of like length into the same batch, so that little is padded.
///
/// The order is [`bucketed_order`]: a function of lengths, batch, seed and epoch alone. Two sources of the same lengths and
/// batch stay aligned.
#[derive(Clone, Debug)]
pub struct Bucketed<D> {
    dataset: D,
    lengths: Vec<usize>,
    batch: usize,
}

impl<D> Bucketed<D> {
    /// The samples of `dataset`, of such lengths, for global batches of `batch`.
    ///
    /// # Errors
    /// [`LoadError::Zero`] for a batch of 0, [`LoadError::WrongLength`] where there is not one length per sample.
    pub fn new<T>(dataset: D, lengths: Vec<usize>, batch: usize) -> Result<Self, LoadError>
    where
        D: Dataset<T>,
    {
        if batch == 0 {
            return Err(LoadError::Zero { what: "samples in a batch" });
        }
        if lengths.len() != dataset.len() {
            return Err(LoadError::WrongLength { what: "lengths", expected: dataset.len(), got: lengths.len() });
        }
        Ok(Self { dataset, lengths, batch })
    }
}

impl<T, D: Dataset<T>> Source<T> for Bucketed<D> {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn epoch<'a>(&'a self, order: Order) -> Result<Box<dyn Reader<T> + Send + 'a>, LoadError> {
        let order = match order {
            // Fails for a batch of 0 alone, of which there is none.
            Order::Shuffled { seed, epoch } => bucketed_order(&self.lengths, self.batch, seed, epoch).ok(),
            Order::AsStored => None,
        };
        Ok(Box::new(InMemoryReader::new(&self.dataset, self.dataset.len(), order)))
    }
}
