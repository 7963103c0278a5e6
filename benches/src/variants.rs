//! Ways of one network's training step side by side.

use braidnet::device::Launches;
use braidnet::prelude::*;

use crate::{Built, Parameters, Way, step};

/// A way on so many ranks, and what was measured of it.
pub struct Variant {
    /// Its name in tables: that of the way, unless it is no way of that name.
    pub name: String,
    /// How a step is done.
    pub way: Way,
    /// Ranks in all.
    pub ranks: usize,
    /// Which of several networks with the same parameters.
    pub network: usize,
    /// Of every step that was timed.
    pub steps: Vec<StepTime>,
    /// At the initial parameters.
    pub errors: Option<Errors>,
    /// After some training.
    pub errors_trained: Option<Errors>,
    /// Kernels that a step starts in the process of the first rank, known there; `None` in a build without GPUs.
    pub launches: Option<Launches>,
    /// Most memory of a process of its ranks, in bytes, where it was the only variant.
    pub peak_bytes: Option<u64>,
}

/// How long a step took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepTime {
    /// Seconds of the slowest rank.
    pub seconds: f64,
    /// Part of `ranks x seconds` in which a rank waits for others, or has ended before the slowest.
    pub waiting: f64,
}

/// How far a way is from exact, for one batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errors {
    /// Relative error of the gradients of all ODE layers.
    pub gradient: f64,
    /// Relative error of the states at all points.
    pub state: f64,
}

impl Variant {
    /// Nothing measured yet.
    pub fn new(way: Way, ranks: usize) -> Self {
        let name = way.to_string();
        let (steps, errors, errors_trained, launches, peak_bytes) = (Vec::new(), None, None, None, None);
        Self { name, way, ranks, network: 0, steps, errors, errors_trained, launches, peak_bytes }
    }

    /// With another name.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Of the network `index` in place of the first.
    pub fn of_network(self, network: usize) -> Self {
        Self { network, ..self }
    }
}

/// Whose errors [`measure_errors`] measures: of the network as it begins, or with these parameters.
#[derive(Clone, Copy)]
pub enum At<'a> {
    /// The initial parameters.
    Start,
    /// Those after some training.
    Trained(&'a Parameters),
}

/// Measures the errors of all variants on the first batch, on one rank, or, where they depend on it, on as many as are timed. Where
/// the data axis has several ranks they are the errors of the schedule on the whole batch.
///
/// # Errors
/// A failed solve.
///
/// # Communication
/// Collective over `world`.
pub fn measure_errors<N: Network>(
    world: &Communicator,
    networks: &[Built<N>],
    variants: &mut [Variant],
    at: At<'_>,
) -> Result<(), TrainError> {
    // What is the same in two variants is measured once.
    let mut known: Vec<(Schedule, usize, usize, Errors)> = Vec::new();
    for variant in variants {
        let Some(built) = networks.get(variant.network) else { continue };
        let shape = variant.way.degrees.resolve(variant.ranks, built.n_layers())?;
        let ranks = if variant.way.depends_on_ranks() { shape.layer_ranks } else { 1 };
        // States are compared where they are kept; recomputed ones are the same.
        let schedule = Schedule { activations: Activations::Store, ..variant.way.schedule.clone() };
        let network = variant.network;
        let alike = known.iter().find(|(s, n, r, _)| (s, *n, *r) == (&schedule, network, ranks));
        let errors = match alike {
            Some((.., errors)) => *errors,
            None => {
                let mine = match world.first_ranks(ranks)? {
                    Some(comm) => Some(errors(built, &schedule, &comm, at)?),
                    None => None,
                };
                // Printed by the first rank, which has them.
                let errors = mine.unwrap_or(Errors { gradient: f64::NAN, state: f64::NAN });
                known.push((schedule, network, ranks, errors));
                world.barrier()?;
                errors
            }
        };
        match at {
            At::Start => variant.errors = Some(errors),
            At::Trained(_) => variant.errors_trained = Some(errors),
        }
    }
    Ok(())
}

fn errors<N: Network>(
    built: &Built<N>,
    schedule: &Schedule,
    comm: &Communicator,
    at: At<'_>,
) -> Result<Errors, TrainError> {
    let mut model = built.make(schedule, comm)?;
    if let At::Trained(parameters) = at {
        parameters.load(&mut model)?;
    }
    let batch = built.nth_batch(0);
    let loss = |output| (built.task.loss)(output, &batch.target);
    let gradients = model.forward(batch.size, Some(&batch.input))?.loss(loss)?.backward()?.gradients;
    let gradient = model.gradient_error(batch.size, Some(&batch.input), loss, &gradients)?.relative;
    Ok(Errors { gradient, state: model.state_error(batch.size, Some(&batch.input))? })
}

