//! Made-up measurements for tests.

use braidnet_monitor::{Measurement, Seconds, Transport};

use super::machine::Machine;
use super::results::Results;

/// A step of a network on threads, its deciles 10 % from the median.
pub fn timed(variant: &str, ranks: usize, median: f64) -> Measurement {
    Measurement {
        bench: "study".into(),
        case: "conv:36x3@50".into(),
        variant: variant.into(),
        ranks,
        transport: Transport::Threads,
        device: "cpu".into(),
        seconds: Some(Seconds { first_decile: 0.9 * median, median, last_decile: 1.1 * median, n: 10 }),
        ..Measurement::default()
    }
}

/// Results of a machine with two processors.
pub fn measured(measurements: Vec<Measurement>) -> Results {
    let machine = Machine { usable: 2, braidnet: "0.1.0".into(), ..Machine::default() };
    Results { suite: "strong".into(), machine, notes: Vec::new(), measurements }
}
