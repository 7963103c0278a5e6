//! Any network, any layout, any schedule: what must not change a bit does not.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use braidnet_comm::{Degree, Launch, Mesh, MeshConfig, launch};
use braidnet_mgrit::Relaxation;
use braidnet_train::{Activations, Schedule, ScheduleKind, SolveConfig};
use proptest::prelude::*;

use common::compare::{Values, distance, same_bits, text};
use common::run::{Stepped, step_of};

/// A step on threads: all gradients (of the first copy) and the loss.
fn on(
    layers: usize,
    [layer_ranks, data_ranks]: [usize; 2],
    schedule: &Schedule,
    samples: (usize, usize),
) -> (f64, Values) {
    let shape = MeshConfig { layer_ranks: Degree::Exactly(layer_ranks), data_ranks: Degree::Exactly(data_ranks) };
    let results = launch(&Launch::ranks(layer_ranks * data_ranks), |world| {
        let mesh = Mesh::new(&world, &shape, layers).map_err(text)?;
        step_of(layers, &mesh, schedule, samples, Some(200)).map_err(text)
    });
    let all = results.unwrap();
    let loss = all[0].loss;
    (loss, all.into_iter().take(layer_ranks).flat_map(|Stepped { gradients, .. }| gradients).collect())
}

fn solve() -> impl Strategy<Value = SolveConfig> {
    let relaxation = prop_oneof![Just(Relaxation::F), Just(Relaxation::Fcf(1)), Just(Relaxation::Fcf(2))];
    (1..4_usize, 2..5_usize, 1..3_usize, relaxation, any::<bool>()).prop_map(
        |(max_levels, cfactor, max_iters, relaxation, skip_downcycle)| SolveConfig {
            max_levels,
            max_iters,
            relaxation,
            skip_downcycle,
            ..SolveConfig::new(cfactor)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn layer_ranks_and_recomputing_change_no_bit(
        layers in 4..13_usize,
        ranks in 1..5_usize,
        forward in solve(),
        backward in solve(),
        samples in (1..6_usize, 1..4_usize),
    ) {
        let stored = Schedule::new(ScheduleKind::LayerParallel, forward, backward);
        let recomputed = Schedule { activations: Activations::Recompute, ..stored.clone() };
        let (loss, gradients) = on(layers, [1, 1], &stored, samples);
        prop_assert!(!gradients.is_empty());
        for schedule in [stored, recomputed] {
            let (on_ranks, got) = on(layers, [ranks, 1], &schedule, samples);
            prop_assert_eq!(on_ranks, loss);
            prop_assert_eq!(same_bits("gradients", &got, &gradients), Ok(()));
            prop_assert_eq!(got.len(), gradients.len());
        }
    }

    #[test]
    fn a_pipeline_is_sequential_and_shards_are_the_batch(
        layers in 3..8_usize,
        layer_ranks in 1..4_usize,
        data_ranks in 1..3_usize,
        samples in (1..10_usize, 1..6_usize),
        recomputes: bool,
    ) {
        let activations = if recomputes { Activations::Recompute } else { Activations::Store };
        let pipeline = Schedule { activations, ..common::pipeline() };
        let (loss, gradients) = on(layers, [1, data_ranks], &Schedule::sequential(), samples);
        let (piped_loss, piped) = on(layers, [layer_ranks, data_ranks], &pipeline, samples);
        prop_assert_eq!(piped_loss, loss);
        prop_assert_eq!(same_bits("gradients", &piped, &gradients), Ok(()));
        let (_, whole) = on(layers, [1, 1], &Schedule::sequential(), (samples.0, 1));
        let off = distance(&piped, &whole);
        prop_assert!(off < 1e-5, "off by {:e}", off);
    }
}
