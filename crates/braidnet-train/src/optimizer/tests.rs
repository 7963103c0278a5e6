//! Together or one by one: both are burn's updates, parameter by parameter, to the bit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use braidnet_comm::Communicator;
use braidnet_grid::{Partition, TimeGrid};
use braidnet_nn::gru::GruConfig;
use braidnet_nn::transformer::TransformerConfig;
use braidnet_nn::{BlockNetConfig, DepthInit, Gradient, NormKind, OdeNet2dConfig};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, DynOptimizer, DynState, GradientsParams, ModuleOptimizer, SgdConfig, StateSink,
    StateSource,
};
use burn::tensor::kind::BridgeTensor;
use burn::tensor::{Tensor, TensorData};
use proptest::prelude::*;

use super::*;
use crate::Schedule;

const CONFIGS: [OptimizerConfig; 4] = [
    OptimizerConfig::Sgd { momentum: 0.0 },
    OptimizerConfig::Sgd { momentum: 0.9 },
    OptimizerConfig::Adam,
    OptimizerConfig::AdamW { weight_decay: 0.3 },
];
const RATE: f64 = 0.05;

/// Something to check of networks of every kind.
trait Check {
    fn check<N: Network>(&self, what: &str, network: &N, grid: &TimeGrid);
}

/// Convolutions; a head tied to the embedding, and layers at the ends that the solver does not count; parameters that all layers
/// share; running statistics, and layers of several widths.
fn for_all_networks(check: &impl Check, device: &Device) {
    let ode = plain(6);
    check.check("convolutions", &ode.init(0..6, 4, 3, device).unwrap(), &ode.grid().unwrap());
    let decoder = TransformerConfig { heads: 2, tied: true, buffer: 1, ..TransformerConfig::decoder(6, 8, 9) };
    check.check("decoder", &decoder.init(0..4, 4, 3, device).unwrap(), &decoder.grid().unwrap());
    let gru = GruConfig { final_time: 3.2, coarse_parts: 1, ..GruConfig::new(4, 3, 6, 2, 4) };
    check.check("gru", &gru.init(0..4, 3, device).unwrap(), &gru.grid().unwrap());
    let norm = Some(NormKind::Batch);
    let blocks = BlockNetConfig { image: [1, 6, 6], norm, ..BlockNetConfig::new(vec![3, 2], 2) };
    let grid = blocks.grid().unwrap();
    check.check("blocks", &blocks.init(0..grid.n_steps(), 4, 3, device).unwrap(), &grid);
}

fn plain(layers: usize) -> OdeNet2dConfig {
    OdeNet2dConfig { image: [1, 6, 6], depth_init: DepthInit::Independent, ..OdeNet2dConfig::new(layers, 2) }
}

fn model<N: Network>(network: &N, grid: &TimeGrid) -> LayerParallel<N> {
    let partition = Partition::even(grid.n_steps(), 1).unwrap();
    LayerParallel::new(network.clone(), grid, &partition, &Schedule::sequential(), &Communicator::alone()).unwrap()
}

/// Gradients of a step, and what it adds to running statistics; of the parameters by their number that are not `missing`.
fn gradients<N: Network>(network: &N, step: usize, missing: impl Fn(usize) -> bool) -> Gradients {
    let (mut all, mut n) = (Gradients::new(), 0);
    network.visit_parameters(|p| {
        n += 1;
        let size = p.shape.iter().product::<usize>();
        let value = |i: usize| ((7 * i + 29 * n + 53 * step) as f32 * 0.37).sin();
        let values = (0..size).map(value).collect::<Vec<_>>();
        let values = Tensor::<1>::from_data(TensorData::new(values, [size]), &p.values.device());
        if p.is_statistic {
            all.push(Gradient::statistic(p.id, values));
        } else if !missing(n) {
            all.push(Gradient::new(p.id, values));
        }
    });
    all
}

/// Some steps without some gradients, in others than the first, and one without any.
fn is_missing(step: usize, parameter: usize) -> bool {
    match step {
        1 | 4 => (parameter + step).is_multiple_of(5),
        3 => true,
        _ => false,
    }
}

