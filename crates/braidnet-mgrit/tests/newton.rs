//! Newton's method: exact where it must be, tame where the Jacobians expand, and the same adjoint.
#![allow(clippy::unwrap_used, clippy::expect_used)] // What helpers run into fails their test.

mod common;

use std::sync::mpsc;
use std::time::Duration;

use braidnet_comm::{Communicator, Launch, launch};
use braidnet_grid::{Coarsening, Partition, Step, TimeGrid};
use braidnet_mgrit::model::{Dahlquist, Logistic, Method as OneStep, Resnet};
use braidnet_mgrit::{
    FinalSweep, Guess, Method, Mgrit, MgritError, MgritOptions, OnNonFinite, Propagator, ResidualForm, StepError, Stop,
    TemporalNorm, Tolerance,
};
use proptest::prelude::*;

use common::deviation;
use common::gradients::gradients;
use common::problems::Scalar;
use common::run::{Solved, on_threads};
use common::tunable::Tunable;

/// `u <- r u (1 - u)` of the chaotic map, whatever the length of the step; its Jacobians expand.
#[derive(Debug, Clone, Copy)]
struct Chaos {
    r: f64,
}

impl Propagator for Chaos {
    type State = f64;

    fn step(&self, _: &[Step], states: &mut [f64]) -> Result<(), StepError> {
        states.iter_mut().for_each(|u| *u = self.r * *u * (1.0 - *u));
        Ok(())
    }

    fn step_with_diagonal(&self, steps: &[Step], states: &mut [f64]) -> Result<Vec<f64>, StepError> {
        let diagonals = states.iter().map(|u| self.r * (1.0 - 2.0 * u)).collect();
        self.step(steps, states)?;
        Ok(diagonals)
    }

    fn batch(&self) -> usize {
        7
    }

    fn context(&self) {}
}

fn unit(n: usize) -> TimeGrid {
    TimeGrid::uniform(n, 0.0, 1.0).unwrap()
}

/// On threads, from the same guess at all points.
fn solve<P: Propagator<State = f64> + Sync>(
    problem: &P,
    grid: &TimeGrid,
    ranks: usize,
    options: &MgritOptions,
    [initial, guess]: [f64; 2],
) -> Solved<f64> {
    let partition = Partition::even(grid.n_steps(), ranks).unwrap();
    on_threads((grid, &partition, options), problem, &initial, &move |_| guess)
}

/// The plain loop.
fn plain<P: Propagator<State = f64>>(problem: &P, grid: &TimeGrid, initial: f64) -> Vec<f64> {
    let hierarchy = braidnet_grid::Hierarchy::new(grid, &Coarsening::none()).unwrap();
    braidnet_mgrit::sequential(problem, &hierarchy, initial).unwrap()
}

fn bits(states: &[f64]) -> Vec<u64> {
    states.iter().map(|u| u.to_bits()).collect()
}

#[test]
fn linear_scalars_take_one_iteration() {
    for method in [OneStep::BackwardEuler, OneStep::ForwardEuler, OneStep::CrankNicolson] {
        for residual in [ResidualForm::OneStep, ResidualForm::Own] {
            let problem = Dahlquist { lambda: -0.7, method, residual };
            let grid = TimeGrid::uniform(50, 0.0, 4.0).unwrap();
            let expected = plain(&problem, &grid, 1.5);
            for ranks in 1..=5 {
                let found = solve(&problem, &grid, ranks, &MgritOptions::newton(1, None), [1.5, 0.3]);
                for (got, expected) in found.states.iter().zip(&expected) {
                    assert!(deviation(*expected, *got) < 1e-14, "{got}, expected {expected}");
                }
                let report = found.report;
                assert_eq!((report.iterations, report.stop, report.rejected), (1, Stop::MaxIters, 0));
                assert!(report.residuals[0].unwrap() > 0.1 && report.residuals[1].unwrap() < 1e-14, "{report:?}");
            }
        }
    }
}

