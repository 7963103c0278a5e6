//! A solve and its adjoint, with layers side by side or not.

use std::collections::BTreeMap;

use braidnet_comm::{Communicator, Launch, launch};
use braidnet_grid::{Coarsening, Hierarchy, Partition, TimeGrid};
use braidnet_mgrit::{
    FinalSweep, Guess, Mgrit, MgritError, MgritOptions, Relaxation, SolveReport, Sources, State, checkpoints,
    solve_adjoint,
};
use braidnet_nn::{ByPoint, CoarseOperator, Gradients, Network, Pass};
use burn::module::ParamId;
use proptest::prelude::*;

use crate::*;

/// What is varied in a solve, whatever the network.
#[derive(Debug, Clone)]
pub struct Setup {
    pub coarse: CoarseOperator,
    pub layers: usize,
    pub buffer: usize,
    pub dtype: DType,
    options: MgritOptions,
    ranks: usize,
    /// Rank borders lie between coarse steps.
    whole_runs: bool,
    recompute: bool,
    has_sources: bool,
}

impl Setup {
    fn partition(&self, grid: &TimeGrid) -> Partition {
        let n = grid.n_steps();
        if !self.whole_runs && !self.coarse.needs_whole_runs() {
            return Partition::even(n, self.ranks).unwrap();
        }
        let starts = Hierarchy::new(grid, &self.options.coarsening).unwrap().coarsest_starts();
        let ranks = self.ranks.min(starts.len());
        let borders = (0..ranks).map(|rank| starts[rank * starts.len() / ranks]);
        Partition::from_borders(borders.chain([n])).unwrap()
    }
}

fn options() -> impl Strategy<Value = MgritOptions> {
    let relaxation = prop_oneof![Just(Relaxation::F), Just(Relaxation::Fcf(1))];
    let grids = (2usize..4, prop_oneof![Just(2usize), Just(4)]);
    let last = prop::sample::select(vec![FinalSweep::F, FinalSweep::Fc, FinalSweep::Joined]);
    (grids, 1usize..3, relaxation, last, any::<bool>()).prop_map(
        |((levels, cfactor), iterations, relaxation, final_sweep, skip_downcycle)| MgritOptions {
            relaxation: vec![relaxation, Relaxation::Fcf(1)],
            final_sweep,
            skip_downcycle,
            ..MgritOptions::network(Coarsening::network(levels, cfactor), iterations)
        },
    )
}

/// Solves by networks with such coarse operators.
pub fn setups(operators: &'static [CoarseOperator]) -> impl Strategy<Value = Setup> {
    let precision = prop_oneof![Just(DType::F64), Just(DType::F32)];
    let sizes = (prop_oneof![Just(8usize), Just(11), Just(16), Just(19)], 0usize..2, 1usize..4);
    let whether = (any::<bool>(), prop::bool::weighted(0.2), any::<bool>());
    (prop::sample::select(operators), sizes, precision, options(), whether).prop_map(
        |(coarse, (layers, buffer, ranks), dtype, options, (whole_runs, recompute, has_sources))| Setup {
            coarse,
            layers: layers + 2 * buffer,
            buffer,
            dtype,
            options,
            ranks,
            whole_runs,
            recompute,
            has_sources,
        },
    )
}

/// What a solve and its adjoint end with.
#[derive(Default)]
struct Found {
    /// By point.
    states: BTreeMap<usize, Vec<Tensor<1>>>,
    /// Of the layers before and behind those that the solver counts.
    ends: Vec<Gradients>,
    /// By layer.
    gradients: BTreeMap<usize, Gradients>,
    reports: Vec<SolveReport>,
}

struct On<'a> {
    grid: &'a TimeGrid,
    setup: &'a Setup,
    pass: Pass,
    comm: &'a Communicator,
}

impl On<'_> {
    fn solver<S: State>(&self) -> Result<[Mgrit<S>; 2], MgritError> {
        let (partition, options) = (self.setup.partition(self.grid), || self.setup.options.clone());
        let mut forward = Mgrit::new(self.grid, &partition, options(), self.comm)?;
        let mut adjoint = Mgrit::reversed(self.grid, &partition, options(), self.comm)?;
        if self.setup.recompute {
            forward.keep_only(checkpoints(&forward, &adjoint));
            adjoint.keep_only(Vec::new());
        }
        Ok([forward, adjoint])
    }

    fn states<S: State + Parts>(&self, solver: &Mgrit<S>) -> BTreeMap<usize, S> {
        let points = (0..=self.grid.n_steps()).filter(|point| solver.keeps(*point));
        points.filter_map(|point| Some((point, solver.state(point)?.clone()))).collect()
    }

    /// Forward alone where the pass is an evaluation.
    fn solve<N: Network<State: Parts>>(&self, network: &N, input: &N::Input) -> Result<Found, MgritError> {
        let batch = network.batch(input, self.pass);
        let block = network.block(&batch);
        let [mut forward, mut adjoint] = self.solver()?;
        forward.check(|step| network.supports(step))?;
        let zeros: ByPoint<N::State> = network.zero_states(&batch).map(|zero| zero.cast(self.setup.dtype));
        let n = self.grid.n_steps();
        let guess = |point: usize| zeros.at(point).clone();
        let first = (self.comm.rank() == 0).then(|| network.open(input, &batch)).flatten();
        if !self.pass.is_training() {
            let report = forward.solve(&block, first, Guess::From(&guess))?;
            let states = self.states(&forward).iter().map(|(point, state)| (*point, state.parts())).collect();
            return Ok(Found { states, reports: vec![report], ..Found::default() });
        }
        let (report, linearized) = forward.solve_linearized(&block, first, Guess::From(&guess))?;
        let mut found = Found { reports: vec![report], ..Found::default() };
        let states = self.states(&forward);
        found.states = states.iter().map(|(point, state)| (*point, state.parts())).collect();
        let loss = |output: Tensor<2>| (output.clone() * output).sum();
        let closed = forward.last_state().and_then(|end| network.close_recorded(end, &batch, loss).unwrap());
        let (end, gradients) = closed.map(|closed| (closed.lambda, closed.gradients)).unzip();
        found.ends.extend(gradients);
        let sources = states.into_iter().filter(|(point, _)| self.setup.has_sources && *point % 3 == 1 && *point < n);
        let guess = |point: usize| zeros.at(n - point).clone();
        let (report, gradients) =
            solve_adjoint(&mut adjoint, &block, &forward, linearized, end, Sources::new(sources), Guess::From(&guess))?;
        found.reports.push(report);
        found.gradients = gradients.into_iter().map(|of| (of.layer, of.gradients)).collect();
        if let (Some(lambda), true) = (adjoint.last_state(), self.comm.rank() == 0) {
            found.states.insert(n + 1, lambda.parts());
            let (_, pull_back) = network.open_recorded(input, &batch).unwrap();
            found.ends.push(pull_back(lambda.clone()).unwrap());
        }
        Ok(found)
    }
}

