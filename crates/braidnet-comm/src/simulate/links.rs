//! What connects the ranks.

use crate::LaunchError;

/// A link out of a rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Seconds before the first byte arrives.
    pub latency: f64,
    /// Bytes per second after that; infinity is allowed.
    pub bandwidth: f64,
}

/// The links between ranks of a simulation, by their numbers in the world, whatever communicator they talk on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Links {
    /// Within a node.
    pub near: Link,
    /// Between nodes.
    pub far: Link,
    /// The ranks of a node, in order: the first node has ranks `0..ranks_per_node`. The last may have fewer.
    pub ranks_per_node: usize,
}

impl Links {
    /// The link that a message takes; `None` for one to oneself.
    pub(super) fn between(&self, from: usize, to: usize) -> Option<Link> {
        let is_near = from / self.ranks_per_node == to / self.ranks_per_node;
        (from != to).then_some(if is_near { self.near } else { self.far })
    }

    /// That clocks stay finite and never run backwards.
    pub(super) fn check(&self) -> Result<(), LaunchError> {
        if self.ranks_per_node == 0 {
            return Err(LaunchError::EmptyNodes);
        }
        self.near.check("near")?;
        self.far.check("far")
    }
}

impl Link {
    fn check(self, link: &'static str) -> Result<(), LaunchError> {
        let bad = |quantity, value: f64, expected| LaunchError::BadLink {
            link,
            quantity,
            value: value.to_string(),
            expected,
        };
        if !(self.latency.is_finite() && self.latency >= 0.0) {
            return Err(bad("latency", self.latency, "seconds, finite and not negative"));
        }
        if self.bandwidth.is_nan() || self.bandwidth <= 0.0 {
            return Err(bad("bandwidth", self.bandwidth, "bytes per second, more than zero"));
        }
        Ok(())
    }
}
