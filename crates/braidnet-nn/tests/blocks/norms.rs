//! Norms against plain loops: what training and evaluation make of a state, and statistics.

use braidnet_mgrit::Output;
use braidnet_nn::{
    BlockLayer, ConvRhs, Gradient, Gradients, MOMENTUM, NormKind, Pooling, RhsTape, RightHandSide, TensorState,
    Transition, absorb_statistics,
};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Tensor};

use crate::laws::NORMS;
use crate::plain::{Grid, tensor};
use crate::*;

const DIMS: [usize; 4] = [2, 4, 3, 5];

/// One convolution that changes nothing, and a norm of random parameters.
fn norm_alone(kind: NormKind) -> ConvRhs {
    let rhs = in_double(ConvRhs::new(1, Some(kind), 4, &Device::flex()), 5);
    mapped(rhs, |name, values| match name {
        "conv.weight" => {
            let identity = (0..4 * 4 * 9).map(|i| f64::from(i % 9 == 4 && i / 36 == i / 9 % 4)).collect();
            tensor(identity, [144])
        }
        _ => values,
    })
}

fn numbers(rhs: &ConvRhs, name: &str) -> Vec<f64> {
    values(rhs)[name].to_data().iter::<f64>().collect()
}

/// In double precision and by the kernels.
fn evaluated(rhs: &ConvRhs, u: &Tensor<4>, batch: &Samples) -> [Tensor<4>; 2] {
    let single = in_single(rhs.clone()).evaluate(TensorState(u.clone().cast(DType::F32)), at(batch));
    [rhs.evaluate(TensorState(u.clone()), at(batch)).0, single.0]
}

fn gradients_of<R: RightHandSide<Space = braidnet_nn::ImageSpace>>(rhs: &R, u: &Tensor<4>) -> Gradients {
    let (f, tape) = rhs.linearize(TensorState(u.clone()), at(&TRAINING), Output::Used);
    let (_, pending) = tape.pullback_with_gradients(f, Output::Discarded).unwrap();
    pending().unwrap()
}

#[test]
fn training_takes_the_moments_of_the_batch() {
    // Mean and variance are not those that a network begins with.
    let u = random(DIMS, 1) * 3.0 + 2.0;
    for kind in NORMS.into_iter().flatten() {
        let rhs = norm_alone(kind);
        let (weight, bias) = (numbers(&rhs, "norm.weight"), numbers(&rhs, "norm.bias"));
        let expected = tensor(Grid::of(&u).normalised(kind, &weight, &bias), DIMS);
        let [double, single] = evaluated(&rhs, &u, &TRAINING);
        close(&double, &expected, 1e-13, &format!("{kind:?}"));
        close(&single, &expected, 1e-5, &format!("{kind:?}"));
    }
}

#[test]
fn evaluation_takes_the_running_moments_of_batch_norm_alone() {
    let u = random(DIMS, 1) * 3.0 + 2.0;
    for kind in NORMS.into_iter().flatten() {
        let rhs = norm_alone(kind);
        let [weight, bias] = ["norm.weight", "norm.bias"].map(|name| numbers(&rhs, name));
        let expected = match kind {
            NormKind::Batch => {
                let [mean, variance] = ["norm.running_mean", "norm.running_var"].map(|name| numbers(&rhs, name));
                Grid::of(&u).normalised_with([&mean, &variance], &weight, &bias)
            }
            kind => Grid::of(&u).normalised(kind, &weight, &bias),
        };
        let expected = tensor(expected, DIMS);
        let [double, single] = evaluated(&rhs, &u, &EVALUATION);
        close(&double, &expected, 1e-13, &format!("{kind:?}"));
        close(&single, &expected, 1e-5, &format!("{kind:?}"));
    }
}

#[test]
fn evaluation_of_one_sample_is_that_of_it_among_others() {
    let (u, rhs) = (random(DIMS, 1), norm_alone(NormKind::Batch));
    let [_, together] = evaluated(&rhs, &u, &EVALUATION);
    let [_, alone] = evaluated(&rhs, &u.narrow(0, 1, 1), &Samples { n: 1, is_training: false });
    assert_eq!(alone.to_data(), together.narrow(0, 1, 1).to_data());
}

