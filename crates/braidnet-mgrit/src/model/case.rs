//! Recorded runs of XBraid on the model problems, and the same runs by this solver.

use braidnet_comm::{Communicator, ReduceOp};
use braidnet_grid::{Coarsening, LastInterval, Partition, TimeGrid};
use serde::Deserialize;

use super::vector::Components;
use super::{Dahlquist, Heat, Logistic, Method, Resnet, ResnetAdjoint, Vector};
use crate::{
    Coarsest, Cycle, FinalSweep, Guess, Mgrit, MgritError, MgritOptions, OnNonFinite, Propagator, Relaxation,
    ResidualForm, SolveReport, TemporalNorm, Tolerance,
};

/// A file of cases.
#[derive(Debug, Clone, Deserialize)]
pub struct CaseFile {
    /// The cases, in the file's order.
    pub cases: Vec<Case>,
}

/// One recorded run.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// Name.
    pub name: String,
    /// Problem: `dahlquist`, `heat`, `logistic`, `resnet` or `resnet_adj`.
    pub problem: String,
    /// Options of the problem and the solver.
    pub params: Params,
    /// What XBraid found.
    #[serde(flatten)]
    pub expected: Expected,
}

/// What a run found.
#[derive(Debug, Clone, Deserialize)]
pub struct Expected {
    /// Iterations.
    pub niter: usize,
    /// Residual norm of every iteration.
    pub residual_norms: Vec<Option<f64>>,
    /// Sum over all points and components of the final solution.
    pub sum_u: f64,
    /// Which component `cpoint_values` holds.
    pub cpoint_component: usize,
    /// Distance of the points of `cpoint_values`.
    pub cpoint_stride: usize,
    /// Component of the final solution at every `cpoint_stride`-th point.
    pub cpoint_values: Vec<f64>,
}

/// Options of a case, with XBraid's names; flags are 0 or 1.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The names are those of the file, whose `conventions` entry explains each.
pub struct Params {
    pub ml: usize,
    pub cf: OneOrMany,
    pub nu: OneOrMany,
    pub nuc: Option<usize>,
    #[serde(default)]
    pub skip: u8,
    #[serde(default)]
    pub fmg: u8,
    #[serde(default = "minus_one")]
    pub nfmg: i64,
    #[serde(default = "one")]
    pub nfmgv: usize,
    pub mi: usize,
    pub mc: usize,
    pub tol: f64,
    #[serde(default)]
    pub rtol: u8,
    pub tnorm: u8,
    #[serde(default = "one_point_zero")]
    pub cwt: f64,
    #[serde(default)]
    pub relax_only_cg: u8,
    #[serde(default)]
    pub res: u8,
    #[serde(default)]
    pub sc: u8,
    pub guess: GuessParam,
    #[serde(default)]
    pub finalfc: u8,
    #[serde(default, rename = "reverted")]
    _reverted: u8,
    #[serde(default)]
    pub tg: u8,
    pub nt: usize,
    pub tstop: Option<f64>,
    #[serde(rename = "dt")]
    _dt: Option<f64>,
    pub meth: Option<Method>,
    pub lambda: Option<f64>,
    pub u0: Option<f64>,
    pub nx: Option<usize>,
    #[serde(default)]
    pub noforce: bool,
}

fn minus_one() -> i64 {
    -1
}

fn one() -> usize {
    1
}

fn one_point_zero() -> f64 {
    1.0
}

/// One number for all levels, or one per level.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// The same everywhere.
    One(usize),
    /// Per level, the last repeated.
    Many(Vec<usize>),
}

impl OneOrMany {
    fn list(&self) -> Vec<usize> {
        match self {
            Self::One(n) => vec![*n],
            Self::Many(list) => list.clone(),
        }
    }
}

/// Initial guess at points after 0.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum GuessParam {
    /// All components equal.
    Constant(f64),
    /// `"rand"`: XBraid's random numbers, in the order in which one rank draws them.
    Named(String),
}

