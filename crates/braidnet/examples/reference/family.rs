//! The networks that files describe.

use anyhow::{Context, anyhow, bail, ensure};
use braidnet::nn::gru::{GruConfig, GruForm, Sequences};
use braidnet::nn::transformer::{Activation, EncoderDecoderConfig, Positions, SourceTarget, TransformerConfig};
use braidnet::nn::{BlockNetConfig, NormKind, OdeNet3dConfig, Pooling};
use braidnet::prelude::*;
use braidnet::train::masked_cross_entropy;

use super::file::File;

/// A network that a file describes.
pub enum Family {
    OdeNet2d(OdeNet2dConfig),
    OdeNet3d(OdeNet3dConfig),
    Blocks(BlockNetConfig),
    Transformer(TransformerConfig),
    EncoderDecoder(EncoderDecoderConfig),
    Gru(GruConfig),
}

/// A batch of a file.
pub struct Batch<I> {
    pub size: usize,
    pub input: I,
    pub target: Tensor<1, Int>,
}

/// The epsilon of every layer norm.
const LAYER_NORM_EPS: f64 = 1e-5;

impl Family {
    /// The names of the families that can be built.
    pub const BUILT: [&str; 7] =
        ["odenet2d", "odenet3d", "odenet_blocks", "encoder", "decoder_only", "encoder_decoder", "implicit_gru"];

    /// The network that a file's metadata describes.
    pub fn of(file: &File) -> anyhow::Result<Self> {
        let family = match file.case.family.as_str() {
            "odenet2d" => Self::OdeNet2d(odenet2d(file)?),
            "odenet3d" => Self::OdeNet3d(odenet3d(file)?),
            "odenet_blocks" => Self::Blocks(blocks(file)?),
            "encoder" => Self::Transformer(transformer(file, false)?),
            "decoder_only" => Self::Transformer(transformer(file, true)?),
            "encoder_decoder" => Self::EncoderDecoder(encoder_decoder(file)?),
            "implicit_gru" => Self::Gru(gru(file)?),
            other => bail!("{}: the family {other:?} is not built yet ({} are)", file.name, Self::BUILT.join(", ")),
        };
        let valid = match &family {
            Self::OdeNet2d(config) => config.validate(),
            Self::OdeNet3d(config) => config.validate(),
            Self::Blocks(config) => config.validate(),
            Self::Transformer(config) => config.validate(),
            Self::EncoderDecoder(config) => config.validate(),
            Self::Gru(config) => config.validate(),
        };
        valid.with_context(|| file.name.clone())?;
        Ok(family)
    }
}

/// Mean cross entropy over all rows whose target is not `pad`.
pub fn loss(pad: Option<u32>) -> impl Fn(Tensor<2>, Tensor<1, Int>) -> Tensor<1> {
    move |logits, target| match pad {
        Some(pad) => masked_cross_entropy(logits, target, i64::from(pad)),
        None => cross_entropy(logits, target),
    }
}

fn odenet2d(file: &File) -> anyhow::Result<OdeNet2dConfig> {
    let case = &file.case;
    let opening = match file.said("open", &case.open)? {
        open if open.contains("repeat") => OpeningKind::Repeat,
        open if open.contains("conv") => OpeningKind::Conv,
        open => bail!("{}: the opening layer {open:?} is not known: a convolution and repetition are", file.name),
    };
    Ok(OdeNet2dConfig {
        image: extents(file)?,
        classes: file.said("classes", &case.classes)?,
        hidden: file.said("hidden", &case.hidden)?,
        final_time: file.said("final_time", &case.final_time)?,
        convs: if file.said("rhs", &case.rhs)?.contains("conv2") { 2 } else { 1 },
        opening,
        depth_init: DepthInit::Independent,
        ..OdeNet2dConfig::new(file.said("layers", &case.layers)?, file.said("channels", &case.channels)?)
    })
}

/// Channels and extents of the input.
fn extents<const N: usize>(file: &File) -> anyhow::Result<[usize; N]> {
    let given = file.said("image", &file.case.image)?;
    let all = <[usize; N]>::try_from(given.as_slice());
    all.map_err(|_| anyhow!("{}: the image has {} sizes {given:?}, expected {N}", file.name, given.len()))
}

fn odenet3d(file: &File) -> anyhow::Result<OdeNet3dConfig> {
    let case = &file.case;
    let open = file.said("open", &case.open)?;
    ensure!(open.contains("repeat"), "{}: the opening layer {open:?} is not known: repetition is", file.name);
    let rhs = file.said("rhs", &case.rhs)?;
    ensure!(!rhs.contains("conv2"), "{}: the right-hand side {rhs:?} is not known: one convolution is", file.name);
    Ok(OdeNet3dConfig {
        channels: file.said("channels", &case.channels)?,
        voxels: extents(file)?,
        classes: file.said("classes", &case.classes)?,
        hidden: file.said("hidden", &case.hidden)?,
        final_time: file.said("final_time", &case.final_time)?,
        depth_init: DepthInit::Independent,
        ..OdeNet3dConfig::new(file.said("layers", &case.layers)?, 1)
    })
}

