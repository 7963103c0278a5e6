//! Graphics processors, as their drivers' tools name them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::ask::{Silence, ask, told};
use super::finding::{Finding, State};

/// What of CUDA is worth knowing to the other checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nvidia {
    Found,
    None,
}

/// A graphics processor.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gpu {
    name: String,
    /// As the tool writes it, with its unit.
    memory: String,
    driver: String,
}

impl Gpu {
    fn finding(&self, topic: &'static str) -> Finding {
        Finding::ok(topic, format!("{}, {}, driver {}", self.name, self.memory, self.driver))
            .fact("name", &*self.name)
            .fact("memory", &*self.memory)
            .fact("driver", &*self.driver)
    }
}

/// All kinds, and whether there is one of NVIDIA's.
pub fn check() -> (Vec<Finding>, Nvidia) {
    let mut findings = nvidia();
    let has_nvidia = if findings.is_empty() { Nvidia::None } else { Nvidia::Found };
    findings.extend(amd());
    findings.extend(vulkan());
    if findings.is_empty() {
        let nodes = nodes(Path::new("/dev/dri"), "renderD");
        let text = if nodes == 0 { "none".to_owned() } else { format!("{nodes} of an unknown kind in /dev/dri") };
        let remedy =
            "training runs on the processors; for a GPU install its driver (nvidia-smi, rocm-smi or vulkaninfo)";
        findings.push(Finding::missing("GPU", text, remedy));
    }
    (findings, has_nvidia)
}

/// Names, memory and drivers of this machine's, as their makers' tools tell them.
pub fn found() -> Vec<String> {
    let all = nvidia().into_iter().chain(amd());
    all.filter(|finding| finding.state == State::Ok).map(|finding| finding.text().to_owned()).collect()
}

fn nvidia() -> Vec<Finding> {
    const TOPIC: &str = "NVIDIA GPU";
    const QUERY: [&str; 2] = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
    let nodes = (0..64).filter(|i| Path::new(&format!("/dev/nvidia{i}")).exists()).count();
    let warning = |text: String, remedy: &str| vec![Finding::warning(TOPIC, text, remedy)];
    match ask("nvidia-smi", &QUERY) {
        Ok(answer) if answer.status.success() => {
            let gpus = parse_nvidia(&answer.stdout);
            if gpus.is_empty() {
                return warning(
                    "nvidia-smi names none".to_owned(),
                    "nvidia-smi -L says more; is one given to this job?",
                );
            }
            gpus.iter().map(|gpu| gpu.finding(TOPIC)).collect()
        }
        Ok(answer) => {
            warning(format!("nvidia-smi fails: {}", answer.last_words()), "load or reinstall NVIDIA's driver")
        }
        Err(Silence::NotHere) if nodes == 0 => Vec::new(),
        Err(Silence::NotHere) => warning(
            format!("{nodes} in /dev, but no nvidia-smi"),
            "start the container with NVIDIA's container toolkit (--gpus all), which brings the driver's libraries",
        ),
        Err(silence) => warning(format!("nvidia-smi {silence}"), "the driver may hang; dmesg says why"),
    }
}

/// Lines of name, memory and driver.
fn parse_nvidia(text: &str) -> Vec<Gpu> {
    let gpu = |line: &str| {
        let [name, memory, driver] = line.split(',').map(str::trim).collect::<Vec<_>>().try_into().ok()?;
        Some(Gpu { name: str::to_owned(name), memory: memory.to_owned(), driver: driver.to_owned() })
    };
    text.lines().filter_map(gpu).collect()
}

fn amd() -> Vec<Finding> {
    const TOPIC: &str = "AMD GPU";
    let args = ["--showproductname", "--showmeminfo", "vram", "--showdriverversion", "--json"];
    let gpus = told("rocm-smi", &args).map(|text| parse_amd(&text)).unwrap_or_default();
    if gpus.is_empty() && Path::new("/dev/kfd").exists() {
        let remedy = "install ROCm, and check that this user may open /dev/kfd (groups render and video)";
        return vec![Finding::warning(TOPIC, "/dev/kfd is here, but rocm-smi names none", remedy)];
    }
    gpus.iter().map(|gpu| gpu.finding(TOPIC)).collect()
}