/// Why a case cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// A problem of another name.
    #[error("unknown problem {0:?}: dahlquist, heat, logistic, resnet and resnet_adj are known")]
    UnknownProblem(String),
    /// A value that no option has.
    #[error("{option} is {value}, which is not among the options: {known}")]
    UnknownOption {
        /// Name of the option.
        option: &'static str,
        /// Value in the file.
        value: String,
        /// Values that exist.
        known: &'static str,
    },
    /// A value that the problem needs is missing or too small.
    #[error("{problem} needs {needs}")]
    Needs {
        /// Problem.
        problem: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// The solve failed.
    #[error(transparent)]
    Solve(#[from] MgritError),
}

/// What this solver finds for a case; the same on all ranks.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub report: SolveReport,
    pub n_levels: usize,
    pub sum_u: f64,
    pub cpoint_values: Vec<f64>,
}

impl Case {
    /// Whether the run uses the F-cycle count whose XBraid meaning this solver does not share: there, `nfmg = k` means
    /// F-cycles, one V-cycle in iteration `k`, and F-cycles again; here, V-cycles from iteration `k` on.
    pub(super) fn first_unshared_iteration(&self) -> Option<usize> {
        let from = usize::try_from(self.params.nfmg).ok()?;
        (self.params.fmg == 1).then_some(from + 2)
    }

    pub(super) fn solve(&self, comm: &Communicator) -> Result<Found, CaseError> {
        let p = &self.params;
        let residual = if p.res == 1 { ResidualForm::Own } else { ResidualForm::OneStep };
        let nx = |problem| match p.nx {
            Some(n) if n > 0 => Ok(n),
            _ => Err(CaseError::Needs { problem, needs: "nx, at least 1" }),
        };
        let half = p.nt as f64 / 2.0;
        match self.problem.as_str() {
            "dahlquist" => {
                let (lambda, method) = (p.lambda.unwrap_or(-1.0), p.meth.unwrap_or(Method::BackwardEuler));
                let problem = Dahlquist { lambda, method, residual };
                self.run(&problem, p.u0.unwrap_or(1.0), half, comm)
            }
            "logistic" => self.run(&Logistic, p.u0.unwrap_or(0.1), 10.0, comm),
            "heat" if nx("heat")? < 3 => Err(CaseError::Needs { problem: "heat", needs: "nx of at least 3" }),
            "heat" => {
                let problem = Heat::new(nx("heat")?, !p.noforce, residual, p.sc == 1);
                self.run(&problem, problem.initial(), 2.0 * std::f64::consts::PI, comm)
            }
            "resnet" => {
                let problem = Resnet { n: nx("resnet")? };
                self.run(&problem, problem.initial(), half, comm)
            }
            "resnet_adj" => {
                let problem = ResnetAdjoint::new(Resnet { n: nx("resnet_adj")? }, p.nt, p.tstop.unwrap_or(half));
                self.run(&problem, problem.initial(), half, comm)
            }
            other => Err(CaseError::UnknownProblem(other.to_owned())),
        }
    }

    fn run<P>(&self, problem: &P, initial: P::State, t_stop: f64, comm: &Communicator) -> Result<Found, CaseError>
    where
        P: Propagator,
        P::State: Components,
    {
        let grid = self.grid(self.params.tstop.unwrap_or(t_stop))?;
        let partition = Partition::even(grid.n_steps(), comm.size()).map_err(MgritError::from)?;
        let mut solver = Mgrit::new(&grid, &partition, self.options()?, comm)?;
        let guess = self.guess(&initial, solver.hierarchy().finest().c_points())?;
        let report = solver.solve(problem, Some(initial), Guess::From(&guess))?;
        let share = solver.layout().share(0);
        let own = share.points().skip(usize::from(share.steps.start > 0)).filter_map(|n| Some((n, solver.state(n)?)));
        let (mut sum_u, mut values) = ([0.0], Vec::new());
        for (n, u) in own {
            sum_u[0] += u.components().iter().sum::<f64>();
            if n % self.expected.cpoint_stride.max(1) == 0 {
                values.extend(u.components().get(self.expected.cpoint_component).copied());
            }
        }
        comm.all_reduce(&mut sum_u, ReduceOp::Sum).map_err(MgritError::from)?;
        let cpoint_values = comm.all_gather(values, &()).map_err(MgritError::from)?.concat();
        Ok(Found { report, n_levels: solver.hierarchy().n_levels(), sum_u: sum_u[0], cpoint_values })
    }

