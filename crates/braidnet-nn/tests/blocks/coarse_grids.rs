//! States on the grids of coarse levels: against plain loops, and which levels there are.

use braidnet_grid::{Coarsening, Hierarchy, Step, StepKind};
use braidnet_mgrit::{Differentiable, Propagator, StepError};
use braidnet_nn::{
    BlockNet, BlockNetConfig, CoarseOperator, Network, NetworkError, OdeNet3d, OdeNet3dConfig, Restriction,
    SpaceCoarsening, TensorState,
};

use crate::*;

pub const RESTRICTIONS: [Restriction; 2] = [Restriction::FullWeighting, Restriction::Injection];

pub fn coarsened(restriction: Restriction, levels: &[usize]) -> Option<SpaceCoarsening> {
    Some(SpaceCoarsening { restriction, levels: levels.to_vec() })
}

/// Two blocks of one and of two channels.
fn images(extents: [usize; 2], space: Option<SpaceCoarsening>) -> BlockNet {
    let image = [1, extents[0], extents[1]];
    let config = BlockNetConfig { image, classes: 2, space, ..BlockNetConfig::new(vec![2, 2], 1) };
    config.init(0..5, 1, 0, &Device::flex()).unwrap()
}

fn voxels([depth, height, width]: [usize; 3], space: Option<SpaceCoarsening>) -> OdeNet3d {
    let config = OdeNet3dConfig { voxels: [1, depth, height, width], space, ..OdeNet3dConfig::new(4, 1) };
    config.init(0..4, 1, 0, &Device::flex()).unwrap()
}

/// What point `i` of a coarse grid gets of point `k` of the finer one.
fn restricting(how: Restriction, i: usize, k: usize) -> f64 {
    match (how, k.abs_diff(2 * i + 1)) {
        (Restriction::FullWeighting, 0) => 0.5,
        (Restriction::FullWeighting, 1) => 0.25,
        (Restriction::Injection, 0) => 1.0,
        _ => 0.0,
    }
}

/// What point `k` of a grid gets of point `i` of the coarser one.
fn interpolating(k: usize, i: usize) -> f64 {
    match k.abs_diff(2 * i + 1) {
        0 => 1.0,
        1 => 0.5,
        _ => 0.0,
    }
}

/// Indices of a place along the axes, last fastest.
fn places(extents: &[usize]) -> Vec<Vec<usize>> {
    extents.iter().fold(vec![vec![]], |all, n| {
        all.iter().flat_map(|place: &Vec<usize>| (0..*n).map(|i| [&place[..], &[i]].concat())).collect()
    })
}

/// `u` on a grid of `extents`, by weights along every axis.
fn by_loops<const D: usize>(u: &Tensor<D>, extents: &[usize], weight: impl Fn(usize, usize) -> f64) -> Tensor<D> {
    let mut dims = u.dims();
    let (from, to) = (places(&dims[2..]), places(extents));
    let numbers: Vec<f64> = u.to_data().iter::<f64>().collect();
    let mut values = Vec::new();
    for of_channel in numbers.chunks(from.len()) {
        for i in &to {
            let weight_of = |k: &Vec<usize>| i.iter().zip(k).map(|(i, k)| weight(*i, *k)).product::<f64>();
            values.push(from.iter().zip(of_channel).map(|(k, x)| weight_of(k) * x).sum::<f64>());
        }
    }
    dims[2..].copy_from_slice(extents);
    Tensor::from_data(TensorData::new(values, dims), (&Device::flex(), DType::F64))
}

