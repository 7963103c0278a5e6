//! Processors, memory, and what a container takes away from them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;

use super::ask::told;
use super::cgroup::{self, Limits};
use super::finding::Finding;

const GIB: f64 = (1u64 << 30) as f64;
/// Docker's default for /dev/shm.
const SMALL_SHM: u64 = 64 << 20;

/// What computes: the processors and the memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// The processor's name.
    pub model: Option<String>,
    /// Physical cores.
    pub cores: Option<usize>,
    /// Processors that this process may run on.
    pub usable: usize,
    /// Bytes of memory.
    pub memory: Option<u64>,
}

impl Hardware {
    /// That of this machine; nothing where the system does not tell.
    pub fn find() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let model = model(&cpuinfo).map(str::to_owned).or_else(|| told("sysctl", &["-n", "machdep.cpu.brand_string"]));
        Self {
            model: model.map(|model| model.trim().to_owned()),
            cores: cores(&cpuinfo),
            usable: thread::available_parallelism().map_or(1, usize::from),
            memory: memory().map(|memory| memory.total),
        }
    }
}

/// Processors and memory, then the limits of a container.
pub fn check() -> Vec<Finding> {
    let online: Option<usize> = told("getconf", &["_NPROCESSORS_ONLN"]).and_then(|text| text.trim().parse().ok());
    let usable = thread::available_parallelism().map_or(1, usize::from);
    let memory = memory();
    let limits = cgroup::limits(Path::new("/sys/fs/cgroup"), &read("/proc/self/cgroup"));
    let mut findings = vec![processors(online, usable), memory_finding(memory)];
    findings.extend(container(online, usable, memory.map(|memory| memory.total), limits));
    findings.extend(shared_memory());
    findings
}

fn processors(online: Option<usize>, usable: usize) -> Finding {
    const TOPIC: &str = "processors";
    let cpuinfo = read("/proc/cpuinfo");
    let (cores, model) = (cores(&cpuinfo), model(&cpuinfo));
    let online = online.unwrap_or(usable);
    let hardware = cores.map_or(String::new(), |cores| format!(" on {cores} {}", plural(cores, "core")));
    let model = model.map_or(String::new(), |model| format!(", {model}"));
    let count = format!("{online} {}{hardware}{model}, {usable} usable", plural(online, "processor"));
    let finding = if usable < 2 {
        let remedy = "training runs, but more layer ranks make nothing faster here";
        Finding::warning(TOPIC, count, remedy)
    } else {
        Finding::ok(TOPIC, count)
    };
    finding.fact("online", online).fact("usable", usable).fact("cores", cores)
}

/// The number of physical cores that `/proc/cpuinfo` lists.
fn cores(cpuinfo: &str) -> Option<usize> {
    let mut cores = BTreeSet::new();
    let mut package = "";
    for line in cpuinfo.lines() {
        match line.split_once(':').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("physical id", value)) => package = value,
            Some(("core id", value)) => drop(cores.insert((package, value))),
            _ => {}
        }
    }
    (!cores.is_empty()).then_some(cores.len())
}

fn model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

/// Bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory {
    total: u64,
    /// Nothing where the system does not tell.
    available: Option<u64>,
}

fn memory() -> Option<Memory> {
    parse_meminfo(&read("/proc/meminfo")).or_else(|| {
        let total = told("sysctl", &["-n", "hw.memsize"])?.trim().parse().ok()?;
        Some(Memory { total, available: None })
    })
}

fn parse_meminfo(text: &str) -> Option<Memory> {
    let bytes = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(value.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
    };
    Some(Memory { total: bytes("MemTotal")?, available: bytes("MemAvailable") })
}

fn memory_finding(memory: Option<Memory>) -> Finding {
    const TOPIC: &str = "memory";
    let Some(Memory { total, available }) = memory else {
        return Finding::warning(TOPIC, "the system does not tell how much", "look with the system's own tools");
    };
    let free = available.map_or(String::new(), |bytes| format!(", {} available", gib(bytes)));
    Finding::ok(TOPIC, format!("{}{free}", gib(total))).fact("total_bytes", total).fact("available_bytes", available)
}

