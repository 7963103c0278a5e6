//! Command-line options that training programs share; every default is shown by `--help`.

mod balance;
mod blocks;
mod device;
mod gru;
mod launch;
mod network;
mod schedule;
mod space;
mod training;
mod transformer;
mod voxels;

pub use balance::{BalanceArgs, BalanceName};
pub use blocks::{BlockArgs, NormName, PoolingName};
pub use device::DeviceArgs;
pub use gru::{CoarseInputName, GruArgs, GruCoarseName, GruFormName};
pub use launch::LaunchArgs;
pub use network::{CoarseName, DepthInitName, NetworkArgs, OpeningName};
pub use schedule::{ActivationsName, GuessName, RelaxationName, ScheduleArgs, ScheduleName, SolverName};
pub use space::{RestrictionName, SpaceArgs};
pub use training::{ControlName, DecayName, OnNanName, OptimizerName, PrecisionName, TrainingArgs};
pub use transformer::{ActivationName, PositionsName, TransformerArgs};
pub use voxels::VoxelArgs;
