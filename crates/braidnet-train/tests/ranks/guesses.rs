//! What a solve begins with: the first state carried along, means by class, states that the user gives.

use std::sync::Arc;

use braidnet_comm::testing::RankTest;
use braidnet_comm::{Communicator, Mesh};
use braidnet_nn::{BlockNet, BlockNetConfig, CoarseOperator, NormKind, Restriction, SpaceCoarsening, TensorState};
use braidnet_train::trainer::{Show, TrainerConfig};
use braidnet_train::{InitialGuess, LayerParallel, Schedule, SolveConfig, Task, TrainError, Trainer};
use burn::tensor::Tensor;

use crate::common::blocks::blocks;
use crate::common::compare::{Checked, ensure, text};
use crate::common::families::{Classes, Family, encoder, gradient_of, model_of, trainer_of};
use crate::common::run::meshes;

pub const TESTS: &[RankTest] = &[
    ("class_means_make_what_was_seen_a_good_guess", class_means_make_what_was_seen_a_good_guess),
    ("a_carried_state_shows_what_coarser_grids_cannot", a_carried_state_shows_what_coarser_grids_cannot),
    ("a_given_guess_is_used_and_checked", a_given_guess_is_used_and_checked),
    ("guesses_that_cannot_be_are_refused", guesses_that_cannot_be_are_refused),
];

const SAMPLES: usize = 4;

fn family() -> BlockNetConfig {
    blocks(&[5, 4], Some(NormKind::Group(1)))
}

/// As many iterations as that both residuals and the states behind them are known.
fn solve(guess: InitialGuess, max_iters: usize) -> SolveConfig {
    SolveConfig { guess, max_iters, skip_downcycle: false, norms: true, ..SolveConfig::new(3) }
}

/// Forward by `guess`, backward in any case from zeros.
fn schedule(guess: InitialGuess, max_iters: usize) -> Schedule {
    Schedule { forward: solve(guess, max_iters), ..Schedule::layer_parallel(solve(InitialGuess::Zero, max_iters)) }
}

/// The first residual of a step on the same samples, which have classes of their own.
fn first_residual(
    model: &mut LayerParallel<BlockNet>,
    family: &BlockNetConfig,
    mesh: &Mesh,
    schedule: &Schedule,
) -> Result<f64, String> {
    let found = gradient_of(model, family, mesh, schedule, (SAMPLES, 1)).map_err(text)?;
    let residual = found.report.forward.and_then(|report| report.residuals.first().copied().flatten());
    residual.ok_or_else(|| "no residual".to_owned())
}

fn class_means_make_what_was_seen_a_good_guess(world: &Communicator) -> Checked {
    for mesh in meshes(world)?.into_iter().filter(|mesh| mesh.shape().data_ranks == 1) {
        // Converged, so that the means of the samples' classes are their states.
        let schedule = schedule(InitialGuess::ClassMeans, 8);
        let mut model = model_of(&family(), &schedule, mesh.layer()).map_err(text)?;
        let first = first_residual(&mut model, &family(), &mesh, &schedule)?;
        let second = first_residual(&mut model, &family(), &mesh, &schedule)?;
        ensure(second < 1e-5 * first, || format!("{mesh:?}: {first}, then {second}"))?;
    }
    Ok(())
}

fn a_carried_state_shows_what_coarser_grids_cannot(world: &Communicator) -> Checked {
    let space = SpaceCoarsening { restriction: Restriction::FullWeighting, levels: vec![0] };
    let coarse = CoarseOperator::Midpoint;
    let family = BlockNetConfig { image: [1, 8, 8], space: Some(space), coarse, final_time: 0.25, ..family() };
    for mesh in meshes(world)?.into_iter().filter(|mesh| mesh.shape().data_ranks == 1) {
        let error = |guess| {
            let one = SolveConfig { guess, ..SolveConfig::new(3) };
            let mut model = model_of(&family, &Schedule::layer_parallel(one), mesh.layer()).map_err(text)?;
            let input = <BlockNetConfig as Family>::inputs(&(0..SAMPLES).map(|n| family.sample(n)).collect::<Vec<_>>());
            model.state_error(SAMPLES, Some(&input)).map_err(text)
        };
        let (zero, carried) = (error(InitialGuess::Zero)?, error(InitialGuess::Carried)?);
        ensure(carried < 0.5 * zero && carried > 0.0, || format!("{mesh:?}: {zero} from zero, {carried} carried"))?;
    }
    Ok(())
}

