//! Text that the network writes.

use anyhow::ensure;
use braidnet::data::characters::Characters;
use braidnet::prelude::*;
use clap::Args;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::text::tokens;

/// How text is sampled.
#[derive(Debug, Clone, Args)]
pub struct SampleArgs {
    /// Characters to write with the trained network; 0: none.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub sample: usize,
    /// What the text begins with. [default: a line break, or the first character that the network knows]
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// 1: by the network's probabilities; below, likely characters come more often; 0: always the likeliest.
    #[arg(long, default_value_t = 0.8, allow_negative_numbers = true)]
    pub temperature: f64,
    /// Only one of so many likeliest characters. [default: any]
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Seed of the text.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub sample_seed: u64,
}

impl SampleArgs {
    /// That all numbers make sense.
    pub fn validate(&self) -> anyhow::Result<()> {
        let temperature = self.temperature;
        ensure!(temperature.is_finite() && temperature >= 0.0, "--temperature is {temperature}: use 0 or more");
        ensure!(self.top_k != Some(0), "--top-k is 0: use at least 1");
        ensure!(self.prompt.as_deref() != Some(""), "--prompt is empty: give at least one character");
        Ok(())
    }

    /// The codes of the prompt.
    pub fn prompt(&self, characters: &Characters) -> anyhow::Result<Vec<u32>> {
        match &self.prompt {
            Some(prompt) => Ok(characters.encode(prompt).map_err(|error| anyhow::anyhow!("--prompt: {error}"))?),
            None => Ok(characters.encode("\n").unwrap_or_else(|_| vec![0])),
        }
    }
}

/// Writes text with the exact forward pass; the whole text with its prompt. The ranks of one layer axis must all call it.
pub fn sample(
    model: &mut LayerParallel<Transformer>,
    characters: &Characters,
    length: usize,
    args: &SampleArgs,
) -> anyhow::Result<String> {
    let (comm, device) = (model.comm().clone(), model.device());
    let mut codes = args.prompt(characters)?;
    let mut rng = ChaCha8Rng::seed_from_u64(args.sample_seed);
    for _ in 0..args.sample {
        // Positions start at 0 in every window, as in training.
        let window = &codes[codes.len().saturating_sub(length)..];
        let input = model.is_first().then(|| tokens(window, [1, window.len()], &device));
        // One row per position; the last is about the character to come.
        let logits = model.evaluate_exact(1, input.as_ref())?.map(|output| {
            let rows: Vec<f32> = output.into_data().iter::<f32>().collect();
            rows[rows.len() - characters.len()..].to_vec()
        });
        let next = logits.map(|logits| choose(&logits, args, &mut rng)).transpose()?;
        codes.push(comm.broadcast(comm.size() - 1, next, &())?);
    }
    Ok(characters.decode(&codes))
}

/// A character, by the logits of all.
fn choose(logits: &[f32], args: &SampleArgs, rng: &mut ChaCha8Rng) -> anyhow::Result<u32> {
    ensure!(logits.iter().all(|logit| logit.is_finite()), "the output of the network is not finite: train it anew");
    let mut ranked: Vec<(u32, f64)> = (0..).zip(logits.iter().map(|logit| f64::from(*logit))).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(args.top_k.unwrap_or(usize::MAX));
    let (likeliest, best) = ranked[0];
    if args.temperature == 0.0 {
        return Ok(likeliest);
    }
    let weights: Vec<f64> = ranked.iter().map(|(_, logit)| ((logit - best) / args.temperature).exp()).collect();
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    let chosen = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    // Rounding may leave nothing behind the last.
    Ok(chosen.map_or(likeliest, |chosen| ranked[chosen].0))
}
