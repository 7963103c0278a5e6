//! Layers that fail or leave the finite numbers: every rank ends, soon, and the message says where it happened.
#![allow(clippy::unwrap_used, clippy::expect_used)] // What helpers run into fails their test.

mod common;

use std::sync::mpsc;
use std::time::Duration;

use braidnet_comm::{Communicator, Launch, launch};
use braidnet_grid::{Coarsening, Partition, Step};
use braidnet_mgrit::{
    Differentiable, Guess, Linearization, Mgrit, MgritError, MgritOptions, Output, PendingGradients, Propagator,
    Relaxation, ResidualForm, StepError, TemporalNorm, Tolerance,
};

use common::gradients::gradients_on;
use common::problems::Scalar;
use common::v_cycles;

const N: usize = 14;

/// What a layer does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// Yields this value.
    Yields(f64),
    /// Cannot be stepped.
    Step,
    /// Panics.
    Panic,
    /// Cannot be linearised.
    Linearize,
    /// Cannot be pulled back.
    Pullback,
    /// Its gradients cannot be formed.
    Gradients,
}

/// A network with one faulty layer, at fault on one level.
#[derive(Debug, Clone)]
struct Faulty {
    layers: Scalar,
    layer: usize,
    level: usize,
    fault: Fault,
}

impl Faulty {
    fn new(layer: usize, level: usize, fault: Fault) -> Self {
        Self { layers: Scalar::generic(N), layer, level, fault }
    }

    fn check(&self, step: &Step, fault: Fault) -> Result<(), StepError> {
        let is_at_fault = self.fault == fault && (step.layer, step.level) == (self.layer, self.level);
        if is_at_fault { Err("out of memory".into()) } else { Ok(()) }
    }
}

impl Propagator for Faulty {
    type State = f64;

    fn step(&self, steps: &[Step], states: &mut [f64]) -> Result<(), StepError> {
        for (step, u) in steps.iter().zip(states) {
            self.check(step, Fault::Step)?;
            *u = self.layers.phi(step.layer, step.dt, *u);
            match self.fault {
                Fault::Yields(value) if (step.layer, step.level) == (self.layer, self.level) => *u = value,
                Fault::Panic if (step.layer, step.level) == (self.layer, self.level) => panic!("index out of bounds"),
                _ => {}
            }
        }
        Ok(())
    }

    fn context(&self) {}

    fn residual_form(&self) -> ResidualForm {
        self.layers.residual_form()
    }
}

impl Differentiable for Faulty {
    type Linearization = FaultyLayer;

    fn linearize(&self, step: &Step, state: &mut f64, _: Output) -> Result<FaultyLayer, StepError> {
        self.check(step, Fault::Linearize)?;
        self.step(std::slice::from_ref(step), std::slice::from_mut(state))?;
        Ok(FaultyLayer(self.clone(), step.clone()))
    }

    fn shared_linearization(&self, step: &Step) -> Option<usize> {
        Some(step.layer)
    }
}

/// The network and the step linearised.
struct FaultyLayer(Faulty, Step);

impl Linearization for FaultyLayer {
    type State = f64;
    type Gradients = ();

    fn pullback(&self, step: &Step, _: &mut f64) -> Result<(), StepError> {
        self.0.check(step, Fault::Pullback)
    }

    fn pullback_with_gradients(
        self,
        step: &Step,
        lambda: &mut f64,
        _: Output,
    ) -> Result<PendingGradients<()>, StepError> {
        self.pullback(step, lambda)?;
        Ok(Box::new(move || self.0.check(&self.1, Fault::Gradients)))
    }
}

fn options() -> MgritOptions {
    MgritOptions { coarsening: Coarsening::network(3, 3), ..v_cycles(3, 3, 1, 2) }
}

/// The failure of a launch that must end within seconds.
fn failure(n: usize, program: impl Fn(Communicator) -> Result<(), MgritError> + Send + Sync + 'static) -> String {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(launch(&Launch::ranks(n), program)));
    let outcome = receiver.recv_timeout(Duration::from_secs(30)).expect("the ranks hang");
    outcome.expect_err("nobody failed").to_string()
}

fn solve(comm: &Communicator, problem: &Faulty, options: &MgritOptions) -> Result<(), MgritError> {
    let partition = Partition::even(N, comm.size())?;
    let mut solver = Mgrit::new(&problem.layers.grid(0.2), &partition, options.clone(), comm)?;
    solver.solve(problem, Some(0.5), Guess::From(&|_| 0.0)).map(drop)
}