/// The four transfers between `level` and the next one.
fn transfers_are_the_stencils<const D: usize>(
    block: &impl Differentiable<State = TensorState<D>>,
    (level, how): (usize, Restriction),
    fine: [usize; D],
) {
    let what = format!("level {level}, {how:?}, {fine:?}");
    let extents: Vec<usize> = fine[2..].iter().map(|n| n / 2).collect();
    let mut coarse = fine;
    coarse[2..].copy_from_slice(&extents);
    let (u, c) = (random(fine, 1), random(coarse, 2));
    let state = |x: &Tensor<D>| TensorState(x.clone());
    close(&block.restrict(level, &state(&u)).0, &by_loops(&u, &extents, |i, k| restricting(how, i, k)), 1e-15, &what);
    close(&block.prolong(level, state(&c), &state(&u)).0, &by_loops(&c, &fine[2..], interpolating), 1e-15, &what);
    let back = block.restrict_adjoint(level, &state(&u)).0;
    close(&back, &by_loops(&u, &extents, |i, k| interpolating(k, i)), 1e-15, &what);
    let back = block.prolong_adjoint(level, state(&c), &state(&u)).0;
    close(&back, &by_loops(&c, &fine[2..], |k, i| restricting(how, i, k)), 1e-15, &what);
}

#[test]
fn images_become_smaller_as_the_loops_say() {
    for how in RESTRICTIONS {
        let network = images([8, 9], coarsened(how, &[0, 2]));
        let block = network.block(&TRAINING);
        for dims in [[2, 1, 8, 9], [2, 1, 4, 4], [2, 3, 5, 2], [1, 2, 7, 6]] {
            for level in [0, 2] {
                transfers_are_the_stencils(&block, (level, how), dims);
            }
        }
    }
}

#[test]
fn voxels_become_smaller_as_the_loops_say() {
    for how in RESTRICTIONS {
        let network = voxels([5, 4, 6], coarsened(how, &[1]));
        let block = network.block(&TRAINING);
        for dims in [[2, 1, 5, 4, 6], [1, 2, 3, 3, 3], [2, 2, 2, 7, 3]] {
            transfers_are_the_stencils(&block, (1, how), dims);
        }
    }
}

#[test]
fn other_levels_keep_their_states() {
    let (u, c) = (TensorState(random([2, 1, 8, 9], 1)), TensorState(random([2, 1, 8, 9], 2)));
    for (levels, kept) in [(&[1][..], &[0, 2, 3][..]), (&[], &[0, 1]), (&[0, 2], &[1, 3])] {
        let network = images([8, 9], coarsened(Restriction::FullWeighting, levels));
        let block = network.block(&TRAINING);
        for level in kept.iter().copied() {
            assert_eq!(block.restrict(level, &u).0.to_data(), u.0.to_data());
            assert_eq!(block.restrict_adjoint(level, &u).0.to_data(), u.0.to_data());
            assert_eq!(block.prolong(level, c.clone(), &u).0.to_data(), c.0.to_data());
            assert_eq!(block.prolong_adjoint(level, c.clone(), &u).0.to_data(), c.0.to_data());
        }
    }
}

/// Levels of four ODE layers, a transition and four more.
fn hierarchy(config: &BlockNetConfig) -> Hierarchy {
    Hierarchy::new(&config.grid().unwrap(), &Coarsening { min_coarse: 1, ..Coarsening::network(3, 2) }).unwrap()
}

fn nine_layers(levels: &[usize]) -> BlockNetConfig {
    let space = coarsened(Restriction::FullWeighting, levels);
    BlockNetConfig { image: [1, 8, 8], classes: 2, space, ..BlockNetConfig::new(vec![4, 4], 1) }
}

#[test]
fn coarser_grids_have_linearisations_of_their_own() {
    for (levels, first_coarsened) in [(&[0][..], 1), (&[1], 2), (&[0, 1], 1), (&[], 3)] {
        let config = nine_layers(levels);
        let hierarchy = hierarchy(&config);
        assert_eq!(hierarchy.n_levels(), 3);
        for coarse in [CoarseOperator::Midpoint, CoarseOperator::FirstLayer, CoarseOperator::Centred] {
            let config = BlockNetConfig { coarse, ..config.clone() };
            let network = config.init(0..9, 1, 0, &Device::flex()).unwrap();
            let block = network.block(&TRAINING);
            for level in hierarchy.levels() {
                for step in (0..level.n_steps()).map(|n| level.step(n)) {
                    let is_shared = block.shared_linearization(&step).is_some();
                    assert_eq!(is_shared, level.index() < first_coarsened, "{levels:?}, {coarse:?}, {step:?}");
                }
            }
        }
    }
}

