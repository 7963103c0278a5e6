//! What gated recurrent units have besides products.

use burn::tensor::Tensor;

use crate::device;

/// What steps of a gated recurrent unit do with their gates: `h' = k h + (1 - k) n` with the retention `k(z)`.
#[derive(Debug, Clone)]
pub struct GruPace {
    /// Whether `k = 1 / (1 + dt (1 - z))`; otherwise `k = 1 - dt (1 - z)`.
    pub implicit: bool,
    /// Whether several fine steps are so many with the same gates, `k` to the power of their number; otherwise one of
    /// their whole length.
    pub frozen: bool,
    /// Length of a fine step.
    pub dt: f32,
    /// How many fine steps count: in all rows, where there is not a number for each.
    pub count: f32,
    /// How many count in each row, none where a sequence has ended: `[rows]`.
    pub each: Option<Tensor<1>>,
}

/// The derivatives by what a step of a gated recurrent unit begins with.
#[derive(Debug)]
pub struct GruDeltas {
    /// By the state, without what goes through the products: `[rows, h]`.
    pub direct: Tensor<2>,
    /// By the product with the state: `[rows, 3h]`.
    pub state: Tensor<2>,
    /// By the product with the input: `[rows, 3h]`.
    pub input: Tensor<2>,
}

/// The gates `r = sigmoid(xp_r + hp_r)`, `z = sigmoid(xp_z + hp_z)`, `n = tanh(xp_n + r hp_n)`, and `hp_n` beside them, of
/// every row; `xp` is `from_input`, `hp` is `from_state + bias`.
///
/// # Shapes
/// - `from_input`, `from_state`: `[rows, 3h]`, blocks r, z, n
/// - `bias`: `[3h]`
/// - result: `[rows, 4h]`, blocks r, z, n, `hp_n`
///
/// # Cost
/// One launch; 40 bytes per number of the state.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn gru_gates(from_input: &Tensor<2>, from_state: &Tensor<2>, bias: &Tensor<1>) -> Option<Tensor<2>> {
    device::gru_gates(from_input, from_state, bias)
}

/// The states `[rows, h]` after steps with these gates from the states `h`.
///
/// # Cost
/// One launch; 16 bytes per number of the state.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn gru_step(gates: &Tensor<2>, h: &Tensor<2>, pace: &GruPace) -> Option<Tensor<2>> {
    device::gru_step(gates, h, pace)
}

/// The derivatives by what such steps begin with, of `lambda`, the derivative by the states behind them.
///
/// # Cost
/// One launch; 52 bytes per number of the state.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn gru_pullback(gates: &Tensor<2>, h: &Tensor<2>, lambda: &Tensor<2>, pace: &GruPace) -> Option<GruDeltas> {
    device::gru_pullback(gates, h, lambda, pace)
}
