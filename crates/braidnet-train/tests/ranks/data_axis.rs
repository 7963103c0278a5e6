//! The data axis: gradients of shards add up to those of the whole batch.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_train::{OptimizerConfig, Schedule, SolveConfig, TrainerConfig};

use crate::common::compare::{Checked, distance, ensure, parameters, same, same_bits, text};
use crate::common::run::{fit, mesh, meshes, step, training, with_folder};
use crate::common::{LAYERS, Set, config, model, pipeline, schedules};

pub const TESTS: &[RankTest] = &[
    ("shards_add_up_to_the_whole_batch", shards_add_up_to_the_whole_batch),
    ("sums_have_the_same_bits_every_time_and_everywhere", sums_have_the_same_bits_every_time_and_everywhere),
    ("the_size_of_buckets_does_not_change_the_bits", the_size_of_buckets_does_not_change_the_bits),
    ("copies_of_the_network_stay_equal_to_the_bit", copies_of_the_network_stay_equal_to_the_bit),
];

/// Shards of equal and of unequal size, and empty ones.
const SIZES: [usize; 4] = [8, 7, 3, 1];

fn shards_add_up_to_the_whole_batch(world: &Communicator) -> Checked {
    let mut all = schedules();
    all.push(pipeline());
    for mesh in meshes(world)? {
        for schedule in &all {
            for n in SIZES {
                let what = format!("{mesh:?}, {schedule}, {n} samples");
                let whole = step(&Mesh::alone(), schedule, (n, 1), None).map_err(text)?;
                let sharded = step(&mesh, schedule, (n, 1), None).map_err(text)?;
                let off = distance(&sharded.gradients, &whole.gradients);
                ensure(off < 1e-5, || format!("{what}: gradients off by {off:e}"))?;
                let off = (sharded.loss / whole.loss - 1.0).abs();
                ensure(off < 1e-6, || format!("{what}: loss {} instead of {}", sharded.loss, whole.loss))?;
            }
        }
    }
    Ok(())
}

fn sums_have_the_same_bits_every_time_and_everywhere(world: &Communicator) -> Checked {
    let schedule = Schedule::layer_parallel(SolveConfig::new(2));
    for mesh in meshes(world)? {
        for n in SIZES {
            let what = format!("{mesh:?}, {n} samples");
            let once = step(&mesh, &schedule, (n, 2), None).map_err(text)?;
            let again = step(&mesh, &schedule, (n, 2), None).map_err(text)?;
            same_bits(&what, &again.gradients, &once.gradients)?;
            let own: Vec<f32> = once.gradients.values().flatten().copied().collect();
            for other in mesh.data().all_gather(own.clone(), &()).map_err(text)? {
                ensure(other == own, || format!("{what}: data ranks have different sums"))?;
            }
        }
    }
    Ok(())
}

fn the_size_of_buckets_does_not_change_the_bits(world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        for schedule in [Schedule::sequential(), Schedule::layer_parallel(SolveConfig::new(2)), pipeline()] {
            let one = step(&mesh, &schedule, (7, 2), None).map_err(text)?;
            // One bucket per parameter; some for several; several in all.
            for bucket in [1, 100, 1000] {
                let many = step(&mesh, &schedule, (7, 2), Some(bucket)).map_err(text)?;
                let what = format!("{mesh:?}, {schedule}, buckets of {bucket} bytes");
                same_bits(&what, &many.gradients, &one.gradients)?;
            }
        }
    }
    Ok(())
}

fn copies_of_the_network_stay_equal_to_the_bit(world: &Communicator) -> Checked {
    for layer_ranks in (1..=world.size()).filter(|n| world.size().is_multiple_of(*n)) {
        with_folder(world, |folder| {
            let mesh = mesh(world, layer_ranks)?;
            let adam = TrainerConfig { optimizer: OptimizerConfig::Adam, ..training(folder) };
            let ran = fit(&mesh, &Schedule::sequential(), &adam, &Set::new(12)).map_err(text)?;
            same("steps", &ran.steps.len(), &6)?;
            let own: Vec<f32> = ran.parameters.values().flatten().copied().collect();
            let copies = mesh.data().all_gather(own.clone(), &()).map_err(text)?;
            same("copies", &copies.len(), &mesh.shape().data_ranks)?;
            ensure(copies.iter().all(|copy| *copy == own), || format!("{mesh:?}: copies differ"))?;
            // They were trained at all.
            let fresh = model(&config(LAYERS), &Schedule::sequential(), mesh.layer()).map_err(text)?;
            let moved = distance(&ran.parameters, &parameters(fresh.network()));
            ensure(moved > 1e-3, || format!("{mesh:?}: parameters moved by {moved:e} only"))
        })?;
    }
    Ok(())
}