#[test]
fn nonlinear_scalars_converge_quadratically() {
    let grid = TimeGrid::uniform(64, 0.0, 6.0).unwrap();
    let expected = plain(&Logistic, &grid, 0.1);
    for ranks in [1, 3] {
        let options = MgritOptions::newton(20, Some(Tolerance::Absolute(1e-12)));
        let found = solve(&Logistic, &grid, ranks, &options, [0.1, 0.5]);
        let norms: Vec<f64> = found.report.residuals.iter().map(|norm| norm.unwrap()).collect();
        assert_eq!((found.report.stop, norms.len()), (Stop::Converged, found.report.iterations + 1));
        assert!(norms.len() <= 8 && norms.last() < Some(&1e-12), "{norms:?}");
        for pair in norms.windows(2).filter(|pair| pair[1] > 1e-12) {
            assert!(pair[1] < 0.9 * pair[0] && pair[1] < 40.0 * pair[0] * pair[0], "{norms:?}");
        }
        for (got, expected) in found.states.iter().zip(&expected) {
            assert!(deviation(*expected, *got) < 1e-11, "{got}, expected {expected}");
        }
    }
}

#[test]
fn the_diagonal_alone_converges_too() {
    let resnet = Resnet { n: 5 };
    let grid = TimeGrid::uniform(40, 0.0, 2.0).unwrap();
    let hierarchy = braidnet_grid::Hierarchy::new(&grid, &Coarsening::none()).unwrap();
    let expected = braidnet_mgrit::sequential(&resnet, &hierarchy, resnet.initial()).unwrap();
    for ranks in 1..=3 {
        let partition = Partition::even(40, ranks).unwrap();
        let options = MgritOptions::newton(40, Some(Tolerance::Relative(1e-13)));
        let initial = resnet.initial();
        let found = on_threads((&grid, &partition, &options), &resnet, &initial, &|_| resnet.initial());
        assert_eq!(found.report.stop, Stop::Converged);
        assert!(found.report.iterations < 25, "{:?}", found.report);
        for (got, expected) in found.states.iter().zip(&expected) {
            assert!((&got.0 - &expected.0).norm() < 1e-11);
        }
    }
}

/// Undamped, the first trial of this problem is past all bounds: a product of 200 Jacobians of up to 3.9.
#[test]
fn expanding_jacobians_end_at_the_sequential_states() {
    let (problem, grid, n) = (Chaos { r: 3.9 }, unit(200), 200);
    let expected = plain(&problem, &grid, 0.3);
    for ranks in 1..=4 {
        let found = solve(&problem, &grid, ranks, &MgritOptions::newton(10 * n, None), [0.3, 0.9]);
        let report = found.report;
        assert_eq!((report.stop, report.residual()), (Stop::Converged, Some(0.0)));
        assert!(report.rejected > 0 && report.iterations - report.rejected <= n, "{report:?}");
        assert_eq!(bits(&found.states), bits(&expected), "{ranks} ranks");
    }
}

/// However few the iterations: as many leading points are exact as were accepted, the norms only fall where no Picard
/// step was taken, and nothing is past all bounds.
#[test]
fn a_solve_that_is_cut_short_is_finite_and_exact_in_front() {
    let (problem, grid) = (Chaos { r: 3.9 }, unit(120));
    let expected = plain(&problem, &grid, 0.3);
    for iterations in 1..40 {
        for guess in [0.0, 0.5, 0.9] {
            let found = solve(&problem, &grid, 2, &MgritOptions::newton(iterations, None), [0.3, guess]);
            let accepted = found.report.iterations - found.report.rejected;
            assert_eq!(bits(&found.states[..=accepted]), bits(&expected[..=accepted]));
            assert!(found.states.iter().all(|u| u.is_finite()), "{:?}", found.report);
            // What is returned is what the last norm is of.
            let norm: f64 = found.states.windows(2).map(|u| (3.9 * u[0] * (1.0 - u[0]) - u[1]).powi(2)).sum();
            assert!(deviation(norm.sqrt(), found.report.residual().unwrap()) < 1e-12);
        }
    }
}