fn solved<N>(network: &N, input: &N::Input, grid: &TimeGrid, setup: &Setup, pass: Pass) -> Found
where
    N: Network<State: Parts, Input: Sync> + Sync,
{
    let ranks = setup.partition(grid).n_ranks();
    let on_rank = |comm: Communicator| On { grid, setup, pass, comm: &comm }.solve(network, input);
    let mut all = Found::default();
    for found in launch(&Launch::ranks(ranks), on_rank).unwrap() {
        all.states.extend(found.states);
        all.ends.extend(found.ends);
        all.gradients.extend(found.gradients);
        all.reports.extend(found.reports);
    }
    all
}

/// Lists of numbers, and what they are.
fn numbers(found: &Found) -> Vec<(String, Vec<Tensor<1>>)> {
    let states = found.states.iter().map(|(point, parts)| (format!("state {point}"), parts.clone()));
    // One list for all layers, as one that hardly matters has the rounding of the others.
    let layers: Gradients = found.gradients.values().flatten().cloned().collect();
    let lists = found.ends.iter().chain([&layers]).flat_map(|all| {
        [false, true].map(|statistics| {
            let own = all.iter().filter(|gradient| gradient.is_statistic == statistics);
            (format!("gradients, statistics: {statistics}"), own.map(|gradient| gradient.values.clone()).collect())
        })
    });
    states.chain(lists).collect()
}

/// Which parameters and statistics have gradients, by place.
fn marks(found: &Found) -> Vec<Vec<(ParamId, bool)>> {
    let mark = |all: &Gradients| all.iter().map(|gradient| (gradient.id, gradient.is_statistic)).collect();
    found.ends.iter().chain(found.gradients.values()).map(mark).collect()
}

/// What single precision may make of round-off, relative: several times of what it is for layers alone.
fn tolerance(alone: &Found, exact: &Found) -> f64 {
    let pairs = numbers(alone).into_iter().zip(numbers(exact));
    let rounding = pairs.flat_map(|((_, alone), (_, exact))| distances(&alone, &exact)).fold(0.0, f64::max);
    (4.0 * rounding).max(1e-5)
}

/// That nothing depends on whether layers are side by side, but for rounding.
pub fn agree<N>(network: N, input: impl Fn(DType) -> N::Input, grid: &TimeGrid, setup: &Setup, pass: Pass)
where
    N: Network<State: Parts, Input: Sync> + Sync,
{
    let solved = |stacked: bool, dtype: DType| {
        let network = drawn(network.clone(), dtype).stacked(stacked);
        solved(&network, &input(dtype), grid, &Setup { dtype, ..setup.clone() }, pass)
    };
    let (alone, found) = (solved(false, setup.dtype), solved(true, setup.dtype));
    let tolerance = match setup.dtype {
        DType::F64 => 1e-10,
        _ => tolerance(&alone, &solved(false, DType::F64)),
    };
    compare(&found, &alone, tolerance, &format!("{setup:?}"));
    if pass.is_training() {
        assert_eq!(alone.gradients.len(), grid.n_steps());
        assert!(alone.gradients.values().all(|gradients| !gradients.is_empty()));
    }
}

/// That nothing depends on it at all.
pub fn agree_to_the_bit<N>(network: N, input: &N::Input, grid: &TimeGrid, setup: &Setup)
where
    N: Network<State: Parts, Input: Sync> + Sync,
{
    let network = drawn(network, setup.dtype);
    let solved = |stacked| solved(&network.clone().stacked(stacked), input, grid, setup, Pass::Training(None));
    compare(&solved(true), &solved(false), 0.0, &format!("{setup:?}"));
}

fn compare(found: &Found, alone: &Found, tolerance: f64, what: &str) {
    assert!(found.states.keys().eq(alone.states.keys()) && found.gradients.keys().eq(alone.gradients.keys()));
    assert_eq!(marks(found), marks(alone), "{what}");
    for ((place, found), (_, alone)) in numbers(found).iter().zip(numbers(alone)) {
        close(found, &alone, tolerance, &format!("{place}, {what}"));
    }
    for (found, alone) in found.reports.iter().zip(&alone.reports) {
        assert_eq!((&found.evaluations, found.messages), (&alone.evaluations, alone.messages), "{what}");
    }
}
