//! One rank fails, returns early or does not answer: everybody ends, with the first cause.

use std::env;
use std::process::Command;
use std::time::Duration;

use braidnet_comm::{CommError, Communicator, Launch, LaunchError, ReduceOp, launch};

/// Runs a program that must fail, and returns the rank and the reason.
fn failure<E: std::fmt::Display>(
    n: usize,
    program: impl Fn(Communicator) -> Result<(), E> + Send + Sync,
) -> (usize, String) {
    failure_of(&Launch::ranks(n), program)
}

fn failure_of<E: std::fmt::Display>(
    options: &Launch,
    program: impl Fn(Communicator) -> Result<(), E> + Send + Sync,
) -> (usize, String) {
    match launch(options, program) {
        Err(LaunchError::Rank { rank, reason }) => (rank, reason),
        other => panic!("expected a failed rank, got {other:?}"),
    }
}

/// A launch in which a wait of a second is too long.
fn impatient(n: usize) -> Launch {
    Launch::ranks(n).with_patience(Duration::from_secs(1))
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
    let result = launch(&Launch::ranks(2), |world| {
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
    let run = |ranks| launch(&Launch::ranks(ranks), |world| Ok::<_, CommError>((world.rank(), world.size())));
    assert_eq!(run(None), Ok(vec![(0, 1)]));
    assert_eq!(run(Some(3)), Ok(vec![(0, 3), (1, 3), (2, 3)]));
    assert_eq!(run(Some(0)), Err(LaunchError::NoRanks));
}

#[test]
fn ranks_have_names_and_room() {
    let names = launch(&Launch::ranks(2), |_| {
        // More than the 2 MiB a thread has by default.
        let room = std::hint::black_box([1u8; 8 << 20]);
        assert_eq!(room[std::hint::black_box(77)], 1);
        Ok::<_, CommError>(std::thread::current().name().map(str::to_owned))
    });
    assert_eq!(names, Ok(vec![Some("rank 0".to_owned()), Some("rank 1".to_owned())]));
}

#[test]
fn patience_ends_and_names_the_end_of_the_chain() {
    // 0 waits for 1, which waits for 2, which waits for 3, which works until some rank has failed.
    let (_, reason) = failure_of(&impatient(4), |world| {
        if world.rank() < 3 {
            return wait_for(&world, world.rank() + 1);
        }
        while world.send(3, 0, ()).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    });
    assert!(reason.starts_with("rank 3 has not answered for 1 s: it hangs, or works longer"), "{reason}");
}

#[test]
fn ranks_that_wait_for_each_other_are_named() {
    // 2 waits for the circle of 0 and 1, and is not in it.
    let (_, reason) = failure_of(&impatient(3), |world| wait_for(&world, [1, 0, 0][world.rank()]));
    let circles = [
        "rank 0 has waited for rank 1, and rank 1 for rank 0 for 1 s",
        "rank 1 has waited for rank 0, and rank 0 for rank 1 for 1 s",
    ];
    assert!(circles.iter().any(|circle| reason.starts_with(circle)), "{reason}");
    let (_, reason) = failure_of(&impatient(1), |world| wait_for(&world, 0));
    assert!(reason.starts_with("rank 0 has waited for rank 0 for 1 s"), "{reason}");
}

#[test]
fn patience_counts_for_each_message_alone() {
    // Ten messages, each well within the patience, all of them together beyond it.
    let result = launch(&Launch::ranks(2).with_patience(Duration::from_secs(2)), |world| {
        for _ in 0..10 {
            if world.rank() == 0 {
                std::thread::sleep(Duration::from_millis(250));
                world.send(1, 0, 1u64)?;
            } else {
                wait_for(&world, 0)?;
            }
        }
        Ok::<_, CommError>(())
    });
    assert_eq!(result, Ok(vec![(), ()]));
}

#[test]
fn a_rank_that_polls_learns_that_the_other_has_ended() {
    let (rank, reason) = failure(2, |world| {
        if world.rank() == 1 {
            return Ok(());
        }
        let mut started = world.start_all_reduce(vec![1.0; 10], ReduceOp::Sum)?;
        while !started.advance()? {
            std::thread::yield_now();
        }
        Ok::<_, CommError>(())
    });
    assert_eq!(rank, 0);
    assert!(reason.starts_with("rank 1 has ended without sending"), "{reason}");
}

#[test]
fn an_error_ends_those_with_all_reduces_in_flight() {
    let (rank, reason) = failure(3, |world| {
        let started = (0..5).map(|_| world.start_all_reduce(vec![1.0; 10_000], ReduceOp::Sum));
        let started = started.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        if world.rank() == 1 {
            return Err("the gradient is not a number".to_owned());
        }
        let waited = started.into_iter().try_for_each(|all| all.wait().map(drop));
        waited.and_then(|()| wait_for(&world, 1)).map_err(|error| error.to_string())
    });
    assert_eq!((rank, reason.as_str()), (1, "the gradient is not a number"));
}

/// Set for the process that the next test starts: itself once more.
const CHILD: &str = "BRAIDNET_FAULT_CHILD";

#[test]
fn a_rank_that_computes_for_ever_does_not_keep_the_process() {
    if env::var_os(CHILD).is_some() {
        let _ = launch(&impatient(3), |world| match world.rank() {
            1 => loop {
                std::hint::spin_loop();
            },
            _ => wait_for(&world, 1),
        });
        panic!("the launch returned");
    }
    let name = "a_rank_that_computes_for_ever_does_not_keep_the_process";
    let mut again = Command::new(env::current_exe().unwrap());
    let output = again.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(": rank 1 has not answered for 1 s"), "{text}");
}
