//! Messages that know when they arrive.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::Links;
use super::clock::Shared;
use crate::CommError;
use crate::transport::{Channel, Delivery, Parcel, Transport};

/// One rank's end: that of threads, and a clock.
pub(super) struct TimedTransport {
    pub inner: Arc<dyn Transport>,
    pub rank: usize,
    pub links: Links,
    pub clock: Shared,
}

/// A message with the time at which it arrives.
struct Stamped {
    parcel: Box<dyn Parcel>,
    arrival: f64,
}

impl Parcel for Stamped {
    fn n_bytes(&self) -> usize {
        (*self.parcel).n_bytes()
    }

    #[cfg(feature = "mpi")]
    fn pack(&self, out: &mut Vec<u8>) {
        (*self.parcel).pack(out);
    }

    #[cfg(feature = "mpi")]
    fn lend(&self) -> Option<Vec<crate::DeviceBuffer>> {
        (*self.parcel).lend()
    }

    #[cfg(feature = "mpi")]
    fn pack_head(&self, out: &mut Vec<u8>) {
        (*self.parcel).pack_head(out);
    }

    fn type_name(&self) -> &'static str {
        (*self.parcel).type_name()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

impl Transport for TimedTransport {
    fn send(&self, channel: Channel, parcel: Box<dyn Parcel>) -> Result<(), CommError> {
        let link = self.links.between(self.rank, channel.peer);
        let arrival = self.clock.lock().send((*parcel).n_bytes(), link);
        self.inner.send(channel, Box::new(Stamped { parcel, arrival }))
    }

    fn post(&self, channel: Channel) -> Result<u64, CommError> {
        self.inner.post(channel)
    }

    fn take(&self, channel: Channel, ticket: u64) -> Result<Delivery, CommError> {
        let delivery = match self.inner.take(channel, ticket)? {
            Delivery::Value { value, type_name } => match value.downcast::<Stamped>() {
                Ok(stamped) => {
                    self.clock.lock().wait_until(stamped.arrival);
                    Delivery::Value { value: stamped.parcel.into_any(), type_name }
                }
                // Of a rank without a clock: there is none.
                Err(value) => Delivery::Value { value, type_name },
            },
            #[cfg(feature = "mpi")]
            other => other,
        };
        Ok(delivery)
    }

    /// No, always: the answer must not depend on how far the thread of another rank is.
    fn is_ready(&self, channel: Channel, ticket: u64) -> Result<bool, CommError> {
        self.inner.is_ready(channel, ticket).map(|_| false)
    }

    fn discard(&self, channel: Channel, ticket: u64) {
        self.inner.discard(channel, ticket);
    }

    fn abort(&self, reason: &str) -> CommError {
        self.inner.abort(reason)
    }

    fn next_context(&self) -> &AtomicU64 {
        self.inner.next_context()
    }
}
