//! Reports of runs of every size, from files as a run writes them.

use std::fs;
use std::path::Path;

use braidnet_monitor::metrics::{Epoch, Event, MetricsWriter, Probe, RanksAre, Record, Run as Settings, SCHEMA, Step};
use resvg::tiny_skia::Pixmap;
use serde_json::json;
use tempfile::TempDir;

use super::picture::Picture;
use super::run::Run;
use super::{charts, write};

/// A run that looks like one: noisy, falling loss; every 1000th loss missing.
fn write_metrics(dir: &Path, n_steps: u64) {
    let mut writer = MetricsWriter::create(dir.join("metrics.jsonl")).unwrap();
    let settings = Settings {
        schema: SCHEMA,
        version: "0.1.0".into(),
        started: 1_700_000_000,
        layers: 64,
        layer_ranks: 4,
        data_ranks: 2,
        batch: 100,
        micro_batches: 1,
        schedule: "3 levels, cfactor 4, fwd 2, bwd 1".into(),
        optimizer: "sgd <momentum 0.9>".into(),
        seed: 1,
        parameters: 123_456,
        resumed_from: None,
        ranks_are: RanksAre::Threads,
        device_path: None,
        config: json!({ "channels": 8, "dt": 0.1 }),
    };
    writer.write(&Record::Run(settings)).unwrap();
    for n in 1..=n_steps {
        let share = n as f64 / n_steps as f64;
        // A cheap noise between -1 and 1.
        let noise = ((n * 7919) % 200) as f64 / 100.0 - 1.0;
        let loss = (2.3 * (-3.0 * share).exp() + 0.1) * (1.0 + 0.2 * noise);
        let step = Step {
            step: n,
            epoch: 5 * (n - 1) / n_steps,
            samples: 100,
            loss: Some(if n % 1000 == 500 { f64::NAN } else { loss }),
            accuracy: Some((0.1 + 0.85 * share + 0.04 * noise).clamp(0.0, 1.0)),
            learning_rate: 0.1,
            milliseconds: if n == 1 { 400.0 } else { 21.0 + 2.0 * noise },
            rho_forward: Some(0.1 + 0.1 * share + 0.01 * noise),
            rho_backward: Some(0.2 + 0.2 * share + 0.01 * noise),
            waiting: Some(0.3 + 0.05 * noise),
            ..Step::default()
        };
        writer.write(&Record::Step(step)).unwrap();
        if n % n_steps.div_ceil(20) == 0 {
            let probe = Probe {
                step: n,
                gradient_error: Some(0.05 + 0.1 * share),
                gradient_cosine: Some(0.99),
                ..Probe::default()
            };
            writer.write(&Record::Probe(probe)).unwrap();
        }
        if n % n_steps.div_ceil(5) == 0 || n == n_steps {
            let epoch = Epoch {
                epoch: 5 * (n - 1) / n_steps,
                loss: Some(loss),
                accuracy: Some(0.1 + 0.85 * share),
                test_loss: Some(loss * 1.1),
                test_accuracy: Some(0.1 + 0.8 * share),
                test_accuracy_scheduled: Some(0.1 + 0.78 * share),
                ..Epoch::default()
            };
            writer.write(&Record::Epoch(epoch)).unwrap();
        }
    }
    let signal = Event { step: n_steps, what: "signal".into(), detail: "SIGTERM, <saved>".into() };
    writer.write(&Record::Event(signal)).unwrap();
}

/// Three steps on `n_ranks`, with a helper on rank 0.
fn write_trace(dir: &Path, n_ranks: usize) {
    let mut events = Vec::new();
    let mut span = |name: &str, rank: usize, thread: usize, start: usize, duration: usize, args: serde_json::Value| {
        let (ts, dur) = (start as f64, duration as f64);
        events.push(json!({ "name": name, "ph": "X", "pid": rank, "tid": thread, "ts": ts, "dur": dur, "args": args }));
    };
    for step in 0..3 {
        let base = step * 30_000;
        for rank in 0..n_ranks {
            let at = |time: usize| base + time;
            span("step", rank, 0, at(0), 25_000 + 1000 * step, json!({ "step": step + 1 }));
            span("forward", rank, 0, at(200), 10_800, json!({}));
            span("relax", rank, 0, at(300), 4000, json!({ "level": 0 }));
            span("wait", rank, 0, at(4400), 500 + 900 * rank % 4000, json!({ "from": rank }));
            span("coarse solve", rank, 0, at(9000), 1500, json!({}));
            span("backward", rank, 0, at(11_000), 11_000, json!({}));
            for layer in 0..8 {
                span("linearize", rank, 0, at(11_200 + 600 * layer), 550, json!({ "layer": layer }));
            }
            span("pullback", rank, 0, at(16_100), 3000, json!({}));
            span("gradients", rank, 0, at(19_200), 2500, json!({}));
            span("all-reduce", rank, 0, at(22_100), 1000, json!({}));
            span("optimizer", rank, 0, at(23_200), 1200, json!({}));
        }
        span("load", 0, 9, base + 3000, 6000, json!({}));
    }
    events.push(json!({ "name": "thread_name", "ph": "M", "pid": 0, "tid": 9, "args": { "name": "loader" } }));
    fs::write(dir.join("trace.json"), json!({ "traceEvents": events }).to_string()).unwrap();
}

