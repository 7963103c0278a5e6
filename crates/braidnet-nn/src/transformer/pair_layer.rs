//! Layers of an encoder-decoder, one system on the states of both sequences.

use braidnet_mgrit::{Output, StepError};
use burn::module::Module;
use burn::tensor::Tensor;

use super::decoder::{DecoderLayer, DecoderTape};
use super::encoder::{EncoderLayer, EncoderTape, zero_gradients};
use super::pair::PairState;
use super::space::{PairBatch, PairSpace, SequenceBatch};
use crate::{At, Gradients, PendingRhs, RhsTape, RightHandSide, TensorState};

/// `F(Z)` of `Z = [X, Y]`: `[F(X), 0]` of an encoder layer, `[0, F(Y; X)]` of a decoder layer.
///
/// The half that rests is absent from the result, and costs nothing.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // One per layer, and both are large.
pub enum PairLayer {
    /// Steps the source's state.
    Encoder(EncoderLayer),
    /// Steps the target's state.
    Decoder(DecoderLayer),
}

/// The linearisation of [`PairLayer`].
#[allow(clippy::large_enum_variant)] // As above.
pub enum PairTape {
    /// Of an encoder layer.
    Encoder(EncoderTape),
    /// Of a decoder layer.
    Decoder(DecoderTape),
}

impl PairLayer {
    /// A half of the state, zeros where it is absent.
    fn half(&self, half: Option<TensorState<3>>, batch: &SequenceBatch, layers: usize) -> Tensor<3> {
        let norm = match self {
            Self::Encoder(layer) => layer.first_norm(),
            Self::Decoder(layer) => layer.first_norm(),
        };
        half.map_or_else(|| norm.zeros([batch.samples, batch.length], layers), |half| half.0)
    }
}

/// What an encoder layer sees of `at`.
fn of_source(at: At<'_, PairBatch>) -> At<'_, SequenceBatch> {
    At { layers: at.layers, dt: at.dt, batch: &at.batch.source }
}

impl RightHandSide for PairLayer {
    type Space = PairSpace;
    type Tape = PairTape;

    const STACKS: bool = true;

    fn stacks_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Encoder(a), Self::Encoder(b)) => a.stacks_with(b),
            (Self::Decoder(a), Self::Decoder(b)) => a.stacks_with(b),
            _ => false,
        }
    }

    fn evaluate(&self, PairState { x, y }: PairState, at: At<'_, PairBatch>) -> PairState {
        let x = self.half(x, &at.batch.source, at.layers.n());
        match self {
            Self::Encoder(layer) => PairState { x: Some(layer.evaluate(TensorState(x), of_source(at))), y: None },
            Self::Decoder(layer) => {
                let y = self.half(y, &at.batch.target, at.layers.n());
                PairState { x: None, y: Some(TensorState(layer.evaluate(x, y, at))) }
            }
        }
    }

    fn linearize(&self, PairState { x, y }: PairState, at: At<'_, PairBatch>, output: Output) -> (PairState, PairTape) {
        let x = self.half(x, &at.batch.source, at.layers.n());
        match self {
            Self::Encoder(layer) => {
                let (f, tape) = layer.linearize(TensorState(x), of_source(at), output);
                (PairState { x: Some(f), y: None }, PairTape::Encoder(tape))
            }
            Self::Decoder(layer) => {
                let y = self.half(y, &at.batch.target, at.layers.n());
                let (f, tape) = layer.linearize(x, y, at, output);
                (PairState { x: None, y: f.map(TensorState) }, PairTape::Decoder(tape))
            }
        }
    }

    fn tape_bytes(&self, batch: &PairBatch, _: usize) -> usize {
        let kept = match self {
            Self::Encoder(layer) => layer.kept(&batch.source),
            Self::Decoder(layer) => layer.kept(batch),
        };
        size_of::<f32>() * kept
    }
}

impl PairTape {
    fn zero_gradients(&self) -> Gradients {
        match self {
            Self::Encoder(tape) => zero_gradients(tape.layer()),
            Self::Decoder(tape) => zero_gradients(tape.layer()),
        }
    }
}

impl RhsTape for PairTape {
    type State = PairState;

    fn rows(&self, rows: &[usize], of: usize) -> Option<Self> {
        Some(match self {
            Self::Encoder(tape) => Self::Encoder(tape.some_rows(rows, of)?),
            Self::Decoder(tape) => Self::Decoder(tape.some_rows(rows, of)?),
        })
    }

    fn each(&self, of: usize) -> Option<Vec<Self>> {
        Some(match self {
            Self::Encoder(tape) => tape.each_row(of)?.into_iter().map(Self::Encoder).collect(),
            Self::Decoder(tape) => tape.each_row(of)?.into_iter().map(Self::Decoder).collect(),
        })
    }

    fn pullback(&self, PairState { x, y }: PairState) -> Result<PairState, StepError> {
        Ok(match (self, x, y) {
            (Self::Encoder(tape), Some(delta), _) => PairState { x: Some(tape.pullback(delta)?), y: None },
            (Self::Decoder(tape), _, Some(TensorState(delta))) => {
                let (halves, deltas) = tape.back(delta);
                tape.complete(halves, &deltas)
            }
            _ => PairState::zero(),
        })
    }

    fn pullback_with_gradients(
        self,
        PairState { x, y }: PairState,
        output: Output,
    ) -> Result<(Option<PairState>, PendingRhs), StepError> {
        let is_used = output == Output::Used;
        match (self, x, y) {
            (Self::Encoder(tape), Some(delta), _) => {
                let (x, pending) = tape.pullback_with_gradients(delta, output)?;
                Ok((x.map(|x| PairState { x: Some(x), y: None }), pending))
            }
            (Self::Decoder(tape), _, Some(TensorState(delta))) => {
                let (halves, deltas) = tape.back(delta);
                let state = is_used.then(|| tape.complete(halves, &deltas));
                Ok((state, Box::new(move || Ok(tape.gradients(deltas)))))
            }
            (tape, ..) => Ok((is_used.then(PairState::zero), Box::new(move || Ok(tape.zero_gradients())))),
        }
    }
}
