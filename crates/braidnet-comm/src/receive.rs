//! A receive that was posted.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::timeline::span;
use crate::transport::{Channel, Delivery, Transport};
use crate::{CommError, Transfer};

/// A posted receive of one value. Dropping it throws the message away, now or when it comes.
#[must_use = "a receive that is dropped throws its message away"]
pub struct Receive<T> {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) channel: Channel,
    /// `None` once waited for.
    pub(crate) ticket: Option<u64>,
    /// The sender, in the communicator.
    pub(crate) from: usize,
    pub(crate) value: PhantomData<fn() -> T>,
}

impl<T: Transfer> Receive<T> {
    /// Waits for the value; `context` says what its type needs to be rebuilt.
    ///
    /// # Errors
    /// [`Aborted`](CommError::Aborted) if some rank fails meanwhile, [`PeerEnded`](CommError::PeerEnded),
    /// [`TypeMismatch`](CommError::TypeMismatch) if the sender sent another type, and what [`Transfer::unpack`]
    /// returns.
    pub fn wait(mut self, context: &T::Context) -> Result<T, CommError> {
        let _span = span!("wait", from = self.from);
        let Some(ticket) = self.ticket else { return Err(CommError::LaunchEnded) };
        // The ticket stays until it is taken: after an error its message may still be on the way and must be thrown
        // away.
        let delivery = self.transport.take(self.channel, ticket)?;
        self.ticket = None;
        self.open(delivery, context)
    }

    /// Whether [`wait`](Self::wait) would return at once, with the value or, on threads, because the sender has ended.
    /// Of a value whose buffers are lent, only the head is here then.
    ///
    /// # Errors
    /// [`Aborted`](CommError::Aborted) if some rank has failed.
    pub fn is_ready(&self) -> Result<bool, CommError> {
        self.ticket.map_or(Ok(true), |ticket| self.transport.is_ready(self.channel, ticket))
    }

    #[cfg_attr(not(feature = "mpi"), expect(unused_variables, reason = "threads hand the value itself over"))]
    fn open(&self, delivery: Delivery, context: &T::Context) -> Result<T, CommError> {
        match delivery {
            Delivery::Value { value, type_name } => match value.downcast::<T>() {
                Ok(value) => Ok(*value),
                Err(_) => Err(self.mismatch(type_name)),
            },
            #[cfg(feature = "mpi")]
            Delivery::Bytes { buffer, payload_at, fingerprint } => {
                let expected = crate::mpi::fingerprint(type_name::<T>());
                let value = if fingerprint == expected {
                    T::unpack(&buffer[payload_at..], context)
                } else {
                    Err(self.mismatch("another type"))
                };
                self.transport.recycle(buffer);
                value
            }
            #[cfg(feature = "mpi")]
            Delivery::Lent { buffer, head_at, fingerprint, lent } => {
                let room = if fingerprint == crate::mpi::fingerprint(type_name::<T>()) {
                    lent.room::<T>(&buffer[head_at..], context)
                } else {
                    Err(self.mismatch("another type"))
                };
                self.transport.recycle(buffer);
                match room {
                    Ok((value, rooms)) => self.transport.fetch(&lent, rooms, None).map(|()| value),
                    Err(error) => {
                        self.transport.refuse(&lent);
                        Err(error)
                    }
                }
            }
        }
    }

    fn mismatch(&self, got: &str) -> CommError {
        CommError::TypeMismatch {
            from: self.from,
            tag: self.channel.tag,
            expected: type_name::<T>().to_owned(),
            got: got.to_owned(),
        }
    }
}

impl<T> Drop for Receive<T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.transport.discard(self.channel, ticket);
        }
    }
}

impl<T> fmt::Debug for Receive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receive(from {}, tag {})", self.from, self.channel.tag)
    }
}
