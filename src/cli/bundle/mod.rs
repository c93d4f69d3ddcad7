//! `airlock bundle …`: what makes, shows and takes in the files that cross the gap.

mod export;
mod import;
mod inspect;
mod keygen;
mod password;
mod report;
mod shown;

use super::Outcome;
use super::table::printable;
use crate::bundle::TrustedKey;
use crate::config::{Config, Settings};
use crate::exchange::Item;
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
    /// Show what is in a bundle; needs no cache
    Inspect(inspect::InspectArgs),
    /// Write the sheet that a person signs before a bundle goes in; needs no cache
    Report(report::ReportArgs),
    /// Take a bundle into the cache directory
    Import(import::ImportArgs),
    /// Pack a bundle: what the other side lacks, or everything
    Export(Box<export::ExportArgs>),
    /// Make a pair of keys that signs bundles, in minisign's formats
    Keygen(keygen::KeygenArgs),
}

impl BundleArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        match &self.action {
            Action::Inspect(args) => args.settings(common),
            Action::Report(args) => args.settings(common),
            Action::Import(args) => args.settings(common),
            Action::Export(args) => args.settings(common),
            Action::Keygen(_) => common,
        }
    }
}

pub(super) fn run(config: &Config, args: BundleArgs) -> anyhow::Result<Outcome> {
    match args.action {
        Action::Inspect(args) => inspect::run(config, &args),
        Action::Report(args) => report::run(config, &args),
        Action::Import(args) => import::run(config, &args),
        Action::Export(args) => super::block_on(export::run(config, *args)),
        Action::Keygen(args) => keygen::run(&args),
    }
}

/// The keys whose signatures count: as they stand in the configuration, or in files that it names.
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

/// Work done side by side: one thread per processor, unless somebody said.
fn jobs(config: &Config) -> usize {
    config.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from))
}

/// What a person calls a resource or a git bundle.
fn title(item: Item<'_>) -> String {
    printable(&item.label())
}
