//! Names of the parts of a network.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::CheckpointError;

/// A part of a network: what goes to a file of its own. Ordered as data passes through the network.
///
/// Written `open`, `layers.00017`, `close`. Being a type, it can name nothing outside its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PartName {
    /// The opening layer.
    Open,
    /// A layer, by global number.
    Layer(usize),
    /// The closing layer.
    Close,
}

impl PartName {
    /// All parts of a network, in order.
    pub fn all(n_layers: usize) -> impl Iterator<Item = Self> {
        let layers = (0..n_layers).map(Self::Layer);
        std::iter::once(Self::Open).chain(layers).chain(std::iter::once(Self::Close))
    }

    /// The file of the parameters.
    pub(crate) fn parameters_file(self) -> String {
        format!("{self}.safetensors")
    }

    /// The file of the optimizer's moments.
    pub(crate) fn moments_file(self) -> String {
        format!("{self}.optimizer.safetensors")
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Layer(n) => write!(f, "layers.{n:05}"),
            Self::Close => f.write_str("close"),
        }
    }
}

impl FromStr for PartName {
    type Err = CheckpointError;

    /// # Errors
    /// [`CheckpointError::BadPartName`] for anything but the three forms, `layers.17` among them.
    fn from_str(name: &str) -> Result<Self, CheckpointError> {
        let layer = || name.strip_prefix("layers.").and_then(|n| n.parse().ok()).map(Self::Layer);
        let part = match name {
            "open" => Some(Self::Open),
            "close" => Some(Self::Close),
            _ => layer(),
        };
        // One spelling each: `layers.+0017` parses, but is not what we write.
        part.filter(|part| part.to_string() == name)
            .ok_or_else(|| CheckpointError::BadPartName { name: name.chars().take(80).collect() })
    }
}

impl TryFrom<String> for PartName {
    type Error = CheckpointError;

    fn try_from(name: String) -> Result<Self, CheckpointError> {
        name.parse()
    }
}

impl From<PartName> for String {
    fn from(part: PartName) -> Self {
        part.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for part in [PartName::Open, PartName::Layer(0), PartName::Layer(17), PartName::Layer(123_456), PartName::Close]
        {
            assert_eq!(part.to_string().parse::<PartName>().unwrap(), part);
        }
        assert_eq!(PartName::Layer(17).moments_file(), "layers.00017.optimizer.safetensors");
    }

    #[test]
    fn other_spellings_are_refused() {
        let others =
            ["", "../x", "layers.17", "layers.+0017", "layers.00017/..", "layers.000017", "Open", "open ", "layers."];
        for name in others {
            let error = name.parse::<PartName>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
    }

    #[test]
    fn all_are_in_order() {
        let all: Vec<_> = PartName::all(2).collect();
        assert_eq!(all, [PartName::Open, PartName::Layer(0), PartName::Layer(1), PartName::Close]);
        assert!(all.is_sorted());
    }
}
