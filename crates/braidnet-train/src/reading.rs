//! What the closing layer reads where it reads the states behind all layers.
//!
//! The states of a rank travel as one message to the last rank, what the loss makes of them comes back as one. Point `n` counts for
//! the rank that owns layer `n`; the last point, behind all layers, for the last rank.

use std::ops::Range;

use braidnet_comm::{Communicator, Tag};
use braidnet_grid::Partition;
use braidnet_mgrit::{Mgrit, Sources};
use braidnet_nn::Network;

use crate::TrainError;

/// Apart from the tags of solver, pipeline, copies of parameters and continuity.
const READ: Tag = 1012;
const UNREAD: Tag = 1013;

/// What the adjoint starts from, on the last rank, and its sources.
type AdjointStart<S> = (Option<S>, Sources<S>);

/// The points that count for a rank; nothing before the first layer is read, so that the first rank has none if it has one layer
/// alone. A rank without points sends and gets nothing.
fn points(partition: &Partition, rank: usize) -> Range<usize> {
    let layers = partition.layers(rank);
    layers.start.max(1)..layers.end + usize::from(rank + 1 == partition.n_ranks())
}

/// What the closing layer reads, on the last rank.
///
/// # Errors
/// A failed message.
///
/// # Communication
/// One message from every rank to the last where all states are read, else none.
pub(crate) fn read<N: Network>(
    (network, batch): (&N, &N::Batch),
    (comm, partition): (&Communicator, &Partition),
    solver: &Mgrit<N::State>,
) -> Result<Option<N::State>, TrainError> {
    if !network.reads_all_states() {
        return Ok(solver.last_state().cloned());
    }
    let (rank, last) = (comm.rank(), comm.size() - 1);
    let own = points(partition, rank);
    if own.is_empty() {
        return Ok(None);
    }
    let states: Vec<&N::State> = own.filter_map(|point| solver.state(point)).collect();
    let own = network.read(&states, batch);
    if rank < last {
        comm.send(last, READ, own)?;
        return Ok(None);
    }
    let mut all = Vec::with_capacity(comm.size());
    for from in (0..last).filter(|from| !points(partition, *from).is_empty()) {
        all.push(comm.receive(from, READ)?.wait(&network.device())?);
    }
    all.push(own);
    Ok(Some(network.join(all, batch)))
}

/// From the derivative by what was read, on the last rank, to what the adjoint starts from there and its sources on all ranks.
///
/// # Errors
/// A failed message.
///
/// # Communication
/// One message from the last rank to every other where all states are read, else none.
pub(crate) fn unread<N: Network>(
    network: &N,
    (comm, partition): (&Communicator, &Partition),
    lambda: Option<N::State>,
) -> Result<AdjointStart<N::State>, TrainError> {
    if !network.reads_all_states() {
        return Ok((lambda, Sources::none()));
    }
    let (rank, last) = (comm.rank(), comm.size() - 1);
    let own = match lambda {
        Some(lambda) => {
            let readers = (0..comm.size()).map(|rank| (rank, points(partition, rank).len())).filter(|(_, n)| *n > 0);
            let (ranks, counts): (Vec<usize>, Vec<usize>) = readers.unzip();
            let mut parts = network.split(lambda, &counts);
            let own = parts.pop();
            for (to, part) in ranks.into_iter().zip(parts) {
                comm.send(to, UNREAD, part)?;
            }
            own
        }
        None if points(partition, rank).is_empty() => None,
        None => Some(comm.receive(last, UNREAD)?.wait(&network.device())?),
    };
    let mut lambdas = own.map(|own| network.unread(own)).unwrap_or_default();
    let end = if rank == last { lambdas.pop() } else { None };
    Ok((end, Sources::new(points(partition, rank).zip(lambdas))))
}
