//! Solves on several levels, some on coarser grids, end with the states and gradients of the plain loop.

use std::collections::BTreeMap;

use braidnet_comm::{Communicator, Launch, launch};
use braidnet_grid::{Coarsening, Partition, TimeGrid};
use braidnet_mgrit::{Guess, Mgrit, MgritError, MgritOptions, Relaxation, Sources, solve_adjoint};
use braidnet_nn::{
    BlockNetConfig, CoarseOperator, Network, NormKind, OdeNet3dConfig, Pass, Pooling, SpaceCoarsening, TensorState,
};

use crate::coarse_grids::{RESTRICTIONS, coarsened};
use crate::*;

/// What a solve and its adjoint end with.
struct Found<const D: usize> {
    /// By point.
    states: BTreeMap<usize, Tensor<D>>,
    /// Of the opening layer, or, where it has none, `dLoss/du_0`. That itself depends on which of equal numbers a maximum takes, which
    /// rounding decides; where they are 0 nothing else does.
    opening: Vec<Tensor<1>>,
    /// By layer.
    gradients: BTreeMap<usize, Gradients>,
}

/// A network in double precision whose states are those of a grid.
trait OnGrid<const D: usize>: Network<State = TensorState<D>, Batch = Samples, Input = Tensor<D>> + Sync {}

impl<const D: usize, N> OnGrid<D> for N where
    N: Network<State = TensorState<D>, Batch = Samples, Input = Tensor<D>> + Sync
{
}

fn opening_of<const D: usize, N: OnGrid<D>>(
    network: &N,
    input: &Tensor<D>,
    batch: &Samples,
    lambda: &TensorState<D>,
) -> Vec<Tensor<1>> {
    let (_, pullback) = network.open_recorded(input, batch).unwrap();
    let gradients = pullback(lambda.clone()).unwrap();
    match gradients.is_empty() {
        true => vec![flat(&lambda.0)],
        false => gradients.into_iter().map(|gradient| gradient.values).collect(),
    }
}

fn flat<const D: usize>(x: &Tensor<D>) -> Tensor<1> {
    x.clone().reshape([x.shape().num_elements()])
}

fn on_rank<const D: usize, N: OnGrid<D>>(
    network: &N,
    input: &Tensor<D>,
    (grid, options): (&TimeGrid, &MgritOptions),
    comm: &Communicator,
) -> Result<Found<D>, MgritError> {
    let partition = Partition::even(grid.n_steps(), comm.size())?;
    let batch = network.batch(input, Pass::Training(None));
    let block = network.block(&batch);
    let mut forward = Mgrit::new(grid, &partition, options.clone(), comm)?;
    let mut backward = Mgrit::reversed(grid, &partition, options.clone(), comm)?;
    forward.check(|step| network.supports(step))?;
    let zeros = network.zero_states(&batch);
    let zeros = zeros.map(|zero| TensorState(zero.0.clone().cast(DType::F64)));
    let n = grid.n_steps();
    let first = (comm.rank() == 0).then(|| network.open(input, &batch)).flatten();
    let (_, linearized) = forward.solve_linearized(&block, first, Guess::Carried)?;
    let states: BTreeMap<_, _> = (0..=n).filter_map(|point| Some((point, forward.state(point)?.0.clone()))).collect();
    let weights = random([2, 3], 99);
    let loss = |output: Tensor<2>| (output.clone() * output * weights.autodiff()).sum();
    let end = forward.last_state().map(|end| network.close_recorded(end, &batch, loss).unwrap().unwrap().lambda);
    let guess = |point: usize| zeros.at(n - point).clone();
    let (_, gradients) =
        solve_adjoint(&mut backward, &block, &forward, linearized, end, Sources::none(), Guess::From(&guess))?;
    let gradients = gradients.into_iter().map(|of| (of.layer, of.gradients)).collect();
    let opening = backward.last_state().map_or(Vec::new(), |lambda| opening_of(network, input, &batch, lambda));
    Ok(Found { states, opening, gradients })
}

fn solved<const D: usize, N: OnGrid<D>>(
    network: &N,
    input: &Tensor<D>,
    setup: (&TimeGrid, &MgritOptions),
    ranks: usize,
) -> Found<D> {
    let all = launch(&Launch::ranks(ranks), |comm| on_rank(network, input, setup, &comm)).unwrap();
    let mut together = Found { states: BTreeMap::new(), opening: Vec::new(), gradients: BTreeMap::new() };
    for of_rank in all {
        together.states.extend(of_rank.states);
        together.gradients.extend(of_rank.gradients);
        together.opening.extend(of_rank.opening);
    }
    together
}

