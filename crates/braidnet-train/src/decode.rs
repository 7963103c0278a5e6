//! Outputs of an encoder-decoder, token by token.

use braidnet_nn::Network;
use burn::tensor::{Int, Tensor, TensorData};

use crate::{LayerParallel, TrainError};

/// How sequences begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoding {
    /// The token before the first one.
    pub begin: u32,
    /// The token behind the last one.
    pub end: u32,
    /// The most tokens of a sequence, with its end.
    pub max_length: usize,
}

impl<N: Network> LayerParallel<N> {
    /// Greedy decoding: of each of `samples` samples, the sequence whose every token is the most likely one behind those before
    /// it, by the exact forward pass; without its begin and end. A sequence that does not end is cut at the most tokens.
    ///
    /// `input` makes the network's input of the sequences known so far, token ids `[samples, length]` that start with
    /// `begin`; it is called on the first rank alone. The network's output is that of all positions,
    /// `[samples * length, classes]`.
    ///
    /// # Errors
    /// As [`LayerParallel::evaluate_exact`].
    ///
    /// # Communication
    /// Every rank must call it. Per token as [`LayerParallel::evaluate_exact`], and a broadcast of one token per sample.
    ///
    /// # Cost
    /// All positions are evaluated again for every token: nothing is kept from one token to the next.
    pub fn decode(
        &mut self,
        samples: usize,
        how: Decoding,
        input: impl Fn(Tensor<2, Int>) -> N::Input,
    ) -> Result<Vec<Vec<u32>>, TrainError> {
        let last = self.comm().size() - 1;
        let mut found: Vec<Vec<u32>> = vec![Vec::new(); samples];
        while found.iter().any(|tokens| tokens.len() < how.max_length && !tokens.contains(&how.end)) {
            let input = self.is_first().then(|| input(self.begun(&found, how.begin)));
            let output = self.evaluate_exact(samples, input.as_ref())?;
            let next = self.comm().broadcast(last, output.map(|output| most_likely(output, samples)), &())?;
            // Those that have ended grow on, so that all have one length.
            found.iter_mut().zip(next).for_each(|(tokens, token)| tokens.push(token));
        }
        Ok(found.into_iter().map(|tokens| tokens.into_iter().take_while(|token| *token != how.end).collect()).collect())
    }

    fn begun(&self, found: &[Vec<u32>], begin: u32) -> Tensor<2, Int> {
        let length = 1 + found.first().map_or(0, Vec::len);
        let ids: Vec<i64> =
            found.iter().flat_map(|tokens| std::iter::once(&begin).chain(tokens)).map(|id| i64::from(*id)).collect();
        Tensor::from_data(TensorData::new(ids, [found.len(), length]), &self.device())
    }
}

/// The class of the largest logit at the last position of each sample; of logits `[samples * length, classes]`.
fn most_likely(output: Tensor<2>, samples: usize) -> Vec<u32> {
    let [rows, classes] = output.dims();
    let length = rows / samples;
    let last: Tensor<3> = output.reshape([samples, length, classes]).slice([0..samples, length - 1..length]);
    last.argmax(2).into_data().iter::<u32>().collect()
}
