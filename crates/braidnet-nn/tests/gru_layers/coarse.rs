//! Coarse steps: what they do, by their formulas, and their derivatives.

use braidnet_mgrit::Propagator;
use braidnet_nn::CoarseOperator;
use braidnet_nn::gru::GruCoarse;

use crate::plain::Plain;
use crate::*;

const COARSE: [GruCoarse; 2] = [GruCoarse::Frozen, GruCoarse::Rediscretised];
const SAMPLES: usize = 3;
const DIMS: [usize; 3] = [2, SAMPLES, 4];

fn config(form: GruForm, coarse: GruCoarse, coarse_input: CoarseOperator) -> GruConfig {
    GruConfig { form, coarse, coarse_input, coarse_parts: 1, final_time: 6.5, ..GruConfig::new(13, 3, 4, 2, 2) }
}

fn cases() -> Vec<(GruConfig, Option<Vec<usize>>)> {
    let mut all = Vec::new();
    for form in FORMS {
        for coarse in COARSE {
            for input in [CoarseOperator::FirstLayer, CoarseOperator::Mean] {
                // Ends within runs, at their borders, and nowhere.
                all.push((config(form, coarse, input), None));
                all.push((config(form, coarse, input), Some(vec![6, 4, 13])));
            }
        }
    }
    all
}

/// What the first cell reads in `step` and how many fine steps count, of sample `s`.
fn read(config: &GruConfig, input: &Sequences, step: &Step, s: usize) -> (Tensor<2>, usize) {
    let Steps::Features(x) = &input.steps else { panic!("features") };
    let of = |n: usize| x.clone().narrow(0, s, 1).narrow(1, n, 1).reshape([1, 3]);
    let length = input.lengths.as_ref().map_or(config.length, |lengths| lengths[s]);
    let count = length.clamp(step.fine.start, step.fine.end) - step.fine.start;
    // Steps behind the end of a sequence are read as zeros.
    let seen = |n: usize| of(n) * f64::from(u8::from(n < length));
    match config.coarse_input {
        CoarseOperator::Mean => {
            let sum = step.fine.clone().map(seen).reduce(|a, b| a + b).unwrap();
            (sum * (1.0 / step.fine.len() as f64), count)
        }
        _ => (seen(step.layer), count),
    }
}

/// The state behind a step, and the derivatives of its product with `delta` by the state before and by parameters.
fn expected(
    net: &GruNet,
    input: &Sequences,
    step: &Step,
    u: &Tensor<3>,
    delta: &Tensor<3>,
) -> (Tensor<3>, Tensor<3>, Named) {
    let (plain, u) = (Plain::of(net), u.clone().autodiff().require_grad());
    let of = |s: usize| {
        let own = |k| u.clone().narrow(0, k, 1).narrow(1, s, 1).reshape([1, 4]);
        let states: Vec<_> = (0..2).map(own).collect();
        let (x, count) = read(net.config(), input, step, s);
        let new = if count == 0 { states } else { plain.step(&states, x.autodiff(), count) };
        Tensor::stack::<3>(new, 0)
    };
    let new = Tensor::cat((0..SAMPLES).map(of).collect(), 1);
    let tape = (new.clone() * delta.clone().autodiff()).sum().backward();
    (new.inner(), u.grad(&tape).unwrap(), plain.gradients(&tape))
}

#[test]
fn coarse_steps_are_their_formulas_and_so_are_their_derivatives() {
    for (config, lengths) in cases() {
        let (net, input) = (in_double(&config), sequences(&config, SAMPLES, lengths));
        for level in [0, 1, 2] {
            let batch = net.prepare(net.batch(&input, Pass::Evaluation));
            let block = net.block(&batch);
            for step in steps(&config, 3, level) {
                let what = format!("{config:?}, {step:?}");
                let (u, delta) = (random(DIMS, 5), random(DIMS, 6));
                let (new, back, _) = expected(&net, &input, &step, &u, &delta);
                let mut state = TensorState(u);
                let tape = block.linearize(&step, &mut state, Output::Used).unwrap();
                close(&state.0, &new, 1e-12, &what);
                let mut lambda = TensorState(delta);
                tape.pullback(&step, &mut lambda).unwrap();
                close(&lambda.0, &back, 1e-12, &format!("{what}, pulled back"));
            }
        }
    }
}

