//! The norm of the gradients, and clipping by it.

use braidnet_comm::Communicator;
use braidnet_comm::testing::RankTest;
use braidnet_nn::{Gradients, OdeNet2d};
use braidnet_train::{LayerParallel, Schedule, TrainError, clip, gradient_norm};

use crate::common::compare::{Checked, Values, by_name, distance, ensure, same, same_bits, text};
use crate::common::{BATCH, LAYERS, batch, config, dot, loss, model};

pub const TESTS: &[RankTest] = &[
    ("the_norm_is_that_of_all_layers_on_any_ranks", the_norm_is_that_of_all_layers_on_any_ranks),
    ("the_norm_is_as_if_read_one_by_one", the_norm_is_as_if_read_one_by_one),
    ("clipping_is_pytorchs", clipping_is_pytorchs),
];

/// The norm, this rank's gradients, and what `then` makes of them, by name.
fn gradients(comm: &Communicator, then: impl FnOnce(&mut Gradients, f64)) -> Result<(f64, [Values; 2]), TrainError> {
    let mut model = model(&config(LAYERS), &Schedule::sequential(), comm)?;
    let (input, target) = batch(0);
    let mut gradients = model.forward(BATCH, Some(&input))?.loss(loss(target))?.backward()?.gradients;
    let before = by_name(model.network(), &gradients);
    let norm = gradient_norm(model.network(), &gradients, comm)?;
    then(&mut gradients, norm);
    Ok((norm, [before, by_name(model.network(), &gradients)]))
}

/// The norm, with the squares of every parameter read one by one.
fn read_one_by_one(model: &LayerParallel<OdeNet2d>, gradients: &Gradients) -> f64 {
    let mut sum = 0.0;
    model.network().visit_parameters(|p| {
        let own = gradients.iter().find(|g| g.id == p.id).map(|g| g.values.clone());
        sum += own.map_or(0.0, |g| (g.clone() * g).sum().into_scalar::<f64>());
    });
    sum.sqrt()
}

fn the_norm_is_as_if_read_one_by_one(comm: &Communicator) -> Checked {
    let alone = Communicator::alone();
    let mut model = model(&config(LAYERS), &Schedule::sequential(), &alone).map_err(text)?;
    let (input, target) = batch(0);
    let forward = model.forward(BATCH, Some(&input)).and_then(|f| f.loss(loss(target)));
    let mut gradients = forward.and_then(|l| l.backward()).map_err(text)?.gradients;
    // On the number of ranks depends how many gradients are missing.
    for n in 0..=comm.size() {
        let norm = gradient_norm(model.network(), &gradients, &alone).map_err(text)?;
        let expected = read_one_by_one(&model, &gradients);
        same(&format!("bits of the norm without {n} gradients"), &norm.to_bits(), &expected.to_bits())?;
        gradients.swap_remove(3 * n);
    }
    gradients.clear();
    same("norm of no gradients", &gradient_norm(model.network(), &gradients, &alone).map_err(text)?, &0.0)
}

fn the_norm_is_that_of_all_layers_on_any_ranks(comm: &Communicator) -> Checked {
    let (norm, _) = gradients(comm, |_, _| ()).map_err(text)?;
    let (alone, [all, _]) = gradients(&Communicator::alone(), |_, _| ()).map_err(text)?;
    same("bits of the norm", &norm.to_bits(), &alone.to_bits())?;
    let plain = all.values().map(|g| dot(g, g)).sum::<f64>().sqrt();
    ensure(plain > 0.1 && (norm / plain - 1.0).abs() < 1e-6, || format!("norm {norm}, computed plainly {plain}"))
}

/// `clip_grad_norm_`: factor `limit / (norm + 1e-6)`, at most 1.
fn clipping_is_pytorchs(comm: &Communicator) -> Checked {
    let mut clipped = None;
    let (norm, [before, after]) =
        gradients(comm, |g, norm| clipped = Some(clip(g, norm, 0.25 * norm))).map_err(text)?;
    same("clipped", &clipped, &Some(true))?;
    let factor = (0.25 * norm / (norm + 1e-6)) as f32;
    let expected = before.into_iter().map(|(name, g)| (name, g.iter().map(|g| g * factor).collect())).collect();
    let off = distance(&after, &expected);
    ensure(off < 1e-6, || format!("off by {off:e}"))?;
    // A little above the norm, so that the 1e-6 does not matter.
    let (_, [before, after]) = gradients(comm, |g, norm| clipped = Some(clip(g, norm, norm + 1e-3))).map_err(text)?;
    same("clipped", &clipped, &Some(false))?;
    same_bits("gradients within the limit", &after, &before)
}
