//! Forward solves.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Transfer};
use braidnet_grid::{Coarsening, LastInterval, Partition, Step, StepKind, TimeGrid};
use braidnet_mgrit::model::{Dahlquist, Heat, Method, Resnet};
use braidnet_mgrit::{
    Coarsest, Cycle, FinalSweep, MgritOptions, Propagator, Relaxation, ResidualForm, StepError, TemporalNorm,
};

use crate::common::problems::Scalar;
use crate::common::run::on;
use crate::common::{deviation, v_cycles};
use crate::{Checked, bits, even, one_rank, same, text};

pub const TESTS: &[RankTest] = &[
    ("runs_across_borders", runs_across_borders),
    ("ranks_without_coarse_points", ranks_without_coarse_points),
    ("uneven_partitions", uneven_partitions),
    ("tails_across_ranks", tails_across_ranks),
    ("transitions", transitions),
    ("vectors_coarsened_in_space", vectors_coarsened_in_space),
    ("batches_of_any_size", batches_of_any_size),
];

/// That the ranks of `comm` find the bits that one rank finds, with the same work.
pub fn same_as_alone<P: Propagator>(
    comm: &Communicator,
    setup: (&TimeGrid, &Partition, &MgritOptions),
    problem: &P,
    initial: &P::State,
    guess: &dyn Fn(usize) -> P::State,
) -> Checked {
    let (grid, _, options) = setup;
    let single = one_rank(grid.n_steps());
    let expected =
        on(&Communicator::alone(), (grid, &single, options), problem, initial.clone(), guess).map_err(text)?;
    let got = on(comm, setup, problem, initial.clone(), guess).map_err(text)?;
    for (k, state) in got.states.iter().enumerate() {
        let n = got.first + k;
        same(&format!("bits of point {n} with {options:?}"), bits(state), bits(&expected.states[n]))?;
    }
    same("points", comm.all_gather(got.states.len(), &()).map_err(text)?.iter().sum(), grid.n_steps() + 1)?;
    same("evaluations", &got.report.evaluations, &expected.report.evaluations)?;
    same("iterations", got.report.residuals.len(), expected.report.residuals.len())?;
    for (got, expected) in got.report.residuals.iter().zip(&expected.report.residuals) {
        same("a norm", got.is_some(), expected.is_some())?;
        let (got, expected) = (got.unwrap_or(0.0), expected.unwrap_or(0.0));
        if deviation(expected, got) > 1e-13 {
            return Err(format!("residual norm {got}, expected {expected} with {options:?}"));
        }
    }
    Ok(())
}

/// Cycles, relaxations and final sweeps in all the ways that send different messages.
fn variants(coarsening: &Coarsening) -> Vec<MgritOptions> {
    let v = MgritOptions { coarsening: coarsening.clone(), ..v_cycles(2, 2, 0, 2) };
    let fcf = MgritOptions { relaxation: vec![Relaxation::Fcf(1)], ..v.clone() };
    let cycle = Cycle::F { v_cycles: 1, iterations: None };
    let relaxation = vec![Relaxation::F, Relaxation::Fcf(2)];
    let norm = Some(TemporalNorm::One);
    vec![
        MgritOptions { skip_downcycle: true, ..v.clone() },
        MgritOptions { final_sweep: FinalSweep::Fc, c_weights: vec![1.3], ..fcf.clone() },
        MgritOptions { cycle, relaxation, norm, ..v.clone() },
        MgritOptions { cycle, skip_downcycle: true, ..fcf.clone() },
        MgritOptions { coarsest: Coarsest::Relax { fc_sweeps: 1 }, norm: None, ..fcf },
        v,
    ]
}

fn guess(n: usize) -> f64 {
    0.3 + 0.1 * (n as f64).sin()
}

fn scalar_on(comm: &Communicator, problem: &Scalar, partition: &Partition, coarsening: &Coarsening) -> Checked {
    for options in variants(coarsening) {
        for has_own_residual in [false, true] {
            let problem = Scalar { has_own_residual, ..problem.clone() };
            same_as_alone(comm, (&problem.grid(0.2), partition, &options), &problem, &0.5, &guess)?;
        }
    }
    Ok(())
}

fn coarsening(max_levels: usize, cfactors: &[usize], last_interval: LastInterval) -> Coarsening {
    Coarsening { max_levels, cfactors: cfactors.to_vec(), min_coarse: 1, last_interval }
}

/// Grids whose coarse steps run across the ends of the blocks, with short last intervals.
fn runs_across_borders(comm: &Communicator) -> Checked {
    for (n, factors) in [(8, vec![4]), (16, vec![4, 2]), (23, vec![3]), (30, vec![7, 2]), (12, vec![1, 5])] {
        let Some(partition) = even(n, comm) else { continue };
        scalar_on(comm, &Scalar::generic(n), &partition, &coarsening(4, &factors, LastInterval::Short))?;
    }
    Ok(())
}

