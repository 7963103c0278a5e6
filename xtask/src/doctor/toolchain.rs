//! Rust's tools and the linker: what every build needs.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::ask::{ask_within, told};
use super::finding::Finding;
use crate::cargo::{cargo, root};

/// How long the compiler may take for an empty program.
const LINK_LIMIT: Duration = Duration::from_secs(60);

/// rustc, cargo, and whether programs can be linked.
pub fn check() -> Vec<Finding> {
    let wanted = fs::read_to_string(root().join("rust-toolchain.toml")).ok().and_then(|text| channel(&text));
    let tools = ["rustc", "cargo"].map(|tool| {
        // In the workspace's root, where rustup obeys the file there.
        let mut command = if tool == "cargo" { cargo("--version", &[]) } else { Command::new(tool) };
        if tool == "rustc" {
            command.arg("--version").current_dir(root());
        }
        let answer = ask_within(&mut command, LINK_LIMIT).ok().map(|answer| answer.stdout);
        judge(tool, answer.as_deref().and_then(version), wanted.as_deref())
    });
    tools.into_iter().chain([linker()]).collect()
}

/// A tool of version `found` where the workspace asks for `wanted`.
fn judge(tool: &'static str, found: Option<&str>, wanted: Option<&str>) -> Finding {
    let wanted = wanted.unwrap_or(env!("CARGO_PKG_RUST_VERSION"));
    let remedy = format!("rustup toolchain install {wanted}");
    let Some(found) = found else {
        return Finding::missing(tool, "not found, or it did not answer", format!("https://rustup.rs, then {remedy}"))
            .needed();
    };
    let finding = if found == wanted {
        Finding::ok(tool, format!("{found}, as rust-toolchain.toml asks for"))
    } else if numbers(found) < numbers(wanted) {
        Finding::missing(tool, format!("{found} is older than {wanted} of rust-toolchain.toml"), remedy)
    } else {
        Finding::warning(tool, format!("{found}, but rust-toolchain.toml asks for {wanted}"), remedy)
    };
    finding.needed().fact("version", found).fact("wanted", wanted)
}

/// Links an empty program, which is the only proof.
fn linker() -> Finding {
    const TOPIC: &str = "linker";
    let remedy = "install a C compiler, which links Rust's programs: sudo apt-get install gcc libc6-dev, or alike";
    let name = told("cc", &["--version"]);
    let name = name.as_deref().and_then(|text| text.lines().next()).unwrap_or("no cc that answers");
    match link() {
        Ok(None) => Finding::ok(TOPIC, format!("links an empty program ({name})")).needed().fact("cc", name),
        Ok(Some(why)) => Finding::missing(TOPIC, format!("cannot link an empty program: {why}"), remedy).needed(),
        Err(error) => Finding::missing(TOPIC, format!("could not be tried: {error:#}"), remedy).needed(),
    }
}

/// What the compiler says if it cannot link.
fn link() -> anyhow::Result<Option<String>> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("empty.rs");
    fs::write(&source, "fn main() {}\n")?;
    let mut command = Command::new("rustc");
    command.arg(source).arg("-o").arg(folder.path().join("empty")).current_dir(root());
    let answer = ask_within(&mut command, LINK_LIMIT)?;
    let error = || answer.stderr.lines().find(|line| line.starts_with("error")).unwrap_or(answer.last_words());
    Ok((!answer.status.success()).then(|| error().to_owned()))
}

/// `channel` of a `rust-toolchain.toml`.
fn channel(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix("channel")?.trim_start().strip_prefix('='))?;
    Some(value.trim().trim_matches('"').to_owned())
}

/// The version in `rustc 1.95.0 (59807616e 2026-04-14)`.
fn version(text: &str) -> Option<&str> {
    text.split_whitespace().nth(1)
}

fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-']).map_while(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("rustc 1.95.0 (59807616e 2026-04-14)\n"), Some("1.95.0"));
        assert_eq!(version("cargo 1.97.0-nightly (b54051b15 2026-05-02)\n"), Some("1.97.0-nightly"));
        assert_eq!(channel("[toolchain]\nchannel = \"1.95.0\"\ncomponents = []\n").as_deref(), Some("1.95.0"));
        assert_eq!(channel("[toolchain]\n"), None);
    }

    #[test]
    fn versions_are_compared_by_number() {
        let state = |found| judge("rustc", found, Some("1.95.0")).state;
        assert_eq!(state(Some("1.95.0")), State::Ok);
        assert_eq!(state(Some("1.100.0")), State::Warning);
        assert_eq!(state(Some("1.97.0-nightly")), State::Warning);
        assert_eq!(state(Some("1.9.0")), State::Missing);
        assert!(judge("rustc", None, Some("1.95.0")).is_fatal());
    }

    #[test]
    fn this_machine_links() {
        assert_eq!(link().unwrap(), None);
    }
}
