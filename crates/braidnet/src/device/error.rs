//! What can be wrong with a device.

use braidnet_comm::CommError;

use super::{DeviceKind, DeviceSpec};

/// Why there is no such device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// A name that no kind of device has.
    #[error("no device `{text}`{}: use one of {}", meant(*.nearest), DeviceKind::names())]
    Unknown {
        /// What was typed.
        text: String,
        /// The kind whose name is most like it, if one is.
        nearest: Option<DeviceKind>,
    },
    /// Something behind the colon that names no device of the kind.
    #[error("no device `{text}`: {}", .kind.forms())]
    BadPlace {
        /// What was typed.
        text: String,
        /// Its kind.
        kind: DeviceKind,
    },
    /// A kind that this program was built without.
    #[error("`{0}` is not in this program: build it with `--features {0}`")]
    NotBuilt(DeviceKind),
    /// No device of the kind on this machine, or no driver for it.
    #[error("no {} device on this machine{}: {}", .kind.title(), because(.reason.as_deref()), .kind.advice())]
    None {
        /// The kind.
        kind: DeviceKind,
        /// What the driver says, where it can be asked.
        reason: Option<String>,
    },
    /// A device that is not there, where others of its kind are.
    #[error("no device `{spec}`: this machine has {}", existing(.spec.kind, *.n_devices, *.has_software))]
    Absent {
        /// The device asked for.
        spec: DeviceSpec,
        /// Devices of the kind that have a number.
        n_devices: usize,
        /// Whether there is a software adapter beside them.
        has_software: bool,
    },
    /// A device that is there but fails.
    #[error("the device `{device}` fails its first operation: {reason}; {}", .kind.advice())]
    FirstOperation {
        /// The device, with its number and name as far as known.
        device: String,
        /// Its kind.
        kind: DeviceKind,
        /// What the runtime says.
        reason: String,
    },
    /// The ranks could not agree on the way of their messages.
    #[error(transparent)]
    Messages(#[from] CommError),
}

fn meant(nearest: Option<DeviceKind>) -> String {
    nearest.map_or(String::new(), |kind| format!(", did you mean `{kind}`?"))
}

fn because(reason: Option<&str>) -> String {
    reason.map_or(String::new(), |reason| format!(" ({reason})"))
}

fn existing(kind: DeviceKind, n_devices: usize, has_software: bool) -> String {
    let numbered = match n_devices {
        1 => format!("one, `{kind}:0`"),
        n => format!("{n}, `{kind}:0` to `{kind}:{}`", n.saturating_sub(1)),
    };
    let software = if has_software { format!(", and a software adapter, `{kind}:cpu`") } else { String::new() };
    numbered + &software
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_there_is_and_what_to_do() {
        let absent = |n_devices, has_software| {
            let spec = "vulkan:7".parse().unwrap();
            DeviceError::Absent { spec, n_devices, has_software }.to_string()
        };
        assert_eq!(absent(1, false), "no device `vulkan:7`: this machine has one, `vulkan:0`");
        let all =
            "no device `vulkan:7`: this machine has 4, `vulkan:0` to `vulkan:3`, and a software adapter, `vulkan:cpu`";
        assert_eq!(absent(4, true), all);
        let not_built = "`cuda` is not in this program: build it with `--features cuda`";
        assert_eq!(DeviceError::NotBuilt(DeviceKind::Cuda).to_string(), not_built);
        let none = DeviceError::None { kind: DeviceKind::Metal, reason: Some("no driver".to_owned()) };
        assert_eq!(none.to_string(), "no Metal device on this machine (no driver): this needs a Mac with Metal");
    }
}
