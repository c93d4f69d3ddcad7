//! What must stay.

use super::Request;
use crate::closure::{Content, Input, Listed, Plan, Selection, State, Unmirrorable, UnmirrorableKind, survey};
use crate::protocol::{Kind, RegistryTree, RepositoryFile, Resource, TreeHash, Uuid};
use crate::store::{Generation, Store, StoreError};
use crate::tree::Limits;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What must stay, and what stands in the way of telling.
#[derive(Debug, Default)]
pub(super) struct Roots {
    /// Resources that a root names.
    named: HashSet<Resource>,
    /// Git bundles of repositories that a root names; `None` for all.
    repositories: Option<HashSet<RepositoryFile>>,
    /// Kinds of which nothing goes.
    whole: Vec<Kind>,
    /// Why artifacts stay that nobody is known to need.
    pub(super) doubts: Vec<String>,
    /// Why nothing can be told at all.
    pub(super) refused: Vec<String>,
}

impl Roots {
    pub(super) fn find(
        store: &Store,
        limits: &Limits,
        request: &Request,
        inputs: &[Input],
        listed: &Listed,
        progress: &(impl Fn(&Resource) + Sync),
    ) -> Result<Self, StoreError> {
        let mut roots = Self { named: kept_registries(store, request.keep_generations)?, ..Self::default() };
        if request.paths.is_empty() {
            roots.whole = vec![Kind::Package, Kind::Artifact];
            return Ok(roots);
        }
        let broken = inputs.iter().filter_map(|input| input.content.as_ref().err());
        roots.refused.extend(broken.map(ToString::to_string));
        roots.refused.extend(inputs.iter().filter_map(project));
        let mut plan = Plan::new(Selection::ALL, inputs, listed.indexes.clone());
        roots.refused.extend(plan.unmirrorable.iter().filter_map(unresolved));
        if !roots.refused.is_empty() {
            return Ok(roots);
        }
        // Whatever of a repository is wanted is in its one file.
        let files = plan.repositories.values().filter_map(|it| RepositoryFile::of(it.address.expose()).ok());
        roots.repositories = Some(files.collect());
        let survey = survey(store, limits, &mut plan, request.jobs, progress)?;
        for (package, wanted) in &plan.packages {
            let why = match survey.states.get(package) {
                Some(State::Here { .. }) => continue,
                Some(State::Bad(reason)) => format!("is damaged ({reason})"),
                Some(State::Absent) | None => "is not here".to_owned(),
            };
            let version = wanted.version.as_deref().unwrap_or_default();
            let name = wanted.name.clone().map_or_else(|| package.to_string(), |name| format!("{name} {version}"));
            roots.doubts.push(format!("{} {why}", name.trim_end()));
        }
        if !request.no_local_artifacts {
            roots.doubts.extend(local_packages(inputs));
        }
        roots.doubts.sort_unstable();
        roots.doubts.dedup();
        if !roots.doubts.is_empty() {
            roots.whole.push(Kind::Artifact);
        }
        roots.named.extend(plan.resources());
        Ok(roots)
    }

    pub(super) fn keep_repository(&self, file: &RepositoryFile) -> bool {
        self.repositories.as_ref().is_none_or(|named| named.contains(file))
    }

    pub(super) fn keep(&self, resource: &Resource) -> bool {
        self.whole.contains(&resource.kind()) || self.named.contains(resource)
    }
}

/// What was chosen for a project once is not what would be chosen now, so it says nothing about what
/// clients have.
fn project(input: &Input) -> Option<String> {
    let is_project = matches!(input.content, Ok(Content::Project(_)));
    let path = input.path.display();
    is_project.then(|| {
        format!("{path}: a project names no exact versions, so it cannot keep any: give the Manifest.toml that belongs to it")
    })
}

/// An entry that may stand for a package here, nobody can say which.
fn unresolved(entry: &Unmirrorable) -> Option<String> {
    let Unmirrorable { name, version, kind, .. } = entry;
    let version = version.as_deref().unwrap_or("without a version");
    (*kind == UnmirrorableKind::Unhashed)
        .then(|| format!("{name} {version} has no tree hash in its manifest, and no registry here has this version"))
}

/// Packages whose files are elsewhere, and with them the names of their artifacts, which clients
/// before Julia 1.13 ask the package server for.
fn local_packages(inputs: &[Input]) -> impl Iterator<Item = String> {
    use crate::julia::Origin;
    let manifests = inputs.iter().filter_map(|input| match &input.content {
        Ok(Content::Manifest(manifest)) => Some(manifest),
        _ => None,
    });
    manifests.flat_map(|manifest| &manifest.entries).filter_map(|entry| match &entry.origin {
        Origin::Path { .. } => Some(format!("{} is a folder elsewhere", entry.name)),
        Origin::Git { .. } => Some(format!("{} is in a git repository", entry.name)),
        Origin::Registered { .. } | Origin::Unhashed => None,
    })
}

/// The registries that stay whatever the inputs are: those that a listing or a pin names, and of
/// each registry the newest `generations`.
fn kept_registries(store: &Store, generations: usize) -> Result<HashSet<Resource>, StoreError> {
    let mut kept: HashSet<_> = store.named_registries()?.into_iter().map(Resource::from).collect();
    let log = store.generations()?;
    let mut here: BTreeMap<Uuid, BTreeSet<(Published, TreeHash)>> = BTreeMap::new();
    for resource in store.resources(Kind::Registry) {
        let resource = resource?;
        let Some(stamp) = store.stamp(&resource)? else { continue };
        let Resource::Registry { uuid, tree } = resource else { continue };
        let time = published(&log, RegistryTree { uuid, tree }).unwrap_or((i128::from(stamp.mtime), 0));
        here.entry(uuid).or_default().insert((time, tree));
    }
    for (uuid, trees) in here {
        let newest = trees.into_iter().rev().take(generations);
        kept.extend(newest.map(|(_, tree)| Resource::Registry { uuid, tree }));
    }
    Ok(kept)
}

/// A time, and a place in the log.
type Published = (i128, usize);

/// When a tree was published here last, in nanoseconds since 1970, and its place in the log: never
/// before what the log has before it, for a clock may have been wrong. What came by rsync was not.
fn published(log: &[Generation], registry: RegistryTree) -> Option<Published> {
    let is_it = |entry: &Generation| (entry.uuid, entry.tree) == (registry.uuid, registry.tree);
    let place = log.iter().rposition(is_it)?;
    let latest = log.iter().take(place + 1).map(|entry| entry.time.as_nanosecond()).max()?;
    Some((latest, place + 1))
}
