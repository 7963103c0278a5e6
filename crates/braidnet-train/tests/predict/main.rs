//! Predictions against what can be derived by hand, and the files that costs are kept in.
#![allow(missing_docs, clippy::unwrap_used)]

mod files;
mod formulas;
mod measured;
mod proposals;

use braidnet_nn::CoarseOperator;
use braidnet_train::predict::{CoarseCosts, Costs, EndCosts, LayerCosts, Link, Machine, StateCosts, Times};
use braidnet_train::{Schedule, SolveConfig};

/// Seconds of a layer: forward, linearised, pulled back, back with gradients, and of a coarse step forward and back.
pub const FORWARD: f64 = 1.0;
pub const LINEARIZE: f64 = 1.5;
pub const PULLBACK: f64 = 2.0;
pub const BACK: f64 = 2.25;
pub const GRADIENTS: f64 = 0.75;
pub const COARSE: f64 = 1.25;
pub const COARSE_BACK: f64 = 2.5;

/// Of so many layers, for one sample; other numbers of samples in proportion. Ends and messages cost nothing.
pub fn costs(n_layers: usize) -> Costs {
    let time = |seconds: f64| Times::from(seconds);
    let nothing = EndCosts { work: time(0.0), back: time(0.0), parameters: 0, update: 0.0 };
    Costs {
        network: "by hand".to_owned(),
        batch: 1,
        operator: CoarseOperator::Midpoint,
        rows: 0,
        samples: vec![1],
        batch_bytes: 0.0,
        prepare: None,
        shared: None,
        states: StateCosts::default(),
        opening: nothing.clone(),
        closing: nothing,
        layers: vec![LayerCosts {
            count: n_layers,
            transition: false,
            state_bytes: 1024.0,
            tape_bytes: 4096.0,
            parameters: 1000,
            update: 0.0,
            forward: time(FORWARD),
            linearize: time(LINEARIZE),
            pullback: time(PULLBACK),
            back: time(BACK),
            back_unused: time(BACK),
            gradients: time(GRADIENTS),
            coarse: Some(CoarseCosts { forward: time(COARSE), pullback: time(COARSE_BACK), linearize: None }),
        }],
    }
}

pub fn machine(latency: f64, bandwidth: f64) -> Machine {
    let link = Link { latency, bandwidth };
    Machine { name: "by hand".to_owned(), ranks_per_node: 2, crowding: 1.0, combine: 0.0, near: link, far: link }
}

/// Messages that take no time.
pub fn free() -> Machine {
    machine(0.0, f64::INFINITY)
}

pub fn layer_parallel(cfactor: usize) -> Schedule {
    Schedule::layer_parallel(SolveConfig::new(cfactor))
}