/// Also where iterations are damped, the prefix over ranks is the loop on one.
#[test]
fn damped_iterations_agree_on_all_ranks() {
    let (problem, grid) = (Chaos { r: 3.5 }, unit(24));
    for iterations in [4, 8, 12] {
        let options = MgritOptions::newton(iterations, None);
        let expected = solve(&problem, &grid, 1, &options, [0.3, 0.9]);
        assert!(expected.report.rejected > 0 && expected.report.residual().unwrap() > 1e-6, "{:?}", expected.report);
        for ranks in 2..=4 {
            let found = solve(&problem, &grid, ranks, &options, [0.3, 0.9]);
            assert_eq!(found.report.rejected, expected.report.rejected);
            for (got, expected) in found.states.iter().zip(&expected.states) {
                assert!(deviation(*expected, *got) < 1e-9, "{got}, expected {expected} on {ranks} ranks");
            }
        }
    }
}

/// 4000 Jacobians multiply to more than a number can hold, and infinities cancel to NaN: such a trial is not better.
#[test]
fn a_trial_that_is_no_number_is_rejected() {
    let (problem, grid) = (Chaos { r: 3.9 }, unit(4000));
    for ranks in [1, 3] {
        let found = solve(&problem, &grid, ranks, &MgritOptions::newton(1, None), [0.3, 0.9]);
        assert_eq!((found.report.iterations, found.report.rejected), (1, 1));
        assert_eq!(found.report.residuals[0], found.report.residuals[1]);
        assert!(found.states[1..].iter().all(|u| *u == 0.9));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 60, ..ProptestConfig::default() })]

    /// Finite termination to the bit, on any ranks and from any guess, even one that is past all bounds.
    #[test]
    fn as_many_iterations_as_layers_are_exact(
        r in 0.5f64..4.0, initial in 0.01f64..0.99, guess in prop_oneof![-3.0f64..3.0, Just(1e200), Just(f64::NAN)],
        n in 1usize..50, ranks in 1usize..5,
    ) {
        let grid = unit(n);
        let problem = Chaos { r };
        let found = solve(&problem, &grid, ranks.min(n), &MgritOptions::newton(10 * n, None), [initial, guess]);
        prop_assert_eq!(bits(&found.states), bits(&plain(&problem, &grid, initial)));
        let report = found.report;
        prop_assert_eq!(report.stop, Stop::Converged);
        prop_assert!(report.iterations - report.rejected <= n);
    }
}

#[test]
fn a_warm_start_at_the_solution_takes_no_iteration() {
    let grid = unit(30);
    let partition = Partition::even(30, 1).unwrap();
    let options = MgritOptions::newton(50, None);
    let mut solver = Mgrit::new(&grid, &partition, options, &Communicator::alone()).unwrap();
    let first = solver.solve(&Logistic, Some(0.4), Guess::From(&|_| 0.0)).unwrap();
    assert_eq!((first.stop, first.residual()), (Stop::Converged, Some(0.0)));
    let second = solver.solve(&Logistic, Some(0.4), Guess::Warm).unwrap();
    assert_eq!((second.iterations, second.residuals, second.evaluations), (0, vec![Some(0.0)], vec![30]));
}

#[test]
fn a_tolerance_ends_the_iteration() {
    let grid = TimeGrid::uniform(64, 0.0, 6.0).unwrap();
    let all = solve(&Logistic, &grid, 1, &MgritOptions::newton(6, None), [0.1, 0.5]).report.residuals;
    let norms: Vec<f64> = all.into_iter().flatten().collect();
    let run = |tolerance| solve(&Logistic, &grid, 1, &MgritOptions::newton(6, Some(tolerance)), [0.1, 0.5]).report;
    let absolute = run(Tolerance::Absolute(1.01 * norms[2]));
    assert_eq!((absolute.iterations, absolute.stop, absolute.evaluations), (2, Stop::Converged, vec![3 * 64]));
    let relative = run(Tolerance::Relative(1.01 * norms[3] / norms[0]));
    assert_eq!((relative.iterations, relative.stop), (3, Stop::Converged));
    let stagnation = run(Tolerance::Stagnation(0.999 * norms[1] / norms[0]));
    assert_eq!((stagnation.iterations, stagnation.stop), (1, Stop::Stagnated));
}

