//! Point-to-point messages.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{CommError, Communicator, N_TAGS, Receive, Traffic, Transfer};

use crate::{Checked, same, text};

pub const TESTS: &[RankTest] = &[
    ("ping_pong", ping_pong),
    ("ring", ring),
    ("tags_out_of_order", tags_out_of_order),
    ("many_outstanding_receives", many_outstanding_receives),
    ("late_receive_waits_first", late_receive_waits_first),
    ("sizes_grow_and_shrink", sizes_grow_and_shrink),
    ("large_both_ways_at_once", large_both_ways_at_once),
    ("empty_messages", empty_messages),
    ("all_types", all_types),
    ("to_oneself", to_oneself),
    ("readiness", readiness),
    ("dropped_receives", dropped_receives),
    ("messages_nobody_receives", messages_nobody_receives),
    ("traffic_counts", traffic_counts),
    ("type_mismatch", type_mismatch),
    ("wrong_arguments", wrong_arguments),
    ("a_context_rebuilds_values", a_context_rebuilds_values),
    ("random_traffic", random_traffic),
];

fn next(world: &Communicator) -> usize {
    (world.rank() + 1) % world.size()
}

fn previous(world: &Communicator) -> usize {
    (world.rank() + world.size() - 1) % world.size()
}

fn take<T: Transfer<Context = ()>>(world: &Communicator, from: usize, tag: u16) -> Result<T, String> {
    world.receive::<T>(from, tag).map_err(text)?.wait(&()).map_err(text)
}

fn ping_pong(world: &Communicator) -> Checked {
    if world.size() < 2 || world.rank() > 1 {
        return Ok(());
    }
    let other = 1 - world.rank();
    for round in 0..200u64 {
        if world.rank() == 0 {
            world.send(other, 3, round).map_err(text)?;
            same("pong", take::<u64>(world, other, 3)?, round + 1)?;
        } else {
            let ping: u64 = take(world, other, 3)?;
            world.send(other, 3, ping + 1).map_err(text)?;
        }
    }
    Ok(())
}

fn ring(world: &Communicator) -> Checked {
    let mut token = vec![world.rank() as f64; 100];
    for step in 1..=2 * world.size() {
        let receive = world.receive::<Vec<f64>>(previous(world), 0).map_err(text)?;
        world.send(next(world), 0, token).map_err(text)?;
        token = receive.wait(&()).map_err(text)?;
        let origin = (world.rank() + 2 * world.size() - step) % world.size();
        same("token", &token, &vec![origin as f64; 100])?;
    }
    Ok(())
}

fn tags_out_of_order(world: &Communicator) -> Checked {
    for tag in 0..10 {
        world.send(next(world), tag, u64::from(tag) + 100).map_err(text)?;
    }
    world.send(next(world), N_TAGS - 1, 7u64).map_err(text)?;
    same("last tag", take::<u64>(world, previous(world), N_TAGS - 1)?, 7)?;
    (0..10).rev().try_for_each(|tag| same("value", take::<u64>(world, previous(world), tag)?, u64::from(tag) + 100))
}

fn many_outstanding_receives(world: &Communicator) -> Checked {
    let receives = (0..300u16).map(|k| world.receive::<Vec<u64>>(previous(world), k % 3));
    let receives = receives.collect::<Result<Vec<_>, _>>().map_err(text)?;
    for k in 0..300u64 {
        world.send(next(world), (k % 3) as u16, vec![k; (k as usize * 37) % 1000]).map_err(text)?;
    }
    for (k, receive) in receives.into_iter().enumerate().rev() {
        same("message", receive.wait(&()).map_err(text)?, vec![k as u64; (k * 37) % 1000])?;
    }
    Ok(())
}

fn late_receive_waits_first(world: &Communicator) -> Checked {
    let first = world.receive::<String>(previous(world), 5).map_err(text)?;
    let second = world.receive::<Vec<u8>>(previous(world), 5).map_err(text)?;
    let third = world.receive::<String>(previous(world), 5).map_err(text)?;
    world.send(next(world), 5, "first".to_owned()).map_err(text)?;
    world.send(next(world), 5, vec![2u8; 100_000]).map_err(text)?;
    world.send(next(world), 5, "third".to_owned()).map_err(text)?;
    same("second", second.wait(&()).map_err(text)?, vec![2; 100_000])?;
    same("third", third.wait(&()).map_err(text)?, "third".to_owned())?;
    same("first", first.wait(&()).map_err(text)?, "first".to_owned())
}

