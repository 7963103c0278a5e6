//! Comparison of a case with its record.

use std::fmt;

use braidnet_comm::Communicator;

use super::case::Found;
use super::{Case, CaseError};

/// How a case went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything within the file's tolerance, with the same number of iterations.
    Agrees,
    /// Another cycle after some iteration by design, and equal up to there.
    KnownDifference(&'static str),
    /// A disagreement.
    Fails(String),
}

/// A case beside its record: largest absolute deviations.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Name of the case.
    pub name: String,
    /// Iterations of this solver.
    pub iterations: usize,
    /// Deviation of the residual history, over the iterations that both did.
    pub residuals: f64,
    /// Deviation of the C-point values.
    pub cpoint_values: f64,
    /// Deviation of the sum of the solution.
    pub sum_u: f64,
    /// The verdict.
    pub verdict: Verdict,
}

/// The tolerance stated for the records: `|a - b| <= 1e-13 + 1e-10 |a|`.
fn within(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-13 + 1e-10 * a.abs()
}

fn same_norm(a: &Option<f64>, b: &Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => within(*a, *b),
        (None, None) => true,
        _ => false,
    }
}

impl Comparison {
    /// Solves `case` on the ranks of `comm` and compares.
    ///
    /// # Errors
    /// If the case cannot be run.
    ///
    /// # Communication
    /// Every rank must call it; all get the same answer.
    pub fn run(case: &Case, comm: &Communicator) -> Result<Self, CaseError> {
        let found = case.solve(comm)?;
        let expected = &case.expected;
        let residuals = expected.residual_norms.iter().zip(&found.report.residuals);
        let values = expected.cpoint_values.iter().zip(&found.cpoint_values);
        let norms = residuals.filter_map(|(a, b)| Some(((*a)?, (*b)?)));
        Ok(Self {
            name: case.name.clone(),
            iterations: found.report.iterations,
            residuals: norms.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max),
            cpoint_values: values.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max),
            sum_u: (expected.sum_u - found.sum_u).abs(),
            verdict: verdict(case, &found),
        })
    }
}

fn verdict(case: &Case, found: &Found) -> Verdict {
    let problems = disagreements(case, found);
    if problems.is_empty() {
        return Verdict::Agrees;
    }
    let (expected, norms) = (&case.expected.residual_norms, &found.report.residuals);
    if let Some(first) = case.first_unshared_iteration()
        && expected.len().min(norms.len()) >= first
        && expected.len().max(norms.len()) > first
        && expected.iter().zip(norms).take(first).all(|(a, b)| same_norm(a, b))
    {
        return Verdict::KnownDifference("nfmg: V-cycles to the end, XBraid does one and returns to F-cycles");
    }
    Verdict::Fails(problems.join("; "))
}

fn disagreements(case: &Case, found: &Found) -> Vec<String> {
    let expected = &case.expected;
    let mut problems = Vec::new();
    // A sequential solve has no history: XBraid notes one zero, or nothing where only one level was asked for.
    let no_history = found.n_levels == 1 && expected.residual_norms.is_empty();
    if !no_history && found.report.iterations != expected.niter {
        problems.push(format!("{} iterations, expected {}", found.report.iterations, expected.niter));
    }
    let norms = expected.residual_norms.iter().zip(&found.report.residuals).enumerate();
    for (k, (a, b)) in norms.filter(|(_, (a, b))| !same_norm(a, b)).take(1) {
        problems.push(format!("residual norm {k} is {b:?}, expected {a:?}"));
    }
    if found.cpoint_values.len() != expected.cpoint_values.len() {
        let (got, wanted) = (found.cpoint_values.len(), expected.cpoint_values.len());
        problems.push(format!("{got} C-point values, expected {wanted}"));
    }
    let values = expected.cpoint_values.iter().zip(&found.cpoint_values).enumerate();
    for (j, (a, b)) in values.filter(|(_, (a, b))| !within(**a, **b)).take(1) {
        problems.push(format!("C-point value {j} is {b}, expected {a}"));
    }
    if !within(expected.sum_u, found.sum_u) {
        problems.push(format!("sum_u is {}, expected {}", found.sum_u, expected.sum_u));
    }
    problems
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, iterations, residuals, cpoint_values, sum_u, verdict } = self;
        write!(
            f,
            "{name:<32} {iterations:>4} iterations  residuals {residuals:8.1e}  C-points {cpoint_values:8.1e}  \
             sum_u {sum_u:8.1e}  "
        )?;
        match verdict {
            Verdict::Agrees => write!(f, "agrees"),
            Verdict::KnownDifference(why) => write!(f, "known difference ({why})"),
            Verdict::Fails(why) => write!(f, "FAILS: {why}"),
        }
    }
}
