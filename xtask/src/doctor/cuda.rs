//! CUDA's toolkit, and whether MPI was built to take buffers on a GPU.

use std::env;
use std::fs;
use std::path::PathBuf;

use super::ask::told;
use super::finding::Finding;
use super::gpu::Nvidia;
use super::mpi::{Flavour, Library};

/// The toolkit's headers and MPI's knowledge of CUDA.
pub fn check(nvidia: Nvidia, library: Option<&Library>) -> Vec<Finding> {
    vec![toolkit(nvidia), aware(nvidia, library)]
}

const HEADER: &str = "include/cuda.h";
/// Where the GPU backend looks without `CUDA_PATH`; the last is where distributions put it.
const USUAL: [&str; 3] = ["/usr/local/cuda", "/opt/cuda", "/usr"];

/// The headers with which kernels are compiled at run time; looked for where the GPU backend looks for them.
fn toolkit(nvidia: Nvidia) -> Finding {
    const TOPIC: &str = "CUDA toolkit";
    let by_user = env::var_os("CUDA_PATH").map(PathBuf::from);
    let by_system = || USUAL.map(PathBuf::from).into_iter().find(|folder| folder.join(HEADER).exists());
    let folder = by_user.clone().or_else(by_system);
    let header = folder.as_ref().map(|folder| folder.join(HEADER));
    let version = header.as_ref().and_then(|path| fs::read_to_string(path).ok()).and_then(|text| version(&text));
    if let (Some(folder), Some(version)) = (&folder, version) {
        return Finding::ok(TOPIC, format!("{version} in {}", folder.display())).fact("version", version);
    }
    let text = match by_user {
        Some(folder) => format!("CUDA_PATH is {}, but it has no {HEADER}", folder.display()),
        None => format!("no CUDA_PATH, and no {HEADER} in {}", USUAL.join(", ")),
    };
    let remedy = "for training on NVIDIA's GPUs install CUDA's toolkit and set CUDA_PATH to its folder";
    let finding = if nvidia == Nvidia::Found { Finding::warning } else { Finding::missing };
    finding(TOPIC, text, remedy.to_owned())
}

/// `12.4` from `#define CUDA_VERSION 12040`.
fn version(header: &str) -> Option<String> {
    let number = header.lines().find_map(|line| line.trim().strip_prefix("#define CUDA_VERSION"))?;
    let number: u32 = number.trim().parse().ok()?;
    Some(format!("{}.{}", number / 1000, number % 1000 / 10))
}

/// Whether MPI takes buffers on a GPU, as far as its tools tell.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Awareness {
    /// Nothing if the tools do not tell.
    is_aware: Option<bool>,
    /// What it is known from.
    found_by: String,
}

fn aware(nvidia: Nvidia, library: Option<&Library>) -> Finding {
    const TOPIC: &str = "CUDA-aware MPI";
    let Some(library) = library else {
        return Finding::missing(TOPIC, "no MPI", "see MPI above; training on one machine needs none");
    };
    let Awareness { is_aware, found_by } = match library.flavour {
        Flavour::OpenMpi => open_mpi(&told("ompi_info", &["--parsable", "--all"]).unwrap_or_default()),
        Flavour::Mpich => mpich(&told("mpichversion", &[]).unwrap_or_default(), variable),
        _ => Awareness { is_aware: None, found_by: format!("nothing: no way known for {}", library.describe()) },
    };
    let word = is_aware.map_or("unknown", |is_aware| if is_aware { "yes" } else { "no" });
    let text = format!("{word}, found by: {found_by}; the only proof is an exchange of device buffers");
    let finding = if is_aware != Some(true) && nvidia == Nvidia::Found {
        let remedy =
            "messages go through the processors' memory; for direct ones use Open MPI or MPICH built --with-cuda";
        Finding::warning(TOPIC, text, remedy)
    } else {
        Finding::ok(TOPIC, text)
    };
    finding.fact("aware", is_aware).fact("found_by", found_by)
}

