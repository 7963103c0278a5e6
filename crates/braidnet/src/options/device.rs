//! Which device.

use braidnet_comm::Mesh;
#[cfg(feature = "cuda")]
use braidnet_comm::{CudaProbe, under_mpi};
use burn::tensor::Device;
use clap::Args;

use crate::device::{DeviceError, DeviceKind, DeviceSpec, Opened, open};

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
    /// Where ranks of several processes have CUDA devices, they try out whether MPI reads and writes device memory itself
    /// ([`Mesh::probe_device_path`]); another line of the log says what came of it.
    ///
    /// # Errors
    /// [`DeviceError`].
    ///
    /// # Communication
    /// None, or that of [`Mesh::probe_device_path`]: all ranks of the mesh must call it, with the same kind of device.
    pub fn device(&self, mesh: &Mesh) -> Result<Device, DeviceError> {
        let opened = open(self.device, mesh.node_rank())?;
        if !opened.kind.is_processor() {
            tracing::info!("device {opened}");
        }
        try_messages(&opened, mesh)?;
        Ok(opened.device)
    }
}

/// Finds the way of messages between CUDA devices; ranks that are threads hand tensors over.
#[cfg(feature = "cuda")]
fn try_messages(opened: &Opened, mesh: &Mesh) -> Result<(), DeviceError> {
    if opened.kind == DeviceKind::Cuda && under_mpi() && mesh.world().size() > 1 {
        let path = mesh.probe_device_path(&mut CudaProbe::new(opened.index))?;
        if mesh.world().rank() == 0 {
            tracing::info!("messages between CUDA devices: {path}");
        }
    }
    Ok(())
}

/// Only CUDA devices have memory that MPI could read.
#[cfg(not(feature = "cuda"))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail in a build for CUDA")]
fn try_messages(_: &Opened, _: &Mesh) -> Result<(), DeviceError> {
    Ok(())
}

/// A device of a kind that this program was built with.
fn built(text: &str) -> Result<DeviceSpec, DeviceError> {
    let spec: DeviceSpec = text.parse()?;
    if spec.kind.is_built() { Ok(spec) } else { Err(DeviceError::NotBuilt(spec.kind)) }
}
