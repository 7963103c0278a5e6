//! Everything that a suite runs, in turns.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use braidnet_monitor::{Framework, Measurement};

use super::launcher::Launcher;
use super::machine::{self, Machine};
use super::peers::Peers;
use super::programs::{Collector, Programs};
use super::results::{self, Key, Results};
use super::suite::Suite;
use super::{BUILT_BY, Bench, points};

impl Bench {
    /// The programs, built or found.
    pub(super) fn programs(&self) -> Result<Programs> {
        match &self.built {
            Some(folder) => Programs::find(folder),
            None => {
                let device = self.device.feature().into_iter();
                let features: Vec<&str> = device.chain(self.features.iter().map(String::as_str)).collect();
                Programs::build(self.workspace, &features)
            }
        }
    }

    /// Builds and runs everything; the results, and how many starts failed where others go on.
    pub(super) fn measure(&self) -> Result<(Results, usize)> {
        let torch = machine::torch(&self.python);
        let programs = self.programs()?;
        let has_torch = torch.is_some();
        let machine = self.machine(torch)?;
        let mut collector = Collector::new(Some(self.out.join(self.suite.name()).with_extension("jsonl")))?;
        let mut notes = Vec::new();
        let mut n_failed = 0;
        for repeat in 0..self.repeats {
            println!("\nturn {} of {}", repeat + 1, self.repeats);
            let (cases, failed) = self.run_networks(&programs, repeat == 0, &mut collector)?;
            n_failed += failed.len();
            notes.extend(failed);
            if self.suite.has_peers() && has_torch {
                notes.extend(self.run_peers(&programs, &cases, &mut collector)?);
            }
            if self.suite == Suite::Peers {
                collector.run(Command::new(&programs.layer).args(["--device", &self.device.to_string()]))?;
            }
        }
        if self.suite == Suite::Quick {
            notes.extend(points::count(&programs, &mut collector)?);
        }
        notes.extend(self.left_out(has_torch));
        // Those of every turn alike.
        notes.sort();
        notes.dedup();
        let measurements = results::merge(collector.finish());
        let is_elsewhere = |one: &&Measurement| one.by == Framework::Braidnet && !self.device.is_that_of(&one.device);
        if let Some(one) = measurements.iter().find(|one| one.bench != "points" && is_elsewhere(one)) {
            bail!("{} ran on {}, not on {}", Key::of(one), one.device, self.device);
        }
        Ok((Results { suite: self.suite.name().to_owned(), machine, notes, measurements }, n_failed))
    }

    /// What it ran on, and what the programs were built by.
    fn machine(&self, torch: Option<String>) -> Result<Machine> {
        let mut machine = Machine::find(torch, self.workspace.has_mpi);
        if !self.device.is_cpu() {
            machine = machine.with_gpus();
        }
        let Some(folder) = &self.built else { return Ok(machine) };
        let path = folder.join(BUILT_BY);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let built = serde_json::from_str(&text).with_context(|| format!("{} is no description", path.display()))?;
        Ok(machine.with_programs_of(&built))
    }

    /// The bench `study` of all networks: the cases that it measured, and notes of networks that failed where each has a start of
    /// its own.
    fn run_networks(
        &self,
        programs: &Programs,
        is_first: bool,
        collector: &mut Collector,
    ) -> Result<(Vec<String>, Vec<String>)> {
        if !self.suite.starts_per_network() {
            return Ok((self.run_study(programs, &self.networks.join(","), is_first, collector)?, Vec::new()));
        }
        let (mut cases, mut failed) = (Vec::new(), Vec::new());
        for network in &self.networks {
            match self.run_study(programs, network, is_first, collector) {
                Ok(measured) => cases.extend(measured),
                Err(error) => failed.push(format!("{network}: not measured: {error:#}")),
            }
        }
        ensure!(!cases.is_empty() || !is_first, "no network was measured; {}", failed.join("; "));
        Ok((cases, failed))
    }

    /// One start of the bench `study` per number of processes; the cases that it measured.
    fn run_study(
        &self,
        programs: &Programs,
        networks: &str,
        is_first: bool,
        collector: &mut Collector,
    ) -> Result<Vec<String>> {
        let mut cases = Vec::new();
        for (start, ranks) in self.launcher.starts(&self.ranks).into_iter().enumerate() {
            let most = ranks.iter().copied().max().unwrap_or(1);
            let numbers: Vec<String> = ranks.iter().map(usize::to_string).collect();
            let mut command = self.launcher.command(&programs.study, most);
            command.args(["--network", networks, "--ranks", &numbers.join(","), "--device", &self.device.to_string()]);
            command.args(self.suite.study_options(is_first, self.launcher == Launcher::Threads));
            let measured = collector.run(&mut command)?;
            cases.extend(measured.iter().map(|one| one.case.clone()));
            // What needs fewer ranks was measured by an earlier start, without processes that only wait.
            let n = measured.len();
            collector.retain_last(n, |one| start == 0 || ranks.contains(&one.ranks));
        }
        cases.sort();
        cases.dedup();
        Ok(cases)
    }

    /// The same networks by PyTorch's programs.
    fn run_peers(&self, programs: &Programs, cases: &[String], collector: &mut Collector) -> Result<Vec<String>> {
        let peers = Peers { python: &self.python, folder: &programs.peers };
        match self.suite {
            Suite::Gpu => Ok(peers.run_on(&self.device, cases, collector)),
            _ => peers.run(&self.device, cases, collector),
        }
    }

    /// Notes of what the options leave out.
    fn left_out(&self, has_torch: bool) -> Vec<String> {
        let mut notes = Vec::new();
        if self.suite.has_peers() && !has_torch {
            notes
                .push(format!("no PyTorch: {} cannot import torch; name another with --python", self.python.display()));
        }
        if self.launcher != Launcher::Threads && !self.ranks.contains(&1) {
            notes.push("one rank was timed beside processes that wait; --ranks 1,... times it alone".to_owned());
        }
        notes
    }
}
