//! The messages of one channel and the receives that wait for them, each in its own order.

use std::collections::VecDeque;

/// Pairs the `k`-th message with the `k`-th receive, whichever comes first and whichever receive is asked for first.
#[derive(Debug)]
pub(crate) struct Queue<M> {
    /// The number of the first slot; all before it are done.
    first: u64,
    slots: VecDeque<Slot<M>>,
    n_posted: u64,
    n_arrived: u64,
}

#[derive(Debug)]
struct Slot<M> {
    message: Option<M>,
    wanted: bool,
}

impl<M> Default for Queue<M> {
    fn default() -> Self {
        Self { first: 0, slots: VecDeque::new(), n_posted: 0, n_arrived: 0 }
    }
}

impl<M> Queue<M> {
    /// A new receive; returns its ticket.
    pub fn post(&mut self) -> u64 {
        let ticket = self.n_posted;
        self.n_posted += 1;
        self.slot(ticket);
        ticket
    }

    /// A new message, for the oldest receive without one, posted or yet to come; it comes back if that was given up.
    pub fn arrive(&mut self, message: M) -> Option<M> {
        let number = self.n_arrived;
        self.n_arrived += 1;
        let unwanted = match self.slot(number) {
            Some(slot) if slot.wanted => slot.message.replace(message),
            _ => Some(message),
        };
        self.trim();
        unwanted
    }

    /// Whether the message of a ticket is here.
    pub fn has(&self, ticket: u64) -> bool {
        let slot = ticket.checked_sub(self.first).and_then(|at| self.slots.get(at as usize));
        slot.is_some_and(|slot| slot.message.is_some())
    }

    /// The message of a ticket, if it is here; the ticket is then done.
    pub fn take(&mut self, ticket: u64) -> Option<M> {
        let slot = self.slot(ticket)?;
        let message = slot.message.take()?;
        slot.wanted = false;
        self.trim();
        Some(message)
    }

    /// Gives a ticket up; its message comes back if it is here.
    pub fn discard(&mut self, ticket: u64) -> Option<M> {
        let unwanted = self.slot(ticket).and_then(|slot| {
            slot.wanted = false;
            slot.message.take()
        });
        self.trim();
        unwanted
    }

    /// Whether some receive has no message yet.
    #[cfg(any(feature = "mpi", test))]
    pub fn expects_more(&self) -> bool {
        self.n_posted > self.n_arrived
    }

    /// The slot of a number, made if it is new, `None` if it is done.
    fn slot(&mut self, number: u64) -> Option<&mut Slot<M>> {
        let at = number.checked_sub(self.first)? as usize;
        while self.slots.len() <= at {
            self.slots.push_back(Slot { message: None, wanted: true });
        }
        self.slots.get_mut(at)
    }

    /// Forgets the leading slots that are done: their message came, and nobody wants it any more.
    fn trim(&mut self) {
        while self.first < self.n_arrived && self.slots.front().is_some_and(|slot| !slot.wanted) {
            self.slots.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_pair_with_messages_in_order() {
        let mut queue = Queue::default();
        let (a, b) = (queue.post(), queue.post());
        assert!(queue.expects_more());
        queue.arrive("first");
        assert!(queue.has(a) && !queue.has(b));
        assert_eq!(queue.take(b), None);
        queue.arrive("second");
        queue.arrive("third");
        assert!(!queue.expects_more());
        assert_eq!(queue.take(b), Some("second"));
        assert_eq!(queue.take(a), Some("first"));
        let c = queue.post();
        assert_eq!(queue.take(c), Some("third"));
        assert_eq!(queue.first, 3);
        assert!(queue.slots.is_empty());
    }

    #[test]
    fn a_discarded_ticket_swallows_its_own_message_only() {
        let mut queue = Queue::default();
        let (a, b, c) = (queue.post(), queue.post(), queue.post());
        assert_eq!(queue.discard(b), None);
        assert_eq!(queue.arrive(1), None);
        assert_eq!(queue.arrive(2), Some(2));
        assert_eq!(queue.arrive(3), None);
        assert_eq!(queue.discard(a), Some(1));
        assert_eq!(queue.take(c), Some(3));
        assert!(queue.slots.is_empty());
    }
}
