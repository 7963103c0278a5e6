//! Collective calls, with every rank as the root.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{CommError, Communicator, Reduce, ReduceOp};

use crate::{Checked, same, text};

pub const TESTS: &[RankTest] = &[
    ("broadcast_from_every_root", broadcast_from_every_root),
    ("gather_to_every_root", gather_to_every_root),
    ("all_gather_in_rank_order", all_gather_in_rank_order),
    ("all_reduce_of_every_kind", all_reduce_of_every_kind),
    ("all_reduce_combines_in_rank_order", all_reduce_combines_in_rank_order),
    ("all_reduce_has_known_bits", all_reduce_has_known_bits),
    ("barrier_holds_everyone", barrier_holds_everyone),
    ("collectives_and_messages_mix", collectives_and_messages_mix),
    ("one_rank_alone", one_rank_alone),
];

fn broadcast_from_every_root(world: &Communicator) -> Checked {
    for root in 0..world.size() {
        for n in [0, 1, 100_000] {
            let value = (world.rank() == root).then(|| vec![root as f64 + 0.5; n]);
            same("value", world.broadcast(root, value, &()).map_err(text)? == vec![root as f64 + 0.5; n], true)?;
        }
    }
    let messages = world.traffic().collective_messages;
    let total = world.gather(0, messages, &()).map_err(text)?.map(|all| all.iter().sum::<u64>());
    let expected = (world.size() * (world.size() - 1) * 3) as u64;
    same("messages in all", total, (world.rank() == 0).then_some(expected))
}

fn gather_to_every_root(world: &Communicator) -> Checked {
    for root in 0..world.size() {
        let mine = vec![world.rank() as u64; world.rank() * 1000];
        let all = world.gather(root, mine, &()).map_err(text)?;
        let expected = || (0..world.size()).map(|rank| vec![rank as u64; rank * 1000]).collect();
        same("gathered", all, (world.rank() == root).then(expected))?;
    }
    Ok(())
}

fn all_gather_in_rank_order(world: &Communicator) -> Checked {
    for round in 0..5 {
        let all = world.all_gather(format!("{round} {}", world.rank()), &()).map_err(text)?;
        same("gathered", all, (0..world.size()).map(|rank| format!("{round} {rank}")).collect())?;
    }
    Ok(())
}

fn all_reduce_of_every_kind(world: &Communicator) -> Checked {
    fn check<E: Reduce + PartialEq + std::fmt::Debug>(world: &Communicator, make: fn(u64) -> E) -> Checked {
        let n = world.size() as u64;
        // Lengths around the size from which an array is cut into parts.
        for len in [0, 1, 5, 4096, 4097, 20_000] {
            for (op, expected) in [(ReduceOp::Sum, n * (n + 1) / 2), (ReduceOp::Min, 1), (ReduceOp::Max, n)] {
                let mut values = vec![make(world.rank() as u64 + 1); len];
                world.all_reduce(&mut values, op).map_err(text)?;
                same("reduced", values == vec![make(expected); len], true)?;
            }
        }
        Ok(())
    }
    check::<f32>(world, |v| v as f32)?;
    check::<f64>(world, |v| v as f64)?;
    check::<u64>(world, |v| v)
}

/// Numbers whose sum depends on the order.
fn awkward(rank: usize, len: usize) -> Vec<f32> {
    (0..len).map(|k| ((k * 37 + rank * 101 + 1) as f32).sin() * 10f32.powi((rank * 3 + k) as i32 % 7)).collect()
}

fn all_reduce_combines_in_rank_order(world: &Communicator) -> Checked {
    for len in [1, 1000, 4097, 50_000] {
        let mut expected = awkward(0, len);
        for rank in 1..world.size() {
            expected.iter_mut().zip(awkward(rank, len)).for_each(|(sum, value)| *sum += value);
        }
        let mut values = awkward(world.rank(), len);
        world.all_reduce(&mut values, ReduceOp::Sum).map_err(text)?;
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        same("bits", bits(&values) == bits(&expected), true)?;
        let all = world.all_gather(values.clone(), &()).map_err(text)?;
        same("same bits on all ranks", all.iter().all(|other| bits(other) == bits(&values)), true)?;
    }
    Ok(())
}

/// Thirds and sevenths, added in rank order: literal bits, so that threads and MPI are known to agree.
fn all_reduce_has_known_bits(world: &Communicator) -> Checked {
    let mut value = [1.0 / 3.0 + 1e10 / (7.0 + world.rank() as f64)];
    world.all_reduce(&mut value, ReduceOp::Sum).map_err(text)?;
    let expected = (1..world.size()).fold(1.0 / 3.0 + 1e10 / 7.0, |sum, r| sum + (1.0 / 3.0 + 1e10 / (7.0 + r as f64)));
    same("bits", value[0].to_bits(), f64::to_bits(expected))
}

fn barrier_holds_everyone(world: &Communicator) -> Checked {
    for late in 0..world.size() {
        let others: Vec<usize> = (0..world.size()).filter(|&rank| rank != late).collect();
        if world.rank() == late {
            std::thread::sleep(std::time::Duration::from_millis(5));
            for &to in &others {
                world.send(to, 0, ()).map_err(text)?;
            }
            world.barrier().map_err(text)?;
        } else {
            let receive = world.receive::<()>(late, 0).map_err(text)?;
            world.barrier().map_err(text)?;
            // Sent before the barrier, so it is here or at least under way.
            receive.wait(&()).map_err(text)?;
        }
    }
    Ok(())
}

fn collectives_and_messages_mix(world: &Communicator) -> Checked {
    let (next, previous) = ((world.rank() + 1) % world.size(), (world.rank() + world.size() - 1) % world.size());
    for round in 0..50u64 {
        let receive = world.receive::<u64>(previous, 0).map_err(text)?;
        let mut sum = [round];
        world.all_reduce(&mut sum, ReduceOp::Sum).map_err(text)?;
        world.send(next, 0, round).map_err(text)?;
        let root = round as usize % world.size();
        let value = world.broadcast(root, (world.rank() == root).then_some(round), &()).map_err(text)?;
        same("all", (sum[0], value, receive.wait(&()).map_err(text)?), (round * world.size() as u64, round, round))?;
    }
    Ok(())
}

fn one_rank_alone(_world: &Communicator) -> Checked {
    let alone = Communicator::alone();
    same("size", (alone.rank(), alone.size()), (0, 1))?;
    alone.send(0, 0, 5u64).map_err(text)?;
    same("message", alone.receive::<u64>(0, 0).map_err(text)?.wait(&()).map_err(text)?, 5)?;
    alone.barrier().map_err(text)?;
    same("broadcast", alone.broadcast(0, Some(3u64), &()).map_err(text)?, 3)?;
    same("no value", alone.broadcast::<u64>(0, None, &()), Err(CommError::NoValue { root: 0 }))?;
    same("gather", alone.gather(0, 3u64, &()).map_err(text)?, Some(vec![3]))?;
    same("split", alone.split(None, 0).map_err(text)?.is_none(), true)
}
