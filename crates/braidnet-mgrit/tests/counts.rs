//! Evaluations of Phi: as many per level as XBraid counts, and as the formula says.
#![allow(clippy::unwrap_used, clippy::expect_used)] // What helpers run into fails their test.

mod common;

use std::sync::Mutex;

use braidnet_comm::Communicator;
use braidnet_grid::{Coarsening, Partition, Step, TimeGrid};
use braidnet_mgrit::model::{Dahlquist, Method};
use braidnet_mgrit::{Coarsest, Cycle, MgritOptions, Propagator, Relaxation, ResidualForm, StepError};

use common::problems::Scalar;
use common::run::{alone, on, on_threads};
use common::v_cycles;

const DAHLQUIST: Dahlquist = Dahlquist { lambda: -1.0, method: Method::BackwardEuler, residual: ResidualForm::OneStep };

/// A V-cycle solve on a grid that all factors divide.
struct V {
    n: usize,
    cfactors: &'static [usize],
    sweeps: &'static [usize],
    max_levels: usize,
    min_coarse: usize,
    skips: bool,
    iterations: usize,
    own_residual: bool,
    /// Evaluations per level.
    evaluations: &'static [u64],
}

impl V {
    fn options(&self) -> MgritOptions {
        let coarsening = Coarsening {
            cfactors: self.cfactors.to_vec(),
            min_coarse: self.min_coarse,
            ..v_cycles(self.max_levels, 2, 0, 1).coarsening
        };
        MgritOptions {
            coarsening,
            relaxation: self.sweeps.iter().map(|n| Relaxation::Fcf(*n)).collect(),
            skip_downcycle: self.skips,
            ..v_cycles(2, 2, 0, self.iterations)
        }
    }

    /// Per full iteration the finest level takes N for each FC sweep and N for the restriction (F-relaxation and
    /// residuals), the levels between N more for tau and their F-points for the way up, the coarsest N for tau and
    /// N for the solve. The end takes the F-points of the finest level. A propagator's own residual is no evaluation.
    fn formula(&self, sizes: &[u64]) -> Vec<u64> {
        let (all, full) = (self.iterations as u64, self.iterations as u64 - u64::from(self.skips));
        let last = sizes.len() - 1;
        let at = |l: usize| {
            let n = sizes[l];
            let f_points = n - sizes.get(l + 1).copied().unwrap_or(0);
            let sweeps = self.sweeps[l.min(self.sweeps.len() - 1)] as u64;
            let residuals = if self.own_residual { 0 } else { n };
            let restriction = if self.own_residual { f_points } else { n };
            match l {
                0 => full * (sweeps * n + restriction) + f_points,
                l if l < last => full * (residuals + sweeps * n + restriction) + all * f_points,
                _ => full * residuals + all * n,
            }
        };
        (0..sizes.len()).map(at).collect()
    }
}

/// The numbers are XBraid's, for its cases named in the comments.
fn recorded() -> Vec<V> {
    let v = |n, cfactors, sweeps, max_levels, iterations, evaluations| V {
        n,
        cfactors,
        sweeps,
        max_levels,
        min_coarse: 2,
        skips: false,
        iterations,
        own_residual: false,
        evaluations,
    };
    vec![
        V { skips: true, ..v(10, &[2], &[1], 2, 4, &[65, 35]) }, // ex01_default
        v(10, &[2], &[1], 2, 3, &[65, 30]),                      // ex01x_nt10_skip0
        V { skips: true, ..v(40, &[2], &[1], 2, 6, &[420, 220]) }, // dahl_nt40_cf2_2lev_FCF
        v(64, &[2], &[1], 3, 9, &[1184, 1008, 288]),             // dahl_nt64_cf2_3lev_FCF
        v(256, &[4], &[0], 2, 16, &[4288, 2048]),                // dahl_nt256_cf4_2lev_F
        v(256, &[4], &[1], 10, 8, &[4288, 1920, 480, 64]),       // dahl_nt256_cf4_maxlev_V
        v(256, &[2], &[0, 1], 4, 14, &[3712, 6272, 3136, 896]),  // dahl_nt256_nu0_0_nu_1_V3
        V { min_coarse: 8, ..v(64, &[2], &[0], 10, 16, &[1056, 1280, 640, 256]) }, // dahl_mincoarse8_hit
        v(32, &[1, 4], &[1], 3, 4, &[256, 480, 64]),             // dahl_cf0_1
        v(12, &[6], &[1], 2, 2, &[58, 8]),                       // dahl_nt12_cf6
        V { skips: true, ..v(64, &[2], &[1], 3, 9, &[1056, 912, 272]) }, // dahl_skip1_guess0
        V { skips: true, ..v(64, &[4], &[0, 1], 3, 3, &[176, 132, 20]) }, // resnet8_torchbraid_like
        V { own_residual: true, ..v(64, &[2], &[1], 3, 12, &[1184, 768, 192]) }, // dahl_nt64_user_residual
        V { min_coarse: 3, ..v(256, &[2], &[1], 15, 8, &[4224, 3584, 1792, 896, 448, 224, 64]) }, // heat_nt256_cf2_maxlev_V
    ]
}

