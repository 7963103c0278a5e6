//! Which device.

use braidnet_comm::Mesh;
use burn::tensor::Device;
use clap::Args;

use crate::device::{DeviceError, DeviceKind, DeviceSpec, open};

/// Which device.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    /// Device that tensors live on: flex (the processor), or one of cuda, rocm, vulkan, metal, webgpu, ndarray that the program
    /// was built with. Ranks of a machine take its devices in turn; with a number, as cuda:1, all take that one, and with
    /// vulkan:cpu the software adapter.
    #[arg(long, value_name = "KIND[:N]", value_parser = built, default_value_t = DeviceKind::Flex.into())]
    pub device: DeviceSpec,
}

impl DeviceArgs {
    /// burn's device for this rank, tried out; a line of the log says which it is. Ranks of one machine share its processor;
    /// where it has several devices, each rank takes the one of its number on the machine, unless all are told to take one.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn device(&self, mesh: &Mesh) -> Result<Device, DeviceError> {
        let opened = open(self.device, mesh.node_rank())?;
        if !opened.kind.is_processor() {
            tracing::info!("device {opened}");
        }
        Ok(opened.device)
    }
}

/// A device of a kind that this program was built with.
fn built(text: &str) -> Result<DeviceSpec, DeviceError> {
    let spec: DeviceSpec = text.parse()?;
    if spec.kind.is_built() { Ok(spec) } else { Err(DeviceError::NotBuilt(spec.kind)) }
}
