//! Tensors of any lengths as one.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::gpu;

/// Where vectors lie that are put behind each other. On a GPU each begins where the device can bind a part of a buffer, with gaps
/// of no meaning in between; elsewhere there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packing {
    ranges: Vec<Range<usize>>,
}

impl Packing {
    /// For vectors of these lengths, in numbers, on the device of `like`.
    pub fn new(lengths: &[usize], like: &Tensor<1>) -> Self {
        let alignment = gpu::alignment(like).unwrap_or(1);
        let mut next = 0;
        let range = |&length: &usize| {
            let start = next;
            next = (start + length).next_multiple_of(alignment);
            start..start + length
        };
        Self { ranges: lengths.iter().map(range).collect() }
    }

    /// Where each is among all numbers.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// How many numbers there are, gaps between vectors included.
    pub fn n_elements(&self) -> usize {
        self.ranges.last().map_or(0, |last| last.end)
    }

    /// The vectors as one.
    ///
    /// # Cost
    /// Nothing on a GPU if they come from [`unpack`](Self::unpack), all and in order; else a copy, some 30 per launch.
    ///
    /// # Panics
    /// If there are none.
    pub fn pack(&self, vectors: Vec<Tensor<1>>) -> Tensor<1> {
        gpu::pack(&vectors).unwrap_or_else(|| Tensor::cat(vectors, 0))
    }

    /// The vectors that `all` has.
    ///
    /// # Cost
    /// Nothing on a GPU, where they are views of `all`; elsewhere a copy.
    ///
    /// # Panics
    /// If `all` is of another length.
    pub fn unpack(&self, all: Tensor<1>) -> Vec<Tensor<1>> {
        let lengths: Vec<usize> = self.ranges.iter().map(Range::len).collect();
        gpu::unpack(&all, &lengths).unwrap_or_else(|| all.split_with_sizes(lengths, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn vectors_come_back(lengths in prop::collection::vec(1usize..9, 1..8)) {
            let vector = |n: usize| {
                let values: Vec<f32> = (0..n).map(|i| (10 * n + i) as f32).collect();
                Tensor::<1>::from_data(TensorData::new(values, [n]), &Device::flex())
            };
            let vectors: Vec<Tensor<1>> = lengths.iter().map(|&n| vector(n)).collect();
            let packing = Packing::new(&lengths, &vectors[0]);
            let all = packing.pack(vectors.clone());
            prop_assert_eq!(all.dims(), [packing.n_elements()]);
            let numbers = all.to_data().try_to_vec::<f32>().unwrap();
            for ((vector, range), back) in vectors.iter().zip(packing.ranges()).zip(packing.unpack(all)) {
                let own = vector.to_data().try_to_vec::<f32>().unwrap();
                prop_assert_eq!(&numbers[range.clone()], &own[..]);
                prop_assert_eq!(back.to_data().try_to_vec::<f32>().unwrap(), own);
            }
        }
    }
}
