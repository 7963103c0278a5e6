//! One clock for all ranks.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

use braidnet_comm::{Communicator, N_TAGS, Tag};

use super::recorder::now_ns;
use crate::MonitorError;

/// Messages back and forth per rank. The fastest of them says most: the slower ones waited somewhere.
const ROUNDS: usize = 20;

/// The last tag that users have; programs count theirs from 0.
const TAG: Tag = N_TAGS - 1;

/// A number that ranks share if they are threads of one process, and no others: process ids repeat between machines and
/// containers.
fn process_token() -> u64 {
    static TOKEN: OnceLock<u64> = OnceLock::new();
    *TOKEN.get_or_init(|| RandomState::new().build_hasher().finish())
}

/// What [`align`] finds.
#[derive(Debug, Clone, Copy)]
pub struct Alignment {
    /// What to add to this process's clock to read rank 0's.
    pub offset_ns: i64,
    /// Whether this is the first rank of its process.
    pub is_first: bool,
}

/// Compares this rank's clock with rank 0's. Ranks that share rank 0's process share its clock.
///
/// # Errors
/// Those of sending and receiving.
///
/// # Communication
/// Collective: an all-gather, then rank 0 and one other rank at a time exchange `2 ROUNDS + 1` messages.
pub fn align(world: &Communicator) -> Result<Alignment, MonitorError> {
    let tokens = world.all_gather(process_token(), &())?;
    let own = tokens[world.rank()];
    let is_first = tokens.iter().position(|&token| token == own) == Some(world.rank());
    let mut offset_ns = 0;
    if world.rank() == 0 {
        for rank in (1..world.size()).filter(|&rank| tokens[rank] != own) {
            world.send(rank, TAG, measure(world, rank)?)?;
        }
    } else if own != tokens[0] {
        for _ in 0..ROUNDS {
            world.receive::<()>(0, TAG)?.wait(&())?;
            world.send(0, TAG, now_ns())?;
        }
        offset_ns = world.receive::<i64>(0, TAG)?.wait(&())?;
    }
    Ok(Alignment { offset_ns, is_first })
}

/// Rank 0's side: what to add to the clock of `rank`.
fn measure(world: &Communicator, rank: usize) -> Result<i64, MonitorError> {
    let mut best = Reading { round_trip_ns: u64::MAX, offset_ns: 0 };
    for _ in 0..ROUNDS {
        let answer = world.receive::<u64>(rank, TAG)?;
        let sent = now_ns();
        world.send(rank, TAG, ())?;
        let there = answer.wait(&())?;
        let reading = Reading::new(sent, there, now_ns());
        if reading.round_trip_ns < best.round_trip_ns {
            best = reading;
        }
    }
    Ok(best.offset_ns)
}

/// One message back and forth.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    round_trip_ns: u64,
    offset_ns: i64,
}

impl Reading {
    /// The other clock said `there` at some moment between `sent` and `came` on this one; halfway, if both messages
    /// took the same time.
    fn new(sent: u64, there: u64, came: u64) -> Self {
        let round_trip_ns = came - sent;
        Self { round_trip_ns, offset_ns: (sent + round_trip_ns / 2) as i64 - there as i64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_leads_from_the_other_clock_to_this_one() {
        assert_eq!(Reading::new(1000, 40, 1100), Reading { round_trip_ns: 100, offset_ns: 1010 });
        assert_eq!(Reading::new(10, 5000, 30), Reading { round_trip_ns: 20, offset_ns: -4980 });
    }
}
