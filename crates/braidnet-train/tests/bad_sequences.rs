//! Sequences that a transformer cannot take: the rank that sees it says so, and nobody hangs.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use braidnet_comm::{Launch, Mesh, launch};
use braidnet_nn::transformer::{EncoderDecoderConfig, TransformerConfig};
use braidnet_train::trainer::Show;
use braidnet_train::{Schedule, SolveConfig, TrainerConfig};

use common::compare::text;
use common::families::{Family, Sentence, decoder, encoder, model_of, pair, samples_from, trainer_of};
use common::pipeline;
use common::run::mesh;

fn schedules() -> [Schedule; 3] {
    [Schedule::sequential(), Schedule::layer_parallel(SolveConfig::new(2)), pipeline()]
}

/// What a run over these samples ends with, on every mesh of one and two ranks and with every schedule.
fn messages<F: Family + Sync>(family: &F, samples: &[F::Sample]) -> Vec<String> {
    let training = TrainerConfig { batch: 2, show: Show::Nothing, ..TrainerConfig::new(1, 0.1) };
    let mut all = Vec::new();
    for (n, layer_ranks) in [(1, 1), (2, 2), (2, 1), (4, 2)] {
        for schedule in schedules() {
            let run = |mesh: &Mesh| {
                let mut trainer = trainer_of(family, mesh, &schedule, &training).map_err(text)?;
                trainer.fit(&samples_from::<F>(samples.to_vec(), mesh), None).map(|_| ()).map_err(text)
            };
            let error = launch(&Launch::ranks(n), |world| run(&mesh(&world, layer_ranks)?)).unwrap_err();
            all.push(format!("{error}, on {n} ranks, {schedule}"));
        }
    }
    all
}

fn all_say(messages: &[String], parts: &[&str]) {
    for message in messages {
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} are not all in: {message}");
    }
}

fn good(n: usize) -> Vec<Sentence> {
    (0..n).map(|n| encoder(8).sample(n)).collect()
}

#[test]
fn a_token_outside_the_vocabulary_is_named_with_its_place() {
    for token in [11, -1, i64::from(i32::MAX)] {
        let mut samples = good(4);
        samples[1].0.push(token);
        samples[1].1.push(1);
        all_say(&messages(&encoder(8), &samples), &[&format!("token {token}"), "vocabulary", "11"]);
    }
}

#[test]
fn tokens_of_either_half_of_a_pair_are_checked() {
    let family = pair(4, true);
    let good: Vec<_> = (0..4).map(|n| family.sample(n)).collect();
    for (half, token, vocabulary) in [(0, 11, "11"), (1, 9, "9")] {
        let mut samples = good.clone();
        samples[2][half][0] = token;
        all_say(&messages(&family, &samples), &[&format!("token {token}"), "vocabulary", vocabulary]);
    }
}

#[test]
fn a_sequence_that_is_too_long_is_refused() {
    let mut samples = good(4);
    samples[3] = (vec![1; 9], vec![1; 9]);
    all_say(&messages(&encoder(8), &samples), &["9", "8", "positions"]);
}

#[test]
fn an_empty_batch_is_refused() {
    all_say(&messages(&encoder(8), &[]), &["0 samples"]);
    // Samples, but none with a position.
    let empty: Sentence = (vec![], vec![]);
    all_say(&messages(&encoder(8), &[empty.clone(), empty]), &["sequences"]);
}

#[test]
fn uneven_pairs_and_a_missing_input_are_refused() {
    let family = pair(4, false);
    let samples: Vec<_> = (0..3).map(|n| family.sample(n)).collect();
    for n in [1, 2] {
        let evaluate = |uneven: bool| {
            launch(&Launch::ranks(n), |world| {
                let mut model = model_of(&family, &Schedule::sequential(), &world).map_err(text)?;
                let mut input = EncoderDecoderConfig::inputs(&samples);
                input.target = EncoderDecoderConfig::inputs(&samples[..2]).target;
                let given = uneven.then_some(&input);
                model.evaluate(3, given).map(|_| ()).map_err(text)
            })
        };
        let uneven = evaluate(true).unwrap_err().to_string();
        assert!(uneven.contains('3') && uneven.contains('2') && uneven.contains("target"), "{uneven}");
        let missing = evaluate(false).unwrap_err().to_string();
        assert!(missing.contains("no input"), "{missing}");
    }
}

/// Only the last rank has targets.
#[test]
fn a_target_outside_the_classes_ends_all_ranks() {
    let mut samples = good(4);
    samples[2].1[0] = 5;
    all_say(&messages(&encoder(8), &samples), &["class 5", "0 to 4"]);
}

#[test]
fn impossible_transformers_are_refused_on_all_ranks() {
    let good = encoder(8);
    let cases = [
        (TransformerConfig { heads: 3, ..good.clone() }, ["8", "3", "heads"]),
        (TransformerConfig { heads: 0, ..good.clone() }, ["heads", "is 0", ""]),
        (TransformerConfig { vocabulary: 0, ..good.clone() }, ["vocabulary", "is 0", ""]),
        (TransformerConfig { max_length: 0, ..good.clone() }, ["positions", "is 0", ""]),
        (TransformerConfig { dropout: 1.0, ..good.clone() }, ["dropout", "is 1", ""]),
        (TransformerConfig { dropout: f64::NAN, ..good.clone() }, ["dropout", "NaN", ""]),
        (TransformerConfig { tied: true, ..good.clone() }, ["tied", "classes", ""]),
        (TransformerConfig { buffer: 4, ..good.clone() }, ["buffer", "4", "8"]),
        (TransformerConfig { buffer: 9, ..good.clone() }, ["buffer", "9", "8"]),
        (TransformerConfig { final_time: -1.0, ..decoder(8) }, ["final time", "-1", ""]),
    ];
    for (family, parts) in cases {
        assert!(family.validate().is_err(), "{family:?}");
        for n in [1, 2] {
            let made = launch(&Launch::ranks(n), |_| family.part(0..1).map(|_| ()).map_err(text));
            let message = made.unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} are not all in: {message}");
        }
    }
    let double = EncoderDecoderConfig { layers: [0, 4], ..pair(4, false) };
    assert!(double.validate().unwrap_err().to_string().contains("encoder layers is 0"));
    let buffered = EncoderDecoderConfig { buffer: 4, ..pair(4, false) };
    assert!(buffered.validate().unwrap_err().to_string().contains("buffer"));
}