#[test]
fn batch_norm_alone_gives_statistics() {
    for norm in NORMS {
        let rhs = in_double(ConvRhs::new(2, norm, 4, &Device::flex()), 5);
        let layer = BlockLayer::Transition(Transition::new(Pooling::Max, norm, 4, &Device::flex()));
        let expected: &[&str] = match norm {
            Some(NormKind::Batch) => &["running_mean", "running_var"],
            _ => &[],
        };
        let names = |of: &[&str]| -> Vec<String> {
            of.iter().flat_map(|norm| expected.iter().map(move |name| format!("{norm}.{name}"))).collect()
        };
        let statistics = by_name(&rhs, &gradients_of(&rhs, &random(DIMS, 1)), true);
        assert!(statistics.into_keys().eq(names(&["norm1", "norm2"])), "{norm:?}");
        let layer = in_double(layer, 5);
        let statistics = by_name(&layer, &gradients_of(&layer, &random(DIMS, 1)), true);
        assert!(statistics.keys().all(|name| name.contains("norm.running_")), "{norm:?}");
        assert_eq!(statistics.len(), expected.len(), "{norm:?}");
    }
}

#[test]
fn statistics_are_mean_and_unbiased_variance() {
    let rhs = norm_alone(NormKind::Batch);
    let u = random(DIMS, 1) * 3.0 + 2.0;
    let grid = Grid::of(&u);
    let moments = (0..4).map(|channel| grid.moments(|[_, c, _]| c == channel));
    let (mean, variance): (Vec<f64>, Vec<f64>) = moments.map(|(n, mean, squares)| (mean, squares / (n - 1.0))).unzip();
    for (rhs, u, tolerance) in [(rhs.clone(), u.clone(), 1e-13), (in_single(rhs), u.cast(DType::F32), 1e-5)] {
        let statistics = by_name(&rhs, &gradients_of(&rhs, &u), true);
        close(&statistics["norm.running_mean"], &tensor(mean.clone(), [4]), tolerance, "mean");
        close(&statistics["norm.running_var"], &tensor(variance.clone(), [4]), tolerance, "variance");
    }
}

#[test]
fn a_single_number_has_no_spread_and_does_no_harm() {
    let rhs = in_single(in_double(ConvRhs::new(1, Some(NormKind::Batch), 4, &Device::flex()), 5));
    let u = random([1, 4, 1, 1], 1).cast(DType::F32);
    let all = gradients_of(&rhs, &u);
    assert!(all.iter().all(|g| g.values.to_data().iter::<f32>().all(f32::is_finite)));
    close(&by_name(&rhs, &all, true)["norm.running_var"], &Tensor::zeros([4], &Device::flex()), 0.0, "variance");
}

#[test]
fn absorbing_changes_statistics_alone() {
    let rhs = in_double(ConvRhs::new(2, Some(NormKind::Batch), 4, &Device::flex()), 5);
    let all = gradients_of(&rhs, &random(DIMS, 1));
    let (before, added) = (values(&rhs), by_name(&rhs, &all, true));
    let after = values(&absorb_statistics(rhs, &all));
    assert!(after.keys().eq(before.keys()));
    assert_eq!(added.len(), 4);
    for (name, value) in &after {
        match added.get(name) {
            None => assert_eq!(value.to_data(), before[name].to_data(), "{name}"),
            Some(added) => {
                let expected = before[name].clone() * (1.0 - MOMENTUM) + added.clone() * MOMENTUM;
                close(value, &expected, 1e-15, name);
                assert!(norm(&(value.clone() - before[name].clone())) > 1e-3, "{name}");
            }
        }
    }
}

#[test]
fn gradients_without_statistics_leave_the_network_as_it_is() {
    let rhs = in_double(ConvRhs::new(1, Some(NormKind::Batch), 4, &Device::flex()), 5);
    let all = gradients_of(&rhs, &random(DIMS, 1));
    let before = values(&rhs);
    let gradients: Gradients = all.into_iter().filter(|gradient| !gradient.is_statistic).collect();
    let same = absorb_statistics(rhs.clone(), &gradients);
    all_close(&values(&same), &before, 0.0, "gradients alone");
    // A statistic of some other network.
    let stranger = Gradient::statistic(ParamId::new(), random([4], 1));
    let same = absorb_statistics(rhs, &[stranger]);
    all_close(&values(&same), &before, 0.0, "a stranger's");
}

/// The parameters that autograd would train.
#[derive(Default)]
struct Trained(Vec<ParamId>);

impl ModuleVisitor for Trained {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            self.0.push(param.id);
        }
    }
}

#[test]
fn statistics_are_not_trained_and_stay_so() {
    let rhs = in_double(ConvRhs::new(1, Some(NormKind::Batch), 4, &Device::flex()), 5);
    let all = gradients_of(&rhs, &random(DIMS, 1));
    let absorbed = absorb_statistics(rhs, &all).train();
    let mut trained = Trained::default();
    absorbed.visit(&mut trained);
    visit_parameters(&absorbed, "", |p| assert_eq!(trained.0.contains(&p.id), !p.is_statistic, "{}", p.name));
}