/// The kernels count steps as the tensors do.
#[test]
fn single_precision_agrees_with_double() {
    for (config, lengths) in cases() {
        let (net, input) = (in_double(&config), sequences(&config, SAMPLES, lengths));
        let (single, input_in_single) = (in_single(net.clone()), sequences_in_single(&input));
        for step in steps(&config, 3, 1) {
            let what = format!("{config:?}, {step:?}");
            let mut both = Vec::new();
            for (net, input, dtype) in [(&net, &input, DType::F64), (&single, &input_in_single, DType::F32)] {
                let batch = net.prepare(net.batch(input, Pass::Evaluation));
                let mut u = TensorState(random(DIMS, 5).cast(dtype));
                let mut lambda = TensorState(random(DIMS, 6).cast(dtype));
                let tape = net.block(&batch).linearize(&step, &mut u, Output::Used).unwrap();
                tape.pullback(&step, &mut lambda).unwrap();
                both.push([u.0, lambda.0]);
            }
            close(&both[1][0], &both[0][0], 3e-6, &what);
            close(&both[1][1], &both[0][1], 3e-6, &format!("{what}, pulled back"));
        }
    }
}

/// Where all steps of its run have the same input; for one cell, as what a cell above another reads depends on the length of the
/// step.
#[test]
fn the_tape_that_a_coarse_step_shares_serves_its_length() {
    for form in FORMS {
        for coarse in COARSE {
            let config = GruConfig { cells: 1, ..config(form, coarse, CoarseOperator::FirstLayer) };
            let (net, row) = (in_double(&config), random([SAMPLES, 1, 3], 4));
            // The middle of a run is behind no end within it.
            let input = Sequences { lengths: Some(vec![13, 8, 5]), ..Sequences::from(row.repeat_dim(1, 13)) };
            let batch = net.prepare(net.batch(&input, Pass::Evaluation));
            let (block, fine) = (net.block(&batch), steps(&config, 3, 0));
            for step in steps(&config, 3, 1) {
                let shared = block.shared_linearization(&step).unwrap();
                assert!(step.fine.contains(&shared));
                // A row that is behind its end stays as it is, whatever its gates are.
                let [shared, own] = [&fine[shared], &step].map(|at| {
                    let tape = block.linearize(at, &mut TensorState(random([1, SAMPLES, 4], 5)), Output::Used).unwrap();
                    let mut lambda = TensorState(random([1, SAMPLES, 4], 6));
                    tape.pullback(&step, &mut lambda).unwrap();
                    lambda
                });
                same_bits(&[shared], &[own], &format!("{form:?}, {coarse:?}, {step:?}"));
            }
        }
    }
}

/// Of a fine step its own; of a coarse one that of a layer of its run on the rank of its first.
#[test]
fn the_tape_that_is_shared_is_on_the_same_rank() {
    let config = config(GruForm::Implicit, GruCoarse::Frozen, CoarseOperator::FirstLayer);
    for range in [0..13, 0..1, 3..7, 5..11, 12..13] {
        let part = config.init(range.clone(), 1, &Device::flex()).unwrap();
        let batch = part.batch(&sequences_in_single(&sequences(&config, SAMPLES, None)), Pass::Evaluation);
        let block = part.block(&batch);
        for (level, step) in (0..3).flat_map(|level| steps(&config, 3, level).into_iter().map(move |s| (level, s))) {
            if range.contains(&step.layer) {
                let shared = block.shared_linearization(&step).unwrap();
                assert!(step.fine.contains(&shared) && range.contains(&shared), "{range:?}, {step:?}: {shared}");
                assert!(level > 0 || shared == step.layer);
            }
        }
    }
}

/// A coarse step in parts is the coarse steps of its parts, one after the other, alone as among others; where a part is one layer,
/// it is that layer.
#[test]
fn parts_are_taken_one_after_the_other() {
    for (whole, lengths) in cases() {
        for n in [2, 3, 5] {
            let config = GruConfig { coarse_parts: n, ..whole.clone() };
            let input = sequences(&config, SAMPLES, lengths.clone());
            let (in_parts, plain) = (in_double(&config), in_double(&whole));
            let (batch, its) = (
                in_parts.prepare(in_parts.batch(&input, Pass::Evaluation)),
                plain.prepare(plain.batch(&input, Pass::Evaluation)),
            );
            let (block, whole_block) = (in_parts.block(&batch), plain.block(&its));
            // The last run is shorter than the others.
            let all = steps(&config, 5, 1);
            let before: Vec<_> = (0..all.len()).map(|n| TensorState(random(DIMS, n as u64))).collect();
            let mut together = before.clone();
            block.step(&all, &mut together).unwrap();
            for ((step, u), together) in all.iter().zip(before).zip(together) {
                let (mut alone, mut by_parts) = (u.clone(), u);
                block.step(std::slice::from_ref(step), std::slice::from_mut(&mut alone)).unwrap();
                for part in step.parts(n) {
                    whole_block.step(&[part], std::slice::from_mut(&mut by_parts)).unwrap();
                }
                let what = format!("{config:?}, {step:?}");
                same_bits(&[alone], std::slice::from_ref(&together), &what);
                same_bits(&[by_parts], &[together], &what);
                assert_eq!(block.parts(step).len(), n.min(step.fine.len()), "{what}");
            }
        }
    }
}

