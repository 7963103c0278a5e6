//! Rows of numbers: many intervals of a sequence as one matrix.

use std::borrow::Cow;

use braidnet_kernels::{add_to_rows, axpy, column_sums};
use burn::tensor::Tensor;

use crate::TensorState;
use crate::host::{Numbers, on_host, tensor};
use crate::stack::{join, split};

/// A matrix: plain numbers where the kernels on slices apply, else a tensor.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // A matrix is larger than either.
pub(super) enum Rows {
    /// Single precision on this processor, row by row.
    Host { values: Vec<f32>, columns: usize },
    /// Everything else.
    Tensor(Tensor<2>),
}

impl Rows {
    pub fn of(x: Tensor<2>) -> Self {
        if !on_host(&x) {
            return Self::Tensor(x);
        }
        let columns = x.dims()[1];
        Self::Host { values: Numbers::of(x).into_vec(), columns }
    }

    pub fn into_tensor(self) -> Tensor<2> {
        match self {
            Self::Host { values, columns } => {
                let rows = values.len() / columns;
                tensor(values, [rows, columns])
            }
            Self::Tensor(x) => x,
        }
    }

    /// `x W`.
    pub fn matmul(self, weight: Tensor<2>) -> Self {
        Self::of(self.into_tensor().matmul(weight))
    }

    /// Adds `other`, of the same kind.
    pub fn add(&mut self, other: &Part<'_>) {
        match (self, other) {
            (Self::Host { values, .. }, Part::Host(more, _)) => axpy(values, 1.0, more),
            (Self::Tensor(x), other) => x.inplace(|x| x + other.clone().into_tensor()),
            (x, other) => *x = Self::of(x.clone().into_tensor() + other.clone().into_tensor()),
        }
    }

