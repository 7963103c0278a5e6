//! Layers that are not alike are done in as many calls as there are kinds, and what does not stack one after the other.

use braidnet_grid::{Coarsening, Hierarchy, Step, TimeGrid};
use braidnet_mgrit::{Differentiable, Output, Propagator, StepError};
use braidnet_nn::transformer::{
    Activation, EncoderLayer, LayerConfig, PairBatch, PairLayer, SequenceBatch, TransformerConfig,
};
use braidnet_nn::{
    Autograd, BatchOf, CoarseOperator, ConvRhs, Gradients, NormKind, OdeBlock, OdeNet2dConfig, Pass, RightHandSide,
    StateOf, StateSpace,
};

use crate::*;

/// All steps of level 0.
fn steps(n: usize) -> Vec<Step> {
    let hierarchy = Hierarchy::new(&TimeGrid::uniform(n, 0.0, 1.0).unwrap(), &Coarsening::none()).unwrap();
    (0..n).map(|j| hierarchy.finest().step(j)).collect()
}

/// States behind, states pulled back, states pulled back by the pullback with gradients, and gradients.
type Found<S> = (Vec<S>, Vec<S>, Vec<S>, Vec<Gradients>);

/// All layers on states of their own.
fn found<R: RightHandSide>(
    block: &OdeBlock<R>,
    (space, batch): (&R::Space, &BatchOf<R>),
    states: &[StateOf<R>],
) -> Result<Found<StateOf<R>>, StepError> {
    let (on, steps) = (block.on(space, batch), steps(states.len()));
    let mut after = states.to_vec();
    on.step(&steps, &mut after)?;
    let mut linearized = states.to_vec();
    let tapes = on.linearize_batch(&steps, &mut linearized, Output::Used)?;
    // In the adjoint the last ones come first.
    let back: Vec<Step> = steps.iter().rev().cloned().collect();
    let mut pulled: Vec<_> = states.iter().rev().cloned().collect();
    on.pullback_batch(&back, &tapes.iter().rev().collect::<Vec<_>>(), &mut pulled)?;
    // Some of them alone, and not those that lie next to each other.
    let some: Vec<usize> = (0..steps.len()).rev().filter(|n| n % 3 != 1).collect();
    let mut of_some: Vec<_> = some.iter().map(|n| states[*n].clone()).collect();
    let few: Vec<Step> = some.iter().map(|n| steps[*n].clone()).collect();
    on.pullback_batch(&few, &some.iter().map(|n| &tapes[*n]).collect::<Vec<_>>(), &mut of_some)?;
    after.extend(linearized);
    pulled.extend(of_some);
    let mut with_gradients: Vec<_> = states.iter().rev().cloned().collect();
    let tapes = tapes.into_iter().rev().collect();
    let pending = on.pullback_batch_with_gradients(&back, tapes, &mut with_gradients, Output::Used)?;
    let gradients = pending.into_iter().map(|form| form()).collect::<Result<_, _>>()?;
    Ok((after, pulled, with_gradients, gradients))
}

fn all_parts<S: Parts>(states: &[S]) -> Vec<Tensor<1>> {
    states.iter().flat_map(Parts::parts).collect()
}

fn agree<R: RightHandSide>(layers: Vec<R>, on: (&R::Space, &BatchOf<R>), states: Vec<StateOf<R>>, tolerance: f64)
where
    StateOf<R>: Parts,
{
    let block = OdeBlock::new(0, layers, CoarseOperator::FirstLayer, &Device::flex());
    let alone = found(&block.clone().stacked(false), on, &states).unwrap();
    let together = found(&block.stacked(true), on, &states).unwrap();
    close(&all_parts(&together.0), &all_parts(&alone.0), tolerance, "states");
    close(&all_parts(&together.1), &all_parts(&alone.1), tolerance, "pulled back");
    close(&all_parts(&together.2), &all_parts(&alone.2), tolerance, "pulled back with gradients");
    assert_eq!(together.3.len(), alone.3.len());
    for (together, alone) in together.3.iter().zip(&alone.3) {
        let ids = |all: &Gradients| all.iter().map(|g| g.id).collect::<Vec<_>>();
        assert_eq!(ids(together), ids(alone));
        let values = |all: &Gradients| all.iter().map(|g| g.values.clone()).collect::<Vec<_>>();
        close(&values(together), &values(alone), tolerance, "gradients");
    }
}

fn images(n: usize) -> Vec<TensorState<4>> {
    (0..n).map(|n| TensorState(random([2, 4, 3, 4], n as u64, DType::F64))).collect()
}

