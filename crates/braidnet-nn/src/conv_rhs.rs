//! Convolutional right-hand sides, linearised by hand.

use braidnet_mgrit::{Output, StepError};
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::Device;

use crate::conv::{conv3x3, conv3x3_without_bias};
use crate::grid_space::{ImageSpace, Samples};
use crate::norm::{Norm, NormKind};
use crate::rhs::At;
use crate::stage::{Stage, StageDeltas, StageTape};
use crate::{Forward, PendingRhs, RhsTape, RightHandSide, TensorState};

/// `F(u) = relu(norm(conv(u)))`.
#[derive(Module, Debug)]
pub struct OneConv {
    conv: Conv2d,
    norm: Option<Norm>,
}

/// `F(u) = relu(norm2(conv2(relu(norm1(conv1(u))))))`.
#[derive(Module, Debug)]
pub struct TwoConv {
    conv1: Conv2d,
    norm1: Option<Norm>,
    conv2: Conv2d,
    norm2: Option<Norm>,
}

/// One or two 3x3 convolutions, each followed by a ReLU, with a norm between the two if there is one; `c` channels in and out, extents
/// kept.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // One per layer, and the larger variant is the usual one.
pub enum ConvRhs {
    /// One convolution.
    One(OneConv),
    /// Two convolutions.
    Two(TwoConv),
}

impl ConvRhs {
    /// `n_convs` (1, otherwise 2) convolutions with burn's default initialisation: with bias, or without one and a norm.
    pub fn new(n_convs: usize, norm: Option<NormKind>, channels: usize, device: &Device) -> Self {
        let conv = || match norm {
            None => conv3x3(channels, channels, device),
            Some(_) => conv3x3_without_bias(channels, channels, 1, device),
        };
        let norm = || norm.map(|kind| Norm::new(kind, channels, device));
        match n_convs {
            1 => Self::One(OneConv { conv: conv(), norm: norm() }),
            _ => Self::Two(TwoConv { conv1: conv(), norm1: norm(), conv2: conv(), norm2: norm() }),
        }
    }

    /// Convolutions, 1 or 2.
    pub fn n_convs(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Two(_) => 2,
        }
    }

    fn stages(&self) -> impl Iterator<Item = Stage<'_>> {
        let (first, second) = match self {
            Self::One(OneConv { conv, norm }) => (Stage::square(conv, norm), None),
            Self::Two(TwoConv { conv1, norm1, conv2, norm2 }) => {
                (Stage::square(conv1, norm1), Some(Stage::square(conv2, norm2)))
            }
        };
        std::iter::once(first).chain(second)
    }
}

impl Forward for ConvRhs {
    type Space = ImageSpace;

    fn forward(&self, TensorState(u): TensorState<4>, at: At<'_, Samples>) -> TensorState<4> {
        TensorState(self.stages().fold(u, |u, stage| stage.forward(u, at.batch.is_training)))
    }
}

/// The linearisation of [`ConvRhs`]: its stages, first to last.
#[derive(Debug, Clone)]
pub struct ConvTape {
    stages: Vec<StageTape>,
}

impl RightHandSide for ConvRhs {
    type Space = ImageSpace;
    type Tape = ConvTape;

    const STACKS: bool = true;

    fn stacks_with(&self, other: &Self) -> bool {
        self.stages().zip(other.stages()).all(|(a, b)| match (a.norm, b.norm) {
            (Some(a), Some(b)) => a.is_like(b),
            (a, b) => a.is_none() && b.is_none(),
        })
    }

    fn evaluate(&self, TensorState(u): TensorState<4>, at: At<'_, Samples>) -> TensorState<4> {
        TensorState(self.stages().fold(u, |u, stage| stage.evaluate(u, at.batch.is_training)))
    }

    fn linearize(&self, u: TensorState<4>, _: At<'_, Samples>, _: Output) -> (TensorState<4>, ConvTape) {
        let mut stages = Vec::with_capacity(2);
        let TensorState(mut u) = u;
        for stage in self.stages() {
            let tape;
            (u, tape) = stage.linearize(u);
            stages.push(tape);
        }
        (TensorState(u), ConvTape { stages })
    }

    /// The state before and what is behind every convolution and norm.
    fn tape_bytes(&self, _: &Samples, state_bytes: usize) -> usize {
        state_bytes * (1 + self.stages().map(|stage| 1 + usize::from(stage.norm.is_some())).sum::<usize>())
    }
}

impl RhsTape for ConvTape {
    type State = TensorState<4>;

    fn rows(&self, rows: &[usize], of: usize) -> Option<Self> {
        Some(Self { stages: self.stages.iter().map(|stage| stage.rows(rows, of)).collect() })
    }

    fn each(&self, of: usize) -> Option<Vec<Self>> {
        let mut stages: Vec<_> = self.stages.iter().map(|stage| stage.each(of).into_iter()).collect();
        Some((0..of).map(|_| Self { stages: stages.iter_mut().filter_map(Iterator::next).collect() }).collect())
    }

    fn pullback(&self, TensorState(delta): TensorState<4>) -> Result<TensorState<4>, StepError> {
        Ok(TensorState(self.stages.iter().rev().fold(delta, |delta, stage| stage.pull_back(delta))))
    }

    fn pullback_with_gradients(
        self,
        TensorState(delta): TensorState<4>,
        output: Output,
    ) -> Result<(Option<TensorState<4>>, PendingRhs), StepError> {
        let mut delta = Some(delta);
        let mut formed_from = Vec::with_capacity(self.stages.len());
        for (n, stage) in self.stages.into_iter().enumerate().rev() {
            let Some(through) = delta.take() else { break };
            let deltas;
            (delta, deltas) = stage.pull_back_for_gradients(through, n > 0 || output == Output::Used);
            formed_from.push(deltas);
        }
        let gradients = move || Ok(formed_from.into_iter().rev().flat_map(StageDeltas::gradients).collect());
        Ok((delta.map(TensorState), Box::new(gradients)))
    }
}
