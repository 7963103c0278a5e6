//! Gradients summed over micro-batches and over the data axis, while the adjoint sweep goes on.

use std::collections::HashMap;
use std::ops::Range;

use braidnet_comm::{AllReduce, Communicator, ReduceOp};
use braidnet_nn::{Gradient, Gradients, Network};
use burn::module::ParamId;
use burn::tensor::{Device, Tensor, TensorData};

use crate::copies::is_shared;
use crate::{Schedule, TrainError};

/// Bytes of gradients that are sent at once: large enough that latency does not matter, small enough that the first
/// ones travel while the others are formed.
pub(crate) const BUCKET: usize = 4 << 20;

/// Adds up the gradients of this rank's parameters over the micro-batches of a step and over the data axis.
///
/// Parameters are put into buckets of a few MiB in the order in which the adjoint sweep forms their gradients. A
/// bucket that is complete starts its all-reduce at once. All ranks sum in rank order, so on a fixed layout
/// the result has the same bits every time, and the same on every rank of the data axis.
pub struct GradientReducer {
    comm: Communicator,
    device: Device,
    buckets: Vec<Bucket>,
    /// Where each parameter's gradient goes.
    places: HashMap<ParamId, Place>,
    /// Sums over the micro-batches so far.
    sums: HashMap<ParamId, Gradient>,
    is_last: bool,
    /// The micro-batch's part of the global batch.
    part: f64,
    n_started: usize,
}

#[derive(Clone)]
struct Place {
    bucket: usize,
    range: Range<usize>,
    is_statistic: bool,
}

struct Bucket {
    len: usize,
    values: Vec<f32>,
    n_parameters: usize,
    n_missing: usize,
    reducing: Option<AllReduce<f32>>,
}

impl GradientReducer {
    /// For the parameters of `network` and the ranks of the data axis, which must have the same layers.
    ///
    /// # Errors
    /// If a message fails.
    ///
    /// # Communication
    /// Collective over the data axis.
    pub fn new<N: Network>(
        network: &N,
        schedule: &Schedule,
        data: &Communicator,
        device: &Device,
    ) -> Result<Self, TrainError> {
        Self::with_bucket(network, schedule, data, device, BUCKET)
    }

    /// As [`GradientReducer::new`], with buckets of at least `bucket` bytes. Their size does not change the sums.
    ///
    /// # Errors
    /// If a message fails.
    ///
    /// # Communication
    /// Collective over the data axis.
    pub fn with_bucket<N: Network>(
        network: &N,
        schedule: &Schedule,
        data: &Communicator,
        device: &Device,
        bucket: usize,
    ) -> Result<Self, TrainError> {
        let mut order = Vec::new();
        network.visit_parameters(|p| order.push((p.name.clone(), p.id, p.shape.iter().product(), p.is_statistic)));
        // The closing layer comes first, the opening layer and what layers share last. A sequential adjoint goes down the layers; MGRIT
        // takes the intervals upwards.
        let rank_of = |name: &str| match (name.starts_with("close"), name.starts_with("open") || is_shared(name)) {
            (true, _) => 0,
            (_, true) => 2,
            _ => 1,
        };
        if schedule.backward.is_sequential() {
            order.reverse();
        }
        order.sort_by_key(|(name, ..)| rank_of(name));
        let mut reducer = Self {
            comm: data.duplicate()?,
            device: device.clone(),
            buckets: Vec::new(),
            places: HashMap::new(),
            sums: HashMap::new(),
            is_last: true,
            part: 1.0,
            n_started: 0,
        };
        for (_, id, len, is_statistic) in order {
            let place = reducer.place(len, bucket);
            reducer.places.insert(id, Place { is_statistic, ..place });
        }
        Ok(reducer)
    }

    /// Room for `len` numbers.
    fn place(&mut self, len: usize, n_bytes: usize) -> Place {
        let is_full = |bucket: &Bucket| size_of::<f32>() * bucket.len >= n_bytes;
        if self.buckets.last().is_none_or(is_full) {
            self.buckets.push(Bucket { len: 0, values: Vec::new(), n_parameters: 0, n_missing: 0, reducing: None });
        }
        let at = self.buckets.len() - 1;
        let bucket = &mut self.buckets[at];
        let range = bucket.len..bucket.len + len;
        bucket.len += len;
        bucket.n_parameters += 1;
        Place { bucket: at, range, is_statistic: false }
    }

