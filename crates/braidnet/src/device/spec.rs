//! What a user types.

use std::fmt;
use std::str::FromStr;

use super::{DeviceError, DeviceKind};

/// Names are compared to this similarity for a proposal, as keys of a configuration file are.
const SIMILAR: f64 = 0.7;

/// A kind of device, and which of them: `cuda`, `cuda:1`, `vulkan:cpu`; `cpu` is another word for `flex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceSpec {
    /// The kind.
    pub kind: DeviceKind,
    /// Which one.
    pub place: Place,
}

/// Which device of a kind a rank takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Ranks of one machine take its devices in turn; where there are fewer devices than ranks, several share one. Only devices
    /// of the best class count: no rank gets the processor's own graphics beside GPUs.
    ByRank,
    /// All ranks take this one.
    Index(usize),
    /// All ranks take the adapter that computes in software on the processor.
    Software,
}

/// Hardware, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(any(feature = "vulkan", feature = "metal", feature = "webgpu")), allow(dead_code))]
pub(super) enum Class {
    /// A GPU of its own, or the kind has no other.
    Own,
    /// The processor's.
    Integrated,
    /// A part of one, in a virtual machine.
    Virtual,
    /// The driver does not say.
    Unknown,
    /// The processor, in software.
    Software,
}

impl Place {
    /// Which of devices of these classes, sorted, the rank of this number on its machine takes. Adapters in software count only
    /// where there is nothing else.
    pub(super) fn choose(self, classes: &[Class], node_rank: usize) -> Option<usize> {
        match self {
            Self::ByRank => {
                let best = *classes.first()?;
                node_rank.checked_rem(classes.iter().filter(|class| **class == best).count())
            }
            Self::Index(index) => (index < numbered(classes)).then_some(index),
            Self::Software => classes.iter().position(|class| *class == Class::Software),
        }
    }
}

/// How many devices of these classes have a number.
pub(super) fn numbered(classes: &[Class]) -> usize {
    match classes.iter().filter(|class| **class != Class::Software).count() {
        0 => classes.len(),
        hardware => hardware,
    }
}

impl From<DeviceKind> for DeviceSpec {
    fn from(kind: DeviceKind) -> Self {
        Self { kind, place: Place::ByRank }
    }
}

impl FromStr for DeviceSpec {
    type Err = DeviceError;

    /// Reads what [`Display`](fmt::Display) writes; a kind that this program was built without too.
    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let (name, place) = text.split_once(':').map_or((text, None), |(name, place)| (name, Some(place)));
        let named = |kind: &DeviceKind| kind.name() == name;
        let kind = if name == "cpu" { Some(DeviceKind::Flex) } else { DeviceKind::ALL.into_iter().find(named) };
        let kind = kind.ok_or_else(|| DeviceError::Unknown { text: text.to_owned(), nearest: nearest(name) })?;
        let place = match place {
            None => Some(Place::ByRank),
            Some(_) if kind.is_processor() => None,
            Some("cpu") => kind.has_software().then_some(Place::Software),
            // A sign is no part of a number here.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Place::Index),
            Some(_) => None,
        };
        let place = place.ok_or_else(|| DeviceError::BadPlace { text: text.to_owned(), kind })?;
        Ok(Self { kind, place })
    }
}

fn nearest(name: &str) -> Option<DeviceKind> {
    let name = name.to_lowercase();
    let scored = DeviceKind::ALL.into_iter().map(|kind| (strsim::jaro(&name, kind.name()), kind));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(score, _)| *score > SIMILAR).map(|(_, kind)| kind)
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::ByRank => write!(f, "{}", self.kind),
            Place::Index(index) => write!(f, "{}:{index}", self.kind),
            Place::Software => write!(f, "{}:cpu", self.kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Class::{Integrated, Own, Software};
    use super::*;
    use proptest::prelude::*;

    fn spec(text: &str) -> Result<DeviceSpec, DeviceError> {
        text.parse()
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(kind in 0..DeviceKind::ALL.len(), place in 0..3usize, index: usize) {
            let kind = DeviceKind::ALL[kind];
            let place = [Place::ByRank, Place::Index(index), Place::Software][place];
            let valid = match place {
                Place::ByRank => true,
                Place::Index(_) => !kind.is_processor(),
                Place::Software => kind.has_software(),
            };
            let written = DeviceSpec { kind, place };
            let read = spec(&written.to_string());
            prop_assert_eq!(read.ok(), valid.then_some(written));
        }

        #[test]
        fn ranks_take_every_device_of_the_best_class_in_turn(own in 1..9usize, integrated in 0..3usize, software in 0..2usize) {
            let classes = [vec![Own; own], vec![Integrated; integrated], vec![Software; software]].concat();
            for node_rank in 0..20 {
                prop_assert_eq!(Place::ByRank.choose(&classes, node_rank), Some(node_rank % own));
            }
        }

        #[test]
        fn what_is_read_means_what_is_shown(text in "[a-z]{0,4}(flex|cuda|vulkan|webgpu)?:?[0-9a-z:]{0,4}|\\PC*") {
            if let Ok(read) = spec(&text) {
                prop_assert_eq!(spec(&read.to_string()), Ok(read));
            }
        }
    }

    #[test]
    fn other_words_are_refused_with_what_to_type() {
        assert_eq!(spec("cpu").unwrap(), DeviceKind::Flex.into());
        let message = |text| spec(text).unwrap_err().to_string();
        let names = "use one of flex, ndarray, cuda, rocm, vulkan, metal, webgpu";
        assert_eq!(message("coda"), format!("no device `coda`, did you mean `cuda`?: {names}"));
        assert_eq!(message("tpu-v4"), format!("no device `tpu-v4`: {names}"));
        assert_eq!(message("CUDA:1"), format!("no device `CUDA:1`, did you mean `cuda`?: {names}"));
        assert_eq!(message("cuda:one"), "no device `cuda:one`: use `cuda`, or `cuda:0` for the first one");
        assert_eq!(message("flex:0"), "no device `flex:0`: `flex` takes no number: there is one processor");
        let forms = "use `vulkan`, `vulkan:0` for the first one, or `vulkan:cpu` for the software adapter";
        for text in ["vulkan:", "vulkan:-1", "vulkan:+1", "vulkan:0:0", "vulkan:99999999999999999999999"] {
            assert_eq!(message(text), format!("no device `{text}`: {forms}"));
        }
    }

    #[test]
    fn software_counts_only_where_it_is_alone_or_named() {
        let both = [Own, Integrated, Software];
        assert_eq!(Place::ByRank.choose(&both, 1), Some(0));
        assert_eq!([0, 1, 2].map(|i| Place::Index(i).choose(&both, 0)), [Some(0), Some(1), None]);
        assert_eq!(Place::Software.choose(&both, 5), Some(2));
        assert_eq!(Place::ByRank.choose(&[Software], 3), Some(0));
        assert_eq!([0, 1].map(|i| Place::Index(i).choose(&[Software], 0)), [Some(0), None]);
        assert_eq!(Place::Software.choose(&[Own], 0), None);
        assert_eq!(Place::ByRank.choose(&[], 0), None);
    }
}
