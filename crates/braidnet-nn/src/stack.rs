//! Layers side by side: modules, states and what linearisations keep, below each other along their first axes.
//!
//! A GPU is given many layers in one call where a loop over them would leave it idle. Stacked layers are a module of the same type
//! as one of them, a dense weight `[layers * in, out]` for instance; what depends on parameters (dense layers, convolutions, norms)
//! finds out how many there are by the extents, and everything else just sees more samples.

use braidnet_mgrit::StepError;
use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Int, Tensor, TensorData};

use crate::{Gradient, Gradients, Parameter, gpu, visit_parameters};

/// Layers side by side, and which parameters they have.
pub(crate) struct Stack<M> {
    pub module: M,
    pub ids: Ids,
}

/// Parameters of layers side by side: by parameter, those of all layers. A stacked module has those of its first layer.
#[derive(Clone)]
pub(crate) struct Ids(Vec<Vec<ParamId>>);

impl<M: Module> Stack<M> {
    /// These modules below each other; `None` where they are not alike.
    ///
    /// # Cost
    /// A copy of their parameters.
    pub fn of(modules: &[&M]) -> Option<Self> {
        let each: Vec<Vec<Parameter>> = modules.iter().map(|module| parameters(*module)).collect();
        let first = each.first()?;
        if !each.iter().all(|other| same_shapes(first, other)) {
            return None;
        }
        let ids = (0..first.len()).map(|n| each.iter().map(|parameters| parameters[n].id).collect()).collect();
        let kind = |n: usize| each.iter().map(|parameters| parameters[n].values.clone()).collect();
        let below = join_all((0..first.len()).map(kind).collect());
        Some(Self { module: with_parameters(*modules.first()?, below), ids: Ids(ids) })
    }
}

impl Ids {
    /// Gradients of the stacked parameters of the layers at `rows` as those of each.
    ///
    /// # Errors
    /// A gradient of a parameter that the layers do not have.
    pub fn split(&self, gradients: Gradients, rows: &[usize]) -> Result<Vec<Gradients>, StepError> {
        let ids_of = |gradient: &Gradient| {
            let id = gradient.id;
            self.0.iter().find(|ids| ids.first() == Some(&id)).ok_or(Unknown { id })
        };
        let kinds =
            gradients.iter().map(|g| Ok((ids_of(g)?, g.is_statistic))).collect::<Result<Vec<_>, StepError>>()?;
        let mut each: Vec<Gradients> = rows.iter().map(|_| Gradients::with_capacity(gradients.len())).collect();
        let values = split_all(gradients.into_iter().map(|gradient| gradient.values).collect(), rows.len());
        for ((ids, is_statistic), values) in kinds.into_iter().zip(values) {
            for ((row, values), own) in rows.iter().zip(values).zip(&mut each) {
                own.push(Gradient { id: ids[*row], values, is_statistic });
            }
        }
        Ok(each)
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "a gradient of parameter {id}, which layers side by side do not have: give those of the module that was linearised"
)]
struct Unknown {
    id: ParamId,
}

/// The parameters of a layer.
pub(crate) fn parameters<M: Module>(module: &M) -> Vec<Parameter> {
    let mut all = Vec::new();
    visit_parameters(module, "", |parameter| all.push(parameter));
    all
}

/// Whether layers with these parameters can be stacked, as far as their parameters say.
pub(crate) fn same_shapes(a: &[Parameter], b: &[Parameter]) -> bool {
    let is_like =
        |a: &Parameter, b: &Parameter| a.name == b.name && a.shape == b.shape && a.values.dtype() == b.values.dtype();
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_like(a, b))
}

/// `module` with these flat values of more or fewer layers in the place of its parameters', whose ids it keeps.
fn with_parameters<M: Module>(module: &M, mut values: Vec<Tensor<1>>) -> M {
    struct Replace(Vec<Tensor<1>>);
    impl ModuleMapper for Replace {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            match self.0.pop() {
                Some(values) => param.map(|old| {
                    let mut dims = old.dims();
                    dims[0] = values.dims()[0] / dims[1..].iter().product::<usize>().max(1);
                    values.reshape(dims)
                }),
                None => param,
            }
        }
    }
    values.reverse();
    module.clone().map(&mut Replace(values))
}