fn new_dir() -> TempDir {
    tempfile::Builder::new().prefix("run-").tempdir().unwrap()
}

/// The dark pixels of a picture: axes, text, curves.
fn n_dark(dir: &Path, name: &str) -> usize {
    let image = Pixmap::load_png(dir.join("report").join(name)).unwrap();
    image.pixels().iter().filter(|pixel| pixel.red() < 128).count()
}

#[test]
fn a_run_becomes_pictures_and_a_page() {
    let dir = new_dir();
    write_metrics(dir.path(), 300);
    write_trace(dir.path(), 4);
    write(&[dir.path().to_owned()]).unwrap();
    for name in ["loss", "accuracy", "rho", "step-time", "schedule"] {
        assert!(n_dark(dir.path(), &format!("{name}.png")) > 2000, "{name}");
        assert!(fs::read_to_string(dir.path().join(format!("report/{name}.svg"))).unwrap().starts_with("<svg"));
    }
    let page = fs::read_to_string(dir.path().join("report/index.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 5);
    for text in ["sgd &lt;momentum 0.9&gt;", "90.00 %", "SIGTERM, &lt;saved&gt;", "step 2", "rank 3", "rank 0, loader"]
    {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn runs_of_any_length_are_drawn() {
    for n_steps in [1, 2, 5, 100_000] {
        let dir = new_dir();
        write_metrics(dir.path(), n_steps);
        let pictures = charts::of_run(&Run::read(dir.path()).unwrap()).unwrap();
        assert_eq!(pictures.len(), 4);
        for Picture { name, svg } in pictures {
            let svg = svg.unwrap();
            assert!(svg.len() < 200_000, "{name} of {n_steps} steps takes {} bytes", svg.len());
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name} of {n_steps} steps");
            // The colour of the first curve: in the legend, and in the chart.
            assert!(svg.matches("#1F77B4").count() >= 2, "{name} of {n_steps} steps");
        }
    }
}

#[test]
fn losses_of_several_runs_are_compared() {
    let dirs = [new_dir(), new_dir()];
    write_metrics(dirs[0].path(), 50);
    write_metrics(dirs[1].path(), 80);
    let runs = dirs.each_ref().map(|dir| Run::read(dir.path()).unwrap());
    let svg = charts::comparison(&runs).unwrap().svg.unwrap();
    for (dir, color) in dirs.iter().zip(["#1F77B4", "#E66B00"]) {
        assert!(svg.contains(dir.path().file_name().unwrap().to_str().unwrap()));
        assert!(svg.matches(color).count() >= 2, "in the legend, and in the chart");
    }
}

#[test]
fn what_is_missing_is_not_drawn() {
    let dir = new_dir();
    write_trace(dir.path(), 2);
    // What an earlier report left, when there were metrics.
    fs::create_dir(dir.path().join("report")).unwrap();
    fs::write(dir.path().join("report/loss.svg"), "old").unwrap();
    write(&[dir.path().to_owned()]).unwrap();
    let there = |name: &str| dir.path().join("report").join(name).exists();
    assert!(there("schedule.png") && !there("loss.png") && !there("loss.svg"));

    fs::remove_file(dir.path().join("trace.json")).unwrap();
    let message = format!("{:#}", write(&[dir.path().to_owned()]).unwrap_err());
    assert!(message.ends_with("neither metrics.jsonl nor trace.json is there; name the folder of a training run"));
}

#[test]
fn losses_that_are_never_finite_leave_a_page() {
    let dir = new_dir();
    let mut writer = MetricsWriter::create(dir.path().join("metrics.jsonl")).unwrap();
    writer.write(&Record::Step(Step { step: 1, loss: Some(f64::NAN), milliseconds: 5.0, ..Step::default() })).unwrap();
    write(&[dir.path().to_owned()]).unwrap();
    let there = |name: &str| dir.path().join("report").join(name).exists();
    assert!(there("index.html") && there("step-time.png") && !there("loss.png"));
}
