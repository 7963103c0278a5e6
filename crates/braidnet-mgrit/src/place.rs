//! What a rank computes just now, for errors that do not say it themselves.
//!
//! A device works behind the host: memory that it lacks shows only where something is read, whatever was asked of it
//! before that. What [`here`] says is then the last thing asked for. Where [`look_closely`] is on, every state is read as
//! soon as it is computed, and the place is exact.

use std::cell::Cell;
use std::fmt;
use std::ops::RangeInclusive;

use braidnet_grid::Step;

use crate::State;

/// A part of the computation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What is computed.
    pub work: &'static str,
    /// Of which layers, as the solver counts them.
    pub layers: Option<RangeInclusive<usize>>,
}

thread_local! {
    static WORK: Cell<&'static str> = const { Cell::new("preparation") };
    static LAYERS: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
    static IS_CLOSE: Cell<bool> = const { Cell::new(false) };
}

/// Says that this thread now computes something that is no layer's.
pub fn enter(work: &'static str) {
    WORK.set(work);
    LAYERS.set(None);
}

/// Says that this thread now computes so for a layer.
pub fn enter_layer(work: &'static str, layer: usize) {
    WORK.set(work);
    LAYERS.set(Some((layer, layer)));
}

/// Says that this thread now computes so for the layers of these steps.
pub(crate) fn enter_steps(work: &'static str, steps: &[Step]) {
    let layers = || steps.iter().map(|step| step.layer);
    WORK.set(work);
    LAYERS.set(layers().min().zip(layers().max()));
}

/// What this thread computes.
pub fn here() -> Place {
    Place { work: WORK.get(), layers: LAYERS.get().map(|(first, last)| first..=last) }
}

/// Whether this thread reads every state as soon as it is computed.
pub fn is_close() -> bool {
    IS_CLOSE.get()
}

/// Makes this thread read every state as soon as it is computed, or no longer: one norm each, for which the host waits.
pub fn look_closely(on: bool) {
    IS_CLOSE.set(on);
}

/// Reads states that were just computed, if asked for: what their device could not do ends the thread's work here.
pub fn computed<'a, S: State>(states: impl IntoIterator<Item = &'a S>) {
    if is_close() {
        states.into_iter().for_each(|state| {
            state.norm_squared();
        });
    }
}

impl fmt::Display for Place {
    /// As `forward pass of layer 3`, `adjoint of layers 0 to 24`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.work)?;
        match self.layers.as_ref().map(|layers| (layers.start(), layers.end())) {
            Some((first, last)) if first == last => write!(f, " of layer {first}"),
            Some((first, last)) => write!(f, " of layers {first} to {last}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_counts() {
        enter_layer("adjoint", 3);
        assert_eq!(here().to_string(), "adjoint of layer 3");
        enter("update");
        assert_eq!(here().to_string(), "update");
        let other = std::thread::spawn(|| here().to_string()).join().unwrap();
        assert_eq!(other, "preparation");
        let place = Place { work: "forward pass", layers: Some(2..=7) };
        assert_eq!(place.to_string(), "forward pass of layers 2 to 7");
    }
}
