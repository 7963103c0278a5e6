//! `cargo xtask report DIR...`: the curves of training runs as pictures, and a page of each.
//!
//! | file | what |
//! |---|---|
//! | `run.rs` | what a run left: its metrics and its timeline |
//! | `curve.rs` | a curve: points with gaps, made few enough to draw |
//! | `plot.rs` | a chart of curves |
//! | `charts.rs` | which curves go into which chart |
//! | `schedule.rs` | one step of the timeline: who did what when |
//! | `gantt.rs` | its chart: a row per rank, coloured by phase |
//! | `legend.rs` | the names of colours, above a chart |
//! | `picture.rs` | a drawing as SVG and PNG |
//! | `page.rs` | `index.html` |

mod charts;
pub mod curve;
mod gantt;
pub mod legend;
mod page;
pub mod picture;
pub mod plot;
mod run;
mod schedule;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use picture::Picture;
use run::Run;

/// Draw the metrics and the timeline of training runs.
///
/// Writes to DIR/report: loss, accuracy, rho and step-time from DIR/metrics.jsonl, schedule from DIR/trace.json, each as
/// SVG and PNG, and a page, index.html, with all of them. Of several runs the first one's page also compares the losses.
#[derive(Debug, Args)]
pub struct Options {
    /// Folders of training runs.
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
}

/// Runs the task.
pub fn run(options: &Options) -> ExitCode {
    match write(&options.dirs) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn write(dirs: &[PathBuf]) -> Result<()> {
    // All are read before anything is drawn: a wrong folder is told at once.
    let runs = dirs.iter().map(|dir| Run::read(dir)).collect::<Result<Vec<_>>>()?;
    for (index, (run, dir)) in runs.iter().zip(dirs).enumerate() {
        let mut pictures = Vec::new();
        if index == 0 && runs.len() > 1 {
            pictures.push(charts::comparison(&runs)?);
        }
        pictures.extend(charts::of_run(run)?);
        pictures.push(gantt::draw(run)?);
        write_run(&dir.join("report"), run, &pictures)?;
    }
    Ok(())
}

fn write_run(folder: &Path, run: &Run, pictures: &[Picture]) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    for picture in pictures {
        if !picture.write(folder)? {
            println!("{}: no data for {}, not drawn", run.name, picture.name);
        }
    }
    let page = folder.join("index.html");
    std::fs::write(&page, page::render(run, pictures)).with_context(|| format!("cannot write {}", page.display()))?;
    println!("{}", page.display());
    Ok(())
}

#[cfg(test)]
mod tests;
