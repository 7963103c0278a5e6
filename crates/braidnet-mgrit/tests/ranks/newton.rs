//! Newton's method on ranks: the sequential states to the bit, and its messages.

use braidnet_comm::Communicator;
use braidnet_comm::testing::RankTest;
use braidnet_grid::{Partition, TimeGrid};
use braidnet_mgrit::model::Resnet;
use braidnet_mgrit::{Activations, MgritOptions, Sources};

use crate::common::gradients::{Found, gradients_of_sum};
use crate::common::problems::Scalar;
use crate::common::tunable::Tunable;
use crate::{Checked, bits, even, one_rank, same, text};

pub const TESTS: &[RankTest] = &[
    ("newton_ends_with_the_same_bits", newton_ends_with_the_same_bits),
    ("newton_of_vectors_ends_with_the_same_bits", newton_of_vectors_ends_with_the_same_bits),
    ("newton_messages", newton_messages),
];

type Results<S, G> = Result<Found<S, G>, String>;

fn solved(comm: &Communicator, partition: &Partition, options: &MgritOptions) -> Results<f64, [f64; 2]> {
    let tunable = Tunable::new(Scalar::generic(N), true);
    let sources = Sources::new((1..N).map(|point| (point, (point as f64).sin())));
    let setup = (&tunable.layers.grid(0.3), partition, [options, options]);
    gradients_of_sum(sources, Activations::Store, comm, setup, &tunable, &0.5).map_err(text)
}

const N: usize = 23;

/// As many iterations as it takes for residuals of exactly 0.
fn newton_ends_with_the_same_bits(comm: &Communicator) -> Checked {
    for heavy in [0, N - 1, N / 2] {
        let costs: Vec<f64> = (0..N).map(|k| if k == heavy { 9.0 } else { 1.0 }).collect();
        let Ok(partition) = Partition::by_cost(&costs, comm.size()) else { continue };
        let expected = solved(&Communicator::alone(), &one_rank(N), &MgritOptions::sequential())?;
        let got = solved(comm, &partition, &MgritOptions::newton(10 * N, None))?;
        for report in &got.reports {
            same("residual", report.residual(), Some(0.0))?;
        }
        for g in &got.gradients {
            same(&format!("gradients of layer {}", g.layer), &g.gradients, &expected.gradients[g.layer].gradients)?;
        }
        if let (Some(got), Some(expected)) = (&got.lambda_0, &expected.lambda_0) {
            same("dLoss/du_0", bits(got), bits(expected))?;
        }
    }
    Ok(())
}

fn newton_of_vectors_ends_with_the_same_bits(comm: &Communicator) -> Checked {
    let Some(partition) = even(20, comm) else { return Ok(()) };
    let resnet = Resnet { n: 4 };
    let grid = TimeGrid::uniform(20, 0.0, 2.0).map_err(text)?;
    let run = |comm: &Communicator, partition: &Partition, options: &MgritOptions| {
        let setup = (&grid, partition, [options, options]);
        gradients_of_sum(Sources::none(), Activations::Store, comm, setup, &resnet, &resnet.initial()).map_err(text)
    };
    let expected = run(&Communicator::alone(), &one_rank(20), &MgritOptions::sequential())?;
    let got = run(comm, &partition, &MgritOptions::newton(200, None))?;
    for g in &got.gradients {
        same(&format!("gradients of layer {}", g.layer), &g.gradients, &expected.gradients[g.layer].gradients)?;
    }
    Ok(())
}

/// Per iteration one message per border for its point, and those of the prefix: on 2 ranks 1, on 3 ranks 3 and 1, on 4
/// ranks 5 and 2.
fn newton_messages(comm: &Communicator) -> Checked {
    let Some(partition) = even(N, comm) else { return Ok(()) };
    let Some(per_iteration) = [0, 2, 6, 10].get(comm.size() - 1) else { return Ok(()) };
    for iterations in [1, 2, 3] {
        let found = solved(comm, &partition, &MgritOptions::newton(iterations, None))?;
        // The adjoint of scalars is linear, so a second iteration may be at the bottom of rounding, and rejected or the last.
        let count = |n: usize| per_iteration * n as u64;
        let [forward, adjoint] = &found.reports;
        same("rejected", forward.rejected, 0)?;
        same("forward", (forward.messages, forward.bytes), (count(iterations), 8 * count(iterations)))?;
        same("adjoint", adjoint.messages, count(adjoint.iterations))?;
        same("evaluations", &forward.evaluations[..], &[((iterations + 2) * N) as u64])?;
    }
    Ok(())
}
