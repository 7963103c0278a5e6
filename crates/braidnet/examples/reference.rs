//! Compares networks with PyTorch: loss, output and every gradient, for every schedule and rank count.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use braidnet::comm::mpi_world_size;
use braidnet::prelude::*;
use clap::Parser;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

/// Largest relative error of the loss.
const LOSS_TOLERANCE: f64 = 1e-5;
/// Largest relative error of the output and of any gradient.
const GRADIENT_TOLERANCE: f64 = 1e-4;
/// Exit code where a file's family is not built yet and nothing else is wrong.
const NOT_BUILT: u8 = 2;

/// Builds the network that each file's metadata describes, loads its parameters and compares loss, output and gradients.
#[derive(Debug, Parser)]
struct Options {
    /// safetensors files written by PyTorch.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Rank counts, one after the other; under mpirun at most the ranks started, and all of them by default.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    ranks: Vec<usize>,
}

/// What a file's metadata says; families have different entries.
#[derive(Debug, Deserialize)]
struct Case {
    family: String,
    layers: Option<usize>,
    channels: Option<usize>,
    final_time: Option<f64>,
    image: Option<[usize; 3]>,
    classes: Option<usize>,
    hidden: Option<usize>,
    open: Option<String>,
    rhs: Option<String>,
}

/// A tensor of a file.
#[derive(Debug, Clone)]
struct Values {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// A file's tensors by name.
#[derive(Debug)]
struct File {
    name: String,
    case: Case,
    tensors: HashMap<String, Values>,
}

/// Errors of one schedule.
struct Outcome {
    loss: f64,
    output: f64,
    gradient: f64,
    worst: String,
    iterations: [usize; 2],
}

impl Outcome {
    /// A comparison that a NaN does not pass.
    fn passes(&self) -> bool {
        self.loss <= LOSS_TOLERANCE && self.output <= GRADIENT_TOLERANCE && self.gradient <= GRADIENT_TOLERANCE
    }
}

fn main() -> ExitCode {
    compare_all().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn compare_all() -> anyhow::Result<ExitCode> {
    let mut options = Options::parse();
    if let Some(size) = mpi_world_size() {
        let given = std::env::args().any(|a| a.starts_with("--ranks"));
        options.ranks = if given { options.ranks } else { vec![size] };
    }
    let files = options.files.iter().map(|path| File::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let (built, not_built): (Vec<File>, Vec<File>) = files.into_iter().partition(|f| f.case.family == "odenet2d");
    for File { name, case, .. } in &not_built {
        eprintln!("{name}: the family {:?} is not built yet (odenet2d is)", case.family);
    }
    for file in &built {
        file.config()?;
    }
    let most = options.ranks.iter().copied().max().unwrap_or(1);
    ensure!(!options.ranks.contains(&0), "0 ranks: every rank count must be at least 1");
    let failures = launch(&Launch::ranks(mpi_world_size().or(Some(most))), |world| {
        run(&world, &built, &options).map_err(|error| format!("{error:#}"))
    })?;
    Ok(match (failures.into_iter().max().unwrap_or(0), not_built.is_empty()) {
        (1.., _) => ExitCode::FAILURE,
        (0, false) => ExitCode::from(NOT_BUILT),
        (0, true) => ExitCode::SUCCESS,
    })
}

/// Schedules to compare, with their names.
fn schedules() -> Vec<(String, Schedule)> {
    let mut all = vec![("sequential".to_owned(), Schedule::sequential())];
    for (levels, cfactor) in [(2, 2), (2, 4), (3, 2), (3, 4)] {
        let solve = SolveConfig {
            max_levels: levels,
            max_iters: 100,
            min_coarse: 1,
            relaxation: Relaxation::Fcf(1),
            tolerance: Some(Tolerance::Stagnation(0.5)),
            ..SolveConfig::new(cfactor)
        };
        all.push((format!("layer-parallel {levels} levels cfactor {cfactor}"), Schedule::layer_parallel(solve)));
    }
    all
}

/// Returns the number of failures, the same on all ranks that took part.
fn run(world: &Communicator, files: &[File], options: &Options) -> anyhow::Result<usize> {
    let mut failures = 0;
    for file in files {
        for &n in &options.ranks {
            let Some(comm) = world.first_ranks(n)? else { continue };
            for (name, schedule) in schedules() {
                let Some(outcome) = compare(file, &schedule, &comm)? else { continue };
                let Outcome { loss, output, gradient, worst, iterations: [forward, backward] } = &outcome;
                let verdict = if outcome.passes() { "ok" } else { "FAILS" };
                failures += usize::from(!outcome.passes());
                println!(
                    "{:<16} {n} {:<5} {name:<36} {forward:>3}/{backward:<3} iterations  loss {loss:8.1e}  \
                     output {output:8.1e}  worst gradient {gradient:8.1e} ({worst})  {verdict}",
                    file.name,
                    if n == 1 { "rank" } else { "ranks" },
                );
            }
        }
    }
    let total = world.all_gather(failures, &())?.into_iter().sum();
    if world.rank() == 0 && !files.is_empty() {
        println!("{} files, {total} comparisons fail", files.len());
    }
    Ok(total)
}

/// The errors of one schedule on the ranks of `comm`; on its last rank, `None` elsewhere.
fn compare(file: &File, schedule: &Schedule, comm: &Communicator) -> anyhow::Result<Option<Outcome>> {
    let config = file.config()?;
    let partition = Partition::even(config.layers, comm.size())?;
    let network = config.init(partition.layers(comm.rank()), 1, 0, &Device::flex())?;
    let network = network.load(|name| {
        let values = file.tensors.get(&format!("param.{}", torch_name(name)))?;
        Some((values.shape.clone(), values.values.iter().map(|v| *v as f32).collect()))
    });
    let network = network.with_context(|| file.name.clone())?;
    let mut model = LayerParallel::new(network, &config.grid()?, &partition, schedule, comm)?;

    let (batch, input, target) = file.batch(&config)?;
    let loss = model.forward(batch, Some(&input))?.loss(|logits| cross_entropy(logits, target))?;
    let output: Option<Vec<f64>> = loss.output().map(|o| o.to_data().iter::<f64>().collect());
    let backward = loss.backward()?;
    let (error, name) = worst_gradient(file, model.network(), &backward)?;
    let last = comm.size() - 1;
    let errors = comm.gather(last, error, &())?;
    let names = comm.gather(last, name, &())?;
    let (Some(errors), Some(names), Some(output), Some(loss)) = (errors, names, output, backward.loss) else {
        return Ok(None);
    };
    let all = errors.into_iter().zip(names);
    let worst = all.reduce(|a, b| if is_worse(b.0, a.0) { b } else { a });
    let (gradient, worst) = worst.unwrap_or((f64::NAN, String::new()));
    Ok(Some(Outcome {
        loss: relative_error(&[loss], &file.tensor("expect.loss", None)?.values),
        output: relative_error(&output, &file.tensor("expect.output", None)?.values),
        gradient,
        worst,
        iterations: [backward.forward.iterations, backward.backward.iterations],
    }))
}

/// Largest relative error of this rank's gradients, and whose it is; every parameter must have a gradient.
fn worst_gradient(file: &File, network: &OdeNet2d, backward: &Backward) -> anyhow::Result<(f64, String)> {
    let mut parameters = Vec::new();
    network.visit_parameters(|p| parameters.push(p));
    let mut worst = (0.0, "none".to_owned());
    for parameter in parameters {
        let name = torch_name(&parameter.name);
        let gradient = backward.gradients.iter().find(|g| g.id == parameter.id);
        let gradient = gradient.with_context(|| format!("{}: no gradient of {name} was formed", file.name))?;
        let expected = file.tensor(&format!("grad.{name}"), Some(&parameter.shape))?;
        let values = parameter.to_torch_layout(gradient.values.clone());
        let values: Vec<f64> = values.to_data().iter::<f64>().collect();
        let error = relative_error(&values, &expected.values);
        if is_worse(error, worst.0) {
            worst = (error, name);
        }
    }
    Ok(worst)
}

/// Whether `error` is larger than `than`; a NaN is the worst of all.
fn is_worse(error: f64, than: f64) -> bool {
    error.is_nan() || error > than
}

/// PyTorch numbers layers without leading zeros.
fn torch_name(name: &str) -> String {
    match name.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) {
        Some((layer, rest)) => format!("layers.{}.{rest}", layer.parse().unwrap_or(0)),
        None => name.to_owned(),
    }
}

/// `||a - b|| / ||b||`, or `||a||` where `b` is zero; infinite for different lengths.
fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| a - b));
    let size = norm(&mut b.iter().copied());
    if size == 0.0 { difference } else { difference / size }
}

