//! Slurm: whether jobs can be submitted from here.

use serde_json::Value;

use super::ask::told;
use super::finding::Finding;

/// Slurm's version, partitions, and how srun starts MPI ranks.
pub fn check() -> Vec<Finding> {
    const TOPIC: &str = "Slurm";
    let [sinfo, srun] = ["sinfo", "srun"].map(|tool| told(tool, &["--version"]));
    let Some(version) = sinfo.as_deref().or(srun.as_deref()).and_then(version) else {
        let remedy = "nothing to do unless this is a cluster's login node; then: module load slurm, or alike";
        return vec![Finding::missing(TOPIC, "no sinfo and no srun; only scripts/slurm needs them", remedy)];
    };
    let Some(partitions) = told("sinfo", &["--noheader", "--format=%P %D %G"]) else {
        let remedy = "submit from a login node; scontrol ping says whether the controller answers";
        return vec![Finding::warning(TOPIC, format!("{version}, but sinfo gets no answer"), remedy)];
    };
    let text = partitions.lines().map(str::trim).collect::<Vec<_>>().join("; ");
    let version_finding =
        Finding::ok(TOPIC, format!("{version}; partition, nodes, GPUs: {text}")).fact("version", version);
    vec![version_finding, starters(&told("srun", &["--mpi=list"]).unwrap_or_default())]
}

/// How srun can start ranks, from `srun --mpi=list`.
fn starters(text: &str) -> Finding {
    let list = plugins(text);
    let value = Value::from(list.clone());
    let finding = if list.iter().any(|name| name.starts_with("pmix") || name.starts_with("pmi2")) {
        Finding::ok("srun", format!("starts MPI ranks by {}", list.join(", ")))
    } else {
        let remedy = "start ranks with mpirun in scripts/slurm, or ask for Slurm with PMIx";
        Finding::warning("srun", "has neither pmix nor pmi2, so it starts every MPI rank as a job of its own", remedy)
    };
    finding.fact("plugins", value)
}

/// The version in `slurm 23.02.7`, which Debian calls `slurm-wlm 22.05.8`.
fn version(text: &str) -> Option<&str> {
    text.split_whitespace().nth(1).filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

/// The names after the heading; newer versions append the versions of a plugin on a line of its own.
fn plugins(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains(' '));
    lines.map(|line| line.trim_start_matches("srun:").to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("slurm 23.02.7\n"), Some("23.02.7"));
        assert_eq!(version("slurm-wlm 22.05.8\n"), Some("22.05.8"));
        assert_eq!(version("command not known\n"), None);
    }

    #[test]
    fn ways_to_start_ranks_are_read() {
        let list = "MPI plugin types are...\n\tnone\n\tpmix\n\tcray_shasta\n\tpmi2\nspecific pmix plugin versions available: pmix_v4\n";
        assert_eq!(plugins(list), ["none", "pmix", "cray_shasta", "pmi2"]);
        assert_eq!(starters(list).state, State::Ok);
        assert_eq!(starters("MPI plugin types are...\n\tnone\n").state, State::Warning);
    }
}
