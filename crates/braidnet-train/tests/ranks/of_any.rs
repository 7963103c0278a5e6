//! What training makes of networks of any kind.

use std::path::Path;

use braidnet_comm::{Communicator, Mesh};
use braidnet_monitor::metrics::Step;
use braidnet_train::{Activations, OptimizerConfig, Schedule, TrainerConfig};

use crate::common::compare::{Checked, distance, ensure, same, same_bits, text};
use crate::common::families::{Family, alone_of, fit_of, fresh_gradient, model_of};
use crate::common::pipeline;
use crate::common::run::{mesh, meshes, training, with_folder};

/// Two epochs of two steps on six samples, the second step with two of them; clipped.
pub fn eventful(out: &Path) -> TrainerConfig {
    TrainerConfig { batch: 4, micro_batches: 2, clip: Some(0.5), optimizer: OptimizerConfig::Adam, ..training(out) }
}

/// The curve does not depend on layer ranks.
pub fn curve<F: Family>(family: &F, schedules: &[Schedule], world: &Communicator) -> Checked {
    for schedule in schedules {
        with_folder(world, |folder| {
            let what = format!("{family:?}, {schedule}");
            let expected = alone_of(family, schedule, eventful, 6)?;
            let got = fit_of(family, &mesh(world, world.size())?, schedule, &eventful(folder), 6).map_err(text)?;
            same(&what, &(got.steps.len(), got.losses()), &(4, expected.losses()))?;
            same(&what, &got.epochs, &expected.epochs)?;
            same_bits(&what, &got.parameters, &expected.parameters)?;
            let norms = |steps: &[Step]| steps.iter().map(|s| (s.gradient_norm, s.clipped)).collect::<Vec<_>>();
            same(&what, &norms(&got.steps), &norms(&expected.steps))?;
            let losses: Vec<f64> = expected.losses().into_iter().flatten().collect();
            // The same samples again, in another order. Alone in a micro-batch they teach a batch norm nothing.
            ensure(family.couples_samples() || losses[2] + losses[3] < losses[0] + losses[1], || {
                format!("{what}: losses {losses:?}")
            })
        })?;
    }
    Ok(())
}

/// On any mesh and cut the exact schedules have the same gradients, and, where samples are on their own, those of one rank but for
/// rounding.
pub fn agree<F: Family>(family: &F, world: &Communicator) -> Checked {
    let exact = Schedule::sequential();
    let whole = fresh_gradient(family, &Mesh::alone(), &exact, (7, 1), None).map_err(text)?;
    for mesh in meshes(world)? {
        for cut in [(7, 1), (7, 3)] {
            let expected = fresh_gradient(family, &mesh, &exact, cut, None).map_err(text)?;
            let what = format!("{family:?}, {mesh:?}, {cut:?}");
            if !family.couples_samples() {
                let off = distance(&expected.gradients, &whole.gradients);
                ensure(off < 1e-5, || format!("{what}: off by {off:e}"))?;
                ensure((expected.loss / whole.loss - 1.0).abs() < 1e-6, || format!("{what}: loss {}", expected.loss))?;
            }
            for activations in [Activations::Store, Activations::Recompute] {
                for schedule in [Schedule { activations, ..exact.clone() }, Schedule { activations, ..pipeline() }] {
                    let got = fresh_gradient(family, &mesh, &schedule, cut, None).map_err(text)?;
                    let what = format!("{what}, {schedule}");
                    same(&what, &got.loss, &expected.loss)?;
                    same_bits(&what, &got.gradients, &expected.gradients)?;
                }
            }
        }
    }
    Ok(())
}

/// A sequential forward pass is the plain loop over the layers.
pub fn plain<F: Family>(family: &F, world: &Communicator) -> Checked {
    let samples: Vec<_> = (0..4).map(|n| family.sample(n)).collect();
    let input = F::inputs(&samples);
    let mut model = model_of(family, &Schedule::sequential(), world).map_err(text)?;
    let values = |output: burn::tensor::Tensor<2>| output.to_data().iter::<f32>().collect::<Vec<_>>();
    let scheduled = model.evaluate(4, Some(&input)).map_err(text)?.map(values);
    let exact = model.evaluate_exact(4, Some(&input)).map_err(text)?.map(values);
    let expected = (world.rank() + 1 == world.size()).then(|| family.plain_output(&input)).transpose()?.map(values);
    same(&format!("{family:?}, as scheduled"), &scheduled, &expected)?;
    same(&format!("{family:?}, exact"), &exact, &expected)
}