fn blocks(file: &File) -> anyhow::Result<BlockNetConfig> {
    let case = &file.case;
    let open = file.said("open", &case.open)?;
    ensure!(open.contains("conv"), "{}: the opening layer {open:?} is not known: a convolution is", file.name);
    let norm = open.contains("bn").then_some(NormKind::Batch);
    if norm.is_some() {
        let bn = file.said("bn", &case.bn)?;
        let known = bn.contains("batch statistics") && bn.contains("eps 1e-5") && bn.contains("momentum 0.1");
        ensure!(known, "{}: batch norm as {bn:?} is not known: eps 1e-5 and momentum 0.1 are", file.name);
    }
    let close = file.said("close", &case.close)?;
    ensure!(close.contains("average pool"), "{}: the closing layer {close:?} is not known: pooling is", file.name);
    let step = file.said("step", &case.step)?;
    ensure!(step.contains("+ transitions"), "{}: the step {step:?} is not known", file.name);
    let pooling = match file.said("transition", &case.transition)? {
        transition if transition.contains("max_pool") => Pooling::Max,
        transition if transition.contains("avg_pool") => Pooling::Average,
        _ => Pooling::None,
    };
    Ok(BlockNetConfig {
        image: extents(file)?,
        classes: file.said("classes", &case.classes)?,
        final_time: file.said("final_time", &case.final_time)?,
        convs: if file.said("rhs", &case.rhs)?.contains("conv2") { 2 } else { 1 },
        norm,
        pooling,
        depth_init: DepthInit::Independent,
        ..BlockNetConfig::new(file.said("per_block", &case.per_block)?, file.said("channels", &case.channels)?)
    })
}

/// The activation of the MLP.
fn activation(file: &File) -> anyhow::Result<Activation> {
    let rhs = file.said("rhs", &file.case.rhs)?.to_lowercase();
    Ok(match () {
        () if rhs.contains("gelu") && rhs.contains("tanh") => Activation::GeluTanh,
        () if rhs.contains("gelu") => Activation::Gelu,
        () if rhs.contains("relu") => Activation::Relu,
        () if rhs.contains("elu") => Activation::Elu,
        () => bail!("{}: no activation is found in rhs {rhs:?}: GELU, ReLU and ELU are known", file.name),
    })
}

fn positions(file: &File) -> anyhow::Result<Positions> {
    match file.said("open", &file.case.open)? {
        open if open.contains("sinusoidal") => Ok(Positions::Sinusoidal),
        open if open.contains("learned") => Ok(Positions::Learned),
        open => bail!("{}: the opening layer {open:?} has no known positions: sinusoidal or learned", file.name),
    }
}

fn check_epsilon(file: &File) -> anyhow::Result<()> {
    let eps = file.case.layer_norm_eps.unwrap_or(LAYER_NORM_EPS);
    ensure!(eps == LAYER_NORM_EPS, "{}: layer norms with epsilon {eps}; only {LAYER_NORM_EPS} is known", file.name);
    Ok(())
}

/// Rows and columns of a batch of sequences.
fn shape(file: &File, key: &str) -> anyhow::Result<[usize; 2]> {
    match file.tensor(key, None)?.shape[..] {
        [batch, length] => Ok([batch, length]),
        ref other => bail!("{}: {key} has shape {other:?}, expected [batch, length]", file.name),
    }
}

fn transformer(file: &File, is_decoder: bool) -> anyhow::Result<TransformerConfig> {
    check_epsilon(file)?;
    let case = &file.case;
    let says_causal = case.mask.as_deref().is_some_and(|mask| mask.contains("causal"));
    let sizes = (file.said("layers", &case.layers)?, file.said("d_model", &case.d_model)?);
    let (vocabulary, classes) = (file.said("vocab", &case.vocab)?, file.said("classes", &case.classes)?);
    Ok(TransformerConfig {
        heads: file.said("heads", &case.heads)?,
        d_ff: file.said("d_ff", &case.d_ff)?,
        max_length: shape(file, "input.x")?[1],
        final_time: file.said("final_time", &case.final_time)?,
        causal: is_decoder || says_causal,
        activation: activation(file)?,
        positions: positions(file)?,
        pad: case.pad,
        tied: !file.has("param.head.weight"),
        // On any number of ranks.
        coarse: CoarseOperator::Midpoint,
        ..TransformerConfig::encoder(sizes.0, sizes.1, vocabulary, classes)
    })
}

