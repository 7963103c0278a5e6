//! Memory that a device lacks: panics of burn as errors for people, and what is known before the first step.
//!
//! burn allocates behind the host. An allocation that fails is noted on the buffer and on all that is computed from it, and
//! the thread that reads any of these panics; such a panic becomes an error here.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use braidnet_mgrit::place::{self, Place};
use braidnet_nn::MemoryLimits;

use crate::TrainError;
use crate::trainer::RankPlan;

/// What a device could not give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// Bytes asked for, where the device says so.
    pub asked: Option<u64>,
    /// Whether it never gives so much in one piece.
    pub is_too_large: bool,
    /// What this rank last asked of the device.
    pub place: Place,
    /// Whether the place is exact, or something before it may have been meant.
    pub is_exact: bool,
    /// Bytes that the plan of a step says this rank needs, if there was one.
    pub predicted: Option<u64>,
}

/// What CubeCL and wgpu write before the number of bytes, and whether it is too large for one piece.
const SIGNS: [(&str, bool); 5] = [
    ("can't allocate buffer of size: ", true),
    ("out of device memory allocating ", false),
    ("An out-of-memory error happened during launch", false),
    ("Not enough memory left", false),
    ("CUDA_ERROR_OUT_OF_MEMORY", false),
];

impl Shortage {
    /// What a message says; `None` if it is about something else.
    fn of(message: &str) -> Option<Self> {
        let (at, (sign, is_too_large)) = SIGNS.iter().find_map(|sign| Some((message.find(sign.0)?, *sign)))?;
        let digits = message[at + sign.len()..].split(|c: char| !c.is_ascii_digit()).next();
        let asked = digits.and_then(|digits| digits.parse().ok());
        Some(Self { asked, is_too_large, place: place::here(), is_exact: place::is_close(), predicted: None })
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.asked {
            Some(bytes) => write!(f, "{bytes} bytes ({}) for the {}", mib(bytes), self.place)?,
            None => write!(f, "the {}", self.place)?,
        }
        if !self.is_exact {
            f.write_str(" or something shortly before it")?;
        }
        if let Some(bytes) = self.predicted {
            write!(
                f,
                "; a step was predicted to take {} on this rank, besides the layers' working memory",
                mib(bytes)
            )?;
        }
        match self.is_too_large {
            true => f.write_str(
                ". It gives no such piece at all, so take a smaller --batch, more --micro-batches or more --data-ranks",
            ),
            false => f.write_str(
                ". Take more --layer-ranks, --activations recompute, more --micro-batches, a smaller --batch or \
                 --precision bf16",
            ),
        }
    }
}

/// Bytes in words.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

thread_local! {
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic for want of a device's memory becomes its description, all others go on. Such a panic is not printed.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Shortage> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_ours = IS_CAUGHT.get() && message(info.payload()).and_then(Shortage::of).is_some();
            if !is_ours {
                usual(info);
            }
        }));
    });
    let before = IS_CAUGHT.replace(true);
    // The caller gives up what was half changed.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    IS_CAUGHT.set(before);
    result.map_err(|payload| match message(&*payload).and_then(Shortage::of) {
        Some(shortage) => shortage,
        None => panic::resume_unwind(payload),
    })
}

fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref().copied())
}

/// What is to be said of a plan on a device with such limits: a warning, where the estimate is above them.
///
/// # Errors
/// [`TrainError::DoesNotFit`] if the parameters and the optimizer's moments alone are more than the device has.
pub(crate) fn judge(plan: &RankPlan, moments: u64, limits: MemoryLimits) -> Result<Option<String>, TrainError> {
    let Some(has) = limits.total else { return Ok(None) };
    let needs = size_of::<f32>() as u64 * plan.parameters * (1 + moments);
    if needs > has {
        return Err(TrainError::DoesNotFit { needs, has });
    }
    Ok((plan.memory > has).then(|| {
        format!(
            "a step is predicted to take {}, besides the layers' working memory, and the device has {}: if it fails, take \
             more --layer-ranks, --activations recompute or more --micro-batches",
            mib(plan.memory),
            mib(has)
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_devices_are_understood() {
        let of = |text| Shortage::of(text).map(|shortage| (shortage.asked, shortage.is_too_large));
        let chain =
            "Error while reading data: Several failures\nCaused by:\n  can't allocate buffer of size: 4415488000\nNo";
        assert_eq!(of(chain), Some((Some(4_415_488_000), true)));
        assert_eq!(of("out of device memory allocating 12 bytes\n"), Some((Some(12), false)));
        assert_eq!(of("An out-of-memory error happened during launch\nCaused by:"), Some((None, false)));
        assert_eq!(of("index out of bounds"), None);
    }

    #[test]
    fn a_panic_for_want_of_memory_is_an_error_with_its_place() {
        place::enter_layer("linearisation", 7);
        let shortage = caught::<()>(|| panic!("out of device memory allocating {} bytes", 3 << 20)).unwrap_err();
        assert_eq!((shortage.asked, shortage.is_exact), (Some(3 << 20), false));
        let text = Shortage { predicted: Some(2 << 20), ..shortage }.to_string();
        let start = "3145728 bytes (3.0 MiB) for the linearisation of layer 7 or something shortly before it; a step was \
                     predicted to take 2.0 MiB on this rank";
        assert!(text.starts_with(start) && text.contains("--activations recompute"), "{text}");
        assert_eq!(caught(|| 5), Ok(5));
    }

    #[test]
    fn other_panics_go_on() {
        let result = panic::catch_unwind(|| caught::<()>(|| panic!("something else")));
        assert_eq!(message(&*result.unwrap_err()), Some("something else"));
    }

    #[test]
    fn only_what_certainly_does_not_fit_is_refused() {
        let plan = |parameters, memory| RankPlan {
            layers: 0..1,
            points: vec![2],
            parameters,
            evaluations: [1, 1],
            messages: 0,
            bytes: 0,
            memory,
        };
        let limits = |total| MemoryLimits { piece: 10, total };
        assert!(matches!(
            judge(&plan(100, 0), 1, limits(Some(799))),
            Err(TrainError::DoesNotFit { needs: 800, has: 799 })
        ));
        assert!(judge(&plan(100, 900), 1, limits(Some(800))).unwrap().is_some());
        assert!(judge(&plan(100, 800), 1, limits(Some(800))).unwrap().is_none());
        assert!(judge(&plan(100, u64::MAX), 1, limits(None)).unwrap().is_none());
    }
}
