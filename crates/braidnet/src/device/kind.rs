//! The kinds of devices.

use std::fmt;

use burn::tensor::Device;
#[cfg(any(feature = "cuda", feature = "rocm", feature = "vulkan", feature = "metal", feature = "webgpu"))]
use burn::tensor::DeviceType;

use super::spec::Class;

/// The kinds of devices that a program can be built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// The processor, by burn's flex backend; each rank works on its own thread. In every build.
    Flex,
    /// The processor, by burn's ndarray backend.
    NdArray,
    /// NVIDIA's GPUs.
    Cuda,
    /// AMD's GPUs.
    Rocm,
    /// GPUs of any maker, by Vulkan.
    Vulkan,
    /// Apple's GPUs.
    Metal,
    /// GPUs by the graphics interface that the system offers, best first: Vulkan, Direct3D 12, OpenGL; Metal on a Mac. In a
    /// program built with `vulkan` or `metal` as well, kernels are compiled as for those, otherwise through WebGPU's
    /// shader language.
    WebGpu,
}

impl DeviceKind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Flex, Self::NdArray, Self::Cuda, Self::Rocm, Self::Vulkan, Self::Metal, Self::WebGpu];

    /// The name on the command line, which is that of the feature that builds it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::NdArray => "ndarray",
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::WebGpu => "webgpu",
        }
    }

    /// Whether this program was built for it.
    pub fn is_built(self) -> bool {
        match self {
            Self::Flex => true,
            Self::NdArray => cfg!(feature = "ndarray"),
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Rocm => cfg!(feature = "rocm"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Metal => cfg!(feature = "metal"),
            Self::WebGpu => cfg!(feature = "webgpu"),
        }
    }

    /// Whether it is the processor, of which there is one.
    pub fn is_processor(self) -> bool {
        matches!(self, Self::Flex | Self::NdArray)
    }

    /// Whether adapters that compute in software may be among its devices.
    pub(super) fn has_software(self) -> bool {
        matches!(self, Self::Vulkan | Self::WebGpu)
    }

    /// The devices of this machine with their classes, the best first, each class in the order of the runtime; none where the
    /// driver is missing. Loads the driver.
    pub(super) fn devices(self) -> Vec<(Class, Device)> {
        let devices = match self {
            Self::Flex => vec![Device::flex()],
            #[cfg(feature = "ndarray")]
            #[expect(deprecated, reason = "burn keeps it for comparisons, and so does the feature")]
            Self::NdArray => vec![Device::ndarray()],
            #[cfg(feature = "cuda")]
            Self::Cuda => Device::enumerate(DeviceType::Cuda).into_vec(),
            #[cfg(feature = "rocm")]
            Self::Rocm => Device::enumerate(DeviceType::Rocm).into_vec(),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Device::enumerate(DeviceType::Vulkan).into_vec(),
            #[cfg(feature = "metal")]
            Self::Metal => Device::enumerate(DeviceType::Metal).into_vec(),
            // burn's device type of this name is the interface of browsers.
            #[cfg(feature = "webgpu")]
            Self::WebGpu => Device::enumerate(DeviceType::Wgpu).into_vec(),
            #[allow(unreachable_patterns)]
            _ => Vec::new(),
        };
        let mut devices: Vec<_> = devices.into_iter().map(|device| (class(&device), device)).collect();
        devices.sort_by_key(|(class, _)| *class);
        devices
    }

    /// Why there is no device, where the driver can be asked. The runtimes only say that there is none.
    pub(super) fn missing(self) -> Option<String> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda => braidnet_comm::DeviceProbe::attach(&mut braidnet_comm::CudaProbe::new(0))
                .err()
                .map(|error| error.to_string()),
            _ => None,
        }
    }

    /// What people call it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::NdArray => "ndarray",
            Self::Cuda => "CUDA",
            Self::Rocm => "ROCm",
            Self::Vulkan => "Vulkan",
            Self::Metal => "Metal",
            Self::WebGpu => "WebGPU",
        }
    }

    /// What to look at where there is none, or one fails.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Flex | Self::NdArray => "use another",
            Self::Cuda if cfg!(feature = "cuda-nvrtc") => {
                "this needs NVIDIA's driver (libcuda; see whether `nvidia-smi` lists the GPU) and the CUDA toolkit (libnvrtc \
                 on the path of libraries, headers below $CUDA_PATH, /usr/local/cuda or /opt/cuda)"
            }
            Self::Cuda => {
                "this needs NVIDIA's driver (libcuda); see whether `nvidia-smi` lists the GPU, in a container too"
            }
            Self::Rocm => {
                "this needs ROCm (libamdhip64); see whether `rocminfo` lists the GPU, and whether /dev/kfd may be opened"
            }
            Self::Vulkan | Self::WebGpu => {
                "this needs the Vulkan loader and the GPU's driver; see whether `vulkaninfo --summary` lists the GPU"
            }
            Self::Metal => "this needs a Mac with Metal",
        }
    }

    /// What can stand behind the name.
    pub(super) fn forms(self) -> String {
        match self {
            kind if kind.is_processor() => format!("`{kind}` takes no number: there is one processor"),
            kind if kind.has_software() => {
                format!("use `{kind}`, `{kind}:0` for the first one, or `{kind}:cpu` for the software adapter")
            }
            kind => format!("use `{kind}`, or `{kind}:0` for the first one"),
        }
    }

    /// All names in one line.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// What kind of hardware a device is.
#[cfg(any(feature = "vulkan", feature = "metal", feature = "webgpu"))]
fn class(device: &Device) -> Class {
    use burn::backend::{CubeDevice, DispatchDevice, WgpuDeviceKind};

    let DispatchDevice::Cube(CubeDevice::Wgpu(adapter)) = device.as_dispatch() else { return Class::Own };
    match adapter.kind {
        WgpuDeviceKind::DiscreteGpu(_) => Class::Own,
        WgpuDeviceKind::IntegratedGpu(_) => Class::Integrated,
        WgpuDeviceKind::VirtualGpu(_) => Class::Virtual,
        WgpuDeviceKind::Cpu => Class::Software,
        _ => Class::Unknown,
    }
}

/// What kind of hardware a device is.
#[cfg(not(any(feature = "vulkan", feature = "metal", feature = "webgpu")))]
fn class(_device: &Device) -> Class {
    Class::Own
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