/// Where all steps of a run have the same input, the mean is that of the first.
#[test]
fn the_mean_of_equal_inputs_is_one_of_them() {
    for coarse in COARSE {
        let [first, mean] = [CoarseOperator::FirstLayer, CoarseOperator::Mean].map(|coarse_input| {
            let config = config(GruForm::Implicit, coarse, coarse_input);
            let (net, row) = (in_double(&config), random([SAMPLES, 1, 3], 4));
            let batch = net.prepare(net.batch(&Sequences::from(row.repeat_dim(1, 13)), Pass::Evaluation));
            let mut u = [TensorState(random(DIMS, 5))];
            net.block(&batch).step(&steps(&config, 4, 1)[1..2], &mut u).unwrap();
            u[0].0.clone()
        });
        close(&mean, &first, 1e-14, &format!("{coarse:?}"));
    }
}

/// One frozen coarse step is the fine ones with their gates; exact where nothing changes them.
#[test]
fn a_frozen_step_of_gates_that_stay_is_the_fine_steps() {
    for form in FORMS {
        let config = config(form, GruCoarse::Frozen, CoarseOperator::FirstLayer);
        // One cell whose gates do not see its state.
        let config = GruConfig { cells: 1, ..config };
        let blind = mapped(in_double(&config), |name, v| if name == "cells.0.h.weight" { v * 0.0 } else { v });
        let row = random([SAMPLES, 1, 3], 4);
        let input = Sequences { lengths: Some(vec![13, 6, 2]), ..Sequences::from(row.repeat_dim(1, 13)) };
        let batch = blind.prepare(blind.batch(&input, Pass::Evaluation));
        let block = blind.block(&batch);
        let through = |level: usize| {
            let mut u = TensorState(random([1, SAMPLES, 4], 5));
            let all = steps(&config, 4, level);
            all.iter().for_each(|step| block.step(std::slice::from_ref(step), std::slice::from_mut(&mut u)).unwrap());
            u.0
        };
        let fine = through(0);
        for level in [1, 2] {
            close(&through(level), &fine, 1e-13, &format!("{form:?}, level {level}"));
        }
    }
}

#[test]
fn steps_of_others_and_split_means_are_refused() {
    let device = Device::flex();
    for input in [CoarseOperator::FirstLayer, CoarseOperator::Mean] {
        let config = config(GruForm::Implicit, GruCoarse::Frozen, input);
        let part = config.init(3..7, 1, &device).unwrap();
        let given = sequences_in_single(&sequences(&config, SAMPLES, None));
        let batch = part.batch(&given, Pass::Evaluation);
        let (fine, coarse) = (steps(&config, 3, 0), steps(&config, 3, 1));
        for step in &fine {
            let message = part.supports(step).err().map(|error| error.to_string());
            assert_eq!(message.is_none(), (3..7).contains(&step.layer));
            assert!(message.is_none_or(|m| m.contains(&format!("step {}", step.layer)) && m.contains("3..7")));
            assert_eq!(part.block(&batch).supports(step).is_ok(), part.supports(step).is_ok());
        }
        assert!(part.supports(&coarse[1]).is_ok());
        // Steps 6 to 8, of which 7 and 8 are another rank's.
        match part.supports(&coarse[2]) {
            Ok(()) => assert_eq!(input, CoarseOperator::FirstLayer),
            Err(error) => {
                assert_eq!(input, CoarseOperator::Mean);
                let message = error.to_string();
                assert!(["Mean", "6..9", "FirstLayer"].iter().all(|part| message.contains(part)), "{message}");
            }
        }
    }
}
