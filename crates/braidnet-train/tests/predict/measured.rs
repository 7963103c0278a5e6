use braidnet_comm::{Communicator, Degree, Launch, Mesh, MeshConfig, launch};
use braidnet_nn::{Network, OdeNet2dConfig};
use braidnet_train::predict::{Measuring, Prediction, Setup, predict};
use braidnet_train::trainer::Plan;
use braidnet_train::{LayerParallel, OptimizerConfig, TrainError, cross_entropy};
use burn::tensor::{Device, Tensor};

use super::*;

const LAYERS: usize = 16;
const SAMPLES: usize = 3;
const OPTIMIZER: OptimizerConfig = OptimizerConfig::Sgd { momentum: 0.9 };

/// The costs of a real network, its plan, and the parameters of this rank before and behind the measuring.
fn measure(world: &Communicator) -> Result<(Costs, Plan, [Vec<f32>; 2]), TrainError> {
    let device = Device::flex();
    let mesh_config = MeshConfig { layer_ranks: Degree::Auto, data_ranks: Degree::Exactly(1) };
    let mesh = Mesh::new(world, &mesh_config, LAYERS)?;
    let config = OdeNet2dConfig::new(LAYERS, 2);
    let schedule = layer_parallel(4);
    let partition = schedule.partition(&config.grid()?, world.size(), config.coarse)?;
    let network = config.init(partition.layers(world.rank()), 4, 0, &device)?;
    let mut model = LayerParallel::new(network, &config.grid()?, &partition, &schedule, world)?;
    let parameters = |model: &LayerParallel<_>| {
        let mut all: Vec<f32> = Vec::new();
        Network::visit_parameters(model.network(), |p| all.extend(p.values.into_data().iter::<f32>()));
        all
    };
    let before = parameters(&model);
    let what = Measuring { network: "odenet".to_owned(), operator: config.coarse, optimizer: OPTIMIZER, repeats: 2 };
    let input = Tensor::<4>::ones([SAMPLES, 1, 28, 28], &device);
    let target = Tensor::from_data([1, 0, 2], &device);
    let loss = |output| cross_entropy(output, target.clone());
    let costs = model.measure_costs(&what, SAMPLES, Some(&input), loss)?;
    let plan = Plan::new(&mesh, &model, &schedule, OPTIMIZER, (SAMPLES, 1))?;
    let behind = parameters(&model);
    Ok((costs, plan, [before, behind]))
}

#[test]
fn measured_costs_describe_the_network() {
    for ranks in [1, 2] {
        let found = launch(&Launch::ranks(ranks), |world| measure(&world)).unwrap();
        let (costs, plan, _) = &found[0];
        for (other, _, [before, behind]) in &found {
            assert_eq!(other, costs);
            assert!(before == behind, "measuring has trained the network");
        }
        costs.check().unwrap();
        assert_eq!((costs.n_layers(), costs.layers.len()), (LAYERS, 1), "{costs:?}");
        let parameters: u64 = plan.ranks.iter().map(|rank| rank.parameters).sum();
        assert_eq!(costs.n_parameters() as u64, parameters);
        let layer = &costs.layers[0];
        let coarse = layer.coarse.as_ref().unwrap();
        assert!(coarse.linearize.is_none());
        for times in
            [&layer.forward, &layer.linearize, &layer.pullback, &layer.back, &layer.gradients, &coarse.pullback]
        {
            assert!(times.0[0] > 0.0);
        }
        predicted_as_planned(costs, plan, ranks);
    }
}

/// Layers, messages and memory of a prediction are those of the plan that counts a solve.
fn predicted_as_planned(costs: &Costs, plan: &Plan, ranks: usize) {
    let setup = Setup { optimizer: OPTIMIZER, ..Setup::new(layer_parallel(4), ranks, SAMPLES) };
    let Prediction { ranks, .. } = predict(costs, &free(), &setup).unwrap();
    for (predicted, planned) in ranks.iter().zip(&plan.ranks) {
        assert_eq!((&predicted.layers, predicted.messages), (&planned.layers, planned.messages));
        assert_eq!((predicted.bytes, predicted.memory), (planned.bytes, planned.memory));
    }
}
