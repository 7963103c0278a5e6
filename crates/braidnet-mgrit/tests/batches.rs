//! Batches: many linearisations and pullbacks in one call give what one by one gives, to the bit.
#![allow(clippy::unwrap_used, clippy::expect_used)] // What helpers run into fails their test.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use braidnet_comm::{Launch, launch};
use braidnet_grid::{Coarsening, Partition, Step};
use braidnet_mgrit::{
    Activations, Differentiable, FinalSweep, Linearization, MgritOptions, Output, PendingGradients, Propagator,
    Relaxation, StepError,
};

use common::gradients::gradients_with;
use common::problems::Scalar;
use common::tunable::{Derivative, Tunable};

const N: usize = 29;

/// Calls of one kind and the pairs that they were given.
#[derive(Debug, Default)]
struct Count {
    calls: AtomicUsize,
    pairs: AtomicUsize,
}

impl Count {
    fn add(&self, pairs: usize) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.pairs.fetch_add(pairs, Ordering::Relaxed);
    }

    fn get(&self) -> [usize; 2] {
        [&self.calls, &self.pairs].map(|n| n.load(Ordering::Relaxed))
    }
}

/// A network that likes batches of a size.
#[derive(Debug)]
struct Batched {
    network: Tunable,
    batch: usize,
    linearize: Count,
    pullback: Count,
    gradients: Count,
    diagonal: Count,
}

impl Batched {
    fn new(batch: usize, shares: bool) -> Self {
        let network = Tunable::new(Scalar::generic(N), shares);
        let [linearize, pullback, gradients, diagonal] = Default::default();
        Self { network, batch, linearize, pullback, gradients, diagonal }
    }

    fn check(&self, lengths: [usize; 3]) -> Result<(), StepError> {
        let [steps, tapes, states] = lengths;
        let fits = steps == tapes && steps == states && steps > 1 && steps <= self.batch;
        if fits { Ok(()) } else { Err(format!("a batch of {lengths:?}").into()) }
    }
}

impl Propagator for Batched {
    type State = f64;

    fn step(&self, steps: &[Step], states: &mut [f64]) -> Result<(), StepError> {
        self.network.step(steps, states)
    }

    fn step_with_diagonal(&self, steps: &[Step], states: &mut [f64]) -> Result<Vec<f64>, StepError> {
        self.network.step_with_diagonal(steps, states)
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn context(&self) {}
}

impl Differentiable for Batched {
    type Linearization = Derivative;

    fn linearize(&self, step: &Step, state: &mut f64, output: Output) -> Result<Derivative, StepError> {
        self.network.linearize(step, state, output)
    }

    fn linearize_batch(
        &self,
        steps: &[Step],
        states: &mut [f64],
        output: Output,
    ) -> Result<Vec<Derivative>, StepError> {
        self.linearize.add(steps.len());
        steps.iter().zip(states).map(|(step, state)| self.linearize(step, state, output)).collect()
    }

    fn pullback_batch(&self, steps: &[Step], tapes: &[&Derivative], lambdas: &mut [f64]) -> Result<(), StepError> {
        self.check([steps.len(), tapes.len(), lambdas.len()])?;
        self.pullback.add(steps.len());
        steps.iter().zip(tapes).zip(lambdas).try_for_each(|((step, tape), lambda)| tape.pullback(step, lambda))
    }

    fn pullback_batch_with_gradients(
        &self,
        steps: &[Step],
        tapes: Vec<Derivative>,
        lambdas: &mut [f64],
        output: Output,
    ) -> Result<Vec<PendingGradients<[f64; 2]>>, StepError> {
        self.check([steps.len(), tapes.len(), lambdas.len()])?;
        self.gradients.add(steps.len());
        let pairs = steps.iter().zip(tapes).zip(lambdas);
        pairs.map(|((step, tape), lambda)| tape.pullback_with_gradients(step, lambda, output)).collect()
    }

    fn diagonal_batch(&self, steps: &[Step], tapes: &[&Derivative]) -> Result<Vec<f64>, StepError> {
        self.diagonal.add(steps.len());
        steps.iter().zip(tapes).map(|(step, tape)| tape.diagonal(step)).collect()
    }

