//! Parameters by global name, in PyTorch's names and layouts.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

use crate::NetworkError;

/// One parameter of a module.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Global name, `prefix.path`; enum variants are no part of the path.
    pub name: String,
    /// Identity within the module.
    pub id: ParamId,
    /// Shape as PyTorch has it.
    pub shape: Vec<usize>,
    /// Values, flat, in burn's layout.
    pub values: Tensor<1>,
    /// Whether PyTorch stores the transpose (weights of dense layers).
    pub transposed: bool,
    /// Whether it is a running statistic: kept and loaded as parameters are, but not trained.
    pub is_statistic: bool,
}

impl Parameter {
    /// Flat values of this parameter (or its gradient) in PyTorch's layout.
    pub fn to_torch_layout(&self, values: Tensor<1>) -> Tensor<1> {
        match self.shape[..] {
            [rows, columns] if self.transposed => values.reshape([columns, rows]).transpose().reshape([rows * columns]),
            _ => values,
        }
    }
}

/// Where in a module a traversal is.
#[derive(Default)]
struct Path {
    names: Vec<String>,
    containers: Vec<String>,
}

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    fn name(&self, prefix: &str) -> String {
        let named = self.names.iter().zip(&self.containers).filter(|(_, c)| !c.starts_with("Enum:")).map(|(n, _)| n);
        std::iter::once(prefix).filter(|p| !p.is_empty()).chain(named.map(String::as_str)).collect::<Vec<_>>().join(".")
    }

    fn is_statistic(&self) -> bool {
        self.names.last().is_some_and(|name| name.starts_with("running_"))
    }

    fn is_dense_weight(&self) -> bool {
        let last = self.containers.last().is_some_and(|c| c == "Struct:Linear");
        last && self.names.last().is_some_and(|n| n == "weight")
    }

    /// Shape in PyTorch's layout.
    fn shape(&self, dims: &[usize]) -> Vec<usize> {
        if self.is_dense_weight() { dims.iter().rev().copied().collect() } else { dims.to_vec() }
    }
}

/// Calls `f` with every parameter of `module`.
pub fn visit_parameters<M: Module>(module: &M, prefix: &str, f: impl FnMut(Parameter)) {
    struct Visitor<'a, F> {
        prefix: &'a str,
        path: Path,
        f: F,
    }
    impl<F: FnMut(Parameter)> ModuleVisitor for Visitor<'_, F> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val();
            let dims = tensor.dims();
            (self.f)(Parameter {
                name: self.path.name(self.prefix),
                id: param.id,
                shape: self.path.shape(&dims),
                values: tensor.reshape([dims.iter().product::<usize>()]),
                transposed: self.path.is_dense_weight(),
                is_statistic: self.path.is_statistic(),
            });
        }
    }
    module.visit(&mut Visitor { prefix, path: Path::default(), f });
}

/// Replaces every parameter of `module` by the flat values (burn's layout) that `f` makes of it; `None` keeps it.
///
/// # Errors
/// The first error of `f`.
pub fn map_parameters<M: Module, E>(
    module: M,
    prefix: &str,
    f: impl FnMut(&Parameter) -> Result<Option<Tensor<1>>, E>,
) -> Result<M, E> {
    struct Mapper<'a, F, E> {
        prefix: &'a str,
        path: Path,
        f: F,
        error: Option<E>,
    }
    impl<E, F: FnMut(&Parameter) -> Result<Option<Tensor<1>>, E>> ModuleMapper for Mapper<'_, F, E> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let tensor = param.val();
            let dims = tensor.dims();
            let parameter = Parameter {
                name: self.path.name(self.prefix),
                id: param.id,
                shape: self.path.shape(&dims),
                values: tensor.reshape([dims.iter().product::<usize>()]),
                transposed: self.path.is_dense_weight(),
                is_statistic: self.path.is_statistic(),
            };
            match (self.f)(&parameter) {
                Ok(Some(values)) if self.error.is_none() => param.map(|_| values.reshape(dims)),
                Ok(_) => param,
                Err(error) => {
                    self.error.get_or_insert(error);
                    param
                }
            }
        }
    }
    let mut mapper = Mapper { prefix, path: Path::default(), f, error: None };
    let module = module.map(&mut mapper);
    mapper.error.map_or(Ok(module), Err)
}

/// Loads every parameter of `module` from `source`, which returns shape and values in PyTorch's layout by name.
///
/// # Errors
/// [`NetworkError::MissingParameter`], [`NetworkError::WrongShape`].
pub fn load_parameters<M: Module>(
    module: M,
    prefix: &str,
    mut source: impl FnMut(&str) -> Option<(Vec<usize>, Vec<f32>)>,
) -> Result<M, NetworkError> {
    map_parameters(module, prefix, |p| {
        let name = p.name.clone();
        let (got, values) = source(&name).ok_or_else(|| NetworkError::MissingParameter { name: name.clone() })?;
        if got != p.shape || values.len() != p.shape.iter().product::<usize>() {
            return Err(NetworkError::WrongShape { name, expected: p.shape.clone(), got });
        }
        let n = values.len();
        let flat = Tensor::<1>::from_data(TensorData::new(values, [n]), &p.values.device());
        Ok(Some(match p.shape[..] {
            [rows, columns] if p.transposed => flat.reshape([rows, columns]).transpose().reshape([n]),
            _ => flat,
        }))
    })
}
