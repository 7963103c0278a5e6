//! Training on threads: optimizers, faults, bad settings.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::HashMap;

use braidnet_comm::{Communicator, Launch, launch};
use braidnet_grid::GridError;
use braidnet_nn::CoarseOperator;
use braidnet_train::{Optimizer, OptimizerConfig, Schedule, SolveConfig, TrainError};

use common::{BATCH, batch, config, loss, model};

/// Parameters before, gradients, and parameters after one step, by name.
fn one_step(optimizer: OptimizerConfig) -> HashMap<String, [Vec<f64>; 3]> {
    let mut model = model(&config(4), &Schedule::sequential(), &Communicator::alone()).unwrap();
    let (input, target) = batch(0);
    let backward = model.forward(BATCH, Some(&input)).unwrap().loss(loss(target)).unwrap().backward().unwrap();
    let mut all: HashMap<String, [Vec<f64>; 3]> = HashMap::new();
    model.network().visit_parameters(|p| {
        let gradient = backward.gradients.iter().find(|g| g.id == p.id).unwrap();
        let of = |t: &burn::tensor::Tensor<1>| t.to_data().iter::<f64>().collect::<Vec<_>>();
        all.insert(p.name.clone(), [of(&p.values), of(&gradient.values), Vec::new()]);
    });
    Optimizer::new(optimizer, 0.1).unwrap().step(&mut model, backward.gradients);
    model.network().visit_parameters(|p| {
        all.get_mut(&p.name).unwrap()[2] = p.values.to_data().iter::<f64>().collect();
    });
    all
}

#[test]
fn every_parameter_is_updated_by_the_rule() {
    for (name, [before, gradient, after]) in one_step(OptimizerConfig::Sgd { momentum: 0.9 }) {
        for ((b, g), a) in before.iter().zip(&gradient).zip(&after) {
            assert!((b - 0.1 * g - a).abs() < 1e-6, "{name}: {b} - 0.1 * {g} is not {a}");
        }
    }
    for (name, [before, gradient, after]) in one_step(OptimizerConfig::Adam) {
        for ((b, g), a) in before.iter().zip(&gradient).zip(&after) {
            // The first step of Adam has the length of the learning rate wherever the gradient is not tiny.
            if g.abs() > 1e-3 {
                assert!((b - 0.1 * g.signum() - a).abs() < 1e-3, "{name}: {b}, {g}, {a}");
            }
        }
    }
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let refused = |config, rate| Optimizer::new(config, rate).err().unwrap().to_string();
    assert!(refused(OptimizerConfig::Adam, 0.0).contains("learning rate is 0"));
    assert!(refused(OptimizerConfig::Adam, f64::NAN).contains("learning rate is NaN"));
    assert!(refused(OptimizerConfig::Sgd { momentum: 1.0 }, 0.1).contains("momentum is 1"));
    assert!(refused(OptimizerConfig::AdamW { weight_decay: -1.0 }, 0.1).contains("weight decay is -1"));
}

#[test]
fn more_ranks_than_layers_is_refused() {
    let run = launch(&Launch::ranks(5), |world| {
        model(&config(4), &Schedule::sequential(), &world).map(|_| ()).map_err(|e| e.to_string())
    });
    let expected = GridError::MoreRanksThanLayers { n_ranks: 5, n_layers: 4 };
    assert!(run.unwrap_err().to_string().contains(&expected.to_string()));
}

#[test]
fn a_nan_on_any_rank_names_layer_and_rank_and_hangs_nobody() {
    for ranks in 1..=3 {
        let run = launch(&Launch::ranks(ranks), |world| -> Result<(), TrainError> {
            let mut model = model(&config(6), &Schedule::layer_parallel(SolveConfig::new(2)), &world)?;
            let (input, target) = batch(0);
            model.forward(BATCH, Some(&(input * f64::INFINITY)))?.loss(loss(target))?.backward()?;
            Ok(())
        });
        let message = run.unwrap_err().to_string();
        assert!(message.contains("not finite") && message.contains("rank"), "{message}");
    }
}

#[test]
fn a_coarse_operator_that_the_partition_rules_out_is_refused_before_training() {
    let config = braidnet_nn::OdeNet2dConfig { coarse: CoarseOperator::Sum, ..config(8) };
    let schedule = Schedule::layer_parallel(SolveConfig::new(4));
    let on = |ranks: usize| {
        launch(&Launch::ranks(ranks), |world| model(&config, &schedule, &world).map(|_| ()).map_err(|e| e.to_string()))
    };
    assert!(on(2).is_ok());
    let message = on(3).unwrap_err().to_string();
    assert!(message.contains("split") && message.contains("FirstLayer"), "{message}");
}

#[test]
fn a_wrong_number_of_ranks_is_refused() {
    let one = Communicator::alone();
    let network = config(4).init(0..2, 1, 0, &burn::tensor::Device::flex()).unwrap();
    let partition = braidnet_grid::Partition::even(4, 2).unwrap();
    let grid = config(4).grid().unwrap();
    let refused = braidnet_train::LayerParallel::new(network, &grid, &partition, &Schedule::sequential(), &one);
    assert!(refused.err().unwrap().to_string().contains("2 ranks"));
}
