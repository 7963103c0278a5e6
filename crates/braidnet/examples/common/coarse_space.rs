//! Coarser grids on coarse levels: whether the network can, and what does not go together.

use anyhow::{Context, anyhow};
use braidnet::grid::Hierarchy;
use braidnet::mgrit::MgritOptions;
use braidnet::prelude::*;
use braidnet::train::InitialGuess;

/// That `network`, which has all layers, can do the steps of all levels of `schedule`.
pub fn check<N: Network>(network: &N, schedule: &Schedule, grid: &TimeGrid) -> anyhow::Result<()> {
    for (direction, options) in solves(schedule)? {
        for level in Hierarchy::new(grid, &options.coarsening)?.levels() {
            let supported = (0..level.n_steps()).try_for_each(|j| network.supports(&level.step(j)));
            let failed = || format!("--coarsen-space, level {} of the {direction} solve", level.index());
            supported.map_err(|error| anyhow!(error)).with_context(failed)?;
        }
    }
    Ok(())
}

/// What does not go together where grids are halved on the way from the levels `halved` to the next ones.
pub fn warnings(halved: &[usize], schedule: &Schedule, grid: &TimeGrid) -> anyhow::Result<Vec<String>> {
    let mut warnings = Vec::new();
    for (direction, options) in solves(schedule)? {
        let n_levels = Hierarchy::new(grid, &options.coarsening)?.n_levels();
        for from in halved {
            warnings.extend(warning(*from, n_levels, direction, &options));
        }
        warnings.extend(guess_warning(halved, n_levels, direction, schedule));
    }
    Ok(warnings)
}

fn warning(from: usize, n_levels: usize, direction: &str, options: &MgritOptions) -> Option<String> {
    let flag = if direction == "forward" { "fwd" } else { "bwd" };
    if from + 1 >= n_levels {
        return Some(format!(
            "--coarsen-space {from} does nothing in the {direction} solve, whose last level is {}: --{flag}-levels {} \
             has one more to go to, if there are layers enough",
            n_levels - 1,
            from + 2
        ));
    }
    let relaxation = options.relaxation.get(from).or(options.relaxation.last())?;
    let flag = if from == 0 { format!("--{flag}-relax fcf") } else { "--coarse-relax fcf".to_owned() };
    (relaxation.fc_sweeps() == 0).then(|| {
        format!(
            "--coarsen-space {from} with F-relaxation on level {from} of the {direction} solve: parts of states that the \
             coarser grid does not have are never corrected, so more iterations do not help; use {flag}"
        )
    })
}

/// What coarse grids cannot show of a state is zero at first, unless the guess has it.
fn guess_warning(halved: &[usize], n_levels: usize, direction: &str, schedule: &Schedule) -> Option<String> {
    let (guess, flag) = match direction {
        "forward" => (schedule.forward.guess, "--fwd-guess"),
        _ => (schedule.backward.guess, "--bwd-guess"),
    };
    let is_halved = halved.iter().any(|from| from + 1 < n_levels);
    (is_halved && guess == InitialGuess::Zero).then(|| {
        format!(
            "--coarsen-space with a {direction} solve that begins with zeros: what the coarser grids do not have of states \
             is missing at first; use {flag} carried"
        )
    })
}

/// The solves that have coarse levels.
fn solves(schedule: &Schedule) -> anyhow::Result<Vec<(&'static str, MgritOptions)>> {
    let both = [("forward", &schedule.forward), ("backward", &schedule.backward)];
    let mut solves = Vec::new();
    for (direction, solve) in both.into_iter().filter(|(_, solve)| !solve.is_sequential()) {
        solves.push((direction, solve.options(direction)?));
    }
    Ok(solves)
}
