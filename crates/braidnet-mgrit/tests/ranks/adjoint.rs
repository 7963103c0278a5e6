//! Adjoint solves and gradients.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Transfer};
use braidnet_grid::{Coarsening, Partition, StepKind, TimeGrid};
use braidnet_mgrit::model::Resnet;
use braidnet_mgrit::{Activations, Cycle, Differentiable, FinalSweep, MgritOptions, Relaxation, TemporalNorm};

use crate::common::gradients::{Found, Gradients, gradients_on, gradients_with};
use crate::common::problems::Scalar;
use crate::common::tunable::Tunable;
use crate::{Checked, bits, even, one_rank, same, text};

pub const TESTS: &[RankTest] = &[
    ("gradients_of_a_resnet", gradients_of_a_resnet),
    ("gradients_where_runs_cross_borders", gradients_where_runs_cross_borders),
    ("gradients_across_transitions", gradients_across_transitions),
];

/// That every rank finds the gradients of its own layers, with the bits that one rank finds for them, whatever it keeps
/// of the forward solve.
fn same_as_alone<D>(
    comm: &Communicator,
    (grid, partition, both): (&TimeGrid, &Partition, [&MgritOptions; 2]),
    network: &D,
    initial: &D::State,
) -> Checked
where
    D: Differentiable,
    Gradients<D>: PartialEq + std::fmt::Debug,
{
    let single = one_rank(grid.n_steps());
    let expected = gradients_on(&Communicator::alone(), (grid, &single, both), network, initial).map_err(text)?;
    for activations in [Activations::Store, Activations::Recompute] {
        let got = gradients_with(activations, comm, (grid, partition, both), network, initial).map_err(text)?;
        is_part_of(&expected, &got, partition.layers(comm.rank()).collect(), activations)?;
    }
    Ok(())
}

fn is_part_of<S: Transfer, G: PartialEq + std::fmt::Debug>(
    expected: &Found<S, G>,
    got: &Found<S, G>,
    own: Vec<usize>,
    activations: Activations,
) -> Checked {
    let has_first = own.first() == Some(&0);
    let layers: Vec<usize> = got.gradients.iter().map(|g| g.layer).collect();
    same("layers", layers, own)?;
    for g in &got.gradients {
        same(&format!("gradients of layer {}", g.layer), &g.gradients, &expected.gradients[g.layer].gradients)?;
    }
    same("who has dLoss/du_0", got.lambda_0.is_some(), has_first)?;
    if let (Some(got), Some(expected)) = (&got.lambda_0, &expected.lambda_0) {
        same("dLoss/du_0", bits(got), bits(expected))?;
    }
    // A forward solve that linearises also evaluates the steps to C-points.
    let skipped = usize::from(activations == Activations::Recompute);
    for (got, expected) in got.reports.iter().zip(&expected.reports).skip(skipped) {
        same("evaluations", &got.evaluations, &expected.evaluations)?;
    }
    Ok(())
}

fn network(max_levels: usize, cfactor: usize, max_iters: usize) -> MgritOptions {
    MgritOptions::network(Coarsening::network(max_levels, cfactor), max_iters)
}

fn gradients_of_a_resnet(comm: &Communicator) -> Checked {
    let Some(partition) = even(26, comm) else { return Ok(()) };
    let resnet = Resnet { n: 4 };
    let grid = TimeGrid::uniform(26, 0.0, 2.0).map_err(text)?;
    let backward = MgritOptions { norm: Some(TemporalNorm::Two), skip_downcycle: false, ..network(2, 3, 2) };
    same_as_alone(comm, (&grid, &partition, [&network(3, 4, 2), &backward]), &resnet, &resnet.initial())
}

fn gradients_where_runs_cross_borders(comm: &Communicator) -> Checked {
    let fcf = MgritOptions { relaxation: vec![Relaxation::Fcf(1)], skip_downcycle: false, ..network(3, 2, 1) };
    let f_cycles = MgritOptions { cycle: Cycle::F { v_cycles: 1, iterations: None }, ..network(4, 2, 2) };
    let final_fc = MgritOptions { final_sweep: FinalSweep::Fc, ..network(3, 3, 1) };
    let sequential = MgritOptions::sequential();
    for n in [4, 5, 8, 23] {
        for heavy in [0, n - 1, n / 2] {
            let costs: Vec<f64> = (0..n).map(|k| if k == heavy { 9.0 } else { 1.0 }).collect();
            let Ok(partition) = Partition::by_cost(&costs, comm.size()) else { continue };
            for backward in [&network(2, 4, 1), &fcf, &f_cycles, &final_fc, &sequential] {
                for (shares, forward) in
                    [(true, network(3, 3, 2)), (false, network(3, 3, 2)), (true, sequential.clone())]
                {
                    let tunable = Tunable::new(Scalar::generic(n), shares);
                    let setup = (&tunable.layers.grid(0.3), &partition, [&forward, backward]);
                    same_as_alone(comm, setup, &tunable, &0.5)?;
                }
            }
        }
    }
    Ok(())
}

fn gradients_across_transitions(comm: &Communicator) -> Checked {
    let kind = |c| if c == 't' { StepKind::Transition } else { StepKind::Ode };
    let kinds: Vec<StepKind> = "oooootoooottooot".chars().map(kind).collect();
    let Some(partition) = even(kinds.len(), comm) else { return Ok(()) };
    let tunable = Tunable::new(Scalar { kinds, ..Scalar::generic(16) }, true);
    let setup = (&tunable.layers.grid(0.3), &partition, [&network(3, 4, 2), &network(2, 3, 1)]);
    same_as_alone(comm, setup, &tunable, &0.5)
}
