use braidnet_train::predict::{PredictError, Setup, predict};
use braidnet_train::{Activations, Schedule, ScheduleKind, SolveConfig};

use super::*;

fn near(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{a} is not {b}");
}

/// Two levels, one iteration each way, first down-cycle skipped: a coarse solve across all ranks, then all layers of each rank at once;
/// the same back.
#[test]
fn two_levels_take_what_the_cost_model_says() {
    const N: usize = 64;
    const M: usize = 4;
    let n_coarse = (N / M) as f64;
    for ranks in [1, 2, 4, 8] {
        let setup = Setup::new(layer_parallel(M), ranks, 1);
        let found = predict(&costs(N), &free(), &setup).unwrap();
        let each = (N / ranks) as f64;
        // The gradients of the piece that is sent on wait for its end, but they are formed all the same.
        let expected = n_coarse * COARSE + each * LINEARIZE + n_coarse * COARSE_BACK + each * (BACK + GRADIENTS);
        near(found.seconds, expected);
        let share = n_coarse / ranks as f64;
        for (r, rank) in found.ranks.iter().enumerate() {
            // Forward for the coarse states of the ranks before; back for the last rank to come through, and for those behind.
            let waits = r as f64 * share * COARSE + (ranks - 1 - r) as f64 * share * (COARSE + COARSE_BACK);
            near(rank.waiting, waits);
            assert_eq!(rank.layers, r * N / ranks..(r + 1) * N / ranks);
        }
        near(found.ranks[0].seconds, expected);
    }
}

#[test]
fn a_second_iteration_relaxes_and_solves_again() {
    const N: usize = 32;
    let solve = SolveConfig { max_iters: 2, ..SolveConfig::new(4) };
    let backward = SolveConfig::new(4);
    let schedule = Schedule { forward: solve, backward, ..Schedule::sequential() };
    let found = predict(&costs(N), &free(), &Setup::new(schedule, 1, 1)).unwrap();
    let (n, n_coarse) = (N as f64, (N / 4) as f64);
    // Residuals at the C-points take every layer once, tau every coarse step.
    let forward = n_coarse * COARSE + (n * FORWARD + n_coarse * COARSE) + n_coarse * COARSE + n * LINEARIZE;
    near(found.seconds, forward + n_coarse * COARSE_BACK + n * (BACK + GRADIENTS));
}

#[test]
fn sequential_is_the_sum_on_any_number_of_ranks() {
    for ranks in [1, 2, 3, 5, 8] {
        let setup = Setup::new(Schedule::sequential(), ranks, 1);
        let found = predict(&costs(24), &free(), &setup).unwrap();
        // Only the first rank's gradients are formed while nobody waits for lambda: those of the others overlap.
        let own = found.ranks[0].layers.len() as f64;
        near(found.seconds, 24.0 * (LINEARIZE + BACK) + own * GRADIENTS);
        let recomputed = Schedule { activations: Activations::Recompute, ..Schedule::sequential() };
        let recomputed = predict(&costs(24), &free(), &Setup::new(recomputed, ranks, 1)).unwrap();
        assert!(recomputed.seconds > found.seconds);
        assert!(ranks > 1 || recomputed.memory() < found.memory());
    }
}

#[test]
fn states_and_ends_take_their_time() {
    let mut costs = costs(8);
    costs.opening.work = Times::from(10.0);
    costs.opening.back = Times::from(20.0);
    costs.closing.work = Times::from(40.0);
    (costs.opening.update, costs.closing.update, costs.layers[0].update) = (0.5, 0.25, 0.125);
    costs.states.norm = 100.0;
    let setup = Setup::new(Schedule::sequential(), 1, 1);
    let layers = 8.0 * (LINEARIZE + BACK + GRADIENTS + 0.125);
    // Each solve looks whether the last state and those before every second point are finite.
    near(predict(&costs, &free(), &setup).unwrap().seconds, layers + 70.75 + 2.0 * 5.0 * 100.0);
}

/// The bubble of one forward, one backward.
#[test]
fn the_bubble_of_a_pipeline() {
    let mut costs = costs(8);
    costs.layers[0].gradients = Times::from(0.0);
    let solve = SolveConfig::sequential();
    let schedule = Schedule::new(ScheduleKind::Pipeline, solve.clone(), solve);
    for (ranks, micro) in [(1, 3), (2, 1), (2, 4), (4, 8), (8, 3)] {
        let setup = Setup { micro_batches: micro, ..Setup::new(schedule.clone(), ranks, micro) };
        let found = predict(&costs, &free(), &setup).unwrap();
        let each = (8 / ranks) as f64 * (LINEARIZE + BACK);
        near(found.seconds, (micro + ranks - 1) as f64 * each);
        near(found.bubble(), (ranks - 1) as f64 / (micro + ranks - 1) as f64);
        // The first rank holds the most.
        assert!(found.ranks.iter().all(|rank| rank.memory <= found.ranks[0].memory));
    }
}

#[test]
fn copies_share_the_batch_and_sum_their_gradients() {
    const LATENCY: f64 = 0.5;
    const BANDWIDTH: f64 = 1e4;
    let whole = predict(&costs(16), &free(), &Setup::new(Schedule::sequential(), 1, 8)).unwrap();
    let setup = Setup { data_ranks: 2, ..Setup::new(Schedule::sequential(), 1, 8) };
    let found = predict(&costs(16), &machine(LATENCY, BANDWIDTH), &setup).unwrap();
    // One bucket: half of it to the other rank, and the sums back.
    let half = 4.0 * 16_000.0 / 2.0;
    near(found.seconds, whole.seconds / 2.0 + 2.0 * (LATENCY + half / BANDWIDTH));
    assert_eq!(found.ranks[0].bytes, 64_000);
    // Samples that do not divide: the first ranks have one more.
    let uneven = predict(&costs(16), &free(), &Setup { samples: 7, ..setup }).unwrap();
    near(uneven.seconds, whole.seconds / 2.0);
}

