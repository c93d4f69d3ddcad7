//! `airlock prewarm`.

use super::args::{Upstream, some, switch};
use super::progress::Bar;
use super::serve::stop_signal;
use super::table::{bytes, table};
use super::{Outcome, complain, open_store, print, print_json, say, sources};
use crate::closure::UnmirrorableKind;
use crate::config::{Config, PrewarmSettings, Settings};
use crate::mirror::Mirror;
use crate::prewarm::{self, Event, Progress, RegistryReport, Report, Request, Status};
use crate::protocol::{GENERAL, Resource, TreeHash};
use crate::store::Action;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(super) struct PrewarmArgs {
    #[command(flatten)]
    upstream: Upstream,
    /// Platform whose artifacts are wanted: a triplet such as x86_64-linux-gnu, host, or all;
    /// repeat for more [default: host]
    #[arg(long, env = "AIRLOCK_PLATFORM", value_name = "TRIPLET|host|all", value_delimiter = ',')]
    platform: Vec<String>,
    /// Leave lazy artifacts out
    #[arg(long, env = "AIRLOCK_NO_LAZY", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    no_lazy: Option<bool>,
    /// Fetches side by side [default: 64]
    #[arg(long, env = "AIRLOCK_JOBS", value_name = "N")]
    jobs: Option<usize>,
    /// How often one resource is tried [default: 5]
    #[arg(long, env = "AIRLOCK_ATTEMPTS", value_name = "N")]
    attempts: Option<u32>,
    /// Print the plan; needs no upstream and fetches nothing
    #[arg(long, env = "AIRLOCK_DRY_RUN", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    dry_run: Option<bool>,
    /// Entries that no package server can serve do not make the exit code 1
    #[arg(long, env = "AIRLOCK_ALLOW_UNMIRRORABLE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    allow_unmirrorable: Option<bool>,
    /// One JSON document on standard output
    #[arg(long, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
    /// Manifests, Artifacts.toml files, exported lists of misses, or folders to search for them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl PrewarmArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        let prewarm = PrewarmSettings {
            platform: some(&self.platform),
            no_lazy: self.no_lazy,
            dry_run: self.dry_run,
            allow_unmirrorable: self.allow_unmirrorable,
            attempts: self.attempts,
        };
        Settings { upstream: self.upstream.setting(), jobs: self.jobs, json: self.json, prewarm, ..common }
    }
}

pub(super) async fn run(config: &Config, args: PrewarmArgs) -> anyhow::Result<Outcome> {
    let request = Request::new(args.paths, config)?;
    // A dry run asks nobody, so it does not even need a client that could.
    let sources = if request.dry_run { Vec::new() } else { sources(config)? };
    let mirror = Arc::new(Mirror::new(open_store(config)?, sources, config));
    let (cancel, stop) = (request.cancel.clone(), stop_signal()?);
    let stopping = tokio::spawn(async move {
        stop.await;
        say("stopping; what was fetched so far stays");
        cancel.cancel();
    });
    let bar = Bar::new(0, "prewarm");
    let report = prewarm::run(Arc::clone(&mirror), request, &bar).await;
    bar.finish();
    stopping.abort();
    if !config.prewarm.dry_run && report.inputs.iter().any(|input| input.error.is_none()) {
        mirror.store().note(Action::Prewarm, report.is_complete(), summary(&report).trim_end().to_owned());
    }
    mirror.close().await;
    if config.json {
        print_json(&report)?;
    } else {
        complain(&report.inputs);
        print(&text(&report, &mirror))?;
    }
    Ok(if report.is_complete() { Outcome::Complete } else { Outcome::Incomplete })
}

impl Progress for Bar {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Registries => self.message("asking for registries"),
            Event::Planned { resources } => self.set_total(*resources as u64),
            Event::Started { .. } => {}
            Event::Done { name, outcome, .. } => self.step(name, outcome.bytes.unwrap_or_default()),
        }
    }
}

