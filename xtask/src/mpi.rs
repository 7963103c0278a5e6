//! Finding MPI, and command lines of `mpirun`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use crate::cargo::root;
use crate::command::probe;

/// Names of the program that starts ranks. Debian's names with a suffix tell its libraries apart where it has several.
const LAUNCHERS: [&str; 5] = ["mpirun", "mpiexec", "mpirun.openmpi", "mpirun.mpich", "mpiexec.hydra"];

/// Settings that keep Open MPI quiet and polite on a machine with fewer cores than ranks, also in a container, where
/// one process may not read another's memory.
const OPEN_MPI_SETTINGS: [(&str, &str); 4] = [
    ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
    ("OMPI_MCA_mpi_yield_when_idle", "1"),
    ("OMPI_MCA_btl_base_warn_component_unused", "0"),
    ("OMPI_MCA_btl_vader_single_copy_mechanism", "none"),
];

/// The kinds of MPI library that differ in their command lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    OpenMpi,
    /// MPICH and those made from it.
    Mpich,
}

/// An MPI library to build with and its `mpirun`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mpi {
    launcher: &'static str,
    family: Family,
    is_root: bool,
    /// What to call it in print.
    pub description: String,
}

impl Mpi {
    /// The library whose `mpicc` is first in the path, or `$MPICC`.
    ///
    /// # Errors
    /// What is missing.
    pub fn find() -> Result<Self, &'static str> {
        let compiler = env::var_os("MPICC").unwrap_or_else(|| "mpicc".into());
        let family = compiler_family(&compiler).ok_or("mpicc")?;
        let launcher = LAUNCHERS.into_iter().find(|name| launcher_family(name) == Some(family));
        let launcher = launcher.ok_or("mpirun that belongs to mpicc")?;
        let name = if family == Family::OpenMpi { "Open MPI" } else { "MPICH or one of its kin" };
        let description = format!("{name} ({}, {launcher})", compiler.display());
        Ok(Self { launcher, family, is_root: is_root(), description })
    }

    /// A program on `n` ranks of this machine.
    pub fn command(&self, n: usize, program: &Path) -> Command {
        let mut command = Command::new(self.launcher);
        if self.family == Family::OpenMpi {
            command.envs(OPEN_MPI_SETTINGS).args(["--oversubscribe", "--bind-to", "none"]);
            if self.is_root {
                command.arg("--allow-run-as-root");
            }
        }
        command.args([OsStr::new("-n"), &OsString::from(n.to_string()), program.as_os_str()]).current_dir(root());
        command
    }
}

/// Whether this is the root user.
pub fn is_root() -> bool {
    probe("id", &["-u"]).is_some_and(|id| id.trim() == "0")
}

fn compiler_family(compiler: &OsStr) -> Option<Family> {
    // Open MPI's wrapper knows this option; others hand it to the compiler, which fails.
    if probe(compiler, &["--showme:version"]).is_some_and(|text| text.contains("Open MPI")) {
        return Some(Family::OpenMpi);
    }
    probe(compiler, &["-show"]).map(|_| Family::Mpich)
}

fn launcher_family(launcher: &str) -> Option<Family> {
    probe(launcher, &["--version"]).map(|text| family_of_version(&text))
}

fn family_of_version(text: &str) -> Family {
    if ["Open MPI", "OpenRTE"].iter().any(|name| text.contains(name)) { Family::OpenMpi } else { Family::Mpich }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(mpi: &Mpi) -> String {
        let command = mpi.command(3, Path::new("/t/ranks"));
        command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn families_have_their_own_options() {
        let mut mpi = Mpi { launcher: "mpirun", family: Family::OpenMpi, is_root: false, description: String::new() };
        assert_eq!(words(&mpi), "--oversubscribe --bind-to none -n 3 /t/ranks");
        mpi.is_root = true;
        assert_eq!(words(&mpi), "--oversubscribe --bind-to none --allow-run-as-root -n 3 /t/ranks");
        mpi.family = Family::Mpich;
        assert_eq!(words(&mpi), "-n 3 /t/ranks");
    }

    #[test]
    fn families_are_told_apart() {
        assert_eq!(family_of_version("mpirun (Open MPI) 4.1.4"), Family::OpenMpi);
        assert_eq!(family_of_version("mpiexec (OpenRTE) 2.1.1"), Family::OpenMpi);
        assert_eq!(family_of_version("HYDRA build details:\n    Version: 4.0.2"), Family::Mpich);
        assert_eq!(launcher_family("no-such-program"), None);
    }
}
