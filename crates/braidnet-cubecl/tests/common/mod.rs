//! Devices to run the kernels on, and tensors of numbers that look random.

#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::expect_used)]

use std::panic::catch_unwind;
use std::sync::OnceLock;

#[cfg(any(feature = "metal", feature = "vulkan", feature = "wgpu"))]
use burn::tensor::DeviceKind;
use burn::tensor::{Device, Tensor, TensorData};

/// The devices that this build and this computer have: the software of Mesa (`lavapipe`) will do for `wgpu`.
pub fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let devices: Vec<Option<Device>> = vec![
            #[cfg(feature = "cuda")]
            open("cuda", || Device::cuda(0)),
            #[cfg(feature = "rocm")]
            open("rocm", || Device::rocm(0)),
            #[cfg(feature = "metal")]
            open("metal", || Device::metal(DeviceKind::default())),
            #[cfg(feature = "vulkan")]
            open("vulkan", || Device::vulkan(DeviceKind::default())),
            #[cfg(feature = "wgpu")]
            open("wgpu", || Device::wgpu(DeviceKind::default())),
        ];
        devices.into_iter().flatten().collect()
    })
}

/// The device, if one can be had.
fn open(name: &str, make: fn() -> Device) -> Option<Device> {
    let made = catch_unwind(|| {
        let device = make();
        numbers(&Tensor::<1>::ones([2], &device));
        device
    });
    if made.is_err() {
        eprintln!("skipped {name}: no such device here");
    }
    made.ok()
}

/// The elements of `tensor`, row by row.
pub fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().try_to_vec().expect("32-bit floats")
}

/// A tensor of numbers between -1 and 1 that depend on `seed`.
pub fn filled<const D: usize>(shape: [usize; D], seed: u32, device: &Device) -> Tensor<D> {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Whether all entries agree to 1e-5 of the largest expected one.
pub fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "lengths");
    let largest = expected.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    for (i, (x, y)) in found.iter().zip(expected).enumerate() {
        assert!((x - y).abs() <= 1e-5 * largest, "entry {i}: {x}, expected {y}, largest {largest}");
    }
}
