//! `index.html`: one page, with nothing outside it.

use std::fmt::Write;

use braidnet_monitor::metrics::{Epoch, Event, RanksAre, Run as Settings};

use super::picture::Picture;
use super::run::Run;

const STYLE: &str = "body{font-family:sans-serif;max-width:1040px;margin:2em auto;padding:0 1em;color:#222}\
    table{border-collapse:collapse}td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}\
    svg{max-width:100%;height:auto}pre{background:#f6f6f6;padding:.8em;overflow-x:auto}";

/// The last events shown.
const N_EVENTS: usize = 20;

/// A table's rows: name and value.
type Rows = Vec<(&'static str, String)>;

/// The page of a run.
pub fn render(run: &Run, pictures: &[Picture]) -> String {
    let name = escape(&run.name);
    let mut body = format!("<h1>{name}</h1>\n");
    if let Some(settings) = &run.settings {
        section(&mut body, "Run", &table(&settings_rows(settings)));
    }
    if let Some((step, epoch)) = run.epochs.last() {
        section(&mut body, "Last epoch", &table(&epoch_rows(*step, epoch)));
    }
    for svg in pictures.iter().filter_map(|picture| picture.svg.as_ref()) {
        let _ = writeln!(body, "<p>{svg}</p>");
    }
    if let Some(trace) = run.trace.as_ref().filter(|trace| trace.n_dropped > 0) {
        let _ = writeln!(body, "<p>The timeline is cut short: {} spans found no room.</p>", trace.n_dropped);
    }
    if !run.events.is_empty() {
        section(&mut body, "Events", &events_table(&run.events));
    }
    if let Some(settings) = run.settings.as_ref().filter(|settings| !settings.config.is_null()) {
        section(&mut body, "Configuration", &format!("<pre>{}</pre>", escape(&format!("{:#}", settings.config))));
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}</title>\
         <style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n"
    )
}

fn section(body: &mut String, title: &str, content: &str) {
    let _ = writeln!(body, "<h2>{title}</h2>\n{content}");
}

fn table(rows: &Rows) -> String {
    let row = |(name, value): &(&str, String)| format!("<tr><th>{name}</th><td>{}</td></tr>\n", escape(value));
    format!("<table>\n{}</table>", rows.iter().map(row).collect::<String>())
}

fn settings_rows(run: &Settings) -> Rows {
    let carrier = match run.ranks_are {
        RanksAre::Threads => "threads",
        RanksAre::Mpi => "MPI processes",
    };
    vec![
        ("layers", run.layers.to_string()),
        ("parameters", run.parameters.to_string()),
        ("ranks", format!("{} layer ranks, {} data ranks, {carrier}", run.layer_ranks, run.data_ranks)),
        ("schedule", run.schedule.clone()),
        ("optimizer", run.optimizer.clone()),
        ("batch", format!("{} samples, {} micro-batches", run.batch, run.micro_batches)),
        ("seed", run.seed.to_string()),
        ("resumed from", run.resumed_from.map_or("-".into(), |step| format!("step {step}"))),
        ("version", run.version.clone()),
    ]
}

fn epoch_rows(step: u64, epoch: &Epoch) -> Rows {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    let percent = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{:.2} %", 100.0 * value));
    vec![
        ("epoch (from 0)", format!("{}, ended with step {step}", epoch.epoch)),
        ("loss", number(epoch.loss)),
        ("accuracy", percent(epoch.accuracy)),
        ("test loss", number(epoch.test_loss)),
        ("test accuracy, exact", percent(epoch.test_accuracy)),
        ("test accuracy, as scheduled", percent(epoch.test_accuracy_scheduled)),
        ("milliseconds per step, median", number(epoch.milliseconds_per_step)),
        ("samples per second", number(epoch.samples_per_second)),
        ("rho, forward", number(epoch.rho_forward)),
        ("rho, backward", number(epoch.rho_backward)),
        ("waiting for messages", percent(epoch.waiting)),
        ("seconds", number(Some(epoch.seconds).filter(|seconds| seconds.is_finite()))),
    ]
}

fn events_table(events: &[Event]) -> String {
    let row = |event: &Event| {
        format!("<tr><td>{}</td><td>{}</td><td>{}</td></tr>\n", event.step, escape(&event.what), escape(&event.detail))
    };
    let rows: String = events[events.len().saturating_sub(N_EVENTS)..].iter().map(row).collect();
    format!("<table>\n<tr><th>step</th><th>what</th><th>detail</th></tr>\n{rows}</table>")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
