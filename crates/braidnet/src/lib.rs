//! Train deep networks layer-parallel.
//!
//! Layers are time steps: forward and backward propagation are solved over many ranks at once by multigrid reduction in
//! time, and the error that this makes in the gradients can be seen at any time. This crate re-exports the others and
//! adds command-line options ([`options`]), also from a TOML file ([`config`]); [`prelude`] is what a training program
//! needs. `docs/training.md` is the guide for users.
//!
//! ```no_run
#![doc = include_str!("../examples/loop.rs")]
//! ```

pub mod config;
mod describe;
pub mod device;
pub mod options;

pub use braidnet_checkpoint as checkpoint;
pub use braidnet_comm as comm;
pub use braidnet_data as data;
pub use braidnet_grid as grid;
pub use braidnet_mgrit as mgrit;
pub use braidnet_monitor as monitor;
pub use braidnet_nn as nn;
pub use braidnet_train as train;
pub use burn;
pub use describe::describe;

/// Everything a training program needs.
pub mod prelude {
    pub use braidnet_comm::{Communicator, Degree, Launch, LaunchError, Mesh, MeshConfig, ReduceOp, launch};
    pub use braidnet_data::digits::DigitsConfig;
    pub use braidnet_data::{ImageSet, Split, mnist, sampler};
    pub use braidnet_grid::{Coarsening, Partition, TimeGrid};
    pub use braidnet_mgrit::{MgritOptions, Relaxation, SolveReport, Tolerance};
    pub use braidnet_nn::gru::{GruConfig, GruNet, Sequences};
    pub use braidnet_nn::transformer::{EncoderDecoder, EncoderDecoderConfig, Transformer, TransformerConfig};
    pub use braidnet_nn::{
        BlockNet, BlockNetConfig, CoarseOperator, DepthInit, Network, OdeNet2d, OdeNet2dConfig, OdeNet3d,
        OdeNet3dConfig, OpeningKind,
    };
    pub use braidnet_train::data::{Bucketed, Feed, Images, InMemory, Labels, Stream};
    pub use braidnet_train::trainer::{End, Outcome, Plan, Samples, Trainer, TrainerConfig};
    pub use braidnet_train::{
        Activations, Backward, Balance, GradientError, GradientReducer, InitialGuess, LayerParallel, LearningRate,
        Optimizer, OptimizerConfig, Schedule, ScheduleKind, SolveConfig, Task, TrainError, correct, cross_entropy,
    };
    pub use burn::tensor::{Device, Int, Tensor, TensorData};

    pub use crate::options::{
        BlockArgs, DeviceArgs, GruArgs, LaunchArgs, NetworkArgs, ScheduleArgs, SpaceArgs, TrainingArgs,
        TransformerArgs, VoxelArgs,
    };
}
