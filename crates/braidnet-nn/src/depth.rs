//! Layers and time steps of a network.

use std::ops::Range;

use braidnet_grid::{GridError, StepKind, TimeGrid};

use crate::NetworkError;

/// Which layers a part of a network has, of how many, and how long a step is.
#[derive(Debug, Clone, PartialEq)]
pub struct Depth {
    /// Layers of the network.
    pub layers: usize,
    /// Sum of all `dt`.
    pub final_time: f64,
    /// Layers at either end that stay outside the solver and run one after the other.
    pub buffer: usize,
    /// Layers that are transitions between blocks, ascending.
    pub transitions: Vec<usize>,
}

impl Depth {
    /// ODE layers alone.
    pub fn new(layers: usize, final_time: f64, buffer: usize) -> Self {
        Self { layers, final_time, buffer, transitions: Vec::new() }
    }

    /// Layers that the solver counts.
    pub fn solved(&self) -> usize {
        self.layers.saturating_sub(self.buffer.saturating_mul(2))
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`NetworkError::Zero`], [`NetworkError::BadNumber`], [`NetworkError::TooManyBufferLayers`].
    pub fn validate(&self) -> Result<(), NetworkError> {
        let Self { layers, final_time, buffer, .. } = *self;
        if layers == 0 {
            return Err(NetworkError::Zero { what: "the number of layers" });
        }
        if !(final_time.is_finite() && final_time > 0.0) {
            let (what, remedy) = ("the final time", "use a finite number above 0");
            return Err(NetworkError::BadNumber { what, value: final_time, remedy });
        }
        if self.solved() == 0 || buffer > layers {
            return Err(NetworkError::TooManyBufferLayers { buffer, layers });
        }
        Ok(())
    }

    /// The time grid of the layers that the solver counts.
    ///
    /// # Errors
    /// [`GridError::NoSteps`] where there are none.
    pub fn grid(&self) -> Result<TimeGrid, GridError> {
        if !self.transitions.is_empty() {
            let solved = self.buffer..self.buffer + self.solved();
            let kinds: Vec<StepKind> = solved.map(|layer| self.kind(layer)).collect();
            return TimeGrid::from_kinds(&kinds, self.dt());
        }
        match self.buffer {
            0 => TimeGrid::uniform(self.layers, 0.0, self.final_time),
            b => {
                let (first, last) = (b as f64, self.layers as f64 - b as f64);
                TimeGrid::uniform(self.solved(), first * self.dt(), last * self.dt())
            }
        }
    }

    pub(crate) fn dt(&self) -> f64 {
        self.final_time / self.layers as f64
    }

    /// What a layer of the network is.
    pub(crate) fn kind(&self, layer: usize) -> StepKind {
        if self.transitions.contains(&layer) { StepKind::Transition } else { StepKind::Ode }
    }

    /// Global layers before, in and behind the part `range` of those that the solver counts.
    pub(crate) fn ranges(&self, range: &Range<usize>) -> [Range<usize>; 3] {
        let Self { layers, buffer, .. } = *self;
        let before = 0..if range.start == 0 { buffer } else { 0 };
        let after = if range.end == self.solved() { layers - buffer } else { layers }..layers;
        [before, range.start + buffer..range.end + buffer, after]
    }
}
