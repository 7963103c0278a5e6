//! What solves in 16 bits do to convergence and gradients: the tables of `docs/precision.md`, in Markdown.
//!
//! `cargo run --release -p benches --bin precision`. Nothing is timed: numbers are rounded the same way on a slow device.

use std::collections::{HashMap, HashSet};

use benches::{Batch, RUN, SamplesFn, samples};
use braidnet::nn::Gradients;
use braidnet::prelude::*;
use braidnet::train::data::Micro;
use braidnet::train::{CastState, Precision};

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::F16];
/// Steps of training between the two tables.
const STEPS: usize = 60;
/// Batches that they go through in turn.
const BATCHES: usize = 4;
/// Samples of a batch.
const IMAGES: usize = 10;
const SENTENCES: usize = 4;
/// Iterations of the solves that show where residuals stall.
const ITERATIONS: usize = 8;

type Error = Box<dyn std::error::Error>;

/// A network on one rank, and its samples.
struct Studied<N: Network> {
    model: LayerParallel<N>,
    schedule: Schedule,
    task: Task<Tensor<1, Int>>,
    batches: Vec<Batch<N::Input>>,
    optimizer: OptimizerConfig,
    rate: f64,
}

fn main() -> Result<(), Error> {
    let device = Device::flex();
    let config = OdeNet2dConfig::new(36, 3);
    let network = config.init(0..36, RUN, 0, &device)?;
    let conv = Studied {
        model: alone(network, &config.grid()?)?,
        schedule: Schedule::layer_parallel(SolveConfig::new(8)),
        task: Task::classification(),
        batches: batches(&samples::waves(BATCHES * IMAGES, &device), IMAGES),
        optimizer: OptimizerConfig::Sgd { momentum: 0.9 },
        rate: 1e-2,
    };
    conv.study("Convolutions: 36 layers of 3 channels, coarsening factor 8")?;
    let config = encoder();
    let network = config.init(0..32, RUN, 0, &device)?;
    let encoder = Studied {
        model: alone(network, &config.grid()?)?,
        schedule: Schedule::layer_parallel(SolveConfig::new(8)),
        task: Task::per_token(None),
        batches: batches(&samples::sentences(BATCHES * SENTENCES, &device), SENTENCES),
        optimizer: OptimizerConfig::Adam,
        rate: 1e-3,
    };
    encoder.study("Encoder: 32 layers of width 128, coarsening factor 8")
}

/// As the benches have it.
fn encoder() -> TransformerConfig {
    TransformerConfig {
        max_length: samples::SENTENCE,
        final_time: 8.0,
        pad: None,
        ..TransformerConfig::encoder(32, 128, 1000, samples::WORD_CLASSES)
    }
}

fn alone<N: Network>(network: N, grid: &TimeGrid) -> Result<LayerParallel<N>, Error> {
    let partition = Partition::even(grid.n_steps(), 1)?;
    Ok(LayerParallel::new(network, grid, &partition, &Schedule::sequential(), &Communicator::alone())?)
}

fn batches<I>(samples: &SamplesFn<I>, size: usize) -> Vec<Batch<I>> {
    (0..BATCHES).map(|n| samples(n * size..(n + 1) * size)).collect()
}

impl<N: Network<State: CastState, Input: Clone>> Studied<N> {
    fn study(mut self, name: &str) -> Result<(), Error> {
        println!("### {name}\n");
        self.table("At the start")?;
        let start = self.model.network().clone();
        let mut losses = Vec::new();
        for precision in PRECISIONS {
            for schedule in [self.schedule.clone(), Schedule::sequential()] {
                self.model.update(|_| start.clone());
                losses.push(format!("{:.4}", self.train(precision, &schedule)?));
            }
        }
        // The last of them is trained layer by layer in f16: the table is of what single precision yields.
        self.model.update(|_| start);
        self.train(Precision::F32, &Schedule::sequential())?;
        self.table(&format!("After {STEPS} steps in f32"))?;
        println!("Loss of the first batch after {STEPS} steps, MGRIT and sequential:\n");
        println!("| f32 | | bf16 | | f16 | |\n|---:|---:|---:|---:|---:|---:|\n| {} |\n", losses.join(" | "));
        Ok(())
    }