#[test]
fn a_message_costs_its_link() {
    let (latency, bandwidth) = (0.25, 512.0);
    let setup = Setup::new(Schedule::sequential(), 2, 1);
    let [free, linked] =
        [free(), machine(latency, bandwidth)].map(|machine| predict(&costs(8), &machine, &setup).unwrap());
    // A state there, lambda back.
    near(linked.seconds, free.seconds + 2.0 * (latency + 1024.0 / bandwidth));
    assert_eq!(linked.ranks.iter().map(|rank| (rank.messages, rank.bytes)).collect::<Vec<_>>(), [(1, 1024); 2]);
}

#[test]
fn both_axes_begin_at_the_same_time() {
    let setup = Setup { data_ranks: 2, ..Setup::new(layer_parallel(4), 4, 2) };
    let alone = predict(&costs(32), &free(), &Setup::new(layer_parallel(4), 4, 1)).unwrap();
    let found = predict(&costs(32), &free(), &setup).unwrap();
    near(found.seconds, alone.seconds);
    let linked = predict(&costs(32), &machine(1e-3, 1e6), &setup).unwrap();
    assert!(linked.seconds > found.seconds && linked.seconds < 1.1 * found.seconds, "{}", linked.seconds);
}

#[test]
fn the_same_however_threads_run() {
    let setup = Setup { data_ranks: 2, ..Setup::new(layer_parallel(2), 4, 6) };
    let predict = || predict(&costs(24), &machine(0.01, 1e5), &setup).unwrap();
    let first = predict();
    (0..8).for_each(|_| assert_eq!(predict(), first));
}

#[test]
fn crowding_slows_ranks_that_work_at_the_same_time() {
    let crowded = Machine { crowding: 2.0, ..free() };
    let seconds = |schedule: &Schedule, ranks, machine: &Machine| {
        predict(&costs(16), machine, &Setup::new(schedule.clone(), ranks, 1)).unwrap().seconds
    };
    for (schedule, ranks, times) in
        [(Schedule::sequential(), 2, 1.0), (layer_parallel(4), 2, 2.0), (layer_parallel(4), 1, 1.0)]
    {
        near(seconds(&schedule, ranks, &crowded), times * seconds(&schedule, ranks, &free()));
    }
}

#[test]
fn many_steps_in_one_call_cost_as_many_samples() {
    let mut costs = costs(16);
    // One call takes 3 s, whatever it does.
    costs.samples = vec![1, 64];
    let flat = |seconds: f64| Times(vec![seconds, seconds]);
    let layer = &mut costs.layers[0];
    for times in
        [&mut layer.forward, &mut layer.linearize, &mut layer.pullback, &mut layer.back, &mut layer.back_unused]
    {
        *times = flat(3.0);
    }
    (layer.gradients, layer.coarse.as_mut().unwrap().forward) = (flat(3.0), flat(3.0));
    layer.coarse.as_mut().unwrap().pullback = flat(3.0);
    for end in [&mut costs.opening, &mut costs.closing] {
        (end.work, end.back) = (flat(0.0), flat(0.0));
    }
    let seconds = |rows| {
        let costs = Costs { rows, ..costs.clone() };
        predict(&costs, &free(), &Setup::new(layer_parallel(4), 1, 1)).unwrap().seconds
    };
    // Coarse steps are one after the other in any case; of 16 layers there are 4 calls in place of 16.
    assert_eq!(seconds(0), 3.0 * (4.0 + 16.0 + 4.0 + 16.0 + 16.0));
    assert_eq!(seconds(4), 3.0 * (4.0 + 4.0 + 4.0 + 4.0 + 4.0));
}

#[test]
fn what_is_not_possible_says_why() {
    let not = |setup: Setup, part: &str| match predict(&costs(4), &free(), &setup) {
        Err(PredictError::NotPossible { problem }) => assert!(problem.contains(part), "{problem}"),
        other => panic!("{other:?}"),
    };
    let sequential = |ranks| Setup::new(Schedule::sequential(), ranks, 2);
    not(sequential(5), "5 layer ranks for 4 layers");
    not(sequential(0), "0 layer ranks");
    not(Setup { data_ranks: 3, ..sequential(1) }, "2 samples for 3 copies");
    not(Setup { micro_batches: 3, ..sequential(1) }, "3 micro-batches");
    // Runs of four layers cannot be cut.
    let whole = Costs { operator: CoarseOperator::Mean, ..costs(8) };
    let found = predict(&whole, &free(), &Setup::new(layer_parallel(4), 4, 1));
    assert!(
        matches!(&found, Err(PredictError::NotPossible { problem }) if problem.contains("several ranks")),
        "{found:?}"
    );
}

#[test]
fn bad_costs_are_refused() {
    let setup = Setup::new(Schedule::sequential(), 1, 1);
    let refused = |change: fn(&mut Costs), part: &str| {
        let mut costs = costs(4);
        change(&mut costs);
        let message = predict(&costs, &free(), &setup).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    refused(|costs| costs.samples = vec![], "samples = []");
    refused(|costs| costs.samples = vec![4, 2], "ascending");
    refused(|costs| costs.layers.clear(), "no layers");
    refused(|costs| costs.layers[0].back = Times(vec![1.0, 2.0]), "layers[0].back has 2 times for 1");
    refused(|costs| costs.layers[0].back = Times(vec![f64::NAN]), "layers[0].back");
}