/// As in [`is_missing`], from the first step on.
fn is_missing_early(step: usize, parameter: usize) -> bool {
    is_missing(step + 1, parameter)
}

fn bits<N: Network>(network: &N) -> BTreeMap<String, Vec<u32>> {
    let mut all = BTreeMap::new();
    network.visit_parameters(|p| {
        all.insert(p.name, p.values.into_data().iter::<f32>().map(f32::to_bits).collect());
    });
    all
}

/// Shape and bits by name, and scalars.
type State = (BTreeMap<String, (Vec<usize>, Vec<u32>)>, BTreeMap<String, burn_pack::Scalar>);

fn by_name(state: OptimizerState) -> State {
    let bits = |data: TensorData| (data.shape().to_vec(), data.iter::<f32>().map(f32::to_bits).collect());
    let tensors = state.tensors.into_iter().map(|(name, data)| (name, bits(data)));
    (tensors.collect(), state.scalars.into_iter().collect())
}

/// burn's optimizer of a whole module, the oracle.
struct Burns(ModuleOptimizer);

impl Burns {
    fn new(config: OptimizerConfig) -> Self {
        Self(match config {
            OptimizerConfig::Sgd { momentum } => {
                let with = MomentumConfig { momentum, dampening: 0.0, nesterov: false };
                SgdConfig::new().with_momentum((momentum > 0.0).then_some(with)).init()
            }
            OptimizerConfig::Adam => AdamConfig::new().init(),
            OptimizerConfig::AdamW { weight_decay } => AdamWConfig::new().with_weight_decay(weight_decay as f32).init(),
        })
    }

    fn step<N: Network>(&mut self, rate: f64, network: N, gradients: Gradients) -> N {
        let network = absorb_statistics(network, &gradients);
        let gradients = shaped(&network, gradients);
        self.0.step(rate, network.train(), gradients).valid()
    }

    fn state(&self) -> State {
        let reader = burn_pack::Reader::from_bytes(self.0.into_bytes().unwrap()).unwrap();
        let scalars = reader.scalars().iter().map(|(name, value)| (name.clone(), *value)).collect();
        let tensors = reader.into_tensors().unwrap().into_iter().map(|tensor| {
            let (name, dtype, shape, _, bytes) = tensor.into_parts().unwrap();
            (name, TensorData::from_bytes(bytes, shape, dtype))
        });
        by_name(OptimizerState { tensors: tensors.collect(), scalars })
    }
}

/// Every gradient in the shape of its parameter.
fn shaped<M: Module>(module: &M, gradients: Gradients) -> GradientsParams {
    struct Shape(HashMap<ParamId, Tensor<1>>, GradientsParams);
    impl ModuleVisitor for Shape {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(values) = self.0.remove(&param.id) {
                self.1.register(param.id, values.reshape(param.val().dims()));
            }
        }
    }
    let flat = gradients.into_iter().filter(|g| !g.is_statistic).map(|g| (g.id, g.values)).collect();
    let mut visitor = Shape(flat, GradientsParams::new());
    module.visit(&mut visitor);
    visitor.1
}

/// The same steps by burn and by us, with some gradients missing.
struct SameAsBurn {
    grouped: Option<bool>,
    missing: fn(usize, usize) -> bool,
}

impl Check for SameAsBurn {
    fn check<N: Network>(&self, what: &str, network: &N, grid: &TimeGrid) {
        for config in CONFIGS {
            let mut optimizer = Optimizer::new(config, RATE).unwrap();
            if let Some(grouped) = self.grouped {
                optimizer = optimizer.grouped(grouped);
            }
            let (mut model, mut burns, mut expected) = (model(network, grid), Burns::new(config), network.clone());
            for step in 0..7 {
                let what = format!("{what}, {config:?}, together {:?}, step {step}", self.grouped);
                let rate = RATE / (1 + step) as f64;
                let gradients = gradients(network, step, |n| (self.missing)(step, n));
                optimizer.set_learning_rate(rate);
                optimizer.step(&mut model, gradients.clone());
                expected = burns.step(rate, expected, gradients);
                assert!(bits(model.network()) == bits(&expected), "{what}: parameters");
                assert!(by_name(optimizer.state().unwrap()) == burns.state(), "{what}: what is kept");
            }
            assert!(bits(model.network()) != bits(network), "{what}: nothing was updated");
        }
    }
}

