//! Recurrent networks of any size on any ranks, and sequences that they cannot take.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use braidnet_comm::{Degree, Launch, Mesh, MeshConfig, launch};
use braidnet_mgrit::Relaxation;
use braidnet_nn::gru::{GruCoarse, GruConfig, GruForm};
use braidnet_train::trainer::Show;
use braidnet_train::{Activations, Schedule, SolveConfig, TrainerConfig};
use proptest::prelude::*;

use common::compare::{Values, distance, text};
use common::families::{Family, fresh_gradient, model_of, samples_from, trainer_of};
use common::pipeline;
use common::recurrent::{Recording, gru, gru_of_tokens};
use common::run::mesh;

/// The loss of a step on threads, and all gradients of the first copy.
fn on(
    family: &GruConfig,
    [layer_ranks, data_ranks]: [usize; 2],
    schedule: &Schedule,
    cut: (usize, usize),
) -> (f64, Values) {
    let shape = MeshConfig { layer_ranks: Degree::Exactly(layer_ranks), data_ranks: Degree::Exactly(data_ranks) };
    let results = launch(&Launch::ranks(layer_ranks * data_ranks), |world| {
        let mesh = Mesh::new(&world, &shape, family.length).map_err(text)?;
        let step = fresh_gradient(family, &mesh, schedule, cut, None).map_err(text)?;
        Ok::<_, String>((step.loss, step.gradients))
    });
    let all = results.unwrap();
    (all[0].0, all.into_iter().take(layer_ranks).flat_map(|(_, gradients)| gradients).collect())
}

/// Steps that are stable at every length that a coarse step may have.
fn stable() -> impl Strategy<Value = (GruForm, GruCoarse)> {
    prop::sample::select(vec![
        (GruForm::Implicit, GruCoarse::Frozen),
        (GruForm::Implicit, GruCoarse::Rediscretised),
        (GruForm::Explicit, GruCoarse::Frozen),
    ])
}

/// With as many iterations as make any of them exact.
fn solve() -> impl Strategy<Value = SolveConfig> {
    let relaxation = prop_oneof![Just(Relaxation::F), Just(Relaxation::Fcf(1)), Just(Relaxation::Fcf(2))];
    (2..4_usize, 2..6_usize, relaxation, any::<bool>()).prop_map(|(max_levels, cfactor, relaxation, skip_downcycle)| {
        SolveConfig { max_levels, max_iters: 24, relaxation, skip_downcycle, ..SolveConfig::new(cfactor) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(80) })]

    #[test]
    fn any_solve_on_any_ranks_converges_to_the_sequential_one(
        (length, layer_ranks) in (1..24_usize).prop_flat_map(|length| (Just(length), 1..=length.min(4))),
        data_ranks in 1..3_usize,
        cells in 1..4_usize,
        (form, coarse) in stable(),
        solve in solve(),
        cut in (1..6_usize, 1..4_usize),
        (reads_tokens, recomputes) in any::<(bool, bool)>(),
    ) {
        let family = if reads_tokens { gru_of_tokens(length, cells) } else { gru(length, cells) };
        let family = GruConfig { form, coarse, ..family };
        let (loss, gradients) = on(&family, [1, 1], &Schedule::sequential(), cut);
        prop_assert!(gradients.len() >= 4 * cells + 2);
        let activations = if recomputes { Activations::Recompute } else { Activations::Store };
        for schedule in [Schedule::layer_parallel(solve), Schedule::sequential(), pipeline()] {
            let schedule = Schedule { activations, ..schedule };
            let (got_loss, got) = on(&family, [layer_ranks, data_ranks], &schedule, cut);
            prop_assert!((got_loss / loss - 1.0).abs() < 1e-5, "{}: loss {} for {}", schedule, got_loss, loss);
            prop_assert_eq!(got.len(), gradients.len());
            let off = distance(&got, &gradients);
            prop_assert!(off < 2e-5, "{}: off by {:e}", schedule, off);
        }
    }
}

fn schedules() -> [Schedule; 3] {
    [Schedule::sequential(), Schedule::layer_parallel(SolveConfig::new(2)), pipeline()]
}

/// How a run over these samples ends, on every mesh of one, two and four ranks and with every schedule.
fn ends(family: &GruConfig, samples: &[Recording]) -> Vec<Result<(), String>> {
    let training = TrainerConfig { batch: 2, show: Show::Nothing, ..TrainerConfig::new(1, 0.1) };
    let mut all = Vec::new();
    for (n, layer_ranks) in [(1, 1), (2, 2), (2, 1), (4, 2)] {
        for schedule in schedules() {
            let run = |mesh: &Mesh| {
                let mut trainer = trainer_of(family, mesh, &schedule, &training).map_err(text)?;
                trainer.fit(&samples_from::<GruConfig>(samples.to_vec(), mesh), None).map(|_| ()).map_err(text)
            };
            let ended = launch(&Launch::ranks(n), |world| run(&mesh(&world, layer_ranks)?));
            all.push(ended.map(|_| ()).map_err(|error| format!("{error}, on {n} ranks, {schedule}")));
        }
    }
    all
}

