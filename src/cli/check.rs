//! `airlock check`.

use super::args::{some, switch};
use super::progress::Bar;
use super::table::{bytes, printable, table};
use super::{Outcome, complain, default_jobs, open_existing_store, print, print_json, runtime};
use crate::check::{CheckedResource, Event, Finding, FindingKind, Report, Request, Status, check};
use crate::closure::Selection;
use crate::config::{Config, PrewarmSettings, Settings};
use crate::mirror::{Mirror, limits};
use crate::prewarm::ByName;
use crate::store::Store;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Platform whose artifacts are needed: a triplet such as x86_64-linux-gnu, host, or all;
    /// repeat for more [default: host]
    #[arg(long, env = "AIRLOCK_PLATFORM", value_name = "TRIPLET|host|all", value_delimiter = ',')]
    platform: Vec<String>,
    /// Lazy artifacts may be missing
    #[arg(long, env = "AIRLOCK_NO_LAZY", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    no_lazy: Option<bool>,
    /// Entries that no package server can serve do not make the exit code 1
    #[arg(long, env = "AIRLOCK_ALLOW_UNMIRRORABLE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    allow_unmirrorable: Option<bool>,
    /// Files verified side by side [default: one per processor]
    #[arg(long, env = "AIRLOCK_JOBS", value_name = "N")]
    jobs: Option<usize>,
    /// One JSON document on standard output
    #[arg(long, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
    /// Julia to choose the versions of projects for: 1.10, its newest patch, or 1.10.4; repeat for more
    /// [default: those that clients of this mirror run]
    #[arg(long, env = "AIRLOCK_JULIA_VERSION", value_name = "VERSION", value_delimiter = ',')]
    julia: Vec<String>,
    /// What the tests of projects need too
    #[arg(long)]
    test: bool,
    /// Manifests, projects, Artifacts.toml files, exported lists of misses, or folders to search for them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl CheckArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        let prewarm = PrewarmSettings {
            platform: some(&self.platform),
            no_lazy: self.no_lazy,
            allow_unmirrorable: self.allow_unmirrorable,
            julia: some(&self.julia),
            ..PrewarmSettings::default()
        };
        Settings { jobs: self.jobs, json: self.json, prewarm, ..common }
    }
}

pub(super) fn run(config: &Config, args: CheckArgs) -> anyhow::Result<Outcome> {
    let store = open_existing_store(config)?;
    let mut by_name = ByName { tests: args.test, ..ByName::default() }.with_julias(&config.prewarm)?;
    by_name.prepare(&store)?;
    let request = Request {
        paths: args.paths,
        julias: by_name.julias,
        tests: by_name.tests,
        selection: Selection::new(&config.prewarm)?,
        allow_unmirrorable: config.prewarm.allow_unmirrorable,
        jobs: default_jobs(config),
    };
    let bar = Bar::new(0, "checking");
    let policy = policy(config, &store)?;
    let report = check(&store, &limits(&config.limits), &request, policy.as_deref(), &|event| match event {
        Event::Planned(resources) => bar.set_total(resources as u64),
        Event::Looked(resource) => bar.step(&resource.to_string(), 0),
    })?;
    bar.finish();
    if config.json {
        print_json(&report)?;
    } else {
        complain(report.inputs.iter().map(|input| &input.input));
        print(&text(&report))?;
    }
    Ok(if report.complete { Outcome::Complete } else { Outcome::Incomplete })
}

/// A mirror that knows the names of what is here, if there are rules to be held against them.
fn policy(config: &Config, store: &Arc<Store>) -> anyhow::Result<Option<Arc<Mirror>>> {
    let mirror = Arc::new(Mirror::new(Arc::clone(store), Vec::new(), config));
    if mirror.policy().is_empty() {
        return Ok(None);
    }
    runtime()?.block_on(mirror.know_names());
    Ok(Some(mirror))
}

/// What a person wants to know: what is not fine and what to do. The rest is only counted.
fn text(report: &Report) -> String {
    let mut text = String::new();
    let rows: Vec<_> = report.resources.iter().filter(|it| it.status != Status::Present).map(row).collect();
    if !rows.is_empty() {
        text += &table(&["STATUS", "KIND", "NAME", "VERSION", "TREE", "WHY"], &rows);
    }
    for (word, findings) in [("problem", &report.problems), ("note", &report.notes)] {
        text.extend(findings.iter().map(|finding| line(word, finding)));
    }
    if report.inputs.len() > 1 {
        for input in &report.inputs {
            let word = if input.complete { "complete" } else { "incomplete" };
            let missing = if input.missing > 0 { format!(", {} not here", input.missing) } else { String::new() };
            let _ = writeln!(text, "{}: {word}{missing}", printable(&input.input.path));
        }
    }
    text + &summary(report)
}

fn row(resource: &CheckedResource) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let of = resource.package.as_ref().map_or(String::new(), |package| format!(" of {package}"));
    vec![
        match resource.status {
            Status::Present => "present",
            Status::Missing => "missing",
            Status::Damaged => "damaged",
            Status::Denied => "denied",
        }
        .to_owned(),
        resource.kind.folder().to_owned(),
        or_dash(resource.name.as_ref().map(|name| name.clone() + &of).or(resource.uuid.map(|uuid| uuid.to_string()))),
        or_dash(resource.version.clone()),
        resource.tree.to_string()[..12].to_owned(),
        resource.reason.clone().unwrap_or_default(),
    ]
}

fn line(word: &str, finding: &Finding) -> String {
    let name = finding.name.as_ref().map_or(String::new(), |name| format!("{name} "));
    let version = finding.version.as_ref().map_or(String::new(), |version| format!("{version} "));
    let url = finding.url.as_ref().map_or(String::new(), |url| {
        let file = finding.file.as_ref().map_or(String::new(), |file| format!(" in {file}"));
        format!("({url}{file}) ")
    });
    let named = printable(&format!("{name}{version}{url}"));
    let named = named.trim_end();
    let colon = if named.is_empty() { "" } else { ": " };
    format!("{word}: {named}{colon}{}. What to do: {}.\n", finding.why, finding.remedy)
}

fn summary(report: &Report) -> String {
    let totals = &report.totals;
    let mut parts = vec![format!("{} here", totals.present)];
    for (count, what) in [
        (totals.missing, "missing"),
        (totals.damaged, "damaged"),
        (totals.denied, "denied"),
        (report.problems.len(), "in the way"),
        (report.notes.iter().filter(|it| it.kind == FindingKind::NeedsGit).count(), "need git inside"),
        (report.standard_libraries, "standard libraries"),
        (report.local_paths, "local paths"),
        (report.unopened_packages, "packages whose artifacts are not known because they are not here"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    let word = if report.complete { "complete" } else { "incomplete" };
    let mut text = format!("{word}: {}; {} in all\n", parts.join(", "), bytes(totals.bytes));
    if totals.missing + totals.damaged > 0 {
        text += "What is missing or damaged: `airlock prewarm` with the same paths fetches it on the connected side.\n";
    }
    text
}
