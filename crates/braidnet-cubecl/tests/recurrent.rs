//! The pointwise part of gated recurrent units, against the kernels of the processor.

#![allow(clippy::expect_used)]

mod common;

use braidnet_cubecl::{GruDeltas, GruPace, gru_gates, gru_pullback, gru_step};
use braidnet_kernels as on_processor;
use braidnet_kernels::{Counts, GruCoarse, GruForm, GruStep};
use burn::tensor::{Tensor, TensorData};
use common::{assert_close, devices, filled, numbers};

const DT: f32 = 0.4;

#[test]
fn gates_are_those_of_the_processor() {
    for device in devices() {
        for [rows, hidden] in [[1, 1], [3, 5], [7, 64], [2, 200]] {
            let [input, state] = [1, 2].map(|seed| filled([rows, 3 * hidden], seed, device) * 4.0);
            let bias = filled([3 * hidden], 3, device);
            let gates = gru_gates(&input, &state, &bias).expect("on the device");
            let mut own = vec![0.0; rows * 4 * hidden];
            on_processor::gru_gates(&numbers(&input), &numbers(&state), &numbers(&bias), &mut own);
            assert_close(&numbers(&gates), &own);
        }
    }
}

/// Of large numbers they are 0, 1 or -1; what is no number stays so.
#[test]
fn gates_know_their_limits() {
    for device in devices() {
        let row = |x: f32| Tensor::<2>::full([1, 3], x, device);
        for x in [1e4, -1e4, f32::NAN] {
            let gates = numbers(&gru_gates(&row(x), &row(0.0), &Tensor::zeros([3], device)).expect("on the device"));
            let (gate, candidate) = if x > 0.0 { (1.0, 1.0) } else { (0.0, -1.0) };
            match x.is_nan() {
                true => assert!(gates[..3].iter().all(|gate| gate.is_nan()), "{gates:?}"),
                false => assert_close(&gates[..3], &[gate, gate, candidate]),
            }
        }
    }
}

#[test]
fn steps_and_their_pullbacks_are_those_of_the_processor() {
    let counts: [(u32, Option<[u32; 6]>); 3] = [(1, None), (5, None), (0, Some([0, 1, 2, 3, 7, 64]))];
    for device in devices() {
        for form in [GruForm::Implicit, GruForm::Explicit] {
            for coarse in [GruCoarse::Rediscretised, GruCoarse::Frozen] {
                for (all, each) in &counts {
                    // Explicit steps of great length overflow, here as there.
                    let dt = if form == GruForm::Explicit { DT / 64.0 } else { DT };
                    let of = each.as_ref().map_or(Counts::All(*all), |each| Counts::Each(each));
                    check(device, GruStep { form, coarse, hidden: 9, dt, counts: of });
                }
            }
        }
    }
}

fn check(device: &burn::tensor::Device, step: GruStep<'_>) {
    let (rows, hidden) = (6, step.hidden);
    let [h, lambda]: [Tensor<2>; 2] = [1, 2].map(|seed| filled([rows, hidden], seed, device));
    let input = filled([rows, 3 * hidden], 3, device);
    let gates = gru_gates(&input, &input, &filled([3 * hidden], 4, device)).expect("on the device");
    let (count, each) = match step.counts {
        Counts::All(count) => (count as f32, None),
        Counts::Each(each) => (0.0, Some(each.iter().map(|n| *n as f32).collect::<Vec<_>>())),
    };
    let each = each.map(|each| Tensor::from_data(TensorData::new(each, [rows]), device));
    let (implicit, frozen) = (step.form == GruForm::Implicit, step.coarse == GruCoarse::Frozen);
    let pace = GruPace { implicit, frozen, dt: step.dt, count, each };
    let next = gru_step(&gates, &h, &pace).expect("on the device");
    let GruDeltas { direct, state, input } = gru_pullback(&gates, &h, &lambda, &pace).expect("on the device");

    let (gates, h) = (numbers(&gates), numbers(&h));
    let (mut own_next, mut own_direct) = (h.clone(), numbers(&lambda));
    let [mut own_state, mut own_input] = [(); 2].map(|()| vec![0.0; 3 * rows * hidden]);
    step.apply(&gates, &mut own_next);
    step.pullback(&gates, &h, &mut own_direct, &mut own_state, Some(&mut own_input));
    assert_close(&numbers(&next), &own_next);
    assert_close(&numbers(&direct), &own_direct);
    assert_close(&numbers(&state), &own_state);
    assert_close(&numbers(&input), &own_input);
}