    fn shared_linearization(&self, step: &Step) -> Option<usize> {
        self.network.shared_linearization(step)
    }
}

fn network(max_levels: usize, cfactor: usize, max_iters: usize) -> MgritOptions {
    MgritOptions::network(Coarsening::network(max_levels, cfactor), max_iters)
}

/// Bits of all gradients and states and of `dLoss/du_0`, and the evaluations of both solves.
type Results = (Vec<[u64; 2]>, Vec<u64>, Option<u64>, [Vec<u64>; 2]);

fn results(batched: &Batched, both: [&MgritOptions; 2], ranks: usize, activations: Activations) -> Results {
    let (grid, partition) = (batched.network.layers.grid(0.3), Partition::even(N, ranks).unwrap());
    let run = |comm| gradients_with(activations, &comm, (&grid, &partition, both), batched, &0.5);
    let all = launch(&Launch::ranks(Some(ranks)), run).unwrap();
    let evaluations = all[0].reports.each_ref().map(|report| report.evaluations.clone());
    let lambda_0 = all.iter().find_map(|found| found.lambda_0).map(f64::to_bits);
    let gradients = all.iter().flat_map(|found| &found.gradients).map(|g| g.gradients.map(f64::to_bits)).collect();
    (gradients, all.iter().flat_map(|found| &found.states).map(|u| u.to_bits()).collect(), lambda_0, evaluations)
}

#[test]
fn batches_of_any_size_give_the_same_bits() {
    let fcf = MgritOptions { relaxation: vec![Relaxation::Fcf(1)], skip_downcycle: false, ..network(3, 3, 2) };
    let final_fc = MgritOptions { final_sweep: FinalSweep::Fc, ..network(2, 4, 1) };
    let sequential = MgritOptions::sequential();
    let newton = MgritOptions::newton(4, None);
    for both in [[&fcf, &fcf], [&network(2, 4, 1), &final_fc], [&sequential, &network(3, 2, 2)], [&newton, &newton]] {
        for shares in [true, false] {
            for activations in [Activations::Store, Activations::Recompute] {
                for ranks in 1..=3 {
                    let one = Batched::new(1, shares);
                    let expected = results(&one, both, ranks, activations);
                    assert_eq!([one.pullback.get(), one.gradients.get()], [[0; 2]; 2]);
                    for batch in [2, 3, 100] {
                        let found = results(&Batched::new(batch, shares), both, ranks, activations);
                        assert_eq!(found, expected, "batches of {batch} on {ranks} ranks, {activations:?}, {both:?}");
                    }
                }
            }
        }
    }
}

/// 28 layers in 7 intervals of 4 and one layer more on one rank. The sweep goes stage by stage: 4 calls for the 7 like
/// intervals; the last interval has one layer and comes alone.
#[test]
fn a_rank_needs_one_call_per_layer_of_an_interval() {
    let batched = Batched::new(100, false);
    results(&batched, [&network(2, 4, 1), &network(2, 4, 1)], 1, Activations::Store);
    // And the 8 coarse steps in one.
    assert_eq!(batched.linearize.get(), [4 + 1, 28 + 8]);
    assert_eq!(batched.gradients.get(), [4, 28]);
    // The sequential coarse solve has no batches, and the first down-cycle is skipped.
    assert_eq!(batched.pullback.get(), [0, 0]);
    let two_iterations = Batched::new(100, false);
    results(&two_iterations, [&network(2, 4, 1), &network(2, 4, 2)], 1, Activations::Store);
    // Once down: 4 calls for the residuals, 1 for tau.
    assert_eq!(two_iterations.pullback.get(), [5, 28 + 8]);
}

/// All layers in one call: linearised once, diagonals once, pulled back for the guess and each iteration but the last
/// sweep.
#[test]
fn newton_needs_one_call_per_iteration() {
    let batched = Batched::new(100, true);
    let newton = MgritOptions::newton(3, None);
    let (.., evaluations) = results(&batched, [&newton, &newton], 1, Activations::Store);
    assert_eq!([batched.linearize.get(), batched.gradients.get(), batched.diagonal.get()], [[1, N]; 3]);
    let calls = batched.pullback.get();
    assert_eq!(calls[1], calls[0] * N);
    assert_eq!(evaluations[1], [(calls[1] + N) as u64]);
    assert_eq!(evaluations[0], [(4 * N + N) as u64]);
}

/// Batches of 10 at most: 29 layers take three calls.
#[test]
fn no_call_gets_more_than_it_asked_for() {
    let batched = Batched::new(10, true);
    let newton = MgritOptions::newton(2, None);
    results(&batched, [&newton, &newton], 1, Activations::Store);
    assert_eq!([batched.linearize.get(), batched.gradients.get()], [[3, N]; 2]);
}
