//! MPI as installed: flavour, version, whether `mpicc` and `mpirun` belong together, and libclang.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::ask::{LIMIT, ask, ask_within, search_within};
use super::finding::Finding;
use crate::install::Tools;
use crate::libclang;
use crate::mpi::Mpi;

/// How long all searches together may take.
const SEARCH_LIMIT: Duration = Duration::from_secs(60);
const NOT_NEEDED: &str = "only builds with `--features mpi` need it";

/// The MPI libraries that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    OpenMpi,
    Mpich,
    IntelMpi,
    Mvapich,
}

/// An MPI library, as one of its tools names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    pub flavour: Flavour,
    pub version: String,
}

impl Library {
    /// Reads what a library, its compiler or its launcher says about itself.
    pub fn parse(text: &str) -> Option<Self> {
        // The order matters: Intel's and MVAPICH's tools also say MPICH or HYDRA.
        const NAMES: [(&str, Flavour); 6] = [
            ("Open MPI", Flavour::OpenMpi),
            ("OpenRTE", Flavour::OpenMpi),
            ("Intel(R) MPI", Flavour::IntelMpi),
            ("MVAPICH", Flavour::Mvapich),
            ("MPICH", Flavour::Mpich),
            ("HYDRA", Flavour::Mpich),
        ];
        let (name, flavour) = NAMES.into_iter().find(|(name, _)| text.contains(name))?;
        let rest = &text[text.find(name)? + name.len()..];
        let number = |word: &str| {
            let word = word.trim_start_matches('v').trim_end_matches([',', ')', ';']);
            (word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')).then(|| word.to_owned())
        };
        Some(Self { flavour, version: rest.split_whitespace().find_map(number)? })
    }

    /// The name and the version.
    pub fn describe(&self) -> String {
        let name = match self.flavour {
            Flavour::OpenMpi => "Open MPI",
            Flavour::Mpich => "MPICH",
            Flavour::IntelMpi => "Intel MPI",
            Flavour::Mvapich => "MVAPICH",
        };
        format!("{name} {}", self.version)
    }
}

/// What the search found; the ping-pong and other checks go on from here.
#[derive(Debug, Clone, Default)]
pub struct Installed {
    /// For starting ranks, if programs can also be built with it.
    pub mpi: Option<Mpi>,
    /// The library that `mpicc` builds with.
    pub library: Option<Library>,
}

/// Looks for MPI and libclang.
pub fn check() -> (Vec<Finding>, Installed) {
    let search = || (Tools::find(), Mpi::find(), libclang::find());
    let Some((tools, mpi, libclang)) = search_within(SEARCH_LIMIT, search) else {
        let text = format!("the search took more than {} s; a tool hangs", SEARCH_LIMIT.as_secs());
        let remedy = "run mpicc -show, mpirun --version and clang --version by hand to see which";
        return (vec![Finding::warning("MPI", text, remedy)], Installed::default());
    };
    let remedy = flat(&tools.how_to_install());
    let compiler = compiler();
    let findings = vec![
        compiler_finding(&mpi, compiler.as_ref(), &remedy),
        launcher_finding(&mpi, compiler.as_ref(), &remedy),
        libclang_finding(libclang, &remedy),
    ];
    (findings, Installed { mpi: tools.mpi().ok(), library: compiler })
}

fn compiler_finding(mpi: &Result<Mpi, &str>, compiler: Option<&Library>, remedy: &str) -> Finding {
    const TOPIC: &str = "MPI compiler";
    match (mpi, compiler) {
        (Err("mpicc"), _) => Finding::missing(TOPIC, format!("no mpicc; {NOT_NEEDED}"), remedy),
        (_, Some(library)) => Finding::ok(TOPIC, format!("{} ({})", library.describe(), compiler_name()))
            .fact("version", &*library.version),
        (_, None) => Finding::warning(
            TOPIC,
            format!("{} does not say which library it is for", compiler_name()),
            "set MPICC to the compiler wrapper of Open MPI or MPICH",
        ),
    }
}

/// Whether the `mpirun` that will be used belongs to the compiler.
fn launcher_finding(mpi: &Result<Mpi, &str>, compiler: Option<&Library>, remedy: &str) -> Finding {
    const TOPIC: &str = "MPI launcher";
    let Ok(mpi) = mpi else {
        let other = ask("mpirun", &["--version"]).ok().and_then(|answer| Library::parse(&answer.stdout));
        let text = match (other, compiler) {
            (Some(other), Some(compiler)) => {
                format!("mpirun is {}, but mpicc is {}", other.describe(), compiler.describe())
            }
            (Some(other), None) => format!("mpirun is {}, but there is no mpicc", other.describe()),
            (None, _) => format!("no mpirun; {NOT_NEEDED}"),
        };
        return Finding::missing(TOPIC, text, remedy);
    };
    let program = mpi.command(1, Path::new("")).get_program().to_string_lossy().into_owned();
    let launcher = ask(&program, &["--version"]).ok().and_then(|answer| Library::parse(&answer.stdout));
    let (Some(launcher), Some(compiler)) = (&launcher, compiler) else {
        return Finding::ok(TOPIC, format!("{program}, of the same family as {}", compiler_name()));
    };
    let text = format!("{} ({program})", launcher.describe());
    let finding = if launcher.flavour == compiler.flavour && launcher.version != compiler.version {
        let remedy = "put the bin folder of one installation first in PATH, or set MPICC";
        Finding::warning(TOPIC, format!("{text}, but {} is {}", compiler_name(), compiler.describe()), remedy)
    } else {
        Finding::ok(TOPIC, format!("{text}, belongs to {}", compiler_name()))
    };
    finding.fact("version", &*launcher.version)
}

fn libclang_finding(path: Option<PathBuf>, remedy: &str) -> Finding {
    const TOPIC: &str = "libclang";
    match path {
        Some(path) => Finding::ok(TOPIC, format!("{} and clang's headers", path.display())),
        None => {
            Finding::missing(TOPIC, format!("the library or clang's own headers are not here; {NOT_NEEDED}"), remedy)
        }
    }
}

fn compiler_name() -> String {
    env::var("MPICC").unwrap_or_else(|_| "mpicc".to_owned())
}

/// What `mpicc` says: Open MPI's wrapper knows the first question, the others the second.
fn compiler() -> Option<Library> {
    ["--showme:version", "-v"].into_iter().find_map(|question| {
        let answer = ask_within(Command::new(compiler_name()).arg(question), LIMIT).ok()?;
        Library::parse(&answer.stdout).or_else(|| Library::parse(&answer.stderr))
    })
}

/// Several lines as one.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    fn parse(text: &str) -> String {
        Library::parse(text).unwrap().describe()
    }

    #[test]
    fn open_mpi_is_read() {
        assert_eq!(parse("mpicc: Open MPI 4.1.4 (Language: C)\n"), "Open MPI 4.1.4");
        assert_eq!(
            parse("mpirun (Open MPI) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/\n"),
            "Open MPI 4.1.4"
        );
        assert_eq!(
            parse("mpirun (Open MPI) 5.0.3\n\nReport bugs to https://www.open-mpi.org/community/help/\n"),
            "Open MPI 5.0.3"
        );
        assert_eq!(parse("mpicc: Open MPI 5.0.3 (Language: C)\n"), "Open MPI 5.0.3");
        let version = "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4, May 26, 2022";
        assert_eq!(parse(version), "Open MPI 4.1.4");
    }

    #[test]
    fn mpich_and_its_kin_are_read() {
        let hydra = "HYDRA build details:\n    Version:                                 4.0.2\n    Release Date:                            Thu Apr  7 12:34:45 CDT 2022\n";
        assert_eq!(parse(hydra), "MPICH 4.0.2");
        assert_eq!(parse("mpicc for MPICH version 4.0.2\nUsing built-in specs.\n"), "MPICH 4.0.2");
        assert_eq!(parse("MPICH Version:      4.0.2"), "MPICH 4.0.2");
        let intel = "Intel(R) MPI Library for Linux* OS, Version 2021.9 Build 20230307 (id: d82b3071db)\n";
        assert_eq!(parse(intel), "Intel MPI 2021.9");
        assert_eq!(Library::parse("gcc (Debian 12.2.0-14+deb12u1) 12.2.0"), None);
    }

    #[test]
    fn a_lack_is_said() {
        let finding = compiler_finding(&Err("mpicc"), None, "install it");
        assert_eq!((finding.state, finding.is_fatal()), (State::Missing, false));
        assert!(finding.line().ends_with("-> install it"));
        assert_eq!(flat("to build with MPI:\n    sudo apt-get"), "to build with MPI: sudo apt-get");
    }
}
