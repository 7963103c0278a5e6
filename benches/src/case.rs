//! Networks by name: `conv:36x3`, `encoder:32`, `gru:128`, `blocks:16`, `voxels:31x128`, with a batch of their own or `@BATCH`.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use braidnet::data::motion;
use braidnet::nn::gru::{GruConfig, GruNet};
use braidnet::prelude::*;

use crate::{Built, Work, samples};

/// Layers that begin with equal parameters, whatever schedule is timed: errors of all schedules are then those of the same network.
pub const RUN: usize = 8;

/// Pixels of an image that convolutions see.
const PIXELS: usize = 28 * 28;
/// Features of a word in an encoder.
const WIDTH: usize = 128;
/// Features and cells of a recurrent network.
const HIDDEN: usize = 100;
const CELLS: usize = 2;
/// Channels of a network on voxels.
const VOXEL_CHANNELS: usize = 4;
/// Classes of the pictures that a network of blocks sees.
const PICTURE_CLASSES: usize = 20;

/// A network of the benches, and samples per batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    kind: Kind,
    /// Samples of a batch, over all data ranks.
    pub batch: usize,
}

/// The networks, by their sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// ODENet on images of 28x28.
    Conv { layers: usize, channels: usize },
    /// Encoder of width 128 on 64 words.
    Encoder { layers: usize },
    /// Two implicit GRU cells of 100 features.
    Gru { length: usize },
    /// Four blocks with batch norm on pictures of 64x64, 8 to 64 channels.
    Blocks { per_block: usize },
    /// ODENet of 4 channels on voxels.
    Voxels { side: usize, layers: usize },
}

/// A text that names no case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} names no network: use conv:LAYERSxCHANNELS, encoder:LAYERS, gru:LENGTH, blocks:LAYERS_PER_BLOCK or voxels:SIDExLAYERS, with numbers from 1, and @BATCH behind it for another batch"
)]
pub struct CaseError {
    text: String,
}

/// Something done with a network of whatever type a case has.
pub trait Visit {
    /// What comes of it.
    type Out;

    /// Does it.
    ///
    /// # Errors
    /// What goes wrong.
    fn visit<N: Network + 'static>(self, built: Built<N>) -> Result<Self::Out, TrainError>;
}

impl Case {
    /// The same network, so many times as deep.
    pub fn deeper(self, times: usize) -> Self {
        let kind = match self.kind {
            Kind::Conv { layers, channels } => Kind::Conv { layers: layers * times, channels },
            Kind::Encoder { layers } => Kind::Encoder { layers: layers * times },
            Kind::Gru { length } => Kind::Gru { length: length * times },
            Kind::Blocks { per_block } => Kind::Blocks { per_block: per_block * times },
            Kind::Voxels { side, layers } => Kind::Voxels { side, layers: layers * times },
        };
        Self { kind, ..self }
    }

    /// Layers in all.
    pub fn n_layers(self) -> usize {
        match self.kind {
            Kind::Conv { layers, .. } | Kind::Encoder { layers } | Kind::Voxels { layers, .. } => layers,
            Kind::Gru { length } => length,
            // With the transitions between four blocks.
            Kind::Blocks { per_block } => 4 * per_block + 3,
        }
    }

    /// A coarsening factor that suits it.
    pub fn cfactor(self) -> usize {
        match self.kind {
            Kind::Conv { layers, .. } if layers < 64 => 4,
            Kind::Conv { .. } | Kind::Encoder { .. } => 8,
            Kind::Gru { .. } => 16,
            Kind::Blocks { .. } | Kind::Voxels { .. } => 4,
        }
    }

