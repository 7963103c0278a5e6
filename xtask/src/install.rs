//! What a build with MPI needs, and installing it.

use std::path::PathBuf;
use std::process::Command;

use crate::command::{probe, run};
use crate::libclang;
use crate::mpi::{Mpi, is_root};

/// A system's installer and its names of what we need.
struct Installer {
    program: &'static str,
    /// Arguments that fetch the list of packages, where that is a step of its own.
    update: &'static [&'static str],
    /// Arguments before the packages.
    install: &'static [&'static str],
    mpi: &'static [&'static str],
    libclang: &'static [&'static str],
    /// What is left to do afterwards.
    then: &'static str,
    /// Whether it must be root; otherwise it must not.
    as_root: bool,
}

const INSTALLERS: [Installer; 4] = [
    Installer {
        program: "apt-get",
        update: &["update", "-q"],
        install: &["install", "-y", "-q"],
        mpi: &["libopenmpi-dev", "openmpi-bin"],
        libclang: &["libclang-dev", "clang"],
        then: "",
        as_root: true,
    },
    Installer {
        program: "dnf",
        update: &[],
        install: &["install", "-y"],
        mpi: &["openmpi-devel"],
        libclang: &["clang-devel", "clang"],
        then: "module load mpi",
        as_root: true,
    },
    Installer {
        program: "pacman",
        update: &[],
        install: &["-S", "--noconfirm", "--needed"],
        mpi: &["openmpi"],
        libclang: &["clang"],
        then: "",
        as_root: true,
    },
    Installer {
        program: "brew",
        update: &[],
        install: &["install"],
        mpi: &["open-mpi"],
        libclang: &["llvm"],
        then: "export LIBCLANG_PATH=\"$(brew --prefix llvm)/lib\"",
        as_root: false,
    },
];

/// The parts of a build with MPI.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    mpi: Option<Mpi>,
    libclang: Option<PathBuf>,
    /// In words, what is not here.
    missing: Vec<&'static str>,
}

impl Tools {
    /// Looks for the parts.
    pub fn find() -> Self {
        let mut tools = Self { libclang: libclang::find(), ..Self::default() };
        match Mpi::find() {
            Ok(mpi) => tools.mpi = Some(mpi),
            Err(missing) => tools.missing.push(missing),
        }
        if tools.libclang.is_none() {
            tools.missing.push("libclang");
        }
        tools
    }

    /// Looks for the parts, installs those that are missing where that needs no password, and looks again.
    pub fn find_or_install() -> Self {
        let tools = Self::find();
        if tools.missing.is_empty() {
            return tools;
        }
        let Some(installer) = Installer::find() else { return tools };
        let Some(prefix) = installer.prefix() else { return tools };
        println!("missing: {}; installing {}", tools.missing(), installer.packages(&tools).join(" "));
        if let Err(error) = installer.run(prefix, &tools) {
            println!("this did not work: {error:#}");
        }
        Self::find()
    }

    /// The MPI to use.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn mpi(&self) -> Result<Mpi, String> {
        let missing = || format!("no {}", self.missing());
        if self.libclang.is_none() { Err(missing()) } else { self.mpi.clone().ok_or_else(missing) }
    }

    /// What is here, in words.
    pub fn describe(&self) -> String {
        let mpi = self.mpi.as_ref().map_or("no MPI", |mpi| mpi.description.as_str());
        let libclang = self.libclang.as_ref().map_or("no libclang".to_owned(), |path| path.display().to_string());
        format!("{mpi}\n{libclang}")
    }

    /// How a person gets what is missing.
    pub fn how_to_install(&self) -> String {
        let Some(installer) = Installer::find() else {
            let missing = self.missing();
            return format!(
                "to build with MPI, install Open MPI or MPICH (mpicc, mpirun) and libclang; missing: {missing}"
            );
        };
        let words = [&[installer.program], installer.install, &installer.packages(self)].concat();
        let sudo = if installer.as_root { "sudo " } else { "" };
        let then = if installer.then.is_empty() { String::new() } else { format!("\n    {}", installer.then) };
        format!("to build with MPI:\n    {sudo}{}{then}", words.join(" "))
    }

    fn missing(&self) -> String {
        self.missing.join(", ")
    }
}

impl Installer {
    fn find() -> Option<&'static Self> {
        INSTALLERS.iter().find(|installer| probe(installer.program, &["--version"]).is_some())
    }

    /// The words before the command that make it run as the right user, if that needs no password.
    fn prefix(&self) -> Option<&'static [&'static str]> {
        match (self.as_root, is_root()) {
            (true, true) | (false, false) => Some(&[]),
            (true, false) => probe("sudo", &["-n", "true"]).map(|_| ["sudo", "-n"].as_slice()),
            (false, true) => None,
        }
    }

    fn packages(&self, tools: &Tools) -> Vec<&'static str> {
        let mpi = if tools.mpi.is_none() { self.mpi } else { &[] };
        let libclang = if tools.libclang.is_none() { self.libclang } else { &[] };
        [mpi, libclang].concat()
    }

    fn run(&self, prefix: &[&str], tools: &Tools) -> anyhow::Result<()> {
        let command = |args: &[&str]| {
            // `env` because sudo drops variables.
            let words = [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", self.program], args].concat();
            let mut command = Command::new(words[0]);
            command.args(&words[1..]);
            command
        };
        if !self.update.is_empty()
            && let Err(error) = run(&mut command(self.update))
        {
            // A list of somebody else's that cannot be reached does not keep us from installing.
            println!("{error:#}");
        }
        run(&mut command(&[self.install, &self.packages(tools)].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        let mut tools = Tools::default();
        assert_eq!(INSTALLERS[0].packages(&tools), ["libopenmpi-dev", "openmpi-bin", "libclang-dev", "clang"]);
        tools.libclang = Some(PathBuf::from("/usr/lib/libclang.so"));
        assert_eq!(INSTALLERS[3].packages(&tools), ["open-mpi"]);
    }
}