    /// Starts a step.
    pub fn begin(&mut self) {
        self.sums.clear();
        self.n_started = 0;
        for bucket in &mut self.buckets {
            bucket.reducing = None;
            bucket.n_missing = bucket.n_parameters;
            bucket.values.clear();
            bucket.values.resize(if self.comm.size() > 1 { bucket.len } else { 0 }, 0.0);
        }
    }

    /// Says whether the gradients that come now are those of the step's last micro-batch, after which none are awaited, and what part
    /// of the global batch it is: running statistics take the mean over its samples.
    pub fn next_micro_batch(&mut self, is_last: bool, part: f64) {
        (self.is_last, self.part) = (is_last, part);
    }

    /// Adds gradients; those of the last micro-batch are sent when their bucket is complete.
    ///
    /// # Errors
    /// If a message fails.
    ///
    /// # Communication
    /// Starts all-reduces over the data axis; waits for nobody.
    pub fn push(&mut self, gradients: Gradients) -> Result<(), TrainError> {
        for mut gradient in gradients {
            let id = gradient.id;
            if gradient.is_statistic && self.part != 1.0 {
                gradient.values.inplace(|values| values * self.part);
            }
            if let Some(sum) = self.sums.remove(&id) {
                gradient.values.inplace(|values| sum.values + values);
            }
            if self.is_last
                && self.comm.size() > 1
                && let Some(Place { bucket, range, .. }) = self.places.get(&id).cloned()
            {
                let bucket = &mut self.buckets[bucket];
                for (place, value) in bucket.values[range].iter_mut().zip(gradient.values.into_data().iter::<f32>()) {
                    *place = value;
                }
                bucket.n_missing = bucket.n_missing.saturating_sub(1);
            } else {
                self.sums.insert(id, gradient);
            }
        }
        self.start_complete()
    }

    /// Starts the buckets that are complete, in their order on all ranks.
    fn start_complete(&mut self) -> Result<(), TrainError> {
        if self.comm.size() == 1 {
            return Ok(());
        }
        while let Some(bucket) = self.buckets.get_mut(self.n_started).filter(|bucket| bucket.n_missing == 0) {
            let values = std::mem::take(&mut bucket.values);
            bucket.reducing = Some(self.comm.start_all_reduce(values, ReduceOp::Sum)?);
            self.n_started += 1;
        }
        for bucket in &mut self.buckets[..self.n_started] {
            if let Some(reducing) = &mut bucket.reducing {
                reducing.advance()?;
            }
        }
        Ok(())
    }

    /// The sums of all gradients of the step. A rank whose shard was empty calls this after [`begin`](Self::begin).
    ///
    /// # Errors
    /// If a message fails.
    ///
    /// # Communication
    /// Collective over the data axis; waits for the other ranks' gradients.
    pub fn finish(&mut self) -> Result<Gradients, TrainError> {
        if self.comm.size() == 1 {
            return Ok(self.sums.drain().map(|(_, gradient)| gradient).collect());
        }
        // What has not come (an empty shard) counts as zero.
        self.buckets.iter_mut().for_each(|bucket| bucket.n_missing = 0);
        self.start_complete()?;
        let mut reduced = Vec::with_capacity(self.buckets.len());
        for bucket in &mut self.buckets {
            let values = bucket.reducing.take().map(AllReduce::wait).transpose()?;
            reduced.push(values.unwrap_or_default());
        }
        let gradient = |(id, place): (&ParamId, &Place)| {
            let values = reduced[place.bucket][place.range.clone()].to_vec();
            let n = values.len();
            let values = Tensor::from_data(TensorData::new(values, [n]), &self.device);
            Gradient { id: *id, values, is_statistic: place.is_statistic }
        };
        Ok(self.places.iter().map(gradient).collect())
    }
}
