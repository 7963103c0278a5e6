//! Command-line options that training programs share; every default is shown by `--help`.

mod device;
mod gru;
mod launch;
mod network;
mod schedule;
mod training;
mod transformer;

pub use device::{DeviceArgs, DeviceKind};
pub use gru::{CoarseInputName, GruArgs, GruCoarseName, GruFormName};
pub use launch::LaunchArgs;
pub use network::{CoarseName, DepthInitName, NetworkArgs, OpeningName};
pub use schedule::{ActivationsName, RelaxationName, ScheduleArgs, ScheduleName, SolverName};
pub use training::{ControlName, DecayName, OnNanName, OptimizerName, TrainingArgs};
pub use transformer::{ActivationName, PositionsName, TransformerArgs};
