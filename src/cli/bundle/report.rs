//! `airlock bundle report`.

use super::super::args::switch;
use super::super::progress::Bar;
use super::super::{Outcome, print, print_json};
use super::trusted_keys;
use crate::bundle::Sheet;
use crate::config::{Config, Settings};
use crate::mirror::limits;
use fs_err as fs;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// Write it as one HTML file, to be printed
    #[arg(long, env = "AIRLOCK_HTML", value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write it as Markdown to a file [default: to standard output, if nothing else is asked for]
    #[arg(long, env = "AIRLOCK_MARKDOWN", value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Packages read side by side [default: one per processor]
    #[arg(long, env = "AIRLOCK_JOBS", value_name = "N")]
    jobs: Option<usize>,
    /// One JSON document on standard output
    #[arg(long, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
    /// Volumes of one bundle, in any order
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl ReportArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        Settings { jobs: self.jobs, json: self.json, ..common }
    }
}

pub(super) fn run(config: &Config, args: &ReportArgs) -> anyhow::Result<Outcome> {
    let bar = Bar::new(args.files.len() as u64, "reading");
    let (limits, jobs) = (limits(&config.limits), super::jobs(config));
    let sheet =
        Sheet::of_files(&args.files, &trusted_keys(config)?, &limits, jobs, &|name, bytes| bar.step(name, bytes))?;
    bar.finish();
    if let Some(file) = &args.html {
        fs::write(file, sheet.html()?)?;
    }
    if let Some(file) = &args.markdown {
        fs::write(file, sheet.markdown()?)?;
    }
    if config.json {
        print_json(&sheet)?;
    } else if args.html.is_none() && args.markdown.is_none() {
        print(&sheet.markdown()?)?;
    }
    Ok(if sheet.is_complete() { Outcome::Complete } else { Outcome::Incomplete })
}
