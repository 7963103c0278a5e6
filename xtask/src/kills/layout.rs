//! How many ranks a start has, and what they are.

use std::fmt;
use std::str::FromStr;

/// The ranks of a start, written `2x1` where they are threads and `mpi:2x1` where mpirun starts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub layer_ranks: usize,
    pub data_ranks: usize,
    pub under_mpirun: bool,
}

impl Layout {
    /// The number of ranks under mpirun; nothing where they are threads.
    pub fn n_processes(self) -> Option<usize> {
        self.under_mpirun.then_some(self.layer_ranks * self.data_ranks)
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (under_mpirun, ranks) = text.strip_prefix("mpi:").map_or((false, text), |ranks| (true, ranks));
        let count = |text: &str| text.parse().ok().filter(|&n: &usize| n > 0);
        let counts = ranks.split_once('x').and_then(|(layer, data)| Some((count(layer)?, count(data)?)));
        let (layer_ranks, data_ranks) =
            counts.ok_or_else(|| format!("`{text}` is no layout; write layer ranks x data ranks as 2x1 or mpi:2x1"))?;
        Ok(Self { layer_ranks, data_ranks, under_mpirun })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}x{}", if self.under_mpirun { "mpi:" } else { "" }, self.layer_ranks, self.data_ranks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_read_and_shown() {
        for text in ["2x1", "mpi:3x2", "1x4"] {
            assert_eq!(text.parse::<Layout>().unwrap().to_string(), text);
        }
        assert_eq!("mpi:3x2".parse::<Layout>().unwrap().n_processes(), Some(6));
        assert_eq!("3x2".parse::<Layout>().unwrap().n_processes(), None);
        for bad in ["", "2", "2x", "0x1", "2x0", "mpi:", "2x1x1", "mpi2x1", "-1x1"] {
            assert!(bad.parse::<Layout>().is_err(), "{bad}");
        }
    }
}
