//! Steps side by side are one call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use braidnet_comm::{Launch, launch};
use braidnet_grid::{Coarsening, Partition, TimeGrid};
use braidnet_mgrit::{
    FinalSweep, Guess, Mgrit, MgritError, MgritOptions, Output, Relaxation, SolveReport, Sources, StepError,
    solve_adjoint,
};
use braidnet_nn::{
    At, CoarseOperator, ConvRhs, ConvTape, ImageSpace, OdeBlock, OdeNet2dConfig, Pass, PendingRhs, RhsTape,
    RightHandSide, Samples, StateSpace, TensorState,
};
use burn::module::Module;

use crate::*;

/// Calls of a right-hand side and of its linearisations.
#[derive(Debug, Default)]
struct Calls {
    evaluate: AtomicU64,
    linearize: AtomicU64,
    pullback: AtomicU64,
    with_gradients: AtomicU64,
    formed: AtomicU64,
}

impl Calls {
    /// Evaluations and linearisations, since the last time.
    fn forward(&self) -> [u64; 2] {
        [&self.evaluate, &self.linearize].map(|calls| calls.swap(0, Ordering::Relaxed))
    }

    /// Pullbacks, those with gradients, and how often gradients were formed, since the last time.
    fn back(&self) -> [u64; 3] {
        [&self.pullback, &self.with_gradients, &self.formed].map(|calls| calls.swap(0, Ordering::Relaxed))
    }
}

fn count(calls: &AtomicU64) {
    calls.fetch_add(1, Ordering::Relaxed);
}

/// Counts what it is asked for.
#[derive(Module, Debug)]
struct Counted {
    rhs: ConvRhs,
    #[module(skip)]
    calls: Arc<Calls>,
}

struct CountedTape {
    tape: ConvTape,
    calls: Arc<Calls>,
}

impl RightHandSide for Counted {
    type Space = ImageSpace;
    type Tape = CountedTape;

    const STACKS: bool = true;

    fn evaluate(&self, u: TensorState<4>, at: At<'_, Samples>) -> TensorState<4> {
        count(&self.calls.evaluate);
        self.rhs.evaluate(u, at)
    }

    fn linearize(&self, u: TensorState<4>, at: At<'_, Samples>, output: Output) -> (TensorState<4>, CountedTape) {
        count(&self.calls.linearize);
        let (f, tape) = self.rhs.linearize(u, at, output);
        (f, CountedTape { tape, calls: self.calls.clone() })
    }

    fn tape_bytes(&self, batch: &Samples, state_bytes: usize) -> usize {
        self.rhs.tape_bytes(batch, state_bytes)
    }
}

impl RhsTape for CountedTape {
    type State = TensorState<4>;

    fn rows(&self, rows: &[usize], of: usize) -> Option<Self> {
        Some(Self { tape: self.tape.rows(rows, of)?, calls: self.calls.clone() })
    }

    fn pullback(&self, delta: TensorState<4>) -> Result<TensorState<4>, StepError> {
        count(&self.calls.pullback);
        self.tape.pullback(delta)
    }

    fn pullback_with_gradients(
        self,
        delta: TensorState<4>,
        output: Output,
    ) -> Result<(Option<TensorState<4>>, PendingRhs), StepError> {
        count(&self.calls.with_gradients);
        let (back, pending) = self.tape.pullback_with_gradients(delta, output)?;
        let form = move || {
            count(&self.calls.formed);
            pending()
        };
        Ok((back, Box::new(form)))
    }
}

/// Calls of one solve and of its adjoint, and what the reports say.
struct Counts {
    forward: ([u64; 2], SolveReport),
    back: ([u64; 3], SolveReport),
}

/// Of layers whose number `cfactor` divides, on one rank or of the last of several.
fn counts(options: &MgritOptions, layers: usize, ranks: usize, stacked: bool) -> Counts {
    let program = |comm: braidnet_comm::Communicator| -> Result<Counts, MgritError> {
        let config = OdeNet2dConfig { image: [1, 5, 4], classes: 3, ..OdeNet2dConfig::new(layers, 2) };
        let (grid, device) = (TimeGrid::uniform(layers, 0.0, 1.0)?, Device::flex());
        let network = drawn(config.init(0..layers, 4, 1, &device).unwrap(), DType::F64);
        let calls = Arc::new(Calls::default());
        let each = network.block.layers().map(|(_, rhs)| Counted { rhs: rhs.clone(), calls: calls.clone() });
        let block = OdeBlock::new(0, each.collect(), CoarseOperator::FirstLayer, &device).stacked(stacked);
        let batch = network.space().largest_batch(2, Pass::Training(None));
        let block = block.on(network.space(), &batch);
        let state = |seed| TensorState(random([2, 2, 5, 4], seed, DType::F64));
        let zero = |_| TensorState(Tensor::<4>::zeros([2, 2, 5, 4], (&device, DType::F64)));
        let partition = Partition::even(layers, comm.size())?;
        let mut forward = Mgrit::new(&grid, &partition, options.clone(), &comm)?;
        let mut adjoint = Mgrit::reversed(&grid, &partition, options.clone(), &comm)?;
        let (report, linearized) = forward.solve_linearized(&block, Some(state(1)), Guess::From(&zero))?;
        let of_forward = (calls.forward(), report);
        let (end, guess) = (Some(state(2)), Guess::From(&zero));
        let (report, gradients) =
            solve_adjoint(&mut adjoint, &block, &forward, linearized, end, Sources::none(), guess)?;
        assert_eq!(gradients.len(), layers / comm.size());
        Ok(Counts { forward: of_forward, back: (calls.back(), report) })
    };
    launch(&Launch::ranks(ranks), program).unwrap().pop().unwrap()
}

