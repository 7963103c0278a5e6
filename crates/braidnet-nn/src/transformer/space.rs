//! Token sequences and pairs of them: inputs, states, and what every layer needs of a batch.

use std::sync::Arc;

use braidnet_comm::{CommError, Transfer};
use burn::tensor::{Device, Int, Tensor};

use super::pair::PairState;
use crate::states::{stack, unstack};
use crate::{ByPoint, NetworkError, Noise, Pass, StateSpace, TensorState};

/// What the layers need of a batch of sequences, padded to one length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceBatch {
    /// Sequences.
    pub samples: usize,
    /// Positions of each.
    pub length: usize,
    /// Which positions are padding, `samples x length`; `None` where none is.
    pub padding: Option<Arc<[bool]>>,
    /// Where dropout comes from; `None` where it is off.
    pub noise: Option<Noise>,
}

impl SequenceBatch {
    /// What is to be known of `tokens [samples, length]`, where `pad` is no word.
    pub fn of(tokens: &Tensor<2, Int>, pad: Option<u32>, noise: Option<Noise>) -> Self {
        let [samples, length] = tokens.dims();
        let is_padding =
            |pad: u32| -> Arc<[bool]> { tokens.to_data().iter::<i64>().map(|token| token == i64::from(pad)).collect() };
        let padding = pad.map(is_padding).filter(|padding| padding.contains(&true));
        Self { samples, length, padding, noise }
    }
}

/// States of shape `[batch, length, d_model]`.
#[derive(Debug, Clone)]
pub struct SequenceSpace {
    /// Features of a position.
    pub d_model: usize,
    /// The most positions.
    pub max_length: usize,
    /// Tokens that the network knows.
    pub vocabulary: usize,
    /// The token that stands for no word.
    pub pad: Option<u32>,
}

/// That there are tokens, all of them known, and not too many.
fn check_tokens(tokens: &Tensor<2, Int>, vocabulary: usize, max_length: usize) -> Result<(), NetworkError> {
    let [samples, length] = tokens.dims();
    if samples == 0 || length == 0 {
        return Err(NetworkError::EmptyInput { what: "a batch of sequences" });
    }
    if length > max_length {
        return Err(NetworkError::TooLong { length, max_length });
    }
    check_known(tokens, vocabulary)
}

/// That all tokens are in the vocabulary.
pub(crate) fn check_known(tokens: &Tensor<2, Int>, vocabulary: usize) -> Result<(), NetworkError> {
    let length = tokens.dims()[1];
    let is_known = |token: i64| usize::try_from(token).is_ok_and(|token| token < vocabulary);
    match tokens.to_data().iter::<i64>().enumerate().find(|(_, token)| !is_known(*token)) {
        Some((n, token)) => {
            let (sequence, position) = (n / length, n % length);
            Err(NetworkError::UnknownToken { token, sequence, position, vocabulary })
        }
        None => Ok(()),
    }
}

impl StateSpace for SequenceSpace {
    /// Token ids `[batch, length]`.
    type Input = Tensor<2, Int>;
    type State = TensorState<3>;
    type Batch = SequenceBatch;

    const SIZE_SAYS_ALL: bool = false;

    fn check(&self, tokens: &Tensor<2, Int>) -> Result<(), NetworkError> {
        check_tokens(tokens, self.vocabulary, self.max_length)
    }

    fn batch(&self, input: &Tensor<2, Int>, pass: Pass) -> SequenceBatch {
        SequenceBatch::of(input, self.pad, pass.noise())
    }

    fn largest_batch(&self, samples: usize, _: Pass) -> SequenceBatch {
        SequenceBatch { samples, length: self.max_length, padding: None, noise: None }
    }

    fn zeros(&self, batch: &SequenceBatch, device: &Device) -> ByPoint<TensorState<3>> {
        ByPoint::everywhere(TensorState(Tensor::zeros([batch.samples, batch.length, self.d_model], device)))
    }

    fn stack(&self, states: Vec<TensorState<3>>) -> Option<TensorState<3>> {
        stack(states)
    }

