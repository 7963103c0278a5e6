//! Random solves.

use braidnet_grid::{Coarsening, Hierarchy, LastInterval, Partition, StepKind, TimeGrid};
use braidnet_mgrit::{
    Coarsest, Cycle, FinalSweep, Method, MgritOptions, OnNonFinite, Relaxation, TemporalNorm, Tolerance,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::problems::Scalar;

/// A network, its grid, options and the layers of every rank.
#[derive(Debug, Clone)]
pub struct Problem {
    pub problem: Scalar,
    pub grid: TimeGrid,
    pub options: MgritOptions,
    pub partition: Partition,
}

fn coarsening() -> impl Strategy<Value = Coarsening> {
    let last_interval = select(vec![LastInterval::Tail, LastInterval::Short]);
    let cfactors = prop::collection::vec(1usize..6, 1..4);
    (1usize..5, cfactors, 1usize..4, last_interval).prop_map(|(max_levels, cfactors, min_coarse, last_interval)| {
        Coarsening { max_levels, cfactors, min_coarse, last_interval }
    })
}

fn cycle() -> impl Strategy<Value = Cycle> {
    let f_cycles = (1usize..3, select(vec![None, Some(0), Some(1), Some(2)]));
    prop_oneof![Just(Cycle::V), f_cycles.prop_map(|(v_cycles, iterations)| Cycle::F { v_cycles, iterations })]
}

fn norms() -> impl Strategy<Value = (Option<TemporalNorm>, Option<Tolerance>)> {
    let norm = select(vec![TemporalNorm::One, TemporalNorm::Two, TemporalNorm::Max]);
    let tolerance = select(vec![
        None,
        Some(Tolerance::Absolute(-1.0)),
        Some(Tolerance::Absolute(3e-3)),
        Some(Tolerance::Relative(0.1)),
    ]);
    prop_oneof![1 => Just((None, None)), 4 => (norm, tolerance).prop_map(|(n, t)| (Some(n), t))]
}

/// Options of every kind; tolerances and the relaxed coarsest level are left to chance as well.
pub fn options() -> impl Strategy<Value = MgritOptions> {
    let relaxation = prop::collection::vec((0usize..3).prop_map(Relaxation::Fcf), 1..4);
    let c_weights = prop::collection::vec(select(vec![1.0, 0.7, 1.3]), 1..3);
    let coarsest =
        prop_oneof![3 => Just(Coarsest::Solve), 1 => (0usize..3).prop_map(|n| Coarsest::Relax { fc_sweeps: n })];
    let final_sweep = select(vec![FinalSweep::F, FinalSweep::Fc]);
    let lists = (coarsening(), relaxation, c_weights);
    (lists, cycle(), any::<bool>(), coarsest, final_sweep, 1usize..5, norms()).prop_map(
        |((coarsening, relaxation, c_weights), cycle, skip_downcycle, coarsest, final_sweep, max_iters, norms)| {
            let (norm, tolerance) = norms;
            MgritOptions {
                method: Method::Multigrid,
                coarsening,
                relaxation,
                c_weights,
                cycle,
                skip_downcycle,
                coarsest,
                final_sweep,
                max_iters,
                tolerance,
                norm,
                on_non_finite: OnNonFinite::Fail,
            }
        },
    )
}

/// One layer: its parameters, length, cost, and whether it may be a transition.
type Layer = ((f64, f64), f64, f64, bool);

fn layer() -> impl Strategy<Value = Layer> {
    let parameters = (-1.5f64..1.5, -1.0f64..1.0);
    (parameters, 0.05f64..0.4, 0.5f64..4.0, prop::bool::weighted(0.15))
}

/// Networks of up to 40 layers, with transitions or with steps of different lengths, on up to 4 ranks.
pub fn problem() -> impl Strategy<Value = Problem> {
    let layers = prop::collection::vec(layer(), 1..41);
    (layers, options(), 1usize..5, any::<[bool; 3]>()).prop_map(|(layers, mut options, ranks, flags)| {
        let [has_transitions, has_own_residual, is_even] = flags;
        let n = layers.len();
        let kind = |l: &Layer| if has_transitions && l.3 { StepKind::Transition } else { StepKind::Ode };
        let kinds: Vec<StepKind> = layers.iter().map(kind).collect();
        let mut times = vec![0.0];
        times.extend(layers.iter().scan(0.0, |t, layer| {
            *t += layer.1;
            Some(*t)
        }));
        let grid = if has_transitions { TimeGrid::from_kinds(&kinds, 0.2) } else { TimeGrid::from_times(times) };
        let grid = grid.unwrap();
        if Hierarchy::new(&grid, &options.coarsening).unwrap().n_levels() == 1 {
            // One level is the sequential solve.
            options.coarsest = Coarsest::Solve;
        }
        let costs: Vec<f64> = layers.iter().map(|l| l.2).collect();
        let ranks = ranks.min(n);
        let partition = if is_even { Partition::even(n, ranks) } else { Partition::by_cost(&costs, ranks) };
        let problem = Scalar { parameters: layers.iter().map(|l| l.0).collect(), kinds, has_own_residual };
        Problem { problem, grid, options, partition: partition.unwrap() }
    })
}
