//! `airlock verify`.

use super::args::{Upstream, switch};
use super::progress::Bar;
use super::serve::unless_stopped;
use super::table::{bytes, printable};
use super::{Outcome, block_on, default_jobs, open_existing_store, print, print_json, say, sources};
use crate::config::{Config, Settings};
use crate::mirror::{Mirror, Patience, blocking, limits};
use crate::protocol::{Kind, REPOSITORIES, Resource};
use crate::repair::{Repair, RepairReport, RepairStatus, repair};
use crate::store::{Action, Store, StoreError};
use crate::verify::{Report, Scope, all, verify_scope};
use std::fmt::Write as _;
use std::path::{Component, Path};
use std::sync::Arc;

/// Repairs at one time.
const AT_ONE_TIME: usize = 16;

/// `airlock verify`
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// What is damaged, cannot be read, or was set aside before is fetched again; what cannot be had
    /// is written to the misses
    #[arg(long, env = "AIRLOCK_REPAIR", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    repair: Option<bool>,
    /// Only say what is damaged; nothing is moved and nothing fetched
    #[arg(long, env = "AIRLOCK_DRY_RUN", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    dry_run: Option<bool>,
    #[command(flatten)]
    upstream: Upstream,
    /// Ask no upstream: what is damaged is written to the misses
    #[arg(long, env = "AIRLOCK_OFFLINE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    offline: Option<bool>,
    /// Files hashed side by side [default: one per processor]
    #[arg(long, env = "AIRLOCK_JOBS", value_name = "N")]
    jobs: Option<usize>,
    /// One JSON document on standard output
    #[arg(long, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
    /// Only these: packages by name, or files and folders of the cache directory (package/UUID)
    #[arg(value_name = "NAME|PATH")]
    parts: Vec<String>,
}

impl VerifyArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        let upstream = self.upstream.setting();
        Settings { jobs: self.jobs, json: self.json, offline: self.offline, upstream, ..common }
    }
}

pub(super) fn run(config: &Config, args: &VerifyArgs) -> anyhow::Result<Outcome> {
    let store = open_existing_store(config)?;
    let (repairs, dry_run) = (args.repair.unwrap_or(false), args.dry_run.unwrap_or(false));
    block_on(async {
        // A plain look asks nobody.
        let sources = if repairs && !dry_run { sources(config)? } else { Vec::new() };
        let mirror = Arc::new(Mirror::new(Arc::clone(&store), sources, config));
        let scope = Scope { parts: parts(&mirror, &args.parts).await?, moves: !dry_run };
        let found = hash(&store, config, scope.clone()).await?;
        let summary = summary(&found);
        if !repairs {
            store.note(Action::Verify, found.is_clean(), summary.clone());
            let is_clean = found.is_clean();
            if config.json {
                print_json(&found)?;
            } else {
                print(&(summary + "\n" + &text(&found)))?;
            }
            return Ok(outcome(is_clean));
        }
        let bar = Bar::new(0, "repairing");
        bar.set_total((found.damaged.len() + found.unreadable.len()) as u64);
        let patience = Patience::prewarm(config.prewarm.attempts);
        let step = |repair: &Repair| bar.step(&printable(&title(repair)), repair.bytes.unwrap_or_default());
        let repaired = unless_stopped(repair(&mirror, found, &scope, patience, AT_ONE_TIME, &step)).await?;
        bar.finish();
        // What was missed is on disk before anybody is told so.
        mirror.close().await;
        let Some(report) = repaired else { anyhow::bail!("stopped") };
        let report = report?;
        let counts = count(&report);
        if !dry_run {
            store.note(Action::Verify, report.whole, format!("{summary}; {counts}"));
        }
        if config.json {
            print_json(&report)?;
        } else {
            print(&format!("{summary}; {counts}\n{}", repair_text(&report)))?;
            advise(&report);
        }
        Ok(outcome(report.whole))
    })
}

async fn hash(store: &Arc<Store>, config: &Config, scope: Scope) -> anyhow::Result<Report> {
    let (store, limits, jobs) = (Arc::clone(store), limits(&config.limits), default_jobs(config));
    let found = blocking(move || {
        let files = all(&store).filter(|it| matches!(it, Ok(resource) if scope.has(resource))).count() as u64;
        let bar = Bar::new(files, "verifying");
        let report = verify_scope(&store, &limits, jobs, &scope, &|resource, bytes| {
            bar.step(&resource.to_string(), bytes);
        });
        bar.finish();
        report
    });
    Ok(found.await??)
}

/// What somebody named, as paths below the cache directory.
async fn parts(mirror: &Arc<Mirror>, named: &[String]) -> anyhow::Result<Vec<String>> {
    let mut parts = Vec::new();
    let mut packages = Vec::new();
    for name in named {
        match below(mirror.store().root(), name) {
            Some(part) => parts.push(part),
            None => packages.push(name.clone()),
        }
    }
    if packages.is_empty() {
        return Ok(parts);
    }
    mirror.load_names().await;
    let reader = Arc::clone(mirror);
    let found = blocking(move || {
        packages.into_iter().map(|name| Ok((of_package(&reader, &name)?, name))).collect::<Result<Vec<_>, StoreError>>()
    });
    for (found, name) in found.await?? {
        anyhow::ensure!(
            !found.is_empty(),
            "{name:?} is no package that a registry here knows, and no path in the cache"
        );
        parts.extend(found);
    }
    Ok(parts)
}

