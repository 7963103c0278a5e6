//! Stacks without copies: what is joined, and that nobody's numbers change under anybody's hands.

#![allow(clippy::single_range_in_vec_init, reason = "burn's slices of the first axis")]
#![allow(clippy::expect_used)]

mod common;

use braidnet_cubecl::{join, split};
use burn::tensor::{Device, Tensor};
use common::{devices, filled, numbers};

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
fn what_does_not_follow_is_not_joined() {
    for device in devices() {
        let (stack, _) = stack(6, device);
        let parts = split(&stack, 3).expect("aligned");
        let [a, b, c] = [0, 1, 2].map(|i| parts[i].clone());
        assert!(join(&[b.clone(), a.clone()]).is_none(), "the other way round");
        assert!(join(&[a.clone(), c.clone()]).is_none(), "a gap");
        assert!(join(&[a.clone(), a.clone()]).is_none(), "the same twice");
        assert!(join(&[a.clone(), b.clone(), b.clone()]).is_none(), "the last one twice");
        assert!(join(&[stack.clone().slice([0..2]), stack.clone().slice([1..3])]).is_none(), "overlapping");
        assert!(join(&[a.clone(), b.clone() * 2.0]).is_none(), "another buffer");
        assert!(join(&[a.clone(), stack.clone().slice([2..3])]).is_none(), "another shape");
        assert!(join(&[a, b.swap_dims(0, 1).reshape([2, ROW])]).is_none(), "another order");
        assert!(join::<2>(&[]).is_none(), "nothing");
        let columns = [stack.clone().slice([0..6, 0..32]), stack.slice([0..6, 32..64])];
        assert!(join(&columns).is_none(), "beside each other");
    }
}

#[test]
fn parts_too_small_for_the_device_are_not_split() {
    for device in devices() {
        let stack: Tensor<2> = filled([4, 3], 1, device);
        assert!(
            split(&stack, 4).is_none() || numbers(&split(&stack, 4).expect("just seen")[1]) == numbers(&stack)[3..6]
        );
    }
}

#[test]
fn tensors_elsewhere_are_left_to_burn() {
    let tensor: Tensor<2> = filled([4, ROW], 1, &Device::flex());
    assert!(join(std::slice::from_ref(&tensor)).is_none());
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