/// One byte to 5 MiB and back on one channel, then the same with all receives posted before anything is sent.
fn sizes_grow_and_shrink(world: &Communicator) -> Checked {
    let up = [1, 16, 239, 240, 241, 256, 4096, 65_537, 1 << 20, 5 << 20];
    let sizes: Vec<usize> = up.iter().chain(up.iter().rev()).copied().collect();
    let message = |n: usize| -> Vec<u8> { (0..n).map(|k| (k * 7 + n) as u8).collect() };
    for &n in &sizes {
        world.send(next(world), 9, message(n)).map_err(text)?;
        same("one by one", take::<Vec<u8>>(world, previous(world), 9)? == message(n), true)?;
    }
    let receives = sizes.iter().map(|_| world.receive::<Vec<u8>>(previous(world), 10));
    let receives = receives.collect::<Result<Vec<_>, _>>().map_err(text)?;
    for &n in &sizes {
        world.send(next(world), 10, message(n)).map_err(text)?;
    }
    for (receive, &n) in receives.into_iter().zip(&sizes) {
        same("posted first", receive.wait(&()).map_err(text)? == message(n), true)?;
    }
    Ok(())
}

/// Everybody sends before anybody receives: only buffered sends survive this.
fn large_both_ways_at_once(world: &Communicator) -> Checked {
    for to in 0..world.size() {
        world.send(to, 2, vec![world.rank() as f32; 300_000]).map_err(text)?;
    }
    (0..world.size()).try_for_each(|from| {
        let values: Vec<f32> = take(world, from, 2)?;
        same("values", values.len() == 300_000 && values.iter().all(|&v| v == from as f32), true)
    })
}

fn empty_messages(world: &Communicator) -> Checked {
    world.send(next(world), 1, Vec::<f64>::new()).map_err(text)?;
    world.send(next(world), 1, ()).map_err(text)?;
    world.send(next(world), 1, String::new()).map_err(text)?;
    same("vector", take::<Vec<f64>>(world, previous(world), 1)?, vec![])?;
    take::<()>(world, previous(world), 1)?;
    same("string", take::<String>(world, previous(world), 1)?, String::new())
}

fn all_types(world: &Communicator) -> Checked {
    fn through<T: Transfer<Context = ()> + Clone + PartialEq + std::fmt::Debug>(world: &Communicator, v: T) -> Checked {
        world.send(next(world), 4, v.clone()).map_err(text)?;
        same("value", take::<T>(world, previous(world), 4)?, v)
    }
    through(world, 1.5f32)?;
    through(world, -0.1f64)?;
    through(world, u64::MAX)?;
    through(world, 77usize)?;
    through(world, 255u8)?;
    through(world, -5i32)?;
    through(world, vec![1u8, 2])?;
    through(world, vec![0.1f32, f32::INFINITY])?;
    through(world, vec![0.1f64, -0.0])?;
    through(world, vec![u64::MAX, 0])?;
    through(world, "naïve".to_owned())
}

fn to_oneself(world: &Communicator) -> Checked {
    let early = world.receive::<u64>(world.rank(), 8).map_err(text)?;
    world.send(world.rank(), 8, 1u64).map_err(text)?;
    world.send(world.rank(), 8, vec![3u8; 1 << 20]).map_err(text)?;
    same("early", early.wait(&()).map_err(text)?, 1)?;
    same("large", take::<Vec<u8>>(world, world.rank(), 8)?, vec![3; 1 << 20])
}

fn readiness(world: &Communicator) -> Checked {
    let receive = world.receive::<Vec<u8>>(previous(world), 6).map_err(text)?;
    same("before", receive.is_ready().map_err(text)?, false)?;
    world.barrier().map_err(text)?;
    world.send(next(world), 6, vec![1u8; 50_000]).map_err(text)?;
    while !receive.is_ready().map_err(text)? {
        std::thread::yield_now();
    }
    same("value", receive.wait(&()).map_err(text)?.len(), 50_000)
}

fn dropped_receives(world: &Communicator) -> Checked {
    drop(world.receive::<u64>(previous(world), 5).map_err(text)?);
    let kept = world.receive::<u64>(previous(world), 5).map_err(text)?;
    drop(world.receive::<Vec<u8>>(previous(world), 5).map_err(text)?);
    world.send(next(world), 5, 1u64).map_err(text)?;
    world.send(next(world), 5, 2u64).map_err(text)?;
    world.send(next(world), 5, vec![3u8; 100_000]).map_err(text)?;
    world.send(next(world), 5, 4u64).map_err(text)?;
    same("kept", kept.wait(&()).map_err(text)?, 2)?;
    same("after", take::<u64>(world, previous(world), 5)?, 4)?;
    // Dropped when its message is already here.
    let late = world.receive::<u64>(previous(world), 6).map_err(text)?;
    world.send(next(world), 6, 5u64).map_err(text)?;
    world.send(next(world), 6, 6u64).map_err(text)?;
    while !late.is_ready().map_err(text)? {
        std::thread::yield_now();
    }
    drop(late);
    same("after the late one", take::<u64>(world, previous(world), 6)?, 6)
}

/// The launch must end all the same, also where MPI would wait for a receiver of something large.
fn messages_nobody_receives(world: &Communicator) -> Checked {
    world.send(next(world), 11, 1u64).map_err(text)?;
    world.send(next(world), 12, vec![0u8; 3 << 20]).map_err(text)?;
    drop(world.receive::<Vec<u8>>(previous(world), 13).map_err(text)?);
    drop(world.receive::<Vec<u8>>(previous(world), 13).map_err(text)?);
    world.send(next(world), 13, vec![0u8; 3 << 20]).map_err(text)
}