/// Fewer coarse steps than ranks: 8 layers with factor 4 have 2, 5 with factor 2 have 3 and 2, 7 with factor 7 have 1.
fn ranks_without_coarse_points(comm: &Communicator) -> Checked {
    for (n, factors) in [(8, vec![4]), (5, vec![2]), (7, vec![7]), (4, vec![2]), (4, vec![4])] {
        let Some(partition) = even(n, comm) else { continue };
        for rule in [LastInterval::Short, LastInterval::Tail] {
            scalar_on(comm, &Scalar::generic(n), &partition, &coarsening(3, &factors, rule))?;
        }
    }
    Ok(())
}

fn uneven_partitions(comm: &Communicator) -> Checked {
    let n = 21;
    for heavy in [0, 4, 20] {
        let costs: Vec<f64> = (0..n).map(|k| if k == heavy { 30.0 } else { 1.0 }).collect();
        let Ok(partition) = Partition::by_cost(&costs, comm.size()) else { continue };
        for factors in [vec![4], vec![2]] {
            scalar_on(comm, &Scalar::generic(n), &partition, &coarsening(3, &factors, LastInterval::Short))?;
        }
    }
    Ok(())
}

/// A tail that begins on one rank and ends on another, on the finest level or below.
fn tails_across_ranks(comm: &Communicator) -> Checked {
    for (n, factors) in [(11, vec![8]), (15, vec![8, 2]), (23, vec![4, 3]), (9, vec![5])] {
        let Some(partition) = even(n, comm) else { continue };
        scalar_on(comm, &Scalar::generic(n), &partition, &coarsening(3, &factors, LastInterval::Tail))?;
    }
    Ok(())
}

fn transitions(comm: &Communicator) -> Checked {
    for pattern in ["oooootoooottooot", "tooooo", "ooot", "ototototo"] {
        let kind = |c| if c == 't' { StepKind::Transition } else { StepKind::Ode };
        let kinds: Vec<StepKind> = pattern.chars().map(kind).collect();
        let Some(partition) = even(kinds.len(), comm) else { continue };
        let problem = Scalar { kinds, ..Scalar::generic(pattern.len()) };
        scalar_on(comm, &problem, &partition, &coarsening(3, &[3], LastInterval::Short))?;
        scalar_on(comm, &problem, &partition, &coarsening(3, &[2], LastInterval::Tail))?;
    }
    Ok(())
}

fn vectors_coarsened_in_space(comm: &Communicator) -> Checked {
    let Some(partition) = even(19, comm) else { return Ok(()) };
    let grid = TimeGrid::uniform(19, 0.0, 2.0).map_err(text)?;
    for options in variants(&coarsening(3, &[3, 2], LastInterval::Short)) {
        for residual in [ResidualForm::OneStep, ResidualForm::Own] {
            let heat = Heat::new(17, true, residual, true);
            same_as_alone(comm, (&grid, &partition, &options), &heat, &heat.initial(), &|_| heat.initial())?;
        }
        let resnet = Resnet { n: 3 };
        same_as_alone(comm, (&grid, &partition, &options), &resnet, &resnet.initial(), &|_| resnet.initial())?;
    }
    Ok(())
}

/// A problem that takes batches of another size, and refuses larger ones.
struct Batched<P> {
    inner: P,
    batch: usize,
}

impl<P: Propagator> Propagator for Batched<P> {
    type State = P::State;

    fn step(&self, steps: &[Step], states: &mut [P::State]) -> Result<(), StepError> {
        if steps.is_empty() || steps.len() > self.batch || steps.len() != states.len() {
            return Err(format!("{} steps for {} states, batch {}", steps.len(), states.len(), self.batch).into());
        }
        self.inner.step(steps, states)
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn context(&self) -> <P::State as Transfer>::Context {
        self.inner.context()
    }

    fn residual_form(&self) -> ResidualForm {
        self.inner.residual_form()
    }
}

fn batches_of_any_size(comm: &Communicator) -> Checked {
    let Some(partition) = even(45, comm) else { return Ok(()) };
    let grid = TimeGrid::uniform(45, 0.0, 20.0).map_err(text)?;
    let (lambda, method) = (-1.0, Method::BackwardEuler);
    let inner = Dahlquist { lambda, method, residual: ResidualForm::OneStep };
    for options in variants(&coarsening(3, &[4, 2], LastInterval::Tail)) {
        let reference = Batched { inner, batch: 1 };
        let alone = (&grid, &one_rank(45), &options);
        let expected = on(&Communicator::alone(), alone, &reference, 1.0, &guess).map_err(text)?;
        for batch in [1, 2, 7, 1000] {
            let problem = Batched { inner, batch };
            same_as_alone(comm, (&grid, &partition, &options), &problem, &1.0, &guess)?;
            let got = on(comm, (&grid, &partition, &options), &problem, 1.0, &guess).map_err(text)?;
            for (k, state) in got.states.iter().enumerate() {
                same(&format!("batch {batch}"), bits(state), bits(&expected.states[got.first + k]))?;
            }
        }
    }
    Ok(())
}
