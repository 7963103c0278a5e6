//! Ways of a training step of other encoders than the bench `study` has, and of decoders: time, state error and gradient error.
//!
//! `cargo bench -p benches --bench transformer -- [LAYERS] [options]`; under `mpirun -n 2` (build with `--features mpi`) the
//! two ranks are processes. `--final-time T`, `--piecewise`, `--operator` and `--decoder` choose the network.
#![allow(missing_docs)]

use std::process::ExitCode;

use benches::samples::{self, SENTENCE, WORD_CLASSES};
use benches::{Built, CompareArgs, RUN, Variant, Way, compare, on_ranks};
use braidnet::comm::mpi_world_size;
use braidnet::prelude::*;
use clap::Parser;

const SAMPLES: usize = 8;
const D_MODEL: usize = 128;
const VOCABULARY: usize = 1000;

#[derive(Debug, Clone, Parser)]
struct Options {
    /// Layers.
    #[arg(default_values_t = [32, 64])]
    layers: Vec<usize>,
    /// Sum of all time steps. [default: the number of layers]
    #[arg(long)]
    final_time: Option<f64>,
    /// Layers of a coarse step start equal.
    #[arg(long)]
    piecewise: bool,
    /// Operator of coarse steps: first-layer, midpoint or centred.
    #[arg(long, default_value = "centred", value_parser = ["first-layer", "midpoint", "centred"])]
    operator: String,
    /// Causal attention.
    #[arg(long)]
    decoder: bool,
    #[command(flatten)]
    compare: CompareArgs,
}

fn main() -> ExitCode {
    let options = Options::parse();
    on_ranks(mpi_world_size().or(Some(2)), &options.compare, |world, device| {
        for layers in &options.layers {
            let networks = &mut [built(&options, *layers, device)?];
            compare("transformer", world, networks, &mut variants(world.size()), &options.compare)?;
        }
        Ok(())
    })
}

fn variants(ranks: usize) -> Vec<Variant> {
    let parallel = [(8, 1, 1), (8, 2, 1), (4, 1, 1), (4, 2, 1), (4, 2, 2), (2, 1, 1), (2, 2, 1)];
    let mixed = [(8, 0, 1), (8, 0, 2), (4, 0, 1), (4, 0, 2), (2, 0, 1), (2, 0, 2)];
    let both = parallel.into_iter().chain(mixed);
    let ways = both.map(|(cfactor, forward, backward)| Way::parallel(2, cfactor, [forward, backward]));
    let sequential = [1, ranks].map(|ranks| Variant::new(Way::sequential(), ranks));
    sequential.into_iter().chain(ways.map(|way| Variant::new(way, ranks))).collect()
}

fn built(options: &Options, layers: usize, device: &Device) -> Result<Built<Transformer>, TrainError> {
    let config = TransformerConfig {
        max_length: SENTENCE,
        final_time: options.final_time.unwrap_or(layers as f64),
        causal: options.decoder,
        pad: None,
        coarse: match options.operator.as_str() {
            "first-layer" => CoarseOperator::FirstLayer,
            "midpoint" => CoarseOperator::Midpoint,
            _ => CoarseOperator::Centred,
        },
        depth_init: match options.piecewise {
            true => DepthInit::Piecewise { period: Some(RUN), noise: 0.0 },
            false => DepthInit::Independent,
        },
        ..TransformerConfig::encoder(layers, D_MODEL, VOCABULARY, WORD_CLASSES)
    };
    let name = format!(
        "{}:{layers}@{SAMPLES}, final time {}, {}, {}",
        if config.causal { "decoder" } else { "encoder" },
        config.final_time,
        config.depth_init,
        options.operator,
    );
    let (grid, operator) = (config.grid()?, config.coarse);
    let samples = samples::sentences(SAMPLES * options.compare.n_batches(), device);
    let device = device.clone();
    let init = move |range| config.init(range, RUN, 0, &device);
    let mut built = Built::new((name, SAMPLES), grid, operator, init, samples);
    built.task = Task::per_token(None);
    Ok(built)
}