    fn table(&mut self, when: &str) -> Result<(), Error> {
        println!("{when}:\n");
        println!("| | rho forward | rho adjoint | MGRIT - sequential | sequential - f32 | MGRIT - f32 |");
        println!("|---|---:|---:|---:|---:|---:|");
        let exact = self.gradients(Precision::F32, &Schedule::sequential())?;
        let mut stalls = Vec::new();
        for precision in PRECISIONS {
            let sequential = self.gradients(precision, &Schedule::sequential())?;
            let schedule = self.schedule.clone();
            let parallel = self.gradients(precision, &schedule)?;
            let errors = [(&parallel, &sequential), (&sequential, &exact), (&parallel, &exact)];
            let [own, rounded, both] = errors.map(|(got, expected)| distance(got, expected));
            let Batch { size, ref input, ref target } = self.batches[0];
            let micro = Micro { size, first: 0, input: Some(input.clone()), target: Some(target.clone()) };
            let probe = self.model.probe(&schedule, &micro, &self.task)?;
            let rho = |rho: Option<f64>| rho.map_or("-".to_owned(), |rho| format!("{rho:.3}"));
            let [up, down] = [probe.rho_forward, probe.rho_backward].map(rho);
            println!("| {precision} | {up} | {down} | {own:.1e} | {rounded:.1e} | {both:.1e} |");
            stalls.push((precision, self.residuals(precision)?));
        }
        println!(
            "\nResiduals of iterations 1 to {ITERATIONS} over the first, and the gradient's distance from f32's then:\n"
        );
        println!("| | |{}", " |".repeat(ITERATIONS + 1));
        println!("|---|---|{}", "---:|".repeat(ITERATIONS + 1));
        for (precision, ([up, down], error)) in stalls {
            let row = |all: &[f64]| all.iter().map(|r| format!("{r:.0e}")).collect::<Vec<_>>().join(" | ");
            println!("| {precision} | forward | {} | |", row(&up));
            println!("| | adjoint | {} | {error:.1e} |", row(&down));
        }
        println!();
        Ok(())
    }

    /// Gradients of the ODE layers for the first batch.
    fn gradients(&mut self, precision: Precision, schedule: &Schedule) -> Result<Gradients, Error> {
        self.set(precision, schedule)?;
        let gradients = self.backward(0)?.gradients;
        Ok(self.of_layers(gradients))
    }

    /// Without those of the ends, which are large, hardly affected, and would hide the error.
    fn of_layers(&self, mut gradients: Gradients) -> Gradients {
        let mut layers = HashSet::new();
        self.model.network().visit_parameters(|p| {
            if p.name.starts_with("layers.") {
                layers.insert(p.id);
            }
        });
        gradients.retain(|g| layers.contains(&g.id));
        gradients
    }

    fn set(&mut self, precision: Precision, schedule: &Schedule) -> Result<(), Error> {
        self.model.set_schedule(schedule)?;
        Ok(self.model.set_precision(precision)?)
    }

    fn backward(&mut self, n: usize) -> Result<Backward, Error> {
        let Batch { size, input, target } = &self.batches[n % BATCHES];
        let forward = self.model.forward(*size, Some(input))?;
        Ok(forward.loss(|output| (self.task.loss)(output, target))?.backward()?)
    }

    /// Residuals of a solve of many iterations over the first, both ways, and how far its gradient is from that of single precision.
    fn residuals(&mut self, precision: Precision) -> Result<([Vec<f64>; 2], f64), Error> {
        let exact = self.gradients(Precision::F32, &Schedule::sequential())?;
        let solve = SolveConfig { max_iters: ITERATIONS, norms: true, skip_downcycle: false, ..SolveConfig::new(8) };
        self.set(precision, &Schedule::layer_parallel(solve))?;
        let backward = self.backward(0)?;
        let relative = |report: &SolveReport| {
            let all: Vec<f64> = report.residuals.iter().flatten().copied().collect();
            all.iter().map(|residual| residual / all[0]).collect()
        };
        let residuals = [&backward.forward, &backward.backward].map(relative);
        Ok((residuals, distance(&self.of_layers(backward.gradients), &exact)))
    }

    /// Trains, and returns the loss of the first batch, layer by layer in single precision.
    fn train(&mut self, precision: Precision, schedule: &Schedule) -> Result<f64, Error> {
        self.set(precision, schedule)?;
        let mut optimizer = Optimizer::new(self.optimizer, self.rate)?;
        for step in 0..STEPS {
            let gradients = self.backward(step)?.gradients;
            optimizer.step(&mut self.model, gradients);
        }
        self.set(Precision::F32, &Schedule::sequential())?;
        self.backward(0)?.loss.ok_or_else(|| "one rank knows the loss".into())
    }
}

/// Relative distance of gradients from those expected.
fn distance(got: &Gradients, expected: &Gradients) -> f64 {
    let expected: HashMap<_, _> = expected.iter().map(|g| (g.id, &g.values)).collect();
    let mut sums = [0.0; 2];
    for g in got {
        let e = expected[&g.id].clone();
        let difference = g.values.clone() - e.clone();
        sums[0] += (difference.clone() * difference).sum().into_scalar::<f64>();
        sums[1] += (e.clone() * e).sum().into_scalar::<f64>();
    }
    (sums[0] / sums[1]).sqrt()
}
