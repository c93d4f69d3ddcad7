//! `airlock gc`.

use super::args::switch;
use super::progress::Bar;
use super::table::{bytes, printable, table};
use super::{Outcome, default_jobs, open_existing_store_alone, print, print_json, say};
use crate::config::{Config, Settings};
use crate::gc::{self, RemovedResource, Report, Request};
use crate::mirror::limits;
use crate::store::Action;
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct GcArgs {
    /// So many generations of each registry stay, those that are listed or pinned beside
    #[arg(long, env = "AIRLOCK_KEEP_GENERATIONS", value_name = "N", default_value_t = 3)]
    keep_generations: usize,
    /// What is in quarantine goes too
    #[arg(long, env = "AIRLOCK_QUARANTINE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    quarantine: Option<bool>,
    /// Packages that the manifests take from folders or git repositories have no artifacts of their
    /// own; otherwise all artifacts stay, for any may be theirs
    #[arg(long, env = "AIRLOCK_NO_LOCAL_ARTIFACTS", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    no_local_artifacts: Option<bool>,
    /// Files verified side by side [default: one per processor]
    #[arg(long, env = "AIRLOCK_JOBS", value_name = "N")]
    jobs: Option<usize>,
    /// Remove it, not only show it. Must be said each time: no variable stands for it
    #[arg(long)]
    yes: bool,
    /// One JSON document on standard output
    #[arg(long, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
    /// Manifests, Artifacts.toml files, lists of misses, or folders of them: what they need stays.
    /// Without any, all packages and artifacts stay
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl GcArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        Settings { jobs: self.jobs, json: self.json, ..common }
    }
}

pub(super) fn run(config: &Config, args: GcArgs) -> anyhow::Result<Outcome> {
    let request = Request {
        paths: args.paths,
        keep_generations: args.keep_generations,
        quarantine: args.quarantine.unwrap_or(false),
        no_local_artifacts: args.no_local_artifacts.unwrap_or(false),
        jobs: default_jobs(config),
    };
    let store = open_existing_store_alone(config)?;
    let bar = Bar::new(0, "looking at what must stay");
    let plan = gc::plan(&store, &limits(&config.limits), &request, &|resource| bar.step(&resource.to_string(), 0))?;
    bar.finish();
    let refused = !plan.report().refused.is_empty();
    let report = if args.yes && !refused { gc::remove(&store, plan)? } else { plan.report().clone() };
    if report.removed {
        store.note(Action::Gc, true, summary(&report));
    }
    if config.json {
        print_json(&report)?;
    } else {
        show(&report)?;
    }
    Ok(if refused { Outcome::Incomplete } else { Outcome::Complete })
}

fn show(report: &Report) -> anyhow::Result<()> {
    for input in &report.inputs {
        input.warnings.iter().for_each(|warning| say(&format!("warning: {}: {warning}", input.path)));
    }
    if !report.refused.is_empty() {
        report.refused.iter().for_each(|why| say(&format!("error: {}", printable(why))));
        say("nothing was removed: what these need cannot be told; mend them or leave them out");
        return Ok(());
    }
    if !report.doubts.is_empty() {
        say("all artifacts stay, for it is not known which of them these packages need:");
        report.doubts.iter().for_each(|why| say(&format!("  {}", printable(why))));
    }
    let repositories = report
        .repositories
        .iter()
        .map(|it| ["git", it.file.relative_path(), "-", &bytes(it.bytes), "-"].map(str::to_owned).to_vec());
    let rows: Vec<_> = report.resources.iter().map(row).chain(repositories).collect();
    let mut text = String::new();
    if !rows.is_empty() {
        text += &table(&["KIND", "NAME", "VERSION", "SIZE", "TREE"], &rows);
    }
    writeln!(text, "{}", summary(report))?;
    print(&text)?;
    if !report.removed && report.totals.files + report.quarantined.files > 0 {
        say("nothing was removed; --yes removes it");
    }
    Ok(())
}

fn row(resource: &RemovedResource) -> Vec<String> {
    let name = resource.name.clone().or_else(|| resource.uuid.map(|uuid| uuid.to_string()));
    vec![
        resource.kind.folder().to_owned(),
        name.unwrap_or_else(|| "-".to_owned()),
        resource.version.clone().unwrap_or_else(|| "-".to_owned()),
        bytes(resource.bytes),
        resource.tree.to_string()[..12].to_owned(),
    ]
}

fn summary(report: &Report) -> String {
    let verb = if report.removed { "removed" } else { "would be removed" };
    let (gone, kept) = (report.totals, report.kept);
    let mut text = format!("{} {verb}, {}; {} stay, {}", gone.files, bytes(gone.bytes), kept.files, bytes(kept.bytes));
    if report.quarantined.files > 0 {
        let quarantined = report.quarantined;
        let _ = write!(text, "; {} of the quarantine {verb}, {}", quarantined.files, bytes(quarantined.bytes));
    }
    text
}
