//! The training loop, spelled out: eight layers on two ranks.

use braidnet::prelude::*;

fn main() -> Result<(), LaunchError> {
    let losses = launch(&Launch::ranks(2), |world| -> Result<Option<f64>, TrainError> {
        let (device, cfactor) = (Device::flex(), 4);
        let config = OdeNet2dConfig::new(8, 2);
        let grid = config.grid()?;
        let partition = Partition::even(config.layers, world.size())?;
        let schedule = Schedule::layer_parallel(SolveConfig::new(cfactor));
        let network = config.init(partition.layers(world.rank()), cfactor, 0, &device)?; // each rank builds only its layers
        let mut model = LayerParallel::new(network, &grid, &partition, &schedule, &world)?;
        let mut optimizer = Optimizer::new(OptimizerConfig::Adam, 1e-3)?;

        let data = DigitsConfig { n_train: 200, n_test: 0, seed: 0 }.generate().train;
        let mut last = None;
        for batch in sampler::epoch_order(data.len(), 0, 0).chunks(50) {
            let n = batch.len();
            let mut pixels = Vec::new();
            data.normalised_into(batch, &mut pixels);
            let input = Tensor::<4>::from_data(TensorData::new(pixels, [n, 1, 28, 28]), &device);
            let target = Tensor::<1, Int>::from_data(TensorData::new(data.labels(batch), [n]), &device);

            let forward = model.forward(n, Some(&input))?; // MGRIT forward, every rank
            let loss = forward.loss(|logits| cross_entropy(logits, target))?; // on the last rank; elsewhere a no-op
            let backward = loss.backward()?; // MGRIT adjoint, every rank
            optimizer.step(&mut model, backward.gradients); // each rank updates its own layers
            last = backward.loss;
        }
        Ok(last)
    })?;
    println!("loss of the last batch: {:.3}", losses.into_iter().flatten().last().unwrap_or(f64::NAN));
    Ok(())
}