/// `registry`, `package/UUID`, `/artifact/TREE`, or the path of a file or folder in the cache.
fn below(root: &Path, name: &str) -> Option<String> {
    let kinds = || Kind::ALL.iter().map(|kind| kind.folder()).chain([REPOSITORIES]);
    let is_kind = |path: &str| kinds().any(|kind| path.split('/').next() == Some(kind));
    let plain = name.trim_matches('/');
    if is_kind(plain) {
        return Some(plain.to_owned());
    }
    let path = fs_err::canonicalize(name).ok()?;
    let path = path.strip_prefix(root).ok()?;
    let parts = path.components().map(|part| match part {
        Component::Normal(part) => part.to_str(),
        _ => None,
    });
    let path = parts.collect::<Option<Vec<_>>>()?.join("/");
    is_kind(&path).then_some(path)
}

/// A package's folders, and the artifacts that those of its versions name that are here.
fn of_package(mirror: &Mirror, name: &str) -> Result<Vec<String>, StoreError> {
    let mut parts = Vec::new();
    for index in mirror.registries() {
        for (uuid, _) in index.packages().filter(|(_, known)| *known == name) {
            let folder = format!("package/{uuid}");
            if !parts.contains(&folder) {
                parts.push(folder);
            }
        }
    }
    let folders = parts.clone();
    mirror.store().for_each_fact(|fact| {
        let is_its =
            |folder: &String| Some(folder.as_str()) == fact.resource.relative_path().rsplit_once('/').map(|it| it.0);
        if fact.resource.kind() == Kind::Package && folders.iter().any(is_its) {
            let artifacts = fact.artifacts.iter().map(|it| Resource::Artifact { tree: it.tree }.relative_path());
            parts.extend(artifacts);
        }
    })?;
    Ok(parts)
}

const fn outcome(is_whole: bool) -> Outcome {
    if is_whole { Outcome::Complete } else { Outcome::Incomplete }
}

fn summary(found: &Report) -> String {
    let bad = (found.damaged.len() + found.repositories.iter().filter(|bad| bad.damaged).count()) as u64;
    let good = found.checked - bad;
    format!("{} files checked, {}: {good} good, {bad} damaged", found.checked, bytes(found.bytes))
}

fn text(found: &Report) -> String {
    let mut text = String::new();
    for damaged in &found.damaged {
        let place =
            damaged.quarantine.as_ref().map_or("still in place".into(), |to| format!("moved to {}", to.display()));
        let _ = writeln!(text, "damaged: {}: {} ({place})", damaged.resource, damaged.problem);
    }
    for unreadable in &found.unreadable {
        let _ = writeln!(text, "unreadable: {}: {}", unreadable.resource, unreadable.problem);
    }
    text + &repositories(found)
}

fn repositories(found: &Report) -> String {
    let mut text = String::new();
    for bad in &found.repositories {
        let place = bad.quarantine.as_ref().map_or("still in place".into(), |to| format!("moved to {}", to.display()));
        let what = if bad.damaged { "damaged" } else { "unreadable" };
        let _ = writeln!(text, "{what}: {}: {} ({place})", bad.file, printable(&bad.problem));
    }
    text
}

fn count(report: &RepairReport) -> String {
    let count = |status| report.repairs.iter().filter(|repair| repair.status == status).count();
    match (count(RepairStatus::Repaired), count(RepairStatus::Failed), count(RepairStatus::Planned)) {
        (0, 0, 0) => "nothing to repair".to_owned(),
        (0, 0, planned) => format!("{planned} to be repaired"),
        (repaired, failed, _) => format!("{repaired} repaired, {failed} not"),
    }
}

/// `Example 1.2.3 (/package/…)`, or the path alone.
fn title(repair: &Repair) -> String {
    match (&repair.name, &repair.version) {
        (Some(name), Some(version)) => format!("{name} {version} ({})", repair.resource),
        (Some(name), None) => format!("{name} ({})", repair.resource),
        (None, _) => repair.resource.to_string(),
    }
}

fn repair_text(report: &RepairReport) -> String {
    let mut text = repositories(&report.found);
    for repair in &report.repairs {
        let (title, problem) = (printable(&title(repair)), printable(&repair.problem));
        let what = match (repair.status, &repair.from, &repair.reason) {
            (RepairStatus::Planned, ..) => "would be repaired".to_owned(),
            (RepairStatus::Repaired, Some(from), _) => format!("repaired, from {from}"),
            (RepairStatus::Repaired, None, _) => "repaired".to_owned(),
            (RepairStatus::Failed, _, reason) => format!("not repaired: {}", reason.as_deref().unwrap_or("-")),
        };
        let _ = writeln!(text, "{title}: {problem}: {}", printable(&what));
    }
    text
}

fn advise(report: &RepairReport) {
    let missed = report.repairs.iter().filter(|repair| repair.missed).count();
    if missed > 0 {
        say(&format!(
            "{missed} of these are on the list of misses now: `airlock misses export FILE` writes it, \
             `airlock prewarm FILE` fetches them on the connected side"
        ));
    }
    let repositories = report.found.repositories.len();
    if repositories > 0 {
        say(&format!(
            "{repositories} git bundles are no good, and nobody is asked for them: only a manifest says what must be in \
             one. `airlock prewarm --git MANIFEST` makes them again on the connected side, a bundle carries them"
        ));
    }
    for it in &report.stepped_back {
        let shown = it.shown.map_or_else(|| "leaves it out".to_owned(), |tree| format!("shows {tree} in its place"));
        say(&format!(
            "registry {} at {}, which /{} names, is not here: the listing {shown}",
            it.uuid,
            it.published,
            it.flavor.file_name()
        ));
    }
}
