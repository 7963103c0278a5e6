//! Costs and links of this machine, measured, and real steps in turns with that.

use std::thread::available_parallelism;

use benches::{Built, Case, Variant, Visit, Way, own_device, time_in_turns};
use braidnet::comm::{mpi_world_size, under_mpi};
use braidnet::describe;
use braidnet::monitor::Seconds;
use braidnet::prelude::*;
use braidnet::train::predict::{
    Costs, Link, Machine, MachineFile, Measuring, PredictError, Setup, measure_links, predict,
};

use crate::{Options, PlanError};

/// Numbers of samples that costs are measured for: the batch, its half, and so on.
const SIZES: usize = 4;
/// Steps of a way that are timed in a round.
const STEPS: usize = 3;

/// Measures, and with `--validate` compares; nothing on the other processes of an MPI job.
pub fn run(case: Case, options: &Options) -> Result<Option<MachineFile>, PlanError> {
    let ranks = mpi_world_size().unwrap_or(2);
    let measured = on_devices(ranks, options, |world, device| case.visit(1, device, Measure { world, case, options }))?;
    let measured = measured.into_iter().next().transpose()?;
    Ok(measured.flatten())
}

/// What `program` finds on so many ranks, each with its device.
pub fn on_devices<T: Send>(
    ranks: usize,
    options: &Options,
    program: impl Fn(&Communicator, &Device) -> Result<T, TrainError> + Send + Sync,
) -> Result<Vec<T>, LaunchError> {
    launch(&Launch::ranks(ranks), |world| {
        let device = own_device(&options.device, &world).map_err(|error| describe(error.as_ref()))?;
        program(&world, &device).map_err(|error| error.to_string())
    })
}

struct Measure<'a> {
    world: &'a Communicator,
    case: Case,
    options: &'a Options,
}

/// What one round of measuring finds.
struct Round {
    /// Of one rank that works alone, by numbers of samples, on the first rank.
    alone: Vec<Costs>,
    /// Of two that work at the same time, for the batch.
    together: Costs,
}

impl Visit for Measure<'_> {
    type Out = Result<Option<MachineFile>, PredictError>;

    fn visit<N: Network + 'static>(self, mut built: Built<N>) -> Result<Self::Out, TrainError> {
        let Self { world, case, options } = self;
        let pair = world.first_ranks(world.size().min(2).min(built.n_layers()))?;
        if let (Some(pair), true) = (&pair, built.layers_differ) {
            built.measure_costs(pair)?;
        }
        let mut variants = if options.validate { ways(case, world.size().min(built.n_layers())) } else { Vec::new() };
        let networks = [built];
        let mut rounds = Vec::new();
        for _ in 0..options.rounds {
            if let Some(pair) = &pair {
                rounds.push(round(&networks[0], case, pair)?);
            }
            world.barrier()?;
            time_in_turns(world, &networks, &mut variants, (1, STEPS))?;
        }
        let links = measure_links(world)?;
        if world.rank() > 0 {
            return Ok(Ok(None));
        }
        Ok(finish(rounds, links, &variants, case).map(Some))
    }
}

/// Puts together what was measured, and compares.
fn finish(
    rounds: Vec<Round>,
    links: Option<(Link, f64)>,
    variants: &[Variant],
    case: Case,
) -> Result<MachineFile, PredictError> {
    let (mut alone, mut crowding) = (Vec::new(), Vec::new());
    for Round { alone: measured, together } in rounds {
        let costs = Costs::join(measured)?;
        let total = |costs: &Costs| costs.of_layers(case.batch).iter().sum::<f64>();
        crowding.push(total(&together) / total(&costs));
        alone.push(costs);
    }
    let file = MachineFile {
        machine: machine(links, &crowding),
        costs: Costs { batch: case.batch, ..Costs::medians(alone)? },
    };
    compare(&file, variants, case)?;
    Ok(file)
}

/// This machine. What lies between nodes is taken to be as what lies within one.
fn machine(links: Option<(Link, f64)>, crowding: &[f64]) -> Machine {
    let (link, combine) = links.unwrap_or((Link { latency: 0.0, bandwidth: f64::INFINITY }, 0.0));
    let cores = available_parallelism().map_or(1, usize::from);
    let kind = if under_mpi() { "processes (MPI)" } else { "threads" };
    let crowding = Seconds::of(crowding.iter().copied()).map_or(1.0, |all| all.median.max(1.0));
    let name = format!("this machine, {cores} cores, {kind}");
    Machine { name, ranks_per_node: cores, crowding, combine, near: link, far: link }
}

