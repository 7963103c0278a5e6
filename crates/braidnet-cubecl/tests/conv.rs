//! Convolutions of stacked layers and their derivatives against plain loops, one layer after the other.

#![allow(clippy::single_range_in_vec_init, reason = "burn's slices of the first axis")]
#![allow(clippy::expect_used)]

mod common;

use braidnet_cubecl::{channel_sums, conv3x3, conv3x3_transposed, conv3x3_weight_gradient};
use burn::tensor::{Device, Tensor};
use common::{assert_close, devices, filled, numbers};
use proptest::prelude::*;

/// Sizes of stacked layers.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    layers: usize,
    batch: usize,
    c_in: usize,
    c_out: usize,
    h: usize,
    w: usize,
}

/// Numbers on the processor, `[layers * batch, c_in, h, w]` and so on.
struct Case {
    sizes: Sizes,
    u: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    delta: Vec<f32>,
    relu_output: Vec<f32>,
}

/// The same on a device.
struct Tensors {
    u: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    delta: Tensor<4>,
    relu_output: Tensor<4>,
}

impl Tensors {
    fn new(s: Sizes, device: &Device) -> Self {
        let images = s.layers * s.batch;
        Self {
            u: filled([images, s.c_in, s.h, s.w], 1, device),
            weight: filled([s.layers * s.c_out, s.c_in, 3, 3], 2, device),
            bias: filled([s.layers * s.c_out], 3, device),
            delta: filled([images, s.c_out, s.h, s.w], 4, device),
            relu_output: filled([images, s.c_out, s.h, s.w], 5, device).clamp_min(0.0),
        }
    }

    fn case(&self, sizes: Sizes) -> Case {
        Case {
            sizes,
            u: numbers(&self.u),
            weight: numbers(&self.weight),
            bias: numbers(&self.bias),
            delta: numbers(&self.delta),
            relu_output: numbers(&self.relu_output),
        }
    }
}

/// One product of the sum: positions in `u` and the output, the weight, and the layer's output channel.
struct Product {
    input: usize,
    output: usize,
    weight: usize,
}

impl Case {
    /// Calls `each` with all products of a convolution.
    fn products(&self, mut each: impl FnMut(Product)) {
        let Sizes { layers, batch, c_in, c_out, h, w } = self.sizes;
        for n in 0..layers * batch {
            for (o, i) in (0..c_out).flat_map(|o| (0..c_in).map(move |i| (o, i))) {
                for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                    for (dy, dx) in (0..3).flat_map(|dy| (0..3).map(move |dx| (dy, dx))) {
                        let (row, column) = (y + dy, x + dx);
                        if (1..=h).contains(&row) && (1..=w).contains(&column) {
                            each(Product {
                                input: ((n * c_in + i) * h + row - 1) * w + column - 1,
                                output: ((n * c_out + o) * h + y) * w + x,
                                weight: ((n / batch * c_out + o) * c_in + i) * 9 + dy * 3 + dx,
                            });
                        }
                    }
                }
            }
        }
    }

    /// The layer's output channel of an element of the output.
    fn channel(&self, output: usize) -> usize {
        let Sizes { batch, c_out, h, w, .. } = self.sizes;
        output / (h * w * c_out * batch) * c_out + output / (h * w) % c_out
    }

    fn conv(&self, bias: bool, relu: bool) -> Vec<f32> {
        let mut sums: Vec<f64> =
            (0..self.delta.len()).map(|at| if bias { f64::from(self.bias[self.channel(at)]) } else { 0.0 }).collect();
        self.products(|p| sums[p.output] += f64::from(self.u[p.input]) * f64::from(self.weight[p.weight]));
        sums.iter().map(|&x| if relu && x < 0.0 { 0.0 } else { x as f32 }).collect()
    }

    /// The derivative by the output, before the ReLU if `masked`.
    fn pulled_back(&self, masked: bool) -> Vec<f64> {
        let kept = |(d, y): (&f32, &f32)| if masked && *y <= 0.0 { 0.0 } else { f64::from(*d) };
        self.delta.iter().zip(&self.relu_output).map(kept).collect()
    }

    fn transposed(&self, masked: bool) -> Vec<f32> {
        let delta = self.pulled_back(masked);
        let mut sums = vec![0.0f64; self.u.len()];
        self.products(|p| sums[p.input] += delta[p.output] * f64::from(self.weight[p.weight]));
        sums.iter().map(|&x| x as f32).collect()
    }

    fn weight_gradient(&self, masked: bool) -> Vec<f32> {
        let delta = self.pulled_back(masked);
        let mut sums = vec![0.0f64; self.weight.len()];
        self.products(|p| sums[p.weight] += delta[p.output] * f64::from(self.u[p.input]));
        sums.iter().map(|&x| x as f32).collect()
    }

    fn channel_sums(&self, masked: bool) -> Vec<f32> {
        let mut sums = vec![0.0f64; self.bias.len()];
        for (at, d) in self.pulled_back(masked).iter().enumerate() {
            sums[self.channel(at)] += d;
        }
        sums.iter().map(|&x| x as f32).collect()
    }
}

