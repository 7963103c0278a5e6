//! Building the example programs that the doctor runs.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::ask::ask_within;
use crate::cargo::cargo;

/// How long a build may take; it may wait for another one.
const BUILD_LIMIT: Duration = Duration::from_secs(900);

/// The path of an example of braidnet-comm, once it is built with these features.
///
/// # Errors
/// What cargo says first.
pub fn build(example: &str, features: &[&str]) -> Result<PathBuf, String> {
    let mut command = cargo("build", &["--release", "-p", "braidnet-comm", "--example", example]);
    command.arg("--message-format=json-render-diagnostics");
    if !features.is_empty() {
        command.args(["--features", &features.join(",")]);
    }
    let answer = ask_within(&mut command, BUILD_LIMIT).map_err(|silence| format!("cargo {silence}"))?;
    let program = answer.stdout.lines().find_map(|line| executable(line, example));
    let error = || answer.stderr.lines().find(|line| line.starts_with("error")).unwrap_or(answer.last_words());
    program.filter(|_| answer.status.success()).ok_or_else(|| error().to_owned())
}

/// The path in one of cargo's messages.
fn executable(line: &str, example: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_ours = message.pointer("/target/name")?.as_str()? == example;
    message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_in_messages() {
        let line = r#"{"reason":"compiler-artifact","target":{"name":"ping_pong"},"executable":"/t/ping_pong"}"#;
        assert_eq!(executable(line, "ping_pong"), Some(PathBuf::from("/t/ping_pong")));
        assert_eq!(executable(line, "device_path"), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#, "ping_pong"), None);
    }
}