/// rocm-smi's JSON: an object for every card, and one for the system. Versions differ in upper and lower case.
fn parse_amd(text: &str) -> Vec<Gpu> {
    let Ok(Value::Object(all)) = serde_json::from_str(text) else { return Vec::new() };
    let get = |object: &Value, keys: &[&str]| {
        let fields = object.as_object()?;
        let value = |key: &&str| fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?.1.as_str();
        keys.iter().find_map(value).map(str::to_owned)
    };
    let driver = all.get("system").and_then(|system| get(system, &["Driver version"]));
    let gpu = |card: &Value| {
        let bytes: Option<u64> = get(card, &["VRAM Total Memory (B)"]).and_then(|bytes| bytes.parse().ok());
        Gpu {
            name: get(card, &["Card series", "Card model"]).unwrap_or_else(|| "unnamed".to_owned()),
            memory: bytes.map_or("memory unknown".to_owned(), |bytes| format!("{} MiB", bytes >> 20)),
            driver: driver.clone().unwrap_or_else(|| "unknown".to_owned()),
        }
    };
    all.iter().filter(|(name, _)| name.starts_with("card")).map(|(_, card)| gpu(card)).collect()
}

/// What the Vulkan backend would see. vulkaninfo's summary does not name the memory.
fn vulkan() -> Vec<Finding> {
    const TOPIC: &str = "Vulkan";
    let devices = told("vulkaninfo", &["--summary"]).map(|text| parse_vulkan(&text)).unwrap_or_default();
    let finding = |device: &VulkanDevice| {
        let VulkanDevice { name, driver, is_software } = device;
        let text = format!("{name}, driver {driver}");
        let finding = if *is_software {
            let remedy =
                "only a processor that plays a GPU: right for tests, slow for training; install a GPU's driver";
            Finding::warning(TOPIC, text, remedy)
        } else {
            Finding::ok(TOPIC, text)
        };
        finding.fact("name", &**name).fact("driver", &**driver)
    };
    devices.iter().map(finding).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct VulkanDevice {
    name: String,
    driver: String,
    is_software: bool,
}

/// The blocks `GPU0:`, `GPU1:`, ... of `key = value`.
fn parse_vulkan(text: &str) -> Vec<VulkanDevice> {
    let mut devices: Vec<VulkanDevice> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("GPU") && line.ends_with(':') {
            devices.push(VulkanDevice { name: String::new(), driver: String::new(), is_software: false });
        }
        let Some(device) = devices.last_mut() else { continue };
        match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("deviceName", value)) => value.clone_into(&mut device.name),
            Some(("driverInfo", value)) => value.clone_into(&mut device.driver),
            Some(("deviceType", value)) => device.is_software = value.ends_with("_CPU"),
            _ => {}
        }
    }
    devices
}

/// How many entries of a folder start with `prefix`.
fn nodes(folder: &Path, prefix: &str) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nvidias_are_read() {
        let text = "NVIDIA H100 80GB HBM3, 81559 MiB, 535.104.12\nNVIDIA GeForce RTX 4090, 24564 MiB, 550.54.14\n";
        let gpus = parse_nvidia(text);
        assert_eq!(gpus.len(), 2);
        let line = gpus[0].finding("NVIDIA GPU").line();
        assert_eq!(line, "ok       NVIDIA GPU       NVIDIA H100 80GB HBM3, 81559 MiB, driver 535.104.12");
        assert_eq!(parse_nvidia("No devices were found\n"), []);
    }

    #[test]
    fn amds_are_read() {
        let text = r#"{"card0": {"VRAM Total Memory (B)": "68702699520", "VRAM Total Used Memory (B)": "11313152",
            "Card Series": "AMD INSTINCT MI250X", "Card Model": "0x7408"}, "system": {"Driver version": "6.3.6"}}"#;
        let expected =
            Gpu { name: "AMD INSTINCT MI250X".to_owned(), memory: "65520 MiB".to_owned(), driver: "6.3.6".to_owned() };
        assert_eq!(parse_amd(text), [expected]);
        assert_eq!(parse_amd(&text.replace("Card Series", "Card series"))[0].name, "AMD INSTINCT MI250X");
        assert_eq!(parse_amd("WARNING: No AMD GPUs specified\n"), []);
    }

    #[test]
    fn vulkan_devices_are_read() {
        let text = "Devices:\n========\nGPU0:\n\tdeviceType         = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU\n\tdeviceName         = NVIDIA GeForce RTX 4090\n\tdriverInfo         = 550.54.14\nGPU1:\n\tdeviceType         = PHYSICAL_DEVICE_TYPE_CPU\n\tdeviceName         = llvmpipe (LLVM 15.0.6, 256 bits)\n\tdriverName         = llvmpipe\n\tdriverInfo         = Mesa 22.3.6 (LLVM 15.0.6)\n";
        let devices = parse_vulkan(text);
        assert_eq!((devices[0].name.as_str(), devices[0].is_software), ("NVIDIA GeForce RTX 4090", false));
        assert_eq!((devices[1].driver.as_str(), devices[1].is_software), ("Mesa 22.3.6 (LLVM 15.0.6)", true));
        assert_eq!(parse_vulkan("ERROR at vulkaninfo.h:628\n"), []);
    }
}
