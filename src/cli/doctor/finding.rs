//! What was found: how good it is, what it is, why it matters, and the command that changes it.
//! And the two ways to print it.

use std::fmt::Write as _;

use serde::Serialize;

/// How good a finding is, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Good to know, or to try.
    Note,
    /// It costs something under load.
    Warn,
    /// The server cannot serve well so.
    Bad,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What it belongs to.
    pub(super) subject: &'static str,
    /// How good it is.
    pub(super) level: Level,
    /// What was looked at.
    pub(super) name: String,
    /// How it is.
    pub(super) value: String,
    /// Why it matters; empty where that is plain.
    pub(super) why: String,
    /// What changes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<String>,
}

impl Finding {
    /// A finding without a reason or a command.
    pub(super) fn new(
        subject: &'static str,
        level: Level,
        name: impl Into<String>,
        value: impl ToString,
    ) -> Self {
        let (name, value) = (name.into(), value.to_string());
        Self { subject, level, name, value, why: String::new(), command: None }
    }

    /// What should have been looked at, but the kernel does not show it, as in a container.
    pub(super) fn unknown(subject: &'static str, name: impl Into<String>) -> Self {
        Self::new(subject, Level::Note, name, UNKNOWN)
    }

    /// The same, with why it matters.
    pub(super) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// The same, with what changes it.
    pub(super) fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }
}

/// The worst level of all.
pub(super) fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

/// For people: a line a finding, and below it the command, to be copied.
pub(super) fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut subject = "";
    for finding in findings {
        if finding.subject != subject {
            let gap = if subject.is_empty() { "" } else { "\n" };
            subject = finding.subject;
            let _ = writeln!(text, "{gap}{subject}");
        }
        let Finding { level, name, value, why, .. } = finding;
        let gap = if why.is_empty() { "" } else { ": " };
        let _ = writeln!(text, "  {:<5}{name} = {value}{gap}{why}", word(*level));
        if let Some(command) = &finding.command {
            let _ = writeln!(text, "         $ {command}");
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (bad, warn, note) = (count(Level::Bad), count(Level::Warn), count(Level::Note));
    let _ = write!(text, "\n{bad} bad, {warn} warn, {note} note, {} ok", count(Level::Ok));
    text
}

/// For programs.
pub(super) fn json(findings: &[Finding]) -> String {
    let value = serde_json::json!({ "worst": worst(findings), "findings": findings });
    format!("{value:#}")
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Note => "note",
        Level::Warn => "warn",
        Level::Bad => "bad",
    }
}

/// The value of what the kernel does not show.
const UNKNOWN: &str = "cannot be known here";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_with_its_command_below() {
        let findings = [
            Finding::new("kernel", Level::Ok, "release", "6.18"),
            Finding::unknown("network", "backlog"),
            Finding::new("network", Level::Warn, "somaxconn", 128)
                .why("short")
                .command("sysctl -w net.core.somaxconn=4096"),
        ];
        let expected = "kernel\n  ok   release = 6.18\n\nnetwork\n  note backlog = cannot be known \
                        here\n  warn somaxconn = 128: short\n         $ sysctl -w \
                        net.core.somaxconn=4096\n\n0 bad, 1 warn, 1 note, 1 ok";
        assert_eq!(text(&findings), expected);
        let value: serde_json::Value = serde_json::from_str(&json(&findings)).unwrap();
        assert_eq!(value["worst"], "warn");
        assert_eq!(value["findings"][2]["command"], "sysctl -w net.core.somaxconn=4096");
        assert_eq!(value["findings"][0].get("command"), None);
    }
}
