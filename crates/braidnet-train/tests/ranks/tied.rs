//! A head that is the table of embeddings: two copies on two ranks, one parameter.

use std::path::Path;

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_mgrit::Relaxation;
use braidnet_nn::transformer::{EncoderDecoderConfig, TransformerConfig};
use braidnet_nn::{Gradients, Network};
use braidnet_train::{LayerParallel, OptimizerConfig, Schedule, SolveConfig, TrainerConfig, gradient_norm};

use crate::common::compare::{Checked, Values, by_name, distance, ensure, same, same_bits, text};
use crate::common::families::{Family, alone_of, decoder, fit_of, fresh_gradient, gradient_of, model_of, pair};
use crate::common::run::{meshes, training, with_folder};
use crate::common::{dot, pipeline};

pub const TESTS: &[RankTest] = &[
    ("both_copies_stay_equal_to_the_bit", both_copies_stay_equal_to_the_bit),
    ("the_gradient_of_a_tied_table_is_the_sum_of_both", the_gradient_of_a_tied_table_is_the_sum_of_both),
    ("the_gradient_of_a_tied_table_is_that_of_the_loss", the_gradient_of_a_tied_table_is_that_of_the_loss),
    ("a_tied_table_counts_once_in_the_norm", a_tied_table_counts_once_in_the_norm),
];

/// The names of the two copies.
type Copies = [&'static str; 2];
const SINGLE: Copies = ["open.embed.weight", "close.head.weight"];
const PAIR: Copies = ["open.tgt.weight", "close.head.weight"];

fn single(tied: bool) -> TransformerConfig {
    TransformerConfig { tied, ..decoder(6) }
}

fn double(tied: bool) -> EncoderDecoderConfig {
    EncoderDecoderConfig { tied, ..pair(3, false) }
}

fn schedules() -> [Schedule; 3] {
    let solve = SolveConfig { max_iters: 2, relaxation: Relaxation::Fcf(1), ..SolveConfig::new(2) };
    [Schedule::sequential(), Schedule::layer_parallel(solve), pipeline()]
}

/// What the ranks that have one of these parameters say of it, all ranks' values one after the other.
fn gathered(own: &Values, name: &str, world: &Communicator) -> Result<Vec<Vec<f32>>, String> {
    let all = world.all_gather(own.get(name).cloned().unwrap_or_default(), &()).map_err(text)?;
    Ok(all.into_iter().filter(|values: &Vec<f32>| !values.is_empty()).collect())
}

fn eventful(out: &Path, optimizer: OptimizerConfig) -> TrainerConfig {
    TrainerConfig { batch: 4, micro_batches: 2, clip: Some(0.5), optimizer, ..training(out) }
}

fn stay_equal<F: Family>(family: &F, copies: Copies, world: &Communicator) -> Checked {
    let optimizers = [OptimizerConfig::Sgd { momentum: 0.9 }, OptimizerConfig::AdamW { weight_decay: 0.1 }];
    for (schedule, optimizer) in schedules().iter().zip(optimizers.into_iter().cycle()) {
        let expected = alone_of(family, schedule, |out| eventful(out, optimizer), 6)?;
        for mesh in meshes(world)? {
            with_folder(world, |folder| {
                let ran = fit_of(family, &mesh, schedule, &eventful(folder, optimizer), 6).map_err(text)?;
                let what = format!("{family:?}, {mesh:?}, {schedule}");
                let mut all = Vec::new();
                for name in copies {
                    all.extend(gathered(&ran.parameters, name, world)?);
                }
                same(&what, &all.len(), &(2 * mesh.shape().data_ranks))?;
                ensure(all.iter().all(|copy| *copy == all[0]), || format!("{what}: copies differ"))?;
                if mesh.shape().data_ranks == 1 {
                    same(&what, &ran.losses(), &expected.losses())?;
                    same_bits(&what, &ran.parameters, &expected.parameters)?;
                }
                let off = distance(&ran.parameters, &expected.parameters);
                ensure(off < 1e-3, || format!("{what}: parameters off by {off:e}"))
            })?;
        }
    }
    Ok(())
}

fn both_copies_stay_equal_to_the_bit(world: &Communicator) -> Checked {
    stay_equal(&single(true), SINGLE, world)?;
    stay_equal(&double(true), PAIR, world)
}

/// Parameters in PyTorch's layout, as they are loaded.
fn stored<N: Network>(network: &N) -> std::collections::BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let mut all = std::collections::BTreeMap::new();
    network.visit_parameters(|p| {
        let values = p.to_torch_layout(p.values.clone()).to_data().iter::<f32>().collect();
        all.insert(p.name, (p.shape, values));
    });
    all
}

/// The table moved by `by`, in both copies.
fn moved<N: Network>(model: &mut LayerParallel<N>, copies: Copies, by: &[f32]) -> Checked {
    let all = stored(model.network());
    let source = |name: &str| {
        let (shape, mut values) = all.get(name).cloned()?;
        if copies.contains(&name) {
            values.iter_mut().zip(by).for_each(|(value, by)| *value += by);
        }
        Some((shape, values))
    };
    let network = model.network().clone().load(source).map_err(text)?;
    model.update(|_| network);
    Ok(())
}

