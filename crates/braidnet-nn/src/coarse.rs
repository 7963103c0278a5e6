//! What a coarse step does with the layers it stands for.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The operator of a coarse step over a run of layers, with `dt` the sum of the run's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CoarseOperator {
    /// `u + dt F(u; theta)` with the parameters of the run's first layer (injection): one evaluation, works across
    /// rank borders, and the fine linearisation serves all levels.
    FirstLayer,
    /// `u + dt F(u + (1 - 1/m) dt/2 F(u; theta); theta)` with the parameters of the run's first layer, `m` its length: equal to
    /// the run's Euler steps to second order in `dt` where its layers are alike. Two evaluations, works across rank borders.
    /// The adjoint keeps the coarse step of [`CoarseOperator::FirstLayer`], so the fine linearisation serves all levels.
    #[default]
    Midpoint,
    /// `u + dt F(u + (1 - 1/m) dt/2 F(u; theta_first); theta_middle)` with the parameters of the run's first and middle layer: equal to
    /// the run's Euler steps to second order also where parameters change smoothly. Two evaluations. The adjoint's coarse step
    /// is the midpoint step with the fine linearisation of the middle layer: two pullbacks, none of them new. First and
    /// middle layer must be on one rank.
    Centred,
    /// `u + dt F(u; mean theta)` with the mean of the run's parameters: one evaluation.
    Mean,
    /// `u + sum_j dt_j F(u; theta_j)` at the frozen state: as many evaluations as the run has layers, but
    /// independent of each other.
    Sum,
}

impl CoarseOperator {
    /// Whether a coarse step needs other layers of its run than the first, which must then be on one rank.
    pub fn needs_whole_runs(self) -> bool {
        matches!(self, Self::Centred | Self::Mean | Self::Sum)
    }

    /// Whether a coarse step's right-hand side is made of those of several layers.
    pub(crate) fn combines_parameters(self) -> bool {
        matches!(self, Self::Mean | Self::Sum)
    }
}

/// A module whose parameters are the means of those of `modules`; `None` for none.
pub(crate) fn mean_module<M: Module>(modules: &[M]) -> Option<M> {
    let first = modules.first()?.clone();
    let mut sums: Vec<Tensor<1>> = Vec::new();
    for module in modules {
        let mut add = Add { sums: &mut sums, next: 0 };
        module.visit(&mut add);
    }
    let mut replace = Replace { means: sums.into_iter().map(|s| s / modules.len() as f64).rev().collect() };
    Some(first.map(&mut replace))
}

struct Add<'a> {
    sums: &'a mut Vec<Tensor<1>>,
    next: usize,
}

impl ModuleVisitor for Add<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = param.val();
        let flat = values.clone().reshape([values.shape().num_elements()]);
        match self.sums.get_mut(self.next) {
            Some(sum) => sum.inplace(|s| s + flat),
            None => self.sums.push(flat),
        }
        self.next += 1;
    }
}

struct Replace {
    /// Last parameter first.
    means: Vec<Tensor<1>>,
}

impl ModuleMapper for Replace {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.means.pop() {
            Some(mean) => param.map(|old| mean.reshape(old.dims())),
            None => param,
        }
    }
}
