//! The names of things, for people: which package and version a tree hash is, as far as a registry
//! here knows. Loaded in the background; until then hashes stay hashes.

use super::artifacts::Artifacts;
use super::{Mirror, blocking, lock};
use crate::julia::RegistryIndexBuilder;
use crate::julia::{RegistryError, RegistryIndex};
use crate::protocol::{Flavor, RegistryTree, Resource, TreeHash, Uuid};
use crate::store::{FactsRead, HeldArtifact, Lookup, Store, StoreError};
use crate::tree::{Limits, TreeError, visit_files};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// What a resource is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The package's, registry's or artifact's name.
    pub name: String,
    /// The package's version.
    pub version: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    registries: Mutex<BTreeMap<Uuid, (TreeHash, Arc<RegistryIndex>)>>,
    /// Those that are not what a registry must be: their content is their name, so that is for good.
    unreadable: Mutex<BTreeSet<RegistryTree>>,
    artifacts: Mutex<Artifacts>,
    /// The facts that `artifacts` knows. Reading all of a large cache's costs seconds.
    read: Mutex<FactsRead>,
}

impl Names {
    pub(super) fn name(&self, resource: &Resource) -> Option<Name> {
        match *resource {
            Resource::Registry { uuid, .. } => {
                let registries = lock(&self.registries);
                let (_, index) = registries.get(&uuid)?;
                Some(Name { name: index.registry_name().to_owned(), version: None })
            }
            Resource::Package { uuid, tree } => lock(&self.registries).values().find_map(|(_, index)| {
                let version = index.version_at(uuid, tree).map(|version| version.version.to_owned());
                Some(Name { name: index.name(uuid)?.to_owned(), version })
            }),
            Resource::Artifact { tree } => {
                let (name, package) = {
                    let artifacts = lock(&self.artifacts);
                    let (name, package) = artifacts.name(tree)?;
                    (name.to_owned(), package)
                };
                let owner = package.and_then(|package| self.name(&package));
                let owner = owner.filter(|owner| owner.name != name);
                let name = owner.map_or_else(|| name.clone(), |owner| format!("{name} of {}", owner.name));
                Some(Name { name, version: None })
            }
        }
    }

    /// The artifacts that a package names.
    pub(super) fn learn_artifacts(&self, resource: &Resource, held: &[HeldArtifact]) {
        lock(&self.artifacts).learn(resource, held);
    }

    /// The packages that name an artifact: of each, one version.
    pub(super) fn packages_with(&self, artifact: TreeHash) -> Vec<Resource> {
        lock(&self.artifacts).packages(artifact)
    }

    /// The published registries that are loaded.
    pub(super) fn published(&self) -> Vec<(Resource, Arc<RegistryIndex>)> {
        let registries = lock(&self.registries);
        let published = registries
            .iter()
            .map(|(&uuid, (tree, index))| (Resource::Registry { uuid, tree: *tree }, Arc::clone(index)));
        published.collect()
    }

    pub(super) fn registry_name(&self, uuid: Uuid) -> Option<Arc<str>> {
        lock(&self.registries).get(&uuid).map(|(_, index)| index.registry_name().into())
    }

    pub(super) fn loaded(&self, uuid: Uuid) -> Option<TreeHash> {
        lock(&self.registries).get(&uuid).map(|(tree, _)| *tree)
    }
}

impl Mirror {
    /// What a resource is called, if a registry here knows it.
    pub fn name(&self, resource: &Resource) -> Option<Name> {
        self.names.name(resource)
    }

    /// The indexes of the published registries.
    pub fn registries(&self) -> Vec<Arc<RegistryIndex>> {
        lock(&self.names.registries).values().map(|(_, index)| Arc::clone(index)).collect()
    }

    /// Reads the published registries that are not loaded yet, and the artifacts that packages
    /// here name.
    pub async fn load_names(self: &Arc<Self>) {
        self.log_found().await;
        self.read_names().await;
    }

    /// The same without a look at what other tools put into the listings.
    pub(super) async fn read_names(self: &Arc<Self>) {
        self.verify_listed().await;
        let mirror = Arc::clone(self);
        if let Err(error) = blocking(move || mirror.load_names_blocking()).await.and_then(|loaded| loaded) {
            tracing::warn!("names cannot be shown: {error}");
        }
    }

    pub(super) fn load_names_blocking(&self) -> std::io::Result<()> {
        for flavor in [Flavor::Plain, Flavor::Conservative, Flavor::Eager] {
            let listing = self.store.listing(flavor).map_err(std::io::Error::other)?.unwrap_or_default();
            for registry in listing.iter() {
                let is_loaded = self.names.loaded(registry.uuid) == Some(registry.tree);
                if is_loaded || lock(&self.names.unreadable).contains(&registry) {
                    continue;
                }
                match load_registry(&self.store, &registry.into(), &self.limits) {
                    Ok(index) => {
                        self.see(&index);
                        let entry = (registry.tree, Arc::new(index));
                        lock(&self.names.registries).insert(registry.uuid, entry);
                    }
                    Err(error) => {
                        let is_for_good = matches!(error, LoadError::Registry(_));
                        if !is_for_good || lock(&self.names.unreadable).insert(registry) {
                            tracing::warn!(registry = %registry.uuid, "cannot be read: {error}");
                        }
                    }
                }
            }
        }
        self.know_blocking();
        let learn = |fact: &crate::store::Fact| self.names.learn_artifacts(&fact.resource, &fact.artifacts);
        let mut read = lock(&self.names.read);
        self.store.for_each_fact_since(&mut read, learn).map_err(std::io::Error::other)
    }
}

/// Why a registry here cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not verified yet, or not here.
    #[error("it has not been verified yet")]
    Unverified,
    /// The cache directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tarball.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// What is in it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Reads a registry from its verified tarball. Blocks.
pub fn load_registry(store: &Store, registry: &Resource, limits: &Limits) -> Result<RegistryIndex, LoadError> {
    let Lookup::Verified(open, _) = store.look_up(registry)? else { return Err(LoadError::Unverified) };
    let mut builder = RegistryIndexBuilder::default();
    visit_files(open.file, limits, &mut |path, bytes| builder.file(path, &bytes))?;
    Ok(builder.finish()?)
}
