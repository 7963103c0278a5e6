//! Many vectors at once: kinds of equal ones joined and split, and any lengths packed.

#![allow(clippy::expect_used)]

mod common;

use braidnet_cubecl::{alignment, join_all, pack, split_all, unpack};
use burn::tensor::{Device, Tensor};
use common::{devices, filled, numbers};

fn of_lengths(lengths: &[usize], device: &Device) -> Vec<Tensor<1>> {
    lengths.iter().enumerate().map(|(seed, &n)| filled([n], seed as u32, device)).collect()
}

fn all_numbers(vectors: &[Tensor<1>]) -> Vec<Vec<f32>> {
    vectors.iter().map(numbers).collect()
}

#[test]
fn kinds_are_joined_and_split() {
    // Some are aligned, some are not, and there are more than one launch takes.
    for device in devices() {
        for (sizes, n) in
            [(vec![1296, 12, 128, 3], 8), (vec![5], 70), (vec![256, 64], 3), (vec![7; 40], 2), (vec![9], 1)]
        {
            let kinds: Vec<Vec<Tensor<1>>> = sizes.iter().map(|&size| of_lengths(&vec![size; n], device)).collect();
            let joined = join_all(&kinds).expect("on a device");
            let expected: Vec<Vec<f32>> = kinds.iter().map(|kind| all_numbers(kind).concat()).collect();
            assert_eq!(all_numbers(&joined), expected);
            let parts = split_all(&joined, n).expect("on a device");
            drop(joined);
            for (parts, kind) in parts.iter().zip(&kinds) {
                assert_eq!(all_numbers(parts), all_numbers(kind));
            }
            // Apart by gaps, as they now are; every other one; in the opposite order.
            assert_eq!(all_numbers(&join_all(&parts).expect("on a device")), expected);
            let some: Vec<Vec<_>> = parts.iter().map(|kind| kind.iter().step_by(2).cloned().collect()).collect();
            let expected: Vec<Vec<f32>> = some.iter().map(|kind| all_numbers(kind).concat()).collect();
            assert_eq!(all_numbers(&join_all(&some).expect("on a device")), expected);
            let turned: Vec<Vec<_>> = parts.iter().map(|kind| kind.iter().rev().cloned().collect()).collect();
            let expected: Vec<Vec<f32>> = turned.iter().map(|kind| all_numbers(kind).concat()).collect();
            assert_eq!(all_numbers(&join_all(&turned).expect("on a device")), expected);
        }
        assert!(join_all(&[]).expect("nothing to do").is_empty());
        assert!(split_all(&[], 3).expect("nothing to do").is_empty());
        assert!(join_all(&[of_lengths(&[2, 3], device)]).is_none(), "not alike");
    }
}

#[test]
fn vectors_are_packed_and_changed_and_unpacked() {
    for device in devices() {
        for lengths in
            [vec![1296, 12, 1296, 12, 10, 3], vec![1], vec![64; 50], (1..70).collect(), vec![0, 5, 0, 700_001]]
        {
            let vectors = of_lengths(&lengths, device);
            let expected = all_numbers(&vectors);
            let packed = pack(&vectors).expect("on a device");
            let step = alignment(&vectors[0]).expect("on a device");
            let (last, others) = lengths.split_last().expect("one");
            assert_eq!(packed.dims()[0], others.iter().map(|n| n.next_multiple_of(step)).sum::<usize>() + last);
            assert_eq!(all_numbers(&unpack(&packed, &lengths).expect("on a device")), expected);
            let twice = unpack(&(packed * 2.0), &lengths).expect("on a device");
            let doubled: Vec<Vec<f32>> = expected.iter().map(|own| own.iter().map(|x| x * 2.0).collect()).collect();
            assert_eq!(all_numbers(&twice), doubled);
            // Now a view, which must not be written while the vectors live.
            let again = pack(&twice).expect("on a device");
            let changed = unpack(&(again + 1.0), &lengths).expect("on a device");
            assert_eq!(all_numbers(&twice), doubled);
            let raised: Vec<Vec<f32>> = doubled.iter().map(|own| own.iter().map(|x| x + 1.0).collect()).collect();
            assert_eq!(all_numbers(&changed), raised);
            let turned: Vec<_> = changed.iter().rev().cloned().collect();
            let back: Vec<usize> = lengths.iter().rev().copied().collect();
            let turned = unpack(&pack(&turned).expect("on a device"), &back).expect("on a device");
            assert_eq!(all_numbers(&turned), raised.iter().rev().cloned().collect::<Vec<_>>());
        }
        assert!(pack(&[]).is_none(), "nothing");
    }
}

#[test]
fn vectors_elsewhere_are_left_to_burn() {
    let vectors = of_lengths(&[3, 4], &Device::flex());
    assert!(pack(&vectors).is_none() && unpack(&vectors[0], &[3]).is_none() && alignment(&vectors[0]).is_none());
    assert!(join_all(std::slice::from_ref(&vectors)).is_none() && split_all(&vectors[..1], 3).is_none());
}
