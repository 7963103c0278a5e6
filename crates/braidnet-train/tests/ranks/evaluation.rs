//! Evaluation: every sample counts once, on any mesh.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_train::trainer::{Score, Show};
use braidnet_train::{Schedule, ScheduleKind, SolveConfig, TrainerConfig};

use crate::common::compare::{Checked, ensure, same, text};
use crate::common::run::{meshes, trainer};
use crate::common::{Set, pipeline};

pub const TESTS: &[RankTest] = &[
    ("a_score_is_that_of_one_rank", a_score_is_that_of_one_rank),
    ("a_run_tells_both_scores", a_run_tells_both_scores),
];

fn score(mesh: &Mesh, schedule: &Schedule, n: usize, batch: usize) -> Result<Score, String> {
    let config = TrainerConfig { batch, ..TrainerConfig::new(1, 0.1) };
    let mut trainer = trainer(mesh, schedule, config).map_err(text)?;
    trainer.evaluate(&Set::new(n).on(mesh)).map_err(text)
}

fn a_score_is_that_of_one_rank(world: &Communicator) -> Checked {
    let inexact = Schedule::layer_parallel(SolveConfig::new(5));
    for n in [1, 7, 12] {
        let expected = score(&Mesh::alone(), &Schedule::sequential(), n, n)?;
        for mesh in meshes(world)? {
            // By the exact forward pass, whatever the schedule.
            for schedule in [Schedule::sequential(), inexact.clone(), pipeline()] {
                let got = score(&mesh, &schedule, n, 5)?;
                let what = format!("{mesh:?}, {schedule}, {n} samples");
                same(&what, &got.accuracy, &expected.accuracy)?;
                ensure((got.loss / expected.loss - 1.0).abs() < 1e-6, || format!("{what}: {got:?}, not {expected:?}"))?;
                let all = world.all_gather(got.loss, &()).map_err(text)?;
                ensure(all.iter().all(|loss| *loss == got.loss), || format!("{what}: ranks say {all:?}"))?;
            }
        }
    }
    Ok(())
}

fn a_run_tells_both_scores(world: &Communicator) -> Checked {
    let solve = SolveConfig::new(5);
    let mixed = Schedule::new(ScheduleKind::Mixed, solve.clone(), solve.clone());
    for mesh in meshes(world)? {
        for schedule in [mixed.clone(), Schedule::layer_parallel(solve.clone()), pipeline()] {
            let what = format!("{mesh:?}, {schedule}");
            let config = TrainerConfig { show: Show::Nothing, ..TrainerConfig::new(1, 0.1) };
            let mut trainer = trainer(&mesh, &schedule, config).map_err(text)?;
            let samples = Set::new(7).on(&mesh);
            let mut told = None;
            let outcome = trainer.fit_with(&samples, Some(&samples), &mut |_, record| {
                told = record.test_accuracy_scheduled;
                Ok(())
            });
            let outcome = outcome.map_err(text)?;
            let [exact, scheduled] = trainer.evaluate_both(&samples).map_err(text)?;
            same(&what, &[outcome.test, outcome.test_scheduled], &[Some(exact), Some(scheduled)])?;
            same(&what, &told, &scheduled.accuracy)?;
            same(&what, &scheduled, &trainer.evaluate_scheduled(&samples).map_err(text)?)?;
            // Only an inexact forward pass has another loss.
            let is_inexact = schedule == Schedule::layer_parallel(solve.clone());
            ensure((scheduled.loss != exact.loss) == is_inexact, || format!("{what}: {scheduled:?}, {exact:?}"))?;
        }
    }
    Ok(())
}
