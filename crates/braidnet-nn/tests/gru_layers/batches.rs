//! Steps of several intervals in one call: the same as one call each.

use braidnet_mgrit::{Linearization, PendingGradients, Propagator};
use braidnet_nn::CoarseOperator;
use braidnet_nn::gru::{GruCoarse, GruTape};

use crate::*;

/// Networks with and without padding, in both precisions; with products of more rows than a call should have.
fn cases() -> Vec<(GruNet, Sequences)> {
    let mut all = Vec::new();
    for (hidden, cells, samples) in [(4, 1, 3), (5, 2, 1), (16, 3, 2), (70, 2, 5), (1, 1, 1), (40, 2, 1), (130, 1, 1)] {
        for (form, coarse) in FORMS.into_iter().zip([GruCoarse::Frozen, GruCoarse::Rediscretised]) {
            for lengths in [None, Some((0..samples).map(|s| 13 - 5 * s % 13).collect())] {
                let config = GruConfig { form, coarse, final_time: 9.1, ..GruConfig::new(13, 3, hidden, cells, 2) };
                let (net, input) = (in_double(&config), sequences(&config, samples, lengths));
                all.push((in_single(net.clone()), sequences_in_single(&input)));
                all.push((net, input));
            }
        }
    }
    all
}

fn states(net: &GruNet, samples: usize, n: usize, seed: u64) -> Vec<TensorState<3>> {
    let (config, dtype) = (net.config(), net.cells[0].x.weight.val().dtype());
    let dims = [config.cells, samples, config.hidden];
    (0..n as u64).map(|n| TensorState(random(dims, seed + n).cast(dtype))).collect()
}

/// All steps of the level at once, and one each.
fn both<T>(n: usize, mut call: impl FnMut(std::ops::Range<usize>) -> Vec<T>) -> [Vec<T>; 2] {
    [call(0..n), (0..n).flat_map(|i| call(i..i + 1)).collect()]
}

/// Steps of a level, and states before them.
fn level(net: &GruNet, input: &Sequences, level: usize) -> (Vec<Step>, Vec<TensorState<3>>) {
    let samples = net.batch(input, Pass::Evaluation);
    let samples = net.zero_states(&samples).at(0).0.dims()[1];
    let steps = steps(net.config(), 4, level);
    let states = states(net, samples, steps.len(), 7);
    (steps, states)
}

#[test]
fn states_have_the_same_bits() {
    for (net, input) in cases() {
        for l in [0, 1] {
            let what = format!("{:?}, level {l}", net.config());
            let batch = net.prepare(net.batch(&input, Pass::Evaluation));
            let (block, (steps, before)) = (net.block(&batch), level(&net, &input, l));
            let stepped = both(steps.len(), |range| {
                let mut states = before[range.clone()].to_vec();
                block.step(&steps[range], &mut states).unwrap();
                states
            });
            let linearized = both(steps.len(), |range| {
                let mut states = before[range.clone()].to_vec();
                block.linearize_batch(&steps[range], &mut states, Output::Used).unwrap();
                states
            });
            for other in [&stepped[1], &linearized[0], &linearized[1]] {
                same_bits(other, &stepped[0], &what);
            }
        }
    }
}

fn linearized(
    net: &GruNet,
    batch: &braidnet_nn::gru::GruBatch,
    steps: &[Step],
    before: &[TensorState<3>],
) -> Vec<GruTape> {
    net.block(batch).linearize_batch(steps, &mut before.to_vec(), Output::Used).unwrap()
}

#[test]
fn lambdas_have_the_same_bits() {
    for (net, input) in cases() {
        for l in [0, 1] {
            let what = format!("{:?}, level {l}", net.config());
            let batch = net.prepare(net.batch(&input, Pass::Evaluation));
            let (block, (steps, before)) = (net.block(&batch), level(&net, &input, l));
            let deltas = states(&net, before[0].0.dims()[1], steps.len(), 99);
            let together = linearized(&net, &batch, &steps, &before);
            let alone: Vec<_> = steps
                .iter()
                .zip(&before)
                .map(|(step, u)| block.linearize(step, &mut u.clone(), Output::Used).unwrap())
                .collect();
            let mut expected: Option<Vec<TensorState<3>>> = None;
            for tapes in [&together, &alone] {
                let pulled = both(steps.len(), |range| {
                    let mut lambdas = deltas[range.clone()].to_vec();
                    let tapes: Vec<_> = tapes[range.clone()].iter().collect();
                    block.pullback_batch(&steps[range], &tapes, &mut lambdas).unwrap();
                    lambdas
                });
                let one_each = both(steps.len(), |range| {
                    let mut lambdas = deltas[range.clone()].to_vec();
                    let each = range.clone().zip(&mut lambdas);
                    each.for_each(|(n, lambda)| tapes[n].pullback(&steps[n], lambda).unwrap());
                    lambdas
                });
                for lambdas in pulled.iter().chain(&one_each) {
                    same_bits(lambdas, expected.get_or_insert_with(|| lambdas.clone()), &what);
                }
            }
        }
    }
}