/// Each of the `of` layers that are side by side in `module`, with its ids.
pub(crate) fn each_module<M: Module>(module: &M, of: usize) -> Vec<M> {
    let kinds = split_all(parameters(module).into_iter().map(|parameter| parameter.values).collect(), of);
    let mut kinds: Vec<_> = kinds.into_iter().map(Vec::into_iter).collect();
    let own = |kinds: &mut Vec<std::vec::IntoIter<_>>| kinds.iter_mut().filter_map(Iterator::next).collect();
    (0..of).map(|_| with_parameters(module, own(&mut kinds))).collect()
}

/// The layers at `rows` among the `of` that are side by side in `module`, whose ids it keeps.
pub(crate) fn module_rows<M: Module>(module: &M, rows: &[usize], of: usize) -> M {
    struct Select<'a>(&'a [usize], usize);
    impl ModuleMapper for Select<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|all| tensor_rows(&all, self.0, self.1))
        }
    }
    module.clone().map(&mut Select(rows, of))
}

/// What belongs to the layers at `rows` among the `of` that are side by side in `x`.
pub(crate) fn tensor_rows<const D: usize>(x: &Tensor<D>, rows: &[usize], of: usize) -> Tensor<D> {
    let mut dims = x.dims();
    let n = dims[0] / of;
    if rows.windows(2).all(|pair| pair[0] + 1 == pair[1]) {
        return x.clone().narrow(0, rows.first().map_or(0, |row| row * n), rows.len() * n);
    }
    let at: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
    let at = Tensor::<1, Int>::from_data(TensorData::new(at, [rows.len()]), &x.device());
    dims[0] = rows.len() * n;
    x.clone().reshape([of as i32, -1]).select(0, at).reshape(dims)
}

/// Tensors of equal shape below each other.
pub(crate) fn join<const D: usize>(tensors: Vec<Tensor<D>>) -> Tensor<D> {
    gpu::join(&tensors).unwrap_or_else(|| Tensor::cat(tensors, 0))
}

/// [`join`] of the vectors of each kind.
fn join_all(kinds: Vec<Vec<Tensor<1>>>) -> Vec<Tensor<1>> {
    gpu::join_all(&kinds).unwrap_or_else(|| kinds.into_iter().map(join).collect())
}

/// The inverse of [`join`].
pub(crate) fn split<const D: usize>(x: Tensor<D>, n: usize) -> Vec<Tensor<D>> {
    if let Some(parts) = gpu::split(&x, n) {
        return parts;
    }
    let rows = x.dims()[0] / n;
    (0..n).map(|i| x.clone().narrow(0, i * rows, rows)).collect()
}

