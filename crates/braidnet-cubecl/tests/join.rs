//! Stacks, without copies where that can be: what is joined and split, and that nobody's numbers change under anybody's hands.

#![allow(clippy::single_range_in_vec_init, reason = "burn's slices of the first axis")]
#![allow(clippy::expect_used)]

mod common;

use braidnet_cubecl::{axpy, join, order, split};
use burn::tensor::{Device, Tensor};
use common::{assert_close, devices, filled, numbers};

/// Rows of 256 bytes: whatever the devices here want of addresses.
const ROW: usize = 64;

/// A stack of `rows` rows, and the same numbers on the processor.
fn stack(rows: usize, device: &Device) -> (Tensor<2>, Vec<f32>) {
    let stack = filled([rows, ROW], 1, device);
    let copy = numbers(&stack);
    (stack, copy)
}

#[test]
fn parts_of_a_stack_join_in_order() {
    for device in devices() {
        let (stack, expected) = stack(6, device);
        let parts = split(&stack, 3).expect("aligned");
        assert_eq!(parts.iter().map(Tensor::dims).collect::<Vec<_>>(), [[2, ROW]; 3]);
        for (i, part) in parts.iter().enumerate() {
            assert_eq!(numbers(part), expected[i * 2 * ROW..(i + 1) * 2 * ROW]);
        }
        let joined = join(&parts).expect("one behind the other");
        assert_eq!(joined.dims(), [6, ROW]);
        assert_eq!(numbers(&joined), expected);
        let tail = join(&parts[1..]).expect("one behind the other");
        assert_eq!(numbers(&tail), expected[2 * ROW..]);
        assert_eq!(numbers(&join(&parts[1..2]).expect("one")), expected[2 * ROW..4 * ROW]);
    }
}

#[test]
fn slices_of_single_rows_join() {
    for device in devices() {
        let (stack, expected) = stack(5, device);
        let parts: Vec<_> = (1..4).map(|i| stack.clone().slice([i..i + 1])).collect();
        assert_eq!(numbers(&join(&parts).expect("one behind the other")), expected[ROW..4 * ROW]);
    }
}

#[test]
fn parts_outlive_their_stack() {
    for device in devices() {
        let (stack, expected) = stack(4, device);
        let parts = split(&stack, 2).expect("aligned");
        drop(stack);
        let joined = join(&parts).expect("one behind the other");
        drop(parts);
        // Would take the buffer if it were free.
        let other = filled::<2>([4, ROW], 9, device) * 2.0;
        assert_eq!(numbers(&joined), expected);
        drop(other);
    }
}

#[test]
fn what_does_not_follow_is_copied() {
    for device in devices() {
        let (stack, _) = stack(8, device);
        let parts = split(&stack, 4).expect("on a device");
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| parts[i].clone());
        let joins = |parts: Vec<Tensor<2>>, why: &str| {
            let expected: Vec<f32> = parts.iter().flat_map(numbers).collect();
            let joined = join(&parts).expect("on a device");
            assert_eq!(joined.dims(), [expected.len() / ROW, ROW], "{why}");
            assert_eq!(numbers(&joined), expected, "{why}");
        };
        joins(vec![b.clone(), a.clone()], "the other way round");
        joins(vec![a.clone(), c.clone()], "a gap");
        joins(vec![b.clone(), d.clone()], "a gap, from the middle to the end");
        joins(vec![a.clone(), c.clone(), d.clone()], "gaps that differ");
        joins(vec![a.clone(), a.clone()], "the same twice");
        joins(vec![a.clone(), b.clone(), b.clone()], "the last one twice");
        joins(vec![stack.clone().slice([0..2]), stack.clone().slice([1..3])], "overlapping");
        joins(vec![a.clone(), b.clone() * 2.0], "another buffer");
        joins(vec![a.clone(), b.clone().swap_dims(0, 1).reshape([2, ROW])], "another order");
        let columns = [stack.clone().slice([0..8, 0..32]), stack.clone().slice([0..8, 32..64])];
        let expected: Vec<f32> = columns.iter().flat_map(numbers).collect();
        assert_eq!(numbers(&join(&columns).expect("on a device")), expected, "beside each other");
        assert!(join(&[a, stack.slice([2..3])]).is_none(), "another shape");
        assert!(join::<2>(&[]).is_none(), "nothing");
    }
}

#[test]
fn parts_too_small_for_the_device_are_apart_and_come_together() {
    for device in devices() {
        for (n, rows, columns) in [(4, 1, 3), (7, 2, 5), (3, 1, 300), (1, 3, 3), (70, 1, 1)] {
            let stack: Tensor<2> = filled([n * rows, columns], 1, device);
            let expected = numbers(&stack);
            let parts = split(&stack, n).expect("on a device");
            drop(stack);
            let each = rows * columns;
            for (i, part) in parts.iter().enumerate() {
                assert_eq!(
                    (part.dims(), numbers(part)),
                    ([rows, columns], expected[i * each..(i + 1) * each].to_vec())
                );
            }
            assert_eq!(numbers(&join(&parts).expect("on a device")), expected);
            // Every other one, as the layers of one stage of all intervals are.
            let some: Vec<_> = parts.iter().step_by(2).cloned().collect();
            let of_some: Vec<f32> = some.iter().flat_map(numbers).collect();
            assert_eq!(numbers(&join(&some).expect("on a device")), of_some);
            let last = parts.last().expect("one").clone();
            drop(parts);
            assert_eq!(numbers(&change(last.clone())).len(), each);
            assert_eq!(numbers(&last), expected[(n - 1) * each..]);
        }
    }
}