    fn unstack(&self, state: TensorState<3>, n: usize) -> Vec<TensorState<3>> {
        unstack(state, n)
    }

    fn state_bytes(&self, _: usize, batch: &SequenceBatch) -> usize {
        TensorState::<3>::n_bytes_of(batch.samples * batch.length * self.d_model)
    }
}

/// Sources and the targets known so far, shifted by one.
#[derive(Debug, Clone)]
pub struct SourceTarget {
    /// Token ids `[batch, source length]`.
    pub source: Tensor<2, Int>,
    /// Token ids `[batch, target length]`: each target without its last token, behind a first one that says "begin".
    pub target: Tensor<2, Int>,
}

/// What the layers need of a batch of pairs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairBatch {
    /// The sources.
    pub source: SequenceBatch,
    /// The targets.
    pub target: SequenceBatch,
}

/// States `[X, Y]` of shapes `[batch, source length, d_model]` and `[batch, target length, d_model]`.
#[derive(Debug, Clone)]
pub struct PairSpace {
    /// Features of a position.
    pub d_model: usize,
    /// The most positions, of the source and of the target.
    pub max_lengths: [usize; 2],
    /// Tokens that the network knows, of the source and of the target.
    pub vocabularies: [usize; 2],
    /// The token that stands for no word.
    pub pad: Option<u32>,
}

impl StateSpace for PairSpace {
    type Input = SourceTarget;
    type State = PairState;
    type Batch = PairBatch;

    const SIZE_SAYS_ALL: bool = false;

    fn check(&self, input: &SourceTarget) -> Result<(), NetworkError> {
        let [sources, targets] = [&input.source, &input.target].map(|tokens| tokens.dims()[0]);
        if sources != targets {
            return Err(NetworkError::UnevenPairs { sources, targets });
        }
        let [source, target] = [0, 1].map(|n| (self.vocabularies[n], self.max_lengths[n]));
        check_tokens(&input.source, source.0, source.1)?;
        check_tokens(&input.target, target.0, target.1)
    }

    fn batch(&self, input: &SourceTarget, pass: Pass) -> PairBatch {
        let of = |tokens| SequenceBatch::of(tokens, self.pad, pass.noise());
        PairBatch { source: of(&input.source), target: of(&input.target) }
    }

    fn largest_batch(&self, samples: usize, _: Pass) -> PairBatch {
        let [source, target] =
            self.max_lengths.map(|length| SequenceBatch { samples, length, padding: None, noise: None });
        PairBatch { source, target }
    }

    /// Nothing: an absent half is zero.
    fn zeros(&self, _: &PairBatch, _: &Device) -> ByPoint<PairState> {
        ByPoint::everywhere(PairState::zero())
    }

    /// Where all have the same halves.
    fn stack(&self, states: Vec<PairState>) -> Option<PairState> {
        let [mut x, mut y] = [Vec::with_capacity(states.len()), Vec::with_capacity(states.len())];
        let n = states.len();
        for state in states {
            x.extend(state.x);
            y.extend(state.y);
        }
        let half = |of: Vec<TensorState<3>>| match of.len() {
            0 => Some(None),
            have if have == n => Some(Some(stack(of)?)),
            _ => None,
        };
        Some(PairState { x: half(x)?, y: half(y)? })
    }

    fn unstack(&self, PairState { x, y }: PairState, n: usize) -> Vec<PairState> {
        let half = |of: Option<TensorState<3>>| match of {
            Some(half) => unstack(half, n).into_iter().map(Some).collect(),
            None => vec![None; n],
        };
        half(x).into_iter().zip(half(y)).map(|(x, y)| PairState { x, y }).collect()
    }

    fn state_bytes(&self, _: usize, batch: &PairBatch) -> usize {
        let half = |of: &SequenceBatch| TensorState::<3>::n_bytes_of(of.samples * of.length * self.d_model);
        // Behind the sizes of both.
        2 * size_of::<u64>() + half(&batch.source) + half(&batch.target)
    }
}

impl Transfer for SequenceBatch {
    type Context = Device;

    fn n_bytes(&self) -> usize {
        let padding = self.padding.as_ref().map_or(0, |padding| padding.len().div_ceil(8));
        HEADER + padding
    }