#[test]
fn the_norm_is_the_one_chosen() {
    let grid = TimeGrid::uniform(3, 0.0, 3.0).unwrap();
    // Steps of length 1 take u to u (2 - u): 0.5 to 0.75, 0.2 to 0.36.
    let residuals = [0.55f64, 0.16, 0.16];
    for (norm, expected) in [
        (TemporalNorm::One, residuals.iter().sum()),
        (TemporalNorm::Two, residuals.iter().map(|r| r * r).sum::<f64>().sqrt()),
        (TemporalNorm::Max, 0.55),
    ] {
        for ranks in 1..=3 {
            let options = MgritOptions { norm: Some(norm), ..MgritOptions::newton(1, None) };
            let got = solve(&Logistic, &grid, ranks, &options, [0.5, 0.2]).report.residuals[0].unwrap();
            assert!(deviation(expected, got) < 1e-15, "{norm:?}: {got}, expected {expected}");
        }
    }
    let options = MgritOptions { norm: None, ..MgritOptions::newton(1, None) };
    assert_eq!(solve(&Logistic, &grid, 3, &options, [0.5, 0.0]).report.residuals, [None, None]);
}

#[test]
fn coarsening_is_not_heeded() {
    let options = MgritOptions { coarsening: Coarsening::network(4, 2), ..MgritOptions::newton(3, None) };
    let partition = Partition::even(20, 1).unwrap();
    for make in [Mgrit::<f64>::new, Mgrit::<f64>::reversed] {
        let solver = make(&unit(20), &partition, options.clone(), &Communicator::alone()).unwrap();
        assert_eq!(solver.hierarchy().n_levels(), 1);
    }
}

#[test]
fn options_without_a_method_are_multigrid() {
    let mut json = serde_json::to_value(MgritOptions::newton(3, None)).unwrap();
    assert_eq!(json["method"], "newton");
    assert_eq!(serde_json::from_value::<MgritOptions>(json.clone()).unwrap().method, Method::Newton);
    json.as_object_mut().unwrap().remove("method");
    assert_eq!(serde_json::from_value::<MgritOptions>(json).unwrap().method, Method::Multigrid);
}

/// Both ways by Newton, or one of them, on any number of ranks: the gradients of the sequential solves.
#[test]
fn the_adjoint_is_the_sequential_one() {
    let sequential = MgritOptions::sequential();
    let newton = MgritOptions::newton(60, Some(Tolerance::Absolute(1e-14)));
    let final_fc = MgritOptions { final_sweep: FinalSweep::Fc, ..newton.clone() };
    let scalars = Tunable::new(Scalar::generic(31), true);
    let resnet = Resnet { n: 4 };
    let grid = TimeGrid::uniform(31, 0.0, 3.0).unwrap();
    for ranks in 1..=4 {
        let partition = Partition::even(31, ranks).unwrap();
        let exact = [&sequential, &sequential];
        for both in [[&newton, &newton], [&sequential, &newton], [&newton, &sequential], [&final_fc, &final_fc]] {
            let expected = gradients((&grid, &partition, exact), &scalars, &0.5);
            let found = gradients((&grid, &partition, both), &scalars, &0.5);
            for (got, expected) in found.gradients.iter().zip(&expected.gradients) {
                assert_eq!(got.layer, expected.layer);
                for (got, expected) in got.gradients.iter().zip(&expected.gradients) {
                    assert!(deviation(*expected, *got) < 1e-12, "{got}, expected {expected}");
                }
            }
            assert!(deviation(expected.lambda_0.unwrap(), found.lambda_0.unwrap()) < 1e-12);

            let expected = gradients((&grid, &partition, exact), &resnet, &resnet.initial());
            let found = gradients((&grid, &partition, both), &resnet, &resnet.initial());
            for (got, expected) in found.gradients.iter().zip(&expected.gradients) {
                assert!((&got.gradients.weights - &expected.gradients.weights).norm() < 1e-12);
                assert!((&got.gradients.bias - &expected.gradients.bias).norm() < 1e-12);
            }
        }
    }
}

