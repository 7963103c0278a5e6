//! Convolutional ODE networks of several blocks.

use std::ops::Range;

use braidnet_grid::{GridError, TimeGrid};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::Depth;
use crate::closing::Pooled;
use crate::grid_space::ImageSpace;
use crate::init::{Stream, draw, draw_layer_of_block};
use crate::space_coarsening::coarse_extent;
use crate::transition::{BlockLayer, halved};
use crate::{
    ByPoint, CoarseOperator, ConvRhs, DepthInit, NetworkError, NormKind, OdeNet, Opening, OpeningKind, Pooling,
    SpaceCoarsening, Transition,
};

/// The part of a network of blocks that consists of consecutive layers; made by [`BlockNetConfig::init`].
pub type BlockNet = OdeNet<ImageSpace, Opening, BlockLayer, Pooled>;

/// An ODENet on images in several blocks: opening `relu(norm(conv3x3(x)))`; blocks of ODE layers `u + dt F(u)`, with
/// `F = relu(norm2(conv2(relu(norm1(conv1(u))))))`; between them [`Transition`]s, which halve the extents and double the channels; at the end
/// global average pooling and a dense layer.
///
/// Transitions are layers of their own, without a time step; `dt = final_time / (ODE layers + transitions)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockNetConfig {
    /// ODE layers of every block.
    pub per_block: Vec<usize>,
    /// Channels of the first block; every transition doubles them.
    pub channels: usize,
    /// Channels, height and width of the input.
    pub image: [usize; 3],
    /// Classes.
    pub classes: usize,
    /// Sum of all `dt`, with that of the transitions, which is not used.
    pub final_time: f64,
    /// Convolutions per ODE layer, 1 or 2.
    pub convs: usize,
    /// What follows every convolution; without it convolutions have a bias, but for those of transitions.
    pub norm: Option<NormKind>,
    /// What transitions begin with.
    pub pooling: Pooling,
    /// Operator of coarse steps.
    pub coarse: CoarseOperator,
    /// How initial parameters vary with depth within a block.
    pub depth_init: DepthInit,
    /// Layers at either end that stay outside the solver and run one after the other.
    pub buffer: usize,
    /// Coarser grids on coarse levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<SpaceCoarsening>,
}

impl BlockNetConfig {
    /// Blocks of so many layers, the first of `channels` channels, with two convolutions per layer, batch norm and max pooling, for
    /// 3x64x64 images of 200 classes; final time 1.
    pub fn new(per_block: Vec<usize>, channels: usize) -> Self {
        Self {
            per_block,
            channels,
            image: [3, 64, 64],
            classes: 200,
            final_time: 1.0,
            convs: 2,
            norm: Some(NormKind::Batch),
            pooling: Pooling::Max,
            coarse: CoarseOperator::Midpoint,
            depth_init: DepthInit::Piecewise { period: None, noise: 0.0 },
            buffer: 0,
            space: None,
        }
    }

    /// Checks all sizes.
    ///
    /// # Errors
    /// [`NetworkError`] naming the size and the remedy.
    pub fn validate(&self) -> Result<(), NetworkError> {
        let [inputs, height, width] = self.image;
        let sizes = [
            (self.per_block.len(), "the number of blocks"),
            (self.per_block.iter().copied().min().unwrap_or(1), "the number of layers of a block"),
            (self.channels, "the number of channels"),
            (inputs, "the number of input channels"),
            (height, "the height of the image"),
            (width, "the width of the image"),
            (self.classes, "the number of classes"),
            (self.convs, "the number of convolutions"),
        ];
        if let Some((_, what)) = sizes.into_iter().find(|(n, _)| *n == 0) {
            return Err(NetworkError::Zero { what });
        }
        if self.convs > 2 {
            let (what, remedy) = ("the number of convolutions", "use 1 or 2");
            return Err(NetworkError::BadNumber { what, value: self.convs as f64, remedy });
        }
        if let Some(NormKind::Group(size)) = self.norm.filter(|norm| !norm.divides(self.channels)) {
            return Err(NetworkError::GroupsDoNotDivide { size, channels: self.channels });
        }
        self.check_extents()?;
        self.depth().validate()?;
        self.depth_init.validate()
    }

