//! Ways of a training step of an ODENet on voxels, with coarser grids on coarse levels and without: time, state error and gradient
//! error.
//!
//! `cargo bench -p benches --bench voxels -- [SIDE] [options]`; under `mpirun -n 2` (build with `--features mpi`) the two ranks are
//! processes.
#![allow(missing_docs)]

use std::process::ExitCode;

use benches::{Built, CompareArgs, Variant, Way, compare, on_ranks, samples};
use braidnet::comm::mpi_world_size;
use braidnet::nn::{OdeNet3d, OdeNet3dConfig, Restriction, SpaceCoarsening};
use braidnet::prelude::*;
use braidnet::train::InitialGuess;
use clap::Parser;

#[derive(Debug, Clone, Parser)]
struct Options {
    /// Voxels along an edge.
    #[arg(default_values_t = [31])]
    side: Vec<usize>,
    #[arg(long, default_value_t = 128)]
    layers: usize,
    #[arg(long, default_value_t = 4)]
    channels: usize,
    /// Sum of all time steps.
    #[arg(long, default_value_t = 1.0)]
    final_time: f64,
    /// Samples of a batch.
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Coarsening factor.
    #[arg(long, default_value_t = 4)]
    cfactor: usize,
    /// FCF-relaxation of the finest level too.
    #[arg(long)]
    fcf: bool,
    /// Schedules: a few, or many.
    #[arg(long)]
    many: bool,
    #[command(flatten)]
    compare: CompareArgs,
}

fn main() -> ExitCode {
    let options = Options::parse();
    on_ranks(mpi_world_size().or(Some(2)), &options.compare, |world, device| {
        for side in &options.side {
            let mut networks: Vec<_> =
                cases().map(|case| built(&options, *side, case, device)).into_iter().collect::<Result<_, _>>()?;
            compare("voxels", world, &mut networks, &mut variants(&options, world.size()), &options.compare)?;
        }
        Ok(())
    })
}

/// The networks: from which levels they coarsen, and how.
fn cases() -> [(&'static str, Vec<usize>, Restriction); 5] {
    use Restriction::{FullWeighting, Injection};
    [
        ("", vec![], FullWeighting),
        (", grids 0 to 1", vec![0], FullWeighting),
        (", grids 0 to 1 to 2", vec![0, 1], FullWeighting),
        (", grids 1 to 2", vec![1], FullWeighting),
        (", grids 0 to 1, injection", vec![0], Injection),
    ]
}

fn variants(options: &Options, ranks: usize) -> Vec<Variant> {
    let mut all: Vec<_> = [1, ranks].map(|ranks| Variant::new(Way::sequential(), ranks)).into();
    // No iterations: layer by layer.
    let mut add = |ranks, levels, iterations: [usize; 2], guess, case: usize| {
        let mut way = Way::parallel(levels, options.cfactor, iterations);
        way = if options.fcf { way.fcf() } else { way };
        let carried = if guess == InitialGuess::Carried { ", carried" } else { "" };
        let name = format!("{way}{}{carried}", cases()[case].0);
        for solve in [&mut way.schedule.forward, &mut way.schedule.backward] {
            solve.guess = guess;
        }
        all.push(Variant::new(way, ranks).named(name).of_network(case));
    };
    use InitialGuess::{Carried, Zero};
    for ranks in [1, ranks] {
        add(ranks, 2, [1, 1], Zero, 0);
        add(ranks, 3, [1, 1], Zero, 0);
        for case in 1..=3 {
            add(ranks, 3, [1, 1], Carried, case);
        }
    }
    add(ranks, 2, [1, 1], Carried, 1);
    add(ranks, 2, [0, 1], Zero, 0);
    for case in 0..=3 {
        add(ranks, 3, [0, 1], if case == 0 { Zero } else { Carried }, case);
    }
    if options.many {
        for case in 1..=3 {
            add(ranks, 3, [1, 1], Zero, case);
        }
        add(ranks, 3, [1, 1], Carried, 4);
        for case in 0..=3 {
            add(ranks, 3, [2, 2], if case == 0 { Zero } else { Carried }, case);
        }
    }
    all
}

fn built(
    options: &Options,
    side: usize,
    (grids, levels, restriction): (&str, Vec<usize>, Restriction),
    device: &Device,
) -> Result<Built<OdeNet3d>, TrainError> {
    let Options { layers, channels, final_time, batch, cfactor, .. } = *options;
    let config = OdeNet3dConfig {
        channels,
        final_time,
        space: (!levels.is_empty()).then_some(SpaceCoarsening { restriction, levels }),
        ..OdeNet3dConfig::new(layers, side)
    };
    let name = format!("voxels:{side}x{layers}@{batch}, {channels} channels, final time {final_time}{grids}");
    let samples = samples::solids(side, batch * options.compare.n_batches(), device)?;
    let (grid, operator) = (config.grid()?, config.coarse);
    let device = device.clone();
    let init = move |range| config.init(range, cfactor, 0, &device);
    Ok(Built::new((name, batch), grid, operator, init, samples))
}
