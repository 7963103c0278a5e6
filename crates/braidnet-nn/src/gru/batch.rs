//! Batches of sequences.

use std::sync::Arc;

use braidnet_comm::{CommError, Transfer};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::config::{GruConfig, GruInputs};
use super::prepared::Prepared;
use crate::{NetworkError, TensorState};

/// Sequences of one length, with padding behind those that are shorter.
#[derive(Debug, Clone)]
pub struct Sequences {
    /// Their steps.
    pub steps: Steps,
    /// Steps of each sample that are no padding; `None`: all. A sample's state stays as it is behind them, and features behind
    /// them are never read, so that they may be anything, a NaN too.
    pub lengths: Option<Vec<usize>>,
}

/// The steps of sequences.
#[derive(Debug, Clone)]
pub enum Steps {
    /// `[batch, length, features]`.
    Features(Tensor<3>),
    /// `[batch, length]`.
    Tokens(Tensor<2, Int>),
}

impl From<Tensor<3>> for Sequences {
    fn from(features: Tensor<3>) -> Self {
        Self { steps: Steps::Features(features), lengths: None }
    }
}

impl From<Tensor<2, Int>> for Sequences {
    fn from(tokens: Tensor<2, Int>) -> Self {
        Self { steps: Steps::Tokens(tokens), lengths: None }
    }
}

impl Sequences {
    /// Samples and steps.
    fn size(&self) -> [usize; 2] {
        match &self.steps {
            Steps::Features(x) => [x.dims()[0], x.dims()[1]],
            Steps::Tokens(tokens) => tokens.dims(),
        }
    }

    /// Checks that a network takes these.
    ///
    /// # Errors
    /// What does not fit, and what to do.
    pub(super) fn check(&self, config: &GruConfig) -> Result<(), NetworkError> {
        let [samples, length] = self.size();
        if samples == 0 || length == 0 {
            return Err(NetworkError::EmptyInput { what: "a batch of sequences" });
        }
        if length != config.length {
            return Err(NetworkError::WrongLength { length, expected: config.length });
        }
        if let Some(lengths) = &self.lengths {
            if lengths.len() != samples {
                return Err(NetworkError::UnevenLengths { lengths: lengths.len(), samples });
            }
            if let Some((sequence, got)) = lengths.iter().enumerate().find(|(_, n)| !(1..=length).contains(*n)) {
                return Err(NetworkError::BadLength { sequence, got: *got, length });
            }
        }
        match (&self.steps, config.inputs) {
            (Steps::Features(x), GruInputs::Features(expected)) if x.dims()[2] != expected => {
                Err(NetworkError::WrongFeatures { expected, got: x.dims()[2] })
            }
            (Steps::Features(_), GruInputs::Features(_)) => Ok(()),
            (Steps::Tokens(tokens), GruInputs::Tokens { vocabulary, .. }) => {
                crate::transformer::check_known(tokens, vocabulary)
            }
            (Steps::Features(_), GruInputs::Tokens { .. }) => {
                let remedy = "give tokens, or build it for features";
                Err(NetworkError::Impossible { what: "features for a network that takes tokens", remedy })
            }
            (Steps::Tokens(_), GruInputs::Features(_)) => {
                let remedy = "give features, or build it for tokens";
                Err(NetworkError::Impossible { what: "tokens for a network that takes features", remedy })
            }
        }
    }
}

/// What the steps need of a batch: its inputs, and behind [`Network::prepare`](crate::Network::prepare) what this rank makes of
/// them once for all its sweeps.
#[derive(Debug, Clone)]
pub struct GruBatch {
    pub(super) samples: usize,
    pub(super) length: usize,
    pub(super) inputs: Inputs,
    pub(super) lengths: Option<Arc<[u32]>>,
    pub(super) prepared: Option<Arc<Prepared>>,
}

/// The inputs, as they travel.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // One per batch.
pub(super) enum Inputs {
    Features(TensorState<3>),
    Tokens(Arc<[u32]>),
}

impl GruBatch {
    pub(super) fn of(input: &Sequences) -> Self {
        let [samples, length] = input.size();
        let lengths = input.lengths.as_ref().filter(|lengths| lengths.iter().any(|n| *n < length));
        Self {
            samples,
            length,
            inputs: match &input.steps {
                Steps::Features(x) => Inputs::Features(TensorState(match lengths {
                    Some(lengths) => without_padding(x.clone(), lengths),
                    None => x.clone(),
                })),
                Steps::Tokens(tokens) => Inputs::Tokens(tokens.to_data().iter::<u32>().collect()),
            },
            lengths: lengths.map(|lengths| lengths.iter().map(|n| *n as u32).collect()),
            prepared: None,
        }
    }

