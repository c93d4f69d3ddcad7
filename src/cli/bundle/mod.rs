//! `airlock bundle …`: what makes, shows and takes in the files that cross the gap.

mod export;
mod keygen;
mod password;

use super::Outcome;
use crate::bundle::TrustedKey;
use crate::config::{Config, Settings};
use anyhow::Context as _;
use clap::Subcommand;
use fs_err as fs;

#[derive(Debug, clap::Args)]
pub(super) struct BundleArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Pack a bundle: what the other side lacks, or everything
    Export(Box<export::ExportArgs>),
    /// Make a pair of keys that signs bundles, in minisign's formats
    Keygen(keygen::KeygenArgs),
}

impl BundleArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        match &self.action {
            Action::Export(args) => args.settings(common),
            Action::Keygen(_) => common,
        }
    }
}

pub(super) fn run(config: &Config, args: BundleArgs) -> anyhow::Result<Outcome> {
    match args.action {
        Action::Export(args) => super::block_on(export::run(config, *args)),
        Action::Keygen(args) => keygen::run(&args),
    }
}

/// The keys whose signatures count: as they stand in the configuration, or in files that it names.
#[expect(dead_code, reason = "import is the first to ask")]
pub(super) fn trusted_keys(config: &Config) -> anyhow::Result<Vec<TrustedKey>> {
    let key = |text: &String| match text.parse::<TrustedKey>() {
        Ok(key) => Ok(key),
        Err(error) if text.starts_with("RW") => Err(error).with_context(|| format!("trusted key {text:?}")),
        Err(_) => {
            let file = fs::read_to_string(text).context("cannot read a trusted key")?;
            TrustedKey::from_file_text(&file).with_context(|| format!("trusted key {text}"))
        }
    };
    config.bundle.trusted_keys.iter().map(key).collect()
}
