//! The device that tensors are on, as far as building and comparing must know it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Kinds of devices, which are the features of the crate `braidnet` that build them; `cpu` and `flex` are in every build.
const KINDS: [&str; 8] = ["cpu", "flex", "ndarray", "cuda", "rocm", "vulkan", "metal", "webgpu"];

/// A device: `cpu`, `cuda`, `cuda:0`, `vulkan:cpu`. What may stand behind the colon the programs know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device(String);

/// A text that names no kind of device.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no device {text:?}: use one of {}, and for a GPU a number behind it, as cuda:0", KINDS.join(", "))]
pub struct DeviceError {
    text: String,
}

impl Device {
    /// The processor.
    pub fn cpu() -> Self {
        Self("cpu".to_owned())
    }

    fn kind(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(kind, _)| kind)
    }

    /// Whether it is the processor with the backend of every build.
    pub fn is_cpu(&self) -> bool {
        matches!(self.kind(), "cpu" | "flex")
    }

    /// The feature that builds it.
    pub fn feature(&self) -> Option<&str> {
        (!self.is_cpu()).then(|| self.kind())
    }

    /// Whether a measurement was taken on such a device: `measured` may add its number and name, as `cuda:0 (NVIDIA H200)`.
    pub fn is_that_of(&self, measured: &str) -> bool {
        let measured = measured.split([':', ' ']).next().unwrap_or(measured);
        let asked = if self.is_cpu() { "cpu" } else { self.kind() };
        measured == asked
    }

    /// What PyTorch calls it; `None` for devices that it has no name of.
    pub fn in_pytorch(&self) -> Option<String> {
        match self.kind() {
            "cpu" | "flex" => Some("cpu".to_owned()),
            // ROCm's builds of PyTorch use CUDA's name.
            "cuda" | "rocm" => Some(self.0.replace("rocm", "cuda")),
            _ => None,
        }
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let device = Self(text.to_owned());
        let is_known =
            KINDS.contains(&device.kind()) && !text.ends_with(':') && !(device.is_cpu() && text.contains(':'));
        if is_known { Ok(device) } else { Err(DeviceError { text: text.to_owned() }) }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(text: &str) -> Device {
        text.parse().unwrap()
    }

    #[test]
    fn devices_have_features_and_names() {
        assert_eq!(
            ["cpu", "flex", "cuda:0", "vulkan:cpu"].map(|text| device(text).feature().map(str::to_owned)),
            [None, None, Some("cuda".to_owned()), Some("vulkan".to_owned())]
        );
        assert!(device("cuda").is_that_of("cuda:0 (NVIDIA H200)") && device("flex").is_that_of("cpu"));
        assert!(
            !device("cuda").is_that_of("cpu")
                && !device("cpu").is_that_of("cuda:0")
                && !device("cuda").is_that_of("cud")
        );
        assert_eq!(device("rocm:1").in_pytorch().as_deref(), Some("cuda:1"));
        assert_eq!((device("cpu").in_pytorch().as_deref(), device("vulkan").in_pytorch()), (Some("cpu"), None));
    }

    #[test]
    fn what_is_no_device_is_refused_with_the_kinds() {
        for text in ["", "gpu", "cuda:", "cpu:0", "CUDA", "cuda0", "flex:cpu"] {
            let message = text.parse::<Device>().unwrap_err().to_string();
            assert!(message.contains("cuda, rocm, vulkan") && message.contains(&format!("{text:?}")), "{message}");
        }
    }
}
