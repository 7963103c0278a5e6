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

    fn axpy_each<'a>(a: f64, pairs: impl Iterator<Item = (&'a mut Self, &'a Self)>) {
        let (mut of_x, mut of_y) = (Vec::new(), Vec::new());
        for (state, other) in pairs {
            for (half, other, both) in [(&mut state.x, &other.x, &mut of_x), (&mut state.y, &other.y, &mut of_y)] {
                match (half, other) {
                    (Some(half), Some(other)) => both.push((half, other)),
                    (half, other) => add(half, a, other),
                }
            }
        }
        TensorState::axpy_each(a, of_x.into_iter());
        TensorState::axpy_each(a, of_y.into_iter());
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

    fn norms_squared<'a>(states: impl Iterator<Item = &'a Self>, take: impl FnMut(f64)) {
        let states: Vec<_> = states.collect();
        let mut sums = vec![0.0; states.len()];
        for half in [|state: &'a Self| state.x.as_ref(), |state: &'a Self| state.y.as_ref()] {
            let has_it = states.iter().zip(&mut sums).filter_map(|(state, sum)| Some((half(state)?, sum)));
            let (halves, mut sums): (Vec<_>, Vec<_>) = has_it.unzip();
            let mut sums = sums.iter_mut();
            TensorState::norms_squared(halves.into_iter(), |square| {
                sums.by_ref().take(1).for_each(|sum| **sum += square)
            });
        }
        sums.into_iter().for_each(take);
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

    /// Operations on many pairs are those on each, whichever halves are there.
    #[test]
    fn many_pairs_are_each_of_them() {
        let device = Device::flex();
        let half = |value: f64| Some(TensorState(Tensor::<3>::ones([1, 2, 3], &device) * value));
        let pairs = [
            PairState { x: half(1.0), y: None },
            PairState { x: half(2.0), y: half(3.0) },
            PairState::zero(),
            PairState { x: None, y: half(4.0) },
        ];
        let values = |pairs: &[PairState]| -> Vec<Option<f32>> {
            let of = |half: &Option<TensorState<3>>| half.as_ref().map(|half| half.0.to_data().iter::<f32>().sum());
            pairs.iter().flat_map(|pair| [of(&pair.x), of(&pair.y)]).collect()
        };
        let (mut each, mut all) = (pairs.to_vec(), pairs.to_vec());
        each.iter_mut().zip(pairs.iter().rev()).for_each(|(pair, x)| pair.axpy(0.5, x));
        PairState::axpy_each(0.5, all.iter_mut().zip(pairs.iter().rev()));
        assert_eq!(values(&all), values(&each));
        assert_eq!(values(&all)[..2], [Some(6.0), Some(12.0)]);
        let mut squares = Vec::new();
        PairState::norms_squared(pairs.iter(), |square| squares.push(square));
        assert_eq!(squares, [6.0, 24.0 + 54.0, 0.0, 96.0]);
    }

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
