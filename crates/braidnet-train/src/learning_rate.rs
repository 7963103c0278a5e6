//! Learning rates over the steps of a run: burn's schedulers, set up by one plain struct.

use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::exponential::ExponentialLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::step::StepLrSchedulerConfig;
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Not at all.
    None,
    /// In a straight line to `end` times the first rate at the last step.
    Linear {
        /// Part of the rate that is left, 0..=1.
        end: f64,
    },
    /// Along half a cosine to `end` times the first rate at the last step.
    Cosine {
        /// Part of the rate that is left, 0..=1.
        end: f64,
    },
    /// As `1 / sqrt(step)`, from the end of the warm-up on: the rate of Vaswani et al., Attention is all you need (2017), "Noam's",
    /// by its largest value.
    InverseSqrt,
    /// By a factor every step.
    Exponential {
        /// The factor, above 0 and below 1.
        gamma: f64,
    },
    /// By a factor every so many steps.
    Steps {
        /// Steps between two changes.
        every: usize,
        /// The factor.
        gamma: f64,
    },
}

/// The learning rate of every step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LearningRate {
    /// The rate after the warm-up.
    pub rate: f64,
    /// Steps over which the rate grows in a straight line from nearly nothing.
    pub warmup: usize,
    /// How it falls then.
    pub decay: Decay,
}

impl LearningRate {
    /// The same rate throughout.
    pub fn constant(rate: f64) -> Self {
        Self { rate, warmup: 0, decay: Decay::None }
    }

    /// The rates of a run of `n_steps` steps, from step `done` on.
    ///
    /// # Errors
    /// [`TrainError::BadSetting`] for a number that is no usable rate or factor.
    pub(crate) fn start(&self, n_steps: usize, done: usize) -> Result<Rates, TrainError> {
        let fits = |value: f64, low: f64, high: f64| value > low && value <= high;
        let bad = |what, value, remedy| Err(TrainError::BadSetting { what, value, remedy });
        if !fits(self.rate, 0.0, f64::MAX) {
            return bad("learning rate", self.rate, "a finite number above 0");
        }
        match self.decay {
            Decay::Linear { end } | Decay::Cosine { end } if !(0.0..=1.0).contains(&end) => {
                return bad("part of the learning rate left at the end", end, "a number in 0..=1");
            }
            Decay::Exponential { gamma } | Decay::Steps { gamma, .. } if !(gamma > 0.0 && gamma < 1.0) => {
                return bad("factor of the learning rate", gamma, "a number between 0 and 1");
            }
            Decay::InverseSqrt if self.warmup == 0 => {
                return bad("number of warm-up steps of an inverse square root", 0.0, "at least 1");
            }
            Decay::Steps { every: 0, .. } => return bad("number of steps between two rates", 0.0, "at least 1"),
            _ => {}
        }
        let decaying = n_steps.saturating_sub(self.warmup).max(1);
        let mut rates = Rates { config: *self, done, scheduler: self.decay.scheduler(decaying)? };
        for _ in self.warmup..done {
            rates.scheduler.as_mut().map(ModuleLrScheduler::step);
        }
        Ok(rates)
    }
}

impl Decay {
    /// burn's scheduler of factors from 1 on; none where there is a formula.
    fn scheduler(self, n_steps: usize) -> Result<Option<ModuleLrScheduler>, TrainError> {
        let scheduler = match self {
            Self::None | Self::InverseSqrt => return Ok(None),
            Self::Linear { end } => LinearLrSchedulerConfig::new(1.0, end, n_steps).init(),
            Self::Cosine { end } => CosineAnnealingLrSchedulerConfig::new(1.0, n_steps).with_min_lr(end).init(),
            Self::Exponential { gamma } => ExponentialLrSchedulerConfig::new(1.0, gamma).init(),
            Self::Steps { every, gamma } => StepLrSchedulerConfig::new(1.0, every).with_gamma(gamma).init(),
        };
        scheduler.map(Some).map_err(|reason| TrainError::LearningRate { reason })
    }
}

/// The learning rates of a run, one after the other.
pub(crate) struct Rates {
    config: LearningRate,
    done: usize,
    scheduler: Option<ModuleLrScheduler>,
}

impl Rates {
    /// The rate of the next step.
    pub fn next(&mut self) -> f64 {
        self.done += 1;
        let LearningRate { rate, warmup, decay } = self.config;
        if self.done <= warmup {
            return rate * self.done as f64 / warmup as f64;
        }
        rate * match (&mut self.scheduler, decay) {
            (Some(scheduler), _) => scheduler.step().base(),
            (None, Decay::InverseSqrt) => (warmup as f64 / self.done as f64).sqrt(),
            (None, _) => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(config: LearningRate, n: usize, done: usize) -> Vec<f64> {
        let mut rates = config.start(n, done).unwrap();
        (done..n).map(|_| rates.next()).collect()
    }

    #[test]
    fn a_run_that_goes_on_has_the_rates_it_would_have_had() {
        let decays = [
            Decay::None,
            Decay::Linear { end: 0.1 },
            Decay::Cosine { end: 0.0 },
            Decay::Exponential { gamma: 0.9 },
            Decay::Steps { every: 3, gamma: 0.5 },
        ];
        for decay in decays {
            let config = LearningRate { rate: 2.0, warmup: 4, decay };
            let all = rates(config, 20, 0);
            assert_eq!(all[..4], [0.5, 1.0, 1.5, 2.0], "{decay:?}");
            assert_eq!(all[4], 2.0, "{decay:?}");
            assert!(all[19] < 2.0 || decay == Decay::None);
            for done in [1, 4, 5, 13] {
                assert_eq!(rates(config, 20, done), all[done..], "{decay:?} from {done}");
            }
        }
    }

    #[test]
    fn an_inverse_square_root_goes_on_from_the_warm_up() {
        let config = LearningRate { rate: 2.0, warmup: 4, decay: Decay::InverseSqrt };
        let all = rates(config, 64, 0);
        assert_eq!((all[3], all[15], all[63]), (2.0, 1.0, 0.5));
        assert_eq!(rates(config, 64, 9), all[9..]);
        let cold = LearningRate { warmup: 0, ..config };
        assert!(cold.start(10, 0).err().unwrap().to_string().contains("warm-up"));
    }

    #[test]
    fn bad_numbers_are_named() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(LearningRate::constant(rate).start(10, 0).is_err(), "{rate}");
        }
        let steps = LearningRate { decay: Decay::Steps { every: 0, gamma: 0.5 }, ..LearningRate::constant(0.1) };
        assert!(steps.start(10, 0).err().unwrap().to_string().contains("at least 1"));
    }
}