fn encoder_decoder(file: &File) -> anyhow::Result<EncoderDecoderConfig> {
    check_epsilon(file)?;
    let case = &file.case;
    let layers =
        [file.said("encoder_layers", &case.encoder_layers)?, file.said("decoder_layers", &case.decoder_layers)?];
    let vocabulary = file.said("vocab", &case.vocab)?;
    Ok(EncoderDecoderConfig {
        layers,
        heads: file.said("heads", &case.heads)?,
        d_ff: file.said("d_ff", &case.d_ff)?,
        max_lengths: [shape(file, "input.source")?[1], shape(file, "input.shifted_target")?[1]],
        final_time: file.said("final_time", &case.final_time)?,
        activation: activation(file)?,
        positions: positions(file)?,
        pad: case.pad,
        tied: !file.has("param.head.weight"),
        coarse: CoarseOperator::Midpoint,
        ..EncoderDecoderConfig::new(layers[0], file.said("d_model", &case.d_model)?, [vocabulary; 2])
    })
}

fn gru(file: &File) -> anyhow::Result<GruConfig> {
    let case = &file.case;
    let cell = file.said("cell", &case.cell)?.replace(' ', "");
    // The new state is divided by `1 + dt (1 - z)`, or it is not.
    let form = if cell.contains("/(1+dt(1-z))") { GruForm::Implicit } else { GruForm::Explicit };
    let known = form == GruForm::Implicit || cell.contains("h+dt(1-z)(n-h)");
    ensure!(known, "{}: the cell {cell:?} is not known: the implicit and the explicit one are", file.name);
    let length = file.said("steps", &case.steps)?;
    Ok(GruConfig {
        final_time: file.said("dt", &case.dt)? * length as f64,
        form,
        // So that coarse steps are none of fine ones.
        coarse_parts: 1,
        ..GruConfig::new(
            length,
            file.said("inputs", &case.inputs)?,
            file.said("hidden", &case.hidden)?,
            file.said("stacked", &case.stacked)?,
            file.said("classes", &case.classes)?,
        )
    })
}

/// The sequences of features of a file, and their classes.
pub fn features(file: &File, config: &GruConfig, device: &Device) -> anyhow::Result<Batch<Sequences>> {
    let shape = file.tensor("input.x", None)?.shape.clone();
    let [size, length, width] = shape[..] else {
        bail!("{}: input.x has shape {shape:?}, expected [batch, steps, inputs]", file.name)
    };
    let x = file.tensor("input.x", Some(&[size, config.length, config.inputs.width()]))?;
    let values: Vec<f32> = x.values.iter().map(|v| *v as f32).collect();
    let input = Tensor::<3>::from_data(TensorData::new(values, [size, length, width]), device);
    Ok(Batch {
        size,
        input: input.into(),
        target: ids(file.ids("input.target", &[size], config.classes)?, [size], device),
    })
}

fn ids<const D: usize>(ids: Vec<i64>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(ids, shape), device)
}

/// The images or voxels of a file, of such channels and extents, and their classes.
pub fn images<const D: usize>(
    file: &File,
    image: &[usize],
    classes: usize,
    device: &Device,
) -> anyhow::Result<Batch<Tensor<D>>> {
    let [size, ..] = file.tensor("input.x", None)?.shape[..] else { bail!("{}: input.x has no batch", file.name) };
    let shape: Vec<usize> = std::iter::once(size).chain(image.iter().copied()).collect();
    let x = file.tensor("input.x", Some(&shape))?;
    let pixels: Vec<f32> = x.values.iter().map(|v| *v as f32).collect();
    let input = Tensor::from_data(TensorData::new(pixels, shape), device);
    Ok(Batch { size, input, target: ids(file.ids("input.target", &[size], classes)?, [size], device) })
}

/// The sequences of a file, and the classes of all positions.
pub fn sequences(file: &File, config: &TransformerConfig, device: &Device) -> anyhow::Result<Batch<Tensor<2, Int>>> {
    let [size, length] = shape(file, "input.x")?;
    let input = ids(file.ids("input.x", &[size, length], config.vocabulary)?, [size, length], device);
    let target = file.ids("input.target", &[size, length], config.classes)?;
    Ok(Batch { size, input, target: ids(target, [size * length], device) })
}

/// The sources and shifted targets of a file, and the targets.
pub fn pairs(file: &File, config: &EncoderDecoderConfig, device: &Device) -> anyhow::Result<Batch<SourceTarget>> {
    let [size, source] = shape(file, "input.source")?;
    let [_, length] = shape(file, "input.shifted_target")?;
    let [sources, targets] = config.vocabularies;
    let input = SourceTarget {
        source: ids(file.ids("input.source", &[size, source], sources)?, [size, source], device),
        target: ids(file.ids("input.shifted_target", &[size, length], targets)?, [size, length], device),
    };
    let target = file.ids("input.target", &[size, length], targets)?;
    Ok(Batch { size, input, target: ids(target, [size * length], device) })
}
