//! Simulated time: every expected time is what a pencil gives, to the bit, because all numbers are sums of powers of
//! two.

#![allow(clippy::unwrap_used)]

use braidnet_comm::simulate::{Blank, Link, Links, Simulated, now, simulate, spend, waited};
use braidnet_comm::{CommError, Communicator, Launch, LaunchError, ReduceOp, launch};
use proptest::prelude::*;

/// Half a second, 8 bytes per second.
const NEAR: Link = Link { latency: 0.5, bandwidth: 8.0 };
/// Four seconds, 2 bytes per second.
const FAR: Link = Link { latency: 4.0, bandwidth: 2.0 };
/// All ranks on one node.
const LINKS: Links = Links { near: NEAR, far: FAR, ranks_per_node: usize::MAX };

/// Runs on one node and returns the clocks.
fn seconds(ranks: usize, program: impl Fn(&Communicator) -> Result<(), CommError> + Send + Sync) -> Vec<f64> {
    run(ranks, &LINKS, program).iter().map(|rank| rank.seconds).collect()
}

fn run<T: Send>(
    ranks: usize,
    links: &Links,
    program: impl Fn(&Communicator) -> Result<T, CommError> + Send + Sync,
) -> Vec<Simulated<T>> {
    simulate(ranks, links, |world| program(&world)).unwrap()
}

fn blanks(n_bytes: usize) -> Vec<Blank> {
    vec![Blank; n_bytes / 4]
}

fn send(world: &Communicator, to: usize, n_bytes: usize) -> Result<(), CommError> {
    world.send(to, 0, blanks(n_bytes))
}

/// The bytes of the message that came.
fn wait(world: &Communicator, from: usize) -> Result<usize, CommError> {
    Ok(4 * world.receive::<Vec<Blank>>(from, 0)?.wait(&())?.len())
}

#[test]
fn a_message_there_and_back_takes_two_latencies_and_two_transfers() {
    let ranks = run(2, &LINKS, |world| {
        let other = 1 - world.rank();
        if world.rank() == 0 {
            send(world, other, 16)?;
            return wait(world, other);
        }
        let n_bytes = wait(world, other)?;
        send(world, other, n_bytes)?;
        Ok(n_bytes)
    });
    let trip = 0.5 + 16.0 / 8.0;
    let rank = |seconds| Simulated { value: 16, seconds, waiting: seconds, bytes: 16, messages: 1 };
    assert_eq!(ranks, [rank(2.0 * trip), rank(trip)]);
}

#[test]
fn a_chain_of_three_works_on_several_batches_at_once() {
    let (n_batches, work) = (5, 3.0);
    let all = seconds(3, |world| {
        for _ in 0..n_batches {
            if world.rank() > 0 {
                wait(world, world.rank() - 1)?;
            }
            spend(work);
            if world.rank() < 2 {
                send(world, world.rank() + 1, 8)?;
            }
        }
        Ok(())
    });
    // A message of 1.5 s hides behind the work on the next batch.
    let stage = |rank: f64| rank * (work + 1.5) + work * f64::from(n_batches);
    assert_eq!(all, [stage(0.0), stage(1.0), stage(2.0)]);
}

#[test]
fn who_is_late_makes_the_others_wait() {
    let ranks = run(4, &LINKS, |world| {
        spend(if world.rank() == 2 { 10.0 } else { 1.0 });
        let before = (now(), waited());
        world.barrier()?;
        Ok((before, now(), waited()))
    });
    // Two rounds: everybody hears of rank 2 in the first or in the second, rank 2 itself of nobody who is later.
    let ends = [10.5, 11.0, 10.0, 10.5];
    for (rank, end) in ends.into_iter().enumerate() {
        let start = if rank == 2 { 10.0 } else { 1.0 };
        let value = ((start, 0.0), end, end - start);
        assert_eq!(ranks[rank], Simulated { value, seconds: end, waiting: end - start, bytes: 0, messages: 2 });
    }
}

