//! What inputs call things, and the versions that manifests name: for the policy.

use super::registries::Registries;
use super::{Content, Input, Solved};
use crate::julia::{Origin, RegistryIndex};
use crate::protocol::{Resource, TreeHash, Uuid};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Every resource that an input has a name for. A package without a hash has any tree.
pub fn said_names(inputs: &[Input]) -> impl Iterator<Item = (Resource, &str)> {
    inputs.iter().filter_map(|input| input.content.as_ref().ok()).flat_map(names)
}

fn names(content: &Content) -> Vec<(Resource, &str)> {
    match content {
        Content::Manifest(manifest) => {
            let packages = manifest.entries.iter().map(|entry| {
                let tree = match entry.origin {
                    Origin::Registered { tree } => tree,
                    _ => TreeHash::EMPTY,
                };
                (Resource::Package { uuid: entry.uuid, tree }, entry.name.as_str())
            });
            packages.collect()
        }
        Content::Artifacts(artifacts, owner) => {
            let artifacts = artifacts.iter().map(|it| (Resource::Artifact { tree: it.tree }, it.name.as_str()));
            let tree = TreeHash::EMPTY;
            let owner = owner.iter().map(|(name, uuid)| (Resource::Package { uuid: *uuid, tree }, name.as_str()));
            artifacts.chain(owner).collect()
        }
        Content::Project(input) => {
            let projects = [&input.project].into_iter().chain(&input.members).chain(&input.folders).chain(&input.tests);
            let deps = projects.flat_map(|it| it.deps.iter().chain(&it.weakdeps).chain(&it.extras));
            deps.map(|(name, &uuid)| (Resource::Package { uuid, tree: TreeHash::EMPTY }, name.as_str())).collect()
        }
        Content::Resolved(resolved) => {
            let packages = resolved.solved.iter().flat_map(|solved| &solved.packages);
            let named = packages.filter_map(|(&uuid, chosen)| {
                Some((Resource::Package { uuid, tree: chosen.tree? }, chosen.name.as_str()))
            });
            named.collect()
        }
        Content::Versions(versions) => versions
            .packages
            .iter()
            .filter_map(|(resource, wanted)| Some((*resource, wanted.name.as_deref()?)))
            .collect(),
        Content::Misses(misses) => {
            misses.entries.iter().filter_map(|entry| Some((entry.resource, entry.name.as_deref()?))).collect()
        }
        Content::Request(request) => {
            request.misses.iter().filter_map(|miss| Some((miss.resource, miss.name.as_deref()?))).collect()
        }
    }
}

/// The artifacts of inputs that are in the folder of a package, each with the package.
pub fn said_owners(inputs: &[Input]) -> impl Iterator<Item = (TreeHash, Uuid)> {
    inputs.iter().filter_map(|input| input.content.as_ref().ok()).flat_map(|content| match content {
        Content::Artifacts(artifacts, Some((_, owner))) => artifacts.iter().map(|it| (it.tree, *owner)).collect(),
        _ => Vec::new(),
    })
}

/// The packages that inputs name as versions, in whatever way.
pub(super) fn said_packages(inputs: &[Input], registries: &Registries) -> BTreeSet<Resource> {
    let mut said = BTreeSet::new();
    for content in inputs.iter().filter_map(|input| input.content.as_ref().ok()) {
        match content {
            Content::Manifest(manifest) => said.extend(manifest.entries.iter().filter_map(|entry| {
                let tree = match (&entry.origin, entry.version.as_deref()) {
                    (Origin::Registered { tree }, _) => *tree,
                    (Origin::Unhashed, Some(version)) => {
                        registries.versions(entry.uuid).find(|(_, it)| it.version == version)?.1.tree
                    }
                    _ => return None,
                };
                Some(Resource::Package { uuid: entry.uuid, tree })
            })),
            Content::Misses(misses) => said.extend(misses.entries.iter().map(|entry| entry.resource)),
            Content::Request(request) => {
                said.extend(request.misses.iter().map(|miss| miss.resource));
                said.extend(request.damaged.iter().map(|damaged| damaged.resource));
            }
            Content::Resolved(resolved) => {
                said.extend(resolved.solved.iter().flat_map(Solved::wanted).map(|(resource, _)| resource));
            }
            Content::Versions(versions) => said.extend(versions.packages.keys()),
            Content::Project(_) | Content::Artifacts(..) => {}
        }
    }
    said
}

/// The versions that manifests name, each with what it is called.
pub fn pinned_versions(inputs: &[Input], registries: &[Arc<RegistryIndex>]) -> Vec<(Resource, String)> {
    let manifests = inputs.iter().filter_map(|input| match &input.content {
        Ok(Content::Manifest(manifest)) => Some(manifest),
        _ => None,
    });
    let pins = manifests.flat_map(|manifest| &manifest.entries).filter_map(|entry| {
        let version = entry.version.as_deref();
        let tree = match (&entry.origin, version) {
            (Origin::Registered { tree }, _) => *tree,
            (Origin::Unhashed, Some(version)) => registries.iter().find_map(|it| it.lookup(entry.uuid, version))?,
            _ => return None,
        };
        let name = version.map_or_else(|| entry.name.clone(), |version| format!("{} {version}", entry.name));
        Some((Resource::Package { uuid: entry.uuid, tree }, name))
    });
    pins.collect()
}