/// FCF-relaxation on three levels, each half as long as the one before.
fn options(max_iters: usize) -> MgritOptions {
    let coarsening = Coarsening::network(3, 2);
    MgritOptions { relaxation: vec![Relaxation::Fcf(1)], ..MgritOptions::network(coarsening, max_iters) }
}

/// The larger one, or what is no number.
fn worst(a: f64, b: f64) -> f64 {
    if a.is_nan() || a >= b { a } else { b }
}

/// The largest distances of a state, of a gradient of the opening layer and of one of the layers, relative to the second.
fn distances<const D: usize>(a: &Found<D>, b: &Found<D>) -> [f64; 3] {
    let apart = |x: &Tensor<1>, y: &Tensor<1>| norm(&(x.clone() - y.clone())) / norm(y).max(1e-3);
    assert!(a.states.keys().eq(b.states.keys()) && a.gradients.keys().eq(b.gradients.keys()));
    let states = a.states.values().zip(b.states.values()).map(|(a, b)| apart(&flat(a), &flat(b)));
    assert!(a.opening.len() == b.opening.len() && !a.opening.is_empty());
    let opening = a.opening.iter().zip(&b.opening).map(|(a, b)| apart(a, b));
    let gradients = a.gradients.values().zip(b.gradients.values()).flat_map(|(a, b)| {
        assert!(a.len() == b.len() && !a.is_empty());
        a.iter().zip(b).map(|(a, b)| {
            assert_eq!((a.id, a.is_statistic), (b.id, b.is_statistic));
            apart(&a.values, &b.values)
        })
    });
    [states.fold(0.0, worst), opening.fold(0.0, worst), gradients.fold(0.0, worst)]
}

/// Enough iterations for any coarse correction that leaves exact states alone.
const MANY: usize = 10;

fn ends_with_the_plain_loop<const D: usize, N: OnGrid<D>>(
    network: N,
    input: &Tensor<D>,
    grid: &TimeGrid,
    what: &str,
) -> Found<D> {
    // Norms of weights about 1 let enough of a state through.
    let network =
        mapped(in_double(network, 60), |name, values| match name.contains("norm") && name.ends_with("weight") {
            true => values * 0.5 + 1.0,
            false => values,
        });
    let plain = solved(&network, input, (grid, &MgritOptions::sequential()), 1);
    assert_eq!(plain.states.len(), grid.n_steps() + 1);
    assert_eq!(plain.gradients.len(), grid.n_steps());
    for ranks in [1, 3] {
        let many = distances(&solved(&network, input, (grid, &options(MANY)), ranks), &plain);
        assert!(many.iter().all(|distance| *distance < 1e-9), "{what}, {ranks} ranks: {many:?}");
    }
    plain
}

/// Coarser grids in all places, and none.
fn spaces() -> Vec<Option<SpaceCoarsening>> {
    let all = RESTRICTIONS.into_iter().flat_map(|how| [&[0][..], &[0, 1], &[1]].map(|levels| coarsened(how, levels)));
    std::iter::once(None).chain(all).collect()
}

#[test]
fn networks_of_blocks() {
    for space in spaces() {
        for (norm, pooling) in
            [(Some(NormKind::Batch), Pooling::Max), (Some(NormKind::Group(2)), Pooling::Average), (None, Pooling::None)]
        {
            for coarse in [CoarseOperator::Midpoint, CoarseOperator::FirstLayer] {
                let config = BlockNetConfig {
                    image: [1, 16, 17],
                    classes: 3,
                    norm,
                    pooling,
                    coarse,
                    space: space.clone(),
                    ..BlockNetConfig::new(vec![7, 6], 2)
                };
                let network = config.init(0..14, 4, 1, &Device::flex()).unwrap();
                let what = format!("{space:?}, {norm:?}, {pooling:?}, {coarse:?}");
                let plain =
                    ends_with_the_plain_loop(network, &random([2, 1, 16, 17], 4), &config.grid().unwrap(), &what);
                // Something comes back to the opening layer.
                assert!(plain.opening.iter().any(|gradient| crate::norm(gradient) > 1e-4), "{what}");
            }
        }
    }
}

#[test]
fn networks_on_voxels() {
    for space in spaces() {
        let config = OdeNet3dConfig {
            voxels: [1, 5, 4, 6],
            channels: 2,
            classes: 3,
            space: space.clone(),
            ..OdeNet3dConfig::new(12, 1)
        };
        let network = config.init(0..12, 4, 1, &Device::flex()).unwrap();
        let what = format!("{space:?}");
        ends_with_the_plain_loop(network, &random([2, 1, 5, 4, 6], 4), &config.grid().unwrap(), &what);
    }
}