/// Some of the steps of a call, in another order than they were linearised in.
#[test]
fn any_choice_of_tapes_can_be_pulled_back() {
    for (net, input) in cases() {
        let batch = net.prepare(net.batch(&input, Pass::Evaluation));
        let (block, (steps, before)) = (net.block(&batch), level(&net, &input, 0));
        let deltas = states(&net, before[0].0.dims()[1], steps.len(), 99);
        let tapes = linearized(&net, &batch, &steps, &before);
        let chosen = [7, 2, 12, 3];
        let mut lambdas = chosen.map(|n| deltas[n].clone());
        let (some_steps, some_tapes) = (chosen.map(|n| steps[n].clone()), chosen.map(|n| &tapes[n]));
        block.pullback_batch(&some_steps, &some_tapes, &mut lambdas).unwrap();
        let expected = chosen.map(|n| {
            let mut lambda = deltas[n].clone();
            tapes[n].pullback(&steps[n], &mut lambda).unwrap();
            lambda
        });
        same_bits(&lambdas, &expected, &format!("{:?}", net.config()));
    }
}

/// Lambdas to the bit; gradients but for rounding, as their sums are grouped by calls.
#[test]
fn gradients_of_a_batch_are_those_of_its_steps() {
    for (net, input) in cases() {
        let what = format!("{:?}", net.config());
        let is_single = net.cells[0].x.weight.val().dtype() == DType::F32;
        let (steps, before) = level(&net, &input, 0);
        let deltas = states(&net, before[0].0.dims()[1], steps.len(), 99);
        let back = |size: usize| {
            let batch = net.prepare(net.batch(&input, Pass::Evaluation));
            let (block, mut tapes) = (net.block(&batch), linearized(&net, &batch, &steps, &before));
            let (mut lambdas, mut pending): (_, Vec<PendingGradients<Gradients>>) = (deltas.clone(), Vec::new());
            for (steps, lambdas) in steps.chunks(size).zip(lambdas.chunks_mut(size)) {
                let own = tapes.drain(..steps.len()).collect();
                let formed = block.pullback_batch_with_gradients(steps, own, lambdas, Output::Used).unwrap();
                assert_eq!(formed.len(), steps.len());
                pending.extend(formed);
            }
            // They may be formed in any order.
            pending.into_iter().rev().for_each(|form| assert!(form().unwrap().is_empty()));
            let (gradients, inputs) = net.complete_with_inputs(&batch);
            (lambdas, by_name(&net, &gradients), inputs.unwrap())
        };
        let (lambdas, gradients, inputs) = back(1);
        assert_eq!(gradients.len(), 4 * net.config().cells);
        for size in [2, 5, steps.len()] {
            let (more_lambdas, more, more_inputs) = back(size);
            same_bits(&more_lambdas, &lambdas, &what);
            all_close(&more, &gradients, if is_single { 1e-6 } else { 1e-14 }, &what);
            close(&more_inputs, &inputs, if is_single { 1e-6 } else { 1e-14 }, &what);
        }
    }
}

/// A call has so many rows at most, and at least one step.
#[test]
fn calls_are_large_but_bounded() {
    let config =
        GruConfig { coarse_input: CoarseOperator::FirstLayer, coarse_parts: 1, ..GruConfig::new(2, 1, 1, 1, 1) };
    let net = in_double(&config);
    let of = |samples| net.block(&net.prepare(net.batch(&sequences(&config, samples, None), Pass::Evaluation))).batch();
    assert!(of(1) > of(10) && of(10) > 1);
    assert_eq!(of(100_000), 1);
}
