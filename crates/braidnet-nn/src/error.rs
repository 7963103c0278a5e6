//! What can be wrong with a network.

/// A network that cannot be built or loaded; every variant names the value and the remedy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A size of zero.
    #[error("{what} is 0: use at least 1")]
    Zero {
        /// Name of the size.
        what: &'static str,
    },
    /// A final time or noise that is no usable number.
    #[error("{what} is {value}: {remedy}")]
    BadNumber {
        /// Name of the number.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What to use.
        remedy: &'static str,
    },
    /// Input channels that cannot be repeated to the network's channels.
    #[error("cannot repeat {inputs} input channels to {channels}: use a multiple, or a convolution as opening layer")]
    CannotRepeat {
        /// Channels of the input.
        inputs: usize,
        /// Channels of the network.
        channels: usize,
    },
    /// Features that cannot be shared out among the heads of attention.
    #[error("{heads} heads do not divide the {d_model} features of a position: use a divisor")]
    HeadsDoNotDivide {
        /// Features of a position.
        d_model: usize,
        /// Heads.
        heads: usize,
    },
    /// No layers left between those at the ends that stay outside the solver.
    #[error("{buffer} buffer layers at either end leave none of {layers} for the solver: use fewer, or more layers")]
    TooManyBufferLayers {
        /// Buffer layers at either end.
        buffer: usize,
        /// Layers of the network.
        layers: usize,
    },
    /// Inputs without anything in them.
    #[error("{what} is empty: leave it out")]
    EmptyInput {
        /// What is empty.
        what: &'static str,
    },
    /// Images or voxels of another shape.
    #[error("inputs of {got:?} (channels, then extents), but the network takes {expected:?}")]
    WrongInput {
        /// The network's.
        expected: Vec<usize>,
        /// Those given.
        got: Vec<usize>,
    },
    /// A token that the network does not know.
    #[error(
        "token {token} of sequence {sequence} at position {position} is not in the vocabulary of {vocabulary}: use ids from 0 to {}", vocabulary - 1
    )]
    UnknownToken {
        /// The token.
        token: i64,
        /// Which sequence of the batch.
        sequence: usize,
        /// Where in it.
        position: usize,
        /// Tokens that the network knows.
        vocabulary: usize,
    },
    /// A sequence with more positions than the network has.
    #[error("a sequence of {length} tokens, but the network has {max_length} positions: cut it, or raise max_length")]
    TooLong {
        /// Its tokens, padding included.
        length: usize,
        /// The network's positions.
        max_length: usize,
    },
    /// Sequences of another length than the network's.
    #[error(
        "sequences of {length} steps, but the network has {expected}: pad them behind, and say where each ends, or build it for {length}"
    )]
    WrongLength {
        /// Their steps, padding included.
        length: usize,
        /// The network's.
        expected: usize,
    },
    /// Lengths for another number of samples.
    #[error("{lengths} lengths for {samples} sequences: give every sequence one")]
    UnevenLengths {
        /// Lengths.
        lengths: usize,
        /// Sequences.
        samples: usize,
    },
    /// A length beyond the sequence.
    #[error("sequence {sequence} of the batch is said to end after {got} of {length} steps: use 1 to {length}")]
    BadLength {
        /// Which sequence of the batch.
        sequence: usize,
        /// Its length.
        got: usize,
        /// Steps that there are.
        length: usize,
    },
    /// Steps with another number of features.
    #[error("steps of {got} features, but the network takes {expected}")]
    WrongFeatures {
        /// The network's.
        expected: usize,
        /// Those given.
        got: usize,
    },
    /// As many sources as targets are needed.
    #[error("{sources} sources but {targets} targets in a batch: every source needs one target")]
    UnevenPairs {
        /// Sources.
        sources: usize,
        /// Targets.
        targets: usize,
    },
    /// A choice that this network cannot have.
    #[error("{what}: {remedy}")]
    Impossible {
        /// The choice.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Channels that cannot be normalised in groups of so many.
    #[error(
        "groups of {size} do not divide the {channels} channels that are normalised: use a divisor of the first block's channels"
    )]
    GroupsDoNotDivide {
        /// Channels in a group.
        size: usize,
        /// Channels.
        channels: usize,
    },
    /// A block whose states are too small for the convolution to the next one.
    #[error("blocks halve {extents:?} more often than they can be: use at most {most} blocks, or larger images")]
    TooManyBlocks {
        /// Extents of the input.
        extents: Vec<usize>,
        /// Blocks that they allow.
        most: usize,
    },
    /// States that a coarse level cannot have on a coarser grid.
    #[error(
        "states of extents {extents:?} have no points left on level {level}: coarsen inside layers from fewer levels, or use larger inputs"
    )]
    TooSmallToCoarsen {
        /// Extents on the finest level.
        extents: Vec<usize>,
        /// The level.
        level: usize,
    },
    /// Extents that come out differently if they are coarsened before and after a transition.
    #[error(
        "a transition from extents {extents:?} cannot be coarsened: {n} points become {} by the transition and then the coarse grid, {} the other way round; pad the input so that no extent of a block leaves remainder 2 by 4", n.div_ceil(2) / 2, (n / 2).div_ceil(2)
    )]
    UnevenTransition {
        /// Extents before the transition.
        extents: Vec<usize>,
        /// The one that does not fit.
        n: usize,
    },
    /// A parameter that a source does not have.
    #[error("parameter {name} is missing")]
    MissingParameter {
        /// Global name.
        name: String,
    },
    /// A parameter of another shape.
    #[error("parameter {name} has shape {got:?}, expected {expected:?}")]
    WrongShape {
        /// Global name.
        name: String,
        /// Shape of the network's parameter, in PyTorch's layout.
        expected: Vec<usize>,
        /// Shape found.
        got: Vec<usize>,
    },
    /// A coarse operator that needs all layers of a run on one rank.
    #[error(
        "the coarse operator {operator:?} needs all layers of a coarse step on one rank, but layers {run:?} are split: \
         use CoarseOperator::Midpoint or FirstLayer, fewer ranks, or a partition between coarse steps"
    )]
    RunIsSplit {
        /// The operator.
        operator: crate::CoarseOperator,
        /// Layers of the coarse step.
        run: std::ops::Range<usize>,
    },
}
