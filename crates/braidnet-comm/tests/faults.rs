//! One rank fails: everybody ends, soon, with that rank's message.

use std::time::{Duration, Instant};

use braidnet_comm::{CommError, Communicator, Launch, LaunchError, ReduceOp, launch};

/// Runs a program that must fail within a second, and returns the rank and the reason.
fn failure<E: std::fmt::Display>(
    n: usize,
    program: impl Fn(Communicator) -> Result<(), E> + Send + Sync,
) -> (usize, String) {
    let start = Instant::now();
    let result = launch(&Launch { ranks: Some(n) }, program);
    assert!(start.elapsed() < Duration::from_secs(1), "took {:?}", start.elapsed());
    match result {
        Err(LaunchError::Rank { rank, reason }) => (rank, reason),
        other => panic!("expected a failed rank, got {other:?}"),
    }
}

fn wait_for(world: &Communicator, from: usize) -> Result<(), CommError> {
    world.receive::<u64>(from, 0)?.wait(&()).map(drop)
}

#[test]
fn an_error_ends_those_who_wait() {
    for n in [2, 3, 4, 8] {
        let (rank, reason) = failure(n, |world| match world.rank() {
            1 => Err("the data set is empty".to_owned()),
            _ => wait_for(&world, 1).map_err(|error| error.to_string()),
        });
        assert_eq!((rank, reason.as_str()), (1, "the data set is empty"));
    }
}

#[test]
fn an_error_ends_those_who_sleep_in_a_receive() {
    let (rank, reason) = failure(4, |world| {
        if world.rank() == 2 {
            std::thread::sleep(Duration::from_millis(50));
            return Err("late".to_owned());
        }
        wait_for(&world, 2).map_err(|error| error.to_string())
    });
    assert_eq!((rank, reason.as_str()), (2, "late"));
}

#[test]
fn a_panic_ends_those_who_wait() {
    let (rank, reason) = failure(3, |world| {
        if world.rank() == 2 {
            panic!("step {} does not exist", 7);
        }
        wait_for(&world, 2)
    });
    assert_eq!((rank, reason.as_str()), (2, "panicked: step 7 does not exist"));
}

#[test]
fn abort_ends_all_and_returns_the_cause() {
    let (rank, reason) = failure(3, |world| {
        if world.rank() == 1 {
            let error = world.abort("out of patience");
            assert_eq!(error, CommError::Aborted { rank: 1, reason: "out of patience".to_owned() });
            return Err(error);
        }
        let error = wait_for(&world, 1).unwrap_err();
        assert_eq!(error, CommError::Aborted { rank: 1, reason: "out of patience".to_owned() });
        assert_eq!(world.send(0, 0, 1u64), Err(error.clone()));
        assert_eq!(world.abort("too late"), error);
        Err(error)
    });
    assert_eq!((rank, reason.as_str()), (1, "out of patience"));
}

#[test]
fn an_error_inside_a_collective_is_the_first_cause() {
    let (rank, reason) = failure(4, |world| world.broadcast::<u64>(3, None, &()).map(drop));
    assert_eq!(rank, 3);
    assert!(reason.starts_with("the root of a broadcast, rank 3, brought no value"), "{reason}");

    let (_, reason) = failure(2, |world| world.all_reduce(&mut vec![0.0; 10 + world.rank()], ReduceOp::Sum));
    assert!(reason.contains("reduce arrays of one length on all ranks"), "{reason}");
}

#[test]
fn an_error_while_the_others_are_in_a_collective() {
    type Call = fn(&Communicator) -> Result<(), CommError>;
    let calls: [Call; 5] = [
        |world| world.barrier(),
        |world| world.all_reduce(&mut [1.0], ReduceOp::Sum),
        |world| world.all_gather(1u64, &()).map(drop),
        |world| world.split(Some(0), 0).map(drop),
        |world| (0..1000).try_for_each(|_| world.barrier()),
    ];
    for call in calls {
        let (rank, reason) = failure(3, |world| match world.rank() {
            2 => Err("boom".to_owned()),
            _ => call(&world).map_err(|error| error.to_string()),
        });
        assert_eq!((rank, reason.as_str()), (2, "boom"));
    }
}

#[test]
fn a_rank_that_ends_without_sending_is_reported() {
    let (rank, reason) = failure(2, |world| if world.rank() == 0 { wait_for(&world, 1) } else { Ok(()) });
    assert_eq!(rank, 0);
    assert!(reason.starts_with("rank 1 has ended without sending"), "{reason}");
}

#[test]
fn what_a_rank_sent_before_it_ended_still_arrives() {
    let result = launch(&Launch { ranks: Some(2) }, |world| {
        if world.rank() == 1 {
            return world.send(0, 0, 7u64).map(|()| 0);
        }
        std::thread::sleep(Duration::from_millis(20));
        world.receive::<u64>(1, 0)?.wait(&())
    });
    assert_eq!(result, Ok(vec![7, 0]));
}

#[test]
fn launches_return_results_in_rank_order() {
    let run = |ranks| launch(&Launch { ranks }, |world| Ok::<_, CommError>((world.rank(), world.size())));
    assert_eq!(run(None), Ok(vec![(0, 1)]));
    assert_eq!(run(Some(3)), Ok(vec![(0, 3), (1, 3), (2, 3)]));
    assert_eq!(run(Some(0)), Err(LaunchError::NoRanks));
}

#[test]
fn ranks_have_names_and_room() {
    let names = launch(&Launch { ranks: Some(2) }, |_| {
        // More than the 2 MiB a thread has by default.
        let room = std::hint::black_box([1u8; 8 << 20]);
        assert_eq!(room[std::hint::black_box(77)], 1);
        Ok::<_, CommError>(std::thread::current().name().map(str::to_owned))
    });
    assert_eq!(names, Ok(vec![Some("rank 0".to_owned()), Some("rank 1".to_owned())]));
}
