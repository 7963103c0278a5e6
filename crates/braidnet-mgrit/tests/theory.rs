//! What the theory of MGRIT says about the solver: fixed point, finite termination, the two-level error propagator.
#![allow(clippy::unwrap_used, clippy::expect_used)] // What helpers run into fails their test.

mod common;

use braidnet_comm::Communicator;
use braidnet_grid::{Hierarchy, Partition, TimeGrid};
use braidnet_mgrit::model::{Dahlquist, Heat, Logistic, Method, Resnet};
use braidnet_mgrit::{
    Cycle, Guess, Mgrit, MgritOptions, Propagator, Relaxation, ResidualForm, State, Stop, TemporalNorm, Tolerance,
    sequential,
};
use proptest::prelude::*;

use common::problems::Scalar;
use common::random;
use common::run::{alone, on, on_threads};
use common::v_cycles;

fn oracle<P: Propagator>(problem: &P, grid: &TimeGrid, initial: P::State) -> Vec<P::State> {
    let hierarchy = Hierarchy::new(grid, &braidnet_grid::Coarsening::none()).unwrap();
    sequential(problem, &hierarchy, initial).unwrap()
}

/// Largest distance of two lists of states.
fn distance<S: State>(a: &[S], b: &[S]) -> f64 {
    assert_eq!(a.len(), b.len());
    let apart = a.iter().zip(b).map(|(a, b)| {
        let mut d = a.clone();
        d.axpy(-1.0, b);
        d.norm_squared().sqrt()
    });
    apart.fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Coarse steps are long enough here that some iterations diverge and amplify even rounding, by up to 1e8. How
    /// much, a disturbed start tells: what the solution moves by may only be that much rounding.
    #[test]
    fn the_sequential_solution_is_a_fixed_point(case in random::problem()) {
        let random::Problem { problem, grid, options, partition } = case;
        let options = MgritOptions { skip_downcycle: false, ..options };
        let exact = oracle(&problem, &grid, 0.5);
        let moved_from = |start: &(dyn Fn(usize) -> f64 + Sync)| {
            let solved = on_threads((&grid, &partition, &options), &problem, &0.5, start);
            solved.report.residuals.iter().flatten().fold(distance(&solved.states, &exact), |a, r| a.max(*r))
        };
        let disturbance = 1e-7;
        let disturbed = |n: usize| if n > 0 { exact[n] + disturbance * (0.7 * (n * n) as f64).cos() } else { exact[n] };
        let amplification = (moved_from(&disturbed) / disturbance).max(1.0);
        prop_assert!(moved_from(&|n| exact[n]) < 5000.0 * f64::EPSILON * amplification);
    }
}

#[test]
fn a_warm_start_from_the_solution_stays_there() {
    let problem = Heat::new(17, true, ResidualForm::OneStep, true);
    let grid = TimeGrid::uniform(32, 0.0, 2.0).unwrap();
    let options = MgritOptions { tolerance: Some(Tolerance::Absolute(1e-13)), ..v_cycles(3, 2, 1, 40) };
    let partition = Partition::even(32, 1).unwrap();
    let mut solver = Mgrit::new(&grid, &partition, options, &Communicator::alone()).unwrap();
    let zero = problem.initial().0 * 0.0;
    let guess = |_| braidnet_mgrit::model::Vector(zero.clone());
    let cold = solver.solve(&problem, Some(problem.initial()), Guess::From(&guess)).unwrap();
    assert!(cold.iterations > 3);
    let warm = solver.solve(&problem, Some(problem.initial()), Guess::Warm).unwrap();
    assert_eq!(warm.iterations, 1);
    assert!(warm.residuals[0].unwrap() < 1e-13, "{warm:?}");
}

/// Largest error after `iterations` two-level iterations on `n_c` intervals of 3 generic layers.
fn error_after(n_c: usize, fc_sweeps: usize, iterations: usize) -> f64 {
    let problem = Scalar::generic(3 * n_c);
    let grid = problem.grid(0.5);
    let solved = alone(&grid, &v_cycles(2, 3, fc_sweeps, iterations), &problem, 1.0, 0.0);
    distance(&solved.states, &oracle(&problem, &grid, 1.0))
}

#[test]
fn exact_after_as_many_iterations_as_intervals_and_not_before() {
    for n_c in [2usize, 3, 4, 5] {
        for (fc_sweeps, needed) in [(0, n_c), (1, n_c.div_ceil(2)), (2, n_c.div_ceil(3))] {
            let after = error_after(n_c, fc_sweeps, needed);
            assert!(after < 1e-13, "{n_c} intervals, {fc_sweeps} FC sweeps: {after} after {needed} iterations");
            if needed > 1 {
                let before = error_after(n_c, fc_sweeps, needed - 1);
                assert!(before > 1e-7, "{n_c} intervals, {fc_sweeps} FC sweeps: {before} before iteration {needed}");
            }
        }
    }
}

