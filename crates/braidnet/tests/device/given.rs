//! The device to test.

use std::env::{self, VarError};

use braidnet::device::{DeviceKind, DeviceSpec, open};
use braidnet::prelude::*;

const VARIABLE: &str = "BRAIDNET_TEST_DEVICE";

/// The device that the environment names; `None`, and a word about it, where it names none.
pub fn given() -> Option<DeviceSpec> {
    match env::var(VARIABLE) {
        Ok(text) => Some(text.parse().unwrap_or_else(|error| panic!("{VARIABLE}: {error}"))),
        Err(VarError::NotPresent) => {
            println!("skipped: {VARIABLE} names no device");
            None
        }
        Err(error) => panic!("{VARIABLE}: {error}"),
    }
}

/// The device for a rank. Of several GPUs ranks take different ones, unless one is named by its number.
pub fn device(spec: DeviceSpec, rank: usize) -> Device {
    open(spec, rank).unwrap_or_else(|error| panic!("{VARIABLE}: {error}")).device
}

/// The processor, by the backend that everything else is tested with.
pub fn flex() -> DeviceSpec {
    DeviceKind::Flex.into()
}

#[test]
fn the_device_is_there() {
    let Some(spec) = given() else { return };
    let opened = open(spec, 0).unwrap_or_else(|error| panic!("{VARIABLE}: {error}"));
    println!("{opened}");
    assert_eq!(opened.kind, spec.kind);
}