/// Nothing but a coarse solve and a sweep on the finest level, of intervals of 4 layers.
fn one_sweep() -> MgritOptions {
    MgritOptions { relaxation: vec![Relaxation::F], ..MgritOptions::network(Coarsening::network(2, 4), 1) }
}

/// So many layers that their steps differ by rounding.
const LAYERS: usize = 12;

#[test]
fn a_sweep_calls_as_often_as_one_interval_is_long() {
    let lengths: Vec<f64> =
        TimeGrid::uniform(LAYERS, 0.0, 1.0).unwrap().times().windows(2).map(|t| t[1] - t[0]).collect();
    assert!(lengths.iter().any(|length| *length != lengths[0]));
    let alone = counts(&one_sweep(), LAYERS, 1, false);
    let coarse = alone.forward.1.evaluations[1];
    assert_eq!(alone.forward.0, [coarse, 12]);
    let coarse_back = alone.back.1.evaluations[1];
    assert_eq!(alone.back.0, [coarse_back, 12, 12]);
    let together = counts(&one_sweep(), LAYERS, 1, true);
    // What goes along the coarse grid goes one by one.
    assert_eq!(together.forward.0, [coarse, 4]);
    assert_eq!(together.back.0, [coarse_back, 4, 4]);
}

#[test]
fn relaxation_and_restriction_call_as_often_as_one_interval_is_long() {
    let options = MgritOptions {
        relaxation: vec![Relaxation::Fcf(1)],
        skip_downcycle: false,
        ..MgritOptions::network(Coarsening::network(2, 4), 2)
    };
    let alone = counts(&options, LAYERS, 1, false);
    let [fine, coarse] = alone.forward.1.evaluations[..] else { panic!("{:?}", alone.forward.1) };
    assert_eq!(alone.forward.0, [fine - 12 + coarse, 12]);
    let together = counts(&options, LAYERS, 1, true);
    // Sweeps of 12 steps are 4 calls; of the coarse steps those of the residuals are one call per iteration, not 3.
    assert_eq!(together.forward.0, [(fine - 12) / 3 + coarse - 2 * 2, 4]);
    let [fine, coarse] = alone.back.1.evaluations[..] else { panic!("{:?}", alone.back.1) };
    assert_eq!(alone.back.0, [fine - 12 + coarse, 12, 12]);
    assert_eq!(together.back.0, [(fine - 12) / 3 + coarse - 2 * 2, 4, 4]);
}

/// What lies between the last C-point and another rank goes first, or last, and alone.
#[test]
fn intervals_on_two_ranks_go_alone() {
    let alone = counts(&one_sweep(), 20, 2, false);
    assert_eq!((alone.forward.0[1], &alone.back.0[1..]), (10, &[10, 10][..]));
    let together = counts(&one_sweep(), 20, 2, true);
    assert_eq!((together.forward.0[1], &together.back.0[1..]), (2 + 4, &[2 + 4, 2 + 4][..]));
}

/// Where C-points are relaxed another rank waits for the first interval. Of the last rank it is one in the adjoint alone, so that the
/// others are some of those that were linearised in one call.
#[test]
fn an_interval_that_another_rank_waits_for_goes_alone() {
    let options = MgritOptions { final_sweep: FinalSweep::Fc, ..one_sweep() };
    let together = counts(&options, 24, 2, true);
    assert_eq!((together.forward.0[1], &together.back.0[1..]), (4, &[4 + 4, 4 + 4][..]));
}

#[test]
fn a_joined_sweep_goes_layer_by_layer() {
    let options = MgritOptions { final_sweep: FinalSweep::Joined, ..one_sweep() };
    assert_eq!(counts(&options, LAYERS, 1, true).forward.0[1], 12);
}