/// What the control group, or the set of processors this process may run on, takes away.
fn container(online: Option<usize>, usable: usize, memory: Option<u64>, limits: Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    let fewer =
        online.filter(|&online| usable < online || limits.processors.is_some_and(|limit| limit < online as f64));
    if let Some(online) = fewer {
        let why = match limits.processors {
            Some(limit) => format!("the control group allows {limit:.1} of {online} processors"),
            None => format!("this process may run on {usable} of {online} processors"),
        };
        let remedy = format!("start at most {usable} ranks, or give the container or job more processors");
        findings.push(Finding::warning("container", why, remedy).fact("processors", limits.processors));
    }
    if let Some((limit, total)) = limits.memory.zip(memory).filter(|(limit, total)| limit < total) {
        let why = format!("the control group allows {} of {} of memory", gib(limit), gib(total));
        let remedy = "beyond it the system kills ranks with signal 9; give the container or job more memory";
        findings.push(Finding::warning("container", why, remedy).fact("memory_bytes", limit));
    }
    findings
}

/// The size of /dev/shm, through which the ranks of one machine exchange messages under Open MPI.
fn shared_memory() -> Option<Finding> {
    #[cfg(target_os = "linux")]
    {
        let found = rustix::fs::statvfs("/dev/shm").ok()?;
        Some(judge_shm(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize))
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(any(target_os = "linux", test))]
fn judge_shm(size: u64, free: u64) -> Finding {
    const TOPIC: &str = "/dev/shm";
    let text = format!("{} MiB, {} MiB free; Open MPI's ranks on one machine talk through it", size >> 20, free >> 20);
    let finding = if size <= SMALL_SHM || free < SMALL_SHM {
        let remedy =
            "start the container with --shm-size=1g; until then export OMPI_MCA_btl_vader_backing_directory=/tmp";
        Finding::warning(TOPIC, text, remedy)
    } else {
        Finding::ok(TOPIC, text)
    };
    finding.fact("size_bytes", size).fact("free_bytes", free)
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / GIB)
}

fn plural(n: usize, word: &str) -> String {
    if n == 1 { word.to_owned() } else { format!("{word}s") }
}

/// A file of the system; empty where there is none.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    #[test]
    fn cores_are_counted_once() {
        let thread = |package, core| format!("processor\t: 0\nphysical id\t: {package}\ncore id\t\t: {core}\n\n");
        let text = [thread(0, 0), thread(0, 1), thread(1, 0), thread(0, 0), thread(1, 0)].concat();
        assert_eq!(cores(&text), Some(3));
        assert_eq!(cores("processor\t: 0\nBogoMIPS\t: 50.00\n"), None);
        assert_eq!(model("model name\t: AMD EPYC 7B13\n"), Some("AMD EPYC 7B13"));
    }

    #[test]
    fn memory_is_read() {
        let text = "MemTotal:       24684084 kB\nMemFree:        21979136 kB\nMemAvailable:   24197120 kB\n";
        assert_eq!(parse_meminfo(text), Some(Memory { total: 24684084 << 10, available: Some(24197120 << 10) }));
        assert_eq!(parse_meminfo(""), None);
    }

    #[test]
    fn containers_are_noticed() {
        let none = Limits::default();
        assert_eq!(container(Some(8), 8, Some(8 << 30), none), []);
        let line = |online, usable, limits| container(Some(online), usable, Some(8 << 30), limits)[0].line();
        assert!(line(8, 1, Limits { processors: Some(1.5), ..none }).contains("allows 1.5 of 8 processors"));
        assert!(line(8, 4, none).contains("may run on 4 of 8 processors"));
        assert!(line(8, 8, Limits { memory: Some(1 << 30), ..none }).contains("allows 1.0 GiB of 8.0 GiB of memory"));
        let roomy = Limits { processors: Some(16.0), memory: Some(16 << 30) };
        assert_eq!(container(Some(8), 8, Some(8 << 30), roomy), []);
    }

    #[test]
    fn dockers_default_of_shared_memory_is_small() {
        assert_eq!(judge_shm(64 << 20, 64 << 20).state, State::Warning);
        assert_eq!(judge_shm(1 << 30, 1 << 20).state, State::Warning);
        assert_eq!(judge_shm(1 << 30, 1 << 30).state, State::Ok);
    }
}
