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
         use CoarseOperator::FirstLayer or a number of ranks that divides the coarse steps"
    )]
    RunIsSplit {
        /// The operator.
        operator: crate::CoarseOperator,
        /// Layers of the coarse step.
        run: std::ops::Range<usize>,
    },
}