    /// All rows.
    pub fn all(&self) -> Part<'_> {
        self.part(0, self.n_rows())
    }

    /// Adds `bias` to every row.
    pub fn add_bias(&mut self, bias: &Bias) {
        match self {
            Self::Host { values, .. } => add_to_rows(values, &bias.numbers),
            Self::Tensor(x) => x.inplace(|x| x + bias.values.clone().unsqueeze()),
        }
    }

    /// The sum of all rows.
    pub fn sum(&self) -> Tensor<1> {
        match self {
            Self::Host { values, columns } => {
                let mut sums = vec![0.0; *columns];
                column_sums(values, *columns, &mut sums);
                tensor(sums, [*columns])
            }
            Self::Tensor(x) => x.clone().sum_dim(0).reshape([x.dims()[1]]),
        }
    }

    /// `n` rows from row `first` on.
    pub fn part(&self, first: usize, n: usize) -> Part<'_> {
        match self {
            Self::Host { values, columns } => Part::Host(&values[first * columns..(first + n) * columns], *columns),
            Self::Tensor(x) => Part::Tensor(x.clone().narrow(0, first, n)),
        }
    }

    /// Parts below each other; borrowed where they are all of one matrix, in their order.
    pub fn gather<'a>(parts: &[(&'a Self, usize)], n: usize) -> Cow<'a, Self> {
        let (first, _) = parts[0];
        let whole = parts.iter().enumerate().all(|(i, (rows, at))| std::ptr::eq(*rows, first) && *at == i);
        if whole && first.n_rows() == n * parts.len() {
            return Cow::Borrowed(first);
        }
        let each: Vec<Part<'_>> = parts.iter().map(|(rows, at)| rows.part(at * n, n)).collect();
        Cow::Owned(match first {
            Self::Host { columns, .. } => {
                let mut values = Vec::with_capacity(n * parts.len() * columns);
                each.iter().for_each(|part| values.extend_from_slice(part.numbers()));
                Self::Host { values, columns: *columns }
            }
            Self::Tensor(_) => Self::Tensor(join(each.into_iter().map(Part::into_tensor).collect())),
        })
    }

    pub fn zeros_like(&self) -> Self {
        match self {
            Self::Host { values, columns } => Self::Host { values: vec![0.0; values.len()], columns: *columns },
            Self::Tensor(x) => Self::Tensor(x.zeros_like()),
        }
    }

    pub fn n_rows(&self) -> usize {
        match self {
            Self::Host { values, columns } => values.len() / columns,
            Self::Tensor(x) => x.dims()[0],
        }
    }

    /// The states of cell `k`, below each other.
    pub fn stack(states: &[TensorState<3>], k: usize) -> Self {
        let [cells, samples, hidden] = states[0].0.dims();
        if !on_host(&states[0].0) {
            let all = join(states.iter().map(|state| state.0.clone()).collect());
            let by_cells = all.reshape([states.len(), cells, samples * hidden]);
            return Self::Tensor(by_cells.narrow(1, k, 1).reshape([states.len() * samples, hidden]));
        }
        let mut values = Vec::with_capacity(states.len() * samples * hidden);
        for state in states {
            let numbers = Numbers::of(state.0.clone());
            values.extend_from_slice(&numbers.as_slice()[k * samples * hidden..][..samples * hidden]);
        }
        Self::Host { values, columns: hidden }
    }

    /// The inverse of [`Rows::stack`]: `n` states of the rows of all cells.
    pub fn states(cells: &[Self], n: usize) -> Vec<TensorState<3>> {
        let samples = cells[0].n_rows() / n;
        let of = |i: usize, columns: usize| {
            let mut values = Vec::with_capacity(cells.len() * samples * columns);
            let parts = cells.iter().map(|cell| cell.part(i * samples, samples));
            parts.for_each(|part| values.extend_from_slice(part.numbers()));
            TensorState(tensor(values, [cells.len(), samples, columns]))
        };
        match &cells[0] {
            Self::Host { columns, .. } => (0..n).map(|i| of(i, *columns)).collect(),
            Self::Tensor(first) => {
                let [_, columns] = first.dims();
                let by_steps = |cell: &Self| cell.clone().into_tensor().reshape([n, 1, samples, columns]);
                let all = Tensor::cat(cells.iter().map(by_steps).collect(), 1);
                let all = all.reshape([n * cells.len(), samples, columns]);
                split(all, n).into_iter().map(TensorState).collect()
            }
        }
    }

    /// The mean of parts of equal size.
    pub fn mean(parts: &[Part<'_>]) -> Self {
        let mut mean = parts[0].to_rows();
        parts[1..].iter().for_each(|part| mean.add(part));
        match &mut mean {
            Self::Host { values, .. } => values.iter_mut().for_each(|value| *value /= parts.len() as f32),
            Self::Tensor(x) => x.inplace(|x| x / parts.len() as f64),
        }
        mean
    }
}

/// Consecutive rows.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // They are never kept.
pub(super) enum Part<'a> {
    /// Numbers, and how many of them a row has.
    Host(&'a [f32], usize),
    Tensor(Tensor<2>),
}

impl Part<'_> {
    /// The numbers, where it has them; a part is of the same kind as all others of its network.
    pub fn numbers(&self) -> &[f32] {
        match self {
            Self::Host(numbers, _) => numbers,
            Self::Tensor(_) => &[],
        }
    }

    /// A matrix of its own.
    pub fn to_rows(&self) -> Rows {
        match self {
            Self::Host(numbers, columns) => Rows::Host { values: numbers.to_vec(), columns: *columns },
            Self::Tensor(x) => Rows::Tensor(x.clone()),
        }
    }

    pub fn into_tensor(self) -> Tensor<2> {
        match self {
            Self::Tensor(x) => x,
            host => host.to_rows().into_tensor(),
        }
    }
}

/// A bias, as numbers too where there are any.
#[derive(Debug, Clone)]
pub(super) struct Bias {
    pub values: Tensor<1>,
    pub numbers: Vec<f32>,
}

impl Bias {
    pub fn of(values: Tensor<1>) -> Self {
        let numbers = if on_host(&values) { Numbers::of(values.clone()).into_vec() } else { Vec::new() };
        Self { values, numbers }
    }
}
