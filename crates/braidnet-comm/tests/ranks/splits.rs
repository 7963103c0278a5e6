//! Communicators made of others.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, ReduceOp};

use crate::{Checked, same, text};

pub const TESTS: &[RankTest] = &[
    ("split_by_uneven_colors", split_by_uneven_colors),
    ("split_without_a_color", split_without_a_color),
    ("split_in_reversed_order", split_in_reversed_order),
    ("split_into_a_grid", split_into_a_grid),
    ("nested_splits", nested_splits),
    ("parent_and_child_at_once", parent_and_child_at_once),
    ("many_splits", many_splits),
    ("duplicates_are_apart", duplicates_are_apart),
];

fn split(world: &Communicator, color: u64, key: u64) -> Result<Communicator, String> {
    world.split(Some(color), key).map_err(text)?.ok_or_else(|| "no communicator".to_owned())
}

/// The parent's ranks that belong, in the child's order.
fn members(child: &Communicator, parent_rank: usize) -> Result<Vec<usize>, String> {
    child.all_gather(parent_rank, &()).map_err(text)
}

/// Rank 0 alone, the others together.
fn split_by_uneven_colors(world: &Communicator) -> Checked {
    let child = split(world, if world.rank() == 0 { 99 } else { u64::MAX }, 0)?;
    let expected = if world.rank() == 0 { vec![0] } else { (1..world.size()).collect() };
    same("size", child.size(), expected.len())?;
    same("members", members(&child, world.rank())?, expected)?;
    same("rank", child.rank(), world.rank().saturating_sub(1))
}

fn split_without_a_color(world: &Communicator) -> Checked {
    let in_it = world.rank() % 2 == 1;
    let child = world.split(in_it.then_some(0), 0).map_err(text)?;
    same("in it", child.is_some(), in_it)?;
    if let Some(child) = child {
        same("members", members(&child, world.rank())?, (0..world.size()).filter(|rank| rank % 2 == 1).collect())?;
    }
    same("nobody", world.split(None, 0).map_err(text)?.is_none(), true)
}

fn split_in_reversed_order(world: &Communicator) -> Checked {
    let child = split(world, 5, (world.size() - world.rank()) as u64)?;
    same("rank", child.rank(), world.size() - 1 - world.rank())?;
    same("members", members(&child, world.rank())?, (0..world.size()).rev().collect())?;
    let root = (child.rank() == 0).then_some(world.rank());
    same("root", child.broadcast(0, root, &()).map_err(text)?, world.size() - 1)?;
    // Equal keys keep the old order.
    same("stable", split(world, 5, 7)?.rank(), world.rank())
}

/// Rows and columns of a mesh two ranks wide.
fn split_into_a_grid(world: &Communicator) -> Checked {
    let (row, column) = (world.rank() / 2, world.rank() % 2);
    let along = split(world, row as u64, column as u64)?;
    let across = split(world, column as u64, row as u64)?;
    let mut sums = [world.rank() as u64];
    along.all_reduce(&mut sums, ReduceOp::Sum).map_err(text)?;
    let expected: usize = (0..world.size()).filter(|rank| rank / 2 == row).sum();
    same("row", sums[0], expected as u64)?;
    let mut sums = [world.rank() as u64];
    across.all_reduce(&mut sums, ReduceOp::Sum).map_err(text)?;
    let expected: usize = (0..world.size()).filter(|rank| rank % 2 == column).sum();
    same("column", sums[0], expected as u64)
}

fn nested_splits(world: &Communicator) -> Checked {
    let half = split(world, (world.rank() * 2 / world.size()) as u64, 0)?;
    let quarter = split(&half, half.rank() as u64 % 2, 0)?;
    let again = split(world, 0, 0)?;
    // The same tag everywhere: only the communicator tells the messages apart.
    for (mark, level) in [world, &half, &quarter, &again].into_iter().enumerate() {
        let next = (level.rank() + 1) % level.size();
        level.send(next, 0, (world.rank() * 10 + mark) as u64).map_err(text)?;
    }
    for (mark, level) in [world, &half, &quarter, &again].into_iter().enumerate().rev() {
        let previous = (level.rank() + level.size() - 1) % level.size();
        let got = level.receive::<u64>(previous, 0).map_err(text)?.wait(&()).map_err(text)?;
        same("sender", members(level, world.rank())?[previous] as u64 * 10 + mark as u64, got)?;
    }
    Ok(())
}

fn parent_and_child_at_once(world: &Communicator) -> Checked {
    let child = split(world, 0, (world.size() - world.rank()) as u64)?;
    let ahead = |comm: &Communicator| (comm.rank() + 1) % comm.size();
    let behind = |comm: &Communicator| (comm.rank() + comm.size() - 1) % comm.size();
    for round in 0..30u64 {
        let of_parent = world.receive::<u64>(behind(world), 1).map_err(text)?;
        let of_child = child.receive::<Vec<u64>>(behind(&child), 1).map_err(text)?;
        child.send(ahead(&child), 1, vec![round; 500]).map_err(text)?;
        world.send(ahead(world), 1, round).map_err(text)?;
        let mut sums = [1u64];
        child.all_reduce(&mut sums, ReduceOp::Sum).map_err(text)?;
        same("child", of_child.wait(&()).map_err(text)?, vec![round; 500])?;
        same("parent", of_parent.wait(&()).map_err(text)?, round)?;
        same("sum", sums[0], world.size() as u64)?;
    }
    same("the parent's count", world.traffic().messages, 30)?;
    same("the child's count", child.traffic().bytes, 30 * 4000)
}

fn many_splits(world: &Communicator) -> Checked {
    (0..100).try_for_each(|round: usize| {
        let child = split(world, ((world.rank() + round) % 2) as u64, 0)?;
        let expected = (0..world.size()).filter(|rank| (rank + round) % 2 == (world.rank() + round) % 2).collect();
        same("members", members(&child, world.rank())?, expected)
    })
}

fn duplicates_are_apart(world: &Communicator) -> Checked {
    let twin = world.duplicate().map_err(text)?;
    let of_twin = twin.duplicate().map_err(text)?;
    same("place", (twin.rank(), twin.size()), (world.rank(), world.size()))?;
    same("members", members(&twin, world.rank())?, (0..world.size()).collect())?;
    let (next, previous) = ((world.rank() + 1) % world.size(), (world.rank() + world.size() - 1) % world.size());
    // The same tag everywhere, received in the other order.
    for (mark, comm) in [world, &twin, &of_twin].into_iter().enumerate() {
        comm.send(next, 3, mark).map_err(text)?;
    }
    for (mark, comm) in [world, &twin, &of_twin].into_iter().enumerate().rev() {
        same("mark", comm.receive::<usize>(previous, 3).map_err(text)?.wait(&()).map_err(text)?, mark)?;
    }
    same("counted apart", twin.traffic().messages, 1)?;
    // Of a part of the ranks, in another order.
    let half = split(world, world.rank() as u64 % 2, (world.size() - world.rank()) as u64)?;
    let twin = half.duplicate().map_err(text)?;
    same("members of the half", members(&twin, world.rank())?, members(&half, world.rank())?)
}