/// From `ompi_info --parsable --all`.
fn open_mpi(info: &str) -> Awareness {
    const KEYS: [&str; 2] = [
        "mca:mpi:base:param:mpi_built_with_cuda_support:value",
        "mca:opal:base:param:opal_built_with_cuda_support:value",
    ];
    for key in KEYS {
        let value = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        if let Some(value) = value {
            let found_by = format!("ompi_info --parsable --all, {key}:{value}");
            return Awareness { is_aware: Some(value.trim() == "true"), found_by };
        }
    }
    Awareness { is_aware: None, found_by: "ompi_info, which does not say".to_owned() }
}

/// From `mpichversion`, and the variable that turns the use of GPUs off.
fn mpich(text: &str, variable: impl Fn(&str) -> Option<String>) -> Awareness {
    const SWITCH: &str = "MPIR_CVAR_ENABLE_GPU";
    let Some(configure) = text.lines().find_map(|line| line.strip_prefix("MPICH configure:")) else {
        return Awareness { is_aware: None, found_by: "mpichversion, which does not say".to_owned() };
    };
    let option = configure.split_whitespace().map(|word| word.trim_matches('\''));
    let option = option.filter(|word| word.starts_with("--with-cuda")).find(|word| !word.ends_with("=no"));
    let Some(option) = option else {
        return Awareness { is_aware: Some(false), found_by: "mpichversion, built without --with-cuda".to_owned() };
    };
    match variable(SWITCH).filter(|value| ["0", "no", "false", "off"].contains(&value.to_lowercase().as_str())) {
        Some(value) => Awareness { is_aware: Some(false), found_by: format!("the environment, {SWITCH}={value}") },
        None => Awareness { is_aware: Some(true), found_by: format!("mpichversion, built {option}") },
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_MPI_4: &str = "mca:opal:base:param:opal_built_with_cuda_support:value:false
mca:opal:base:param:opal_built_with_cuda_support:source:default
mca:mpi:base:param:mpi_built_with_cuda_support:value:false
mca:mpi:base:param:mpi_built_with_cuda_support:source:default
";
    const MPICH: &str = "MPICH Version:    \t4.0.2
MPICH Release date:\tThu Apr  7 12:34:45 CDT 2022
MPICH Device:    \tch4:ucx
MPICH configure: \t--build=x86_64-linux-gnu --prefix=/usr --disable-option-checking --with-ucx
MPICH CC: \tgcc  -g -O2
";

    #[test]
    fn toolkits_tell_their_version() {
        assert_eq!(version("/* ... */\n#define CUDA_VERSION 12040\n").as_deref(), Some("12.4"));
        assert_eq!(version("#define CUDA_VERSION 11080\n").as_deref(), Some("11.8"));
        assert_eq!(version("#define OTHER 1\n"), None);
    }

    #[test]
    fn open_mpi_tells() {
        let found = open_mpi(OPEN_MPI_4);
        assert_eq!(found.is_aware, Some(false));
        assert!(found.found_by.ends_with("mpi_built_with_cuda_support:value:false"));
        let with_cuda = OPEN_MPI_4.replace("value:false", "value:true");
        assert_eq!(open_mpi(&with_cuda).is_aware, Some(true));
        let open_mpi_5 = "mca:opal:base:param:opal_built_with_cuda_support:value:true\n";
        assert_eq!(open_mpi(open_mpi_5).is_aware, Some(true));
        assert_eq!(open_mpi("").is_aware, None);
    }

    #[test]
    fn mpich_tells() {
        let off = |_: &str| Some("0".to_owned());
        let unset = |_: &str| None;
        assert_eq!(mpich(MPICH, unset).is_aware, Some(false));
        let with_cuda = MPICH.replace("--with-ucx", "'--with-cuda=/usr/local/cuda'");
        assert_eq!(mpich(&with_cuda, unset).is_aware, Some(true));
        assert_eq!(mpich(&with_cuda, off).found_by, "the environment, MPIR_CVAR_ENABLE_GPU=0");
        assert_eq!(mpich("", unset).is_aware, None);
    }

    #[test]
    fn without_mpi_there_is_nothing_to_ask() {
        assert!(aware(Nvidia::None, None).line().starts_with("missing"));
    }
}
