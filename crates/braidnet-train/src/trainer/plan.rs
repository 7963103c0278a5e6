//! What every rank will hold, send and evaluate in a step: counted by a solve with numbers in place of states.

use std::fmt;
use std::ops::Range;

use braidnet_comm::Mesh;
use braidnet_grid::Step;
use braidnet_mgrit::{
    Differentiable, Guess, Linearization, Output, PendingGradients, Propagator, Sources, StepError, solve_adjoint,
};
use braidnet_nn::Network;

use crate::predict::memory::{Holdings, of_parameters, points};
use crate::solvers::Solvers;
use crate::{
    InitialGuess, LayerParallel, MicroBatching, OptimizerConfig, Precision, Schedule, SolveConfig, TrainError,
};

/// The plan of a training step.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// One entry per layer rank; all ranks of the data axis do the same.
    pub ranks: Vec<RankPlan>,
    /// Ranks of the data axis.
    pub data_ranks: usize,
    /// Samples of a rank's micro-batch.
    pub micro_batch: usize,
    /// Micro-batches per rank and step.
    pub micro_batches: usize,
    /// The schedule.
    pub schedule: String,
}

/// One layer rank's part of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankPlan {
    /// Its layers.
    pub layers: Range<usize>,
    /// Points it holds on each level of the forward solve.
    pub points: Vec<usize>,
    /// Its parameters.
    pub parameters: u64,
    /// Evaluations of layers and pullbacks on all levels, per micro-batch.
    pub evaluations: [u64; 2],
    /// Messages it sends along the layer axis, per micro-batch.
    pub messages: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Estimate of the memory for parameters, gradients, moments, states and what the adjoint needs; without the working memory of
    /// the layers themselves.
    pub memory: u64,
}

impl Plan {
    /// The plan of `model` on `mesh` for micro-batches of `micro_batch` samples; the same on every rank.
    ///
    /// # Errors
    /// If a message fails.
    ///
    /// # Communication
    /// Collective over the layer axis: both solves with one number per state, and an all-gather.
    pub fn new<N: Network>(
        mesh: &Mesh,
        model: &LayerParallel<N>,
        schedule: &Schedule,
        optimizer: OptimizerConfig,
        (micro_batch, micro_batches): (usize, usize),
    ) -> Result<Self, TrainError> {
        let own = plan_of(model, schedule, optimizer, micro_batch, micro_batches)?;
        let all = mesh.layer().all_gather(own.pack(), &())?;
        Ok(Self {
            ranks: all.iter().map(|packed| RankPlan::unpack(packed)).collect(),
            data_ranks: mesh.shape().data_ranks,
            micro_batch,
            micro_batches,
            schedule: schedule.to_string(),
        })
    }
}

fn plan_of<N: Network>(
    model: &LayerParallel<N>,
    schedule: &Schedule,
    optimizer: OptimizerConfig,
    micro_batch: usize,
    micro_batches: usize,
) -> Result<RankPlan, TrainError> {
    let network = model.network();
    let batch = network.largest_batch(micro_batch);
    let layers = model.layers();
    let precision = model.precision();
    let state_bytes = |point| precision.n_bytes(network.state_bytes(point, &batch));
    let ends = [layers.start, layers.end].map(|point| state_bytes(point) as u64);
    let mean = |bytes: &dyn Fn(usize) -> usize| layers.clone().map(bytes).sum::<usize>() as u64 / layers.len() as u64;
    let state = mean(&state_bytes);
    let tape = mean(&|layer| precision.n_bytes(network.tape_bytes(layer, &batch)));
    let mut parameters = 0;
    network.visit_parameters(|p| {
        if !p.is_statistic {
            parameters += p.shape.iter().product::<usize>() as u64;
        }
    });
    let mut plan = RankPlan {
        layers: layers.clone(),
        points: vec![layers.len() + 1],
        parameters,
        evaluations: [layers.len() as u64; 2],
        messages: 0,
        bytes: 0,
        memory: of_parameters(parameters, optimizer) + working_copy(parameters, precision),
    };
    let holdings = Holdings { n_layers: layers.len(), state, tape };
    match schedule.micro_batching {
        MicroBatching::Pipelined => {
            let sends = [u64::from(!model.is_first()), u64::from(!model.is_last())];
            plan.messages = sends[0] + sends[1];
            plan.bytes = sends[0] * ends[0] + sends[1] * ends[1];
            let in_flight = (model.comm.size() - model.comm.rank()).min(micro_batches) as u64;
            plan.memory += holdings.of_pipeline(schedule.activations, in_flight);
        }
        MicroBatching::InTurn => count_solves(model, schedule, (holdings, ends), &mut plan)?,
    }
    Ok(plan)
}

/// Bytes of the parameters in the type of the states, where that is not the one that they are kept in.
fn working_copy(parameters: u64, precision: Precision) -> u64 {
    if precision == Precision::F32 { 0 } else { 2 * parameters }
}

