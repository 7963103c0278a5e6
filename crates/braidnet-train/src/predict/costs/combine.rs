//! One table of costs from several measurements.

use super::{CoarseCosts, Costs, EndCosts, LayerCosts};
use crate::predict::measure::median;
use crate::predict::{PredictError, Times};

impl Costs {
    /// Costs of one network for several numbers of samples, in one: each from [`LayerParallel::measure_costs`](crate::LayerParallel::measure_costs).
    /// What goes with no number of samples is that of the largest.
    ///
    /// # Errors
    /// [`PredictError::BadCosts`] where they are not of one network, or two are of the same number of samples.
    pub fn join(mut all: Vec<Self>) -> Result<Self, PredictError> {
        let bad = |problem: &str| PredictError::BadCosts { problem: problem.to_owned() };
        all.sort_by_key(|costs| costs.samples.clone());
        all.iter_mut().for_each(Self::split_runs);
        if let Some([a, b]) = all.array_windows().find(|[a, b]| a.n_layers() != b.n_layers()) {
            return Err(bad(&format!("of {} layers and of {}: join those of one network", a.n_layers(), b.n_layers())));
        }
        let mut joined = all.last().cloned().ok_or_else(|| bad("there are none: give those of at least one batch"))?;
        joined.rows = all.iter().map(|costs| costs.rows).max().unwrap_or(0);
        joined.samples = all.iter().flat_map(|costs| costs.samples.iter().copied()).collect();
        let mut of_all: Vec<Vec<(String, Times)>> = Vec::new();
        for costs in &mut all {
            of_all.push(costs.named().into_iter().map(|(name, times)| (name, times.clone())).collect());
        }
        for (at, (name, times)) in joined.named().into_iter().enumerate() {
            let same = of_all.iter().filter_map(|of| of.get(at).filter(|(other, _)| *other == name));
            times.0 = same.flat_map(|(_, times)| times.0.iter().copied()).collect();
        }
        joined.merge_runs();
        joined.check()?;
        Ok(joined)
    }

    /// The medians of several measurements of one network and batch.
    ///
    /// # Errors
    /// [`PredictError::BadCosts`] of none, or where they are not of one network.
    pub fn medians(mut all: Vec<Self>) -> Result<Self, PredictError> {
        all.iter_mut().for_each(Self::split_runs);
        let numbers: Vec<Vec<f64>> =
            all.iter_mut().map(|costs| costs.numbers().into_iter().map(|number| *number).collect()).collect();
        let alike = numbers.windows(2).all(|pair| pair[0].len() == pair[1].len());
        let Some(mut middle) = all.pop().filter(|_| alike) else {
            let problem = "measurements of no network, or of several: give those of one".to_owned();
            return Err(PredictError::BadCosts { problem });
        };
        for (at, number) in middle.numbers().into_iter().enumerate() {
            *number = median(numbers.iter().map(|of| of[at]).collect());
        }
        middle.merge_runs();
        Ok(middle)
    }

    /// All that is measured.
    fn numbers(&mut self) -> Vec<&mut f64> {
        let Self { prepare, shared, states, opening, closing, layers, .. } = self;
        let mut all = Vec::new();
        all.extend(prepare.iter_mut().flat_map(|times| &mut times.0));
        all.extend(shared.iter_mut().flat_map(|shared| shared.complete.0.iter_mut().chain([&mut shared.update])));
        all.extend([&mut states.axpy, &mut states.axpy_per_byte, &mut states.norm, &mut states.norm_per_byte]);
        for EndCosts { work, back, update, .. } in [opening, closing] {
            all.extend(work.0.iter_mut().chain(&mut back.0).chain([update]));
        }
        for layer in layers {
            let LayerCosts { update, forward, linearize, pullback, back, back_unused, gradients, coarse, .. } = layer;
            all.push(update);
            all.extend([forward, linearize, pullback, back, back_unused, gradients].into_iter().flat_map(|t| &mut t.0));
            if let Some(CoarseCosts { forward, pullback, linearize }) = coarse {
                all.extend(forward.0.iter_mut().chain(&mut pullback.0));
                all.extend(linearize.iter_mut().flat_map(|times| &mut times.0));
            }
        }
        all
    }

    /// Runs of one layer each.
    fn split_runs(&mut self) {
        let one = |run: LayerCosts| std::iter::repeat_n(LayerCosts { count: 1, ..run.clone() }, run.count);
        self.layers = std::mem::take(&mut self.layers).into_iter().flat_map(one).collect();
    }

    /// Runs as long as layers are equal.
    pub(in crate::predict) fn merge_runs(&mut self) {
        for run in std::mem::take(&mut self.layers) {
            match self.layers.last_mut() {
                Some(last) if (LayerCosts { count: run.count, ..last.clone() }) == run => last.count += run.count,
                _ => self.layers.push(run),
            }
        }
    }
}
