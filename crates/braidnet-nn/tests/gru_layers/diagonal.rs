//! The diagonals of the steps' Jacobians, which a Newton solve takes, are those of the derivatives.

use braidnet_mgrit::Propagator;
use braidnet_nn::CoarseOperator;
use braidnet_nn::gru::{GruCoarse, GruTape};

use crate::*;

const SAMPLES: usize = 3;

fn configs() -> Vec<GruConfig> {
    let mut all = Vec::new();
    for form in FORMS {
        for coarse in [GruCoarse::Frozen, GruCoarse::Rediscretised] {
            for (cells, hidden) in [(1, 4), (2, 5), (3, 1)] {
                let config = GruConfig::new(10, 3, hidden, cells, 2);
                all.push(GruConfig { form, coarse, final_time: 7.5, coarse_input: CoarseOperator::Mean, ..config });
            }
        }
    }
    all
}

/// Entry by entry: unit vectors pulled back.
fn plain(tape: &GruTape, step: &Step, u: &Tensor<3>) -> Tensor<3> {
    let [cells, samples, hidden] = u.dims();
    let mut sum = u.zeros_like();
    for k in 0..cells {
        for j in 0..hidden {
            let is_here = |i: usize| i / (samples * hidden) == k && i % hidden == j;
            let unit: Vec<f64> = (0..cells * samples * hidden).map(|i| f64::from(u8::from(is_here(i)))).collect();
            let unit = TensorData::new(unit, u.dims());
            let unit = Tensor::<3>::from_data(unit, (&Device::flex(), DType::F64));
            let mut lambda = TensorState(unit.clone());
            tape.pullback(step, &mut lambda).unwrap();
            sum = sum + lambda.0 * unit;
        }
    }
    sum
}

#[test]
fn diagonals_are_those_of_the_derivatives() {
    for config in configs() {
        let (net, input) = (in_double(&config), sequences(&config, SAMPLES, Some(vec![10, 4, 7])));
        let (batch, u) =
            (net.prepare(net.batch(&input, Pass::Evaluation)), random([config.cells, SAMPLES, config.hidden], 5));
        let block = net.block(&batch);
        for step in [0, 1, 2].into_iter().flat_map(|level| steps(&config, 3, level)) {
            let what = format!("{config:?}, {step:?}");
            let tape = block.linearize(&step, &mut TensorState(u.clone()), Output::Used).unwrap();
            close(&tape.diagonal(&step).unwrap().0, &plain(&tape, &step, &u), 1e-13, &what);
        }
    }
}

/// With a step as without one, in one call as in one each, and in single precision.
#[test]
fn every_way_to_a_diagonal_is_the_same() {
    for config in configs() {
        let (double, input) = (in_double(&config), sequences(&config, SAMPLES, Some(vec![10, 4, 7])));
        let (single, input_in_single) = (in_single(double.clone()), sequences_in_single(&input));
        let all = steps(&config, 3, 1);
        let mut both = Vec::new();
        for (net, input, dtype) in [(&double, &input, DType::F64), (&single, &input_in_single, DType::F32)] {
            let batch = net.prepare(net.batch(input, Pass::Evaluation));
            let block = net.block(&batch);
            let dims = [config.cells, SAMPLES, config.hidden];
            let before: Vec<_> = (0..4).map(|n| TensorState(random(dims, 5 + n).cast(dtype))).collect();
            let (mut stepped, mut linearized) = (before.clone(), before.clone());
            let diagonals = block.step_with_diagonal(&all, &mut stepped).unwrap();
            let tapes = block.linearize_batch(&all, &mut linearized, Output::Used).unwrap();
            let what = format!("{config:?}, {dtype:?}");
            same_bits(&stepped, &linearized, &what);
            let chosen = [2, 0, 3, 1];
            let again = block.diagonal_batch(&chosen.map(|n| all[n].clone()), &chosen.map(|n| &tapes[n])).unwrap();
            let in_order = chosen.map(|n| diagonals[n].clone());
            same_bits(&again, &in_order, &what);
            let one_each: Vec<_> = tapes.iter().zip(&all).map(|(tape, step)| tape.diagonal(step).unwrap()).collect();
            same_bits(&one_each, &diagonals, &what);
            both.push(diagonals);
        }
        for (single, double) in both[1].iter().zip(&both[0]) {
            close(&single.0, &double.0, 3e-6, &format!("{config:?}"));
        }
    }
}
