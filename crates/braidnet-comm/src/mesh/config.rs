//! How many ranks each axis gets, checked before any message.

use std::fmt;

use super::Degree;
use crate::CommError;

/// The two degrees asked for; together they must fill the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeshConfig {
    /// Ranks that share the layers of one copy of the network.
    pub layer_ranks: Degree,
    /// Copies of the network, each with its own part of the data.
    pub data_ranks: Degree,
}

/// The ranks along each axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeshShape {
    /// Ranks along the layer axis.
    pub layer_ranks: usize,
    /// Ranks along the data axis.
    pub data_ranks: usize,
}

/// Why there is no mesh.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeshError {
    /// The degrees do not fit the world or the network: everything that is wrong.
    #[error("no mesh: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<MeshProblem>),
    /// The machine does not tell its name, so ranks cannot find out who shares it.
    #[error("cannot read this machine's host name: {reason}; set one, with `hostname NAME`")]
    NoHostName {
        /// The system's explanation.
        reason: String,
    },
    /// The ranks could not agree on the axes.
    #[error(transparent)]
    Comm(#[from] CommError),
}

/// One thing that is wrong with a [`MeshConfig`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeshProblem {
    /// An axis of zero ranks.
    #[error("{axis} is 0; give it a number from 1 on, or auto")]
    Zero {
        /// The axis.
        axis: Axis,
    },
    /// No degree to start from.
    #[error("layer_ranks and data_ranks are both auto; give one of them a number, such as layer_ranks = {suggestion}")]
    BothAuto {
        /// The most layer ranks that this world and this network allow.
        suggestion: usize,
    },
    /// The degrees fill another world.
    #[error(
        "layer_ranks = {layer_ranks} and data_ranks = {data_ranks} need {} ranks, but there are {world}; \
         start that many, or set one of the two to auto", .layer_ranks.saturating_mul(*.data_ranks)
    )]
    WrongProduct {
        /// Ranks asked for along the layer axis.
        layer_ranks: usize,
        /// Ranks asked for along the data axis.
        data_ranks: usize,
        /// The ranks there are.
        world: usize,
    },
    /// The other axis would get a fraction.
    #[error("{axis} = {degree} does not divide the {world} ranks there are; give {axis} one of {}", list(.divisors))]
    NotDivisible {
        /// The axis with a number.
        axis: Axis,
        /// That number.
        degree: usize,
        /// The ranks there are.
        world: usize,
        /// The numbers that divide them.
        divisors: Vec<usize>,
    },
    /// Ranks without a layer.
    #[error("{layer_ranks} layer ranks are more than the {n_layers} layers; give layer_ranks at most {n_layers}")]
    TooManyLayerRanks {
        /// The ranks along the layer axis.
        layer_ranks: usize,
        /// The layers there are.
        n_layers: usize,
    },
}

/// An axis of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// The ranks that share one copy of the network.
    Layer,
    /// The ranks that hold the same layers of different copies.
    Data,
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Layer => "layer_ranks",
            Self::Data => "data_ranks",
        })
    }
}

impl MeshConfig {
    /// The shape for a world of `world` ranks and a network of `n_layers` layers.
    ///
    /// # Errors
    /// [`MeshError::Invalid`] with every [`MeshProblem`] there is.
    pub fn resolve(&self, world: usize, n_layers: usize) -> Result<MeshShape, MeshError> {
        use Degree::{Auto, Exactly};

        let mut problems = Vec::new();
        for (axis, degree) in [(Axis::Layer, self.layer_ranks), (Axis::Data, self.data_ranks)] {
            if degree == Exactly(0) {
                problems.push(MeshProblem::Zero { axis });
            }
        }
        let mut rest = |axis, degree: usize| match world.checked_rem(degree) {
            None => 0,
            Some(0) if world > 0 => world / degree,
            Some(_) => {
                problems.push(MeshProblem::NotDivisible { axis, degree, world, divisors: divisors(world) });
                0
            }
        };
        let (layer_ranks, data_ranks) = match (self.layer_ranks, self.data_ranks) {
            (Auto, Auto) => {
                let suggestion = divisors(world).into_iter().filter(|&n| n <= n_layers).max().unwrap_or(1);
                problems.push(MeshProblem::BothAuto { suggestion });
                (0, 0)
            }
            (Exactly(layer_ranks), Auto) => (layer_ranks, rest(Axis::Layer, layer_ranks)),
            (Auto, Exactly(data_ranks)) => (rest(Axis::Data, data_ranks), data_ranks),
            (Exactly(layer_ranks), Exactly(data_ranks)) => {
                if layer_ranks > 0 && data_ranks > 0 && layer_ranks.checked_mul(data_ranks) != Some(world) {
                    problems.push(MeshProblem::WrongProduct { layer_ranks, data_ranks, world });
                }
                (layer_ranks, data_ranks)
            }
        };
        if layer_ranks > n_layers {
            problems.push(MeshProblem::TooManyLayerRanks { layer_ranks, n_layers });
        }
        if problems.is_empty() { Ok(MeshShape { layer_ranks, data_ranks }) } else { Err(MeshError::Invalid(problems)) }
    }
}