#[test]
fn v_cycles_cost_what_xbraid_counts() {
    for v in recorded() {
        let residual = if v.own_residual { ResidualForm::Own } else { ResidualForm::OneStep };
        let problem = Dahlquist { residual, ..DAHLQUIST };
        let grid = TimeGrid::uniform(v.n, 0.0, v.n as f64 / 2.0).unwrap();
        let options = v.options();
        let hierarchy = braidnet_grid::Hierarchy::new(&grid, &options.coarsening).unwrap();
        let sizes: Vec<u64> = hierarchy.levels().iter().map(|l| l.n_steps() as u64).collect();
        for n in [1, 3] {
            let setup = (&grid, &Partition::even(v.n, n).unwrap(), &options);
            let solved = on_threads(setup, &problem, &1.0, &|_| 0.456);
            assert_eq!(solved.report.evaluations, v.evaluations, "{options:?}");
            assert_eq!(solved.report.evaluations, v.formula(&sizes), "{options:?}");
        }
    }
}

#[test]
fn f_cycles_and_relaxed_coarsest_levels_cost_what_xbraid_counts() {
    let f_cycles = |v_cycles| Cycle::F { v_cycles, iterations: None };
    let sweeps = vec![Relaxation::Fcf(1), Relaxation::Fcf(2)];
    let coarsest = Coarsest::Relax { fc_sweeps: 2 };
    let cases: [(usize, MgritOptions, &[u64]); 3] = [
        (256, MgritOptions { cycle: f_cycles(1), ..v_cycles(10, 4, 1, 8) }, &[4288, 2944, 1216, 192]),
        (256, MgritOptions { cycle: f_cycles(2), ..v_cycles(5, 2, 1, 11) }, &[5760, 10560, 10208, 7568, 2464]),
        (24, MgritOptions { relaxation: sweeps, coarsest, ..v_cycles(3, 2, 1, 2) }, &[108, 108, 42]),
    ];
    for (n, options, expected) in cases {
        let grid = TimeGrid::uniform(n, 0.0, n as f64 / 2.0).unwrap();
        assert_eq!(alone(&grid, &options, &DAHLQUIST, 1.0, 0.456).report.evaluations, expected, "{options:?}");
    }
}

/// Counts the steps that it is given, per level.
struct Counted<P> {
    inner: P,
    steps: Mutex<Vec<u64>>,
}

impl<P: Propagator<State = f64>> Propagator for Counted<P> {
    type State = f64;

    fn step(&self, steps: &[Step], states: &mut [f64]) -> Result<(), StepError> {
        for step in steps {
            self.steps.lock().unwrap()[step.level] += 1;
        }
        self.inner.step(steps, states)
    }

    fn batch(&self) -> usize {
        self.inner.batch()
    }

    fn context(&self) {}
}

#[test]
fn the_report_counts_the_steps_taken() {
    let inner = Scalar::generic(29);
    let grid = inner.grid(0.2);
    let options = MgritOptions { cycle: Cycle::F { v_cycles: 1, iterations: None }, ..v_cycles(3, 3, 1, 2) };
    for n in 1..=3 {
        let problem = Counted { inner: inner.clone(), steps: Mutex::new(vec![0; 3]) };
        let partition = Partition::even(29, n).unwrap();
        let solved = on_threads((&grid, &partition, &options), &problem, &0.5, &|_| 0.0);
        assert_eq!(solved.report.evaluations, *problem.steps.lock().unwrap());
    }
}

#[test]
fn a_sequential_solve_takes_one_evaluation_per_layer() {
    let problem = Scalar::generic(29);
    let (grid, partition) = (problem.grid(0.2), Partition::even(29, 1).unwrap());
    let setup = (&grid, &partition, &MgritOptions::sequential());
    let report = on(&Communicator::alone(), setup, &problem, 0.5, &|_| 0.0).unwrap().report;
    assert_eq!((report.evaluations, report.messages, report.bytes), (vec![29], 0, 0));
}
