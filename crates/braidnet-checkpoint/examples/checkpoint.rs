//! Looks into a checkpoint, checks it, or writes its parameters to one file.
//!
//! ```sh
//! cargo run --release -p braidnet-checkpoint --example checkpoint -- inspect runs/mnist
//! ```

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use braidnet_checkpoint::{Checkpoint, PartEntry, export, find};
use clap::{Parser, Subcommand};

/// Looks into a checkpoint, checks it, or writes its parameters to one file.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Prints what is in it, and whether all hashes hold.
    Inspect {
        /// A checkpoint, or a folder of them.
        path: PathBuf,
    },
    /// Writes all parameters to one safetensors file.
    Export {
        /// A checkpoint, or a folder of them.
        path: PathBuf,
        /// The file to write.
        file: PathBuf,
    },
    /// Checks every file, and says what is wrong.
    Verify {
        /// A checkpoint, or a folder of them.
        path: PathBuf,
    },
}

fn main() -> ExitCode {
    match perform(Options::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Inspect { path } => inspect(&open(&path)?),
        Task::Export { path, file } => {
            let checkpoint = open(&path)?;
            export(&checkpoint, &file)?;
            println!("wrote the parameters of {} to {}", checkpoint.folder().display(), file.display());
            Ok(())
        }
        Task::Verify { path } => {
            let checkpoint = open(&path)?;
            checkpoint.verify()?;
            println!("{} is complete", checkpoint.folder().display());
            Ok(())
        }
    }
}

fn open(path: &PathBuf) -> anyhow::Result<Checkpoint> {
    find(path)?.with_context(|| format!("no checkpoint in {}: name one, or a folder of them", path.display()))
}

fn inspect(checkpoint: &Checkpoint) -> anyhow::Result<()> {
    let (index, run) = (checkpoint.index(), checkpoint.run());
    println!("checkpoint   {}", checkpoint.folder().display());
    println!("made by      braidnet {}, format {}", index.version, index.format);
    println!("step         {}", run.step);
    println!("epoch        {}, {} samples of it", run.epoch, run.position);
    println!("seed         {}", run.seed);
    println!("schedule     {}", run.schedule);
    println!("network      {}", run.network);
    println!("layers       {}", run.n_layers);
    println!("bytes        {} in {} files", index.n_bytes(), index.files().count());
    println!("\n{:<14}{:>9}{:>14}{:>14}{:>9}", "part", "tensors", "parameters", "moments", "scalars");
    for part in &index.parts {
        println!("{}", row(part));
    }
    let verified = checkpoint.verify();
    println!("\nhashes       {}", if verified.is_ok() { "all hold" } else { "do not hold" });
    Ok(verified?)
}

/// A line of the table: tensors in all, bytes by file.
fn row(part: &PartEntry) -> String {
    let tensors: usize = part.files().map(|file| file.tensors.len()).sum();
    let moments = part.moments.as_ref().map_or(0, |file| file.size);
    let (name, scalars) = (part.name.to_string(), part.scalars.len());
    format!("{name:<14}{tensors:>9}{:>14}{moments:>14}{scalars:>9}", part.parameters.size)
}