fn conv(convs: usize, norm: Option<NormKind>) -> ConvRhs {
    ConvRhs::new(convs, norm, 4, &Device::flex())
}

/// Different parameters, and equal ones that are used differently.
#[test]
fn convolutions() {
    let config = OdeNet2dConfig { image: [1, 3, 4], classes: 3, ..OdeNet2dConfig::new(1, 4) };
    let network = config.init(0..1, 1, 1, &Device::flex()).unwrap();
    let kinds = [
        (2, Some(NormKind::Group(2))),
        (1, None),
        (2, Some(NormKind::Group(1))),
        (2, None),
        (2, Some(NormKind::Layer)),
        (2, Some(NormKind::Batch)),
    ];
    let layers = (0..13).map(|n| kinds[n * n % 7 % 6]).map(|(convs, norm)| conv(convs, norm));
    let layers: Vec<_> = layers.map(|layer| drawn(layer, DType::F64)).collect();
    let batch = network.space().largest_batch(2, Pass::Training(None));
    agree(layers, (network.space(), &batch), images(13), 1e-12);
}

#[test]
fn states_of_other_shapes() {
    let config = OdeNet2dConfig { image: [1, 3, 4], classes: 3, ..OdeNet2dConfig::new(1, 4) };
    let network = config.init(0..1, 1, 1, &Device::flex()).unwrap();
    let layers = (0..4).map(|_| drawn(conv(2, None), DType::F64)).collect();
    let mut states = images(4);
    states[2] = TensorState(random([2, 4, 5, 4], 9, DType::F64));
    let batch = network.space().largest_batch(2, Pass::Training(None));
    agree(layers, (network.space(), &batch), states, 1e-12);
}

#[test]
fn what_does_not_stack_is_the_same_to_the_bit() {
    let config = OdeNet2dConfig { image: [1, 3, 4], classes: 3, ..OdeNet2dConfig::new(1, 4) };
    let network = config.init(0..1, 1, 1, &Device::flex()).unwrap();
    let layers = (0..4).map(|_| Autograd::new(drawn(conv(2, None), DType::F64))).collect();
    let batch = network.space().largest_batch(2, Pass::Training(None));
    agree(layers, (network.space(), &batch), images(4), 0.0);
}

fn layer(heads: usize, activation: Activation, causal: bool) -> LayerConfig {
    LayerConfig { d_model: 6, heads, d_ff: 5, activation, dropout: 0.0, causal }
}

const GELU: Activation = Activation::Gelu;

#[test]
fn encoders() {
    let config = TransformerConfig::encoder(1, 6, 5, 3);
    let network = config.init(0..1, 1, 1, &Device::flex()).unwrap();
    let kinds = [layer(1, GELU, false), layer(2, GELU, false), layer(1, GELU, true), layer(1, Activation::Elu, false)];
    let layers = (0..12).map(|n| drawn(EncoderLayer::new(&kinds[n * n % 5 % 4], &Device::flex()).unwrap(), DType::F64));
    let states = (0..12).map(|n| TensorState(random([3, 5, 6], n, DType::F64))).collect();
    let batch = SequenceBatch { samples: 3, length: 5, padding: None, noise: None };
    agree(layers.collect(), (network.space(), &batch), states, 1e-12);
}

/// Where a half is absent in some of the states, those go one after the other.
#[test]
fn absent_halves() {
    let config = braidnet_nn::transformer::EncoderDecoderConfig::new(1, 6, [5, 5]);
    let network = config.init(0..2, 1, 1, &Device::flex()).unwrap();
    let encoder = || PairLayer::Encoder(EncoderLayer::new(&layer(2, GELU, false), &Device::flex()).unwrap());
    let decoder = |split| {
        let layer = braidnet_nn::transformer::DecoderLayer::new(&layer(2, GELU, true), split, &Device::flex());
        PairLayer::Decoder(layer.unwrap())
    };
    let layers = [encoder(), decoder(true), encoder(), decoder(true), decoder(false), decoder(false), encoder()];
    let layers: Vec<_> = layers.map(|layer| drawn(layer, DType::F64)).into();
    let half = |length, seed| Some(TensorState(random([3, length, 6], seed, DType::F64)));
    let batch = |length| SequenceBatch { samples: 3, length, padding: None, noise: None };
    let batch = PairBatch { source: batch(5), target: batch(4) };
    for lacking in [0, 4, 5, 7] {
        let state = |n: u64| PairState { x: half(5, n), y: if n == lacking { None } else { half(4, 20 + n) } };
        agree(layers.clone(), (network.space(), &batch), (0..7).map(state).collect(), 1e-12);
    }
}
