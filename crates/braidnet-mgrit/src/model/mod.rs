//! Model problems: small equations with known histories, the proving ground of the solver.
//!
//! Their formulas are those of XBraid's examples and of the layer-parallel literature; [`Case`] reads a file of
//! recorded XBraid runs and solves each of them, so that the two can be compared digit by digit.

mod case;
mod compare;
mod dahlquist;
mod heat;
mod logistic;
mod resnet;
mod resnet_adjoint;
mod space;
mod vector;

pub use case::{Case, CaseError, CaseFile, Expected};
pub use compare::{Comparison, Verdict};
pub use dahlquist::{Dahlquist, Method};
pub use heat::Heat;
pub use logistic::Logistic;
pub use resnet::Resnet;
pub use resnet_adjoint::ResnetAdjoint;
pub use vector::Vector;