fn all_say(ends: &[Result<(), String>], parts: &[&str]) {
    for end in ends {
        let message = end.as_ref().unwrap_err();
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} are not all in: {message}");
    }
}

fn good(family: &GruConfig) -> Vec<Recording> {
    (0..4).map(|n| family.sample(n)).collect()
}

#[test]
fn sequences_of_another_length_are_refused() {
    let parts = ["sequences of 9 steps, but the network has 10", "pad them behind"];
    all_say(&ends(&gru(10, 2), &good(&gru(9, 2))), &parts);
    all_say(&ends(&gru_of_tokens(10, 2), &good(&gru_of_tokens(9, 2))), &parts);
}

#[test]
fn ends_that_are_none_are_refused() {
    for length in [0, 11] {
        let mut samples = good(&gru(10, 1));
        samples[3].length = length;
        all_say(&ends(&gru(10, 1), &samples), &["is said to end after", &format!("after {length} of 10 steps")]);
    }
}

#[test]
fn inputs_of_the_other_kind_and_unknown_tokens_are_refused() {
    all_say(&ends(&gru(10, 1), &good(&gru_of_tokens(10, 1))), &["tokens for a network that takes features"]);
    all_say(&ends(&gru_of_tokens(10, 1), &good(&gru(10, 1))), &["features for a network that takes tokens"]);
    let mut samples = good(&gru_of_tokens(10, 1));
    samples[2].tokens[7] = 9;
    all_say(&ends(&gru_of_tokens(10, 1), &samples), &["token 9", "position 7", "vocabulary of 9"]);
}

#[test]
fn no_samples_no_input_and_wrong_classes_are_refused() {
    all_say(&ends(&gru(10, 1), &[]), &["0 samples"]);
    let mut samples = good(&gru(10, 1));
    samples[1].class = 4;
    all_say(&ends(&gru(10, 1), &samples), &["class 4", "0 to 3"]);
    for n in [1, 2] {
        let evaluate = |size: usize, given: bool| {
            let ended = launch(&Launch::ranks(n), |world| {
                let mut model = model_of(&gru(10, 1), &Schedule::sequential(), &world).map_err(text)?;
                let input = GruConfig::inputs(&good(&gru(10, 1)));
                model.evaluate(size, given.then_some(&input)).map(|_| ()).map_err(text)
            });
            ended.unwrap_err().to_string()
        };
        assert!(evaluate(4, false).contains("no input"));
        assert!(evaluate(0, true).contains("0 samples"));
    }
}

/// Features of step 4 are read by its layer and no other.
#[test]
fn a_nan_is_named_with_the_layer_that_reads_it() {
    let mut samples = good(&gru(10, 2));
    for sample in &mut samples {
        sample.length = 10;
        sample.features[4 * 3 + 1] = f32::NAN;
    }
    let all = ends(&gru(10, 2), &samples);
    all_say(&all, &["step 1, epoch 0", "not finite", "layer"]);
    // One level of a solve looks at every layer.
    all_say(&all[..1], &["layer 4 is not finite"]);
}

#[test]
fn a_nan_behind_the_end_of_a_sequence_is_not_read() {
    let mut samples = good(&gru(10, 2));
    for sample in &mut samples {
        sample.length = sample.length.min(9);
        sample.features[sample.length * 3..].fill(f32::NAN);
    }
    for end in ends(&gru(10, 2), &samples) {
        assert_eq!(end, Ok(()));
    }
}

#[test]
fn impossible_networks_are_refused_on_all_ranks() {
    let good = gru(10, 1);
    let cases = [
        (GruConfig { hidden: 0, ..good.clone() }, ["hidden features", "is 0"]),
        (GruConfig { cells: 0, ..good.clone() }, ["cells", "is 0"]),
        (GruConfig { final_time: f64::NAN, ..good.clone() }, ["final time", "NaN"]),
    ];
    for (family, parts) in cases {
        for n in [1, 2] {
            let made = launch(&Launch::ranks(n), |_| family.part(0..1).map(|_| ()).map_err(text));
            let message = made.unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} are not all in: {message}");
        }
    }
}

/// Layers that are one cannot jump: the penalty would silently be 0.
#[test]
fn a_penalty_on_jumps_between_shared_parameters_is_refused() {
    let training = TrainerConfig { continuity: Some(0.1), ..TrainerConfig::new(1, 0.1) };
    let refused = trainer_of(&gru(4, 1), &Mesh::alone(), &Schedule::sequential(), &training).err().unwrap();
    assert!(refused.to_string().contains("leave it out"), "{refused}");
    let none = TrainerConfig { continuity: Some(0.0), ..training };
    assert!(trainer_of(&gru(4, 1), &Mesh::alone(), &Schedule::sequential(), &none).is_ok());
}
