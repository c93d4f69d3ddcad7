//! The view `available`: registries that list only what is here, derived from those that are
//! published, and served in their place.
//!
//! Made on start, after a rescan, when a registry is published, and when the cache directory looks
//! different; never on a request. The old one serves until the new one is published.

use super::names::LoadError;
use super::{Mirror, blocking, lock};
use crate::config::{Config, Show};
use crate::julia::{Here, KeptRegistry, Platforms, RegistryFiles};
use crate::protocol::{Flavor, Kind, Listing, RegistryTree, Resource, TreeHash, Uuid};
use crate::store::{Derived, Fact, HeldArtifact, Lookup, Signature, Store, StoreError};
use crate::tree::{TarEntry, WriteError, visit_files, write_tar_gz};
use jiff::Timestamp;
use std::cell::RefCell;
use std::collections::hash_map::{Entry, HashMap};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// gzip's own default.
const LEVEL: u32 = 6;

/// What is shown of the registries.
#[derive(Debug)]
pub(super) struct View {
    show: Show,
    /// As somebody configured them.
    platforms: Option<Vec<String>>,
    /// Where nothing else says which platforms are served.
    default_platforms: Vec<String>,
    /// How the cache directory looked when it was searched last.
    seen: Mutex<Option<u64>>,
    /// When the next version that is here, and was too young, is old enough.
    ripens: Mutex<Option<Timestamp>>,
}

/// A registry as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// At the tree that clients see.
    pub registry: RegistryTree,
    /// What it is derived from; `None` as upstream published it.
    pub derived: Option<Derived>,
}

/// Why a registry cannot be derived.
#[derive(Debug, thiserror::Error)]
enum ViewError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl View {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            show: config.view.show,
            platforms: config.view.platforms.clone(),
            default_platforms: config.prewarm.platforms.clone(),
            seen: Mutex::default(),
            ripens: Mutex::default(),
        }
    }

    fn has_ripened(&self, now: Timestamp) -> bool {
        lock(&self.ripens).is_some_and(|ripens| ripens <= now)
    }

    /// What is served now looks as the cache directory did then.
    pub(super) fn saw(&self, signature: Option<Signature>) {
        *lock(&self.seen) = signature.filter(|signature| signature.is_settled).map(|signature| signature.digest);
    }
}

impl Mirror {
    /// Whether registries list only what is here.
    pub fn shows_available(&self) -> bool {
        self.view.show == Show::Available
    }

    /// The registries of a flavor as they are served. Blocks, but reads no more than two listings
    /// and the record of the derived ones.
    pub fn served(&self, flavor: Flavor) -> Result<Vec<Served>, StoreError> {
        let derived = self.store.derived()?;
        let listing = self.served_listing(flavor)?.unwrap_or_default();
        let served = listing.iter().map(|registry| Served {
            registry,
            derived: derived.iter().rfind(|it| (it.uuid, it.tree) == (registry.uuid, registry.tree)).cloned(),
        });
        Ok(served.collect())
    }

    /// A registry that could not be derived (yet) is listed in full: a client that finds it gone
    /// would go to GitHub.
    pub(super) fn served_listing(&self, flavor: Flavor) -> Result<Option<Listing>, StoreError> {
        let full = self.store.listing(flavor)?.map(|full| self.shown_listing(full));
        if !self.shows_available() {
            return Ok(full.filter(|listing| !listing.is_empty()));
        }
        let mut listing = full.unwrap_or_default();
        let derived = self.shown_listing(self.store.view_listing(flavor)?);
        derived.iter().for_each(|derived| listing.set(derived));
        Ok(Some(listing).filter(|listing| !listing.is_empty()))
    }

    /// Looks at the cache directory every so often.
    pub(super) fn spawn_looks(self: &Arc<Self>) {
        let mirror = Arc::clone(self);
        let resting = self.resting.clone();
        self.tasks.spawn(async move {
            let looks = async {
                let mut pause = mirror.bounds.view_interval;
                loop {
                    tokio::time::sleep(pause).await;
                    let began = Instant::now();
                    mirror.look().await;
                    // While much is being copied in, most of the machine is for other things.
                    pause = mirror.bounds.view_interval.max(began.elapsed() * 5);
                }
            };
            resting.run_until_cancelled(looks).await;
        });
    }

    /// Searches the cache directory if it looks different from when it was searched last, if a derived
    /// registry is gone or damaged, or if a version is old enough now. Returns whether it did.
    pub async fn look(self: &Arc<Self>) -> bool {
        let (store, seen) = (Arc::clone(&self.store), *lock(&self.view.seen));
        let looks = blocking(move || Ok::<_, StoreError>((store.signature()?.digest, store.is_view_whole()?)));
        let changed = match looks.await {
            Ok(Ok((digest, is_whole))) => seen != Some(digest) || !is_whole || self.view.has_ripened(Timestamp::now()),
            Ok(Err(error)) => {
                tracing::error!("cannot look at the cache directory: {error}");
                false
            }
            Err(_) => false,
        };
        if changed {
            self.rescan().await;
        }
        changed
    }

