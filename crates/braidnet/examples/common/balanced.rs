//! Layers shared out by what they cost.

use std::ops::Range;

use braidnet::nn::NetworkError;
use braidnet::prelude::*;
use braidnet::train::Balance;

use crate::run::spread;

/// As [`crate::run::spread`]; where `samples` are given, layers are first shared out by what they cost on a batch of so many, and rank 0 says so.
pub fn spread_balanced<N: Network>(
    (compared, schedule): (&Schedule, &Schedule),
    (grid, coarse): (&TimeGrid, CoarseOperator),
    mesh: &Mesh,
    samples: Option<usize>,
    init: impl Fn(Range<usize>, usize) -> Result<N, NetworkError>,
) -> anyhow::Result<LayerParallel<N>> {
    let by_count = spread((compared, schedule), (grid, coarse), mesh, &init)?;
    let n_ranks = mesh.shape().layer_ranks;
    let Some(samples) = samples.filter(|_| n_ranks > 1) else { return Ok(by_count) };
    // All ranks of the data axis must share the layers out alike.
    let costs = by_count.layer_costs(samples)?;
    let costs = mesh.world().broadcast(0, (mesh.world().rank() == 0).then_some(costs), &())?;
    let balance = Balance::new(costs, compared, grid, n_ranks, coarse)?;
    if mesh.world().rank() == 0 {
        println!("{balance}");
    }
    let network = init(balance.partition.layers(mesh.layer_rank()), compared.longest_run(grid)?)?;
    Ok(LayerParallel::new(network, grid, &balance.partition, schedule, mesh.layer())?)
}