/// Times training steps of all variants, which take turns: `rounds` times `steps` of each, every time from the initial parameters.
///
/// # Errors
/// A failed step, or ranks that a variant cannot be spread over.
///
/// # Communication
/// Collective over `world`.
pub fn time_in_turns<N: Network>(
    world: &Communicator,
    networks: &[Built<N>],
    variants: &mut [Variant],
    (rounds, steps): (usize, usize),
) -> Result<(), TrainError> {
    for _ in 0..rounds {
        for variant in variants.iter_mut() {
            let Some(built) = networks.get(variant.network) else { continue };
            if let Some(comm) = world.first_ranks(variant.ranks)? {
                let timed = step::time(built, &variant.way, &comm, steps)?;
                variant.steps.extend(timed.steps);
                variant.launches = timed.launches;
            }
            world.barrier()?;
        }
    }
    Ok(())
}

/// Trains layer by layer, a step per batch from the second on; the last loss and the parameters, on every rank.
///
/// # Errors
/// A failed step.
///
/// # Communication
/// Collective over `world`.
pub fn train<N: Network>(
    world: &Communicator,
    built: &Built<N>,
    n_steps: usize,
    (optimizer, rate): (OptimizerConfig, f64),
) -> Result<(f64, Parameters), TrainError> {
    // No more ranks than layers.
    let n_ranks = world.size().min(built.n_layers());
    let (mut loss, mut trained) = (f64::NAN, None);
    if let Some(comm) = world.first_ranks(n_ranks)? {
        let mut model = built.make(&Schedule::sequential(), &comm)?;
        let mut optimizer = Optimizer::new(optimizer, rate)?;
        for index in 1..=n_steps {
            let batch = built.nth_batch(index);
            let forward = model.forward(batch.size, Some(&batch.input))?;
            let backward = forward.loss(|output| (built.task.loss)(output, &batch.target))?.backward()?;
            loss = backward.loss.unwrap_or(f64::NAN);
            optimizer.step(&mut model, backward.gradients);
        }
        trained = Some(model.network().clone());
    }
    // The loss is known on the last rank that has layers.
    let losses = world.all_gather(loss, &())?;
    let loss = losses.get(n_ranks - 1).copied().unwrap_or(f64::NAN);
    Ok((loss, Parameters::gather(world, trained.as_ref())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Case, Visit};

    /// Errors of three variants, at the start and after training.
    struct Measure<'a>(&'a Communicator);

    impl Visit for Measure<'_> {
        type Out = Vec<[Option<Errors>; 2]>;

        fn visit<N: Network + 'static>(self, built: Built<N>) -> Result<Self::Out, TrainError> {
            let mut variants: Vec<_> = ["seq+dp:2", "lp:2/4/1/1+recompute", "lp:2/4/1/1+join"]
                .map(|way| Variant::new(way.parse().unwrap(), 2))
                .into();
            let networks = [built];
            time_in_turns(self.0, &networks, &mut variants, (2, 1))?;
            assert!(self.0.rank() > 0 || variants.iter().all(|v| v.steps.len() == 2 && v.steps[0].seconds > 0.0));
            measure_errors(self.0, &networks, &mut variants, At::Start)?;
            let (loss, parameters) = train(self.0, &networks[0], 2, (OptimizerConfig::Adam, 1e-3))?;
            assert!(loss.is_finite());
            measure_errors(self.0, &networks, &mut variants, At::Trained(&parameters))?;
            Ok(variants.into_iter().map(|v| [v.errors, v.errors_trained]).collect())
        }
    }

    #[test]
    fn exact_ways_have_no_errors_and_others_those_of_the_parameters() {
        for text in ["conv:16x3@4", "encoder:16@1", "blocks:2@4"] {
            let case: Case = text.parse().unwrap();
            let all = launch(&Launch::ranks(Some(2)), |world| case.visit(3, &Device::flex(), Measure(&world))).unwrap();
            let gradient = |variant: usize, at: usize| all[0][variant][at].unwrap().gradient;
            assert_eq!([gradient(0, 0), gradient(0, 1)], [0.0; 2], "{text}");
            for variant in [1, 2] {
                let [start, trained] = [0, 1].map(|at| gradient(variant, at));
                assert!(start > 0.0 && start < 0.5 && trained > 0.0 && trained != start, "{text}: {start} {trained}");
            }
            // Joined intervals make another error.
            assert!(gradient(1, 0) != gradient(2, 0), "{text}");
        }
    }
}
