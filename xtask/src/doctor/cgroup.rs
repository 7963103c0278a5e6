//! Limits of the control group that this process is in: a container's processors and memory.

use std::fs;
use std::path::Path;

/// What the control group allows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// Processors, perhaps a fraction; nothing without a limit.
    pub processors: Option<f64>,
    /// Bytes; nothing without a limit.
    pub memory: Option<u64>,
}

/// Version 1 writes a number near 2^63 where there is no limit.
const NO_LIMIT: u64 = 1 << 60;

/// The tightest limits of this process's groups and those above them.
///
/// `mount` is `/sys/fs/cgroup`, `membership` the content of `/proc/self/cgroup`.
pub fn limits(mount: &Path, membership: &str) -> Limits {
    let mut limits = Limits::default();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        for group in ancestors(path) {
            let found = if controllers.is_empty() { v2(&mount.join(group)) } else { v1(mount, controllers, group) };
            limits.processors = tighter(limits.processors, found.processors, f64::min);
            limits.memory = tighter(limits.memory, found.memory, u64::min);
        }
    }
    limits
}

/// A group and those above it, without the leading slash. In a container the path may be the host's, of which only the
/// root is here.
fn ancestors(path: &str) -> impl Iterator<Item = &Path> {
    Path::new(path.trim_start_matches('/')).ancestors()
}

fn v2(group: &Path) -> Limits {
    let memory = read(&group.join("memory.max")).and_then(|text| text.parse().ok());
    Limits { processors: read(&group.join("cpu.max")).and_then(|text| quota(&text)), memory }
}

/// Version 1 has a folder for every set of controllers, `cpu,cpuacct` for instance, and links to it by single names.
fn v1(mount: &Path, controllers: &str, group: &Path) -> Limits {
    let mut limits = Limits::default();
    for controller in controllers.split(',') {
        let folder = mount.join(controller).join(group);
        let number = |name: &str| read(&folder.join(name));
        match controller {
            "cpu" => {
                let (quota_us, period_us) = (number("cpu.cfs_quota_us"), number("cpu.cfs_period_us"));
                limits.processors = quota_us.zip(period_us).and_then(|(a, b)| quota(&format!("{a} {b}")));
            }
            "memory" => {
                let bytes = number("memory.limit_in_bytes").and_then(|text| text.parse().ok());
                limits.memory = bytes.filter(|&bytes| bytes < NO_LIMIT);
            }
            _ => {}
        }
    }
    limits
}

/// `200000 100000` is two processors; `max 100000`, and version 1's quota of -1, are no limit.
fn quota(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.trim().parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn tighter<T>(a: Option<T>, b: Option<T>, smaller: fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(smaller(a, b)),
        (a, b) => a.or(b),
    }
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn version_2_is_read() {
        let mount = tree(&[
            ("user.slice/cpu.max", "max 100000\n"),
            ("user.slice/memory.max", "8589934592\n"),
            ("user.slice/job/cpu.max", "150000 100000\n"),
            ("user.slice/job/memory.max", "max\n"),
        ]);
        let limits = limits(mount.path(), "0::/user.slice/job\n");
        assert_eq!(limits, Limits { processors: Some(1.5), memory: Some(8 << 30) });
    }

    #[test]
    fn a_container_sees_its_group_as_the_root() {
        let mount = tree(&[("cpu.max", "200000 100000\n"), ("memory.max", "max\n")]);
        let expected = Limits { processors: Some(2.0), memory: None };
        assert_eq!(limits(mount.path(), "0::/\n"), expected);
        assert_eq!(limits(mount.path(), "0::/docker/4f1c\n"), expected);
    }

    #[test]
    fn version_1_is_read() {
        let membership = "4:memory:/docker/4f1c\n2:cpu,cpuacct:/docker/4f1c\n1:name=systemd:/docker/4f1c\n0::/\n";
        let mount = tree(&[
            ("cpu/cpu.cfs_quota_us", "400000\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/docker/4f1c/memory.limit_in_bytes", "1073741824\n"),
        ]);
        assert_eq!(limits(mount.path(), membership), Limits { processors: Some(4.0), memory: Some(1 << 30) });
        let mount = tree(&[
            ("cpu/cpu.cfs_quota_us", "-1\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(limits(mount.path(), membership), Limits::default());
    }

    #[test]
    fn without_control_groups_there_is_no_limit() {
        assert_eq!(limits(Path::new("/nonexistent"), ""), Limits::default());
        assert_eq!(limits(Path::new("/nonexistent"), "garbage\n0::/\n"), Limits::default());
    }
}