/// The adjoint of scalars is linear: one iteration.
#[test]
fn the_adjoint_of_scalars_takes_one_iteration() {
    let layers = Tunable::new(Scalar::generic(24), true);
    let partition = Partition::even(24, 3).unwrap();
    let both = [&MgritOptions::sequential(), &MgritOptions::newton(1, None)];
    let found = gradients((&layers.layers.grid(0.2), &partition, both), &layers, &0.5);
    assert!(found.reports[1].residual().unwrap() < 1e-14, "{:?}", found.reports[1]);
    // The guess, the iteration, the last sweep.
    assert_eq!(found.reports[1].evaluations, [3 * 24]);
}

/// The failure of a launch that must end within seconds.
fn failure(n: usize, program: impl Fn(Communicator) -> Result<(), MgritError> + Send + Sync + 'static) -> String {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(launch(&Launch::ranks(n), program)));
    let outcome = receiver.recv_timeout(Duration::from_secs(30)).expect("the ranks hang");
    outcome.expect_err("nobody failed").to_string()
}

#[test]
fn a_network_without_diagonals_is_told() {
    for n in 1..=3 {
        let message = failure(n, |comm| {
            let partition = Partition::even(9, comm.size())?;
            let mut solver = Mgrit::new(&unit(9), &partition, MgritOptions::newton(3, None), &comm)?;
            solver.solve(&Scalar::generic(9), Some(0.5), Guess::From(&|_| 0.0)).map(drop)
        });
        assert!(message.contains("offer no diagonal") && message.contains("use multigrid"), "{message}");
    }
}

/// Logistic layers, one of which yields no number or fails.
#[derive(Debug, Clone, Copy)]
struct Faulty {
    layer: usize,
    yields: Option<f64>,
}

impl Propagator for Faulty {
    type State = f64;

    fn step(&self, steps: &[Step], states: &mut [f64]) -> Result<(), StepError> {
        Logistic.step(steps, states)?;
        for (_, u) in steps.iter().zip(states).filter(|(step, _)| step.layer == self.layer) {
            *u = self.yields.ok_or("out of memory")?;
        }
        Ok(())
    }

    fn step_with_diagonal(&self, steps: &[Step], states: &mut [f64]) -> Result<Vec<f64>, StepError> {
        let diagonals = Logistic.step_with_diagonal(steps, &mut states.to_vec())?;
        self.step(steps, states)?;
        Ok(diagonals)
    }

    fn context(&self) {}
}

fn faulty(comm: &Communicator, problem: Faulty, on_non_finite: OnNonFinite) -> Result<Stop, MgritError> {
    let partition = Partition::even(12, comm.size())?;
    let tolerance = Some(Tolerance::Absolute(1e-10));
    let options = MgritOptions { on_non_finite, ..MgritOptions::newton(1_000_000_000, tolerance) };
    let mut solver = Mgrit::new(&unit(12), &partition, options, comm)?;
    let report = solver.solve(&problem, Some(0.5), Guess::From(&|_| 0.5))?;
    let owns = partition.layers(comm.rank()).contains(&problem.layer);
    let found = report.not_finite.map(|found| found.layer);
    assert!(!owns || found == Some(problem.layer), "{found:?}");
    Ok(report.stop)
}

#[test]
fn a_step_that_yields_no_number_is_reported() {
    for value in [f64::NAN, f64::INFINITY] {
        for layer in [0, 5, 11] {
            for n in 1..=3 {
                let problem = Faulty { layer, yields: Some(value) };
                let stops = launch(&Launch::ranks(n), move |comm| faulty(&comm, problem, OnNonFinite::Report)).unwrap();
                assert!(stops.iter().all(|stop| *stop == Stop::Diverged), "{stops:?}");
                let message = failure(n, move |comm| faulty(&comm, problem, OnNonFinite::Fail).map(drop));
                assert!(message.contains("is not finite (level 0, found on rank"), "{message}");
            }
        }
    }
}

#[test]
fn a_failed_step_ends_all_ranks() {
    for n in 1..=3 {
        let problem = Faulty { layer: 7, yields: None };
        let rank = Partition::even(12, n).unwrap().owner(7);
        let message = failure(n, move |comm| faulty(&comm, problem, OnNonFinite::Report).map(drop));
        assert!(message.contains(&format!("layer 7 failed on level 0, rank {rank}: out of memory")), "{message}");
    }
}
