//! Where a resource comes from in the first place, as the registries and packages here say: for
//! fall-backs, and looked up only when one is about to be asked.

use super::judge::{names_artifacts, read_artifacts};
use super::{Mirror, Refusal, blocking, lock};
use crate::julia::{Artifact, PackageToml};
use crate::protocol::{Resource, TreeHash, Uuid};
use crate::source::{Download, Origins, Repository};
use crate::store::Lookup;
use crate::tree::{TreeError, read_files, visit_files};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Most addresses that are tried for one artifact: a package may write down thousands.
const MOST: usize = 16;
const PACKAGE_TOML: &str = "/Package.toml";

/// What was looked up so far, and what nobody here would know otherwise.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The repositories of each registry's packages, at the tree that is published.
    registries: Mutex<HashMap<Uuid, (TreeHash, Arc<Repositories>)>>,
    /// From an `Artifacts.toml` that is in no package here.
    downloads: Mutex<HashMap<TreeHash, Vec<Download>>>,
}

/// Repositories with their `subdir`, by the folder of the package in the registry.
type Repositories = HashMap<Box<str>, (Box<str>, Option<Box<str>>)>;

impl Mirror {
    /// Learns where artifacts can be downloaded that a file beside all packages names.
    pub fn learn_downloads(&self, artifacts: &[Artifact]) {
        let mut known = lock(&self.origins.downloads);
        for artifact in artifacts.iter().filter(|artifact| !artifact.downloads.is_empty()) {
            add(known.entry(artifact.tree).or_default(), artifact);
        }
    }

    /// Where a resource comes from, as far as anything here says so.
    pub(super) async fn origins(self: &Arc<Self>, resource: &Resource) -> Result<Origins, Refusal> {
        let (mirror, resource) = (Arc::clone(self), *resource);
        Ok(blocking(move || mirror.look_up_origins(&resource)).await?)
    }

    fn look_up_origins(&self, resource: &Resource) -> Origins {
        let mut origins = self.known_origins(resource);
        if origins == Origins::default() {
            // Another process may have brought what names it, and at the start not all has been read.
            if let Err(error) = self.load_names_blocking() {
                tracing::warn!(%resource, "where it comes from cannot be looked up: {error}");
            }
            origins = self.known_origins(resource);
        }
        origins
    }

    fn known_origins(&self, resource: &Resource) -> Origins {
        match *resource {
            Resource::Registry { .. } => Origins::default(),
            Resource::Package { uuid, tree } => {
                Origins { repositories: self.repositories(uuid, tree), ..Origins::default() }
            }
            Resource::Artifact { tree } => Origins { downloads: self.downloads(tree), ..Origins::default() },
        }
    }

    fn repositories(&self, uuid: Uuid, tree: TreeHash) -> Vec<Repository> {
        let mut found: Vec<Repository> = Vec::new();
        for (registry, index) in self.names.published() {
            let (Some(name), Some(path)) = (index.name(uuid), index.path(uuid)) else { continue };
            let packages = match self.packages_of(&registry) {
                Ok(packages) => packages,
                Err(error) => {
                    tracing::warn!(%registry, "its repositories cannot be read: {error}");
                    continue;
                }
            };
            let Some((url, subdir)) = packages.get(path) else { continue };
            let version = index.version_at(uuid, tree).map(|version| version.version.to_owned());
            let (url, subdir) = (url.to_string(), subdir.as_deref().map(str::to_owned));
            if !found.iter().any(|known| (&known.url, &known.subdir) == (&url, &subdir)) {
                found.push(Repository { name: name.to_owned(), version, url, subdir });
            }
        }
        found
    }

    /// Read once for each tree, all at once: a tarball has no index, and who looks for one package
    /// will look for others.
    fn packages_of(&self, registry: &Resource) -> Result<Arc<Repositories>, OriginsError> {
        let Some(uuid) = registry.uuid() else { return Ok(Arc::default()) };
        let mut known = lock(&self.origins.registries);
        if let Some((_, packages)) = known.get(&uuid).filter(|(tree, _)| *tree == registry.tree()) {
            return Ok(Arc::clone(packages));
        }
        let Lookup::Verified(open, _) = self.store.look_up(registry)? else { return Ok(Arc::default()) };
        let mut packages = Repositories::new();
        visit_files(open.file, &self.limits, &mut |path, bytes| {
            let Some(folder) = path.strip_suffix(PACKAGE_TOML) else { return };
            match str::from_utf8(&bytes).ok().map(PackageToml::parse) {
                Some(Ok(PackageToml { repo: Some(repo), subdir, .. })) => {
                    packages.insert(folder.into(), (repo.into(), subdir.map(Into::into)));
                }
                Some(Ok(_)) => {}
                Some(Err(problem)) => tracing::warn!(%registry, file = ?path, "{problem}"),
                None => tracing::warn!(%registry, file = ?path, "not UTF-8"),
            }
        })?;
        let packages = Arc::new(packages);
        known.insert(uuid, (registry.tree(), Arc::clone(&packages)));
        Ok(packages)
    }

    fn downloads(&self, tree: TreeHash) -> Vec<Download> {
        let mut found = lock(&self.origins.downloads).get(&tree).cloned().unwrap_or_default();
        for package in self.names.packages_with(tree) {
            let artifacts = self.artifacts_of(&package).unwrap_or_else(|error| {
                tracing::warn!(%package, "its artifacts cannot be read: {error}");
                Vec::new()
            });
            artifacts.iter().filter(|artifact| artifact.tree == tree).for_each(|artifact| add(&mut found, artifact));
        }
        if found.len() > MOST {
            tracing::warn!(artifact = %tree, "{} addresses; the first {MOST} are tried", found.len());
            found.truncate(MOST);
        }
        found
    }

    fn artifacts_of(&self, package: &Resource) -> Result<Vec<Artifact>, OriginsError> {
        let Lookup::Verified(open, _) = self.store.look_up(package)? else { return Ok(Vec::new()) };
        let files = read_files(open.file, &self.limits, &names_artifacts)?;
        Ok(files.iter().flat_map(|file| read_artifacts(package, file)).collect())
    }
}

/// Each address once, with each sum that is written down for it.
fn add(downloads: &mut Vec<Download>, artifact: &Artifact) {
    for download in &artifact.downloads {
        let download = Download { url: download.url.clone(), sha256: download.sha256 };
        if !downloads.contains(&download) {
            downloads.push(download);
        }
    }
}

/// Why a tarball here says nothing.
#[derive(Debug, thiserror::Error)]
enum OriginsError {
    /// The cache directory.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The tarball.
    #[error(transparent)]
    Tree(#[from] TreeError),
}
