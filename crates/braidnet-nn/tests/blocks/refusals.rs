//! Networks of blocks that cannot be.

use braidnet_nn::{BlockNetConfig, DepthInit, Network, NetworkError, NormKind, Restriction};

use crate::coarse_grids::coarsened;
use crate::*;

fn good() -> BlockNetConfig {
    BlockNetConfig { image: [3, 8, 8], classes: 5, ..BlockNetConfig::new(vec![2, 1, 3], 4) }
}

fn refused(config: &BlockNetConfig) -> NetworkError {
    let error = config.validate().unwrap_err();
    assert_eq!(config.init(0..1, 1, 0, &Device::flex()).err(), Some(error.clone()));
    error
}

#[test]
fn sizes_of_zero() {
    let zeros = [
        (BlockNetConfig { per_block: vec![], ..good() }, "number of blocks"),
        (BlockNetConfig { per_block: vec![2, 0], ..good() }, "layers of a block"),
        (BlockNetConfig { channels: 0, ..good() }, "number of channels"),
        (BlockNetConfig { image: [0, 8, 8], ..good() }, "input channels"),
        (BlockNetConfig { image: [3, 0, 8], ..good() }, "height"),
        (BlockNetConfig { image: [3, 8, 0], ..good() }, "width"),
        (BlockNetConfig { classes: 0, ..good() }, "classes"),
        (BlockNetConfig { convs: 0, ..good() }, "convolutions"),
        (BlockNetConfig { depth_init: DepthInit::Piecewise { period: Some(0), noise: 0.0 }, ..good() }, "period"),
    ];
    for (config, what) in zeros {
        let error = refused(&config);
        assert!(matches!(&error, NetworkError::Zero { what: named } if named.contains(what)), "{error}");
    }
    assert_eq!(good().validate(), Ok(()));
}

#[test]
fn numbers_that_are_none() {
    let bad = [
        (BlockNetConfig { convs: 3, ..good() }, "convolutions"),
        (BlockNetConfig { final_time: 0.0, ..good() }, "final time"),
        (BlockNetConfig { final_time: f64::INFINITY, ..good() }, "final time"),
        (BlockNetConfig { depth_init: DepthInit::Piecewise { period: None, noise: -0.1 }, ..good() }, "noise"),
    ];
    for (config, what) in bad {
        let error = refused(&config);
        assert!(matches!(&error, NetworkError::BadNumber { what: named, .. } if named.contains(what)), "{error}");
    }
}

#[test]
fn buffers_that_leave_nothing() {
    // Eight layers with the transitions.
    assert_eq!(BlockNetConfig { buffer: 3, ..good() }.validate(), Ok(()));
    for buffer in [4, 9, usize::MAX] {
        let error = refused(&BlockNetConfig { buffer, ..good() });
        assert_eq!(error, NetworkError::TooManyBufferLayers { buffer, layers: 8 });
    }
}

#[test]
fn groups_that_do_not_divide() {
    for size in [0, 3, 8] {
        let error = refused(&BlockNetConfig { norm: Some(NormKind::Group(size)), ..good() });
        assert_eq!(error, NetworkError::GroupsDoNotDivide { size, channels: 4 });
    }
    for size in [1, 2, 4] {
        assert_eq!(BlockNetConfig { norm: Some(NormKind::Group(size)), ..good() }.validate(), Ok(()));
    }
}

#[test]
fn more_blocks_than_halvings() {
    let blocks = |n: usize, image| BlockNetConfig { per_block: vec![1; n], image, ..good() };
    for (image, most) in [([3, 1, 1], 1), ([3, 2, 1], 2), ([3, 8, 8], 4), ([3, 5, 9], 5), ([3, 64, 64], 7)] {
        assert_eq!(blocks(most, image).validate(), Ok(()), "{image:?}");
        let error = refused(&blocks(most + 1, image));
        assert_eq!(error, NetworkError::TooManyBlocks { extents: image[1..].to_vec(), most });
    }
}

/// Two points become one by the transition, and that none on the coarse grid; one, and still one, the other way round.
#[test]
fn transitions_that_a_coarse_grid_does_not_have() {
    let config = |side, levels: &[usize]| BlockNetConfig {
        image: [3, side, 8],
        space: coarsened(Restriction::FullWeighting, levels),
        ..good()
    };
    for (side, levels, extents, n) in [
        (6, &[0][..], vec![6, 8], 6),
        (10, &[0], vec![10, 8], 10),
        // The second transition, or that of the second coarse grid.
        (11, &[0], vec![6, 4], 6),
        (12, &[0, 1], vec![6, 4], 6),
    ] {
        let error = refused(&config(side, levels));
        assert_eq!(error, NetworkError::UnevenTransition { extents, n }, "{side}");
        assert!(error.to_string().contains("pad the input"), "{error}");
    }
    for side in [7, 8, 9, 15, 16] {
        assert_eq!(config(side, &[0]).validate(), Ok(()), "{side}");
    }
    // Without transitions any extent will do, and without coarse grids any transition.
    assert_eq!(BlockNetConfig { per_block: vec![3], ..config(6, &[0]) }.validate(), Ok(()));
    assert_eq!(BlockNetConfig { space: None, ..config(6, &[0]) }.validate(), Ok(()));
}

#[test]
fn images_of_other_shapes() {
    let network = good().init(0..8, 1, 0, &Device::flex()).unwrap();
    let input = |dims: [usize; 4]| Tensor::zeros(dims, &Device::flex());
    assert_eq!(network.check(&input([2, 3, 8, 8])), Ok(()));
    let error = network.check(&input([2, 3, 8, 7])).unwrap_err();
    assert_eq!(error, NetworkError::WrongInput { expected: vec![3, 8, 8], got: vec![3, 8, 7] });
    assert!(matches!(network.check(&input([0, 3, 8, 8])), Err(NetworkError::EmptyInput { .. })));
}
