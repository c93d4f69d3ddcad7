//! What came of a prewarm, for people.

use super::super::table::{bytes, table};
use crate::closure::UnmirrorableKind;
use crate::mirror::Mirror;
use crate::prewarm::{Estimate, RegistryReport, Report, Status};
use crate::protocol::{GENERAL, Resource, TreeHash};
use serde::Serialize;
use std::fmt::Write as _;

/// What a person wants to know: what came, what did not and why. What was here already is only
/// counted.
pub(in super::super) fn text(report: &Report, mirror: &Mirror) -> String {
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
        // What is wrong with a whole listing says whose it is.
        name: Some(registry_name(mirror, it)).filter(|_| it.tree.is_some() || it.status == Status::Planned),
        version: None,
        tree: it.tree,
        outcome: (it.status, it.bytes, it.reason.clone()),
    });
    let servers: Vec<_> = mirror.sources().into_iter().map(|(source, _)| source.name()).collect();
    // That it came from a server is what everybody expects.
    let why = |reason: &Option<String>, from: &Option<String>| {
        let place = from.as_ref().filter(|from| !servers.contains(&from.as_str()));
        reason.clone().or_else(|| place.map(|place| format!("from {place}")))
    };
    // Of very many that are not fetched yet nobody wants to read each.
    let is_shown = |status: Status| report.estimate.is_none() || status != Status::Planned;
    let packages = report.packages.iter().filter(|it| is_shown(it.status)).map(|it| Row {
        kind: "package",
        name: it.name.clone(),
        version: it.version.as_deref(),
        tree: Some(it.tree),
        outcome: (it.status, it.bytes, why(&it.reason, &it.from)),
    });
    let artifacts = report.artifacts.iter().filter(|it| is_shown(it.status)).map(|it| Row {
        kind: "artifact",
        name: Some(
            it.names.join(", ") + &it.package.as_ref().map_or(String::new(), |package| format!(" of {package}")),
        ),
        version: None,
        tree: Some(it.tree),
        outcome: (it.status, it.bytes, why(&it.reason, &it.from)),
    });
    let repositories = report.repositories.iter().map(|it| Row {
        kind: "repository",
        name: Some(it.url.clone()),
        version: None,
        tree: it.missing.first().or(it.trees.first()).copied(),
        outcome: (it.status, it.bytes, it.reason.clone()),
    });
    let all = registries.chain(packages).chain(artifacts).chain(repositories);
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
    outcome: (Status, Option<u64>, Option<String>),
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
            why.unwrap_or_default(),
        ]
    }
}

pub(super) fn summary(report: &Report) -> String {
    let totals = &report.totals;
    let mut parts = Vec::new();
    for (count, what) in [
        (totals.fetched, "fetched"),
        (totals.cached, "here already"),
        (totals.planned, "planned"),
        (totals.failed, "failed"),
        (totals.denied, "denied"),
        (report.repositories.iter().filter(|it| it.is_here()).count(), "repositories"),
        (report.unmirrorable.len(), "not mirrorable"),
        (report.standard_libraries, "standard libraries"),
        (report.local_paths, "local paths"),
        (report.unopened_packages, "packages not opened for their artifacts yet"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    if totals.planned > 0 && report.estimate.as_ref().is_some_and(|estimate| !estimate.started) {
        parts.push("--yes fetches them".to_owned());
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

/// How much it is, in a line.
pub(super) fn estimate(estimate: &Estimate) -> String {
    let Estimate { packages, versions, here, sample, .. } = *estimate;
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let size = match estimate.bytes {
        Some(0) => "nothing to fetch".to_owned(),
        Some(size) => format!("about {} to fetch, told by {} here", bytes(size), counted(sample, "package")),
        None => "nothing is here yet to tell their size by".to_owned(),
    };
    let free = estimate.free.map(|free| format!("; {} free", bytes(free))).unwrap_or_default();
    let tight = match (estimate.bytes, estimate.free) {
        (Some(size), Some(free)) if size > free => ", which is not enough",
        _ => "",
    };
    let (versions, packages) = (counted(versions, "version"), counted(packages, "package"));
    format!("{versions} of {packages}, {here} of them here; {size}{free}{tight}")
}
