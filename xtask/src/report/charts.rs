//! Which curves go into which chart.

use anyhow::Result;
use braidnet_monitor::metrics::{Epoch, Step};

use super::curve::{Curve, Style};
use super::picture::Picture;
use super::plot::{Axis, Plot};
use super::run::Run;

/// The charts of one run: loss, accuracy, rho, step-time.
pub fn of_run(run: &Run) -> Result<Vec<Picture>> {
    [loss(run), accuracy(run), rho(run), step_time(run)].into_iter().map(Plot::draw).collect()
}

/// The losses of several runs.
pub fn comparison(runs: &[Run]) -> Result<Picture> {
    let curves =
        runs.iter().enumerate().map(|(index, run)| steps(run, &run.name, index, Style::Line, |step| step.loss));
    let title = format!("Loss of {} runs, mean over each batch", runs.len());
    Plot::over_steps("comparison", title, "loss", Axis::Fit, curves.collect()).draw()
}

fn loss(run: &Run) -> Plot {
    let curves = vec![
        steps(run, "training, each batch", 0, Style::Line, |step| step.loss),
        epochs(run, "test", 1, |epoch| epoch.test_loss),
    ];
    Plot::over_steps("loss", format!("Loss: {}", run.name), "loss", Axis::Fit, curves)
}

fn accuracy(run: &Run) -> Plot {
    let percent = |value: Option<f64>| value.map(|value| 100.0 * value);
    let curves = vec![
        steps(run, "training, each batch", 0, Style::Faint, |step| percent(step.accuracy)),
        epochs(run, "training, each epoch", 0, |epoch| percent(epoch.accuracy)),
        epochs(run, "test, exact", 1, |epoch| percent(epoch.test_accuracy)),
        epochs(run, "test, as scheduled", 2, |epoch| percent(epoch.test_accuracy_scheduled)),
    ];
    let title = format!("Accuracy: {}", run.name);
    Plot::over_steps("accuracy", title, "accuracy in %", Axis::Fit, curves)
}

fn rho(run: &Run) -> Plot {
    let errors = run.probes.iter().map(|probe| (probe.step, probe.gradient_error));
    let curves = vec![
        steps(run, "rho, forward", 0, Style::Line, |step| step.rho_forward).sparse(),
        steps(run, "rho, backward", 1, Style::Line, |step| step.rho_backward).sparse(),
        Curve::new("relative error of the gradient", 2, Style::Dotted, errors).sparse(),
    ];
    let title = format!("Convergence factor: {}", run.name);
    Plot::over_steps("rho", title, "rho", Axis::Fit, curves)
}

fn step_time(run: &Run) -> Plot {
    let mut times: Vec<f64> = run.steps.iter().map(|step| step.milliseconds).filter(|time| time.is_finite()).collect();
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or(0.0);
    // A first step that warms up would press all others to the floor.
    let limit = 2.5 * median;
    let n_above = times.iter().filter(|&&time| time > limit).count();
    let axis = if n_above > 0 && median > 0.0 { Axis::Within(limit) } else { Axis::FromZero };
    let above = if n_above > 0 { format!("; {n_above} above the axis") } else { String::new() };
    let curves = vec![
        steps(run, "step", 0, Style::Line, |step| Some(step.milliseconds)),
        steps(run, "of it waiting for messages, mean over ranks", 1, Style::Line, |step| {
            step.waiting.map(|share| share * step.milliseconds)
        }),
    ];
    let digits = if median < 10.0 { 3 } else { 1 };
    let title = format!("Time of a step: {} (median {median:.digits$} ms{above})", run.name);
    Plot::over_steps("step-time", title, "milliseconds", axis, curves)
}

fn steps(run: &Run, label: &str, color: usize, style: Style, value: impl Fn(&Step) -> Option<f64>) -> Curve {
    Curve::new(label, color, style, run.steps.iter().map(|step| (step.step, value(step))))
}

fn epochs(run: &Run, label: &str, color: usize, value: impl Fn(&Epoch) -> Option<f64>) -> Curve {
    Curve::new(label, color, Style::Dotted, run.epochs.iter().map(|(step, epoch)| (*step, value(epoch)))).sparse()
}
