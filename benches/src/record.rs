//! What was measured, as a table and as JSON lines.

use std::path::Path;

use braidnet::comm::under_mpi;
use braidnet::device::{DeviceKind, DeviceSpec};
use braidnet::monitor::{Framework, Measurement, Seconds, Transport};
use braidnet::prelude::*;

use crate::{Built, Errors, Variant};

/// How ranks run, for headings.
pub fn kind_of_ranks() -> &'static str {
    if under_mpi() { "processes (MPI)" } else { "threads" }
}

/// Prints a line per variant, with speed-ups over the first, and appends one to `json`, with the device. For the first rank.
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
        "  {:<width$} {:>5} {:>27} {:>8} {:>8}  {:^19}  {:^19} {:>9}",
        "variant",
        "ranks",
        "ms per step (10-90 %)",
        "speed-up",
        "waiting",
        "gradients, states",
        "after training",
        "memory"
    );
    let mut first = None;
    for variant in variants {
        let Some(seconds) = Seconds::of(variant.steps.iter().map(|step| step.seconds)) else { continue };
        println!("  {}", line(variant, &seconds, *first.get_or_insert(seconds.median), width));
        if let (Some(path), Some(built)) = (json, networks.get(variant.network)) {
            measurement((bench, built.name.clone(), device), variant, seconds).append(path)?;
        }
    }
    Ok(())
}

fn line(variant: &Variant, seconds: &Seconds, first: f64, width: usize) -> String {
    let [low, median, high] = [seconds.first_decile, seconds.median, seconds.last_decile].map(|s| 1e3 * s);
    let errors = |errors: Option<Errors>| {
        errors.map_or_else(String::new, |e| format!("{:8.3} %,{:7.3} %", 100.0 * e.gradient, 100.0 * e.state))
    };
    let memory = variant.peak_bytes.map_or_else(String::new, |bytes| format!("{} MiB", bytes >> 20));
    format!(
        "{:<width$} {:>5} {:>27} {:>8.2} {:>6.1} %  {:<19}  {:<19} {memory:>9}",
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

/// What a measurement says of a device: `cpu`, or what was typed.
pub fn device_name(device: DeviceSpec) -> String {
    if device.kind == DeviceKind::Flex { "cpu".to_owned() } else { device.to_string() }
}

fn measurement((bench, case, device): (&str, String, DeviceSpec), variant: &Variant, seconds: Seconds) -> Measurement {
    Measurement {
        bench: bench.to_owned(),
        case,
        variant: variant.name.clone(),
        by: Framework::Braidnet,
        ranks: variant.ranks,
        transport: if under_mpi() { Transport::Mpi } else { Transport::Threads },
        device: device_name(device),
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
        let measured = measurement(
            ("study", "conv:8x1@4".into(), DeviceKind::Flex.into()),
            &variant,
            Seconds::of([0.25]).unwrap(),
        );
        assert_eq!(
            (measured.waiting, measured.gradient_error, measured.state_error),
            (Some(0.5), Some(0.01), Some(0.002))
        );
        assert_eq!((measured.gradient_error_trained, measured.peak_bytes), (None, None));
        assert_eq!(measured.device, "cpu");
        assert_eq!(device_name("cuda:1".parse().unwrap()), "cuda:1");
        let line = line(&variant, &measured.seconds.unwrap(), 0.5, 6);
        for part in ["seq", "250.0 (250.0-250.0)", "2.00", "50.0 %", "1.000 %,  0.200 %"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(line.ends_with("0.200 %"), "{line}");
    }
}
