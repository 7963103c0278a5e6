//! Updates by kinds and one by one are the same.

use braidnet::device::DeviceSpec;
use braidnet::prelude::*;
use braidnet::train::Precision;

use crate::given::{device, given};
use crate::kinds::{Check, Kind, for_every_kind};
use crate::train::{STEPS, Setting, Values, gradients, model, values};

const CONFIGS: [OptimizerConfig; 4] = [
    OptimizerConfig::Sgd { momentum: 0.0 },
    OptimizerConfig::Sgd { momentum: 0.9 },
    OptimizerConfig::Adam,
    OptimizerConfig::AdamW { weight_decay: 0.3 },
];
const RATE: f64 = 0.02;

struct BothWays {
    device: DeviceSpec,
}

impl Check for BothWays {
    fn check<K: Kind>(&self, what: &str, kind: &K) {
        let setting = Setting {
            device: self.device,
            schedule: Schedule::sequential(),
            ranks: 1,
            stacked: true,
            precision: Precision::F32,
        };
        let (device, comm) = (device(self.device, 0), Communicator::alone());
        for config in CONFIGS {
            let mut by_kinds = model(kind, &setting, &comm, &device).unwrap();
            let mut one_by_one = by_kinds.network().clone();
            let start = values(&one_by_one);
            let mut optimizers = [true, false].map(|grouped| Optimizer::new(config, RATE).unwrap().grouped(grouped));
            for n in 0..STEPS {
                // Formed once, as forming them again may round in another way.
                let (_, gradients) = gradients(kind, &mut by_kinds, n, &device).unwrap();
                optimizers[0].step(&mut by_kinds, gradients.clone());
                let updated = by_kinds.network().clone();
                by_kinds.update(|_| one_by_one);
                optimizers[1].step(&mut by_kinds, gradients);
                one_by_one = by_kinds.network().clone();
                by_kinds.update(|_| updated);
            }
            let ended = values(by_kinds.network());
            assert!(bits(&ended) == bits(&values(&one_by_one)), "{what}, {config:?}");
            assert!(bits(&ended) != bits(&start), "{what}, {config:?}: nothing was updated");
        }
    }
}

fn bits(values: &Values) -> Vec<u32> {
    values.values().flatten().map(|value| value.to_bits()).collect()
}

#[test]
fn updates_by_kinds_and_one_by_one_are_the_same() {
    let Some(device) = given() else { return };
    for_every_kind(&BothWays { device });
}
