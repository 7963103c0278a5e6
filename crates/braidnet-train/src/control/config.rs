//! What the controller is told.

use serde::{Deserialize, Serialize};

/// Whether the schedule of a run is watched, and changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlKind {
    /// No probes; the schedule stays.
    #[default]
    Off,
    /// Probes, and what they would have changed is told; the schedule stays.
    Fixed,
    /// Probes change the schedule.
    Adaptive,
}

/// When to look at a schedule, and what changes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControlConfig {
    /// Whether probes are made and followed.
    pub kind: ControlKind,
    /// Steps between two probes.
    pub probe_every: usize,
    /// One rung up where the smoothed rho of a solve is above this.
    pub rho_up: f64,
    /// A probe is calm where no rho reaches this.
    pub rho_down: f64,
    /// Probes in a row that are averaged before a rung up. A rho above 1 acts at once.
    pub smoothing: usize,
    /// Calm probes in a row before a rung down.
    pub patience_down: usize,
    /// Two changes are at least so many probes apart, except that a rho above 1 acts at once. Before a rung down it is
    /// twice as many after every descent that did not last.
    pub dwell: usize,
    /// Measure the distance from the exact gradient too, for the work of a sequential step.
    pub gradient_error: bool,
    /// One rung up where the smoothed relative error of the gradient is above this; calm is below half of it.
    pub max_gradient_error: Option<f64>,
    /// One rung up after an evaluation in which the scores by the schedule's forward pass and by the exact one differ by
    /// more: accuracies by their difference, losses, where there is no accuracy, by it over the exact one.
    pub max_mismatch: Option<f64>,
}

impl Default for ControlConfig {
    /// Off; the other numbers are those meant for use.
    fn default() -> Self {
        Self {
            kind: ControlKind::Off,
            probe_every: 100,
            rho_up: 0.75,
            rho_down: 0.4,
            smoothing: 2,
            patience_down: 3,
            dwell: 3,
            gradient_error: false,
            max_gradient_error: None,
            max_mismatch: None,
        }
    }
}

impl ControlConfig {
    /// Checks all numbers.
    ///
    /// # Errors
    /// [`ControlError::Config`] with all problems.
    pub fn validate(&self) -> Result<(), ControlError> {
        let problems = self.problems();
        if problems.is_empty() { Ok(()) } else { Err(ControlError::Config { problems }) }
    }

    /// What is wrong, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let counts = [
            (self.probe_every, "the number of steps between probes of the control"),
            (self.smoothing, "the number of probes that are averaged"),
            (self.patience_down, "the number of calm probes before a rung down"),
            (self.dwell, "the number of probes between two changes of the schedule"),
        ];
        let mut problems: Vec<String> =
            counts.iter().filter(|(n, _)| *n == 0).map(|(_, what)| format!("{what} is 0: use at least 1")).collect();
        let (down, up) = (self.rho_down, self.rho_up);
        if !(down > 0.0 && down < up && up <= 1.0) {
            problems.push(format!("rho_down is {down} and rho_up is {up}: use 0 < rho_down < rho_up <= 1"));
        }
        match self.max_gradient_error {
            Some(max) if !(max.is_finite() && max > 0.0) => {
                problems.push(format!("the largest gradient error is {max}: use a finite number above 0, or none"));
            }
            Some(_) if !self.gradient_error => {
                problems.push("a largest gradient error is given, but the gradient error is not measured".to_owned());
            }
            _ => {}
        }
        if let Some(max) = self.max_mismatch.filter(|max| !(max.is_finite() && *max > 0.0)) {
            problems.push(format!("the largest mismatch is {max}: use a finite number above 0, or none"));
        }
        problems
    }
}

/// A controller that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Settings that make no sense; all at once.
    #[error("invalid settings of the control: {}", .problems.join("; "))]
    Config {
        /// One sentence per problem.
        problems: Vec<String>,
    },
    /// A saved state of another ladder.
    #[error(
        "the saved state of the control has {} rungs ({}), this schedule has {} ({}): go on with the schedule of the saved run",
        .saved.len(), .saved.join(", "), .now.len(), .now.join(", ")
    )]
    OtherLadder {
        /// Names of the rungs that were saved.
        saved: Vec<String>,
        /// Names of the rungs of this run.
        now: Vec<String>,
    },
    /// A saved state that is none.
    #[error("the saved state of the control is damaged: {reason}")]
    State {
        /// What is wrong with it.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_listed() {
        let bad = ControlConfig {
            probe_every: 0,
            smoothing: 0,
            patience_down: 0,
            dwell: 0,
            rho_down: 0.8,
            max_gradient_error: Some(f64::NAN),
            max_mismatch: Some(0.0),
            ..ControlConfig::default()
        };
        let message = bad.validate().unwrap_err().to_string();
        for part in
            ["steps between", "averaged", "calm", "two changes", "rho_down is 0.8", "error is NaN", "mismatch is 0"]
        {
            assert!(message.contains(part), "{part} is not in {message}");
        }
        assert_eq!(bad.problems().len(), 7);
        let unmeasured = ControlConfig { max_gradient_error: Some(0.1), ..ControlConfig::default() };
        assert!(unmeasured.validate().unwrap_err().to_string().contains("not measured"));
        for (down, up) in [(0.0, 0.5), (0.5, 0.5), (0.5, 1.1), (f64::NAN, 0.5), (0.5, f64::NAN)] {
            let config = ControlConfig { rho_down: down, rho_up: up, ..ControlConfig::default() };
            assert_eq!(config.problems().len(), 1, "{down} {up}");
        }
        assert_eq!(ControlConfig::default().validate(), Ok(()));
    }

    #[test]
    fn what_is_not_given_is_the_default() {
        let config: ControlConfig = serde_json::from_str(r#"{"kind": "adaptive", "dwell": 5}"#).unwrap();
        assert_eq!(config, ControlConfig { kind: ControlKind::Adaptive, dwell: 5, ..ControlConfig::default() });
    }
}