    /// How the cache directory looks now.
    pub(super) async fn signature(&self) -> Option<Signature> {
        let store = Arc::clone(&self.store);
        blocking(move || store.signature().ok()).await.ok().flatten()
    }

    /// Derives the registries anew, if only what is here is to be shown, and publishes those that
    /// changed.
    pub async fn refresh_view(self: &Arc<Self>) {
        if !self.shows_available() {
            return;
        }
        if self.policy.is_empty() {
            self.verify_listed().await;
            self.log_found().await;
        } else {
            // What is hidden is told by names and ages, which this reads; it verifies what is listed too.
            self.load_names().await;
        }
        let mirror = Arc::clone(self);
        match blocking(move || mirror.build_view()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("what is here cannot be listed; the last list stays: {error}"),
            Err(error) => tracing::error!("what is here cannot be listed; the last list stays: {error}"),
        }
    }

    fn build_view(&self) -> Result<(), StoreError> {
        let _lock = self.store.lock_view()?;
        // Another configuration is in force now, and its view must not be put back by this one's.
        if self.resting.is_cancelled() {
            return Ok(());
        }
        let full = each_flavor(|flavor| self.store.wanted_listing(flavor))?;
        let before = each_flavor(|flavor| self.store.view_listing(flavor))?;
        let known = self.store.derived()?;
        let mut derived = Vec::new();
        for mut new in self.derive_all(&full, &known)? {
            // What is as it was keeps its date.
            let same = known.iter().find(|old| Derived { time: new.time, ..(*old).clone() } == new);
            new.time = same.map_or(new.time, |old| old.time);
            derived.push(new);
        }
        let listings: Vec<_> = full
            .iter()
            .zip(&before)
            .map(|((flavor, full), (_, before))| {
                let trees = full.iter().filter_map(|full| {
                    let new = derived.iter().find(|new| (new.uuid, new.from) == (full.uuid, full.tree));
                    let tree = new.map(|new| new.tree).or_else(|| before.tree(full.uuid))?;
                    Some(RegistryTree { uuid: full.uuid, tree })
                });
                (*flavor, trees.collect::<Listing>())
            })
            .collect();
        if listings == before && derived.iter().all(|new| known.contains(new)) && self.store.is_view_whole()? {
            return Ok(());
        }
        self.store.publish_view(&derived, &listings)?;
        let is_new = |new: &&Derived| before.iter().all(|(_, before)| before.tree(new.uuid) != Some(new.tree));
        for Derived { uuid, tree, from, packages, versions, .. } in derived.iter().filter(is_new) {
            tracing::info!(
                registry = %uuid, %tree, %from,
                "the registry lists only what is here now: {versions} versions of {packages} packages",
            );
        }
        Ok(())
    }

    /// Derives every registry that is listed and can be read, and puts its tarball in place.
    fn derive_all(&self, full: &[(Flavor, Listing)], known: &[Derived]) -> Result<Vec<Derived>, StoreError> {
        let listed: BTreeSet<_> = full.iter().flat_map(|(_, listing)| listing.iter()).collect();
        let here = self.here()?;
        let (mut kept, mut needed) = (BTreeMap::new(), BTreeSet::new());
        for registry in listed {
            match self.keep(registry, &here) {
                Ok(registry_kept) => {
                    needed.extend(registry_kept.needs());
                    kept.insert(registry, registry_kept);
                }
                Err(error) => {
                    // The last one derived stays listed, so what it depends on must stay too.
                    let last = known.iter().rfind(|derived| derived.uuid == registry.uuid);
                    let last =
                        last.and_then(|last| self.keep(RegistryTree { tree: last.tree, ..registry }, &here).ok());
                    let shown =
                        if last.is_some() { "the last list of what is here stays" } else { "it is listed in full" };
                    tracing::warn!(registry = %registry.uuid, tree = %registry.tree, "{error}: {shown}");
                    needed.extend(last.iter().flat_map(KeptRegistry::needs));
                }
            }
        }
        let mut all = Vec::new();
        for (registry, kept) in kept {
            match self.derive(registry, kept, &needed) {
                Ok(derived) => all.push(derived),
                Err(ViewError::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::warn!(registry = %registry.uuid, tree = %registry.tree, "cannot be derived: {error}");
                }
            }
        }
        Ok(all)
    }

    /// What is here and may be shown. What is hidden for its age only is remembered by its day.
    fn here(&self) -> Result<Here, StoreError> {
        let young = RefCell::new(Vec::new());
        let shows = |resource: &Resource| {
            let shown = self.shows(resource);
            if !shown {
                young.borrow_mut().push(*resource);
            }
            shown
        };
        let here = here(&self.store, &self.served_platforms()?, shows)?;
        *lock(&self.view.ripens) = self.ripens(&young.into_inner());
        Ok(here)
    }

