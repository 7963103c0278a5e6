//! Which recurrent network.

use braidnet_nn::CoarseOperator;
use braidnet_nn::gru::{GruCoarse, GruConfig, GruForm};
use clap::{Args, ValueEnum};

/// Forms of a step by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GruFormName {
    /// `h' = (h + dt (1-z) n) / (1 + dt (1-z))`: stable for steps of any length.
    Implicit,
    /// `h' = h + dt (1-z) (n - h)`: for steps of 1 the classic cell.
    Explicit,
}

/// Coarse steps by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GruCoarseName {
    /// One step as long as those it stands for.
    Rediscretised,
    /// As many steps as it stands for, all with the gates of the first.
    Frozen,
}

/// Inputs of coarse steps by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CoarseInputName {
    /// That of the first step of the run.
    First,
    /// The mean of the run.
    Mean,
}

/// A recurrent network whose steps are the layers.
#[derive(Debug, Clone, Args)]
pub struct GruArgs {
    /// Features of a cell's state.
    #[arg(long, default_value_t = 100)]
    pub hidden: usize,
    /// Cells above each other.
    #[arg(long, default_value_t = 2)]
    pub cells: usize,
    /// Sum of all time steps. [default: the number of steps, each of length 1]
    #[arg(long)]
    pub final_time: Option<f64>,
    /// Form of a step.
    #[arg(long, value_enum, default_value_t = GruFormName::Implicit)]
    pub form: GruFormName,
    /// Form of a coarse step.
    #[arg(long, value_enum, default_value_t = GruCoarseName::Frozen)]
    pub coarse_step: GruCoarseName,
    /// Parts that a coarse step is taken in, each with gates and input of its own.
    #[arg(long, default_value_t = 4)]
    pub coarse_parts: usize,
    /// Input of a coarse step, or of a part of it.
    #[arg(long, value_enum, default_value_t = CoarseInputName::First)]
    pub coarse_input: CoarseInputName,
}

impl GruArgs {
    /// The network `base`, which has the length of a sequence, the inputs and the outputs, with these sizes and choices.
    pub fn config(&self, base: GruConfig) -> GruConfig {
        GruConfig {
            hidden: self.hidden,
            cells: self.cells,
            final_time: self.final_time.unwrap_or(base.length as f64),
            form: match self.form {
                GruFormName::Implicit => GruForm::Implicit,
                GruFormName::Explicit => GruForm::Explicit,
            },
            coarse: match self.coarse_step {
                GruCoarseName::Rediscretised => GruCoarse::Rediscretised,
                GruCoarseName::Frozen => GruCoarse::Frozen,
            },
            coarse_parts: self.coarse_parts,
            coarse_input: match self.coarse_input {
                CoarseInputName::First => CoarseOperator::FirstLayer,
                CoarseInputName::Mean => CoarseOperator::Mean,
            },
            ..base
        }
    }
}
