//! Which device.

use braidnet_comm::Mesh;
use burn::tensor::Device;
use clap::{Args, ValueEnum};

/// Which device.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    /// Device that tensors live on.
    #[arg(long, value_enum, default_value_t = DeviceKind::Flex)]
    pub device: DeviceKind,
}

/// Devices that this build knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceKind {
    /// The processor, by burn's flex backend; each rank works on its own thread.
    Flex,
}

impl DeviceArgs {
    /// burn's device for this rank. Ranks of one machine share its processor; where it has several devices, each rank takes
    /// the one of its number on the machine.
    pub fn device(&self, _mesh: &Mesh) -> Device {
        match self.device {
            DeviceKind::Flex => Device::flex(),
        }
    }
}
