//! Times of messages.

use std::time::Instant;

use braidnet_comm::{CommError, Communicator, ReduceOp};

use super::median;
use crate::predict::Link;

/// Messages to and fro in one measurement.
const ROUNDS: usize = 400;
/// Measurements; the median counts.
const REPEATS: usize = 7;
/// Bytes of a large message.
const LARGE: usize = 1 << 20;

/// The link between the first two ranks of `comm`, and the seconds per byte that an all-reduce of the two takes besides sending. Between
/// threads large messages are handed over, not copied: their bandwidth is infinite where it cannot be told from that. `None` of
/// fewer than two ranks.
///
/// # Errors
/// A failed message.
///
/// # Communication
/// Collective: a few thousand messages between the first two ranks, a split, and a broadcast of what they found.
pub fn measure_links(comm: &Communicator) -> Result<Option<(Link, f64)>, CommError> {
    if comm.size() < 2 {
        return Ok(None);
    }
    let found = match comm.first_ranks(2)? {
        Some(pair) => Some(measure(&pair)?),
        None => None,
    };
    let found = found.map(|(link, combine)| vec![link.latency, link.bandwidth, combine]);
    let found: Vec<f64> = comm.broadcast(0, found.filter(|_| comm.rank() == 0), &())?;
    Ok(match found[..] {
        [latency, bandwidth, combine] => Some((Link { latency, bandwidth }, combine)),
        _ => None,
    })
}

fn measure(pair: &Communicator) -> Result<(Link, f64), CommError> {
    let mut measured = [const { Vec::new() }; 3];
    bounce(pair, 1)?;
    for _ in 0..REPEATS {
        measured[0].push(bounce(pair, 1)?);
        measured[1].push(bounce(pair, LARGE)?);
        measured[2].push(all_reduce(pair)?);
    }
    let [latency, large, reduced] = measured.map(median);
    let per_byte = (large - latency) / LARGE as f64;
    // Faster than any memory: nothing was copied.
    let bandwidth = if per_byte > 1e-12 { 1.0 / per_byte } else { f64::INFINITY };
    // Half of the values travel to their owner, the sums back.
    let travelling = 2.0 * (latency + LARGE as f64 / 2.0 / bandwidth);
    let combine = ((reduced - travelling) / LARGE as f64).max(0.0);
    Ok((Link { latency, bandwidth }, combine))
}

/// Seconds of a message of `n` bytes, one way.
fn bounce(pair: &Communicator, n: usize) -> Result<f64, CommError> {
    let other = 1 - pair.rank();
    let mut message = vec![1u8; n];
    pair.barrier()?;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        if pair.rank() == 0 {
            pair.send(other, 0, message)?;
            message = pair.receive(other, 0)?.wait(&())?;
        } else {
            let received: Vec<u8> = pair.receive(other, 0)?.wait(&())?;
            pair.send(other, 0, received)?;
        }
    }
    Ok(start.elapsed().as_secs_f64() / (2 * ROUNDS) as f64)
}

/// Seconds of an all-reduce of as many bytes as a large message has.
fn all_reduce(pair: &Communicator) -> Result<f64, CommError> {
    let mut values = vec![0.0f32; LARGE / size_of::<f32>()];
    pair.barrier()?;
    let start = Instant::now();
    pair.all_reduce(&mut values, ReduceOp::Sum)?;
    Ok(start.elapsed().as_secs_f64())
}
