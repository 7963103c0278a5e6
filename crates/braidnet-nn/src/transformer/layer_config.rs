//! What a transformer layer is built from.

use braidnet_kernels::Activation;

use crate::NetworkError;

/// Sizes and options of one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerConfig {
    /// Features of a position.
    pub d_model: usize,
    /// Parts of the features that attend on their own; divides `d_model`.
    pub heads: usize,
    /// Features between the dense layers of the MLP.
    pub d_ff: usize,
    /// The function between them.
    pub activation: Activation,
    /// Probability that an element of the output of attention or MLP is dropped in training.
    pub dropout: f64,
    /// Whether a position attends to itself and those before it alone.
    pub causal: bool,
}

impl LayerConfig {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`NetworkError::Zero`], [`NetworkError::HeadsDoNotDivide`], [`NetworkError::BadNumber`].
    pub fn validate(&self) -> Result<(), NetworkError> {
        let Self { d_model, heads, d_ff, dropout, .. } = *self;
        for (what, size) in [("d_model", d_model), ("the number of heads", heads), ("d_ff", d_ff)] {
            if size == 0 {
                return Err(NetworkError::Zero { what });
            }
        }
        if !d_model.is_multiple_of(heads) {
            return Err(NetworkError::HeadsDoNotDivide { d_model, heads });
        }
        if !(0.0..1.0).contains(&dropout) {
            let remedy = "use a number from 0 (nothing is dropped) to below 1";
            return Err(NetworkError::BadNumber { what: "the probability of dropout", value: dropout, remedy });
        }
        Ok(())
    }
}