    /// A batch of zeros.
    pub(super) fn zeros(samples: usize, config: &GruConfig, device: &Device) -> Self {
        let inputs = match config.inputs {
            GruInputs::Features(width) => {
                Inputs::Features(TensorState(Tensor::zeros([samples, config.length, width], device)))
            }
            GruInputs::Tokens { .. } => Inputs::Tokens(vec![0; samples * config.length].into()),
        };
        Self { samples, length: config.length, inputs, lengths: None, prepared: None }
    }

    /// The tokens as a tensor `[batch * length]`, sample by sample.
    pub(super) fn tokens(tokens: &[u32], device: &Device) -> Tensor<1, Int> {
        let values: Vec<i64> = tokens.iter().map(|token| i64::from(*token)).collect();
        Tensor::from_data(TensorData::new(values, [tokens.len()]), device)
    }
}

/// With zeros behind the ends of sequences: what has no effect could still be a NaN, and 0 times that is none.
fn without_padding(x: Tensor<3>, lengths: &[usize]) -> Tensor<3> {
    let [samples, length, width] = x.dims();
    let is_padding: Vec<bool> = lengths.iter().flat_map(|end| (0..length).map(move |n| n >= *end)).collect();
    let mask = Tensor::<3, Bool>::from_data(TensorData::new(is_padding, [samples, length, 1]), &x.device());
    x.mask_fill(mask.expand([samples, length, width]), 0.0)
}

impl Transfer for GruBatch {
    type Context = Device;

    fn n_bytes(&self) -> usize {
        let inputs = match &self.inputs {
            Inputs::Features(x) => x.n_bytes(),
            Inputs::Tokens(tokens) => size_of::<u32>() * tokens.len(),
        };
        HEADER + size_of::<u32>() * self.lengths.as_ref().map_or(0, |lengths| lengths.len()) + inputs
    }

    /// Samples, their steps, flags (1: lengths, 2: tokens), the lengths, the inputs. What a rank has prepared stays there.
    fn pack(&self, out: &mut Vec<u8>) {
        let has_tokens = matches!(self.inputs, Inputs::Tokens(_));
        (self.samples as u64).pack(out);
        (self.length as u64).pack(out);
        (u64::from(self.lengths.is_some()) + 2 * u64::from(has_tokens)).pack(out);
        let numbers = self.lengths.iter().flat_map(|lengths| lengths.iter());
        numbers.for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        match &self.inputs {
            Inputs::Features(x) => x.pack(out),
            Inputs::Tokens(tokens) => tokens.iter().for_each(|token| out.extend_from_slice(&token.to_le_bytes())),
        }
    }

    fn unpack(bytes: &[u8], device: &Device) -> Result<Self, CommError> {
        let malformed = |expected: &str| {
            CommError::malformed("batch of sequences", expected.to_owned(), format!("{} bytes", bytes.len()))
        };
        let (head, rest) = bytes.split_at_checked(HEADER).ok_or_else(|| malformed("a header of three numbers"))?;
        let number = |at: usize| u64::unpack(&head[size_of::<u64>() * at..][..size_of::<u64>()], &());
        let (samples, length, flags) = (number(0)? as usize, number(1)? as usize, number(2)?);
        let n_lengths = if flags & 1 == 1 { samples } else { 0 };
        let n_bytes = n_lengths.checked_mul(size_of::<u32>()).ok_or_else(|| malformed("a size that fits memory"))?;
        let (lengths, inputs) = rest.split_at_checked(n_bytes).ok_or_else(|| malformed("a length per sample"))?;
        let numbers = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let inputs = match flags & 2 == 2 {
            true if !inputs.len().is_multiple_of(size_of::<u32>()) => return Err(malformed("four bytes per token")),
            true => Inputs::Tokens(numbers(inputs)),
            false => Inputs::Features(TensorState::unpack(inputs, device)?),
        };
        let has_size = match &inputs {
            Inputs::Tokens(tokens) => Some(tokens.len()) == samples.checked_mul(length),
            Inputs::Features(x) => x.0.dims()[..2] == [samples, length],
        };
        if !has_size {
            return Err(malformed("as many inputs as samples have steps"));
        }
        let lengths = (flags & 1 == 1).then(|| numbers(lengths));
        Ok(Self { samples, length, inputs, lengths, prepared: None })
    }
}

const HEADER: usize = 3 * size_of::<u64>();
