//! The packages of the registries here, for people: found by a part of their name, and one with all
//! its versions and what each of them comes to.
//!
//! They are looked up in the registries as upstream published them. Those are in memory already, read
//! once for each of their generations (`names.rs`); nothing else is kept. A search goes through all names, which
//! takes a few milliseconds for General; only what is shown is looked up in the cache directory.

use super::Mirror;
use super::wishes::near_names;
use crate::julia::{Platforms, RegisteredVersion, RegistryIndex};
use crate::protocol::{Kind, Resource, Uuid};
use crate::store::StoreError;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Most versions of a package that are judged. General has none with as many.
const VERSIONS: usize = 1000;

/// The packages of the registries that are loaded and shown.
#[derive(Debug)]
pub struct Catalogue<'m> {
    mirror: &'m Mirror,
    /// Whether what is private may be told from what is not.
    tells_private: bool,
    platforms: Platforms,
    registries: Vec<Arc<RegistryIndex>>,
}

/// A package in a registry, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageSummary {
    /// Its name.
    pub name: String,
    /// The registry's name.
    pub registry: String,
    /// How many versions are registered.
    pub versions: usize,
    /// How many of them can be installed from here.
    pub here: usize,
    /// The newest that is registered and not yanked.
    pub newest: Option<String>,
    /// The newest that can be installed from here and is not yanked.
    pub newest_here: Option<String>,
}

/// The first of many, and how many more there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstOf<T> {
    /// Those that fit.
    pub first: Vec<T>,
    /// How many were left out.
    pub rest: usize,
}

/// A package in a registry, with its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CataloguedPackage {
    /// Its name.
    pub name: String,
    /// Its uuid.
    pub uuid: Uuid,
    /// The registry's name.
    pub registry: String,
    /// Whether it is private or taken to be: no public upstream is asked for it. Never if that is not to be told.
    pub is_private: bool,
    /// Newest first.
    pub versions: FirstOf<CataloguedVersion>,
}

/// A version, and what it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CataloguedVersion {
    /// As the registry writes it.
    pub version: String,
    /// Withdrawn: resolvers skip it, manifests may still name it.
    pub yanked: bool,
    /// What it comes to.
    pub state: VersionState,
}

/// What a version comes to, for who wants to install it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionState {
    /// Here, with the artifacts that are installed with it.
    Here,
    /// Here, without so many of its artifacts for the platforms that are served.
    Incomplete(usize),
    /// A file of its name is here, and nobody verified it yet: that happens before its first use.
    Unverified,
    /// Known for too short a time, in words.
    Young(String),
    /// The policy denies it.
    Denied,
    /// Not here.
    Absent,
}

impl Mirror {
    /// The packages of those registries that are loaded, that clients may have, and that `shown`
    /// agrees to. What is private can be told from what is not only if it `tells_private`.
    pub fn catalogue(&self, shown: impl Fn(Uuid) -> bool, tells_private: bool) -> Result<Catalogue<'_>, StoreError> {
        let published = self.names.published().into_iter();
        let registries =
            published.filter(|(resource, index)| shown(index.registry_uuid()) && self.denial(resource, true).is_none());
        Ok(Catalogue {
            platforms: self.served_platforms()?,
            registries: registries.map(|(_, index)| index).collect(),
            mirror: self,
            tells_private,
        })
    }
}