fn traffic_counts(world: &Communicator) -> Checked {
    same("fresh", world.traffic(), Traffic::default())?;
    world.send(next(world), 0, vec![0f32; 10]).map_err(text)?;
    world.send(next(world), 0, "four".to_owned()).map_err(text)?;
    let mut value = [1.0f64, 2.0];
    world.all_reduce(&mut value, braidnet_comm::ReduceOp::Sum).map_err(text)?;
    take::<Vec<f32>>(world, previous(world), 0)?;
    take::<String>(world, previous(world), 0)?;
    let others = world.size() as u64 - 1;
    // One part, owned by rank 0: the others send theirs, and it sends the result.
    let messages = if world.rank() == 0 { others } else { 1 };
    let expected = Traffic { messages: 2, bytes: 44, collective_messages: messages, collective_bytes: 16 * messages };
    same("traffic", world.traffic(), expected)
}

fn type_mismatch(world: &Communicator) -> Checked {
    world.send(next(world), 0, vec![1f32; 4]).map_err(text)?;
    world.send(next(world), 0, 5u64).map_err(text)?;
    let result = world.receive::<Vec<f64>>(previous(world), 0).map_err(text)?.wait(&());
    let is_right = matches!(&result, Err(CommError::TypeMismatch { from, tag: 0, .. }) if *from == previous(world));
    same("mismatch", is_right, true)?;
    same("the channel goes on", take::<u64>(world, previous(world), 0)?, 5)
}

fn wrong_arguments(world: &Communicator) -> Checked {
    let size = world.size();
    let no_rank = CommError::NoSuchRank { rank: size, size };
    same("send", world.send(size, 0, 1u64), Err(no_rank.clone()))?;
    same("receive", world.receive::<u64>(size, 0).map(drop), Err(no_rank.clone()))?;
    same("broadcast", world.broadcast(size, Some(1u64), &()), Err(no_rank.clone()))?;
    same("gather", world.gather(size, 1u64, &()), Err(no_rank))?;
    same("tag", world.send(0, N_TAGS, 1u64), Err(CommError::BadTag { tag: N_TAGS, limit: N_TAGS }))?;
    same("nothing sent", world.traffic(), Traffic::default())
}

/// Knows its offset only from the receiver's context.
#[derive(Clone, Debug, PartialEq)]
struct Shifted {
    value: u64,
    shift: u64,
}

impl Transfer for Shifted {
    type Context = u64;

    fn n_bytes(&self) -> usize {
        8
    }

    fn pack(&self, out: &mut Vec<u8>) {
        self.value.pack(out);
    }

    fn unpack(bytes: &[u8], shift: &u64) -> Result<Self, CommError> {
        Ok(Self { value: u64::unpack(bytes, &())?, shift: *shift })
    }
}

fn a_context_rebuilds_values(world: &Communicator) -> Checked {
    world.send(next(world), 0, Shifted { value: 3, shift: 1 }).map_err(text)?;
    let receive: Receive<Shifted> = world.receive(previous(world), 0).map_err(text)?;
    same("sent", receive.wait(&1).map_err(text)?, Shifted { value: 3, shift: 1 })?;
    let value = (world.rank() == 0).then_some(Shifted { value: 4, shift: 1 });
    same("broadcast", world.broadcast(0, value, &1).map_err(text)?, Shifted { value: 4, shift: 1 })
}

/// Every rank plays the same script of random sizes, tags, drops and orders of waiting.
fn random_traffic(world: &Communicator) -> Checked {
    let mut state = 12345u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for round in 0..20 {
        let script: Vec<(u16, usize, bool, bool)> = (0..30)
            .map(|_| (random(4) as u16, 1 << random(18), random(5) == 0, random(2) == 0))
            .map(|(tag, n, dropped, early)| (tag, n + n / 3, dropped, early))
            .collect();
        let mut posted: Vec<Option<Receive<Vec<u8>>>> = Vec::new();
        for (k, &(tag, n, _, early)) in script.iter().enumerate() {
            if early {
                world.send(next(world), tag, vec![k as u8; n]).map_err(text)?;
                posted.push(Some(world.receive(previous(world), tag).map_err(text)?));
            } else {
                posted.push(Some(world.receive(previous(world), tag).map_err(text)?));
                world.send(next(world), tag, vec![k as u8; n]).map_err(text)?;
            }
        }
        while !posted.is_empty() {
            let k = random(posted.len() as u64) as usize;
            let at = posted.iter().position(Option::is_some).map_or(0, |first| first.max(k));
            let at = (at..posted.len()).find(|&at| posted[at].is_some()).unwrap_or(0);
            let Some(receive) = posted[at].take() else { break };
            let (tag, n, dropped, _) = script[at];
            if dropped {
                drop(receive);
            } else {
                let got = receive.wait(&()).map_err(text)?;
                let what = format!("round {round}, message {at}, tag {tag}");
                same(&what, (got.len(), got.iter().all(|&b| b == at as u8)), (n, true))?;
            }
        }
    }
    Ok(())
}
