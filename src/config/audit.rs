//! `[audit]`: whether it is written down who fetched what.

use super::{ConfigError, Span};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

/// `[audit]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuditSettings {
    /// Write down who fetched what.
    pub enabled: Option<bool>,
    /// The folder of the files.
    pub folder: Option<PathBuf>,
    /// How long they are kept.
    pub keep: Option<Span>,
}

/// Whether it is written down who fetched what, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Whether it is.
    pub enabled: bool,
    /// The folder of the files, if somebody said; else one in the cache.
    pub folder: Option<PathBuf>,
    /// How many days they are kept, at least 1.
    pub keep_days: u32,
}

impl Audit {
    pub(super) fn new(file: AuditSettings) -> Result<Self, ConfigError> {
        let keep = super::span_or(file.keep, 90 * DAY);
        let keep_days = u32::try_from(keep.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX);
        if keep_days == 0 {
            return Err(ConfigError::Bound("audit.keep must be at least 1d"));
        }
        Ok(Self { enabled: file.enabled.unwrap_or(false), folder: file.folder, keep_days })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_kept_whole_and_at_least_one() {
        let audit = |text| Audit::new(toml::from_str(text).unwrap());
        assert_eq!(audit("").unwrap(), Audit { enabled: false, folder: None, keep_days: 90 });
        assert_eq!(audit("keep = '47h'").unwrap().keep_days, 1);
        assert!(audit("keep = '23h'").is_err());
        assert!(toml::from_str::<AuditSettings>("kept = '1d'").is_err());
    }
}
