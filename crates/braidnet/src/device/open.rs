//! A device for a rank.

use std::fmt;

use burn::tensor::Device;

use super::probe::probe;
use super::spec::{Class, numbered};
use super::{DeviceError, DeviceKind, DeviceSpec};

/// A device that works.
#[derive(Debug, Clone)]
pub struct Opened {
    /// For burn.
    pub device: Device,
    /// Its kind.
    pub kind: DeviceKind,
    /// Its number among those of its kind on this machine, as in [`Place::Index`](super::Place::Index).
    pub index: usize,
    /// What it calls itself; nothing for the processor.
    pub name: Option<String>,
}

impl fmt::Display for Opened {
    /// As `cuda:0 (NVIDIA H100 PCIe)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}:{} ({name})", self.kind, self.index),
            None => self.kind.fmt(f),
        }
    }
}

/// The device that the rank of number `node_rank` on its machine takes by `spec`.
///
/// Devices are looked up before one is touched: the runtimes say that there are none where the driver is missing, but panic if one
/// is used all the same. Then a first operation is tried on the device, as the libraries that compile its kernels are
/// loaded only for that.
///
/// # Errors
/// [`DeviceError::NotBuilt`], [`DeviceError::None`], [`DeviceError::Absent`], [`DeviceError::FirstOperation`].
pub fn open(spec: DeviceSpec, node_rank: usize) -> Result<Opened, DeviceError> {
    let kind = spec.kind;
    if !kind.is_built() {
        return Err(DeviceError::NotBuilt(kind));
    }
    let (classes, devices): (Vec<Class>, Vec<Device>) = kind.devices().into_iter().unzip();
    if devices.is_empty() {
        return Err(DeviceError::None { kind, reason: kind.missing() });
    }
    let index = spec.place.choose(&classes, node_rank).ok_or_else(|| DeviceError::Absent {
        spec,
        n_devices: numbered(&classes),
        has_software: numbered(&classes) < classes.len(),
    })?;
    let device = devices[index].clone();
    if kind.is_processor() {
        return Ok(Opened { device, kind, index, name: None });
    }
    let fails = |reason| DeviceError::FirstOperation { device: format!("{kind}:{index}"), kind, reason };
    probe(&device).map_err(fails)?;
    Ok(Opened { name: name(&device), device, kind, index })
}

/// What a device calls itself.
#[cfg(any(feature = "cuda", feature = "rocm", feature = "vulkan", feature = "metal", feature = "webgpu"))]
fn name(device: &Device) -> Option<String> {
    Some(device.identity()?.name)
}

/// What a device calls itself.
#[cfg(not(any(feature = "cuda", feature = "rocm", feature = "vulkan", feature = "metal", feature = "webgpu")))]
fn name(_device: &Device) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Place;

    #[test]
    fn every_kind_opens_or_says_what_is_missing() {
        for kind in DeviceKind::ALL {
            match open(kind.into(), 3) {
                Ok(opened) => assert_eq!((opened.kind, opened.name.is_some()), (kind, !kind.is_processor())),
                Err(DeviceError::NotBuilt(other)) => assert_eq!((other, kind.is_built()), (kind, false)),
                Err(DeviceError::None { kind: other, .. }) => assert_eq!((other, kind.is_built()), (kind, true)),
                Err(error) => panic!("{kind}: {error}"),
            }
        }
        assert_eq!(open(DeviceKind::Flex.into(), 0).unwrap().to_string(), "flex");
    }

    #[test]
    fn a_number_too_large_is_refused_with_those_that_there_are() {
        for kind in DeviceKind::ALL.into_iter().filter(|kind| kind.is_built() && !kind.is_processor()) {
            match open(DeviceSpec { kind, place: Place::Index(8000) }, 0) {
                Err(DeviceError::None { .. }) => {}
                Err(error @ DeviceError::Absent { .. }) => assert!(error.to_string().contains(&format!("`{kind}:0`"))),
                other => panic!("{kind}: {other:?}"),
            }
        }
    }
}