#[test]
fn a_rank_sends_one_message_after_the_other_and_computes_meanwhile() {
    let all = seconds(4, |world| match world.rank() {
        0 => {
            send(world, 1, 16)?;
            send(world, 2, 8)?;
            spend(4.0);
            send(world, 3, 8)
        }
        _ => wait(world, 0).map(drop),
    });
    assert_eq!(all, [4.0, 2.0 + 0.5, 2.0 + 1.0 + 0.5, 4.0 + 1.0 + 0.5]);
}

#[test]
fn a_message_is_waited_for_once_and_only_if_it_has_not_come() {
    let all = run(2, &LINKS, |world| {
        if world.rank() == 0 {
            send(world, 1, 8)?;
            return send(world, 1, 8).map(|()| 0.0);
        }
        let (first, second) = (world.receive::<Vec<Blank>>(0, 0)?, world.receive::<Vec<Blank>>(0, 0)?);
        spend(1.0);
        second.wait(&())?;
        first.wait(&())?;
        Ok(waited())
    });
    assert_eq!((all[1].value, all[1].seconds), (1.5, 2.5));
}

#[test]
fn a_message_to_oneself_arrives_at_once() {
    let all = run(1, &LINKS, |world| {
        spend(1.0);
        send(world, 0, 800)?;
        wait(world, 0)
    });
    assert_eq!(all, [Simulated { value: 800, seconds: 1.0, waiting: 0.0, bytes: 800, messages: 1 }]);
}

#[test]
fn an_all_reduce_of_one_part_goes_to_its_owner_and_back() {
    // Rank 0 owns the part of 64 bytes, 8 s on a link. The others' links carry it at the same time, that of rank 0 the
    // results, one after the other.
    let all_reduce = |world: &Communicator| world.all_reduce(&mut blanks(64), ReduceOp::Sum);
    assert_eq!(seconds(2, all_reduce), [8.5, 17.0]);
    assert_eq!(seconds(4, all_reduce), [8.5, 17.0, 25.0, 33.0]);
}

#[test]
fn an_all_reduce_of_many_parts_keeps_every_link_busy() {
    // As many parts as ranks, 4096 numbers each: 2048 s on a link. Every rank sends a part to every other, and has the
    // last of its own part's after `ranks - 1` of them and a latency; then it sends the result to every other, and has
    // the last of the other parts as much later.
    for ranks in [2, 4] {
        let bytes = ranks * 4096 * 4;
        let half = 0.5 + (ranks - 1) as f64 * 2048.0;
        let expected = vec![2.0 * half; ranks];
        assert_eq!(seconds(ranks, |world| world.all_reduce(&mut blanks(bytes), ReduceOp::Sum)), expected);
        let started = seconds(ranks, |world| {
            let mut started = world.start_all_reduce(blanks(bytes), ReduceOp::Max)?;
            // The parts travel meanwhile.
            spend(half);
            assert!(!started.advance()?);
            started.wait().map(drop)
        });
        assert_eq!(started, expected);
    }
}

#[test]
fn split_communicators_keep_the_nodes() {
    let links = Links { ranks_per_node: 2, ..LINKS };
    let ranks = run(4, &links, |world| {
        // Ranks 0 and 2, 1 and 3: nobody of the same node. Then 0 and 1, 2 and 3, in reverse order.
        let far = world.split(Some(world.rank() as u64 % 2), 0)?.unwrap();
        let near = world.split(Some(world.rank() as u64 / 2), 3 - world.rank() as u64)?.unwrap().duplicate()?;
        let mut times = Vec::new();
        for comm in [far, near] {
            // All clocks alike, and all links free.
            world.barrier()?;
            spend(1000.0 * (times.len() + 1) as f64 - now());
            let start = now();
            send(&comm, 1 - comm.rank(), 8)?;
            wait(&comm, 1 - comm.rank())?;
            times.push(now() - start);
        }
        Ok(times)
    });
    for rank in ranks {
        assert_eq!(rank.value, [4.0 + 8.0 / 2.0, 0.5 + 8.0 / 8.0]);
    }
}

