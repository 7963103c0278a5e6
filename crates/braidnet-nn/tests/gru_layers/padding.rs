//! Sequences of different lengths: each is as it is alone, whatever is behind its end.

use braidnet_nn::CoarseOperator;
use proptest::prelude::*;

use crate::*;

const LENGTH: usize = 6;

fn config(form: GruForm, cells: usize) -> GruConfig {
    GruConfig { form, final_time: 4.2, ..GruConfig::new(LENGTH, 2, 3, cells, 2) }
}

/// Rows `from..from + n` of what has samples in its second dimension.
fn of_samples(all: &[Tensor<3>], from: usize, n: usize) -> Vec<Tensor<3>> {
    all.iter().map(|x| x.clone().narrow(1, from, n)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    /// Alone at its own length: other sequences, and steps behind its end, change nothing.
    #[test]
    fn a_sequence_of_a_batch_is_as_it_is_alone(
        lengths in prop::collection::vec(1..=LENGTH, 1..5),
        cells in 1..4_usize,
        form in prop::sample::select(FORMS.to_vec()),
        single: bool,
    ) {
        let (config, samples) = (config(form, cells), lengths.len());
        let (mut net, mut input, mut ends) =
            (in_double(&config), sequences(&config, samples, Some(lengths.clone())), Ends::new(&config, samples));
        if single {
            (net, input, ends) = (in_single(net), sequences_in_single(&input), ends.in_single());
        }
        let tolerance = if single { 2e-6 } else { 1e-13 };
        let whole = looped(&net, &input, &ends);
        let mut sums: Option<Named> = None;
        let Steps::Features(x) = &input.steps else { unreachable!() };
        for (s, n) in lengths.into_iter().enumerate() {
            let short = GruConfig { length: n, final_time: config.dt() * n as f64, ..config.clone() };
            let named = values(&net);
            let part = mapped(short.init(0..n, 1, &Device::flex()).unwrap(), |name, _| named[name].clone());
            let mut cotangents = of_samples(&ends.cotangents, s, 1);
            // The state stays as it is behind the end, so its cotangents add up.
            let behind = cotangents.split_off(n);
            behind.into_iter().for_each(|c| cotangents[n - 1] = cotangents[n - 1].clone() + c);
            let own = Ends { first: ends.first.clone().narrow(1, s, 1), cotangents };
            let alone = looped(&part, &Sequences::from(x.clone().narrow(0, s, 1).narrow(1, 0, n)), &own);
            for (at, state) in of_samples(&whole.states, s, 1).iter().enumerate() {
                close(state, &alone.states[at.min(n - 1)], tolerance, &format!("sequence {s}, step {at}"));
            }
            close(&whole.lambda.clone().narrow(1, s, 1), &alone.lambda, tolerance, "lambda");
            let inputs = whole.inputs.clone().narrow(1, s, 1);
            close(&inputs.clone().narrow(0, 0, n), &alone.inputs, tolerance, "inputs");
            if n < LENGTH {
                prop_assert_eq!(norm(&inputs.narrow(0, n, LENGTH - n)), 0.0);
            }
            sums = Some(match sums {
                None => alone.gradients,
                Some(sums) => sums.into_iter().map(|(k, v)| (k.clone(), v + alone.gradients[&k].clone())).collect(),
            });
        }
        all_close(&whole.gradients, &sums.unwrap(), tolerance, "gradients");
    }
}

/// Whatever stands behind the end of a sequence, a NaN too, is never read.
#[test]
fn padding_does_not_matter() {
    let lengths = vec![2, 6, 5];
    for form in FORMS {
        for is_single in [false, true] {
            let config = config(form, 2);
            let (mut net, mut input, mut ends) =
                (in_double(&config), sequences(&config, 3, Some(lengths.clone())), Ends::new(&config, 3));
            if is_single {
                (net, input, ends) = (in_single(net), sequences_in_single(&input), ends.in_single());
            }
            let expected = looped(&net, &input, &ends);
            let Steps::Features(x) = &input.steps else { unreachable!() };
            let data = x.to_data();
            for filler in [0.0, 1e30, f64::NAN, f64::INFINITY] {
                let is_padding = |i: usize| i / 2 % LENGTH >= lengths[i / (2 * LENGTH)];
                let fill = |(i, value): (usize, f64)| if is_padding(i) { filler } else { value };
                let filled: Vec<f64> = data.iter::<f64>().enumerate().map(fill).collect();
                let filled = TensorData::new(filled, x.dims()).convert_dtype(x.dtype());
                let x = Tensor::<3>::from_data(filled, (&Device::flex(), x.dtype()));
                let got = looped(&net, &Sequences { steps: Steps::Features(x), ..input.clone() }, &ends);
                let what = format!("{form:?}, single: {is_single}, filled with {filler}");
                for (got, expected) in got.states.iter().zip(&expected.states) {
                    same_bits(&[TensorState(got.clone())], &[TensorState(expected.clone())], &what);
                }
                all_close(&got.gradients, &expected.gradients, 0.0, &what);
                close(&got.inputs, &expected.inputs, 0.0, &what);
                close(&got.lambda, &expected.lambda, 0.0, &what);
            }
        }
    }
}

/// The mean over a run that a sequence ends within does not depend on what is behind the end either.
#[test]
fn a_mean_does_not_read_padding() {
    let config = GruConfig { coarse_input: CoarseOperator::Mean, coarse_parts: 1, ..config(GruForm::Implicit, 1) };
    let (net, input) = (in_double(&config), sequences(&config, 1, Some(vec![4])));
    let Steps::Features(x) = &input.steps else { unreachable!() };
    let other = Tensor::cat(vec![x.clone().narrow(1, 0, 4), random([1, 2, 2], 77) * 9.0], 1);
    let coarse = steps(&config, 3, 1);
    let [a, b] = [input.clone(), Sequences { steps: Steps::Features(other), ..input }].map(|input| {
        let batch = net.prepare(net.batch(&input, Pass::Evaluation));
        let mut state = TensorState(random([1, 1, 3], 5));
        net.block(&batch).linearize(&coarse[1], &mut state, Output::Used).unwrap();
        state
    });
    same_bits(&[a], &[b], "a coarse step");
}

/// Lengths that say nothing are as none.
#[test]
fn whole_sequences_need_no_lengths() {
    for form in FORMS {
        let config = config(form, 2);
        let (net, ends) = (in_single(in_double(&config)), Ends::new(&config, 2).in_single());
        let of = |lengths| looped(&net, &sequences_in_single(&sequences(&config, 2, lengths)), &ends);
        let (without, with) = (of(None), of(Some(vec![LENGTH; 2])));
        for (a, b) in without.states.iter().zip(&with.states) {
            same_bits(&[TensorState(a.clone())], &[TensorState(b.clone())], "states");
        }
        all_close(&with.gradients, &without.gradients, 0.0, "gradients");
    }
}