#[test]
fn many_buffers_come_together() {
    for device in devices() {
        for n in [2, 31, 33, 100] {
            let parts: Vec<Tensor<3>> = (0..n).map(|seed| filled([2, 3, 5], seed, device)).collect();
            let expected: Vec<f32> = parts.iter().flat_map(numbers).collect();
            let joined = join(&parts).expect("on a device");
            assert_eq!((joined.dims(), numbers(&joined)), ([2 * n as usize, 3, 5], expected));
        }
    }
}

#[test]
fn a_multiple_is_added() {
    for device in devices() {
        for shape in [[3, 5], [1, 1], [40, 33], [0, 3]] {
            let (y, x): (Tensor<2>, Tensor<2>) = (filled(shape, 1, device), filled(shape, 2, device));
            let expected: Vec<f32> = numbers(&y).iter().zip(numbers(&x)).map(|(y, x)| y - 0.75 * x).collect();
            let found = axpy(&y, -0.75, &x).expect("on a device");
            assert_eq!(found.dims(), shape);
            assert_close(&numbers(&found), &expected);
            let turned = axpy(&y.clone().transpose(), 2.0, &x.clone().transpose()).expect("on a device");
            assert_close(&numbers(&turned), &numbers(&(y + x * 2.0).transpose()));
        }
    }
}

#[test]
fn tensors_elsewhere_are_left_to_burn() {
    let tensor: Tensor<2> = filled([4, ROW], 1, &Device::flex());
    assert!(join(std::slice::from_ref(&tensor)).is_none());
    assert!(axpy(&tensor, 1.0, &tensor).is_none());
    assert!(split(&tensor, 2).is_none());
    for device in devices() {
        let tracked: Tensor<2> = filled([4, ROW], 1, &device.clone().autodiff());
        assert!(split(&tracked, 2).is_none());
        let counts = filled::<2>([4, ROW], 1, device).cast(burn::tensor::FloatDType::F16);
        assert!(split(&counts, 2).is_none());
    }
}

/// Operations that burn runs in place where it may.
fn change(tensor: Tensor<2>) -> Tensor<2> {
    (tensor + 1.0).abs().clamp(0.5, 1.5) * 3.0
}

#[test]
fn changing_the_joined_leaves_the_parts_alone() {
    for device in devices() {
        let (stack, expected) = stack(4, device);
        let parts = split(&stack, 2).expect("aligned");
        drop(stack);
        let changed = change(join(&parts).expect("one behind the other"));
        assert_ne!(numbers(&changed), expected);
        assert_eq!(numbers(&parts[0]), expected[..2 * ROW]);
        assert_eq!(numbers(&parts[1]), expected[2 * ROW..]);
    }
}

#[test]
fn changing_a_part_leaves_the_joined_and_its_neighbour_alone() {
    for device in devices() {
        let (stack, expected) = stack(4, device);
        let mut parts = split(&stack, 2).expect("aligned");
        drop(stack);
        let joined = join(&parts).expect("one behind the other");
        let changed = change(parts.remove(0));
        let assigned = parts[0].clone().slice_assign([0..1, 0..ROW], Tensor::zeros([1, ROW], device));
        assert_eq!(numbers(&joined), expected);
        drop(joined);
        let last = change(changed);
        assert_eq!(numbers(&parts[0]), expected[2 * ROW..]);
        drop((assigned, last));
    }
}

#[test]
fn the_only_one_left_changes_its_own_rows_alone() {
    for device in devices() {
        let (stack, expected) = stack(6, device);
        let joined = join(&split(&stack, 3).expect("aligned")[..2]).expect("one behind the other");
        drop(stack);
        let twice: Vec<f32> = expected[..4 * ROW].iter().map(|x| x * 2.0).collect();
        assert_eq!(numbers(&(joined * 2.0)), twice);
    }
}

#[test]
fn parts_are_put_in_the_order_of_their_places() {
    for device in devices() {
        let (stack, expected) = stack(4, device);
        let parts = split(&stack, 4).expect("aligned");
        let mixed = [2, 0, 3, 1].map(|i: usize| parts[i].clone());
        let order = order(&mixed).expect("on the device");
        assert_eq!(order, [1, 3, 0, 2]);
        let sorted: Vec<_> = order.iter().map(|i| mixed[*i].clone()).collect();
        assert_eq!(numbers(&join(&sorted).expect("one behind the other")), expected);
    }
}
