//! Translations, word by word.

use anyhow::Context;
use braidnet::checkpoint::{self, Checkpoint};
use braidnet::data::Vocabulary;
use braidnet::data::pairs::{BOS, EOS, Pair};
use braidnet::nn::transformer::SourceTarget;
use braidnet::prelude::*;
use braidnet::train::Decoding;

use crate::Options;
use crate::data::{Data, padded};
use crate::phase::{PairTrainer, Phase, trainer};

/// Translations that are printed.
const SHOWN: usize = 6;

/// Translates the test set, prints some of it, and says which part is right in every word; the same on every rank.
pub fn test_set(trainer: &mut PairTrainer, data: &Data, batch: usize) -> anyhow::Result<f64> {
    let (mesh, pairs) = (trainer.mesh().clone(), &data.test.pairs);
    let (data_rank, data_ranks) = (mesh.data_rank(), mesh.shape().data_ranks);
    let own: Vec<&Pair> = pairs.iter().skip(data_rank).step_by(data_ranks).collect();
    let mut right = [0];
    for (n, pairs) in own.chunks(batch).enumerate() {
        let found = translations(trainer, data, pairs)?;
        right[0] += pairs.iter().zip(&found).filter(|(pair, found)| words(pair) == **found).count() as u64;
        if n == 0 && mesh.world().rank() == 0 {
            show(data, pairs, &found);
        }
    }
    mesh.data().all_reduce(&mut right, ReduceOp::Sum)?;
    let part = right[0] as f64 / pairs.len() as f64;
    if mesh.world().rank() == 0 {
        println!("{:.2} % of {} test translations are right in every word", 100.0 * part, pairs.len());
    }
    Ok(part)
}

/// The target's words: no begin, no end.
fn words(pair: &Pair) -> &[u32] {
    &pair.target[1..pair.target.len() - 1]
}

fn show(data: &Data, pairs: &[&Pair], found: &[Vec<u32>]) {
    println!("translations of the test set, word by word, by the exact forward pass:");
    for (pair, found) in pairs.iter().zip(found).take(SHOWN) {
        let source = text(&data.source, &pair.source[..pair.source.len() - 1]);
        let expected = match words(pair) == *found {
            true => String::new(),
            false => format!("   (wrong: {})", text(&data.target, words(pair))),
        };
        println!("  {source} -> {}{expected}", text(&data.target, found));
    }
}

fn text(vocabulary: &Vocabulary, tokens: &[u32]) -> String {
    tokens.iter().map(|token| vocabulary.word(*token)).collect::<Vec<_>>().join(" ")
}

/// What the network makes of the sources of some pairs.
fn translations(trainer: &mut PairTrainer, data: &Data, pairs: &[&Pair]) -> anyhow::Result<Vec<Vec<u32>>> {
    let device = trainer.model().device();
    let source = padded(pairs.iter().map(|pair| &pair.source[..]), &device);
    let how = Decoding { begin: BOS, end: EOS, max_length: data.max_lengths()[1] };
    Ok(trainer.model_mut().decode(pairs.len(), how, |target| SourceTarget { source: source.clone(), target })?)
}

/// Translates the sentences of `--translate`.
pub fn given(options: &Options, mesh: &Mesh, data: &Data) -> anyhow::Result<()> {
    let schedule = options.schedule.schedule();
    let phase = Phase { name: "translation".to_owned(), schedule: &schedule, configuration: None, is_baseline: false };
    let mut trainer = trainer(options, &phase, mesh, data)?;
    if let Some(checkpoint) = checkpoint(options)? {
        trainer.load(&checkpoint)?;
    }
    let given = data.numbered(&options.translate)?;
    let found = translations(&mut trainer, data, &given.pairs.iter().collect::<Vec<_>>())?;
    if mesh.world().rank() == 0 {
        for (source, found) in options.translate.iter().zip(&found) {
            println!("{source} -> {}", text(&data.target, found));
        }
    }
    Ok(())
}

/// The checkpoint to translate with, if the options name one.
///
/// # Errors
/// If there is none, or it is not sound.
pub fn checkpoint(options: &Options) -> anyhow::Result<Option<Checkpoint>> {
    let folder = match options.training.resume.as_str() {
        "no" => return Ok(None),
        "auto" => options.training.out.clone().unwrap_or_default().join("checkpoints"),
        path => path.into(),
    };
    let missing = || format!("{} has no checkpoint: give one, or the folder of a run's checkpoints", folder.display());
    checkpoint::find(&folder)?.with_context(missing).map(Some)
}
