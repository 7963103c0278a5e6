//! Losses and scores of classifiers.

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Bool, Int, Tensor};

/// Mean cross entropy of `logits [batch, classes]` against the class indices `target [batch]`, shape `[1]`.
pub fn cross_entropy(logits: Tensor<2>, target: Tensor<1, Int>) -> Tensor<1> {
    let device = logits.device();
    CrossEntropyLossConfig::new().init(&device).forward(logits, target)
}

/// As [`cross_entropy`], over the rows whose target is not `pad`, which need not be a class; 0 where there are none.
pub fn masked_cross_entropy(logits: Tensor<2>, target: Tensor<1, Int>, pad: i64) -> Tensor<1> {
    let rows = target.dims()[0];
    let is_pad = target.clone().equal_elem(pad);
    let n = rows as i64 - is_pad.clone().int().sum().into_scalar::<i64>();
    let chosen =
        log_softmax(logits, 1).gather(1, target.mask_fill(is_pad.clone(), 0).reshape([rows, 1])).reshape([rows]);
    chosen.mask_fill(is_pad, 0.0).sum() / -(n.max(1) as f64)
}

/// Number of samples whose largest logit is that of the target.
pub fn correct(logits: Tensor<2>, target: Tensor<1, Int>) -> usize {
    hits(logits, target).int().sum().into_scalar::<i64>().max(0) as usize
}

/// As [`correct`], of those samples that count.
pub(crate) fn correct_where(logits: Tensor<2>, target: Tensor<1, Int>, counts: Tensor<1, Bool>) -> usize {
    hits(logits, target).bool_and(counts).int().sum().into_scalar::<i64>().max(0) as usize
}

fn hits(logits: Tensor<2>, target: Tensor<1, Int>) -> Tensor<1, Bool> {
    let batch = target.dims()[0];
    logits.argmax(1).reshape([batch]).equal(target)
}