    /// What a step of exact training cannot do without, with so many parameters in all; `None` where layers differ.
    pub fn work(self, n_parameters: usize) -> Option<Work> {
        // Multiply-adds of a layer and numbers of its state, both of one sample.
        let (multiply_adds, state) = match self.kind {
            Kind::Conv { channels, .. } => (2 * 9 * channels.pow(2) * PIXELS, channels * PIXELS),
            // Six dense maps, and two products of attention.
            Kind::Encoder { .. } => {
                (samples::SENTENCE * (6 * WIDTH.pow(2) + 2 * samples::SENTENCE * WIDTH), samples::SENTENCE * WIDTH)
            }
            // Three gates of the states of two cells, and of the lower cell's state in the upper one.
            Kind::Gru { .. } => (3 * 3 * HIDDEN.pow(2), CELLS * HIDDEN),
            Kind::Voxels { side, .. } => (27 * VOXEL_CHANNELS.pow(2) * side.pow(3), VOXEL_CHANNELS * side.pow(3)),
            Kind::Blocks { .. } => return None,
        };
        let (layers, batch) = (self.n_layers(), self.batch);
        Some(Work::new((multiply_adds * batch * layers) as f64, state * batch, layers, n_parameters))
    }

    /// Does what `visit` does, on a device, with samples for so many batches.
    ///
    /// # Errors
    /// A network or data of sizes that cannot be, or what `visit` returns.
    ///
    /// # Communication
    /// None, besides that of `visit`. Every rank that takes part calls it.
    pub fn visit<V: Visit>(self, n_batches: usize, device: &Device, visit: V) -> Result<V::Out, TrainError> {
        let (n, named) = (self.batch * n_batches, (self.to_string(), self.batch));
        let on = device.clone();
        match self.kind {
            Kind::Conv { layers, channels } => {
                let config = OdeNet2dConfig::new(layers, channels);
                let (grid, operator) = (config.grid()?, config.coarse);
                let init = move |range| config.init(range, RUN, 0, &on);
                visit.visit(Built::new(named, grid, operator, init, samples::waves(n, device)))
            }
            Kind::Encoder { layers } => {
                let config = encoder(layers);
                let (grid, operator) = (config.grid()?, config.coarse);
                let init = move |range| config.init(range, RUN, 0, &on);
                let mut built = Built::new(named, grid, operator, init, samples::sentences(n, device));
                built.task = Task::per_token(None);
                visit.visit(built)
            }
            Kind::Gru { length } => {
                let config = GruConfig::new(length, motion::CHANNELS, HIDDEN, CELLS, motion::CLASSES);
                let grid = config.grid()?;
                let init = move |range| config.init(range, 0, &on);
                // A coarse step reads the inputs of its whole run.
                let built: Built<GruNet> =
                    Built::new(named, grid, CoarseOperator::Mean, init, samples::windows(length, n, device));
                visit.visit(built)
            }
            Kind::Blocks { per_block } => {
                let config = BlockNetConfig { classes: PICTURE_CLASSES, ..BlockNetConfig::new(vec![per_block; 4], 8) };
                let (grid, operator) = (config.grid()?, config.coarse);
                let init = move |range| config.init(range, RUN, 0, &on);
                let mut built = Built::new(named, grid, operator, init, samples::pictures(PICTURE_CLASSES, n, device)?);
                built.layers_differ = true;
                visit.visit(built)
            }
            Kind::Voxels { side, layers } => {
                let config = OdeNet3dConfig { channels: VOXEL_CHANNELS, ..OdeNet3dConfig::new(layers, side) };
                let (grid, operator) = (config.grid()?, config.coarse);
                let init = move |range| config.init(range, RUN, 0, &on);
                visit.visit(Built::new(named, grid, operator, init, samples::solids(side, n, device)?))
            }
        }
    }
}

/// Steps of a quarter: with steps of 1, schedules of few iterations are far off.
fn encoder(layers: usize) -> TransformerConfig {
    TransformerConfig {
        max_length: samples::SENTENCE,
        final_time: layers as f64 / 4.0,
        pad: None,
        ..TransformerConfig::encoder(layers, WIDTH, 1000, samples::WORD_CLASSES)
    }
}