/// Solves both ways with numbers for states, and fills in what that counts.
fn count_solves<N: Network>(
    model: &LayerParallel<N>,
    schedule: &Schedule,
    (holdings, ends): (Holdings, [u64; 2]),
    plan: &mut RankPlan,
) -> Result<(), TrainError> {
    let options = [schedule.forward.options("forward")?, schedule.backward.options("backward")?];
    let mut solvers = Solvers::<f64>::new(&model.grid, &model.partition, options, &model.comm)?
        .set_up(schedule.activations, model.on_non_finite);
    let initial = model.is_first().then_some(1.0);
    let zero = |_| 0.0;
    let guess = |solve: &SolveConfig| match solve.guess {
        InitialGuess::Carried => Guess::Carried,
        InitialGuess::Zero | InitialGuess::ClassMeans => Guess::From(&zero),
    };
    let (up, linearized) = solvers.forward.solve_linearized(&Counted, initial, guess(&schedule.forward))?;
    let lambda = model.is_last().then_some(1.0);
    let Solvers { forward, adjoint, .. } = &mut solvers;
    let guess = guess(&schedule.backward);
    let (down, _) = solve_adjoint(adjoint, &Counted, forward, linearized, lambda, Sources::none(), guess)?;
    plan.points = points(forward);
    plan.evaluations = [up.evaluations.iter().sum(), down.evaluations.iter().sum()];
    plan.messages = up.messages + down.messages;
    // Most of the states go to the rank behind, most of the adjoint to the one before.
    plan.bytes = up.messages * ends[1] + down.messages * ends[0];
    plan.memory += holdings.of_solves(schedule, [&plan.points, &points(adjoint)]);
    Ok(())
}

impl RankPlan {
    fn pack(&self) -> Vec<u64> {
        let head = [self.layers.start as u64, self.layers.end as u64, self.parameters, self.evaluations[0]];
        let tail = [self.evaluations[1], self.messages, self.bytes, self.memory];
        head.into_iter().chain(tail).chain(self.points.iter().map(|n| *n as u64)).collect()
    }

    fn unpack(packed: &[u64]) -> Self {
        let at = |n: usize| packed.get(n).copied().unwrap_or(0);
        Self {
            layers: at(0) as usize..at(1) as usize,
            parameters: at(2),
            evaluations: [at(3), at(4)],
            messages: at(5),
            bytes: at(6),
            memory: at(7),
            points: packed.iter().skip(8).map(|n| *n as usize).collect(),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let Self { data_ranks, micro_batch, micro_batches, schedule, .. } = self;
        writeln!(f, "{} layer ranks x {data_ranks} data ranks; {schedule}", self.ranks.len())?;
        writeln!(f, "per rank and step {micro_batches} x {micro_batch} samples; per micro-batch:")?;
        writeln!(
            f,
            "{:>10} {:>12} {:>20} {:>11} {:>14} {:>9} {:>10} {:>12}",
            "layer rank", "layers", "points per level", "parameters", "evaluations", "messages", "sent", "memory est."
        )?;
        for (rank, plan) in self.ranks.iter().enumerate() {
            let points = plan.points.iter().map(usize::to_string).collect::<Vec<_>>().join(" / ");
            let [up, down] = plan.evaluations;
            writeln!(
                f,
                "{rank:>10} {:>12} {points:>20} {:>11} {:>14} {:>9} {:>10} {:>12}",
                format!("{}..{}", plan.layers.start, plan.layers.end),
                plan.parameters,
                format!("{up} + {down}"),
                plan.messages,
                mib(plan.bytes),
                mib(plan.memory),
            )?;
        }
        if self.data_ranks > 1 {
            let largest = self.ranks.iter().map(|plan| 4 * plan.parameters).max().unwrap_or(0);
            writeln!(f, "per step, over {data_ranks} data ranks: all-reduce of up to {} per rank", mib(largest))?;
        }
        Ok(())
    }
}

/// A network whose layers count.
struct Counted;

/// Its linearisation.
struct CountedLayer;

impl Propagator for Counted {
    type State = f64;

    fn step(&self, _: &[Step], states: &mut [f64]) -> Result<(), StepError> {
        states.iter_mut().for_each(|state| *state += 1.0);
        Ok(())
    }

    fn context(&self) {}

    /// Zeros, so that Newton's method takes all the iterations it may.
    fn step_with_diagonal(&self, steps: &[Step], states: &mut [f64]) -> Result<Vec<f64>, StepError> {
        self.step(steps, states)?;
        Ok(vec![0.0; steps.len()])
    }
}

impl Differentiable for Counted {
    type Linearization = CountedLayer;

    fn linearize(&self, _: &Step, _: &mut f64, _: Output) -> Result<CountedLayer, StepError> {
        Ok(CountedLayer)
    }

    fn shared_linearization(&self, step: &Step) -> Option<usize> {
        Some(step.layer)
    }
}

impl Linearization for CountedLayer {
    type State = f64;
    type Gradients = ();

    fn pullback(&self, _: &Step, _: &mut f64) -> Result<(), StepError> {
        Ok(())
    }

    fn diagonal(&self, _: &Step) -> Result<f64, StepError> {
        Ok(0.0)
    }

    fn pullback_with_gradients(self, _: &Step, _: &mut f64, _: Output) -> Result<PendingGradients<()>, StepError> {
        Ok(Box::new(|| Ok(())))
    }
}
