//! What people see on rank 0: a table at the start, a bar on a terminal or plain lines elsewhere.

use std::io::IsTerminal;

use braidnet_monitor::metrics::Epoch;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar on a terminal, a line every tenth of an epoch elsewhere; nothing on other ranks.
pub(super) enum Display {
    Bar(ProgressBar),
    Lines { shown: u64 },
    Hidden,
}

impl Display {
    pub fn new(shows: bool) -> Self {
        if !shows {
            return Self::Hidden;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines { shown: 0 };
        }
        let bar = ProgressBar::no_length();
        // The template is a literal; if it were wrong, the default style would do.
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} steps, {eta} left, {msg}") {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    /// Begins an epoch of `n_steps` steps, `done` of which are done.
    pub fn begin(&mut self, n_steps: u64, done: u64) {
        match self {
            Self::Bar(bar) => {
                bar.reset();
                bar.set_length(n_steps);
                bar.set_position(done);
            }
            Self::Lines { shown } => *shown = 10 * done / n_steps.max(1),
            Self::Hidden => {}
        }
    }

    /// Says that `done` of the epoch's `n_steps` steps are done.
    pub fn step(&mut self, epoch: u64, done: u64, n_steps: u64, step: u64, loss: f64) {
        match self {
            Self::Bar(bar) => {
                bar.set_message(format!("epoch {epoch}, loss {loss:.3}"));
                bar.set_position(done);
            }
            Self::Lines { shown } => {
                let tenth = 10 * done / n_steps.max(1);
                if tenth > *shown {
                    *shown = tenth;
                    println!("  epoch {epoch}: {done}/{n_steps} steps (step {step}), loss {loss:.3}");
                }
            }
            Self::Hidden => {}
        }
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        match self {
            // Above the bar, on stdout where output belongs.
            Self::Bar(bar) => bar.suspend(|| println!("{text}")),
            Self::Lines { .. } => println!("{text}"),
            Self::Hidden => {}
        }
    }

    /// The line of an epoch.
    pub fn epoch(&self, record: &Epoch) {
        let number = |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
        let percent = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{:.2} %", 100.0 * v));
        self.say(&format!(
            "epoch {}: loss {}, accuracy {}, test loss {}, test accuracy {} (as scheduled {}), {} ms per step, {} samples/s, \
             rho {}/{}, waiting {}",
            record.epoch,
            number(record.loss, 4),
            percent(record.accuracy),
            number(record.test_loss, 4),
            percent(record.test_accuracy),
            percent(record.test_accuracy_scheduled),
            number(record.milliseconds_per_step, 1),
            number(record.samples_per_second, 0),
            number(record.rho_forward, 3),
            number(record.rho_backward, 3),
            percent(record.waiting),
        ));
    }

    pub fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
