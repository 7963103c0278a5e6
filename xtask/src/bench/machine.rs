//! What a bench ran on.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cargo::root;
use crate::command::probe;
use crate::doctor::gpu;
use crate::doctor::machine::Hardware;
use crate::doctor::mpi::Library;

/// The machine and the software of a run; `None` for what the system does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The processor's name.
    pub processor: Option<String>,
    /// Physical cores.
    pub cores: Option<usize>,
    /// Processors that programs may run on.
    pub usable: usize,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// The operating system.
    pub system: Option<String>,
    /// The compiler.
    pub rustc: Option<String>,
    /// The version of this workspace.
    pub braidnet: String,
    /// Its commit, where there is git.
    pub commit: Option<String>,
    /// The version of PyTorch, where Python has it.
    pub torch: Option<String>,
    /// Its GPUs with their memory and drivers, where the bench ran on one.
    pub gpus: Vec<String>,
    /// The MPI library that programs are built with.
    pub mpi: Option<String>,
}

impl Machine {
    /// Looks at this machine.
    pub fn find(torch: Option<String>, has_mpi: bool) -> Self {
        let Hardware { model, cores, usable, memory } = Hardware::find();
        let library = || Library::parse(&probe("mpirun", &["--version"])?);
        Self {
            processor: model,
            cores,
            usable,
            memory_bytes: memory,
            system: line("uname", &["-srm"]),
            rustc: line("rustc", &["--version"]),
            braidnet: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit(root()),
            torch,
            gpus: Vec::new(),
            mpi: if has_mpi { library().map(|library| library.describe()) } else { None },
        }
    }

    /// With its GPUs.
    pub fn with_gpus(self) -> Self {
        Self { gpus: gpu::found(), ..self }
    }

    /// With the compiler, the commit and MPI of programs that were built elsewhere.
    pub fn with_programs_of(self, built: &Self) -> Self {
        let Self { rustc, commit, mpi, braidnet, .. } = built.clone();
        Self { rustc, commit, mpi, braidnet, ..self }
    }

    /// Name and value of what is known.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let number = |number: Option<usize>| number.map(|number| number.to_string());
        let memory = self.memory_bytes.map(|bytes| format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64));
        let all = [
            ("processor", self.processor.clone()),
            ("cores", number(self.cores)),
            ("processors to run on", number(Some(self.usable))),
            ("memory", memory),
            ("system", self.system.clone()),
            ("compiler", self.rustc.clone()),
            ("braidnet", Some(self.braidnet.clone())),
            ("commit", self.commit.clone()),
            ("PyTorch", self.torch.clone()),
            ("GPUs", (!self.gpus.is_empty()).then(|| self.gpus.join("; "))),
            ("MPI", self.mpi.clone()),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// Whether times of both can be compared: the same processors, so many of them, and the same GPUs.
    pub fn is_like(&self, other: &Self) -> bool {
        let same = |one: &Self| (one.processor.clone(), one.cores, one.usable, one.gpus.clone());
        same(self) == same(other)
    }
}

/// The version of PyTorch that a Python has.
pub fn torch(python: &Path) -> Option<String> {
    Some(probe(python, &["-c", "import torch; print(torch.__version__)"])?.trim().to_owned())
}

fn commit(folder: &Path) -> Option<String> {
    let folder = folder.to_str()?;
    line("git", &["-C", folder, "describe", "--always", "--dirty", "--abbrev=12", "--exclude", "*"])
}

/// The first line that a program writes.
fn line(program: &str, args: &[&str]) -> Option<String> {
    Some(probe(program, args)?.lines().next()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_has_no_row() {
        let machine = Machine { cores: Some(2), usable: 4, memory_bytes: Some(3 << 30), ..Machine::default() };
        let rows = machine.rows();
        let names: Vec<_> = rows.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["cores", "processors to run on", "memory", "braidnet"]);
        assert_eq!(rows[2].1, "3.0 GiB");
        assert!(machine.is_like(&Machine { torch: Some("2.2".into()), ..machine.clone() }));
        assert!(!machine.is_like(&Machine { usable: 2, ..machine.clone() }));
        assert!(!machine.is_like(&Machine { gpus: vec!["NVIDIA H200".into()], ..machine.clone() }));
        let built = Machine { rustc: Some("rustc 1.95".into()), commit: Some("1a2b".into()), ..Machine::default() };
        let both = machine.clone().with_programs_of(&built);
        assert_eq!((both.commit, both.rustc, both.usable), (built.commit, built.rustc, 4));
    }

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::find(None, false);
        assert!(machine.usable >= 1 && machine.rustc.is_some_and(|text| text.starts_with("rustc ")));
        assert_eq!(torch(Path::new("/no/such/python")), None);
    }
}