impl Kind {
    /// Samples of a batch unless told.
    fn batch(self) -> usize {
        match self {
            Self::Conv { .. } => 50,
            Self::Encoder { .. } => 8,
            Self::Gru { .. } => 100,
            Self::Blocks { .. } => 20,
            Self::Voxels { .. } => 4,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, sizes) = text.split_once(':')?;
        let sizes = sizes.split('x').map(number).collect::<Option<Vec<_>>>()?;
        match (name, &sizes[..]) {
            ("conv", &[layers, channels]) => Some(Self::Conv { layers, channels }),
            ("encoder", &[layers]) => Some(Self::Encoder { layers }),
            ("gru", &[length]) => Some(Self::Gru { length }),
            ("blocks", &[per_block]) => Some(Self::Blocks { per_block }),
            ("voxels", &[side, layers]) => Some(Self::Voxels { side, layers }),
            _ => None,
        }
    }
}

/// A number from 1.
fn number(text: &str) -> Option<usize> {
    text.parse().ok().map(NonZeroUsize::get)
}

impl FromStr for Case {
    type Err = CaseError;

    fn from_str(text: &str) -> Result<Self, CaseError> {
        let parse = || {
            let (network, batch) = text.split_once('@').map_or((text, None), |(network, batch)| (network, Some(batch)));
            let kind = Kind::parse(network)?;
            let batch = batch.map_or(Some(kind.batch()), number)?;
            Some(Self { kind, batch })
        };
        parse().ok_or_else(|| CaseError { text: text.to_owned() })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Conv { layers, channels } => write!(f, "conv:{layers}x{channels}"),
            Kind::Encoder { layers } => write!(f, "encoder:{layers}"),
            Kind::Gru { length } => write!(f, "gru:{length}"),
            Kind::Blocks { per_block } => write!(f, "blocks:{per_block}"),
            Kind::Voxels { side, layers } => write!(f, "voxels:{side}x{layers}"),
        }?;
        write!(f, "@{}", self.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_reads_back_as_it_is_written() {
        for (text, written) in [
            ("conv:36x3", "conv:36x3@50"),
            ("encoder:32@4", "encoder:32@4"),
            ("gru:128", "gru:128@100"),
            ("blocks:16", "blocks:16@20"),
            ("voxels:31x128@1", "voxels:31x128@1"),
        ] {
            let case: Case = text.parse().unwrap();
            assert_eq!(case.to_string(), written);
            assert_eq!(written.parse(), Ok(case));
        }
    }

    #[test]
    fn what_is_no_case_is_refused_with_the_forms() {
        for text in
            ["", "conv", "conv:36", "conv:36x0", "conv:36x3x1", "mlp:3", "gru:-1", "gru:8@", "gru:8@0", "gru:8@4@4"]
        {
            let message = text.parse::<Case>().unwrap_err().to_string();
            assert!(message.contains("conv:LAYERSxCHANNELS") && message.contains(&format!("{text:?}")), "{message}");
        }
    }

    #[test]
    fn work_is_that_of_the_layers() {
        let work = |text: &str| text.parse::<Case>().unwrap().work(1000);
        // Two convolutions of 12 channels: 6 x 2 x 9 x 144 operations a pixel; a state of 12 x 784 numbers.
        let conv = work("conv:8x12@50").unwrap();
        assert_eq!(conv.operations, 6.0 * 18.0 * 144.0 * 784.0 * 50.0 * 8.0);
        assert_eq!(conv.bytes, 8.0 * 12.0 * 784.0 * 50.0 * 8.0 + 20_000.0);
        assert_eq!(work("encoder:2@3").unwrap().operations, 6.0 * 64.0 * (6.0 * 16_384.0 + 8192.0 * 2.0) * 6.0);
        assert_eq!(work("gru:7@5").unwrap().operations, 6.0 * 90_000.0 * 35.0);
        assert_eq!(work("blocks:2"), None);
        // Depth and batch multiply.
        let (once, more) = (work("voxels:9x4@1").unwrap(), work("voxels:9x8@3").unwrap());
        assert_eq!(more.operations, 6.0 * once.operations);
    }

    #[test]
    fn deeper_cases_have_more_layers_of_the_same_sizes() {
        let deeper = |text: &str| text.parse::<Case>().unwrap().deeper(2);
        assert_eq!(deeper("voxels:31x8").to_string(), "voxels:31x16@4");
        assert_eq!(deeper("blocks:2").n_layers(), 19);
    }
}