/// Against a network whose two tables are equal, but not one.
fn sum_of_parts<F: Family>([tied, free]: [&F; 2], copies: Copies, world: &Communicator) -> Checked {
    let all = stored(model_of(tied, &Schedule::sequential(), &Communicator::alone()).map_err(text)?.network());
    let mut alone = model_of(free, &Schedule::sequential(), &Communicator::alone()).map_err(text)?;
    let network = alone.network().clone().load(|name| all.get(name).cloned()).map_err(text)?;
    alone.update(|_| network);
    for mesh in meshes(world)? {
        for schedule in [Schedule::sequential(), pipeline()] {
            let what = format!("{tied:?}, {mesh:?}, {schedule}");
            let parts = gradient_of(&mut alone, free, &Mesh::alone(), &Schedule::sequential(), (4, 2)).map_err(text)?;
            let [open, close] = copies.map(|name| &parts.gradients[name]);
            let sum: Vec<f32> = open.iter().zip(close).map(|(a, b)| a + b).collect();
            ensure(dot(open, open) > 1e-4 && dot(close, close) > 1e-4, || format!("{what}: a part is nothing"))?;
            let expected: Values = copies.map(|name| (name.to_owned(), sum.clone())).into();
            let got = fresh_gradient(tied, &mesh, &schedule, (4, 2), None).map_err(text)?;
            let own: Values = got.gradients.into_iter().filter(|(name, _)| expected.contains_key(name)).collect();
            let ends = mesh.layer_rank() == 0 || mesh.layer_rank() + 1 == mesh.shape().layer_ranks;
            same(&what, &!own.is_empty(), &ends)?;
            if mesh.shape().data_ranks == 1 && ends {
                same_bits(&what, &own, &expected)?;
            }
            let off = distance(&own, &expected);
            ensure(!ends || off < 1e-5, || format!("{what}: off by {off:e}"))?;
        }
    }
    Ok(())
}

fn the_gradient_of_a_tied_table_is_the_sum_of_both(world: &Communicator) -> Checked {
    sum_of_parts([&single(true), &single(false)], SINGLE, world)?;
    sum_of_parts([&double(true), &double(false)], PAIR, world)
}

/// Central differences of the loss, along the gradient and along another direction.
fn differences<F: Family>(family: &F, copies: Copies, world: &Communicator) -> Checked {
    let mesh = crate::common::run::mesh(world, world.size())?;
    let schedule = Schedule::sequential();
    let mut model = model_of(family, &schedule, world).map_err(text)?;
    let step = gradient_of(&mut model, family, &mesh, &schedule, (4, 1)).map_err(text)?;
    let gradient = gathered(&step.gradients, copies[0], world)?.remove(0);
    // Gradients are of the sum over the number of samples, losses are means over the items.
    let items = world.all_gather(step.report.forwarded.items as f64, &()).map_err(text)?.iter().sum::<f64>();
    let gradient: Vec<f32> = gradient.iter().map(|g| (f64::from(*g) * 4.0 / items) as f32).collect();
    let other: Vec<f32> = (0..gradient.len()).map(|i| ((17 * i + 3) as f32).sin()).collect();
    let mixed: Vec<f32> = gradient.iter().zip(&other).map(|(g, o)| g.signum() * o.abs()).collect();
    for direction in [gradient.clone(), mixed] {
        let eps = 0.02 / dot(&direction, &direction).sqrt();
        let by: Vec<f32> = direction.iter().map(|d| (f64::from(*d) * eps) as f32).collect();
        let mut loss = |factor: f32| {
            moved(&mut model, copies, &by.iter().map(|d| factor * d).collect::<Vec<_>>())?;
            gradient_of(&mut model, family, &mesh, &schedule, (4, 1)).map_err(text).map(|step| step.loss)
        };
        let difference = loss(1.0)? - loss(-2.0)?;
        loss(1.0)?;
        let expected = 2.0 * dot(&gradient, &by);
        ensure(expected > 1e-4 && (difference / expected - 1.0).abs() < 0.01, || {
            format!("{family:?}: the loss changes by {difference:e}, by its gradient {expected:e}")
        })?;
    }
    Ok(())
}

fn the_gradient_of_a_tied_table_is_that_of_the_loss(world: &Communicator) -> Checked {
    differences(&single(true), SINGLE, world)?;
    differences(&double(true), PAIR, world)
}

fn counts_once<F: Family>(family: &F, world: &Communicator) -> Checked {
    let samples: Vec<_> = (0..4).map(|n| family.sample(n)).collect();
    let gradients = |comm: &Communicator| {
        let mut model = model_of(family, &Schedule::sequential(), comm).map_err(text)?;
        let (input, target, task) = (F::inputs(&samples), F::targets(&samples), family.task());
        let loss = model.forward(4, Some(&input)).and_then(|f| f.loss(|output| (task.loss)(output, &target)));
        let gradients: Gradients = loss.and_then(|loss| loss.backward()).map_err(text)?.gradients;
        let norm = gradient_norm(model.network(), &gradients, comm).map_err(text)?;
        Ok::<_, String>((norm, by_name(model.network(), &gradients)))
    };
    let (norm, _) = gradients(world)?;
    let (alone, all) = gradients(&Communicator::alone())?;
    same("bits of the norm", &norm.to_bits(), &alone.to_bits())?;
    let sum = |skipped: &str| all.iter().filter(|(name, _)| *name != skipped).map(|(_, g)| dot(g, g)).sum::<f64>();
    let (once, twice) = (sum("close.head.weight").sqrt(), sum("").sqrt());
    ensure((norm / once - 1.0).abs() < 1e-6 && twice / once > 1.01, || {
        format!("{family:?}: norm {norm}, counted once {once}, twice {twice}")
    })
}

fn a_tied_table_counts_once_in_the_norm(world: &Communicator) -> Checked {
    counts_once(&single(true), world)?;
    counts_once(&double(true), world)
}
