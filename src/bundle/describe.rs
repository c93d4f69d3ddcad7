//! What the index says about a resource besides its bytes: names, versions, repositories, and what
//! it replaces.

use super::hash::{Hashed, HashedRepository};
use super::select::Chosen;
use crate::exchange::{Entry, Replaced, RepositoryEntry, Request};
use crate::julia::{PackageToml, Version};
use crate::mirror::Mirror;
use crate::protocol::{Kind, Resource, Uuid};
use crate::store::Lookup;
use crate::tree::visit_files;
use std::collections::{BTreeMap, BTreeSet};

/// Longest address of a repository that is carried.
const LONGEST: usize = 1000;

/// The entries of a bundle, in the order of the index: registries, packages, artifacts, by name.
/// All in the first volume, for now.
pub(super) fn entries(mirror: &Mirror, chosen: &Chosen, request: Option<&Request>, hashed: &[Hashed]) -> Vec<Entry> {
    let packages: BTreeSet<_> = hashed.iter().filter_map(|it| package(&it.resource)).collect();
    let repositories = repositories(mirror, chosen, &packages);
    let replaced = request.map(|request| there(mirror, request, &packages));
    let entry = |it: &Hashed| {
        let (name, version) = name(mirror, chosen, &it.resource);
        let package = package(&it.resource);
        Entry {
            resource: it.resource,
            size: it.stamp.size,
            sha256: it.sha256,
            volume: 1,
            name,
            version,
            repository: package.and_then(|uuid| repositories.get(&uuid).cloned()),
            replaces: package.and_then(|uuid| {
                let there = replaced.as_ref()?.get(&uuid).cloned().unwrap_or_default();
                Some(Replaced(there))
            }),
        }
    };
    let mut entries: Vec<_> = hashed.iter().map(entry).collect();
    entries.sort_by(|a, b| {
        (a.resource.kind(), &a.name, &a.version, a.resource).cmp(&(b.resource.kind(), &b.name, &b.version, b.resource))
    });
    entries
}

/// Those of git bundles, likewise.
pub(super) fn repository_entries(chosen: &Chosen, hashed: &[HashedRepository]) -> Vec<RepositoryEntry> {
    let entry = |it: &HashedRepository| {
        let candidate = chosen.repositories.get(&it.file).cloned().unwrap_or_default();
        RepositoryEntry {
            file: it.file.clone(),
            size: it.stamp.size,
            sha256: it.sha256,
            volume: 1,
            url: candidate.url.filter(|url| is_plain(url)),
            packages: candidate.packages,
            trees: it.trees.clone(),
        }
    };
    hashed.iter().map(entry).collect()
}

fn package(resource: &Resource) -> Option<Uuid> {
    match resource {
        Resource::Package { uuid, .. } => Some(*uuid),
        Resource::Registry { .. } | Resource::Artifact { .. } => None,
    }
}

fn name(mirror: &Mirror, chosen: &Chosen, resource: &Resource) -> (Option<String>, Option<String>) {
    let known = mirror.name(resource);
    match (resource.kind(), chosen.plan.packages.get(resource)) {
        (Kind::Package, Some(wanted)) => (wanted.name.clone(), wanted.version.clone()),
        (Kind::Artifact, _) => {
            let label = chosen.label(mirror, resource);
            (Some(label).filter(|label| *label != resource.to_string()), None)
        }
        _ => known.map_or((None, None), |name| (Some(name.name), name.version)),
    }
}

/// Where the sources of these packages are, as the published registries have it.
fn repositories(mirror: &Mirror, chosen: &Chosen, packages: &BTreeSet<Uuid>) -> BTreeMap<Uuid, String> {
    let mut found = BTreeMap::new();
    for index in mirror.registries() {
        let paths: BTreeMap<_, _> =
            packages.iter().filter_map(|uuid| Some((format!("{}/Package.toml", index.path(*uuid)?), *uuid))).collect();
        let here = chosen.registries.iter().filter(|it| it.uuid == index.registry_uuid());
        for registry in here.map(|it| Resource::Registry { uuid: it.uuid, tree: it.tree }) {
            let Ok(Lookup::Verified(open, _)) = mirror.store().look_up(&registry) else { continue };
            let mut read = |path: &str, bytes: Vec<u8>| {
                let Some(uuid) = paths.get(path) else { return };
                let repository = String::from_utf8(bytes).ok().and_then(|text| PackageToml::parse(&text).ok()?.repo);
                found.extend(repository.filter(|text| is_plain(text)).map(|text| (*uuid, text)));
            };
            if let Err(error) = visit_files(open.file, mirror.limits(), &mut read) {
                tracing::warn!(%registry, "its repositories cannot be read: {error}");
            }
        }
    }
    found
}

fn is_plain(text: &str) -> bool {
    text.len() <= LONGEST && !text.chars().any(char::is_control)
}

/// The versions of packages on the other side, newest first.
fn there(mirror: &Mirror, request: &Request, packages: &BTreeSet<Uuid>) -> BTreeMap<Uuid, Vec<String>> {
    let registries = mirror.registries();
    let damaged: BTreeSet<_> = request.damaged.iter().map(|damaged| damaged.resource).collect();
    let mut there: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
    for resource in request.inventory.difference(&damaged) {
        let Resource::Package { uuid, tree } = *resource else { continue };
        if packages.contains(&uuid) {
            let version = registries.iter().find_map(|registry| registry.version_at(uuid, tree));
            there.entry(uuid).or_default().extend(version.map(|version| version.version.to_owned()));
        }
    }
    for versions in there.values_mut() {
        versions.sort_by_key(|text| std::cmp::Reverse(text.parse::<Version>().ok()));
    }
    there
}
