//! What all ranks must know alike before a step's update: loss, score, NaN, and whether to stop.

use braidnet_comm::{Communicator, Receive, Tag};
use braidnet_mgrit::NotFinite;

use super::stop::Why;
use crate::{Forwarded, TrainError};

/// The only tag of the communicator.
const TAG: Tag = 0;

/// One exchange per step, under way while the adjoint is solved, so that nobody waits for it: every rank sends its numbers
/// to every other. A reduction would take a rank that combines, and that rank is busy with its adjoint.
pub(crate) struct Agreement {
    comm: Communicator,
    n_layers: usize,
    own: Vec<f64>,
    /// From each rank in turn; none from this one.
    pending: Vec<Option<Receive<Vec<f64>>>>,
}

/// What all ranks know of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Agreed {
    /// Sum of the losses of all items of the global batch, over its samples.
    pub loss: f64,
    /// Its items.
    pub items: u64,
    /// Its items that are right.
    pub correct: u64,
    /// Why to stop, if some rank was told to.
    pub stop: Option<Why>,
    /// The first place where something is not finite.
    pub bad: Option<Bad>,
}

impl Agreed {
    /// Mean loss of the items, where the global batch has so many samples.
    pub fn mean_loss(&self, samples: usize) -> f64 {
        self.loss * samples as f64 / self.items.max(1) as f64
    }
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
        Ok(Self { comm: world.duplicate()?, n_layers, own: Vec::new(), pending: Vec::new() })
    }

    /// Tells the others what this rank knows; does not wait.
    pub fn start(&mut self, forwarded: &Forwarded, stop: Option<Why>) -> Result<(), TrainError> {
        // Places in the order of the layers, so that the least is the first: input, outputs, loss.
        let place = match forwarded.not_finite {
            Some(NotFinite { what: "input", .. }) => 0.0,
            Some(NotFinite { layer, .. }) => 1.0 + layer as f64,
            None if forwarded.bad_loss => 1.0 + self.n_layers as f64,
            None => f64::MAX,
        };
        self.own = vec![forwarded.loss, forwarded.items as f64, forwarded.correct as f64, place, Why::urgency(stop)];
        let (rank, size) = (self.comm.rank(), self.comm.size());
        for to in (0..size).filter(|to| *to != rank) {
            self.comm.send(to, TAG, self.own.clone())?;
        }
        let post = |from| if from == rank { Ok(None) } else { self.comm.receive(from, TAG).map(Some) };
        self.pending = (0..size).map(post).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// What all ranks said, combined in the order of the ranks.
    ///
    /// # Errors
    /// If a message fails, or [`TrainError::NoAgreement`] without a [`start`](Self::start) before it.
    pub fn finish(&mut self) -> Result<Agreed, TrainError> {
        let (mut loss, mut items, mut correct, mut place, mut stop) = (0.0, 0.0, 0.0, f64::MAX, 0.0_f64);
        if self.pending.is_empty() {
            return Err(TrainError::NoAgreement);
        }
        for receive in self.pending.drain(..) {
            let said = receive.map_or_else(|| Ok(self.own.clone()), |receive| receive.wait(&()))?;
            let [its_loss, its_items, its_correct, its_place, its_stop] = said[..] else {
                return Err(TrainError::NoAgreement);
            };
            loss += its_loss;
            items += its_items;
            correct += its_correct;
            place = place.min(its_place);
            stop = stop.max(its_stop);
        }
        let bad = match place {
            0.0 => Some(Bad::Layer(NotFinite { what: "input", layer: 0 })),
            f64::MAX => None,
            place if place > self.n_layers as f64 => Some(Bad::Loss),
            place => Some(Bad::Layer(NotFinite { what: "output", layer: place as usize - 1 })),
        };
        Ok(Agreed { loss, items: items as u64, correct: correct as u64, stop: Why::of_urgency(stop), bad })
    }
}