/// The inverse of [`join_all`].
fn split_all(stacks: Vec<Tensor<1>>, n: usize) -> Vec<Vec<Tensor<1>>> {
    gpu::split_all(&stacks, n).unwrap_or_else(|| stacks.into_iter().map(|stack| split(stack, n)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;
    use proptest::prelude::*;

    fn numbers(first: usize, n: usize) -> Tensor<1> {
        let values = (first..first + n).map(|value| value as f32).collect::<Vec<_>>();
        Tensor::from_data(TensorData::new(values, [n]), &Device::flex())
    }

    fn values<const D: usize>(x: &Tensor<D>) -> Vec<usize> {
        x.to_data().iter::<f32>().map(|value| value as usize).collect()
    }

    /// Weight `[2, 3]` with the numbers from `100 n` on, bias with those from `100 n + 50` on.
    fn linear(n: usize) -> Linear {
        let layer = LinearConfig::new(2, 3).init(&Device::flex());
        let bias = layer.bias.map(|bias| bias.map(|_| numbers(100 * n + 50, 3)));
        Linear { weight: layer.weight.map(|_| numbers(100 * n, 6).reshape([2, 3])), bias }
    }

    fn ids(layer: &Linear) -> Vec<ParamId> {
        parameters(layer).iter().map(|parameter| parameter.id).collect()
    }

    #[test]
    fn stacked_parameters_lie_below_each_other() {
        let layers = [linear(3), linear(1), linear(2)];
        let stack = Stack::of(&layers.each_ref()).unwrap();
        assert_eq!(stack.module.weight.dims(), [6, 3]);
        let expected = [300, 301, 302, 303, 304, 305, 100, 101, 102, 103, 104, 105, 200, 201, 202, 203, 204, 205];
        assert_eq!(values(&stack.module.weight.val()), expected);
        assert_eq!(values(&stack.module.bias.as_ref().unwrap().val()), [350, 351, 352, 150, 151, 152, 250, 251, 252]);
        assert_eq!(ids(&stack.module), ids(&layers[0]));
        let some = module_rows(&stack.module, &[2, 0], 3);
        assert_eq!(values(&some.bias.as_ref().unwrap().val()), [250, 251, 252, 350, 351, 352]);
        assert_eq!((some.weight.dims(), ids(&some)), ([4, 3], ids(&layers[0])));
        for (layer, own) in layers.iter().zip(each_module(&stack.module, 3)) {
            assert_eq!((own.weight.dims(), ids(&own)), ([2, 3], ids(&layers[0])));
            assert_eq!(values(&own.weight.val()), values(&layer.weight.val()));
            assert_eq!(values(&own.bias.unwrap().val()), values(&layer.bias.as_ref().unwrap().val()));
        }
    }

    #[test]
    fn others_are_not_stacked() {
        let device = Device::flex();
        let without_bias = LinearConfig::new(2, 3).with_bias(false).init(&device);
        let longer = LinearConfig::new(2, 4).init(&device);
        let transposed = LinearConfig::new(3, 2).init(&device);
        for other in [without_bias, longer, transposed] {
            assert!(Stack::of(&[&linear(0), &other]).is_none());
            assert!(Stack::of(&[&other, &other]).is_some());
        }
        assert!(Stack::<Linear>::of(&[]).is_none());
    }

    #[test]
    fn gradients_go_to_the_parameters_of_their_rows() {
        let layers = [linear(0), linear(1), linear(2), linear(3)];
        let stack = Stack::of(&layers.each_ref()).unwrap();
        let own = ids(&stack.module);
        let stacked = vec![Gradient::statistic(own[1], numbers(0, 6)), Gradient::new(own[0], numbers(10, 12))];
        let split = stack.ids.split(stacked, &[3, 1]).unwrap();
        let found = split.iter().map(|all| all.iter().map(|g| (g.id, g.is_statistic, values(&g.values))).collect());
        let found: Vec<Vec<_>> = found.collect();
        let expected = |layer: &Linear, bias: [usize; 3], weight: [usize; 6]| {
            vec![(ids(layer)[1], true, bias.to_vec()), (ids(layer)[0], false, weight.to_vec())]
        };
        assert_eq!(found[0], expected(&layers[3], [0, 1, 2], [10, 11, 12, 13, 14, 15]));
        assert_eq!(found[1], expected(&layers[1], [3, 4, 5], [16, 17, 18, 19, 20, 21]));
        assert_eq!(found.len(), 2);
        // The ids of a stack are those of its first layer.
        let of_another = vec![Gradient::new(ids(&layers[1])[0], numbers(0, 12))];
        assert!(stack.ids.split(of_another, &[0, 1]).is_err());
    }

    proptest! {
        #[test]
        fn rows_are_those_asked_for(of in 1usize..6, n in 1usize..4, picks in prop::collection::vec(any::<usize>(), 1..6)) {
            let rows: Vec<usize> = picks.into_iter().map(|pick| pick % of).collect();
            let all = numbers(0, of * n * 2).reshape([of * n, 2]);
            let found = tensor_rows(&all, &rows, of);
            let expected: Vec<usize> = rows.iter().flat_map(|row| row * n * 2..(row + 1) * n * 2).collect();
            prop_assert_eq!((found.dims(), values(&found)), ([rows.len() * n, 2], expected));
            let each = split(all.clone(), of);
            prop_assert_eq!(each.len(), of);
            prop_assert_eq!(values(&join(each)), values(&all));
        }
    }
}
