//! From one block of ODE layers to the next: pooling, a convolution of stride 2 to twice the channels, norm, ReLU.

use braidnet_mgrit::{Output, StepError};
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::module::{
    avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_with_indices, max_pool2d_with_indices_backward,
};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::conv::conv3x3_without_bias;
use crate::grid_space::{ImageSpace, Samples};
use crate::norm::{Norm, NormKind};
use crate::rhs::At;
use crate::stage::{Stage, StageDeltas, StageTape};
use crate::{ConvRhs, ConvTape, Forward, PendingRhs, RhsTape, RightHandSide, TensorState};

/// Pooling of 3x3 windows with stride 1 and padding 1, which keeps the extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// None.
    None,
    /// The largest of a window.
    #[default]
    Max,
    /// The mean of a window; what is beyond the border counts as 0.
    Average,
}

const WINDOW: [usize; 2] = [3, 3];
const ONE: [usize; 2] = [1, 1];

fn max_options() -> MaxPoolOptions<2> {
    MaxPoolOptions { stride: ONE, padding: [(1, 1); 2], ..MaxPoolOptions::new(WINDOW) }
}

impl Pooling {
    fn apply(self, u: Tensor<4>) -> Tensor<4> {
        match self {
            Self::None => u,
            Self::Max => max_pool2d(u, max_options()),
            Self::Average => {
                avg_pool2d(u, AvgPoolOptions { stride: ONE, padding: [(1, 1); 2], ..AvgPoolOptions::new(WINDOW) })
            }
        }
    }

    /// The pooled state, and where its pullback finds what it took.
    fn linearize(self, u: Tensor<4>) -> (Tensor<4>, PoolTape) {
        match self {
            Self::None => (u, PoolTape::None),
            Self::Max => {
                let (pooled, indices) = max_pool2d_with_indices(u.clone(), max_options());
                (pooled, PoolTape::Max { input: u, indices })
            }
            Self::Average => (self.apply(u.clone()), PoolTape::Average { input: u }),
        }
    }
}

/// The linearisation of a [`Pooling`].
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // A few per network.
enum PoolTape {
    None,
    Max { input: Tensor<4>, indices: Tensor<4, Int> },
    Average { input: Tensor<4> },
}

impl PoolTape {
    fn pull_back(&self, delta: Tensor<4>) -> Tensor<4> {
        match self.clone() {
            Self::None => delta,
            Self::Max { input, indices } => {
                max_pool2d_with_indices_backward(input, WINDOW, ONE, ONE, ONE, false, delta, indices)
            }
            Self::Average { input } => avg_pool2d_backward(input, delta, WINDOW, ONE, ONE, true, false),
        }
    }
}

/// `relu(norm(conv(pool(u))))`: from `[batch, c, h, w]` to `[batch, 2 c, ceil(h / 2), ceil(w / 2)]`.
#[derive(Module, Debug)]
pub struct Transition {
    conv: Conv2d,
    norm: Option<Norm>,
    #[module(skip)]
    pooling: Pooling,
}

/// Which side of `ceil(n / 2)` follows from `n` by a convolution of stride 2 and padding 1.
pub(crate) fn halved(n: usize) -> usize {
    n.div_ceil(2)
}

impl Transition {
    /// From `channels` channels to twice as many, with burn's default initialisation.
    pub fn new(pooling: Pooling, norm: Option<NormKind>, channels: usize, device: &Device) -> Self {
        let conv = conv3x3_without_bias(channels, 2 * channels, 2, device);
        Self { conv, norm: norm.map(|kind| Norm::new(kind, 2 * channels, device)), pooling }
    }

    fn stage(&self) -> Stage<'_> {
        Stage { conv: &self.conv, norm: self.norm.as_ref(), layers: 1 }
    }
}

/// The linearisation of a [`Transition`].
#[derive(Debug, Clone)]
pub struct TransitionTape {
    pool: PoolTape,
    stage: StageTape,
}

impl TransitionTape {
    fn pull_back(&self, delta: Tensor<4>) -> Tensor<4> {
        self.pool.pull_back(self.stage.pull_back(delta))
    }

