//! What was found: one line of a report for each thing that was looked at.

use super::server_url::ServerUrl;
use serde::Serialize;

/// Longest text of a check, in characters: what a server or a file adds is cut.
const LONGEST: usize = 2000;

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Works, but not as somebody may expect.
    Warning,
    /// Julia will not get what it needs.
    Problem,
    /// Not looked at.
    Skipped,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Which thing, in a word or two.
    pub name: &'static str,
    /// How it is.
    pub status: Status,
    /// One sentence, without control characters.
    pub detail: String,
    /// Lines to type on this host or, where the line says so, on another; most often none.
    pub remedy: Vec<String>,
}

/// All that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The package server, without user and password; `None` if Julia uses none.
    pub server: Option<String>,
    /// In the order in which they build on each other.
    pub checks: Vec<Check>,
    /// Lines for a shell: what the environment lacks.
    pub export: Vec<String>,
    /// Whether there is no problem. Warnings are none.
    pub ok: bool,
}

/// A report in the making.
#[derive(Debug, Default)]
pub(super) struct Findings {
    checks: Vec<Check>,
    export: Vec<String>,
}

impl Findings {
    pub(super) fn add(&mut self, name: &'static str, status: Status, detail: &str, remedy: &[String]) {
        let remedy = remedy.iter().map(|line| printable(line)).collect();
        self.checks.push(Check { name, status, detail: printable(detail), remedy });
    }

    pub(super) fn ok(&mut self, name: &'static str, detail: &str) {
        self.add(name, Status::Ok, detail, &[]);
    }

    pub(super) fn skipped(&mut self, name: &'static str, detail: &str) {
        self.add(name, Status::Skipped, detail, &[]);
    }

    pub(super) fn warning(&mut self, name: &'static str, detail: &str, remedy: &[String]) {
        self.add(name, Status::Warning, detail, remedy);
    }

    pub(super) fn problem(&mut self, name: &'static str, detail: &str, remedy: &[String]) {
        self.add(name, Status::Problem, detail, remedy);
    }

    /// A line for the shell. Of two for one variable the first stays.
    pub(super) fn export(&mut self, line: &str) {
        let variable = |line: &str| line.split('=').next().map(str::to_owned);
        if self.export.iter().all(|known| variable(known) != variable(line)) {
            self.export.push(printable(line));
        }
    }

    pub(super) fn report(self, server: Option<&ServerUrl>) -> Report {
        let ok = self.checks.iter().all(|check| check.status != Status::Problem);
        Report { server: server.map(ToString::to_string), checks: self.checks, export: self.export, ok }
    }
}

/// A text that cannot steer a terminal: no control characters, none that turn the direction of
/// writing, and not endless.
pub(super) fn printable(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().take(LONGEST).map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// A short text of a server or a file, in quotes.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    format!("{:?}", printable(&short))
}

/// A word of a shell command, whatever is in it.
pub(super) fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@,%=".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_steers_a_terminal_or_a_shell() {
        assert_eq!(printable("a\x1b[31m\u{9b}b\u{202e}\nc"), "a\u{fffd}[31m\u{fffd}b\u{fffd}\u{fffd}c");
        assert_eq!(printable(&"x".repeat(5000)).len(), LONGEST);
        assert_eq!(quoted("<h1>\"\x07"), "\"<h1>\\\"\u{fffd}\"");
        for (text, word) in
            [("", "''"), ("/a/b-1.x", "/a/b-1.x"), ("$(x)", "'$(x)'"), ("it's", r"'it'\''s'"), ("~", "'~'")]
        {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn of_two_lines_for_a_variable_the_first_stays() {
        let mut findings = Findings::default();
        for line in ["export a=1", "export a=2", "export b=1", "unset c"] {
            findings.export(line);
        }
        assert_eq!(findings.report(None).export, ["export a=1", "export b=1", "unset c"]);
    }
}
