//! A network as solves work with it: layers in the type of the states, ends in single precision.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::convert::Infallible;

use braidnet_mgrit::{MgritOptions, NotFinite, SolveReport, State, StepError, Tolerance, place};
use braidnet_nn::{ByPoint, Closed, Gradient, Gradients, Network, Parameter, map_parameters};
use burn::tensor::{FloatDType, Tensor};

use crate::copies::is_shared;
use crate::model::Opened;
use crate::{CastState, LayerParallel, Precision, TrainError};

/// To the low type and back.
struct Caster<S> {
    precision: Precision,
    dtype: FloatDType,
    cast: fn(S, FloatDType) -> S,
}

impl<S> Clone for Caster<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Caster<S> {}

/// A network's layers in a low type.
pub(crate) struct Low<N: Network> {
    caster: Caster<N::State>,
    /// Made when it is first asked for after an update.
    network: OnceCell<N>,
}

impl<N: Network> Low<N> {
    pub fn precision(&self) -> Precision {
        self.caster.precision
    }

    /// Forgets the parameters, which the master network has changed.
    pub fn renew(&mut self) {
        self.network = OnceCell::new();
    }
}

/// `network` with the parameters of its layers in the type `dtype`; those of opening and closing layer stay.
fn with_low_layers<N: Network>(network: &N, dtype: FloatDType) -> N {
    let mut layers = HashSet::new();
    network.visit_parameters(|p| {
        if p.name.starts_with("layers.") || is_shared(&p.name) {
            layers.insert(p.id);
        }
    });
    let low = |p: &Parameter| layers.contains(&p.id).then(|| p.values.clone().cast(dtype));
    let cast: Result<N, Infallible> = map_parameters(network.clone(), "", |p| Ok(low(p)));
    match cast {
        Ok(network) => network,
    }
}

impl<N: Network> LayerParallel<N> {
    /// The type of states and of the layers' parameters in solves.
    pub fn precision(&self) -> Precision {
        self.low.as_ref().map_or(Precision::F32, Low::precision)
    }

    /// Changes the type of states and of the layers' parameters in all solves to come; every rank must. The network itself stays in
    /// single precision.
    ///
    /// # Errors
    /// [`TrainError::NoArithmetic`] if the device cannot compute in the type.
    ///
    /// # Communication
    /// None.
    pub fn set_precision(&mut self, precision: Precision) -> Result<(), TrainError>
    where
        N::State: CastState,
    {
        if precision == self.precision() {
            return Ok(());
        }
        let device = self.device();
        precision.check(|| format!("{device:?}"), |dtype| device.supports_dtype(dtype))?;
        let [forward, adjoint] = [&self.solvers.forward, &self.solvers.adjoint].map(|solver| solver.options().clone());
        let adjoint = with_scaled_tolerance(adjoint, precision.loss_scale() / self.precision().loss_scale());
        self.renew_solvers([forward, adjoint])?;
        let caster = |dtype| Caster { precision, dtype, cast: <N::State as CastState>::cast };
        self.low = precision.low().map(|dtype| Low { caster: caster(dtype), network: OnceCell::new() });
        Ok(())
    }
}

/// Options for a solve of `scale` times as large states.
pub(crate) fn with_scaled_tolerance(options: MgritOptions, scale: f64) -> MgritOptions {
    match options.tolerance {
        Some(Tolerance::Absolute(tolerance)) => {
            MgritOptions { tolerance: Some(Tolerance::Absolute(scale * tolerance)), ..options }
        }
        _ => options,
    }
}

/// A rank's network as solves work with it: layers in the type of the states, ends in single precision.
pub(crate) struct Working<'a, N: Network> {
    ends: &'a N,
    /// The network whose layers are used.
    pub layers: &'a N,
    caster: Option<Caster<N::State>>,
}

impl<N: Network> Clone for Working<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N: Network> Copy for Working<'_, N> {}

impl<'a, N: Network> Working<'a, N> {
    pub fn new(master: &'a N, low: Option<&'a Low<N>>) -> Self {
        let layers = low.map(|low| low.network.get_or_init(|| with_low_layers(master, low.caster.dtype)));
        Self { ends: master, layers: layers.unwrap_or(master), caster: low.map(|low| low.caster) }
    }

    /// What the adjoint has been multiplied with.
    pub fn scale(&self) -> f64 {
        self.caster.map_or(1.0, |caster| caster.precision.loss_scale())
    }

    /// A state in the type of the layers.
    pub fn lowered(&self, state: N::State) -> N::State {
        match self.caster {
            Some(Caster { cast, dtype, .. }) => cast(state, dtype),
            None => state,
        }
    }

