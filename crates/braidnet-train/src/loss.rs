//! Losses and scores of classifiers.

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Int, Tensor};

/// Mean cross entropy of `logits [batch, classes]` against the class indices `target [batch]`, shape `[1]`.
pub fn cross_entropy(logits: Tensor<2>, target: Tensor<1, Int>) -> Tensor<1> {
    let device = logits.device();
    CrossEntropyLossConfig::new().init(&device).forward(logits, target)
}

/// Number of samples whose largest logit is that of the target.
pub fn correct(logits: Tensor<2>, target: Tensor<1, Int>) -> usize {
    let batch = target.dims()[0];
    let hits = logits.argmax(1).reshape([batch]).equal(target).int().sum();
    hits.into_scalar::<i64>().max(0) as usize
}