#[test]
fn a_link_may_be_infinitely_fast() {
    let free = Link { latency: 0.0, bandwidth: f64::INFINITY };
    let ranks = run(3, &Links { near: free, far: free, ranks_per_node: 1 }, |world| {
        spend(world.rank() as f64);
        world.all_gather(blanks(1 << 20), &()).map(|all| all.len())
    });
    for (rank, out) in ranks.iter().enumerate() {
        assert_eq!((out.value, out.seconds, out.waiting), (3, 2.0, 2.0 - rank as f64));
    }
}

#[test]
fn a_thousand_ranks_pass_a_message_around() {
    let n = 1024;
    let ranks = run(n, &LINKS, |world| {
        let (rank, next) = (world.rank(), (world.rank() + 1) % n);
        if rank == 0 {
            send(world, next, 8)?;
        }
        wait(world, (rank + n - 1) % n)?;
        if rank > 0 { send(world, next, 8) } else { Ok(()) }
    });
    assert_eq!(ranks[0].seconds, 1024.0 * 1.5);
    assert_eq!(ranks.iter().map(|rank| rank.messages).sum::<u64>(), 1024);
}

#[test]
fn no_time_passes_outside_of_a_simulation() {
    spend(5.0);
    assert_eq!((now(), waited()), (0.0, 0.0));
    // And a clock is that of one rank: a simulation inside of another leaves it alone.
    let ranks = run(1, &LINKS, |_| {
        spend(1.0);
        let inner = seconds(2, |_| {
            spend(7.0);
            Ok(())
        });
        Ok((now(), inner[1]))
    });
    assert_eq!(ranks[0].value, (1.0, 7.0));
}

#[test]
fn what_cannot_be_is_refused_before_a_rank_starts() {
    let refused = |ranks, links: Links| {
        let started = simulate(ranks, &links, |_| -> Result<(), String> { panic!("started") });
        started.unwrap_err().to_string()
    };
    let near = |latency, bandwidth| Links { near: Link { latency, bandwidth }, ..LINKS };
    assert_eq!(refused(0, LINKS), LaunchError::NoRanks.to_string());
    assert_eq!(refused(2, Links { ranks_per_node: 0, ..LINKS }), LaunchError::EmptyNodes.to_string());
    for latency in [-1.0, f64::NAN, f64::INFINITY] {
        let expected = "give it in seconds, finite and not negative";
        assert_eq!(refused(2, near(latency, 1.0)), format!("the near link has a latency of {latency}; {expected}"));
    }
    for bandwidth in [0.0, -0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
        let expected = "give it in bytes per second, more than zero";
        assert_eq!(
            refused(2, near(1.0, bandwidth)),
            format!("the near link has a bandwidth of {bandwidth}; {expected}")
        );
    }
    let far = Link { latency: 0.0, bandwidth: 0.0 };
    assert!(refused(1, Links { far, ..LINKS }).starts_with("the far link has a bandwidth of 0"));
}

/// The rank and the reason of a simulation of three that must fail.
fn failure(program: impl Fn(Communicator) -> Result<(), String> + Send + Sync) -> (usize, String) {
    match simulate(3, &LINKS, program) {
        Err(LaunchError::Rank { rank, reason }) => (rank, reason),
        other => panic!("expected a failed rank, got {other:?}"),
    }
}

#[test]
fn a_rank_that_fails_ends_the_others() {
    let others_wait = |world: &Communicator| wait(world, 1).map(drop).map_err(|error| error.to_string());
    let failed = failure(|world| if world.rank() == 1 { Err("no data".to_owned()) } else { others_wait(&world) });
    assert_eq!(failed, (1, "no data".to_owned()));
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        let (rank, reason) = failure(|world| {
            if world.rank() == 1 {
                spend(bad);
            }
            others_wait(&world)
        });
        let expected = format!("panicked: a computation of {bad} s; spend a finite time that is not negative");
        assert_eq!((rank, reason), (1, expected));
    }
    let (rank, reason) = failure(|world| match world.rank() {
        0 => world.send(1, 0, 1u64).map_err(|error| error.to_string()),
        _ => wait(&world, (world.rank() + 2) % 3).map(drop).map_err(|error| error.to_string()),
    });
    assert_eq!(rank, 1);
    assert!(reason.starts_with("received u64 from rank 0 where alloc::vec::Vec<"), "{reason}");
}

