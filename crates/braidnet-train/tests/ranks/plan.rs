//! The plan: what it counts is what a step does.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_mgrit::SolveReport;
use braidnet_train::trainer::Plan;
use braidnet_train::{Activations, OptimizerConfig, Precision, Schedule, SolveConfig};

use crate::common::compare::{Checked, ensure, parameters, same, text};
use crate::common::run::{Stepped, meshes, step};
use crate::common::{BATCH, LAYERS, config, model, pipeline, schedules};

pub const TESTS: &[RankTest] = &[
    ("a_step_does_what_the_plan_counts", a_step_does_what_the_plan_counts),
    ("a_pipeline_sends_what_the_plan_counts", a_pipeline_sends_what_the_plan_counts),
    ("all_ranks_have_the_same_plan_of_all_layers", all_ranks_have_the_same_plan_of_all_layers),
];

const ADAM: OptimizerConfig = OptimizerConfig::Adam;

fn a_step_does_what_the_plan_counts(world: &Communicator) -> Checked {
    let mut stored = schedules();
    stored.push(Schedule::layer_parallel(SolveConfig { max_levels: 3, skip_downcycle: false, ..SolveConfig::new(3) }));
    let recomputed = stored.iter().map(|s| Schedule { activations: Activations::Recompute, ..s.clone() });
    let all: Vec<_> = recomputed.chain(stored.iter().cloned()).collect();
    for mesh in meshes(world)? {
        for schedule in &all {
            let n = BATCH * mesh.shape().data_ranks;
            let model = model(&config(LAYERS), schedule, mesh.layer()).map_err(text)?;
            let plan = Plan::new(&mesh, &model, schedule, ADAM, (BATCH, 1)).map_err(text)?;
            let own = &plan.ranks[mesh.layer_rank()];
            let Stepped { report, .. } = step(&mesh, schedule, (n, 1), None).map_err(text)?;
            let count = |of: fn(&SolveReport) -> u64| {
                [&report.forward, &report.backward].map(|report| report.as_ref().map_or(0, of))
            };
            let what = format!("{mesh:?}, {schedule}");
            same(&what, &own.evaluations, &count(|report| report.evaluations.iter().sum()))?;
            same(&what, &own.messages, &count(|report| report.messages).iter().sum())?;
            same(&what, &own.bytes, &count(|report| report.bytes).iter().sum())?;
        }
    }
    Ok(())
}

fn a_pipeline_sends_what_the_plan_counts(world: &Communicator) -> Checked {
    for mesh in meshes(world)? {
        for micro_batches in [1, 3] {
            let n = BATCH * micro_batches * mesh.shape().data_ranks;
            let model = model(&config(LAYERS), &pipeline(), mesh.layer()).map_err(text)?;
            let plan = Plan::new(&mesh, &model, &pipeline(), ADAM, (BATCH, micro_batches)).map_err(text)?;
            let own = &plan.ranks[mesh.layer_rank()];
            let before = mesh.layer().traffic();
            step(&mesh, &pipeline(), (n, micro_batches), None).map_err(text)?;
            let after = mesh.layer().traffic();
            let what = format!("{mesh:?}, {micro_batches} micro-batches");
            let per_micro = |sum: u64| sum / micro_batches as u64;
            same(&what, &own.messages, &per_micro(after.messages - before.messages))?;
            same(&what, &own.bytes, &per_micro(after.bytes - before.bytes))?;
        }
    }
    Ok(())
}

fn all_ranks_have_the_same_plan_of_all_layers(world: &Communicator) -> Checked {
    let schedule = Schedule::layer_parallel(SolveConfig { max_levels: 3, ..SolveConfig::new(2) });
    for mesh in meshes(world)? {
        let trained = model(&config(LAYERS), &schedule, mesh.layer()).map_err(text)?;
        let plan = Plan::new(&mesh, &trained, &schedule, ADAM, (BATCH, 2)).map_err(text)?;
        for other in world.all_gather(format!("{plan:?}"), &()).map_err(text)? {
            same("plan", &other, &format!("{plan:?}"))?;
        }
        let own = &plan.ranks[mesh.layer_rank()];
        same("layers", &own.layers, &trained.layers())?;
        let n: usize = parameters(trained.network()).values().map(Vec::len).sum();
        same("parameters", &own.parameters, &(n as u64))?;
        same("points", &own.points[0], &(own.layers.len() + 1))?;
        same("levels", &own.points.len(), &3)?;
        // Parameters, gradients, two moments.
        ensure(own.memory > 16 * own.parameters, || format!("memory of {} bytes", own.memory))?;
        let shown = plan.to_string();
        // A table of the layer ranks under three lines, and one for the data axis if there is one.
        let n_lines = 3 + mesh.shape().layer_ranks + usize::from(mesh.shape().data_ranks > 1);
        ensure(shown.lines().count() == n_lines, || shown)?;
    }
    let mut alone = model(&config(LAYERS), &schedule, &Communicator::alone()).map_err(text)?;
    let plan = Plan::new(&Mesh::alone(), &alone, &schedule, ADAM, (BATCH, 2)).map_err(text)?;
    same("points on one rank", &plan.ranks[0].points, &vec![11, 6, 4])?;
    alone.set_precision(Precision::Bf16).map_err(text)?;
    let low = Plan::new(&Mesh::alone(), &alone, &schedule, ADAM, (BATCH, 2)).map_err(text)?;
    let [low, own] = [&low.ranks[0], &plan.ranks[0]];
    // Half the states and linearisations, and one more, half as large, copy of the parameters.
    let of_parameters = 16 * own.parameters;
    let expected = of_parameters + 2 * own.parameters + (own.memory - of_parameters) / 2;
    ensure(low.memory.abs_diff(expected) < 100, || format!("{} bytes in 16 bits, not {expected}", low.memory))
}