/// What a person wants to know: what came, what did not and why. What was here already is only
/// counted.
pub(super) fn text(report: &Report, mirror: &Mirror) -> String {
    let mut text = String::new();
    let rows = rows(report, mirror);
    if !rows.is_empty() {
        text += &table(&["STATUS", "KIND", "NAME", "VERSION", "SIZE", "TREE", "WHY"], &rows);
    }
    for entry in &report.unmirrorable {
        let version = entry.version.as_deref().unwrap_or("without a version");
        let why = match entry.kind {
            UnmirrorableKind::Git => format!("comes from {}", entry.repo_url.as_deref().unwrap_or("a repository")),
            UnmirrorableKind::Unhashed => "has no tree hash and no registry here knows it".to_owned(),
        };
        let _ = writeln!(text, "cannot be mirrored: {} {version}: {why}", entry.name);
    }
    text + &summary(report)
}

fn rows(report: &Report, mirror: &Mirror) -> Vec<Vec<String>> {
    let registries = report.registries.iter().map(|it| Row {
        kind: "registry",
        name: Some(registry_name(mirror, it)),
        version: None,
        tree: it.tree,
        outcome: (it.status, it.bytes, it.reason.as_deref()),
    });
    let packages = report.packages.iter().map(|it| Row {
        kind: "package",
        name: it.name.clone(),
        version: it.version.as_deref(),
        tree: Some(it.tree),
        outcome: (it.status, it.bytes, it.reason.as_deref()),
    });
    let artifacts = report.artifacts.iter().map(|it| Row {
        kind: "artifact",
        name: Some(
            it.names.join(", ") + &it.package.as_ref().map_or(String::new(), |package| format!(" of {package}")),
        ),
        version: None,
        tree: Some(it.tree),
        outcome: (it.status, it.bytes, it.reason.as_deref()),
    });
    let all = registries.chain(packages).chain(artifacts);
    all.filter(|row| row.outcome.0 != Status::Cached).map(Row::cells).collect()
}

/// The name if the registry is here, else its uuid.
fn registry_name(mirror: &Mirror, registry: &RegistryReport) -> String {
    let resource = registry.tree.map(|tree| Resource::Registry { uuid: registry.uuid, tree });
    let name = resource.and_then(|resource| mirror.name(&resource));
    let unknown = || if registry.uuid == GENERAL { "General".to_owned() } else { registry.uuid.to_string() };
    name.map_or_else(unknown, |name| name.name)
}

struct Row<'r> {
    kind: &'static str,
    name: Option<String>,
    version: Option<&'r str>,
    tree: Option<TreeHash>,
    outcome: (Status, Option<u64>, Option<&'r str>),
}

impl Row<'_> {
    fn cells(self) -> Vec<String> {
        let (status, size, why) = self.outcome;
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            word(&status),
            self.kind.to_owned(),
            or_dash(self.name),
            or_dash(self.version.map(str::to_owned)),
            or_dash(size.map(bytes)),
            or_dash(self.tree.map(|tree| tree.to_string()[..12].to_owned())),
            why.unwrap_or_default().to_owned(),
        ]
    }
}

fn summary(report: &Report) -> String {
    let totals = &report.totals;
    let mut parts = Vec::new();
    for (count, what) in [
        (totals.fetched, "fetched"),
        (totals.cached, "here already"),
        (totals.planned, "planned"),
        (totals.failed, "failed"),
        (totals.denied, "denied"),
        (report.unmirrorable.len(), "not mirrorable"),
        (report.standard_libraries, "standard libraries"),
        (report.local_paths, "local paths"),
        (report.unopened_packages, "packages not opened for their artifacts yet"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    if report.inputs.iter().all(|input| input.error.is_some()) {
        return "no input could be used; nothing was fetched\n".to_owned();
    }
    let parts = if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") };
    format!("{parts}; {} in all\n", bytes(totals.bytes))
}

/// The word that the JSON document has.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
