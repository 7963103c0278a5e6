//! `cargo xtask test --device`: what must hold on every device, on those that there are.

use std::collections::BTreeSet;
use std::fmt;
use std::process::Command;
use std::str::FromStr;

use anyhow::Result;

use crate::cargo::cargo;
use crate::command::run;
use crate::examples::shared;
use crate::step::Steps;

/// The variable by which tests know the device.
const VARIABLE: &str = "BRAIDNET_TEST_DEVICE";
/// Kinds by the features of the facade that build them, and the feature of the kernels' tests; the processor needs none.
const KINDS: [(&str, Option<&str>, Option<&str>); 8] = [
    ("cpu", None, None),
    ("flex", None, None),
    ("ndarray", Some("ndarray"), None),
    ("cuda", Some("cuda"), Some("cuda")),
    ("rocm", Some("rocm"), Some("rocm")),
    ("vulkan", Some("vulkan"), Some("vulkan")),
    ("metal", Some("metal"), Some("metal")),
    ("webgpu", Some("webgpu"), Some("wgpu")),
];

/// A device, as a program's `--device` names it; the programs themselves check what is behind the colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    text: String,
    feature: Option<&'static str>,
    kernels: Option<&'static str>,
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.split(':').next().unwrap_or_default();
        let known = KINDS.iter().find(|(kind, ..)| *kind == name);
        let (_, feature, kernels) = known.ok_or_else(|| {
            format!("no kind of device `{name}`: use one of {}", KINDS.map(|(kind, ..)| kind).join(", "))
        })?;
        Ok(Self { text: text.to_owned(), feature: *feature, kernels: *kernels })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The tests of networks on each device, then those of the kernels on the first device of each kind; built once for all of them.
///
/// # Errors
/// The first test program that fails, also because there is no such device.
pub fn check(devices: &[Device], steps: &mut Steps) -> Result<()> {
    for device in devices {
        let mut command = tests(devices, &["device"]);
        command.env(VARIABLE, &device.text).env("BRAIDNET_SHARED", shared());
        steps.run(&format!("networks on {device}"), || run(&mut command))?;
    }
    let networks = shared().join("reference/torch");
    if !networks.is_dir() {
        let why = format!("no {}; set BRAIDNET_SHARED to the folder of reference data", networks.display());
        steps.leave_out("PyTorch's networks", &why);
    }
    const KERNELS: &str = "kernels";
    if devices.iter().all(|device| device.kernels.is_none()) {
        steps.leave_out(KERNELS, "no GPU among the devices");
        return Ok(());
    }
    steps.run(KERNELS, || run(&mut tests(devices, &["conv", "join", "pack", "recurrent", "rows"])))
}

/// `cargo test` of test programs by name, built for all `devices`.
fn tests(devices: &[Device], names: &[&str]) -> Command {
    let mut command = cargo("test", &["--release", "--workspace", "--features", &features(devices)]);
    for name in names {
        command.args(["--test", name]);
    }
    // With the errors found, which say how far a device is from failing.
    command.args(["--", "--show-output"]);
    command
}

/// The features that build all `devices`, and the kernels' tests for them.
fn features(devices: &[Device]) -> String {
    let of = |device: &Device| {
        let facade = device.feature.map(|feature| format!("braidnet/{feature}"));
        facade.into_iter().chain(device.kernels.map(|feature| format!("braidnet-cubecl/{feature}")))
    };
    let all: BTreeSet<String> = devices.iter().flat_map(of).chain(["braidnet/tensorboard".to_owned()]).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_has_the_features_of_all_devices() {
        let of = |devices: &[&str]| features(&devices.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(of(&["flex", "cpu"]), "braidnet/tensorboard");
        assert_eq!(of(&["cuda:0", "cuda:1"]), "braidnet-cubecl/cuda,braidnet/cuda,braidnet/tensorboard");
        let both = "braidnet-cubecl/vulkan,braidnet-cubecl/wgpu,braidnet/tensorboard,braidnet/vulkan,braidnet/webgpu";
        assert_eq!(of(&["vulkan:cpu", "webgpu"]), both);
    }

    #[test]
    fn unknown_kinds_are_refused_with_those_that_there_are() {
        let message = "tpu:1".parse::<Device>().unwrap_err();
        assert_eq!(
            message,
            "no kind of device `tpu`: use one of cpu, flex, ndarray, cuda, rocm, vulkan, metal, webgpu"
        );
        assert!("".parse::<Device>().is_err());
    }
}