    /// That every transition halves the extents, also on the coarser grids.
    fn check_extents(&self) -> Result<(), NetworkError> {
        let [_, height, width] = self.image;
        // One point by one would stay as it is.
        let most = 1 + (height.max(width) as f64).log2().ceil() as usize;
        if self.per_block.len() > most {
            return Err(NetworkError::TooManyBlocks { extents: vec![height, width], most });
        }
        let n_coarser = self.space.as_ref().map_or(0, |space| space.halvings(usize::MAX));
        for block in 0..self.per_block.len().saturating_sub(1) {
            let (_, [mut rows, mut columns]) = self.shape_of(block);
            for _ in 0..n_coarser {
                let extents = vec![rows, columns];
                let uneven = |n: &usize| coarse_extent(halved(*n)) != halved(coarse_extent(*n));
                if let Some(n) = extents.iter().copied().find(uneven) {
                    return Err(NetworkError::UnevenTransition { extents, n });
                }
                (rows, columns) = (coarse_extent(rows), coarse_extent(columns));
            }
        }
        Ok(())
    }

    /// Channels and extents of the states of a block.
    fn shape_of(&self, block: usize) -> (usize, [usize; 2]) {
        let [_, height, width] = self.image;
        let extent = |n: usize| (0..block).fold(n, |n, _| halved(n));
        (self.channels << block, [extent(height), extent(width)])
    }

    /// The first layer of every block.
    fn starts(&self) -> Vec<usize> {
        let starts = self.per_block.iter().scan(0, |next, n| {
            let start = *next;
            *next += n + 1;
            Some(start)
        });
        starts.collect()
    }

    /// ODE layers and transitions.
    pub fn n_layers(&self) -> usize {
        (self.per_block.iter().sum::<usize>() + self.per_block.len()).saturating_sub(1)
    }

    fn depth(&self) -> Depth {
        let transitions = self.starts().into_iter().skip(1).map(|start| start - 1).collect();
        Depth { transitions, ..Depth::new(self.n_layers(), self.final_time, self.buffer) }
    }

    /// The time grid of the layers that the solver counts, with the transitions.
    ///
    /// # Errors
    /// [`GridError::NoSteps`] for no layers.
    pub fn grid(&self) -> Result<TimeGrid, GridError> {
        self.depth().grid()
    }

    /// Shapes of the states: those of a block from the point behind the transition to it on.
    fn shapes(&self) -> ByPoint<Vec<usize>> {
        let shape = |block| {
            let (channels, [height, width]) = self.shape_of(block);
            vec![channels, height, width]
        };
        let later = self.starts().into_iter().enumerate().skip(1);
        later.fold(ByPoint::everywhere(shape(0)), |shapes, (block, start)| shapes.and_from(start, shape(block)))
    }

    /// Layer `n` of the network, with parameters from (seed, global layer) alone.
    fn layer(&self, n: usize, run: usize, seed: u64, device: &Device) -> BlockLayer {
        let starts = self.starts();
        let block = starts.partition_point(|start| *start <= n).max(1) - 1;
        let (channels, _) = self.shape_of(block);
        if n == starts[block] + self.per_block[block] {
            let transition = Transition::new(self.pooling, self.norm, channels, device);
            return BlockLayer::Transition(draw(transition, seed, Stream::Layer(n)));
        }
        let rhs = ConvRhs::new(self.convs, self.norm, channels, device);
        BlockLayer::Ode(draw_layer_of_block(rhs, seed, (starts[block], n), self.depth_init, run))
    }

    /// The layers `range`, as the solver counts, with parameters from (seed, global layer) alone; with the opening layer if `range` starts
    /// with layer 0 and the closing layer if it ends with the last. `run` is the longest coarse step, the default
    /// period of [`DepthInit::Piecewise`].
    ///
    /// # Errors
    /// As [`BlockNetConfig::validate`].
    pub fn init(&self, range: Range<usize>, run: usize, seed: u64, device: &Device) -> Result<BlockNet, NetworkError> {
        self.validate()?;
        let [inputs, ..] = self.image;
        let (channels, _) = self.shape_of(self.per_block.len() - 1);
        let space = ImageSpace::with_shapes(self.image, self.shapes()).coarsened(self.space.clone());
        OdeNet::build(
            (space, self.depth(), self.coarse, device),
            range,
            || {
                let opening = Opening::new(OpeningKind::Conv, self.norm, inputs, self.channels, device)?;
                Ok(draw(opening, seed, Stream::Opening))
            },
            |n| Ok(self.layer(n, run, seed, device)),
            || Ok(draw(Pooled::new(channels, self.classes, device), seed, Stream::Closing)),
        )
    }
}