    /// Reads a registry from its verified tarball, as far as it is about what is here.
    fn keep(&self, registry: RegistryTree, here: &Here) -> Result<KeptRegistry, LoadError> {
        let Lookup::Verified(open, _) = self.store.look_up_served(&registry.into())? else {
            return Err(LoadError::Unverified);
        };
        let mut files = RegistryFiles::default();
        visit_files(open.file, &self.limits, &mut |path, bytes| files.file(path, bytes))?;
        Ok(files.keep(here)?)
    }

    fn derive(
        &self,
        registry: RegistryTree,
        kept: KeptRegistry,
        needed: &BTreeSet<Uuid>,
    ) -> Result<Derived, ViewError> {
        let derived = kept.derive(needed).map_err(LoadError::from)?;
        for problem in &derived.problems {
            tracing::warn!(registry = %registry.uuid, "a package is not listed: {}", super::judge::describe(problem));
        }
        let entries = derived.files.into_iter().map(|(path, contents)| TarEntry::file(path, contents, false));
        let mut tarball = Vec::new();
        let tree = write_tar_gz(entries, &mut tarball, LEVEL)?;
        let place = RegistryTree { tree, ..registry };
        if self.store.fact(&place.into())?.is_none() {
            let mut staged = self.store.stage()?;
            staged.write_all(&tarball).map_err(StoreError::from)?;
            self.store.publish_derived(&staged, place)?;
        }
        Ok(Derived {
            time: Timestamp::now(),
            uuid: registry.uuid,
            tree,
            from: registry.tree,
            packages: derived.packages,
            versions: derived.versions,
        })
    }

    /// The platforms that are served: as configured, else as prewarm was asked for, else as prewarm
    /// would be. What is no platform is passed over: a typing error in a file must not keep the mirror
    /// from serving.
    pub fn served_platforms(&self) -> Result<Platforms, StoreError> {
        let names = match &self.view.platforms {
            Some(configured) => configured.clone(),
            None => Some(self.store.served_platforms()?)
                .filter(|remembered| !remembered.is_empty())
                .unwrap_or_else(|| self.view.default_platforms.clone()),
        };
        let read = |name: &String| {
            let read = name.parse::<Platforms>();
            read.inspect_err(|error| tracing::warn!("a platform that is served: {error}")).ok()
        };
        Ok(names.iter().filter_map(read).collect())
    }

    /// How many of the artifacts that Pkg fetches when it installs a package version clients cannot
    /// have from here; `None` if it is the version itself that is not here and verified. The view
    /// offers a version with none missing.
    pub(super) fn missing_artifacts(
        &self,
        package: &Resource,
        platforms: &Platforms,
    ) -> Result<Option<usize>, StoreError> {
        let Some(fact) = self.store.fact(package)? else { return Ok(None) };
        let mut missing = 0;
        for tree in needed_artifacts(&fact, platforms).collect::<BTreeSet<_>>() {
            let artifact = Resource::Artifact { tree };
            missing += usize::from(self.store.fact(&artifact)?.is_none() || !self.shows(&artifact));
        }
        Ok(Some(missing))
    }
}

fn each_flavor(listing: impl Fn(Flavor) -> Result<Listing, StoreError>) -> Result<Vec<(Flavor, Listing)>, StoreError> {
    Flavor::ALL.into_iter().map(|flavor| Ok((flavor, listing(flavor)?))).collect()
}

/// The package versions that are here and verified, each with whether the artifacts that Pkg
/// fetches when it installs it are too; those that `shows` agrees to.
fn here(store: &Store, platforms: &Platforms, shows: impl Fn(&Resource) -> bool) -> Result<Here, StoreError> {
    let mut here = Here::default();
    let mut artifacts = HashMap::<TreeHash, bool>::new();
    for package in store.resources(Kind::Package) {
        let package = package?;
        let (Resource::Package { uuid, tree }, Some(fact)) = (package, store.fact(&package)?) else { continue };
        if !shows(&package) {
            continue;
        }
        let mut complete = true;
        for tree in needed_artifacts(&fact, platforms) {
            complete &= match artifacts.entry(tree) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    let artifact = Resource::Artifact { tree };
                    *new.insert(store.fact(&artifact)?.is_some() && shows(&artifact))
                }
            };
        }
        here.add(uuid, tree, complete);
    }
    Ok(here)
}

/// The artifacts that Pkg fetches when it installs a package.
fn needed_artifacts(package: &Fact, platforms: &Platforms) -> impl Iterator<Item = TreeHash> {
    let is_needed = |artifact: &&HeldArtifact| {
        !artifact.lazy && !artifact.deferred && platforms.match_tags(artifact.platform.as_ref())
    };
    package.artifacts.iter().filter(is_needed).map(|artifact| artifact.tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_still_change_unseen_is_searched_again() {
        let view = View {
            show: Show::Available,
            platforms: None,
            default_platforms: Vec::new(),
            seen: Mutex::default(),
            ripens: Mutex::default(),
        };
        for (signature, seen) in [
            (Some(Signature { digest: 1, is_settled: true }), Some(1)),
            (Some(Signature { digest: 2, is_settled: false }), None),
            (None, None),
        ] {
            view.saw(signature);
            assert_eq!(*lock(&view.seen), seen, "{signature:?}");
        }
    }
}
