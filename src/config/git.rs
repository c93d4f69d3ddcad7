//! `[git]`: what one repository may cost.

use super::{ConfigError, Span, span_or};
use bytesize::ByteSize;
use serde::Deserialize;
use std::time::Duration;

/// `[git]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct GitSettings {
    /// A `git` that says nothing for so long is ended.
    pub silence: Option<Span>,
    /// One that takes so long in all is ended too.
    pub whole: Option<Span>,
    /// Largest file of a repository that is packed.
    pub file: Option<ByteSize>,
}

/// What one repository may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Git {
    /// A `git` that says nothing, no progress either, for so long is ended.
    pub silence: Duration,
    /// One that takes so long in all is ended too. Also the longest wait for another one that is at work on the
    /// same clone.
    pub whole: Duration,
    /// Bytes of one file: it is in memory as a whole while it is packed.
    pub file: u64,
}

impl Default for Git {
    fn default() -> Self {
        Self { silence: Duration::from_mins(1), whole: Duration::from_hours(1), file: 1 << 30 }
    }
}

impl Git {
    pub(super) fn new(file: &GitSettings) -> Result<Self, ConfigError> {
        let unset = Self::default();
        let git = Self {
            silence: span_or(file.silence, unset.silence),
            whole: span_or(file.whole, unset.whole),
            file: file.file.map_or(unset.file, |size| size.as_u64()),
        };
        if git.silence.is_zero() || git.whole.is_zero() || git.file == 0 {
            return Err(ConfigError::Bound("git.silence, git.whole and git.file must not be zero"));
        }
        Ok(git)
    }
}
