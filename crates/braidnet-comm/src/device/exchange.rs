//! The exchange that shows whether the direct path works: buffers of the device, to both neighbours and from them.

use std::any::Any;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::{DeviceBuffer, DeviceProbe};
use crate::communicator::tags;
use crate::transport::{Delivery, Parcel};
use crate::{CommError, Communicator};

/// Below and above the sizes at which libraries change their protocol.
const SIZES: [usize; 2] = [1 << 10, 1 << 20];

/// How long one buffer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The time between two looks for a buffer.
const LOOK: Duration = Duration::from_micros(50);

/// One step: a buffer to one neighbour, and one from the other.
struct Swap {
    to: usize,
    from: usize,
    sample: DeviceBuffer,
    room: DeviceBuffer,
    expected: Vec<u8>,
}

/// Makes the exchange; the reason if it fails on any rank, the same on all. Collective: the ranks agree after every
/// step, so none goes on while another has given up.
pub(super) fn exchange(comm: &Communicator, probe: &mut dyn DeviceProbe) -> Result<Option<String>, CommError> {
    let prepared = prepare(comm, probe).map_err(|error| error.to_string());
    let (swaps, mine) = prepared.map_or_else(|reason| (Vec::new(), Err(reason)), |swaps| (swaps, Ok(())));
    if let Some(reason) = comm.agree_on(mine)? {
        return Ok(Some(reason));
    }
    for swap in &swaps {
        let mine = swap.make(comm, probe);
        if let Some(reason) = comm.agree_on(mine)? {
            // A buffer that does not arrive would otherwise be waited for when the launch ends.
            comm.transport().abandon();
            return Ok(Some(reason));
        }
    }
    Ok(None)
}

/// Everything that a device may refuse before anything is sent.
fn prepare(comm: &Communicator, probe: &mut dyn DeviceProbe) -> Result<Vec<Swap>, super::ProbeError> {
    if let Some(attach) = probe.attach()? {
        attach();
        comm.transport().attach(attach);
    }
    let (rank, size) = (comm.rank(), comm.size());
    let (next, previous) = ((rank + 1) % size, (rank + size - 1) % size);
    let ways = [(next, previous), (previous, next)];
    let steps = SIZES.iter().flat_map(|&n| ways.map(|way| (n, way))).enumerate();
    let swap = |(step, (n, (to, from)))| {
        let expected = pattern(from, step, n);
        // No byte of the room is right before the message has come.
        let wrong: Vec<u8> = expected.iter().map(|byte| !byte).collect();
        let (sample, room) = (probe.fill(&pattern(rank, step, n))?, probe.fill(&wrong)?);
        Ok(Swap { to, from, sample, room, expected })
    };
    steps.map(swap).collect()
}

impl Swap {
    fn make(&self, comm: &Communicator, probe: &mut dyn DeviceProbe) -> Result<(), String> {
        self.pass(comm).map_err(|error| match error {
            CommError::NoAnswer { .. } => format!("no device buffer came from rank {} within {LIMIT:?}", self.from),
            error => format!("a device buffer from rank {}: {error}", self.from),
        })?;
        let got = probe.read(&self.room).map_err(|error| error.to_string())?;
        let wrong = got.iter().zip(&self.expected).filter(|(got, expected)| got != expected).count();
        if wrong == 0 && got.len() == self.expected.len() {
            return Ok(());
        }
        let n = self.expected.len();
        Err(format!(
            "of {n} bytes that rank {} sent from its device, {} came, {wrong} of them wrong",
            self.from,
            got.len()
        ))
    }

    /// Sends the sample and receives into the room.
    fn pass(&self, comm: &Communicator) -> Result<(), CommError> {
        let transport = comm.transport();
        let channel = comm.channel(self.from, tags::PROBE)?;
        let sample = Sample(Mutex::new(Some(self.sample.clone())));
        let ticket = transport.post(channel)?;
        let sent = comm.channel(self.to, tags::PROBE).and_then(|to| transport.lend(to, Box::new(sample)));
        let arrived = sent.and_then(|()| {
            let since = Instant::now();
            while !transport.is_ready(channel, ticket)? {
                if since.elapsed() > LIMIT {
                    return Err(CommError::NoAnswer { rank: channel.peer, patience: LIMIT });
                }
                thread::sleep(LOOK);
            }
            Ok(())
        });
        if let Err(error) = arrived {
            transport.discard(channel, ticket);
            return Err(error);
        }
        match transport.take(channel, ticket)? {
            Delivery::Lent { lent, .. } => transport.fetch(&lent, vec![self.room.clone()], Some(LIMIT)),
            _ => Err(CommError::malformed("message", "a lent buffer", "a packed one")),
        }
    }
}

/// A buffer as a message of its own.
struct Sample(Mutex<Option<DeviceBuffer>>);

impl Parcel for Sample {
    fn n_bytes(&self) -> usize {
        0
    }

    fn pack(&self, _out: &mut Vec<u8>) {}

    fn lend(&self) -> Option<Vec<DeviceBuffer>> {
        self.0.lock().ok()?.take().map(|buffer| vec![buffer])
    }

    fn pack_head(&self, _out: &mut Vec<u8>) {}

    fn type_name(&self) -> &'static str {
        "sample"
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// Bytes that differ between ranks and steps, and do not repeat within a page.
fn pattern(rank: usize, step: usize, n: usize) -> Vec<u8> {
    let seed = ((rank as u64) << 32) + ((step as u64) << 24);
    (0..n as u64).map(|i| ((seed + i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_differ() {
        let all: Vec<_> = (0..4).flat_map(|rank| (0..4).map(move |step| pattern(rank, step, 1 << 10))).collect();
        for (k, one) in all.iter().enumerate() {
            for other in &all[..k] {
                let n_equal = one.iter().zip(other).filter(|(a, b)| a == b).count();
                assert!(n_equal < 64, "{n_equal} of {} bytes are equal", one.len());
            }
        }
    }
}
