//! Lists of variants.

use braidnet::prelude::Degree;
use braidnet::train::MicroBatching;
use clap::ValueEnum;

use crate::{Case, Way};

/// Which ways are timed on which ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Sequential, and layer-parallel and mixed with one iteration, intervals joined or not.
    Quick,
    /// The same network on more and more ranks, every way.
    Strong,
    /// As many times deeper as there are ranks.
    Weak,
    /// Two and three levels, all coarsening factors, iterations, F and FCF, intervals joined or not.
    Schedules,
    /// What is compared with other frameworks.
    Peers,
    /// Sequential, and layer-parallel schedules that have few steps one after the other: for one GPU.
    Gpu,
}

/// A case, and its ways with their ranks, which are timed in turns; the first is what others are compared with.
pub type Group = (Case, Vec<(Way, usize)>);

impl Preset {
    /// What is timed of a case on these ranks, as far as its depth and batch allow it.
    pub fn groups(self, case: Case, ranks: &[usize]) -> Vec<Group> {
        if self == Self::Weak {
            return ranks.iter().map(|&n| (case.deeper(n), self.on(case, n))).collect();
        }
        let mut ways = vec![(Way::sequential(), 1)];
        ways.extend(ranks.iter().flat_map(|&n| self.on(case, n)));
        ways.dedup();
        vec![(case, ways)]
    }

    /// On so many ranks.
    fn on(self, case: Case, ranks: usize) -> Vec<(Way, usize)> {
        let parallel = |iterations| Way::parallel(2, case.cfactor(), iterations);
        let (one, mixed) = (parallel([1, 1]), parallel([0, 1]));
        let mut ways = vec![Way::sequential()];
        match self {
            Self::Schedules => ways.extend(schedules()),
            Self::Gpu => ways.extend(side_by_side()),
            Self::Quick | Self::Strong | Self::Weak | Self::Peers => {
                ways.extend([one.clone(), one.joined(), mixed.clone(), mixed.joined()]);
            }
        }
        if matches!(self, Self::Strong | Self::Peers) {
            ways.push(Way::data_parallel());
        }
        if self == Self::Strong {
            ways.push(Way::pipeline(4));
        }
        let case = if self == Self::Weak { case.deeper(ranks) } else { case };
        ways.retain(|way| fits(way, case, ranks));
        ways.into_iter().map(|way| (way, ranks)).collect()
    }
}

/// All schedules of the preset.
fn schedules() -> Vec<Way> {
    let mut all = Vec::new();
    for levels in [2, 3] {
        for cfactor in [2, 4, 8, 16] {
            for iterations in [[1, 1], [2, 1], [2, 2], [0, 1], [0, 2]] {
                let way = Way::parallel(levels, cfactor, iterations);
                // Without a first down-cycle, one iteration relaxes the finest level only at its end.
                let fcf = iterations.contains(&2).then(|| way.clone().fcf());
                all.extend(std::iter::once(way).chain(fcf).flat_map(|way| [way.clone(), way.joined()]));
            }
        }
    }
    all
}

/// Schedules for layers side by side, where a step takes as long as its calls one after the other: two levels take the coarse
/// layers and those of an interval, three levels fewer at great depth. Joined sweeps have them all one after the other.
fn side_by_side() -> Vec<Way> {
    let two = [4, 8, 16, 32]
        .into_iter()
        .flat_map(|cfactor| [[1, 1], [0, 1], [2, 1], [2, 2]].map(|iterations| Way::parallel(2, cfactor, iterations)));
    let three = [4, 8].into_iter().flat_map(|cfactor| [[1, 1], [2, 1]].map(|n| Way::parallel(3, cfactor, n)));
    two.chain(three).collect()
}

/// Whether a way makes sense: a layer or coarsest interval for every rank, at least two of these, a sample for every part of a batch.
fn fits(way: &Way, case: Case, ranks: usize) -> bool {
    let solve = &way.schedule.backward;
    // Layers of a coarsest interval.
    let run = if solve.is_sequential() { 1 } else { solve.cfactor.saturating_pow(solve.max_levels as u32 - 1) };
    let n_runs = case.n_layers() / run;
    if way.degrees.data_ranks == Degree::Auto {
        return ranks > 1 && ranks <= case.batch;
    }
    let is_pipeline = way.schedule.micro_batching == MicroBatching::Pipelined;
    n_runs >= ranks.max(2) && (!is_pipeline || (ranks > 1 && way.n_micro <= case.batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(preset: Preset, case: &str, ranks: &[usize]) -> Vec<Vec<String>> {
        let group = |(_, ways): Group| ways.iter().map(|(way, n)| format!("{way} on {n}")).collect();
        preset.groups(case.parse().unwrap(), ranks).into_iter().map(group).collect()
    }

    #[test]
    fn groups_begin_with_what_others_are_compared_with() {
        let quick = [
            "seq on 1",
            "seq on 2",
            "lp:2/4/1/1 on 2",
            "lp:2/4/1/1+join on 2",
            "mixed:2/4/1 on 2",
            "mixed:2/4/1+join on 2",
        ];
        assert_eq!(names(Preset::Quick, "conv:36x3", &[2]), [quick]);
        let strong = names(Preset::Strong, "conv:36x3", &[1, 2]).concat();
        assert_eq!(strong.iter().filter(|name| *name == "seq on 1").count(), 1);
        assert!(
            strong.contains(&"pipe:4 on 2".to_owned()) && !strong.contains(&"pipe:4 on 1".to_owned()),
            "{strong:?}"
        );
    }

    #[test]
    fn weak_scaling_deepens_with_the_ranks() {
        let groups = Preset::Weak.groups("gru:64".parse().unwrap(), &[1, 4]);
        assert_eq!(groups.iter().map(|(case, _)| case.n_layers()).collect::<Vec<_>>(), [64, 256]);
        assert!(groups[1].1.iter().all(|(_, ranks)| *ranks == 4));
    }

    #[test]
    fn a_gpu_has_schedules_of_any_depth() {
        let on = |case: &str| names(Preset::Gpu, case, &[1]).concat();
        let shallow = on("conv:8x2@2");
        assert_eq!(shallow, ["seq on 1", "lp:2/4/1/1 on 1", "mixed:2/4/1 on 1", "lp:2/4/2/1 on 1", "lp:2/4/2/2 on 1"]);
        let deep = on("gru:1024");
        assert_eq!(deep.len(), 1 + 4 * 4 + 2 * 2);
        assert!(deep.contains(&"lp:3/8/2/1 on 1".to_owned()), "{deep:?}");
    }

    #[test]
    fn schedules_are_those_that_the_depth_allows() {
        let on = |case: &str, ranks| names(Preset::Schedules, case, &[ranks]).concat();
        let all = on("conv:36x3", 2);
        for (name, is_there) in
            [("lp:2/16/1/1", true), ("lp:3/4/2/1+fcf+join", true), ("lp:3/8/1/1", false), ("mixed:3/2/2", true)]
        {
            assert_eq!(all.contains(&format!("{name} on 2")), is_there, "{name}: {all:?}");
        }
        // Six hierarchies, one iteration twice and two iterations thrice, those with F or FCF, joined or not, and sequential on one
        // rank and on two.
        assert_eq!(all.len(), 6 * (2 + 3 * 2) * 2 + 2);
        assert!(!on("conv:36x3", 4).contains(&"lp:2/16/1/1 on 4".to_owned()));
        assert!(on("conv:1024x1", 2).contains(&"lp:3/16/1/1 on 2".to_owned()));
    }
}
