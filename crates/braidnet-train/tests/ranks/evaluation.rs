//! Evaluation: every sample counts once, on any mesh.

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_train::trainer::Score;
use braidnet_train::{Schedule, SolveConfig, TrainerConfig};

use crate::common::compare::{Checked, ensure, same, text};
use crate::common::run::{meshes, trainer};
use crate::common::{Set, pipeline};

pub const TESTS: &[RankTest] = &[("a_score_is_that_of_one_rank", a_score_is_that_of_one_rank)];

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