/// Entry `[i][j]`: error of C-point `i + 1` after one iteration from an error of 1 at C-point `j + 1`.
fn error_propagator(problem: &Dahlquist, n_c: usize, m: usize, fc_sweeps: usize) -> Vec<Vec<f64>> {
    let grid = TimeGrid::uniform(n_c * m, 0.0, 0.3 * (n_c * m) as f64).unwrap();
    let partition = Partition::even(n_c * m, 1).unwrap();
    let options = v_cycles(2, m, fc_sweeps, 1);
    let columns: Vec<_> = (1..=n_c)
        .map(|j| {
            let unit = |n: usize| if n == j * m { 1.0 } else { 0.0 };
            on(&Communicator::alone(), (&grid, &partition, &options), problem, 0.0, &unit).unwrap().states
        })
        .collect();
    (1..=n_c).map(|i| columns.iter().map(|column| column[i * m]).collect()).collect()
}

#[test]
fn the_two_level_error_propagator_entry_by_entry() {
    let (n_c, m) = (7, 3);
    for (lambda, method) in [(-1.0, Method::BackwardEuler), (-0.7, Method::CrankNicolson), (0.2, Method::ForwardEuler)]
    {
        let problem = Dahlquist { lambda, method, residual: ResidualForm::OneStep };
        let (phi, mu) = (problem.factor(0.3), problem.factor(0.3 * m as f64));
        let phi_m = phi.powi(m as i32);
        for nu in [0, 1, 2] {
            let e = error_propagator(&problem, n_c, m, nu);
            for (i, row) in e.iter().enumerate() {
                for (j, entry) in row.iter().enumerate() {
                    let power = i as i32 - j as i32 - 1 - nu as i32;
                    let below = phi_m.powi(nu as i32) * (phi_m - mu) * mu.powi(power.max(0));
                    let expected = if power >= 0 { below } else { 0.0 };
                    assert!((entry - expected).abs() < 1e-14, "E[{i}][{j}] = {entry}, expected {expected}, nu {nu}");
                }
            }
            let norm = e.iter().map(|row| row.iter().map(|e| e.abs()).sum()).fold(0.0, f64::max);
            let geometric = (1.0 - mu.abs().powi((n_c - 1 - nu) as i32)) / (1.0 - mu.abs());
            let bound = phi.abs().powi((nu * m) as i32) * (phi_m - mu).abs() * geometric;
            assert!((norm - bound).abs() < 1e-13, "norm {norm}, bound {bound}");
        }
    }
}

/// `U_(j+1) <- G(U_j new) + F(U_j old) - G(U_j old)`, started from the coarse solution.
fn parareal(problem: &Scalar, dt: f64, n_c: usize, m: usize, iterations: usize) -> Vec<f64> {
    let coarse = |j: usize, u: f64| problem.phi(j * m, dt * m as f64, u);
    let fine = |j: usize, u: f64| (j * m..(j + 1) * m).fold(u, |u, layer| problem.phi(layer, dt, u));
    let mut u = vec![1.0];
    for j in 0..n_c {
        u.push(coarse(j, u[j]));
    }
    for _ in 0..iterations {
        let old = u.clone();
        for j in 0..n_c {
            u[j + 1] = coarse(j, u[j]) + fine(j, old[j]) - coarse(j, old[j]);
        }
    }
    u
}

#[test]
fn two_levels_with_f_relaxation_are_parareal() {
    let (n_c, m, dt) = (8, 4, 0.125);
    let problem = Scalar::generic(n_c * m);
    for iterations in 0..n_c {
        let options = MgritOptions { skip_downcycle: true, ..v_cycles(2, m, 0, iterations + 1) };
        let solved = alone(&problem.grid(dt), &options, &problem, 1.0, 0.7);
        let expected = parareal(&problem, dt, n_c, m, iterations);
        let got: Vec<f64> = solved.states.iter().step_by(m).copied().collect();
        assert!(distance(&got, &expected) < 1e-13, "{iterations} iterations: {got:?}, expected {expected:?}");
    }
}