/// The transition of a coarse grid leads from the states of that grid to states of the next block's.
#[test]
fn coarse_transitions_lead_to_the_coarse_grid_of_the_next_block() {
    let config = nine_layers(&[0, 1]);
    let network = config.init(0..9, 1, 0, &Device::flex()).unwrap();
    let block = network.block(&TRAINING);
    for (level, [before, behind]) in hierarchy(&config).levels().iter().zip([[8, 4], [4, 2], [2, 1]]) {
        let mut steps = (0..level.n_steps()).map(|n| level.step(n));
        let step = steps.find(|step| step.kind == StepKind::Transition).unwrap();
        let mut state = [TensorState(random([2, 1, before, before], 1).cast(DType::F32))];
        block.step(&[step], &mut state).unwrap();
        assert_eq!(state[0].0.dims(), [2, 2, behind, behind]);
    }
}

/// Levels and layers of the steps that `supports` refuses, and why.
fn refused(
    hierarchy: &Hierarchy,
    supports: impl Fn(&Step) -> Result<(), StepError>,
) -> Vec<(usize, usize, NetworkError)> {
    let steps = hierarchy.levels().iter().flat_map(|level| (0..level.n_steps()).map(|n| level.step(n)));
    let refused = steps.filter_map(|step| {
        let error = supports(&step).err()?.downcast::<NetworkError>().unwrap();
        Some((step.level, step.layer, *error))
    });
    refused.collect()
}

#[test]
fn levels_without_points_are_refused() {
    let coarsening = Coarsening { min_coarse: 1, ..Coarsening::network(3, 2) };
    for (extents, levels, first_refused) in [
        ([5, 4, 4], &[0, 1][..], 3),
        ([5, 4, 3], &[0, 1], 2),
        ([9, 9, 1], &[0], 1),
        ([9, 1, 9], &[1], 2),
        ([1, 1, 1], &[], 3),
    ] {
        let network = voxels(extents, coarsened(Restriction::Injection, levels));
        let grid = OdeNet3dConfig::new(4, 1).grid().unwrap();
        let hierarchy = Hierarchy::new(&grid, &coarsening).unwrap();
        let of_network = refused(&hierarchy, |step| network.supports(step));
        assert_eq!(of_network, refused(&hierarchy, |step| network.block(&TRAINING).supports(step)));
        let all = hierarchy.levels().iter().flat_map(|level| (0..level.n_steps()).map(|n| level.step(n)));
        let expected = all.filter(|step| step.level >= first_refused).map(|step| {
            (step.level, step.layer, NetworkError::TooSmallToCoarsen { extents: extents.to_vec(), level: step.level })
        });
        assert!(of_network.iter().cloned().eq(expected), "{extents:?}, {levels:?}: {of_network:?}");
    }
}

/// A layer is asked for the state of its own point, also where layers before it lie outside the solver.
#[test]
fn layers_behind_a_buffer_have_their_own_extents() {
    let of = |image: [usize; 3], buffer| {
        let config = BlockNetConfig { image, buffer, ..nine_layers(&[0]) };
        let network = config.init(0..9 - 2 * buffer, 1, 0, &Device::flex()).unwrap();
        let hierarchy = Hierarchy::new(&config.grid().unwrap(), &Coarsening::network(2, 2)).unwrap();
        let of_network = refused(&hierarchy, |step| network.supports(step));
        assert_eq!(of_network, refused(&hierarchy, |step| network.block(&TRAINING).supports(step)));
        let extents = |(_, _, error): &_| match error {
            NetworkError::TooSmallToCoarsen { extents, level: 1 } => extents.clone(),
            other => panic!("{other}"),
        };
        let mut all: Vec<_> = of_network.iter().map(extents).collect();
        all.dedup();
        all
    };
    assert_eq!(of([1, 8, 1], 0), [[8, 1], [4, 1]]);
    // Two layers of either block are left, and the transition.
    assert_eq!(of([1, 8, 1], 2), [[8, 1], [4, 1]]);
    assert!(of([1, 8, 3], 0).is_empty());
}
