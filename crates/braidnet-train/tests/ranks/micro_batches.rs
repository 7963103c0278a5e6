//! Micro-batches: accumulated they are the whole batch, in a pipeline they are the same to the bit.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_train::{Activations, Schedule};

use crate::common::compare::{Checked, distance, ensure, same, same_bits, text};
use crate::common::run::{meshes, step};
use crate::common::{pipeline, schedules};

pub const TESTS: &[RankTest] = &[
    ("accumulated_gradients_are_those_of_the_whole_batch", accumulated_gradients_are_those_of_the_whole_batch),
    ("a_pipeline_is_sequential_to_the_bit", a_pipeline_is_sequential_to_the_bit),
];

fn accumulated_gradients_are_those_of_the_whole_batch(world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        for schedule in schedules() {
            let whole = step(&mesh, &schedule, (7, 1), None).map_err(text)?;
            // 7 samples in 2, 3, 7 and (more than there are) 9 micro-batches.
            for micro_batches in [2, 3, 7, 9] {
                let cut = step(&mesh, &schedule, (7, micro_batches), None).map_err(text)?;
                let off = distance(&cut.gradients, &whole.gradients);
                ensure(off < 1e-5 && (cut.loss / whole.loss - 1.0).abs() < 1e-6, || {
                    format!("{mesh:?}, {schedule}, {micro_batches} micro-batches: off by {off:e}")
                })?;
            }
        }
    }
    Ok(())
}

/// Fewer micro-batches than ranks, one, more, and unequal ones.
fn a_pipeline_is_sequential_to_the_bit(world: &Communicator) -> Checked {
    for (n, micro_batches) in [(4, 1), (4, 2), (7, 3), (8, 4), (9, 6), (1, 3)] {
        let sequential = Schedule::sequential();
        let alone = step(&Mesh::alone(), &sequential, (n, micro_batches), None).map_err(text)?;
        for mesh in meshes(world)? {
            let expected = step(&mesh, &sequential, (n, micro_batches), None).map_err(text)?;
            for activations in [Activations::Store, Activations::Recompute] {
                let schedule = Schedule { activations, ..pipeline() };
                let what = format!("{mesh:?}, {schedule}, {n} samples in {micro_batches} micro-batches");
                let got = step(&mesh, &schedule, (n, micro_batches), None).map_err(text)?;
                same(&what, &got.loss, &expected.loss)?;
                same_bits(&what, &got.gradients, &expected.gradients)?;
                if mesh.shape().data_ranks == 1 {
                    same(&what, &got.loss, &alone.loss)?;
                    same_bits(&what, &got.gradients, &alone.gradients)?;
                }
            }
        }
    }
    Ok(())
}