    fn pull_back_for_gradients(self, delta: Tensor<4>, wanted: bool) -> (Option<Tensor<4>>, StageDeltas) {
        let (back, deltas) = self.stage.pull_back_for_gradients(delta, wanted);
        (back.map(|delta| self.pool.pull_back(delta)), deltas)
    }
}

/// A layer of a network of blocks: the right-hand side of an ODE layer, or a transition, whose value is the next state itself.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // The larger variant is the usual one.
pub enum BlockLayer {
    /// Right-hand side of an ODE layer.
    Ode(ConvRhs),
    /// To the next block.
    Transition(Transition),
}

/// The linearisation of a [`BlockLayer`].
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // The larger variant is the rare one.
pub enum BlockTape {
    /// Of a right-hand side.
    Ode(ConvTape),
    /// Of a transition.
    Transition(TransitionTape),
}

impl Forward for BlockLayer {
    type Space = ImageSpace;

    fn forward(&self, u: TensorState<4>, at: At<'_, Samples>) -> TensorState<4> {
        match self {
            Self::Ode(rhs) => rhs.forward(u, at),
            Self::Transition(t) => TensorState(t.stage().forward(t.pooling.apply(u.0), at.batch.is_training)),
        }
    }
}

impl RightHandSide for BlockLayer {
    type Space = ImageSpace;
    type Tape = BlockTape;

    const STACKS: bool = true;

    fn stacks_with(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Ode(a), Self::Ode(b)) if a.stacks_with(b))
    }

    fn evaluate(&self, u: TensorState<4>, at: At<'_, Samples>) -> TensorState<4> {
        match self {
            Self::Ode(rhs) => rhs.evaluate(u, at),
            Self::Transition(t) => TensorState(t.stage().evaluate(t.pooling.apply(u.0), at.batch.is_training)),
        }
    }

    fn linearize(&self, u: TensorState<4>, at: At<'_, Samples>, output: Output) -> (TensorState<4>, BlockTape) {
        match self {
            Self::Ode(rhs) => {
                let (f, tape) = rhs.linearize(u, at, output);
                (f, BlockTape::Ode(tape))
            }
            Self::Transition(transition) => {
                let (pooled, pool) = transition.pooling.linearize(u.0);
                let (v, stage) = transition.stage().linearize(pooled);
                (TensorState(v), BlockTape::Transition(TransitionTape { pool, stage }))
            }
        }
    }

    /// Of a transition: the state before and the pooled one with its indices, and a half of them twice behind the convolution.
    fn tape_bytes(&self, batch: &Samples, state_bytes: usize) -> usize {
        match self {
            Self::Ode(rhs) => rhs.tape_bytes(batch, state_bytes),
            Self::Transition(_) => 5 * state_bytes,
        }
    }
}

impl RhsTape for BlockTape {
    type State = TensorState<4>;

    /// Transitions are never side by side.
    fn rows(&self, rows: &[usize], of: usize) -> Option<Self> {
        match self {
            Self::Ode(tape) => tape.rows(rows, of).map(Self::Ode),
            Self::Transition(_) => None,
        }
    }

    fn each(&self, of: usize) -> Option<Vec<Self>> {
        match self {
            Self::Ode(tape) => Some(tape.each(of)?.into_iter().map(Self::Ode).collect()),
            Self::Transition(_) => None,
        }
    }

    fn pullback(&self, delta: TensorState<4>) -> Result<TensorState<4>, StepError> {
        match self {
            Self::Ode(tape) => tape.pullback(delta),
            Self::Transition(tape) => Ok(TensorState(tape.pull_back(delta.0))),
        }
    }

    fn pullback_with_gradients(
        self,
        delta: TensorState<4>,
        output: Output,
    ) -> Result<(Option<TensorState<4>>, PendingRhs), StepError> {
        match self {
            Self::Ode(tape) => tape.pullback_with_gradients(delta, output),
            Self::Transition(tape) => {
                let (back, deltas) = tape.pull_back_for_gradients(delta.0, output == Output::Used);
                Ok((back.map(TensorState), Box::new(move || Ok(deltas.gradients()))))
            }
        }
    }
}