/// Measures on the first rank alone, then on both at once.
fn round<N: Network>(built: &Built<N>, case: Case, pair: &Communicator) -> Result<Round, TrainError> {
    let what = Measuring {
        network: case.to_string(),
        operator: built.operator,
        optimizer: OptimizerConfig::Sgd { momentum: 0.9 },
        repeats: 3,
    };
    let schedule = Schedule::layer_parallel(SolveConfig::new(case.cfactor()));
    let measure = |comm: &Communicator, samples: usize| -> Result<Costs, TrainError> {
        let batch = built.samples(0..samples);
        let mut model = built.make(&schedule, comm)?;
        model.measure_costs(&what, samples, Some(&batch.input), |output| (built.task.loss)(output, &batch.target))
    };
    let mut alone = Vec::new();
    if let Some(one) = pair.first_ranks(1)? {
        alone.push(measure(&one, case.batch)?);
        // Where many steps are taken in one call, as many samples as that has.
        let most = alone[0].rows.max(case.batch);
        let larger = std::iter::successors(Some(2 * case.batch), |n| n.checked_mul(2)).take_while(|n| *n <= most);
        let smaller = std::iter::successors(Some(case.batch / 2), |n| Some(n / 2)).take_while(|n| *n > 0);
        for samples in smaller.take(SIZES - 1).chain(larger.take(SIZES - 1)) {
            alone.push(measure(&one, samples)?);
        }
    }
    pair.barrier()?;
    let together = measure(pair, case.batch)?;
    Ok(Round { alone, together })
}

/// What is compared with its prediction, on one rank and on two.
fn ways(case: Case, ranks: usize) -> Vec<Variant> {
    let cfactor = case.cfactor();
    let mut all = vec![
        Variant::new(Way::sequential(), 1),
        Variant::new(Way::parallel(2, cfactor, [1, 1]), 1),
        Variant::new(Way::parallel(2, cfactor, [0, 1]), 1),
    ];
    if ranks > 1 {
        let on_two = [Way::sequential(), Way::parallel(2, cfactor, [1, 1]), Way::parallel(2, cfactor, [2, 1])];
        let more = [Way::parallel(2, cfactor, [1, 1]).joined(), Way::parallel(2, cfactor, [0, 1])];
        all.extend(on_two.into_iter().chain(more).map(|way| Variant::new(way, 2)));
        if case.batch > 1 {
            all.push(Variant::new(Way::data_parallel(), 2));
        }
        if case.batch > 3 {
            all.push(Variant::new(Way::pipeline(4), 2));
        }
    }
    all
}

/// Prints predicted against measured.
fn compare(file: &MachineFile, variants: &[Variant], case: Case) -> Result<(), PredictError> {
    if variants.is_empty() {
        return Ok(());
    }
    println!(
        "{:<22} {:>5} {:>24} {:>12} {:>20}",
        "", "ranks", "measured (10-90 %)", "predicted", "predicted / measured"
    );
    for variant in variants {
        let Some(measured) = Seconds::of(variant.steps.iter().map(|step| step.seconds)) else { continue };
        let data_ranks = if variant.way == Way::data_parallel() { variant.ranks } else { 1 };
        let setup = Setup {
            data_ranks,
            micro_batches: variant.way.n_micro,
            ..Setup::new(variant.way.schedule.clone(), variant.ranks / data_ranks, case.batch)
        };
        let predicted = predict(&file.costs, &file.machine, &setup)?.seconds;
        let Seconds { first_decile, median, last_decile, .. } = measured;
        let [low, middle, high] = [first_decile, median, last_decile].map(|s| 1e3 * s);
        println!(
            "{:<22} {:>5} {:>24} {:>9.2} ms {:>20.2}",
            variant.name,
            variant.ranks,
            format!("{middle:.2} ms ({low:.2}-{high:.2})"),
            1e3 * predicted,
            predicted / median,
        );
    }
    println!();
    Ok(())
}
