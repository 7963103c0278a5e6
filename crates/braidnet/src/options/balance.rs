//! How layers are shared out.

use clap::{Args, ValueEnum};

/// Ways to share layers out, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BalanceName {
    /// As many layers to each rank.
    Count,
    /// As much work to each rank, by what layers are measured to cost at the start.
    Cost,
}

/// How layers are shared out over the ranks of the layer axis.
#[derive(Debug, Clone, Args)]
pub struct BalanceArgs {
    /// What every layer rank gets as much of. Results do not depend on it.
    #[arg(long, value_enum, default_value_t = BalanceName::Cost)]
    pub balance: BalanceName,
}

impl BalanceArgs {
    /// The samples to measure on, if costs are to be measured, where a rank's micro-batch has so many.
    pub fn samples(&self, micro_batch: usize) -> Option<usize> {
        (self.balance == BalanceName::Cost).then_some(micro_batch.max(1))
    }
}
