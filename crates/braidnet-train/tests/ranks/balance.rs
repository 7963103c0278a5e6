//! Layers shared out by cost, and by whole runs where there are transitions.

use braidnet_comm::Communicator;
use braidnet_comm::testing::RankTest;
use braidnet_grid::{Coarsening, Hierarchy, LastInterval, Partition};
use braidnet_mgrit::Relaxation;
use braidnet_nn::{BlockNetConfig, CoarseOperator, NormKind};
use braidnet_train::{Balance, Schedule, ScheduleKind, SolveConfig};

use crate::common::blocks::{blocks, plain_gradient};
use crate::common::compare::{Checked, by_name, distance, ensure, same, text};
use crate::common::families::{Family, model_of, model_on};

pub const TESTS: &[RankTest] = &[
    ("layers_are_shared_out_by_what_they_cost", layers_are_shared_out_by_what_they_cost),
    ("ranks_own_whole_runs_of_blocks", ranks_own_whole_runs_of_blocks),
];

fn layers_are_shared_out_by_what_they_cost(world: &Communicator) -> Checked {
    let family = BlockNetConfig { image: [1, 16, 16], ..blocks(&[3, 5, 1, 4], Some(NormKind::Batch)) };
    let schedule = Schedule::layer_parallel(SolveConfig::new(2));
    let model = model_of(&family, &schedule, world).map_err(text)?;
    let costs = model.layer_costs(8).map_err(text)?;
    same("number of costs", &costs.len(), &family.n_layers())?;
    ensure(costs.iter().all(|cost| *cost > 0.0 && cost.is_finite()), || format!("costs {costs:?}"))?;
    for other in world.all_gather(costs.clone(), &()).map_err(text)? {
        same("costs of another rank", &other, &costs)?;
    }
    for block in [0..3, 4..9, 12..16] {
        let first = costs[block.start];
        ensure(costs[block.clone()].iter().all(|cost| *cost == first), || format!("{block:?} of {costs:?}"))?;
    }
    let grid = family.grid().map_err(text)?;
    for n_ranks in 1..=4 {
        for operator in [CoarseOperator::FirstLayer, CoarseOperator::Mean] {
            let balance = Balance::new(costs.clone(), &schedule, &grid, n_ranks, operator).map_err(text)?;
            let Balance { partition, by_count, .. } = &balance;
            for partition in [partition, by_count] {
                let layers: Vec<usize> = (0..n_ranks).flat_map(|rank| partition.layers(rank)).collect();
                same("layers of all ranks", &layers, &(0..family.n_layers()).collect())?;
                ensure((0..n_ranks).all(|rank| !partition.layers(rank).is_empty()), || format!("{partition:?}"))?;
            }
            let [by_cost, by_count] = [partition, by_count].map(|partition| balance.imbalance(partition));
            ensure((1.0..=by_count + 1e-9).contains(&by_cost), || format!("{by_cost} by cost, {by_count} by count"))?;
            let shown = balance.to_string();
            let last = format!("rank {}", n_ranks - 1);
            ensure(shown.contains(&last) && !shown.contains('\n'), || shown)?;
        }
    }
    trains(
        &family,
        &Schedule::sequential(),
        &Balance::new(costs, &schedule, &grid, world.size(), family.coarse).map_err(text)?.partition,
        world,
    )
}

/// The gradients of a step are those of one rank.
fn trains(family: &BlockNetConfig, schedule: &Schedule, partition: &Partition, world: &Communicator) -> Checked {
    let samples: Vec<_> = (0..4).map(|n| family.sample(n)).collect();
    let (value, all) = plain_gradient(family, &samples)?;
    let (input, target) = (BlockNetConfig::inputs(&samples), BlockNetConfig::targets(&samples));
    let mut model = model_on(family, schedule, world, partition).map_err(text)?;
    same("layers", &model.layers(), &partition.layers(world.rank()))?;
    let forward = model.forward(4, Some(&input)).map_err(text)?;
    let loss = forward.loss(|output| (family.task().loss)(output, &target)).map_err(text)?;
    let got = loss.value();
    let gradients = loss.backward().map_err(text)?.gradients;
    let off = distance(&by_name(model.network(), &gradients), &all);
    let what = || format!("{family:?}, {schedule}, {partition:?}: loss {got:?}, not {value}; gradients off by {off:e}");
    ensure(off < 2e-5 && got.is_none_or(|got| (got / value - 1.0).abs() < 1e-6), what)
}

/// As `SolveConfig` coarsens.
fn coarsening(solve: &SolveConfig) -> Coarsening {
    Coarsening {
        max_levels: solve.max_levels,
        cfactors: vec![solve.cfactor],
        min_coarse: solve.min_coarse,
        last_interval: LastInterval::Short,
    }
}

fn ranks_own_whole_runs_of_blocks(world: &Communicator) -> Checked {
    let solve = |levels, cfactor| SolveConfig {
        max_levels: levels,
        max_iters: 12,
        relaxation: Relaxation::Fcf(1),
        ..SolveConfig::new(cfactor)
    };
    let other = Schedule::new(ScheduleKind::LayerParallel, solve(2, 2), solve(2, 4));
    let all =
        [(2, 2), (2, 3), (3, 2), (2, 8)].map(|(levels, cfactor)| Schedule::layer_parallel(solve(levels, cfactor)));
    for schedule in all.into_iter().chain([other]) {
        for coarse in [CoarseOperator::Mean, CoarseOperator::Sum, CoarseOperator::Centred] {
            for per_block in [&[3, 5, 1, 4][..], &[7, 2], &[2, 2, 2]] {
                let family = BlockNetConfig { coarse, ..blocks(per_block, Some(NormKind::Batch)) };
                let grid = family.grid().map_err(text)?;
                let partition = schedule.partition(&grid, world.size(), coarse).map_err(text)?;
                let what = format!("{family:?}, {schedule}: {partition:?}");
                let starts = |solve: &SolveConfig| {
                    let hierarchy = Hierarchy::new(&grid, &coarsening(solve)).map_err(text)?;
                    Ok::<_, String>(hierarchy.coarsest_starts())
                };
                let [forward, backward] = [starts(&schedule.forward)?, starts(&schedule.backward)?];
                let of_both = |layer: &usize| forward.contains(layer) && backward.contains(layer);
                if forward.iter().filter(|layer| of_both(layer)).count() < world.size() {
                    // A coarse step is on two ranks.
                    let refused = model_on(&family, &schedule, world, &partition).err().map(|e| e.to_string());
                    let all = world.all_gather(refused.unwrap_or_default(), &()).map_err(text)?.concat();
                    ensure(all.contains("split"), || format!("{what}: {all}"))?;
                    continue;
                }
                let is_border = |rank| of_both(&partition.layers(rank).start);
                ensure((0..world.size()).all(is_border), || format!("{what}, runs from {forward:?}, {backward:?}"))?;
                trains(&family, &schedule, &partition, world)?;
            }
        }
    }
    Ok(())
}
