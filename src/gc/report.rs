//! What a gc comes to, as one document. Every key is always there, `null` where nothing is known.

use super::roots::Roots;
use crate::closure::{Input, InputReport, Listed, one_line};
use crate::protocol::{GENERAL, Kind, RepositoryFile, Resource, TreeHash, Uuid};
use crate::store::{Stamp, Store, StoreError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a gc comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The files that were read for roots, and the paths that gave none.
    pub inputs: Vec<InputReport>,
    /// Why nothing is removed: what these stand for cannot be told. Empty if all is well.
    pub refused: Vec<String>,
    /// Why all artifacts stay: which ones these packages of the roots need is not known here.
    pub doubts: Vec<String>,
    /// What no root needs, by kind, name, version and tree.
    pub resources: Vec<RemovedResource>,
    /// Git bundles of repositories that no root names, by file.
    pub repositories: Vec<RemovedRepository>,
    /// Files in quarantine that go too.
    pub quarantined: Totals,
    /// What stays.
    pub kept: Totals,
    /// What goes, without the quarantine.
    pub totals: Totals,
    /// Whether it is gone, not only shown.
    pub removed: bool,
}

/// A resource that no root needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RemovedResource {
    /// Its kind.
    pub kind: Kind,
    /// Its name, as far as a registry or a package here knows it.
    pub name: Option<String>,
    /// The version of a package.
    pub version: Option<String>,
    /// The uuid of a package or registry.
    pub uuid: Option<Uuid>,
    /// Its tree.
    pub tree: TreeHash,
    /// Its size.
    pub bytes: u64,
}

/// The git bundle of a repository that no root names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RemovedRepository {
    /// The file, as a path below the cache.
    pub file: RepositoryFile,
    /// Its size.
    pub bytes: u64,
}

/// Files and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// How many.
    pub files: usize,
    /// All together.
    pub bytes: u64,
}

impl Totals {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl Report {
    pub(super) fn new(inputs: &[Input], roots: &Roots) -> Self {
        let lines = |lines: &[String]| lines.iter().map(|line| one_line(line)).collect();
        Self {
            inputs: inputs.iter().map(InputReport::new).collect(),
            refused: lines(&roots.refused),
            doubts: lines(&roots.doubts),
            resources: Vec::new(),
            repositories: Vec::new(),
            quarantined: Totals::default(),
            kept: Totals::default(),
            totals: Totals::default(),
            removed: false,
        }
    }

    pub(super) fn keep(&mut self, bytes: u64) {
        self.kept.add(bytes);
    }

    pub(super) fn add_repositories(&mut self, files: &[(RepositoryFile, Stamp)]) {
        for (file, stamp) in files {
            self.totals.add(stamp.size);
            self.repositories.push(RemovedRepository { file: file.clone(), bytes: stamp.size });
        }
    }

    pub(super) fn add_quarantined(&mut self, files: &[(PathBuf, u64)]) {
        for (_, bytes) in files {
            self.quarantined.add(*bytes);
        }
    }

    pub(super) fn add_resources(
        &mut self,
        store: &Store,
        resources: &[(Resource, Stamp)],
        listed: &Listed,
    ) -> Result<(), StoreError> {
        let artifacts = artifact_names(store, resources, listed)?;
        for (resource, stamp) in resources {
            let (name, version) = name(resource, listed, &artifacts);
            let (kind, uuid, tree) = (resource.kind(), resource.uuid(), resource.tree());
            self.resources.push(RemovedResource { kind, name, version, uuid, tree, bytes: stamp.size });
            self.totals.add(stamp.size);
        }
        self.resources.sort_unstable();
        Ok(())
    }
}

fn name(
    resource: &Resource,
    listed: &Listed,
    artifacts: &BTreeMap<TreeHash, String>,
) -> (Option<String>, Option<String>) {
    match *resource {
        Resource::Registry { uuid, .. } => {
            let name = listed.registry_name(uuid).or((uuid == GENERAL).then_some("General"));
            (name.map(str::to_owned), None)
        }
        Resource::Package { uuid, tree } => match listed.package_name(uuid, tree) {
            Some((name, version)) => (Some(name.to_owned()), version.map(str::to_owned)),
            None => (None, None),
        },
        Resource::Artifact { tree } => (artifacts.get(&tree).cloned(), None),
    }
}

/// What the packages that were ever here call the artifacts that go.
fn artifact_names(
    store: &Store,
    resources: &[(Resource, Stamp)],
    listed: &Listed,
) -> Result<BTreeMap<TreeHash, String>, StoreError> {
    let mut names: BTreeMap<_, _> = resources
        .iter()
        .filter(|(resource, _)| resource.kind() == Kind::Artifact)
        .map(|(resource, _)| (resource.tree(), None::<String>))
        .collect();
    store.for_each_fact(|fact| {
        let owner = fact.resource.uuid().and_then(|uuid| listed.package_name(uuid, fact.resource.tree()));
        for artifact in &fact.artifacts {
            if let Some(name) = names.get_mut(&artifact.tree) {
                let of = owner.map_or(String::new(), |(owner, _)| format!(" of {owner}"));
                let found = artifact.name.clone() + &of;
                // Facts are in no order: the first by name counts.
                if name.as_ref().is_none_or(|known| found < *known) {
                    *name = Some(found);
                }
            }
        }
    })?;
    Ok(names.into_iter().filter_map(|(tree, name)| Some((tree, name?))).collect())
}