    fn raised(&self, state: N::State) -> N::State {
        match self.caster {
            Some(Caster { cast, .. }) => cast(state, FloatDType::F32),
            None => state,
        }
    }

    /// As [`Network::zero_states`].
    pub fn zero_states(&self, batch: &N::Batch) -> ByPoint<N::State> {
        self.layers.zero_states(batch).map(|zero| self.lowered(zero.clone()))
    }

    /// As [`Network::open`].
    pub fn open(&self, input: &N::Input, batch: &N::Batch) -> Option<N::State> {
        Some(self.lowered(self.ends.open(input, batch)?))
    }

    /// As [`Network::open_recorded`].
    pub fn open_recorded(&self, input: &N::Input, batch: &N::Batch) -> Opened<N> {
        place::enter("opening layer");
        let (state, pullback) = self.ends.open_recorded(input, batch)?;
        place::computed([&state]);
        let Some(caster) = self.caster else { return Some((state, pullback)) };
        let raised = move |lambda: N::State| {
            let mut lambda = (caster.cast)(lambda, FloatDType::F32);
            lambda.scale(1.0 / caster.precision.loss_scale());
            pullback(lambda)
        };
        Some((self.lowered(state), Box::new(raised)))
    }

    /// As [`Network::close`].
    pub fn close(&self, state: N::State, batch: &N::Batch) -> Option<Tensor<2>> {
        self.ends.close(&self.raised(state), batch)
    }

    /// As [`Network::close_recorded`], with the derivative by the state times [`Working::scale`].
    pub fn close_recorded(
        &self,
        state: N::State,
        batch: &N::Batch,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Result<Option<Closed<N::State>>, StepError> {
        place::enter("closing layer");
        let closed = self.ends.close_recorded(&self.raised(state), batch, loss)?;
        Ok(closed.map(|mut closed| {
            if self.scale() != 1.0 {
                closed.lambda.scale(self.scale());
            }
            Closed { lambda: self.lowered(closed.lambda), ..closed }
        }))
    }

    /// Gradients of layers in single precision and of their true size. Statistics were never scaled.
    pub fn gradients(&self, gradients: Gradients) -> Gradients {
        let Some(caster) = self.caster else { return gradients };
        let scale = 1.0 / caster.precision.loss_scale();
        let raised = |gradient: Gradient| {
            let values = gradient.values.cast(FloatDType::F32);
            let is_scaled = scale != 1.0 && !gradient.is_statistic;
            Gradient { values: if is_scaled { values * scale } else { values }, ..gradient }
        };
        gradients.into_iter().map(raised).collect()
    }

    /// A report of an adjoint solve with residuals of their true size, and with the first layer whose gradients have overflown.
    pub fn report(&self, report: SolveReport, overflow: Overflow) -> SolveReport {
        let residuals = report.residuals.iter().map(|r| r.map(|r| r / self.scale())).collect();
        let overflown = || overflow.first().map(|layer| NotFinite { what: "gradient", layer });
        SolveReport { residuals, not_finite: report.not_finite.or_else(overflown), ..report }
    }

    /// Watches gradients of layers, where their type has a smaller range than that of the adjoint's norms.
    pub fn overflow(&self) -> Overflow {
        let watches = self.caster.is_some_and(|caster| caster.precision == Precision::F16);
        Overflow { watches, seen: Vec::new() }
    }
}

/// Gradients that may have overflown although the adjoint has not: one number per layer, read at the end.
pub(crate) struct Overflow {
    watches: bool,
    seen: Vec<(usize, Tensor<1>)>,
}

impl Overflow {
    /// Looks at the gradients of a layer.
    pub fn note(&mut self, layer: usize, gradients: &Gradients) {
        if self.watches {
            // 0, or NaN where a number is not finite.
            let each = gradients.iter().map(|gradient| (gradient.values.clone() * 0.0).sum().cast(FloatDType::F32));
            self.seen.extend(each.reduce(|a, b| a + b).map(|sum| (layer, sum)));
        }
    }

    /// The first layer with gradients that are not finite.
    pub fn first(self) -> Option<usize> {
        let (layers, sums): (Vec<usize>, Vec<Tensor<1>>) = self.seen.into_iter().unzip();
        if sums.is_empty() {
            return None;
        }
        let sums = Tensor::cat(sums, 0).into_data();
        layers.into_iter().zip(sums.iter::<f32>()).filter(|(_, sum)| !sum.is_finite()).map(|(layer, _)| layer).min()
    }
}
