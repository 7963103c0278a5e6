//! A machine, and the file that it and a network's costs are kept in.

use std::path::Path;

use braidnet_comm::simulate;
use serde::{Deserialize, Serialize};

use super::times::{amount, count, factor, rate};
use super::{Costs, PredictError};

/// The ranks' machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Which, for people.
    pub name: String,
    /// Ranks of one node.
    #[serde(deserialize_with = "count")]
    pub ranks_per_node: usize,
    /// How many times longer everything takes when several ranks of a node work at once, which share its memory.
    #[serde(default = "one", deserialize_with = "factor")]
    pub crowding: f64,
    /// Seconds per byte of gradients for what an all-reduce does besides sending: copies and sums.
    #[serde(default, deserialize_with = "amount")]
    pub combine: f64,
    /// Between ranks of one node.
    pub near: Link,
    /// Between nodes.
    pub far: Link,
}

/// A link between two ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Seconds before the first byte arrives.
    #[serde(deserialize_with = "amount")]
    pub latency: f64,
    /// Bytes per second after that; may be infinite.
    #[serde(deserialize_with = "rate")]
    pub bandwidth: f64,
}

fn one() -> f64 {
    1.0
}

impl Machine {
    /// The links, as a simulation takes them.
    pub(super) fn links(&self) -> simulate::Links {
        let link = |link: Link| simulate::Link { latency: link.latency, bandwidth: link.bandwidth };
        simulate::Links { near: link(self.near), far: link(self.far), ranks_per_node: self.ranks_per_node }
    }
}

/// A machine and what a network costs there: a file in TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineFile {
    /// The machine.
    pub machine: Machine,
    /// The network.
    pub costs: Costs,
}

impl MachineFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`PredictError::File`] with the path, and the line and key of what is wrong.
    pub fn read(path: &Path) -> Result<Self, PredictError> {
        let failed = |reason: String| PredictError::File { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let file: Self = toml::from_str(&text).map_err(|error| failed(error.to_string().trim_end().to_owned()))?;
        file.costs.check().map_err(|error| failed(error.to_string()))?;
        Ok(file)
    }

    /// Writes a file that [`MachineFile::read`] reads back to the same bits.
    ///
    /// # Errors
    /// [`PredictError::File`].
    pub fn write(&self, path: &Path) -> Result<(), PredictError> {
        let failed = |reason: String| PredictError::File { path: path.to_owned(), reason };
        let text = toml::to_string(self).map_err(|error| failed(error.to_string()))?;
        std::fs::write(path, text).map_err(|error| failed(error.to_string()))
    }
}