    /// Samples, length, flags, seed, step, first sample, and one bit per position where there is padding.
    fn pack(&self, out: &mut Vec<u8>) {
        let flags = u64::from(self.padding.is_some()) + 2 * u64::from(self.noise.is_some());
        let Noise { seed, step, first_sample } = self.noise.unwrap_or(Noise { seed: 0, step: 0, first_sample: 0 });
        for number in [self.samples as u64, self.length as u64, flags, seed, step, first_sample] {
            number.pack(out);
        }
        for bits in self.padding.iter().flat_map(|padding| padding.chunks(8)) {
            out.push(bits.iter().enumerate().fold(0, |byte, (n, bit)| byte | u8::from(*bit) << n));
        }
    }

    fn unpack(bytes: &[u8], _: &Device) -> Result<Self, CommError> {
        let (batch, rest) = unpack_sequences(bytes)?;
        let malformed = || CommError::malformed("batch", "nothing behind it", format!("{} bytes", rest.len()));
        if rest.is_empty() { Ok(batch) } else { Err(malformed()) }
    }
}

const HEADER: usize = 6 * size_of::<u64>();

/// A batch at the start of `bytes`, and the bytes behind it.
fn unpack_sequences(bytes: &[u8]) -> Result<(SequenceBatch, &[u8]), CommError> {
    let malformed =
        |expected: &str| CommError::malformed("batch", expected.to_owned(), format!("{} bytes", bytes.len()));
    let (head, rest) = bytes.split_at_checked(HEADER).ok_or_else(|| malformed("a header of six numbers"))?;
    let numbers: Vec<u64> = head.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let [samples, length, flags, seed, step, first_sample] = numbers[..] else { return Err(malformed("six numbers")) };
    let positions = samples.checked_mul(length).filter(|n| *n <= 8 * (usize::MAX as u64 / 16));
    let positions = positions.ok_or_else(|| malformed("a size that fits memory"))? as usize;
    let n_bytes = if flags & 1 == 1 { positions.div_ceil(8) } else { 0 };
    let (bits, rest) = rest.split_at_checked(n_bytes).ok_or_else(|| malformed("one bit per position"))?;
    let padding = (flags & 1 == 1).then(|| (0..positions).map(|n| bits[n / 8] >> (n % 8) & 1 == 1).collect());
    let noise = (flags & 2 == 2).then_some(Noise { seed, step, first_sample });
    Ok((SequenceBatch { samples: samples as usize, length: length as usize, padding, noise }, rest))
}

impl Transfer for PairBatch {
    type Context = Device;

    fn n_bytes(&self) -> usize {
        self.source.n_bytes() + self.target.n_bytes()
    }

    fn pack(&self, out: &mut Vec<u8>) {
        self.source.pack(out);
        self.target.pack(out);
    }

    fn unpack(bytes: &[u8], device: &Device) -> Result<Self, CommError> {
        let (source, rest) = unpack_sequences(bytes)?;
        Ok(Self { source, target: SequenceBatch::unpack(rest, device)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch() -> impl Strategy<Value = SequenceBatch> {
        let noise = prop::option::of(any::<(u64, u64, u64)>());
        (0usize..5, 0usize..9, any::<bool>(), noise).prop_flat_map(|(samples, length, has_padding, noise)| {
            prop::collection::vec(any::<bool>(), samples * length).prop_map(move |padding| SequenceBatch {
                samples,
                length,
                padding: has_padding.then(|| padding.into()),
                noise: noise.map(|(seed, step, first_sample)| Noise { seed, step, first_sample }),
            })
        })
    }

    proptest! {
        #[test]
        fn batches_travel(source in batch(), target in batch()) {
            let pair = PairBatch { source, target };
            let mut bytes = Vec::new();
            pair.pack(&mut bytes);
            prop_assert_eq!(bytes.len(), pair.n_bytes());
            prop_assert_eq!(PairBatch::unpack(&bytes, &Device::flex()).unwrap(), pair);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = PairBatch::unpack(&bytes, &Device::flex());
        }
    }
}
