//! What the training examples do alike: start, the sequential run to compare with, and the network spread over ranks.

use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use anyhow::ensure;
use braidnet::config::{self, Merged};
use braidnet::describe;
use braidnet::monitor::{logging, timeline};
use braidnet::nn::NetworkError;
use braidnet::prelude::*;
use clap::Parser;

/// Reads the options, starts logging (with a timeline where `traces` says so), and runs.
pub fn start<O: Parser>(
    defaults: &[(&str, &'static str)],
    traces: impl Fn(&O) -> bool,
    run: impl FnOnce(&O, &str) -> anyhow::Result<()>,
) -> ExitCode {
    let all = || {
        let Merged { options, table } = config::parse_with_defaults::<O>(defaults)?;
        logging::init(traces(&options).then(timeline::layer))?;
        run(&options, &table)
    };
    match all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", describe(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// That the folder of a file to be exported is there.
pub fn check_export(file: Option<&Path>) -> anyhow::Result<()> {
    let folder = file.and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), |folder| {
        ensure!(folder.is_dir(), "--export: {} is no folder; make it first", folder.display());
        Ok(())
    })
}

/// What `train` makes of a mesh of rank 0 alone, there, and on all ranks how that ended; the others wait for it.
pub fn alone<T>(
    world: &Communicator,
    n_layers: usize,
    train: impl FnOnce(&Mesh) -> anyhow::Result<T>,
    end: impl Fn(&T) -> End,
) -> anyhow::Result<(Option<T>, End)> {
    let mut trained = None;
    if let Some(alone) = world.first_ranks(1)? {
        let one = MeshConfig { layer_ranks: Degree::Exactly(1), data_ranks: Degree::Exactly(1) };
        trained = Some(train(&Mesh::new(&alone, &one, n_layers)?)?);
    }
    let stopped = trained.as_ref().map(|trained| u8::from(end(trained) == End::Stopped));
    let end = if world.broadcast(0, stopped, &())? == 1 { End::Stopped } else { End::Finished };
    Ok((trained, end))
}

/// The settings of a run: of the sequential one to compare with, no folder, no timeline, no probes; an exact schedule needs no
/// gradient errors.
pub fn settings(config: TrainerConfig, schedule: &Schedule, is_baseline: bool) -> TrainerConfig {
    match is_baseline {
        true => TrainerConfig { out: None, trace: None, micro_batches: 1, probe_every: None, ..config },
        false => TrainerConfig { probe_every: config.probe_every.filter(|_| !schedule.is_exact()), ..config },
    }
}

/// Spreads the network that `init` makes of a range of layers and the longest coarse step over the layer ranks. Layers are
/// divided, and parameters drawn, as `compared` wants it, also where `schedule` is the sequential one: both runs start from the
/// same parameters.
pub fn spread<N: Network>(
    (compared, schedule): (&Schedule, &Schedule),
    (grid, coarse): (&TimeGrid, CoarseOperator),
    mesh: &Mesh,
    init: impl FnOnce(Range<usize>, usize) -> Result<N, NetworkError>,
) -> anyhow::Result<LayerParallel<N>> {
    let partition = compared.partition(grid, mesh.shape().layer_ranks, coarse)?;
    let network = init(partition.layers(mesh.layer_rank()), compared.longest_run(grid)?)?;
    Ok(LayerParallel::new(network, grid, &partition, schedule, mesh.layer())?)
}
