//! Networks on voxels: what is refused, and what a layer does, by hand.
#![allow(missing_docs, clippy::unwrap_used)]

use braidnet_nn::{
    At, Conv3dRhs, Network, NetworkError, OdeNet3dConfig, RightHandSide, Samples, TensorState, load_parameters,
};
use burn::tensor::{Device, Tensor, TensorData};

fn good() -> OdeNet3dConfig {
    OdeNet3dConfig::new(4, 5)
}

#[test]
fn sizes_of_zero_and_channels_that_do_not_repeat_are_refused() {
    let zeros = [
        (OdeNet3dConfig { layers: 0, ..good() }, "layers"),
        (OdeNet3dConfig { channels: 0, ..good() }, "channels"),
        (OdeNet3dConfig { voxels: [0, 5, 5, 5], ..good() }, "input channels"),
        (OdeNet3dConfig { voxels: [1, 0, 5, 5], ..good() }, "depth"),
        (OdeNet3dConfig { voxels: [1, 5, 0, 5], ..good() }, "height"),
        (OdeNet3dConfig { voxels: [1, 5, 5, 0], ..good() }, "width"),
        (OdeNet3dConfig { classes: 0, ..good() }, "classes"),
        (OdeNet3dConfig { hidden: 0, ..good() }, "closing layer"),
    ];
    for (config, what) in zeros {
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains(what) && message.contains("is 0"), "{message}");
    }
    let uneven = OdeNet3dConfig { voxels: [3, 5, 5, 5], ..good() };
    assert_eq!(uneven.validate(), Err(NetworkError::CannotRepeat { inputs: 3, channels: 4 }));
    assert_eq!(good().validate(), Ok(()));
}

#[test]
fn voxels_of_other_extents_are_refused() {
    let network = good().init(0..4, 1, 0, &Device::flex()).unwrap();
    let input = |dims: [usize; 5]| Tensor::zeros(dims, &Device::flex());
    assert_eq!(network.check(&input([2, 1, 5, 5, 5])), Ok(()));
    let message = network.check(&input([2, 1, 5, 4, 5])).unwrap_err().to_string();
    assert!(message.contains("[1, 5, 4, 5]") && message.contains("[1, 5, 5, 5]"), "{message}");
    assert!(matches!(network.check(&input([0, 1, 5, 5, 5])), Err(NetworkError::EmptyInput { .. })));
}

/// All weights 1, bias -3: the sum of the neighbourhood less 3, if that is positive.
#[test]
fn a_layer_sums_its_neighbourhood() {
    let device = Device::flex();
    let ones = |name: &str| match name.ends_with("bias") {
        true => Some((vec![1], vec![-3.0])),
        false => Some((vec![1, 1, 3, 3, 3], vec![1.0; 27])),
    };
    let rhs = load_parameters(Conv3dRhs::new(1, &device), "", ones).unwrap();
    // One voxel of 5 in the corner of a grid of 1.
    let mut values = vec![1.0_f32; 27];
    values[0] = 5.0;
    let u = Tensor::<5>::from_data(TensorData::new(values, [1, 1, 3, 3, 3]), &device);
    let f =
        rhs.evaluate(TensorState(u), At { layers: 0.into(), dt: 1.0, batch: &Samples { n: 1, is_training: false } }).0;
    let f = f.to_data().iter::<f32>().collect::<Vec<_>>();
    // A corner has 8 neighbours with itself, an edge 12, a face 18, the middle all 27.
    assert_eq!((f[0], f[1], f[4], f[13]), (8.0 + 4.0 - 3.0, 12.0 + 4.0 - 3.0, 18.0 + 4.0 - 3.0, 27.0 + 4.0 - 3.0));
    assert_eq!((f[26], f[2]), (8.0 - 3.0, 8.0 - 3.0));
}