impl File {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let whole = || format!("{} is not a whole safetensors file", path.display());
        let (_, header) = SafeTensors::read_metadata(&bytes).with_context(whole)?;
        let case = header.metadata().as_ref().and_then(|m| m.get("case"));
        let case = case.with_context(|| format!("{} has no metadata entry `case`", path.display()))?;
        let case = serde_json::from_str(case)
            .with_context(|| format!("the metadata entry `case` of {} is not as expected", path.display()))?;
        let mut tensors = HashMap::new();
        for (key, view) in SafeTensors::deserialize(&bytes).with_context(whole)?.iter() {
            let values = numbers(view.dtype(), view.data())
                .with_context(|| format!("tensor {key} of {} has type {:?}", path.display(), view.dtype()))?;
            tensors.insert(key.to_owned(), Values { shape: view.shape().to_vec(), values });
        }
        Ok(Self { name, case, tensors })
    }

    /// A tensor, of the given shape if there is one.
    fn tensor(&self, key: &str, shape: Option<&[usize]>) -> anyhow::Result<&Values> {
        let values = self.tensors.get(key).with_context(|| format!("{}: tensor {key} is missing", self.name))?;
        if let Some(shape) = shape {
            ensure!(values.shape == shape, "{}: {key} has shape {:?}, expected {shape:?}", self.name, values.shape);
        }
        Ok(values)
    }

    /// Number of samples, inputs and targets.
    fn batch(&self, config: &OdeNet2dConfig) -> anyhow::Result<(usize, Tensor<4>, Tensor<1, Int>)> {
        let [batch, ..] = self.tensor("input.x", None)?.shape[..] else { bail!("{}: input.x has no batch", self.name) };
        let [c, h, w] = config.image;
        let x = self.tensor("input.x", Some(&[batch, c, h, w]))?;
        let pixels: Vec<f32> = x.values.iter().map(|v| *v as f32).collect();
        let labels = self.tensor("input.target", Some(&[batch]))?;
        let labels: Vec<i64> = labels.values.iter().map(|v| *v as i64).collect();
        if let Some(label) = labels.iter().find(|l| !(0..config.classes as i64).contains(*l)) {
            bail!("{}: input.target has class {label}, but there are {} classes", self.name, config.classes);
        }
        let device = Device::flex();
        let input = Tensor::from_data(TensorData::new(pixels, [batch, c, h, w]), &device);
        Ok((batch, input, Tensor::from_data(TensorData::new(labels, [batch]), &device)))
    }

    /// The network that the metadata describes.
    fn config(&self) -> anyhow::Result<OdeNet2dConfig> {
        let case = &self.case;
        let missing = |what: &str| format!("{}: the metadata says nothing of {what}", self.name);
        let rhs = case.rhs.as_deref().with_context(|| missing("rhs"))?;
        let opening = match case.open.as_deref().with_context(|| missing("open"))? {
            open if open.contains("repeat") => OpeningKind::Repeat,
            open if open.contains("conv") => OpeningKind::Conv,
            open => bail!("{}: the opening layer {open:?} is not known: a convolution and repetition are", self.name),
        };
        let config = OdeNet2dConfig {
            image: case.image.with_context(|| missing("image"))?,
            classes: case.classes.with_context(|| missing("classes"))?,
            hidden: case.hidden.with_context(|| missing("hidden"))?,
            final_time: case.final_time.with_context(|| missing("final_time"))?,
            convs: if rhs.contains("conv2") { 2 } else { 1 },
            opening,
            depth_init: DepthInit::Independent,
            ..OdeNet2dConfig::new(
                case.layers.with_context(|| missing("layers"))?,
                case.channels.with_context(|| missing("channels"))?,
            )
        };
        config.validate().with_context(|| self.name.clone())?;
        Ok(config)
    }
}

fn numbers(dtype: Dtype, data: &[u8]) -> anyhow::Result<Vec<f64>> {
    Ok(match dtype {
        Dtype::F64 => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        Dtype::F32 => data.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        Dtype::I64 => data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
        Dtype::I32 => data.as_chunks().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect(),
        Dtype::BOOL | Dtype::U8 => data.iter().map(|b| f64::from(*b)).collect(),
        _ => bail!("F64, F32, I64, I32, U8 and BOOL can be read"),
    })
}
