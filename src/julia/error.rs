//! What can be wrong with one of Julia's TOML files, and in which line.
//!
//! One type for all of them: whoever reads many files wants one way to say "file, line, problem".
//! Text from the file is shortened and escaped here, so a message is always one short line.

/// A file that cannot be read as what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct FormatError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong in a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not TOML. Duplicate keys and too deep nesting are here too.
    #[error("{0}")]
    Syntax(String),
    /// A key that must be there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A value of another type than Julia writes.
    #[error("{key} must be {expected}, not {found}")]
    Type {
        /// The key, quoted.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// TOML's name of what it is.
        found: &'static str,
    },
    /// Not a uuid.
    #[error("{0} is not a uuid")]
    Uuid(String),
    /// Not a git tree hash.
    #[error("{0} is not a tree hash of 40 hexadecimal digits")]
    TreeHash(String),
    /// Not a SHA-256.
    #[error("{0} is not a SHA-256 of 64 hexadecimal digits")]
    Sha256(String),
    /// A package name or version that is empty, very long or has white space: it would break
    /// every list it is written to.
    #[error("{0} cannot be a name or version")]
    Word(String),
    /// Not a range of versions.
    #[error("{0} is not a range of versions")]
    Range(String),
    /// A control character: it would forge lines in logs and lists.
    #[error("{0} holds a control character")]
    Control(String),
}

impl FormatError {
    /// From the TOML parser's own error, without its drawing of the source.
    pub(super) fn syntax(text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        Self { line: line_at(text, start), problem: Problem::Syntax(one_line(error.message())) }
    }
}

/// The line, counted from 1, that holds a byte.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

/// Text from a file, quoted, escaped and cut for a message.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut start = text.chars().take(LONGEST).collect::<String>();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("{start:?}")
}

fn one_line(message: &str) -> String {
    const LONGEST: usize = 200;
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}
