//! Ways of a training step of an ODENet of blocks, of any blocks: time, state error and gradient error, layers shared out by count
//! and by cost.
//!
//! `cargo bench -p benches --bench blocks -- [options]`; under `mpirun -n 2` (build with `--features mpi`) the two ranks are
//! processes.
#![allow(missing_docs)]

use std::process::ExitCode;

use benches::{Built, CompareArgs, Variant, Way, compare, on_ranks, samples};
use braidnet::comm::mpi_world_size;
use braidnet::nn::{BlockNet, BlockNetConfig, NormKind};
use braidnet::prelude::*;
use braidnet::train::Balance;
use clap::Parser;

/// Layers that begin with equal parameters.
const RUN: usize = 4;

#[derive(Debug, Clone, Parser)]
struct Options {
    /// Layers of every block.
    #[arg(value_delimiter = ',', default_values_t = [16, 16, 16, 16])]
    blocks: Vec<usize>,
    /// Channels of the first block.
    #[arg(long, default_value_t = 8)]
    channels: usize,
    /// Samples of a batch.
    #[arg(long, default_value_t = 20)]
    batch: usize,
    /// Classes of the generated pictures.
    #[arg(long, default_value_t = 20)]
    classes: usize,
    /// Sum of all time steps.
    #[arg(long, default_value_t = 1.0)]
    final_time: f64,
    /// Group norm in groups of four channels in place of batch norm.
    #[arg(long)]
    group_norm: bool,
    #[command(flatten)]
    compare: CompareArgs,
}

fn main() -> ExitCode {
    let options = Options::parse();
    on_ranks(mpi_world_size().or(Some(2)), &options.compare, |world, device| {
        let (mut by_cost, by_count) = (built(&options, device)?, built(&options, device)?);
        by_cost.measure_costs(world)?;
        if let (Some(costs), 0) = (by_cost.costs.clone(), world.rank()) {
            let schedule = Schedule::layer_parallel(SolveConfig::new(RUN));
            println!("{}", Balance::new(costs, &schedule, &by_cost.grid, world.size(), by_cost.operator)?);
        }
        let networks = &mut [by_cost, by_count];
        compare("blocks", world, networks, &mut variants(world.size()), &options.compare)
    })
}

fn variants(ranks: usize) -> Vec<Variant> {
    let mut all: Vec<_> = [1, ranks].map(|ranks| Variant::new(Way::sequential(), ranks)).into();
    let by_count = Way::parallel(2, 4, [1, 1]);
    let name = format!("{by_count}, by count");
    all.push(Variant::new(by_count, ranks).of_network(1).named(name));
    for (cfactor, iterations) in [(4, [1, 1]), (8, [1, 1]), (4, [2, 1]), (4, [2, 2]), (4, [0, 1]), (8, [0, 1])] {
        all.push(Variant::new(Way::parallel(2, cfactor, iterations), ranks));
    }
    all
}

fn built(options: &Options, device: &Device) -> Result<Built<BlockNet>, TrainError> {
    let Options { blocks, channels, batch, .. } = options;
    let config = BlockNetConfig {
        classes: options.classes,
        final_time: options.final_time,
        norm: Some(if options.group_norm { NormKind::Group(4) } else { NormKind::Batch }),
        ..BlockNetConfig::new(blocks.clone(), *channels)
    };
    let blocks: Vec<String> = blocks.iter().map(usize::to_string).collect();
    let name = format!(
        "blocks:{}@{batch}, {channels} channels, {:?}, final time {}",
        blocks.join(","),
        config.norm,
        config.final_time
    );
    let samples = samples::pictures(options.classes, batch * options.compare.n_batches(), device)?;
    let (grid, operator) = (config.grid()?, config.coarse);
    let device = device.clone();
    let init = move |range| config.init(range, RUN, 0, &device);
    Ok(Built::new((name, *batch), grid, operator, init, samples))
}