#[test]
fn any_way_is_burns_to_the_bit() {
    for grouped in [None, Some(false), Some(true)] {
        for missing in [is_missing, is_missing_early] {
            for_all_networks(&SameAsBurn { grouped, missing }, &Device::flex());
        }
    }
}

/// Together and one by one give the same on a device; the default one is a GPU where a feature for one is on.
struct SameBothWays;

impl Check for SameBothWays {
    fn check<N: Network>(&self, what: &str, network: &N, grid: &TimeGrid) {
        for config in CONFIGS {
            let [together, one_by_one] = [true, false].map(|grouped| {
                let (mut model, optimizer) = (model(network, grid), Optimizer::new(config, RATE).unwrap());
                let mut optimizer = optimizer.grouped(grouped);
                for step in 0..4 {
                    optimizer.step(&mut model, gradients(network, step, |n| is_missing(step, n)));
                }
                (bits(model.network()), by_name(optimizer.state().unwrap()))
            });
            assert!(together == one_by_one, "{what}, {config:?}");
        }
    }
}

#[test]
fn both_ways_are_one_on_the_default_device() {
    for_all_networks(&SameBothWays, &Device::default());
}

/// Saved after three steps, and gone on from by any way.
struct GoesOn;

impl Check for GoesOn {
    fn check<N: Network>(&self, what: &str, network: &N, grid: &TimeGrid) {
        for config in CONFIGS {
            for [before, after] in [[true, false], [false, true], [true, true], [false, false]] {
                let what = format!("{what}, {config:?}, together {before} then {after}");
                let (mut model, mut burns, mut expected) = (model(network, grid), Burns::new(config), network.clone());
                let mut optimizer = Optimizer::new(config, RATE).unwrap().grouped(before);
                for step in 0..6 {
                    if step == 3 {
                        let saved = optimizer.state().unwrap();
                        optimizer = Optimizer::new(config, RATE).unwrap().grouped(after);
                        optimizer.load_state(saved).unwrap();
                        assert!(by_name(optimizer.state().unwrap()) == burns.state(), "{what}: loaded");
                    }
                    let gradients = gradients(network, step, |n| step == 1 && n.is_multiple_of(5));
                    optimizer.step(&mut model, gradients.clone());
                    expected = burns.step(RATE, expected, gradients);
                }
                assert!(bits(model.network()) == bits(&expected), "{what}: parameters");
                assert!(by_name(optimizer.state().unwrap()) == burns.state(), "{what}: what is kept");
            }
        }
    }
}

#[test]
fn one_way_goes_on_where_the_other_was_saved() {
    for_all_networks(&GoesOn, &Device::flex());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever gradients come, and whenever the way is changed.
    #[test]
    fn any_gradients_may_be_missing(
        steps in proptest::collection::vec((any::<u64>(), 0u8..4, any::<Option<bool>>()), 1..6),
        config in 0..CONFIGS.len(),
    ) {
        let (family, config) = (plain(5), CONFIGS[config]);
        let network = family.init(0..5, 4, 3, &Device::flex()).unwrap();
        let mut model = model(&network, &family.grid().unwrap());
        let (mut burns, mut expected) = (Burns::new(config), network.clone());
        let mut optimizer = Optimizer::new(config, RATE).unwrap();
        for (step, (mask, all, change)) in steps.into_iter().enumerate() {
            if let Some(grouped) = change {
                optimizer = optimizer.grouped(grouped);
            }
            let gradients = gradients(&network, step, |n| all > 0 && mask >> (n % 64) & 1 == 1);
            optimizer.step(&mut model, gradients.clone());
            expected = burns.step(RATE, expected, gradients);
            prop_assert!(bits(model.network()) == bits(&expected));
            prop_assert!(by_name(optimizer.state().unwrap()) == burns.state());
        }
    }
}

