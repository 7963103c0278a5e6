//! One finding: what was looked at, how it is, and what to do about it.

use serde_json::{Map, Value, json};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing to do.
    Ok,
    /// It works, but not as well as it could, or only perhaps.
    Warning,
    /// It is not here.
    Missing,
}

impl State {
    /// The word in print.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Missing => "missing",
        }
    }
}

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What was looked at.
    pub topic: &'static str,
    /// How it is.
    pub state: State,
    text: String,
    remedy: Option<String>,
    is_needed: bool,
    facts: Map<String, Value>,
}

impl Finding {
    /// Nothing to do.
    pub fn ok(topic: &'static str, text: impl Into<String>) -> Self {
        Self { topic, state: State::Ok, text: text.into(), remedy: None, is_needed: false, facts: Map::new() }
    }

    /// Something to know, and what to do about it.
    pub fn warning(topic: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Warning, remedy: Some(remedy.into()), ..Self::ok(topic, text) }
    }

    /// Something that is not here, and how to get it.
    pub fn missing(topic: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Missing, remedy: Some(remedy.into()), ..Self::ok(topic, text) }
    }

    /// Without this there is no build at all.
    pub fn needed(mut self) -> Self {
        self.is_needed = true;
        self
    }

    /// A value for programs that read the report.
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Whether a build without MPI and for the CPU is impossible because of this.
    pub fn is_fatal(&self) -> bool {
        self.is_needed && self.state == State::Missing
    }

    /// How it is, in words.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line for people, and one more for the remedy.
    pub fn line(&self) -> String {
        let line = format!("{:8} {:16} {}", self.state.word(), self.topic, self.text);
        match &self.remedy {
            Some(remedy) => format!("{line}\n{:25} -> {remedy}", ""),
            None => line,
        }
    }

    /// The finding for programs.
    pub fn json(&self) -> Value {
        json!({
            "topic": self.topic,
            "state": self.state.word(),
            "needed": self.is_needed,
            "text": self.text,
            "remedy": self.remedy,
            "facts": self.facts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_the_remedy() {
        assert_eq!(Finding::ok("memory", "23.5 GiB").line(), "ok       memory           23.5 GiB");
        let line = Finding::missing("linker", "no cc", "install gcc").line();
        assert_eq!(line, "missing  linker           no cc\n                          -> install gcc");
    }

    #[test]
    fn only_what_is_needed_and_missing_is_fatal() {
        assert!(Finding::missing("linker", "", "").needed().is_fatal());
        assert!(!Finding::missing("MPI", "", "").is_fatal());
        assert!(!Finding::warning("linker", "", "").needed().is_fatal());
        let json = Finding::warning("MPI", "text", "remedy").fact("version", "4.1.4").json();
        assert_eq!((json["state"].as_str(), json["facts"]["version"].as_str()), (Some("warning"), Some("4.1.4")));
    }
}
