//! Two sequences as one state.

use braidnet_comm::{CommError, DeviceBuffer, Transfer};
use braidnet_mgrit::State;
use burn::tensor::{Device, Gradients as TapeGradients, Tensor};

use crate::{Recorded, TensorState};

/// `Z = [X, Y]`. An absent half is zero: it costs nothing to keep, to add or to send.
#[derive(Debug, Clone)]
pub struct PairState {
    /// Of the source, shape `[batch, source length, d_model]`.
    pub x: Option<TensorState<3>>,
    /// Of the target, shape `[batch, target length, d_model]`.
    pub y: Option<TensorState<3>>,
}

impl PairState {
    /// Both halves absent.
    pub fn zero() -> Self {
        Self { x: None, y: None }
    }

    fn halves(&self) -> impl Iterator<Item = &TensorState<3>> {
        self.x.iter().chain(&self.y)
    }
}

fn add(half: &mut Option<TensorState<3>>, a: f64, other: &Option<TensorState<3>>) {
    match (half, other) {
        (_, None) => {}
        (Some(half), Some(other)) => half.axpy(a, other),
        (half @ None, Some(other)) => {
            let mut scaled = other.clone();
            if a != 1.0 {
                scaled.scale(a);
            }
            *half = Some(scaled);
        }
    }
}

fn multiply(half: &mut Option<TensorState<3>>, other: &Option<TensorState<3>>) {
    match (half, other) {
        (Some(half), Some(other)) => half.multiply(other),
        (half, _) => *half = None,
    }
}

impl State for PairState {
    fn axpy(&mut self, a: f64, other: &Self) {
        add(&mut self.x, a, &other.x);
        add(&mut self.y, a, &other.y);
    }

    fn scale(&mut self, a: f64) {
        for half in self.x.iter_mut().chain(&mut self.y) {
            half.scale(a);
        }
    }

    fn multiply(&mut self, other: &Self) {
        multiply(&mut self.x, &other.x);
        multiply(&mut self.y, &other.y);
    }

    fn norm_squared(&self) -> f64 {
        self.halves().map(State::norm_squared).sum()
    }
}

impl Transfer for PairState {
    type Context = Device;

    fn n_bytes(&self) -> usize {
        2 * size_of::<u64>() + self.halves().map(Transfer::n_bytes).sum::<usize>()
    }

    /// The sizes of both halves, 0 for an absent one, and the halves.
    fn pack(&self, out: &mut Vec<u8>) {
        for half in [&self.x, &self.y] {
            (half.as_ref().map_or(0, Transfer::n_bytes) as u64).pack(out);
        }
        self.halves().for_each(|half| half.pack(out));
    }

    fn unpack(bytes: &[u8], device: &Device) -> Result<Self, CommError> {
        let [x, y] = split(bytes)?;
        let half = |bytes: &[u8]| (!bytes.is_empty()).then(|| TensorState::unpack(bytes, device)).transpose();
        Ok(Self { x: half(x)?, y: half(y)? })
    }

    /// Of both halves; a pair of none is packed, which costs two numbers.
    fn lend(&self) -> Option<Vec<DeviceBuffer>> {
        let buffers: Vec<_> = self.halves().map(Transfer::lend).collect::<Option<Vec<_>>>()?.concat();
        (!buffers.is_empty()).then_some(buffers)
    }

    /// The sizes of both halves' heads, 0 for an absent one, and the heads.
    fn pack_head(&self, out: &mut Vec<u8>) {
        let heads = [&self.x, &self.y].map(|half| {
            let mut head = Vec::new();
            half.iter().for_each(|half| half.pack_head(&mut head));
            head
        });
        heads.iter().for_each(|head| (head.len() as u64).pack(out));
        out.extend(heads.concat());
    }

    fn room(head: &[u8], device: &Device) -> Result<Self, CommError> {
        let [x, y] = split(head)?;
        let half = |head: &[u8]| (!head.is_empty()).then(|| TensorState::room(head, device)).transpose();
        Ok(Self { x: half(x)?, y: half(y)? })
    }
}

/// The parts behind two sizes.
fn split(bytes: &[u8]) -> Result<[&[u8]; 2], CommError> {
    let malformed = || CommError::malformed("pair of tensors", "two sizes and as many bytes", bytes.len());
    let (x_bytes, rest) = bytes.split_first_chunk::<8>().ok_or_else(malformed)?;
    let (y_bytes, rest) = rest.split_first_chunk::<8>().ok_or_else(malformed)?;
    let parts = usize::try_from(u64::from_le_bytes(*x_bytes)).ok().and_then(|n| rest.split_at_checked(n));
    let parts = parts.filter(|(_, y)| y.len() as u64 == u64::from_le_bytes(*y_bytes)).ok_or_else(malformed)?;
    Ok(parts.into())
}

impl Recorded for PairState {
    fn record(&self) -> Self {
        Self { x: self.x.as_ref().map(Recorded::record), y: self.y.as_ref().map(Recorded::record) }
    }

    fn dot(&self, delta: Self) -> Tensor<1> {
        let dot = |half: &Option<TensorState<3>>, delta: Option<TensorState<3>>| Some(half.as_ref()?.dot(delta?));
        let products = [dot(&self.x, delta.x), dot(&self.y, delta.y)];
        products.into_iter().flatten().reduce(|a, b| a + b).unwrap_or_else(|| {
            let device = self.halves().next().map_or_else(Device::flex, |half| half.0.device());
            Tensor::zeros([1], &device)
        })
    }

    /// `None` where nothing depends on either half.
    fn gradient(&self, tape: &mut TapeGradients) -> Option<Self> {
        let mut of = |half: &Option<TensorState<3>>| half.as_ref()?.gradient(tape);
        let (x, y) = (of(&self.x), of(&self.y));
        (x.is_some() || y.is_some()).then_some(Self { x, y })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_pairs_are_told_apart() {
        let device = Device::flex();
        let half = |length| Some(TensorState(Tensor::zeros([2, length, 4], &device)));
        for pair in [PairState { x: half(3), y: half(5) }, PairState { x: None, y: half(5) }] {
            let mut head = Vec::new();
            pair.pack_head(&mut head);
            let parts = split(&head).unwrap();
            for (part, half) in parts.into_iter().zip([&pair.x, &pair.y]) {
                let mut own = Vec::new();
                half.iter().for_each(|half| half.pack_head(&mut own));
                assert_eq!(part, own);
            }
            assert!(pair.lend().is_none());
            assert!(PairState::room(&head, &device).is_err() && split(&head[1..]).is_err());
        }
        let mut head = Vec::new();
        PairState::zero().pack_head(&mut head);
        assert!(PairState::zero().lend().is_none());
        let room = PairState::room(&head, &device).unwrap();
        assert!(room.x.is_none() && room.y.is_none());
    }
}