/// A rule that counts its calls.
struct Counting {
    rule: Box<dyn DynOptimizer>,
    calls: Arc<AtomicUsize>,
}

impl DynOptimizer for Counting {
    fn step_dyn(
        &self,
        rank: usize,
        rate: f64,
        values: BridgeTensor,
        gradient: BridgeTensor,
        state: Option<DynState>,
    ) -> (BridgeTensor, Option<DynState>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.rule.step_dyn(rank, rate, values, gradient, state)
    }

    fn to_device_dyn(&self, state: DynState, device: &Device) -> DynState {
        self.rule.to_device_dyn(state, device)
    }

    fn state_flatten(&self, prefix: &str, state: &DynState, out: &mut StateSink) {
        self.rule.state_flatten(prefix, state, out);
    }

    fn state_unflatten(
        &self,
        rank: usize,
        prefix: &str,
        source: &mut StateSource,
        device: &Device,
    ) -> Option<DynState> {
        self.rule.state_unflatten(rank, prefix, source, device)
    }
}

/// The number of parameters, and the calls of each of some steps.
fn calls(layers: usize, grouped: Option<bool>, missing: fn(usize, usize) -> bool) -> (usize, Vec<usize>) {
    let (family, calls) = (plain(layers), Arc::new(AtomicUsize::new(0)));
    let network = family.init(0..layers, 4, 3, &Device::default()).unwrap();
    let mut model = model(&network, &family.grid().unwrap());
    let rule = Counting { rule: OptimizerConfig::Adam.rule().unwrap(), calls: calls.clone() };
    let mut optimizer = Optimizer { learning_rate: RATE, grouped, moments: Moments::new(Box::new(rule)) };
    let of_step = |step| {
        optimizer.step(&mut model, gradients(&network, step, |n| missing(step, n)));
        calls.swap(0, Ordering::Relaxed)
    };
    let per_step = (0..5).map(of_step).collect();
    let mut n = 0;
    network.visit_parameters(|_| n += 1);
    (n, per_step)
}

#[test]
fn a_step_together_is_one_call() {
    for layers in [2, 12] {
        let (n, per_step) = calls(layers, Some(true), |_, _| false);
        assert_eq!((n, per_step), (6 + 4 * layers, vec![1; 5]));
        let (n, per_step) = calls(layers, Some(false), |_, _| false);
        assert_eq!(per_step, vec![n; 5]);
        let (n, per_step) = calls(layers, None, |_, _| false);
        assert_eq!(per_step, vec![if Device::default() == Device::flex() { n } else { 1 }; 5]);
    }
    // One parameter without a gradient is updated by itself from then on.
    let (_, per_step) = calls(12, Some(true), |step, n| step == 2 && n == 7);
    assert_eq!(per_step, [1, 1, 1, 2, 2]);
}

#[test]
fn what_is_not_kept_by_the_optimizer_is_refused() {
    let load = |tensors: &[&str]| {
        let tensors = tensors.iter().map(|name| ((*name).to_owned(), TensorData::new(vec![0f32; 2], [2]))).collect();
        let mut optimizer = Optimizer::new(OptimizerConfig::Adam, RATE).unwrap();
        let scalars = vec![("7.momentum.time".to_owned(), burn_pack::Scalar::UInt(3))];
        optimizer.load_state(OptimizerState { tensors, scalars }).map_err(|e| e.to_string())
    };
    assert!(load(&["7.momentum.moment_1", "7.momentum.moment_2"]).is_ok());
    let message = load(&["7.momentum.moment_1"]).unwrap_err();
    assert!(message.contains("of parameter 7 there is only momentum.moment_1, momentum.time"), "{message}");
    let message = load(&["open.bias"]).unwrap_err();
    assert!(message.contains("open.bias does not begin with the number of a parameter"), "{message}");
}
