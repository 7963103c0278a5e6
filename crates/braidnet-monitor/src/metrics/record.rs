//! The records of a run.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The version of the records; a change that readers must know of raises it.
pub const SCHEMA: u32 = 1;

/// What an [`Event`] says where a run goes on from a checkpoint.
pub const RESUMED: &str = "resumed";

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A run began or went on.
    Run(Run),
    /// One optimizer step.
    Step(Step),
    /// A comparison of the schedule's gradient with the exact one.
    Probe(Probe),
    /// The end of an epoch.
    Epoch(Epoch),
    /// A checkpoint was written.
    Checkpoint(Checkpoint),
    /// Something out of the ordinary.
    Event(Event),
}

/// What a run is: its first line, and again where it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The version of the program.
    pub version: String,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// The layers of the network.
    pub layers: usize,
    /// The ranks of the layer axis.
    pub layer_ranks: usize,
    /// The ranks of the data axis.
    pub data_ranks: usize,
    /// The samples of one step, over all ranks.
    pub batch: usize,
    /// The parts that a rank cuts its batch into.
    pub micro_batches: usize,
    /// How forward and backward propagation are solved.
    pub schedule: String,
    /// The optimizer and its settings.
    pub optimizer: String,
    /// What all random numbers come from.
    pub seed: u64,
    /// The number of parameters.
    pub parameters: u64,
    /// The step that the run goes on from.
    pub resumed_from: Option<u64>,
    /// What the ranks are.
    pub ranks_are: RanksAre,
    /// How values of a device travel between the ranks, where that was tried out.
    #[serde(default)]
    pub device_path: Option<String>,
    /// All other settings.
    pub config: Value,
}

/// What carries a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RanksAre {
    /// Threads of one process.
    Threads,
    /// Processes of an MPI job.
    Mpi,
}

/// One optimizer step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Step {
    /// The number of updates done, this one too: the first step is 1.
    pub step: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The samples of the step, over all ranks.
    pub samples: u64,
    /// The mean loss of the global batch.
    pub loss: Option<f64>,
    /// The share of the batch classified rightly, 0 to 1.
    pub accuracy: Option<f64>,
    /// The learning rate.
    #[serde(deserialize_with = "null_is_nan")]
    pub learning_rate: f64,
    /// How long the step took.
    #[serde(deserialize_with = "null_is_nan")]
    pub milliseconds: f64,
    /// The norm of the gradient, before clipping.
    pub gradient_norm: Option<f64>,
    /// Whether the gradient was clipped.
    pub clipped: bool,
    /// Whether the update was left out.
    pub skipped: bool,
    /// The last residual norm of the forward solve.
    pub forward_residual: Option<f64>,
    /// The last residual norm of the adjoint solve.
    pub backward_residual: Option<f64>,
    /// The convergence factor of the forward solve.
    pub rho_forward: Option<f64>,
    /// The convergence factor of the adjoint solve.
    pub rho_backward: Option<f64>,
    /// The share of the step that the rank which writes this spent waiting for other ranks, 0 to 1.
    pub waiting: Option<f64>,
}

/// How good the schedule is: convergence factors, and a comparison of its gradient with the exact one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Probe {
    /// The step.
    pub step: u64,
    /// The norm of the difference over that of the exact gradient.
    pub gradient_error: Option<f64>,
    /// The cosine of the angle between the two.
    pub gradient_cosine: Option<f64>,
    /// The convergence factor of the forward solve.
    #[serde(default)]
    pub rho_forward: Option<f64>,
    /// The convergence factor of the adjoint solve.
    #[serde(default)]
    pub rho_backward: Option<f64>,
    /// The rung of the controller's ladder that the run goes on with, 0 for the schedule as given.
    #[serde(default)]
    pub rung: Option<u64>,
}

/// The end of an epoch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Epoch {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The mean loss of its steps.
    pub loss: Option<f64>,
    /// The mean accuracy of its steps, 0 to 1.
    pub accuracy: Option<f64>,
    /// The loss on the test set.
    pub test_loss: Option<f64>,
    /// The accuracy on the test set, exact forward propagation.
    pub test_accuracy: Option<f64>,
    /// The accuracy on the test set, forward propagation as scheduled.
    pub test_accuracy_scheduled: Option<f64>,
    /// The median time of a step.
    pub milliseconds_per_step: Option<f64>,
    /// The penalty on parameters that jump from layer to layer, in the last step.
    #[serde(default)]
    pub penalty: Option<f64>,
    /// The samples of the epoch over its seconds.
    pub samples_per_second: Option<f64>,
    /// The last known convergence factor of the forward solve.
    pub rho_forward: Option<f64>,
    /// The last known convergence factor of the adjoint solve.
    pub rho_backward: Option<f64>,
    /// As [`Step::waiting`], over the epoch and all ranks.
    pub waiting: Option<f64>,
    /// How long the epoch took.
    #[serde(deserialize_with = "null_is_nan")]
    pub seconds: f64,
}

/// A checkpoint that was written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The step it holds.
    pub step: u64,
    /// Where it is.
    pub path: String,
    /// How long writing it took, in the background.
    #[serde(deserialize_with = "null_is_nan")]
    pub seconds: f64,
    /// Its size.
    pub bytes: u64,
}

/// Something out of the ordinary.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Event {
    /// The last step done.
    pub step: u64,
    /// `resumed`, `not_finite`, `signal`, `time_limit`, `skipped`, ...
    pub what: String,
    /// More about it, for people.
    pub detail: String,
}

/// JSON has no NaN: what is not finite is written as `null`.
fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_as_documented() {
        let step =
            Step { step: 3, loss: Some(f64::NAN), learning_rate: 0.1, rho_forward: Some(0.25), ..Step::default() };
        assert_eq!(
            serde_json::to_string(&Record::Step(step)).unwrap(),
            r#"{"kind":"step","step":3,"epoch":0,"samples":0,"loss":null,"accuracy":null,"learning_rate":0.1,"#
                .to_owned()
                + r#""milliseconds":0.0,"gradient_norm":null,"clipped":false,"skipped":false,"forward_residual":null,"#
                + r#""backward_residual":null,"rho_forward":0.25,"rho_backward":null,"waiting":null}"#
        );
        let event = Event { step: 4, what: RESUMED.into(), detail: String::new() };
        let line = serde_json::to_string(&Record::Event(event)).unwrap();
        assert_eq!(line, r#"{"kind":"event","step":4,"what":"resumed","detail":""}"#);
    }

    #[test]
    fn what_is_not_finite_reads_back_as_nan() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let line = serde_json::to_string(&Record::Step(Step { learning_rate: value, ..Step::default() })).unwrap();
            let Record::Step(step) = serde_json::from_str(&line).unwrap() else { panic!("{line}") };
            assert!(step.learning_rate.is_nan());
        }
    }
}