    fn grid(&self, t_stop: f64) -> Result<TimeGrid, MgritError> {
        let nt = self.params.nt;
        if self.params.tg == 0 {
            return Ok(TimeGrid::uniform(nt, 0.0, t_stop)?);
        }
        let dt = t_stop / nt as f64;
        let mut times = vec![0.0];
        for i in 0..nt {
            times.push(times[i] + dt * if i < nt / 2 { 0.5 } else { 1.5 });
        }
        Ok(TimeGrid::from_times(times)?)
    }

    fn options(&self) -> Result<MgritOptions, CaseError> {
        let p = &self.params;
        let sweeps = p.nu.list();
        let last_level = p.ml.saturating_sub(1);
        let sweeps_at_last = sweeps.get(last_level).or(sweeps.last()).copied().unwrap_or(0);
        let norm = match p.tnorm {
            1 => TemporalNorm::One,
            2 => TemporalNorm::Two,
            3 => TemporalNorm::Max,
            n => return Err(CaseError::UnknownOption { option: "tnorm", value: n.to_string(), known: "1, 2, 3" }),
        };
        let f_cycles = Cycle::F { v_cycles: p.nfmgv, iterations: usize::try_from(p.nfmg).ok() };
        Ok(MgritOptions {
            method: crate::Method::Multigrid,
            coarsening: Coarsening {
                max_levels: p.ml,
                cfactors: p.cf.list(),
                min_coarse: p.mc,
                last_interval: LastInterval::Tail,
            },
            relaxation: sweeps.iter().map(|n| Relaxation::Fcf(*n)).collect(),
            c_weights: vec![p.cwt],
            cycle: if p.fmg == 1 { f_cycles } else { Cycle::V },
            skip_downcycle: p.skip == 1,
            coarsest: match p.relax_only_cg {
                0 => Coarsest::Solve,
                _ => Coarsest::Relax { fc_sweeps: p.nuc.unwrap_or(sweeps_at_last) },
            },
            final_sweep: if p.finalfc == 1 { FinalSweep::Fc } else { FinalSweep::F },
            max_iters: p.mi,
            tolerance: Some(if p.rtol == 1 { Tolerance::Relative(p.tol) } else { Tolerance::Absolute(p.tol) }),
            norm: Some(norm),
            on_non_finite: OnNonFinite::Fail,
        })
    }

    fn guess<S: Components>(&self, like: &S, c_points: &[usize]) -> Result<impl Fn(usize) -> S + use<S>, CaseError> {
        let n = like.components().len();
        let constant = match &self.params.guess {
            GuessParam::Constant(value) => Some(*value),
            GuessParam::Named(name) if name == "rand" => None,
            GuessParam::Named(name) => {
                let (value, known) = (name.clone(), "a number, \"rand\"");
                return Err(CaseError::UnknownOption { option: "guess", value, known });
            }
        };
        let drawn = if constant.is_none() { draw(n, c_points) } else { Vec::new() };
        let c_points = if constant.is_none() { c_points.to_vec() } else { Vec::new() };
        Ok(move |point: usize| {
            let at = c_points.binary_search(&point).ok().filter(|j| *j > 0).map(|j| (j - 1) * n);
            S::from_components(n, |i| constant.or_else(|| at.map(|at| drawn[at + i])).unwrap_or(0.0))
        })
    }
}

/// XBraid's portable generator, as one rank draws from it for all C-points after point 0.
fn draw(n: usize, c_points: &[usize]) -> Vec<f64> {
    let mut next = 1u64;
    let mut random = || {
        next = next.wrapping_mul(1_103_515_245).wrapping_add(12345);
        f64::from((next / 65536) as u32 % 32768) / 32768.0
    };
    (0..n * (c_points.len() - 1)).map(|_| random()).collect()
}

impl Components for f64 {
    fn components(&self) -> &[f64] {
        std::slice::from_ref(self)
    }

    fn from_components(_: usize, component: impl Fn(usize) -> f64) -> Self {
        component(0)
    }
}

impl Components for Vector {
    fn components(&self) -> &[f64] {
        self.0.as_slice()
    }

    fn from_components(n: usize, component: impl Fn(usize) -> f64) -> Self {
        Self(nalgebra::DVector::from_fn(n, |i, _| component(i)))
    }
}
