//! The solver against others that do the same: XBraid's recorded runs, and a plain implementation of the algorithm.
#![allow(clippy::unwrap_used, clippy::expect_used)] // What helpers run into fails their test.

mod common;

use std::path::PathBuf;

use braidnet_comm::{Launch, launch};
use braidnet_grid::{Coarsening, Partition, TimeGrid};
use braidnet_mgrit::model::{CaseFile, Comparison, Dahlquist, Heat, Method, Resnet, Vector, Verdict};
use braidnet_mgrit::{Coarsest, Cycle, MgritOptions, Propagator, Relaxation, ResidualForm, Tolerance};
use proptest::prelude::*;

use common::plain::Plain;
use common::random::{Problem, problem};
use common::run::{alone, on_threads};
use common::{deviation, v_cycles};

/// XBraid's runs, if they are on this machine: below `BRAIDNET_SHARED`, or beside the workspace.
fn recorded() -> Option<CaseFile> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("BRAIDNET_SHARED").map_or_else(beside, PathBuf::from);
    let file = shared.join("reference/xbraid/cases.json");
    match std::fs::read_to_string(&file) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(error) => {
            println!("skipped: cannot read {}: {error}", file.display());
            None
        }
    }
}

#[test]
fn every_recorded_run_agrees_on_1_to_4_ranks() {
    let Some(CaseFile { cases }) = recorded() else { return };
    assert_eq!(cases.len(), 39);
    for n in 1..=4 {
        let verdicts = launch(&Launch::ranks(n), |comm| {
            cases.iter().map(|case| Comparison::run(case, &comm)).collect::<Result<Vec<_>, _>>()
        });
        for of_rank in verdicts.unwrap() {
            let agree = of_rank.iter().filter(|c| c.verdict == Verdict::Agrees).count();
            let known: Vec<_> = of_rank.iter().filter(|c| matches!(c.verdict, Verdict::KnownDifference(_))).collect();
            assert_eq!(agree, 38, "{n} ranks: {:?}", of_rank.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(known.len(), 1);
            assert_eq!(known[0].name, "dahl_nfmg1");
        }
    }
}

/// A run of XBraid on `u' = -u`, `u(0) = 1`, backward Euler with steps of 1/2, guess 0.456.
struct History {
    n: usize,
    options: MgritOptions,
    residual: ResidualForm,
    norms: &'static [Option<f64>],
    last: f64,
}

fn history(n: usize, options: MgritOptions, norms: &'static [Option<f64>], last: f64) -> History {
    History { n, options, residual: ResidualForm::OneStep, norms, last }
}

fn histories() -> Vec<History> {
    let two = MgritOptions { tolerance: Some(Tolerance::Absolute(1e-6)), ..v_cycles(2, 2, 1, 100) };
    let three = MgritOptions { tolerance: None, ..v_cycles(3, 4, 1, 4) };
    let relaxed = MgritOptions {
        relaxation: vec![Relaxation::Fcf(1), Relaxation::Fcf(2)],
        coarsest: Coarsest::Relax { fc_sweeps: 2 },
        ..v_cycles(3, 2, 1, 2)
    };
    let f_cycles = |v_cycles| Cycle::F { v_cycles, iterations: None };
    let factor_one = Coarsening { cfactors: vec![1, 4], ..v_cycles(3, 4, 1, 1).coarsening };
    let skipped = &[None, Some(0.02845538412744718), Some(0.0008621939109118011), Some(0.0)];
    let not_skipped = &[Some(0.19508370559112978), Some(0.002846295244652815), Some(0.0)];
    let tail = &[
        Some(0.35039031759408285),
        Some(0.013269632195281444),
        Some(0.0004988667204571474),
        Some(1.8562252976109983e-5),
    ];
    let f_norms = &[Some(0.5714317946021915), Some(0.022477520297223982), Some(0.0008837983960313617)];
    let f_twice = &[Some(1.2638591522451852), Some(0.061519604569248765), Some(0.002996656129834288)];
    let weighted = &[Some(0.10675532813940698), Some(0.003301212182547208), Some(0.00015510073579844672)];
    let ones = &[Some(0.5725189737542696), Some(0.012150044795434321), Some(3.150233443423774e-5)];
    vec![
        history(10, MgritOptions { skip_downcycle: true, ..two.clone() }, skipped, 0.017341529915832606),
        history(10, two, not_skipped, 0.017341529915832606),
        history(12, v_cycles(2, 6, 1, 2), &[Some(0.03232557518144064), Some(0.0)], 0.007707346629258935),
        history(103, three, tail, f64::NAN),
        history(24, relaxed, &[Some(0.35608607882675974), Some(0.014208845312184457)], 0.0011424156209249962),
        history(256, MgritOptions { cycle: f_cycles(1), ..v_cycles(10, 4, 1, 3) }, f_norms, f64::NAN),
        history(256, MgritOptions { cycle: f_cycles(2), ..v_cycles(5, 2, 1, 3) }, f_twice, f64::NAN),
        history(64, MgritOptions { c_weights: vec![1.3], ..v_cycles(2, 4, 1, 3) }, weighted, f64::NAN),
        history(32, MgritOptions { coarsening: factor_one, ..v_cycles(3, 4, 1, 3) }, ones, f64::NAN),
        own_residual(),
    ]
}

/// As [`histories`], with the residual `(1 + dt) u_next - u`.
fn own_residual() -> History {
    let options = MgritOptions { tolerance: Some(Tolerance::Absolute(0.05)), ..v_cycles(3, 2, 1, 9) };
    let norms = &[Some(0.9250746190197083), Some(0.08548061771450348), Some(0.007731437172029372)];
    History { residual: ResidualForm::Own, ..history(64, options, norms, f64::NAN) }
}

#[test]
fn short_histories_of_xbraid() {
    for (k, History { n, options, residual, norms, last }) in histories().into_iter().enumerate() {
        let grid = TimeGrid::uniform(n, 0.0, n as f64 / 2.0).unwrap();
        let problem = Dahlquist { lambda: -1.0, method: Method::BackwardEuler, residual };
        let solved = alone(&grid, &options, &problem, 1.0, 0.456);
        assert_eq!(solved.report.iterations, norms.len(), "history {k}");
        for (got, expected) in solved.report.residuals.iter().zip(norms) {
            assert_eq!(got.is_some(), expected.is_some(), "history {k}");
            let (got, expected) = (got.unwrap_or(0.0), expected.unwrap_or(0.0));
            assert!((got - expected).abs() <= 1e-13 + 1e-10 * expected, "history {k}: {got}, expected {expected}");
        }
        assert!(last.is_nan() || (solved.states[n] - last).abs() <= 1e-13, "history {k}: {}", solved.states[n]);
    }
}

/// Solves from 0 and compares the norms and one component of the last state.
fn check_vectors<P>(
    problem: &P,
    initial: Vector,
    t_stop: f64,
    options: &MgritOptions,
    expected: (&[Option<f64>], usize, f64),
) where
    P: Propagator<State = Vector> + Sync,
{
    let (norms, component, value) = expected;
    let n = if initial.0.len() == 8 { 64 } else { 32 };
    let grid = TimeGrid::uniform(n, 0.0, t_stop).unwrap();
    let zero = Vector::constant(initial.0.len(), 0.0);
    for ranks in [1, 4] {
        let setup = (&grid, &Partition::even(n, ranks).unwrap(), options);
        let solved = on_threads(setup, problem, &initial, &|_| zero.clone());
        for (got, expected) in solved.report.residuals.iter().zip(norms) {
            assert_eq!(got.is_some(), expected.is_some());
            let (got, expected) = (got.unwrap_or(0.0), expected.unwrap_or(0.0));
            assert!((got - expected).abs() <= 1e-13 + 1e-10 * expected, "{got}, expected {expected}");
        }
        assert_eq!(solved.report.residuals.len(), norms.len());
        let got = solved.states[n].0[component];
        assert!((got - value).abs() <= 1e-10, "{got}, expected {value}");
    }
}

/// Coarsening in space: 17, 9 and 5 points; and the options of a network, first down-cycle skipped.
#[test]
fn short_histories_of_vectors() {
    let heat = Heat::new(17, true, ResidualForm::OneStep, true);
    let norms = [2.8663460365447655, 0.09883585217825704, 0.0020553472231549016, 6.076956791400808e-5];
    let norms = [&norms[..], &[2.1312250192021358e-6, 5.625523621503415e-8, 1.5581113275645868e-9]].concat();
    let norms: Vec<_> = norms.into_iter().map(Some).collect();
    let t_stop = 2.0 * std::f64::consts::PI;
    check_vectors(&heat, heat.initial(), t_stop, &v_cycles(3, 2, 1, 7), (&norms, 8, 0.9556531323911464));
    let resnet = Resnet { n: 8 };
    let relaxation = vec![Relaxation::F, Relaxation::Fcf(1)];
    let options = MgritOptions { relaxation, skip_downcycle: true, ..v_cycles(3, 4, 0, 3) };
    let norms = [None, Some(0.5093264493411104), Some(0.04159779699898157)];
    check_vectors(&resnet, resnet.initial(), 4.0, &options, (&norms, 4, 0.8470035728701784));
}

/// Solves as the plain implementation does, and compares states, norms and evaluations.
fn check(Problem { problem, grid, options, partition }: &Problem) -> Result<(), TestCaseError> {
    let guess = |n: usize| 0.3 + 0.1 * (n as f64).sin();
    let mut plain = Plain::new(problem, grid.times(), options);
    let expected = plain.solve(0.5, guess);
    let solved = on_threads((grid, partition, options), problem, &0.5, &guess);
    prop_assert_eq!(solved.states.len(), expected.len());
    for (n, (got, expected)) in solved.states.iter().zip(&expected).enumerate() {
        prop_assert!(deviation(*expected, *got) < 1e-11, "point {}: {}, expected {}", n, got, expected);
    }
    prop_assert_eq!(&solved.report.evaluations, &plain.evaluations);
    prop_assert_eq!(solved.report.residuals.len(), plain.norms.len());
    for (got, expected) in solved.report.residuals.iter().zip(&plain.norms) {
        prop_assert_eq!(got.is_some(), expected.is_some());
        let (got, expected) = (got.unwrap_or(0.0), expected.unwrap_or(0.0));
        prop_assert!(deviation(expected, got) < 1e-11, "norm {}, expected {}", got, expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_solves_agree_with_the_plain_implementation(problem in problem()) {
        check(&problem)?;
    }
}
