//! Multigrid reduction in time (MGRIT) over ranks, for the states of a network and for their adjoint.
//!
//! A network is a [`Propagator`]: it applies layers ("steps") to [`State`]s. [`Mgrit`] solves
//! `u[n+1] = Phi_n(u[n])` for all `n` at once, on the grid hierarchy of [`braidnet_grid`] and the ranks of a
//! [`braidnet_comm::Communicator`]; [`sequential`] is the plain loop that it must agree with. Networks that are
//! [`Differentiable`] have their adjoint solved by the same code on the reversed grid ([`solve_adjoint`]). Where
//! multigrid does not suit a network, [`Method::Newton`] solves the same equations with a parallel prefix.
//!
//! One file per operation, named as in the papers: [`relax`](mod@relax), [`restrict`](mod@restrict),
//! [`tau`](mod@tau), [`prolong`](mod@prolong), [`cycle`](mod@cycle). Nothing here knows tensors or MPI.
//!
//! Reference: Falgout et al., Parallel time integration with multigrid, SISC 2014.
//!
//! The vocabulary that all crates share is in `docs/conventions.md`.

mod activations;
mod adjoint;
pub mod cycle;
mod error;
mod finite;
mod guess;
pub mod model;
mod newton;
mod norm;
mod options;
pub mod place;
mod prefix;
pub mod prolong;
mod propagator;
mod pullback;
pub mod relax;
mod report;
pub mod restrict;
mod sequential;
mod setting;
mod solver;
mod sources;
mod state;
mod storage;
pub mod tau;
mod walk;

pub use activations::{Activations, checkpoints};
pub use adjoint::{LayerGradients, Linearized, solve_adjoint, solve_adjoint_into};
pub use error::{MgritError, StepError};
pub use finite::NotFinite;
pub use guess::Guess;
pub use options::{
    Coarsest, Cycle, FinalSweep, Method, MgritOptions, OnNonFinite, Relaxation, TemporalNorm, Tolerance,
};
pub use propagator::{Differentiable, Linearization, Output, PendingGradients, Propagator, ResidualForm};
pub use report::{SolveReport, Stop};
pub use sequential::sequential;
pub use solver::Mgrit;
pub use sources::Sources;
pub use state::State;
