//! What the test binaries share.
#![allow(dead_code, unused_imports)] // Every binary uses its own part.

pub mod gradients;
pub mod plain;
pub mod problems;
pub mod random;
pub mod run;
pub mod tunable;
pub mod vector_solves;
pub mod vectors;

use braidnet_grid::{Coarsening, LastInterval};
use braidnet_mgrit::{MgritOptions, Relaxation, TemporalNorm};

/// XBraid's defaults where nothing else is said: V-cycles, no skip, the same number of FC sweeps on all levels, no
/// tolerance, norms on, tails.
pub fn v_cycles(max_levels: usize, cfactor: usize, fc_sweeps: usize, max_iters: usize) -> MgritOptions {
    let last_interval = LastInterval::Tail;
    let coarsening = Coarsening { last_interval, ..Coarsening::network(max_levels, cfactor) };
    MgritOptions {
        relaxation: vec![Relaxation::Fcf(fc_sweeps)],
        skip_downcycle: false,
        norm: Some(TemporalNorm::Two),
        ..MgritOptions::network(coarsening, max_iters)
    }
}

/// `|a - b|` relative to the larger of `|a|` and 1.
pub fn deviation(a: f64, b: f64) -> f64 {
    (a - b).abs() / a.abs().max(1.0)
}
