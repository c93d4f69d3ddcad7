//! When what no package server has is fetched from where it comes from: the flags.

use crate::config::{FallbackSettings, When};
use clap::ValueEnum;

#[derive(Debug, clap::Args)]
pub(super) struct FallbackArgs {
    /// When packages that no package server has come from the repositories that registries name
    /// [default: prewarm]
    #[arg(long, env = "AIRLOCK_GIT_FALLBACK", value_name = "WHEN")]
    git_fallback: Option<WhenName>,
    /// When artifacts that no package server has come from the addresses that packages name
    /// [default: always]
    #[arg(long, env = "AIRLOCK_DOWNLOAD_FALLBACK", value_name = "WHEN")]
    download_fallback: Option<WhenName>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WhenName {
    /// Never
    Never,
    /// In a prewarm, which has time; not while a client waits
    Prewarm,
    /// While a client waits too
    Always,
}

impl FallbackArgs {
    pub(super) fn settings(&self) -> FallbackSettings {
        FallbackSettings { git: self.git_fallback.map(When::from), download: self.download_fallback.map(When::from) }
    }
}

impl From<WhenName> for When {
    fn from(name: WhenName) -> Self {
        match name {
            WhenName::Never => Self::Never,
            WhenName::Prewarm => Self::Prewarm,
            WhenName::Always => Self::Always,
        }
    }
}
