//! A network whose layers take time and do nothing else: the solver's own code runs on it.

use braidnet_comm::simulate::spend;
use braidnet_grid::Step;
use braidnet_mgrit::{Differentiable, Linearization, Output, PendingGradients, Propagator, StepError};

use super::costs::{Costs, LayerCosts};
use super::ghost::Ghost;
use super::times::Times;

/// The layers of one rank on a micro-batch.
pub(super) struct Ghosts<'a> {
    pub costs: &'a Costs,
    /// The run of every layer of the network.
    pub runs: &'a [usize],
    /// Samples of the micro-batch.
    pub samples: usize,
    /// How many times longer everything takes than measured.
    pub slowdown: f64,
}

/// The linearisation of a step: what is done with it takes such times.
#[derive(Clone, Copy)]
pub(super) struct GhostTape {
    /// The state before the step.
    before: Ghost,
    /// Pullbacks of the step and of a coarse one that shares it.
    pullbacks: [f64; 2],
    /// With gradients, where lambda is used and where not.
    back: [f64; 2],
    gradients: f64,
}

impl Ghosts<'_> {
    /// Seconds of an operation on `pairs` states at once.
    pub fn seconds(&self, times: &Times, pairs: usize) -> f64 {
        self.slowdown * times.at(&self.costs.samples, pairs * self.samples)
    }

    pub fn layer(&self, layer: usize) -> &LayerCosts {
        &self.costs.layers[self.runs[layer]]
    }

    /// The state at a point.
    pub fn state(&self, point: usize) -> Ghost {
        // Behind the last layer it has the size that is before it.
        let layer = point.min(self.runs.len() - 1);
        let n_bytes = self.layer(layer).state_bytes * self.samples as f64;
        Ghost::new(n_bytes.round() as usize, self.costs.states, self.slowdown)
    }

    fn tape(&self, step: &Step) -> GhostTape {
        let layer = self.layer(step.layer);
        let of = |times: &Times| self.seconds(times, 1);
        let coarse = layer.coarse.as_ref().map_or(&layer.pullback, |coarse| &coarse.pullback);
        GhostTape {
            before: self.state(step.fine.start),
            pullbacks: [of(&layer.pullback), of(coarse)],
            back: [of(&layer.back), of(&layer.back_unused)],
            gradients: of(&layer.gradients),
        }
    }

    /// Spends what an operation takes on all steps of a call: as on so many times the samples.
    fn spend(&self, steps: &[Step], times: impl for<'b> Fn(&'b LayerCosts, &Step) -> Option<&'b Times>) {
        let of = |step: &Step| times(self.layer(step.layer), step).map_or(0.0, |t| self.seconds(t, 1));
        match steps {
            [first, _, ..] if self.batch() > 1 => {
                let times = times(self.layer(first.layer), first);
                spend(times.map_or(0.0, |times| self.seconds(times, steps.len())));
            }
            _ => spend(steps.iter().map(of).sum()),
        }
    }
}

fn forward<'a>(layer: &'a LayerCosts, step: &Step) -> Option<&'a Times> {
    match &layer.coarse {
        Some(coarse) if step.fine.len() > 1 => Some(&coarse.forward),
        _ => Some(&layer.forward),
    }
}

fn linearize<'a>(layer: &'a LayerCosts, step: &Step) -> Option<&'a Times> {
    match &layer.coarse {
        Some(coarse) if step.fine.len() > 1 => coarse.linearize.as_ref(),
        _ => Some(&layer.linearize),
    }
}

fn pullback<'a>(layer: &'a LayerCosts, step: &Step) -> Option<&'a Times> {
    match &layer.coarse {
        Some(coarse) if step.fine.len() > 1 => Some(&coarse.pullback),
        _ => Some(&layer.pullback),
    }
}

impl Propagator for Ghosts<'_> {
    type State = Ghost;

    fn step(&self, steps: &[Step], states: &mut [Ghost]) -> Result<(), StepError> {
        self.spend(steps, forward);
        for (step, state) in steps.iter().zip(states) {
            *state = self.state(step.fine.end);
        }
        Ok(())
    }

    fn batch(&self) -> usize {
        (self.costs.rows / self.samples.max(1)).max(1)
    }

    fn context(&self) -> Ghost {
        self.state(0)
    }
}

impl Differentiable for Ghosts<'_> {
    type Linearization = GhostTape;

    fn linearize(&self, step: &Step, state: &mut Ghost, _: Output) -> Result<GhostTape, StepError> {
        self.spend(std::slice::from_ref(step), linearize);
        *state = self.state(step.fine.end);
        Ok(self.tape(step))
    }

    fn linearize_batch(&self, steps: &[Step], states: &mut [Ghost], _: Output) -> Result<Vec<GhostTape>, StepError> {
        self.spend(steps, linearize);
        for (step, state) in steps.iter().zip(states) {
            *state = self.state(step.fine.end);
        }
        Ok(steps.iter().map(|step| self.tape(step)).collect())
    }

    fn pullback_batch(&self, steps: &[Step], _: &[&GhostTape], lambdas: &mut [Ghost]) -> Result<(), StepError> {
        self.spend(steps, pullback);
        for (step, lambda) in steps.iter().zip(lambdas) {
            *lambda = self.state(step.fine.start);
        }
        Ok(())
    }

    fn pullback_batch_with_gradients(
        &self,
        steps: &[Step],
        tapes: Vec<GhostTape>,
        lambdas: &mut [Ghost],
        output: Output,
    ) -> Result<Vec<PendingGradients<()>>, StepError> {
        let (Some(first), true) = (steps.first(), self.batch() > 1) else {
            let pairs = steps.iter().zip(tapes).zip(lambdas);
            return pairs.map(|((step, tape), lambda)| tape.pullback_with_gradients(step, lambda, output)).collect();
        };
        self.spend(steps, |layer, _| Some(if output == Output::Used { &layer.back } else { &layer.back_unused }));
        for (tape, lambda) in tapes.iter().zip(lambdas) {
            *lambda = tape.before;
        }
        // One call forms those of all steps.
        let together = self.seconds(&self.layer(first.layer).gradients, steps.len());
        Ok((0..steps.len()).map(|n| gradients(if n == 0 { together } else { 0.0 })).collect())
    }

    fn shared_linearization(&self, step: &Step) -> Option<usize> {
        let own = self.layer(step.layer).coarse.as_ref().and_then(|coarse| coarse.linearize.as_ref());
        (step.fine.len() == 1 || own.is_none()).then_some(step.layer)
    }
}

fn gradients(seconds: f64) -> PendingGradients<()> {
    Box::new(move || {
        spend(seconds);
        Ok(())
    })
}

impl Linearization for GhostTape {
    type State = Ghost;
    type Gradients = ();

    fn pullback(&self, step: &Step, lambda: &mut Ghost) -> Result<(), StepError> {
        spend(self.pullbacks[usize::from(step.fine.len() > 1)]);
        *lambda = self.before;
        Ok(())
    }

    fn pullback_with_gradients(
        self,
        _: &Step,
        lambda: &mut Ghost,
        output: Output,
    ) -> Result<PendingGradients<()>, StepError> {
        spend(self.back[usize::from(output == Output::Discarded)]);
        *lambda = self.before;
        Ok(gradients(self.gradients))
    }
}