/// All functions against plain loops.
fn check(sizes: Sizes) {
    for device in devices() {
        let t = Tensors::new(sizes, device);
        let case = t.case(sizes);
        let layers = sizes.layers;
        for relu in [false, true] {
            let found = conv3x3(&t.u, &t.weight, Some(&t.bias), layers, relu).expect("on a device");
            assert_eq!(found.dims(), t.delta.dims());
            assert_close(&numbers(&found), &case.conv(true, relu));
        }
        let found = conv3x3(&t.u, &t.weight, None, layers, false).expect("on a device");
        assert_close(&numbers(&found), &case.conv(false, false));
        for mask in [None, Some(&t.relu_output)] {
            let masked = mask.is_some();
            let found = conv3x3_transposed(&t.delta, &t.weight, mask, layers).expect("on a device");
            assert_eq!(found.dims(), t.u.dims());
            assert_close(&numbers(&found), &case.transposed(masked));
            let found = conv3x3_weight_gradient(&t.u, &t.delta, mask, layers).expect("on a device");
            assert_eq!(found.dims(), t.weight.dims());
            assert_close(&numbers(&found), &case.weight_gradient(masked));
            let found = channel_sums(&t.delta, mask, layers).expect("on a device");
            assert_eq!(found.dims(), t.bias.dims());
            assert_close(&numbers(&found), &case.channel_sums(masked));
        }
    }
}

proptest! {
    // Every case compiles its kernels.
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]
    #[test]
    fn agrees_with_plain_loops(
        layers in 1usize..5, batch in 1usize..6, c_in in 1usize..20, c_out in 1usize..20, h in 1usize..14, w in 1usize..14,
    ) {
        check(Sizes { layers, batch, c_in, c_out, h, w });
    }
}

#[test]
fn sizes_of_real_networks() {
    check(Sizes { layers: 2, batch: 3, c_in: 3, c_out: 16, h: 32, w: 32 });
    check(Sizes { layers: 3, batch: 2, c_in: 16, c_out: 16, h: 28, w: 28 });
    check(Sizes { layers: 2, batch: 1, c_in: 64, c_out: 64, h: 7, w: 7 });
}

#[test]
fn sizes_beyond_a_tile() {
    check(Sizes { layers: 1, batch: 2, c_in: 2, c_out: 3, h: 3, w: 70 });
    check(Sizes { layers: 1, batch: 1, c_in: 1, c_out: 1, h: 1100, w: 1 });
    check(Sizes { layers: 2, batch: 130, c_in: 1, c_out: 5, h: 2, w: 2 });
}

#[test]
fn works_on_views_with_gaps() {
    for device in devices() {
        let sizes = Sizes { layers: 2, batch: 2, c_in: 3, c_out: 5, h: 6, w: 64 };
        let t = Tensors::new(sizes, device);
        let case = t.case(sizes);
        // The same numbers in another order in memory.
        let turned = |x: &Tensor<4>| {
            let copy = x.clone().permute([0, 2, 3, 1]) * 1.0;
            copy.permute([0, 3, 1, 2])
        };
        let (u, weight, delta, mask) = (turned(&t.u), turned(&t.weight), turned(&t.delta), turned(&t.relu_output));
        let found = conv3x3(&u, &weight, Some(&t.bias), 2, true).expect("on a device");
        assert_close(&numbers(&found), &case.conv(true, true));
        let found = conv3x3_transposed(&delta, &weight, Some(&mask), 2).expect("on a device");
        assert_close(&numbers(&found), &case.transposed(true));
        let found = conv3x3_weight_gradient(&u, &delta, Some(&mask), 2).expect("on a device");
        assert_close(&numbers(&found), &case.weight_gradient(true));
        let found = channel_sums(&delta, Some(&mask), 2).expect("on a device");
        assert_close(&numbers(&found), &case.channel_sums(true));
    }
}

