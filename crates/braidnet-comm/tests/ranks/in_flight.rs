//! All-reduces that are under way at the same time.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{AllReduce, CommError, Communicator, ReduceOp};

use crate::{Checked, same, text};

pub const TESTS: &[RankTest] = &[
    ("started_has_the_bits_of_blocking", started_has_the_bits_of_blocking),
    ("many_in_flight_in_different_orders", many_in_flight_in_different_orders),
    ("a_blocking_all_reduce_in_between", a_blocking_all_reduce_in_between),
    ("types_and_lengths_mix", types_and_lengths_mix),
    ("advancing_ends_without_a_wait", advancing_ends_without_a_wait),
    ("in_flight_on_two_communicators", in_flight_on_two_communicators),
    ("early_waiters_meet_late_starters", early_waiters_meet_late_starters),
    ("dropped_in_flight", dropped_in_flight),
    ("started_counts_as_blocking", started_counts_as_blocking),
    ("lengths_must_agree_in_flight", lengths_must_agree_in_flight),
];

/// Numbers whose sum depends on the order.
fn awkward(rank: usize, round: usize, len: usize) -> Vec<f32> {
    let value = |k: usize| ((k * 37 + rank * 101 + round * 13 + 1) as f32).sin();
    (0..len).map(|k| value(k) * 10f32.powi((rank * 3 + k + round) as i32 % 7)).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// What every rank must get, from the definition: added in rank order.
fn sum_of_all(size: usize, round: usize, len: usize) -> Vec<f32> {
    let mut sum = awkward(0, round, len);
    for rank in 1..size {
        sum.iter_mut().zip(awkward(rank, round, len)).for_each(|(sum, value)| *sum += value);
    }
    sum
}

fn start(world: &Communicator, round: usize, len: usize) -> Result<AllReduce<f32>, String> {
    world.start_all_reduce(awkward(world.rank(), round, len), ReduceOp::Sum).map_err(text)
}

fn check(world: &Communicator, got: &[f32], round: usize, len: usize) -> Checked {
    same(&format!("bits of round {round}"), bits(got) == bits(&sum_of_all(world.size(), round, len)), true)
}

/// Lengths around those at which an array gets one more owner.
const LENGTHS: [usize; 7] = [0, 1, 100, 4096, 4097, 9000, 17_000];

fn started_has_the_bits_of_blocking(world: &Communicator) -> Checked {
    for (round, len) in LENGTHS.into_iter().enumerate() {
        let got = start(world, round, len)?.wait().map_err(text)?;
        check(world, &got, round, len)?;
        let mut blocking = awkward(world.rank(), round, len);
        world.all_reduce(&mut blocking, ReduceOp::Sum).map_err(text)?;
        same("blocking", bits(&blocking) == bits(&got), true)?;
    }
    Ok(())
}

/// The order in which a rank waits: forwards, backwards, inside out, odd ones first.
fn order(rank: usize, n: usize) -> Vec<usize> {
    match rank % 4 {
        0 => (0..n).collect(),
        1 => (0..n).rev().collect(),
        2 => (n / 2..n).chain((0..n / 2).rev()).collect(),
        _ => (0..n).filter(|k| k % 2 == 1).chain((0..n).filter(|k| k % 2 == 0)).collect(),
    }
}

fn many_in_flight_in_different_orders(world: &Communicator) -> Checked {
    for shift in 0..2 {
        let n = 60;
        let started = (0..n).map(|round| start(world, round, LENGTHS[round % LENGTHS.len()]).map(Some));
        let mut started = started.collect::<Result<Vec<_>, _>>()?;
        for round in order(world.rank() + shift, n) {
            let got = started[round].take().ok_or("waited twice")?.wait().map_err(text)?;
            check(world, &got, round, LENGTHS[round % LENGTHS.len()])?;
        }
    }
    Ok(())
}

fn a_blocking_all_reduce_in_between(world: &Communicator) -> Checked {
    let mut started = Vec::new();
    for round in 0..20 {
        started.push((round, start(world, round, 9000)?));
        if round % 3 == world.rank() % 3 {
            let (round, oldest) = started.remove(0);
            check(world, &oldest.wait().map_err(text)?, round, 9000)?;
        }
        let mut blocking = awkward(world.rank(), 100 + round, 5000);
        world.all_reduce(&mut blocking, ReduceOp::Sum).map_err(text)?;
        check(world, &blocking, 100 + round, 5000)?;
        world.barrier().map_err(text)?;
    }
    if world.rank() % 2 == 1 {
        started.reverse();
    }
    started.into_iter().try_for_each(|(round, all)| check(world, &all.wait().map_err(text)?, round, 9000))
}

fn types_and_lengths_mix(world: &Communicator) -> Checked {
    let (rank, size) = (world.rank() as u64, world.size() as u64);
    let doubles = world.start_all_reduce(vec![rank as f64; 10_000], ReduceOp::Max).map_err(text)?;
    let numbers = world.start_all_reduce(vec![rank + 1; 3], ReduceOp::Min).map_err(text)?;
    let singles = start(world, 1, 20_000)?;
    let empty = world.start_all_reduce(Vec::<u64>::new(), ReduceOp::Sum).map_err(text)?;
    if rank % 2 == 0 {
        check(world, &singles.wait().map_err(text)?, 1, 20_000)?;
        same("u64", numbers.wait().map_err(text)?, vec![1; 3])?;
        same("f64", doubles.wait().map_err(text)? == vec![size as f64 - 1.0; 10_000], true)?;
    } else {
        same("u64", numbers.wait().map_err(text)?, vec![1; 3])?;
        same("f64", doubles.wait().map_err(text)? == vec![size as f64 - 1.0; 10_000], true)?;
        check(world, &singles.wait().map_err(text)?, 1, 20_000)?;
    }
    same("empty", empty.wait().map_err(text)?, Vec::new())
}

fn advancing_ends_without_a_wait(world: &Communicator) -> Checked {
    let mut started = (0..10).map(|round| start(world, round, 9000)).collect::<Result<Vec<_>, _>>()?;
    let mut open: Vec<usize> = order(world.rank(), started.len());
    while !open.is_empty() {
        let mut still_open = Vec::new();
        for k in open {
            if !started[k].advance().map_err(text)? {
                still_open.push(k);
            }
        }
        open = still_open;
        std::thread::yield_now();
    }
    for (round, mut all) in started.into_iter().enumerate() {
        same("done stays done", all.advance().map_err(text)?, true)?;
        check(world, &all.wait().map_err(text)?, round, 9000)?;
    }
    Ok(())
}

fn in_flight_on_two_communicators(world: &Communicator) -> Checked {
    let twin = world.duplicate().map_err(text)?;
    let of_world = (0..10).map(|round| start(world, round, 5000)).collect::<Result<Vec<_>, _>>()?;
    let of_twin = (0..10).map(|round| start(&twin, 50 + round, 5000)).collect::<Result<Vec<_>, _>>()?;
    for (round, all) in of_twin.into_iter().enumerate().rev() {
        check(world, &all.wait().map_err(text)?, 50 + round, 5000)?;
    }
    of_world.into_iter().enumerate().try_for_each(|(round, all)| check(world, &all.wait().map_err(text)?, round, 5000))
}

/// Some ranks wait before others have started the next one.
fn early_waiters_meet_late_starters(world: &Communicator) -> Checked {
    if world.rank().is_multiple_of(2) {
        for round in 0..30 {
            check(world, &start(world, round, 6000)?.wait().map_err(text)?, round, 6000)?;
        }
        return Ok(());
    }
    let started = (0..30).map(|round| start(world, round, 6000)).collect::<Result<Vec<_>, _>>()?;
    let waited = started.into_iter().enumerate().rev();
    waited.into_iter().try_for_each(|(round, all)| check(world, &all.wait().map_err(text)?, round, 6000))
}

/// A rank that does not want a result still combines its part for the others.
fn dropped_in_flight(world: &Communicator) -> Checked {
    let unwanted = start(world, 0, 9000)?;
    let wanted = start(world, 1, 9000)?;
    if world.rank() == 0 {
        drop(unwanted);
    } else {
        check(world, &unwanted.wait().map_err(text)?, 0, 9000)?;
    }
    check(world, &wanted.wait().map_err(text)?, 1, 9000)
}

fn started_counts_as_blocking(world: &Communicator) -> Checked {
    start(world, 0, 9000)?.wait().map_err(text)?;
    let started = world.traffic();
    world.all_reduce(&mut awkward(world.rank(), 0, 9000), ReduceOp::Sum).map_err(text)?;
    let both = world.traffic();
    same("messages", both.collective_messages, 2 * started.collective_messages)?;
    same("bytes", both.collective_bytes, 2 * started.collective_bytes)?;
    same("of the user", both.messages, 0)
}

fn lengths_must_agree_in_flight(world: &Communicator) -> Checked {
    // A communicator of its own, on which nobody counts on the results that the owner cannot send.
    let own = world.duplicate().map_err(text)?;
    let wrong = own.start_all_reduce(vec![1u64; 1 + own.rank()], ReduceOp::Sum).map_err(text)?;
    if own.rank() > 0 {
        drop(wrong);
        return Ok(());
    }
    let expected = match own.size() {
        1 => Ok(vec![1]),
        _ => Err(CommError::LengthMismatch { rank: 1, expected: 1, got: 2 }),
    };
    same("mismatch", wrong.wait(), expected)
}
