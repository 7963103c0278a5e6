//! Convolutional networks, with norms and transitions.

use braidnet_nn::{
    BlockNetConfig, CoarseOperator, NormKind, OdeNet2dConfig, OdeNet3dConfig, Pass, Pooling, Restriction,
    SpaceCoarsening,
};
use proptest::prelude::*;

use crate::solve::{Setup, agree, agree_to_the_bit, setups};
use crate::*;

const ALL: &[CoarseOperator] = &[
    CoarseOperator::FirstLayer,
    CoarseOperator::Midpoint,
    CoarseOperator::Centred,
    CoarseOperator::Mean,
    CoarseOperator::Sum,
];

fn images(setup: &Setup, convs: usize, space: Option<SpaceCoarsening>) -> OdeNet2dConfig {
    let Setup { layers, buffer, coarse, .. } = *setup;
    OdeNet2dConfig {
        image: [1, 5, 4],
        classes: 3,
        hidden: 4,
        convs,
        coarse,
        buffer,
        space,
        ..OdeNet2dConfig::new(layers, 2)
    }
}

/// Two blocks, of two channels and of four.
fn blocks(setup: &Setup, norm: Option<NormKind>, pooling: Pooling) -> BlockNetConfig {
    let Setup { layers, buffer, coarse, .. } = *setup;
    let first = layers / 2;
    let per_block = vec![first, layers - first - 1];
    BlockNetConfig { image: [1, 6, 6], classes: 3, norm, pooling, coarse, buffer, ..BlockNetConfig::new(per_block, 2) }
}

fn norms() -> impl Strategy<Value = Option<NormKind>> {
    prop::sample::select(vec![None, Some(NormKind::Batch), Some(NormKind::Group(1)), Some(NormKind::Layer)])
}

fn passes() -> impl Strategy<Value = Pass> {
    prop_oneof![3 => Just(Pass::Training(None)), 1 => Just(Pass::Evaluation)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn networks_on_images(setup in setups(ALL), convs in 1usize..3, pass in passes()) {
        let config = images(&setup, convs, None);
        let network = config.init(0..config.grid().unwrap().n_steps(), 4, 1, &Device::flex()).unwrap();
        let input = |dtype| random([2, 1, 5, 4], 4, dtype);
        agree(network, input, &config.grid().unwrap(), &setup, pass);
    }

    #[test]
    fn networks_of_blocks(setup in setups(ALL), norm in norms(), is_pooled: bool, pass in passes()) {
        let pooling = if is_pooled { Pooling::Average } else { Pooling::None };
        let config = blocks(&setup, norm, pooling);
        let network = config.init(0..config.grid().unwrap().n_steps(), 4, 1, &Device::flex()).unwrap();
        let input = |dtype| random([2, 1, 6, 6], 4, dtype);
        agree(network, input, &config.grid().unwrap(), &setup, pass);
    }

    /// Coarse steps on coarser grids have linearisations of their own.
    #[test]
    fn networks_on_coarser_grids(setup in setups(&ALL[..3])) {
        let space = SpaceCoarsening { levels: vec![0], restriction: Restriction::default() };
        let config = images(&setup, 2, Some(space));
        let network = config.init(0..config.grid().unwrap().n_steps(), 4, 1, &Device::flex()).unwrap();
        let input = |dtype| random([2, 1, 5, 4], 4, dtype);
        agree(network, input, &config.grid().unwrap(), &setup, Pass::Training(None));
    }

    /// Voxels are not stacked: not a bit changes.
    #[test]
    fn networks_on_voxels(setup in setups(&ALL[..2])) {
        let Setup { layers, buffer, coarse, .. } = setup;
        let config = OdeNet3dConfig {
            voxels: [1, 3, 4, 3], classes: 3, coarse, buffer, ..OdeNet3dConfig::new(layers, 2)
        };
        let network = config.init(0..config.grid().unwrap().n_steps(), 4, 1, &Device::flex()).unwrap();
        let input = random([2, 1, 3, 4, 3], 4, setup.dtype);
        agree_to_the_bit(network, &input, &config.grid().unwrap(), &setup);
    }
}
