//! Single layers of the networks that are compared, and what the solver asks of one.

use std::fmt;

use braidnet::grid::{Coarsening, Hierarchy, Step};
use braidnet::mgrit::{Differentiable, Linearization, Output, Propagator, StepError};
use braidnet::nn::gru::GruForm;
use braidnet::nn::{Pass, TensorState};
use braidnet::prelude::*;

/// The layers, by the names that their measurements have.
pub const CASES: [&str; 8] =
    ["conv:3", "conv:4", "conv:12", "conv:16", "conv3d:4", "encoder:128", "gru:implicit", "gru:explicit"];

/// What is asked of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The next state.
    Forward,
    /// The next state, and what the pullbacks need.
    Linearise,
    /// The derivative by the state.
    Pullback,
    /// The derivatives by the state and by the parameters.
    Gradients,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Forward, Self::Linearise, Self::Pullback, Self::Gradients];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forward => "forward",
            Self::Linearise => "linearise",
            Self::Pullback => "pullback",
            Self::Gradients => "pullback with gradients",
        })
    }
}

/// Whatever a call makes, to be dropped behind the clock.
pub trait Made {}

impl<T> Made for T {}

/// A call that is ready to be timed.
pub type Call<'a> = Box<dyn FnOnce() -> Result<Box<dyn Made + 'a>, StepError> + 'a>;

/// A layer at a state. States and cotangents are kept, so that each call makes new ones.
pub trait Layer {
    /// A call of an operation, with everything made that is no part of it.
    ///
    /// # Errors
    /// A layer that cannot be linearised.
    fn prepare(&self, operation: Operation) -> Result<Call<'_>, StepError>;
}

struct At<N: Network> {
    network: N,
    batch: N::Batch,
    step: Step,
    state: N::State,
    tape: N::Tape,
}

impl<N: Network> At<N> {
    /// The first layer of a network at a state.
    fn new(network: N, batch: N::Batch, grid: &TimeGrid, state: N::State) -> Result<Self, StepError> {
        let step = Hierarchy::new(grid, &Coarsening::none())?.finest().step(1);
        let tape = network.block(&batch).linearize(&step, &mut state.clone(), Output::Used)?;
        Ok(Self { network, batch, step, state, tape })
    }
}

impl<N: Network> Layer for At<N> {
    fn prepare(&self, operation: Operation) -> Result<Call<'_>, StepError> {
        let (block, step, mut state) = (self.network.block(&self.batch), &self.step, self.state.clone());
        Ok(match operation {
            Operation::Forward => Box::new(move || {
                block.step(std::slice::from_ref(step), std::slice::from_mut(&mut state))?;
                Ok(Box::new(state))
            }),
            Operation::Linearise => Box::new(move || {
                let tape = block.linearize(step, &mut state, Output::Used)?;
                Ok(Box::new((state, tape)))
            }),
            Operation::Pullback => Box::new(move || {
                self.tape.pullback(step, &mut state)?;
                Ok(Box::new(state))
            }),
            Operation::Gradients => {
                let tape = block.linearize(step, &mut state.clone(), Output::Used)?;
                Box::new(move || {
                    let gradients = tape.pullback_with_gradients(step, &mut state, Output::Used)?()?;
                    Ok(Box::new((state, gradients)))
                })
            }
        })
    }
}

/// The layer of one of the [`CASES`], on a device.
///
/// # Errors
/// A name that is none of them.
pub fn layer(case: &str, device: &Device) -> Result<Box<dyn Layer>, StepError> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|n| *n > 0);
    match case.split_once(':') {
        Some(("conv", channels)) if let Some(channels) = number(channels) => conv(channels, device),
        Some(("conv3d", channels)) if let Some(channels) = number(channels) => conv_3d(channels, device),
        Some(("encoder", width)) if let Some(width) = number(width) => encoder(width, device),
        Some(("gru", "implicit")) => gru(GruForm::Implicit, device),
        Some(("gru", "explicit")) => gru(GruForm::Explicit, device),
        _ => Err(format!("no layer {case:?}: give one like {}", CASES.join(", ")).into()),
    }
}

fn numbers<const D: usize>(dims: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = (0..dims.iter().product()).map(|i| (i as f32 * 0.11).sin()).collect();
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// Two convolutions on images.
fn conv(channels: usize, device: &Device) -> Result<Box<dyn Layer>, StepError> {
    let config = OdeNet2dConfig::new(4, channels);
    let network = config.init(0..4, 1, 0, device)?;
    let batch = braidnet::nn::Samples { n: crate::BATCH, is_training: true };
    let state = TensorState(numbers([crate::BATCH, channels, 28, 28], device));
    Ok(Box::new(At::new(network, batch, &config.grid()?, state)?))
}

/// A convolution on voxels, as the bench `voxels` has it.
fn conv_3d(channels: usize, device: &Device) -> Result<Box<dyn Layer>, StepError> {
    let (samples, side) = (4, 31);
    let config = OdeNet3dConfig { channels, ..OdeNet3dConfig::new(4, side) };
    let network = config.init(0..4, 1, 0, device)?;
    let batch = braidnet::nn::Samples { n: samples, is_training: true };
    let state = TensorState(numbers([samples, channels, side, side, side], device));
    Ok(Box::new(At::new(network, batch, &config.grid()?, state)?))
}

/// A layer of the bench `transformer`.
fn encoder(width: usize, device: &Device) -> Result<Box<dyn Layer>, StepError> {
    let (samples, length) = (8, 64);
    let config = TransformerConfig { max_length: length, pad: None, ..TransformerConfig::encoder(4, width, 1000, 49) };
    let network = config.init(0..4, 1, 0, device)?;
    let tokens = Tensor::zeros([samples, length], device);
    let batch = network.batch(&tokens, Pass::Training(None));
    Ok(Box::new(At::new(network, batch, &config.grid()?, TensorState(numbers([samples, length, width], device)))?))
}

/// A step of the bench `gru`: two cells.
fn gru(form: GruForm, device: &Device) -> Result<Box<dyn Layer>, StepError> {
    let (samples, length, inputs, hidden, cells) = (100, 4, 9, 100, 2);
    let config = GruConfig { form, ..GruConfig::new(length, inputs, hidden, cells, 6) };
    let network = config.init(0..length, 0, device)?;
    let batch = network.batch(&numbers([samples, length, inputs], device).into(), Pass::Training(None));
    let batch = network.prepare(batch);
    Ok(Box::new(At::new(network, batch, &config.grid()?, TensorState(numbers([cells, samples, hidden], device)))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_does_every_operation() {
        for case in CASES {
            let layer = layer(case, &Device::flex()).unwrap();
            for operation in Operation::ALL {
                layer.prepare(operation).unwrap()().unwrap();
            }
        }
    }

    #[test]
    fn what_is_no_layer_is_refused_with_the_names() {
        for text in ["", "conv", "conv:0", "conv:-1", "gru:4", "mlp:3"] {
            let message = layer(text, &Device::flex()).err().unwrap().to_string();
            assert!(message.contains("gru:implicit") && message.contains(&format!("{text:?}")), "{message}");
        }
    }
}
