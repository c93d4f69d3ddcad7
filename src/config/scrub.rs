//! `[scrub]`: everything is read again now and then, for what lies on a disk does not stay as it is.

use super::{ConfigError, Span};
use bytesize::ByteSize;
use serde::Deserialize;
use std::time::Duration;

/// Bytes in a second that no disk notices.
const RATE: u64 = 20 << 20;

/// `[scrub]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ScrubSettings {
    /// A pass over everything begins so long after the one before it began.
    pub every: Option<Span>,
    /// Most bytes that are read in a second.
    pub rate: Option<ByteSize>,
}

/// How everything is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrub {
    /// A pass begins so long after the one before it began; `None` for never.
    pub every: Option<Duration>,
    /// Most bytes that are read in a second.
    pub rate: u64,
}

impl Scrub {
    pub(super) fn new(file: &ScrubSettings) -> Result<Self, ConfigError> {
        let every = file.every.map(|span| span.0);
        let rate = file.rate.map_or(RATE, |size| size.as_u64());
        if every.is_some_and(|every| every.is_zero()) || rate == 0 {
            return Err(ConfigError::Bound("scrub.every and scrub.rate must not be zero"));
        }
        Ok(Self { every, rate })
    }
}