fn divisors(world: usize) -> Vec<usize> {
    (1..=world).filter(|n| world.is_multiple_of(*n)).collect()
}

fn list(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use Degree::{Auto, Exactly};
    use proptest::prelude::*;

    fn resolve(layer: Degree, data: Degree, world: usize, n_layers: usize) -> Result<(usize, usize), Vec<String>> {
        match (MeshConfig { layer_ranks: layer, data_ranks: data }).resolve(world, n_layers) {
            Ok(shape) => Ok((shape.layer_ranks, shape.data_ranks)),
            Err(MeshError::Invalid(problems)) => Err(problems.iter().map(ToString::to_string).collect()),
            Err(error) => Err(vec![format!("unexpected: {error}")]),
        }
    }

    #[test]
    fn one_degree_gives_the_other() {
        assert_eq!(resolve(Exactly(4), Auto, 12, 36), Ok((4, 3)));
        assert_eq!(resolve(Auto, Exactly(4), 12, 36), Ok((3, 4)));
        assert_eq!(resolve(Exactly(2), Exactly(3), 6, 2), Ok((2, 3)));
        assert_eq!(resolve(Exactly(1), Auto, 1, 1), Ok((1, 1)));
    }

    #[test]
    fn each_problem_says_what_to_type() {
        let said = |layer, data, world, n_layers| resolve(layer, data, world, n_layers).unwrap_err();
        assert_eq!(said(Auto, Exactly(0), 4, 8), ["data_ranks is 0; give it a number from 1 on, or auto"]);
        assert_eq!(
            said(Auto, Auto, 6, 4),
            ["layer_ranks and data_ranks are both auto; give one of them a number, such as layer_ranks = 3"]
        );
        assert_eq!(
            said(Exactly(2), Exactly(3), 4, 8),
            ["layer_ranks = 2 and data_ranks = 3 need 6 ranks, but there are 4; \
              start that many, or set one of the two to auto"]
        );
        assert_eq!(
            said(Exactly(4), Auto, 6, 8),
            ["layer_ranks = 4 does not divide the 6 ranks there are; give layer_ranks one of 1, 2, 3, 6"]
        );
        assert_eq!(
            said(Auto, Exactly(1), 4, 3),
            ["4 layer ranks are more than the 3 layers; give layer_ranks at most 3"]
        );
    }

    #[test]
    fn all_problems_are_listed() {
        let config = MeshConfig { layer_ranks: Exactly(5), data_ranks: Exactly(0) };
        let error = config.resolve(4, 3).unwrap_err();
        let expected =
            [MeshProblem::Zero { axis: Axis::Data }, MeshProblem::TooManyLayerRanks { layer_ranks: 5, n_layers: 3 }];
        assert_eq!(error, MeshError::Invalid(expected.to_vec()));
        assert!(error.to_string().starts_with("no mesh: data_ranks is 0;"), "{error}");
        assert_eq!(resolve(Exactly(5), Exactly(2), 4, 3).unwrap_err().len(), 2);
        assert_eq!(resolve(Exactly(0), Exactly(0), 4, 3).unwrap_err().len(), 2);
        assert_eq!(resolve(Exactly(usize::MAX), Exactly(2), 4, 3).unwrap_err().len(), 2);
    }

    fn degree() -> impl Strategy<Value = Degree> {
        prop_oneof![Just(Auto), (0usize..9).prop_map(Exactly)]
    }

    proptest! {
        #[test]
        fn a_shape_fills_the_world_and_keeps_what_was_asked(
            layer in degree(), data in degree(), world in 0usize..40, n_layers in 0usize..20,
        ) {
            let config = MeshConfig { layer_ranks: layer, data_ranks: data };
            let fits = |l: usize, d: usize| {
                l * d == world && l <= n_layers && world > 0
                    && [Auto, Exactly(l)].contains(&layer) && [Auto, Exactly(d)].contains(&data)
            };
            match config.resolve(world, n_layers) {
                Ok(shape) => prop_assert!(fits(shape.layer_ranks, shape.data_ranks)),
                Err(MeshError::Invalid(problems)) => {
                    prop_assert!(!problems.is_empty());
                    let possible = (0..=world).any(|l| (0..=world).any(|d| fits(l, d)));
                    prop_assert!(!possible || (layer, data) == (Auto, Auto), "{problems:?}");
                }
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
    }
}
