//! What all ranks must know alike before a step's update: loss, score, NaN, and whether to stop.

use braidnet_comm::{AllReduce, Communicator, ReduceOp};
use braidnet_mgrit::NotFinite;

use super::stop::Why;
use crate::{Forwarded, TrainError};

/// One exchange per step, under way while the adjoint is solved, so that nobody waits for it.
pub(crate) struct Agreement {
    comm: Communicator,
    n_layers: usize,
    pending: Option<[AllReduce<f64>; 2]>,
}

/// What all ranks know of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Agreed {
    /// Mean loss of the global batch.
    pub loss: f64,
    /// Its samples that are right.
    pub correct: u64,
    /// Why to stop, if some rank was told to.
    pub stop: Option<Why>,
    /// The first place where something is not finite.
    pub bad: Option<Bad>,
}

/// What is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    /// A layer's output, or the first one's input.
    Layer(NotFinite),
    /// The loss, of finite states.
    Loss,
    /// The adjoint behind a layer; only the rank that finds it knows.
    Adjoint(usize),
    /// Gradients, of a finite loss.
    Gradients,
}

impl Bad {
    /// Whether every rank has found the same.
    pub fn is_known_to_all(self) -> bool {
        !matches!(self, Self::Adjoint(_))
    }
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Layer(NotFinite { what, layer }) => write!(f, "the {what} of layer {layer}"),
            Self::Loss => write!(f, "the loss"),
            Self::Adjoint(layer) => write!(f, "the adjoint of layer {layer}"),
            Self::Gradients => write!(f, "the gradient"),
        }
    }
}

impl Agreement {
    pub fn new(world: &Communicator, n_layers: usize) -> Result<Self, TrainError> {
        Ok(Self { comm: world.duplicate()?, n_layers, pending: None })
    }

    /// Tells the others what this rank knows; does not wait.
    pub fn start(&mut self, forwarded: &Forwarded, stop: Option<Why>) -> Result<(), TrainError> {
        let sums = vec![forwarded.loss, forwarded.correct as f64];
        // Places in the order of the layers, so that the least is the first: input, outputs, loss.
        let place = match forwarded.not_finite {
            Some(NotFinite { what: "input", .. }) => 0.0,
            Some(NotFinite { layer, .. }) => 1.0 + layer as f64,
            None if forwarded.bad_loss => 1.0 + self.n_layers as f64,
            None => f64::MAX,
        };
        let sums = self.comm.start_all_reduce(sums, ReduceOp::Sum)?;
        let least = self.comm.start_all_reduce(vec![place, -Why::urgency(stop)], ReduceOp::Min)?;
        self.pending = Some([sums, least]);
        Ok(())
    }

    /// Drives the exchange, if one is under way.
    pub fn advance(&mut self) -> Result<(), TrainError> {
        for exchange in self.pending.iter_mut().flatten() {
            exchange.advance()?;
        }
        Ok(())
    }

    /// What all ranks said.
    pub fn finish(&mut self) -> Result<Option<Agreed>, TrainError> {
        let Some([sums, least]) = self.pending.take() else { return Ok(None) };
        let (sums, least) = (sums.wait()?, least.wait()?);
        let ([loss, correct], [place, stop]) = (&sums[..], &least[..]) else { return Ok(None) };
        let bad = match *place {
            0.0 => Some(Bad::Layer(NotFinite { what: "input", layer: 0 })),
            f64::MAX => None,
            place if place > self.n_layers as f64 => Some(Bad::Loss),
            place => Some(Bad::Layer(NotFinite { what: "output", layer: place as usize - 1 })),
        };
        Ok(Some(Agreed { loss: *loss, correct: *correct as u64, stop: Why::of_urgency(-stop), bad }))
    }
}