#[test]
fn one_level_is_the_sequential_solve_to_the_bit() {
    for n in 1..=4 {
        let problem = Resnet { n: 5 };
        let grid = TimeGrid::uniform(11, 0.0, 3.0).unwrap();
        let setup = (&grid, &Partition::even(11, n).unwrap(), &MgritOptions::sequential());
        let solved = on_threads(setup, &problem, &problem.initial(), &|_| problem.initial());
        assert_eq!(solved.states, oracle(&problem, &grid, problem.initial()));
        assert_eq!(solved.report.evaluations, [11]);
        assert_eq!(solved.report.messages, n as u64 - 1);
    }
}

/// An iteration that finds the exact residual 0 does not undercut a tolerance of 0.
#[test]
fn a_tolerance_must_be_undercut() {
    let problem = Scalar::generic(24);
    let grid = problem.grid(0.2);
    let exact = oracle(&problem, &grid, 1.0);
    let single = Partition::even(24, 1).unwrap();
    for (tolerance, iterations, stop) in [(0.0, 3, Stop::MaxIters), (1e-300, 1, Stop::Converged)] {
        let options = MgritOptions { tolerance: Some(Tolerance::Absolute(tolerance)), ..v_cycles(2, 3, 0, 3) };
        let solved = on(&Communicator::alone(), (&grid, &single, &options), &problem, 1.0, &|n| exact[n]).unwrap();
        assert_eq!(solved.report.residuals[0], Some(0.0));
        assert_eq!((solved.report.iterations, solved.report.stop), (iterations, stop));
    }
}

/// Stops in the first iteration that leaves more than the given part of the residual, for instance at round-off.
#[test]
fn stagnation_ends_the_iteration() {
    let problem = Scalar::generic(64);
    let grid = problem.grid(0.2);
    for (part, skip_downcycle) in [(0.9, false), (0.9, true), (1e-4, false), (1e-4, true)] {
        let tolerance = Some(Tolerance::Stagnation(part));
        let options = MgritOptions { tolerance, skip_downcycle, ..v_cycles(3, 2, 1, 60) };
        let report = alone(&grid, &options, &problem, 1.0, 0.0).report;
        let norms: Vec<f64> = report.residuals.iter().flatten().copied().collect();
        let stagnates: Vec<bool> = norms.windows(2).map(|pair| pair[1] > part * pair[0]).collect();
        let (last, before) = stagnates.split_last().unwrap();
        assert!(before.iter().all(|stagnates| !stagnates), "{norms:?}");
        if part < 0.5 {
            assert_eq!((report.stop, *last, norms.len()), (Stop::Stagnated, true, 2), "{norms:?}");
        } else {
            let end = norms[norms.len() - 1];
            assert!(norms.len() > 4 && end < 1e-14, "{norms:?}");
            let expected = if end == 0.0 { Stop::Converged } else { Stop::Stagnated };
            assert_eq!((report.stop, *last), (expected, end != 0.0), "{norms:?}");
        }
    }
}

/// Solves to a tolerance far below the error of a few iterations.
fn converges<P: Propagator + Sync>(problem: &P, initial: &P::State, options: &MgritOptions)
where
    P::State: Sync,
{
    let grid = TimeGrid::uniform(60, 0.0, 4.0).unwrap();
    let tolerance = Some(Tolerance::Absolute(1e-12));
    let options = MgritOptions { max_iters: 60, tolerance, norm: Some(TemporalNorm::Max), ..options.clone() };
    let setup = (&grid, &Partition::even(60, 3).unwrap(), &options);
    let solved = on_threads(setup, problem, initial, &|_| initial.clone());
    assert!((2..40).contains(&solved.report.iterations), "{} iterations", solved.report.iterations);
    let error = distance(&solved.states, &oracle(problem, &grid, initial.clone()));
    assert!(error < 1e-10, "error {error} with {options:?}");
}

#[test]
fn many_levels_within_tolerance() {
    let network = MgritOptions::network(braidnet_grid::Coarsening::network(3, 4), 1);
    let f_cycles = Cycle::F { v_cycles: 1, iterations: None };
    for options in [
        v_cycles(4, 2, 1, 1),
        MgritOptions { cycle: f_cycles, ..v_cycles(4, 2, 0, 1) },
        MgritOptions {
            relaxation: vec![Relaxation::F, Relaxation::Fcf(2)],
            c_weights: vec![1.2],
            ..v_cycles(3, 4, 1, 1)
        },
        network,
    ] {
        let resnet = Resnet { n: 4 };
        converges(&resnet, &resnet.initial(), &options);
        converges(&Logistic, &0.1, &options);
        for residual in [ResidualForm::OneStep, ResidualForm::Own] {
            let heat = Heat::new(17, true, residual, false);
            converges(&heat, &heat.initial(), &options);
        }
    }
}