#[test]
fn a_failed_step_ends_all_ranks_with_its_layer() {
    // Layers that are first of their run on the level.
    for (layer, level) in [(0, 0), (5, 0), (13, 0), (3, 1), (9, 1), (12, 1), (9, 2)] {
        for n in 1..=4 {
            for options in [options(), MgritOptions { skip_downcycle: true, ..options() }] {
                let problem = Faulty::new(layer, level, Fault::Step);
                let rank = Partition::even(N, n).unwrap().owner(layer);
                let message = failure(n, move |comm| solve(&comm, &problem, &options));
                let expected = format!("layer {layer} failed on level {level}, rank {rank}: out of memory");
                assert!(message.contains(&expected), "{message:?}, expected {expected:?}");
            }
        }
    }
}

#[test]
fn a_panic_ends_all_ranks() {
    for n in 1..=3 {
        let problem = Faulty::new(8, 0, Fault::Panic);
        let message = failure(n, move |comm| solve(&comm, &problem, &options()));
        assert!(message.contains("index out of bounds"), "{message:?}");
    }
}

#[test]
fn a_failure_of_the_adjoint_names_its_layer() {
    for fault in [Fault::Linearize, Fault::Pullback, Fault::Gradients] {
        for layer in [0, 4, 8, 13] {
            for n in 1..=3 {
                let partition = Partition::even(N, n).unwrap();
                let rank = partition.owner(layer);
                let message = failure(n, move |comm| {
                    let problem = Faulty::new(layer, 0, fault);
                    let both = [&options(), &options()];
                    gradients_on(&comm, (&problem.layers.grid(0.2), &partition, both), &problem, &0.5).map(drop)
                });
                let expected = format!("layer {layer} failed on level 0, rank {rank}: out of memory");
                assert!(message.contains(&expected), "{fault:?}: {message:?}, expected {expected:?}");
            }
        }
    }
}

/// What every rank finds: the layer, level and rank of its error.
fn non_finite(n: usize, problem: &Faulty, options: &MgritOptions) -> Vec<Option<(&'static str, usize, usize, usize)>> {
    let found = launch(&Launch::ranks(n), |comm| match solve(&comm, problem, options) {
        Ok(()) => Ok(None),
        Err(MgritError::NonFinite { what, layer, level, rank }) => Ok(Some((what, layer, level, rank))),
        Err(other) => Err(other),
    });
    found.unwrap()
}

/// The owner of the layer finds it; the ranks behind it find what it hands on, the ranks before it nothing.
#[test]
fn a_layer_that_yields_no_number_is_found() {
    let relaxation = vec![Relaxation::F];
    let skipped = MgritOptions { relaxation, skip_downcycle: true, norm: None, ..options() };
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for layer in [0, 3, 7, 13] {
            for n in 1..=3 {
                let partition = Partition::even(N, n).unwrap();
                // With one level, the error cannot get past the layers before it.
                for options in [MgritOptions::sequential(), options(), skipped.clone()] {
                    let found = non_finite(n, &Faulty::new(layer, 0, Fault::Yields(value)), &options);
                    let owner = partition.owner(layer);
                    assert_eq!(found[owner], Some(("output", layer, 0, owner)), "{value} in layer {layer}");
                    assert!(found[..owner].iter().all(Option::is_none), "{value} in layer {layer}: {found:?}");
                }
                let problem = Faulty::new(layer, 0, Fault::Yields(value));
                let message = failure(n, move |comm| solve(&comm, &problem, &options()));
                for part in ["is not finite (level 0, found on rank", "lower the learning rate or the time step"] {
                    assert!(message.contains(part), "{message:?}");
                }
            }
        }
    }
}

#[test]
fn an_input_that_is_no_number_is_found() {
    let program = |comm: Communicator| {
        let layers = Scalar::generic(N);
        let partition = Partition::even(N, comm.size())?;
        let mut solver = Mgrit::new(&layers.grid(0.2), &partition, options(), &comm)?;
        solver.solve(&layers, Some(f64::NAN), Guess::From(&|_| 0.0)).map(drop)
    };
    assert!(failure(1, program).contains("the input of layer 0 is not finite (level 0, found on rank 0)"));
}

/// A NaN on some rank ends the iteration on all of them, also where no tolerance is ever reached.
#[test]
fn a_nan_ends_the_iteration() {
    for norm in [TemporalNorm::One, TemporalNorm::Two, TemporalNorm::Max] {
        for n in 1..=3 {
            let options = MgritOptions {
                max_iters: 1_000_000_000,
                norm: Some(norm),
                tolerance: Some(Tolerance::Absolute(-1.0)),
                ..options()
            };
            let problem = Faulty::new(6, 0, Fault::Yields(f64::NAN));
            let message = failure(n, move |comm| solve(&comm, &problem, &options));
            assert!(message.contains("is not finite"), "{message:?}");
        }
    }
}
