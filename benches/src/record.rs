//! What was measured, as a table and as JSON lines.

use std::path::Path;

use braidnet::comm::under_mpi;
use braidnet::device::{self, DeviceKind, DeviceSpec};
use braidnet::monitor::{Framework, Measurement, Seconds, Transport};
use braidnet::prelude::*;

use crate::{Built, Errors, Variant};

/// How ranks run, for headings.
pub fn kind_of_ranks() -> &'static str {
    if under_mpi() { "processes (MPI)" } else { "threads" }
}

/// Prints a line per variant, with speed-ups over the first, and appends one to `json`, with the device. For the first rank.
///
/// Launches are those of a step and, behind the comma, those of them that only copy; the floor is the part of the time that
/// the device needs at least ([`Work`](crate::Work)).
///
/// # Errors
/// A file that cannot be written.
pub fn report<N: Network>(
    bench: &str,
    networks: &[Built<N>],
    variants: &[Variant],
    (json, device): (Option<&Path>, DeviceSpec),
) -> Result<(), TrainError> {
    let width = variants.iter().map(|variant| variant.name.len()).max().unwrap_or(0).max(20);
    println!(
        "  {:<width$} {:>5} {:>27} {:>8} {:>8}  {:^19}  {:^19} {:>9} {:>13} {:>7}",
        "variant",
        "ranks",
        "ms per step (10-90 %)",
        "speed-up",
        "waiting",
        "gradients, states",
        "after training",
        "memory",
        "launches",
        "floor"
    );
    let device_name = device_name(device);
    let mut first = None;
    for variant in variants {
        let Some(seconds) = Seconds::of(variant.steps.iter().map(|step| step.seconds)) else { continue };
        let Some(built) = networks.get(variant.network) else { continue };
        // The processor starts none.
        let launches = variant.launches.filter(|_| !device.kind.is_processor());
        let measured = Measurement {
            launches: launches.map(|launches| launches.all),
            copies: launches.map(|launches| launches.copies),
            floor: built.floor,
            ..measurement((bench, &built.name, &device_name), variant, seconds)
        };
        println!("  {}", line(variant, &measured, *first.get_or_insert(seconds.median), width));
        if let Some(path) = json {
            measured.append(path)?;
        }
    }
    Ok(())
}

fn line(variant: &Variant, measured: &Measurement, first: f64, width: usize) -> String {
    let seconds = measured.seconds.unwrap_or_default();
    let [low, median, high] = [seconds.first_decile, seconds.median, seconds.last_decile].map(|s| 1e3 * s);
    let errors = |errors: Option<Errors>| {
        errors.map_or_else(String::new, |e| format!("{:8.3} %,{:7.3} %", 100.0 * e.gradient, 100.0 * e.state))
    };
    let memory = variant.peak_bytes.map_or_else(String::new, |bytes| format!("{} MiB", bytes >> 20));
    let launches =
        measured.launches.zip(measured.copies).map_or_else(String::new, |(n, copies)| format!("{n}, {copies}"));
    let floor = measured.floor.map_or_else(String::new, |floor| format!("{:.1} %", 100.0 * floor / seconds.median));
    format!(
        "{:<width$} {:>5} {:>27} {:>8.2} {:>6.1} %  {:<19}  {:<19} {memory:>9} {launches:>13} {floor:>7}",
        variant.name,
        variant.ranks,
        format!("{median:.1} ({low:.1}-{high:.1})"),
        first / seconds.median,
        100.0 * waiting(variant).unwrap_or(f64::NAN),
        errors(variant.errors),
        errors(variant.errors_trained),
    )
    .trim_end()
    .to_owned()
}

/// Median over the steps.
fn waiting(variant: &Variant) -> Option<f64> {
    Seconds::of(variant.steps.iter().map(|step| step.waiting)).map(|waiting| waiting.median)
}

/// What a measurement says of a device: `cpu`, or the kind and number of that of the first rank with the name that it gives itself.
pub fn device_name(device: DeviceSpec) -> String {
    match device.kind {
        DeviceKind::Flex => "cpu".to_owned(),
        _ => device::open(device, 0).map_or_else(|_| device.to_string(), |opened| opened.to_string()),
    }
}

fn measurement((bench, case, device): (&str, &str, &str), variant: &Variant, seconds: Seconds) -> Measurement {
    Measurement {
        bench: bench.to_owned(),
        case: case.to_owned(),
        variant: variant.name.clone(),
        by: Framework::Braidnet,
        ranks: variant.ranks,
        transport: if under_mpi() { Transport::Mpi } else { Transport::Threads },
        device: device.to_owned(),
        seconds: Some(seconds),
        waiting: waiting(variant),
        gradient_error: variant.errors.map(|errors| errors.gradient),
        gradient_error_trained: variant.errors_trained.map(|errors| errors.gradient),
        state_error: variant.errors.map(|errors| errors.state),
        peak_bytes: variant.peak_bytes,
        ..Measurement::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StepTime, Way};

    #[test]
    fn a_line_has_what_was_measured_and_nothing_else() {
        let mut variant = Variant::new(Way::sequential(), 2);
        variant.steps = vec![StepTime { seconds: 0.25, waiting: 0.5 }];
        variant.errors = Some(Errors { gradient: 0.01, state: 0.002 });
        let measured = measurement(("study", "conv:8x1@4", "cpu"), &variant, Seconds::of([0.25]).unwrap());
        assert_eq!(
            (measured.waiting, measured.gradient_error, measured.state_error),
            (Some(0.5), Some(0.01), Some(0.002))
        );
        assert_eq!((measured.gradient_error_trained, measured.peak_bytes), (None, None));
        assert_eq!((measured.device.as_str(), device_name(DeviceKind::Flex.into()).as_str()), ("cpu", "cpu"));
        let text = line(&variant, &measured, 0.5, 6);
        for part in ["seq", "250.0 (250.0-250.0)", "2.00", "50.0 %", "1.000 %,  0.200 %"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.ends_with("0.200 %"), "{text}");
        let on_gpu = Measurement { launches: Some(1740), copies: Some(710), floor: Some(0.05), ..measured };
        assert!(line(&variant, &on_gpu, 0.5, 6).ends_with("1740, 710  20.0 %"));
    }
}