#[test]
fn every_run_gives_the_same_bits() {
    for device in devices() {
        let t = Tensors::new(Sizes { layers: 2, batch: 9, c_in: 4, c_out: 4, h: 14, w: 14 }, device);
        let run = || {
            let gradient = conv3x3_weight_gradient(&t.u, &t.delta, None, 2).expect("on a device");
            let sums = channel_sums(&t.delta, None, 2).expect("on a device");
            let bits = |x: Vec<f32>| x.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            (bits(numbers(&gradient)), bits(numbers(&sums)))
        };
        assert_eq!(run(), run());
    }
}

#[test]
fn a_layer_does_not_see_its_neighbours() {
    for device in devices() {
        let t = Tensors::new(Sizes { layers: 3, batch: 4, c_in: 3, c_out: 5, h: 9, w: 7 }, device);
        let all = numbers(&conv3x3(&t.u, &t.weight, Some(&t.bias), 3, true).expect("on a device"));
        let (u, weight) = (t.u.clone().slice([4..8]), t.weight.clone().slice([5..10]));
        let one = conv3x3(&u, &weight, Some(&t.bias.clone().slice([5..10])), 1, true).expect("on a device");
        let third = all.len() / 3;
        assert_eq!(numbers(&one), all[third..2 * third]);
    }
}

#[test]
fn nan_goes_through() {
    for device in devices() {
        let t = Tensors::new(Sizes { layers: 1, batch: 2, c_in: 2, c_out: 3, h: 5, w: 5 }, device);
        let nan = Tensor::full([1, 1, 1, 1], f32::NAN, device);
        let u = t.u.clone().slice_assign([0..1, 1..2, 2..3, 2..3], nan.clone());
        let found = numbers(&conv3x3(&u, &t.weight, Some(&t.bias), 1, true).expect("on a device"));
        let nans = found.iter().filter(|x| x.is_nan()).count();
        assert_eq!(nans, 3 * 9, "the window around one position, in all channels of its image");
        let output = t.relu_output.clone().slice_assign([0..1, 0..1, 2..3, 2..3], nan);
        let found = numbers(&conv3x3_transposed(&t.delta, &t.weight, Some(&output), 1).expect("on a device"));
        assert_eq!(found.iter().filter(|x| x.is_nan()).count(), 2 * 9);
        let found = numbers(&conv3x3_weight_gradient(&t.u, &t.delta, Some(&output), 1).expect("on a device"));
        assert_eq!(found.iter().filter(|x| x.is_nan()).count(), 2 * 9, "the weights of one output channel");
        let found = numbers(&channel_sums(&t.delta, Some(&output), 1).expect("on a device"));
        assert_eq!(found.iter().map(|x| x.is_nan()).collect::<Vec<_>>(), [true, false, false]);
    }
}

#[test]
fn tensors_elsewhere_are_left_to_burn() {
    let t = Tensors::new(Sizes { layers: 1, batch: 1, c_in: 2, c_out: 2, h: 3, w: 3 }, &Device::flex());
    assert!(conv3x3(&t.u, &t.weight, Some(&t.bias), 1, true).is_none());
    assert!(conv3x3_transposed(&t.delta, &t.weight, None, 1).is_none());
    assert!(conv3x3_weight_gradient(&t.u, &t.delta, None, 1).is_none());
    assert!(channel_sums(&t.delta, None, 1).is_none());
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let refused = |f: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err();
    for device in devices() {
        let t = Tensors::new(Sizes { layers: 2, batch: 1, c_in: 2, c_out: 4, h: 3, w: 3 }, device);
        assert!(refused(&|| drop(conv3x3(&t.u, &t.weight, None, 3, false))), "layers");
        assert!(refused(&|| drop(conv3x3(&t.u, &t.weight, None, 0, false))), "no layers");
        assert!(refused(&|| drop(conv3x3(&t.delta, &t.weight, None, 2, false))), "input channels");
        assert!(refused(&|| drop(conv3x3(&t.u, &t.weight, Some(&t.bias.clone().slice([0..4])), 2, false))), "bias");
        assert!(refused(&|| drop(conv3x3_transposed(&t.u, &t.weight, None, 2))), "output channels");
        assert!(refused(&|| drop(conv3x3_transposed(&t.delta, &t.weight, Some(&t.u), 2))), "relu_output");
        assert!(refused(&|| drop(conv3x3_weight_gradient(&t.u, &t.delta.clone().slice([0..1]), None, 2))), "images");
        assert!(refused(&|| drop(channel_sums(&t.delta, Some(&t.u), 2))), "relu_output of the sums");
    }
}
