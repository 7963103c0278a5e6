//! The suites: which networks on how many ranks.

use std::thread;

use clap::ValueEnum;

/// A set of things to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Sequential and layer-parallel steps of a small network, and the solver's instructions per point: two minutes
    Quick,
    /// All networks and single layers beside PyTorch's
    Peers,
    /// One network on more and more ranks
    Strong,
    /// A network that grows with the ranks
    Weak,
    /// Levels, coarsening factors and iterations: time against gradient error
    Schedules,
    /// Layer-parallel schedules on one GPU against the sequential step and PyTorch, over depth and batch, with launches and
    /// the part of the time that the device needs at least
    Gpu,
}

impl Suite {
    /// Its name, also that of its files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Peers => "peers",
            Self::Strong => "strong",
            Self::Weak => "weak",
            Self::Schedules => "schedules",
            Self::Gpu => "gpu",
        }
    }

    /// The networks unless told.
    pub fn networks(self) -> Vec<String> {
        let all: &[&str] = match self {
            Self::Quick => &["conv:36x3"],
            Self::Peers => {
                &["conv:36x3", "conv:64x4", "conv:128x12", "encoder:32", "gru:128", "blocks:16", "voxels:31x128"]
            }
            Self::Strong | Self::Schedules => &["conv:64x4"],
            Self::Weak => &["conv:32x4"],
            Self::Gpu => return over_depth_and_batch(),
        };
        all.iter().map(|&name| name.to_owned()).collect()
    }

    /// The numbers of ranks unless told: up to the processors, of which there may be one.
    pub fn ranks(self) -> Vec<usize> {
        let usable = thread::available_parallelism().map_or(1, usize::from);
        match self {
            Self::Strong | Self::Weak => ranks_up_to(usable),
            Self::Quick | Self::Peers | Self::Schedules => vec![2],
            Self::Gpu => vec![1],
        }
    }

    /// How often every program is started unless told.
    pub fn repeats(self) -> usize {
        match self {
            Self::Quick => 5,
            Self::Gpu => 1,
            _ => 3,
        }
    }

    /// Whether PyTorch's programs run too.
    pub fn has_peers(self) -> bool {
        matches!(self, Self::Peers | Self::Gpu)
    }

    /// Whether every network has a start of its own: one that does not fit into the device's memory costs no others then.
    pub fn starts_per_network(self) -> bool {
        self == Self::Gpu
    }

    /// Options of the bench `study`, beyond the networks and ranks. What does not change from start to start is measured
    /// by the first.
    pub fn study_options(self, is_first: bool, are_ranks_threads: bool) -> Vec<&'static str> {
        let mut options = vec!["--preset", self.name()];
        if self == Self::Gpu {
            options.extend(["--floor", "--rounds", "2", "--steps", "5"]);
        }
        if !is_first {
            options.push("--no-errors");
            return options;
        }
        if matches!(self, Self::Peers | Self::Schedules) {
            options.extend(["--train-steps", TRAIN_STEPS]);
        }
        if are_ranks_threads && matches!(self, Self::Peers | Self::Strong) {
            options.push("--memory");
        }
        options
    }
}

/// Steps of training after which gradient errors are measured again.
const TRAIN_STEPS: &str = "60";

/// The networks that the aim is about (256 layers of 12 channels in batches of 50, 256 of an encoder of 8, sequences of 1024 in
/// batches of 100) and the same ones from 32 to 1024 layers in batches from 1 to 256.
fn over_depth_and_batch() -> Vec<String> {
    let depths = [32, 64, 128, 256, 512, 1024];
    let of = |kind: &str, tail: &str, own: usize| {
        let mut batches = vec![1, 8, 64, 256, own];
        batches.sort_unstable();
        batches.dedup();
        let name = |(depth, batch)| format!("{kind}:{depth}{tail}@{batch}");
        depths
            .into_iter()
            .flat_map(|depth| batches.iter().map(move |batch| (depth, *batch)))
            .map(name)
            .collect::<Vec<_>>()
    };
    [of("conv", "x12", 50), of("encoder", "", 8), of("gru", "", 100)].concat()
}

/// 1, 2, 4, ..., at least to 2, and at most to `most`.
fn ranks_up_to(most: usize) -> Vec<usize> {
    let powers = std::iter::successors(Some(1_usize), |n| n.checked_mul(2));
    powers.take_while(|&n| n <= most.max(2)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_presets_of_study() {
        for suite in Suite::value_variants() {
            assert_eq!(suite.to_possible_value().unwrap().get_name(), suite.name());
            assert!(!suite.networks().is_empty() && !suite.ranks().is_empty());
        }
        assert_eq!(Suite::Strong.study_options(true, true), ["--preset", "strong", "--memory"]);
        assert_eq!(Suite::Strong.study_options(true, false), ["--preset", "strong"]);
        assert_eq!(Suite::Strong.study_options(false, true), ["--preset", "strong", "--no-errors"]);
    }

    #[test]
    fn the_table_has_the_networks_of_the_aim() {
        let networks = Suite::Gpu.networks();
        assert_eq!(networks.len(), 6 * (5 + 4 + 5));
        for name in ["conv:256x12@50", "encoder:256@8", "gru:1024@100", "conv:32x12@1", "gru:1024@256"] {
            assert!(networks.iter().any(|network| network == name), "{name}");
        }
    }

    #[test]
    fn ranks_are_powers_of_two() {
        assert_eq!([1, 2, 7, 8].map(ranks_up_to), [vec![1, 2], vec![1, 2], vec![1, 2, 4], vec![1, 2, 4, 8]]);
    }
}
