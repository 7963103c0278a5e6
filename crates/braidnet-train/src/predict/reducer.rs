//! The sums over the data axis, of gradients without numbers.

use std::collections::HashMap;

use braidnet_comm::simulate::{Blank, spend};
use braidnet_comm::{AllReduce, Communicator, ReduceOp};

use crate::TrainError;
use crate::reducer::BUCKET;

/// A part of the network that has gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Closing,
    Layer(usize),
    Shared,
    Opening,
}

/// Sends gradients in buckets as [`GradientReducer`](crate::GradientReducer) does, with whole layers in place of parameters.
pub(super) struct Reducer {
    data: Communicator,
    buckets: Vec<Bucket>,
    /// The bucket of every part.
    places: HashMap<Part, usize>,
    n_started: usize,
    /// Whether gradients are those of the last micro-batch; others are only added up.
    pub is_last: bool,
}

struct Bucket {
    /// Parameters.
    len: usize,
    n_missing: usize,
    reducing: Option<AllReduce<Blank>>,
}

impl Reducer {
    /// For parts with so many parameters, in the order in which their gradients come.
    pub fn new(parts: &[(Part, usize)], data: Communicator) -> Self {
        let mut buckets: Vec<Bucket> = Vec::new();
        let mut places = HashMap::new();
        for (part, len) in parts {
            if buckets.last().is_none_or(|bucket| size_of::<f32>() * bucket.len >= BUCKET) {
                buckets.push(Bucket { len: 0, n_missing: 0, reducing: None });
            }
            places.insert(*part, buckets.len() - 1);
            if let Some(bucket) = buckets.last_mut() {
                bucket.len += len;
                bucket.n_missing += 1;
            }
        }
        Self { data, buckets, places, n_started: 0, is_last: true }
    }

    /// The gradients of a part have been formed; starts the buckets that are complete, in their order.
    pub fn push(&mut self, part: Part) -> Result<(), TrainError> {
        if !self.is_last || self.data.size() == 1 {
            return Ok(());
        }
        if let Some(bucket) = self.places.get(&part).and_then(|at| self.buckets.get_mut(*at)) {
            bucket.n_missing = bucket.n_missing.saturating_sub(1);
        }
        while let Some(bucket) = self.buckets.get_mut(self.n_started).filter(|bucket| bucket.n_missing == 0) {
            bucket.reducing = Some(self.data.start_all_reduce(vec![Blank; bucket.len], ReduceOp::Sum)?);
            self.n_started += 1;
        }
        Ok(())
    }

    /// Waits for all sums; `combine` is the seconds per byte that they take besides.
    pub fn finish(&mut self, combine: f64) -> Result<(), TrainError> {
        for bucket in &mut self.buckets {
            if let Some(reducing) = bucket.reducing.take() {
                reducing.wait()?;
                spend(combine * (size_of::<f32>() * bucket.len) as f64);
            }
        }
        Ok(())
    }
}