impl Catalogue<'_> {
    /// Whether no registry is loaded.
    pub fn is_empty(&self) -> bool {
        self.registries.is_empty()
    }

    /// The packages with this in their name, of whatever case: at most `most`, the one of just this
    /// name first, then those that begin so. Blocks.
    pub fn search(&self, part: &str, most: usize) -> Result<FirstOf<PackageSummary>, StoreError> {
        let part = part.to_lowercase();
        let mut fitting = Vec::new();
        for (name, registry, uuid) in self.packages() {
            let lower = name.to_lowercase();
            let rank = match lower.find(&part) {
                _ if lower == part => 0,
                Some(0) => 1,
                Some(_) => 2,
                None => continue,
            };
            fitting.push((rank, lower, name, registry, uuid));
        }
        fitting.sort_unstable_by(|a, b| (a.0, &a.1, a.2, a.4).cmp(&(b.0, &b.1, b.2, b.4)));
        let rest = fitting.len().saturating_sub(most);
        let shown = fitting.into_iter().take(most);
        let first = shown.map(|(.., registry, uuid)| self.summary(registry, uuid)).collect::<Result<_, _>>()?;
        Ok(FirstOf { first, rest })
    }

    /// The packages that have a version here: at most `most`, by name. Blocks.
    pub fn here(&self, most: usize) -> Result<FirstOf<PackageSummary>, StoreError> {
        let mut uuids = BTreeSet::new();
        for package in self.mirror.store.resources(Kind::Package) {
            uuids.extend(package?.uuid());
        }
        let mut named: Vec<_> = self.packages().filter(|(.., uuid)| uuids.contains(uuid)).collect();
        named.sort_unstable_by_key(|&(name, _, uuid)| (name.to_lowercase(), uuid));
        let rest = named.len().saturating_sub(most);
        let shown = named.into_iter().take(most);
        let first = shown.map(|(_, registry, uuid)| self.summary(registry, uuid)).collect::<Result<_, _>>()?;
        Ok(FirstOf { first, rest })
    }

    /// All packages of a name, with their versions. Blocks.
    pub fn named(&self, name: &str) -> Result<Vec<CataloguedPackage>, StoreError> {
        let named = self.packages().filter(|(known, ..)| *known == name);
        named.map(|(_, registry, uuid)| self.package(registry, uuid)).collect()
    }

    /// Names that may have been meant by one that nobody has, the likeliest first.
    pub fn near(&self, name: &str) -> Vec<String> {
        near_names(name, self.packages().map(|(known, ..)| known))
    }

    fn packages(&self) -> impl Iterator<Item = (&str, &RegistryIndex, Uuid)> {
        let registries = self.registries.iter().map(AsRef::as_ref);
        registries
            .flat_map(|registry: &RegistryIndex| registry.packages().map(move |(uuid, name)| (name, registry, uuid)))
    }

    fn summary(&self, registry: &RegistryIndex, uuid: Uuid) -> Result<PackageSummary, StoreError> {
        let (mut here, mut newest_here) = (0, None);
        for version in registry.versions(uuid).rev().take(VERSIONS) {
            if self.state(&version)? == VersionState::Here {
                here += 1;
                newest_here = newest_here.or_else(|| (!version.yanked).then(|| version.version.to_owned()));
            }
        }
        let newest = registry.versions(uuid).rev().find(|version| !version.yanked);
        Ok(PackageSummary {
            name: registry.name(uuid).unwrap_or_default().to_owned(),
            registry: registry.registry_name().to_owned(),
            versions: registry.versions(uuid).count(),
            here,
            newest: newest.map(|version| version.version.to_owned()),
            newest_here,
        })
    }

    fn package(&self, registry: &RegistryIndex, uuid: Uuid) -> Result<CataloguedPackage, StoreError> {
        let count = registry.versions(uuid).count();
        let mut first = Vec::new();
        for version in registry.versions(uuid).rev().take(VERSIONS) {
            let state = self.state(&version)?;
            first.push(CataloguedVersion { version: version.version.to_owned(), yanked: version.yanked, state });
        }
        // Of a package, not of one of its versions.
        let any = registry.versions(uuid).next_back().map(|version| Resource::Package { uuid, tree: version.tree });
        let privacy = any.map(|any| self.mirror.standing(&self.mirror.subject(&any)).privacy);
        Ok(CataloguedPackage {
            name: registry.name(uuid).unwrap_or_default().to_owned(),
            uuid,
            registry: registry.registry_name().to_owned(),
            is_private: self.tells_private && privacy.is_some_and(|privacy| !privacy.is_public()),
            versions: FirstOf { rest: count - first.len(), first },
        })
    }

    fn state(&self, version: &RegisteredVersion<'_>) -> Result<VersionState, StoreError> {
        let mirror = self.mirror;
        let package = Resource::Package { uuid: version.uuid, tree: version.tree };
        let is_here = mirror.store.has(&package);
        let age = if self.tells_private { mirror.too_young(&package) } else { mirror.too_young_if_public(&package) };
        if let Some(age) = age {
            return Ok(VersionState::Young(age.to_string()));
        }
        if mirror.denial(&package, is_here).is_some() {
            return Ok(VersionState::Denied);
        }
        Ok(match mirror.missing_artifacts(&package, &self.platforms)? {
            Some(0) => VersionState::Here,
            Some(missing) => VersionState::Incomplete(missing),
            None if is_here => VersionState::Unverified,
            None => VersionState::Absent,
        })
    }
}