fn a_given_guess_is_used_and_checked(world: &Communicator) -> Checked {
    for mesh in meshes(world)?.into_iter().filter(|mesh| mesh.shape().data_ranks == 1) {
        let schedule = schedule(InitialGuess::Zero, 1);
        let mut model = model_of(&family(), &schedule, mesh.layer()).map_err(text)?;
        let zero = first_residual(&mut model, &family(), &mesh, &schedule)?;
        let ones = |extent: usize, channels: usize| {
            TensorState(Tensor::<4>::ones([SAMPLES, channels, extent, extent], &burn::tensor::Device::flex()))
        };
        // Points up to 5 are those of the first block.
        model.set_guess(Some(Arc::new(move |point, _| if point <= 5 { ones(6, 2) } else { ones(3, 4) })));
        let given = first_residual(&mut model, &family(), &mesh, &schedule)?;
        ensure((given - zero).abs() > 1e-3 * zero, || format!("{mesh:?}: {zero} from zero, {given} from ones"))?;
        // The ranks that are right would wait for those that are not.
        if mesh.layer().size() == 1 {
            model.set_guess(Some(Arc::new(move |_, _| ones(6, 2))));
            match gradient_of(&mut model, &family(), &mesh, &schedule, (SAMPLES, 1)) {
                Err(TrainError::WrongGuess { point, .. }) => ensure(point > 5, || format!("point {point} was right"))?,
                other => return Err(format!("{mesh:?}: {:?}", other.err())),
            }
        }
    }
    Ok(())
}

fn guesses_that_cannot_be_are_refused(world: &Communicator) -> Checked {
    let means = schedule(InitialGuess::ClassMeans, 1);
    let config = TrainerConfig { batch: 4, show: Show::Nothing, ..TrainerConfig::new(2, 0.05) };
    let mesh = &meshes(world)?[0];
    let refused = model_of(&encoder(8), &means, mesh.layer()).err().map(text).unwrap_or_default();
    ensure(refused.contains("no part per sample"), || refused.clone())?;
    let backward = Schedule { backward: solve(InitialGuess::ClassMeans, 1), ..schedule(InitialGuess::Zero, 1) };
    let refused = model_of(&family(), &backward, mesh.layer()).err().map(text).unwrap_or_default();
    ensure(refused.contains("say nothing of the adjoint"), || refused.clone())?;
    let model = model_of(&family(), &means, mesh.layer()).map_err(text)?;
    let task = Task::<Classes> { classes: None, ..Task::classification() };
    let description = serde_json::json!({});
    let trainer = Trainer::new(mesh, model, &means, task, description, config.clone());
    let refused = trainer.err().map(text).unwrap_or_default();
    ensure(refused.contains("says no class"), || refused.clone())?;
    // A run with them, whose last batch is smaller.
    let samples = crate::common::families::samples_of(&family(), 10, mesh);
    let mut trainer = trainer_of(&family(), mesh, &means, &config).map_err(text)?;
    let steps = trainer.fit(&samples, None).map_err(text)?.step;
    let mut model = model_of(&family(), &means, mesh.layer()).map_err(text)?;
    model.set_classes(Some(vec![0; 3]));
    let input = <BlockNetConfig as Family>::inputs(&[family().sample(0)]);
    let wrong = model.forward(1, Some(&input)).err().map(text).unwrap_or_default();
    ensure(wrong.contains("3 classes for a batch of 1"), || wrong.clone())?;
    ensure(steps > 2, || format!("{steps} steps"))
}
