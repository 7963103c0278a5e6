//! What must not matter: the same run again, layers side by side or one by one, how many ranks, which device.

use braidnet::device::DeviceSpec;
use braidnet::prelude::*;
use braidnet::train::Precision;

use crate::given::{flex, given};
use crate::kinds::{Check, Kind, for_every_kind};
use crate::train::{STEPS, Setting, Trained, between_losses, between_parameters, train};

/// Largest relative distance of losses.
const LOSS_TOLERANCE: f64 = 1e-5;
/// Largest distance of parameters, relative to how far the run has moved them.
const PARAMETER_TOLERANCE: f64 = 1e-4;

/// Exact and not, on two and three levels.
fn schedules() -> [Schedule; 3] {
    let two = SolveConfig::new(2);
    let three = SolveConfig { max_levels: 3, max_iters: 2, min_coarse: 1, ..SolveConfig::new(2) };
    [Schedule::sequential(), Schedule::layer_parallel(two), Schedule::layer_parallel(three)]
}

struct Invariance {
    device: DeviceSpec,
}

impl Invariance {
    /// All ways to train by one schedule, the first of them twice.
    fn settings(&self, schedule: &Schedule) -> Vec<Setting> {
        let of = |(device, ranks, stacked)| {
            let (schedule, precision) = (schedule.clone(), Precision::F32);
            Setting { device, schedule, ranks, stacked, precision }
        };
        let device = self.device;
        let ways = [(device, 1, true), (device, 1, true), (device, 2, true), (device, 1, false), (device, 2, false)];
        ways.into_iter().chain([(flex(), 1, false)]).map(of).collect()
    }
}

impl Check for Invariance {
    fn check<K: Kind>(&self, what: &str, kind: &K) {
        for schedule in schedules() {
            let mut first: Option<Trained> = None;
            for setting in self.settings(&schedule) {
                let trained = train(kind, &setting).unwrap();
                let Setting { device, ranks, stacked, .. } = setting;
                let what = format!("{what}, {schedule}, {device}, ranks {ranks}, side by side {stacked}");
                assert_eq!(trained.losses.len(), STEPS, "{what}");
                let Some(first) = &first else {
                    first = Some(trained);
                    continue;
                };
                let losses = between_losses(&trained.losses, &first.losses);
                let parameters = between_parameters(&trained, first, STEPS);
                println!("losses {losses:7.1e}, parameters {parameters:7.1e}: {what}");
                // Also false of what is no number.
                assert!(losses <= LOSS_TOLERANCE, "{what}: losses {:?}, {:?}", trained.losses, first.losses);
                assert!(parameters <= PARAMETER_TOLERANCE, "{what}: parameters off by {parameters:e}");
            }
        }
    }
}

#[test]
fn neither_chance_nor_stacks_nor_ranks_nor_the_device_matter() {
    let Some(device) = given() else { return };
    for_every_kind(&Invariance { device });
}
