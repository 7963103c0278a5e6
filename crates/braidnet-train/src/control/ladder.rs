//! The schedules that a controller chooses from.

use braidnet_mgrit::{Method, Relaxation};

use crate::{Schedule, SolveConfig};

/// Schedules of growing exactness and cost, made from the one that a run was given.
///
/// | rung | forward | backward |
/// |---|---|---|
/// | `base` | as given | as given |
/// | `iterations x2` | twice the iterations | twice the iterations |
/// | `FCF` | and FCF-relaxation on the finest level | likewise |
/// | `sequential forward` | sequential | as on `FCF` |
/// | `sequential` | sequential | sequential |
///
/// Where the given schedule is sequential or has FCF-relaxation already, rungs would be equal: each is there once. In every
/// direction a rung does all that the rungs below do. The last is exact.
#[derive(Debug, Clone, PartialEq)]
pub struct Ladder {
    rungs: Vec<(&'static str, Schedule)>,
}

impl Ladder {
    /// The ladder of a schedule; of an exact one it is the only rung.
    pub fn new(base: &Schedule) -> Self {
        let both = |change: fn(&SolveConfig) -> SolveConfig, from: &Schedule| Schedule {
            forward: change(&from.forward),
            backward: change(&from.backward),
            ..from.clone()
        };
        let more = both(twice, base);
        let fcf = both(with_fcf, &more);
        let forward = Schedule { forward: sequential(&fcf.forward), ..fcf.clone() };
        let exact = both(sequential, base);
        let is_mixed = !forward.is_exact();
        let mut rungs = vec![("base", base.clone())];
        let others = [("iterations x2", more), ("FCF", fcf), ("sequential forward", forward), ("sequential", exact)];
        for (name, schedule) in others {
            let is_new = rungs.iter().all(|(_, lower)| *lower != schedule);
            if is_new && (is_mixed || name != "sequential forward") {
                rungs.push((name, schedule));
            }
        }
        Self { rungs }
    }

    /// How many rungs there are, at least 1.
    pub fn n_rungs(&self) -> usize {
        self.rungs.len()
    }

    /// The schedule of a rung; of the last for a number past it.
    pub fn schedule(&self, rung: usize) -> &Schedule {
        &self.rungs[rung.min(self.last())].1
    }

    /// The name of a rung, as for [`Ladder::schedule`].
    pub fn name(&self, rung: usize) -> &'static str {
        self.rungs[rung.min(self.last())].0
    }

    /// All names, the base's first.
    pub fn names(&self) -> Vec<String> {
        self.rungs.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    /// The number of the last rung.
    pub fn last(&self) -> usize {
        self.rungs.len() - 1
    }

    /// Whether the solves of a rung have the rho of those one rung below: iterations alone do not change it.
    pub(super) fn rho_is_that_of_below(&self, rung: usize) -> bool {
        let (own, below) = (self.schedule(rung), self.schedule(rung.saturating_sub(1)));
        let same = |a: &SolveConfig, b: &SolveConfig| SolveConfig { max_iters: b.max_iters, ..a.clone() } == *b;
        same(&own.forward, &below.forward) && same(&own.backward, &below.backward)
    }
}

fn twice(solve: &SolveConfig) -> SolveConfig {
    let max_iters = if solve.is_sequential() { solve.max_iters } else { solve.max_iters.saturating_mul(2) };
    SolveConfig { max_iters, ..solve.clone() }
}

fn with_fcf(solve: &SolveConfig) -> SolveConfig {
    let is_multigrid = solve.method == Method::Multigrid && !solve.is_sequential();
    let has_none = is_multigrid && solve.relaxation.fc_sweeps() == 0;
    SolveConfig { relaxation: if has_none { Relaxation::Fcf(1) } else { solve.relaxation }, ..solve.clone() }
}

fn sequential(solve: &SolveConfig) -> SolveConfig {
    if solve.is_sequential() { solve.clone() } else { SolveConfig::sequential() }
}

#[cfg(test)]
mod tests {
    use braidnet_mgrit::Activations;

    use super::*;
    use crate::{MicroBatching, ScheduleKind};

    fn solve(iters: usize, relaxation: Relaxation) -> SolveConfig {
        SolveConfig { max_iters: iters, relaxation, ..SolveConfig::new(4) }
    }

    fn names(schedule: &Schedule) -> Vec<String> {
        Ladder::new(schedule).names()
    }

    #[test]
    fn all_rungs_of_a_layer_parallel_schedule() {
        let base = Schedule {
            activations: Activations::Recompute,
            ..Schedule::new(ScheduleKind::LayerParallel, solve(2, Relaxation::F), solve(1, Relaxation::F))
        };
        let ladder = Ladder::new(&base);
        assert_eq!(ladder.names(), ["base", "iterations x2", "FCF", "sequential forward", "sequential"]);
        let sequential = SolveConfig::sequential;
        let solves = [
            (solve(2, Relaxation::F), solve(1, Relaxation::F)),
            (solve(4, Relaxation::F), solve(2, Relaxation::F)),
            (solve(4, Relaxation::Fcf(1)), solve(2, Relaxation::Fcf(1))),
            (sequential(), solve(2, Relaxation::Fcf(1))),
            (sequential(), sequential()),
        ];
        for (rung, (forward, backward)) in solves.into_iter().enumerate() {
            assert_eq!(*ladder.schedule(rung), Schedule { forward, backward, ..base.clone() }, "rung {rung}");
            assert_eq!(ladder.rho_is_that_of_below(rung), rung <= 1, "rung {rung}");
        }
        assert!(ladder.schedule(99).is_exact());
    }

    #[test]
    fn equal_rungs_are_left_out() {
        let [f, fcf] = [Relaxation::F, Relaxation::Fcf(2)].map(|relaxation| solve(1, relaxation));
        let both = Schedule::layer_parallel(fcf.clone());
        assert_eq!(names(&both), ["base", "iterations x2", "sequential forward", "sequential"]);
        let mixed = |solve: &SolveConfig| Schedule::new(ScheduleKind::Mixed, f.clone(), solve.clone());
        assert_eq!(names(&mixed(&f)), ["base", "iterations x2", "FCF", "sequential"]);
        assert_eq!(names(&mixed(&fcf)), ["base", "iterations x2", "sequential"]);
        let backward = Schedule { forward: f.clone(), ..Schedule::sequential() };
        assert_eq!(names(&backward), ["base", "iterations x2", "FCF", "sequential"]);
        let one = Schedule { forward: f, ..both };
        assert_eq!(names(&one).len(), 5, "FCF in one direction only");
    }

    #[test]
    fn an_exact_schedule_is_the_only_rung() {
        let with_norms = SolveConfig { norms: true, ..SolveConfig::sequential() };
        let pipeline = Schedule { micro_batching: MicroBatching::Pipelined, ..Schedule::sequential() };
        for schedule in [Schedule::sequential(), Schedule::layer_parallel(with_norms), pipeline] {
            let ladder = Ladder::new(&schedule);
            assert_eq!((ladder.names(), ladder.schedule(0)), (vec!["base".to_owned()], &schedule));
        }
    }
}