/// A step of a random program that all ranks follow.
#[derive(Debug, Clone)]
enum Step {
    Spend(usize, f64),
    Send { from: usize, to: usize, bytes: usize, tag: u16 },
    AllReduce(usize),
    Start(usize),
    Barrier,
    Broadcast(usize),
}

fn step(n: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..n, 0.0..3.0).prop_map(|(rank, seconds)| Step::Spend(rank, seconds)),
        6 => (0..n, 0..n, 0..64usize, 0..3u16).prop_map(|(from, to, bytes, tag)| Step::Send { from, to, bytes, tag }),
        1 => (1..20usize).prop_map(Step::AllReduce),
        1 => (1..20usize).prop_map(Step::Start),
        1 => Just(Step::Barrier),
        1 => (0..n).prop_map(Step::Broadcast),
    ]
}

/// Follows the steps on one rank; what it computed, as bits. Fails if the clock ever runs backwards.
fn follow(world: &Communicator, steps: &[Step]) -> Result<Vec<u64>, CommError> {
    let rank = world.rank();
    let mut values = vec![1.0 / (rank + 1) as f64];
    let (mut posted, mut started) = (Vec::new(), Vec::new());
    let mut last = (now(), waited());
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::Spend(who, seconds) if who == rank => spend(seconds),
            Step::Send { from, to, bytes, tag } => {
                if from == rank {
                    world.send(to, tag, vec![number as u8; bytes])?;
                }
                if to == rank {
                    posted.push(world.receive::<Vec<u8>>(from, tag)?);
                }
                // Not at once and not in order.
                if posted.len() > 2 {
                    let bytes = posted.swap_remove(number % posted.len()).wait(&())?;
                    values.push(bytes.iter().map(|&byte| f64::from(byte)).sum());
                }
            }
            Step::AllReduce(n) => {
                let mut array = vec![values[values.len() - 1]; n];
                world.all_reduce(&mut array, ReduceOp::Sum)?;
                values.push(array[n - 1]);
            }
            Step::Start(n) => started.push(world.start_all_reduce(vec![values[0]; n], ReduceOp::Max)?),
            Step::Barrier => world.barrier()?,
            Step::Broadcast(root) => values.push(world.broadcast(root, Some(values[0]), &())?),
            Step::Spend(..) => {}
        }
        // Whether the parts are here or not must make no difference.
        for started in &mut started {
            started.advance()?;
        }
        let this = (now(), waited());
        assert!(this.0 >= last.0 && this.1 >= last.1 && this.1 <= this.0, "{last:?} then {this:?}");
        last = this;
    }
    for started in started {
        values.extend(started.wait()?);
    }
    Ok(values.iter().map(|value| value.to_bits()).collect())
}

fn two_nodes() -> Links {
    let near = Link { latency: 0.03, bandwidth: 700.0 };
    Links { near, far: Link { latency: 0.2, bandwidth: 90.0 }, ranks_per_node: 3 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn results_are_those_of_a_launch(n in 1..5usize, steps in prop::collection::vec(step(5), 0..60)) {
        let steps: Vec<Step> = steps.into_iter().map(|step| within(step, n)).collect();
        let simulated = simulate(n, &two_nodes(), |world| follow(&world, &steps)).unwrap();
        let launched = launch(&Launch::ranks(n), |world| follow(&world, &steps)).unwrap();
        let values: Vec<_> = simulated.into_iter().map(|rank| rank.value).collect();
        prop_assert_eq!(values, launched);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn times_depend_on_the_program_alone(steps in prop::collection::vec(step(8), 60..100)) {
        let run = || simulate(8, &two_nodes(), |world| follow(&world, &steps)).unwrap();
        let first = run();
        for _ in 1..20 {
            prop_assert_eq!(&run(), &first);
        }
    }
}

/// The step with ranks that there are.
fn within(step: Step, n: usize) -> Step {
    match step {
        Step::Spend(rank, seconds) => Step::Spend(rank % n, seconds),
        Step::Send { from, to, bytes, tag } => Step::Send { from: from % n, to: to % n, bytes, tag },
        Step::Broadcast(root) => Step::Broadcast(root % n),
        other => other,
    }
}
