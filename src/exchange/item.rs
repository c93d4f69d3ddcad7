//! What lies in a volume: the tarball of a resource, or the git bundle of a repository.

use super::index::Entry;
use super::sha256::Sha256;
use crate::protocol::{RepositoryFile, Resource, TreeHash};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The git bundle of a repository in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryEntry {
    /// Its path below a cache root, which is its name in the volume too.
    pub file: RepositoryFile,
    /// Its bytes.
    pub size: u64,
    /// Of all of it.
    pub sha256: Sha256,
    /// The volume it is in, counted from 1.
    pub volume: u32,
    /// The address of the repository, without user and password, if a manifest named it.
    pub url: Option<String>,
    /// The packages that manifests take from it.
    pub packages: BTreeSet<String>,
    /// Trees that were found in it. There may be others.
    pub trees: BTreeSet<TreeHash>,
}

/// One file of a bundle besides its papers.
#[derive(Clone, Copy, Debug)]
pub enum Item<'i> {
    /// The tarball of a resource.
    Resource(&'i Entry),
    /// A git bundle.
    Repository(&'i RepositoryEntry),
}

/// Which one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum ItemName {
    /// A resource, by its path with a leading slash.
    Resource(Resource),
    /// A git bundle, by its path below a cache root.
    Repository(RepositoryFile),
}

impl Item<'_> {
    /// Which one it is.
    pub fn name(self) -> ItemName {
        match self {
            Self::Resource(entry) => ItemName::Resource(entry.resource),
            Self::Repository(entry) => ItemName::Repository(entry.file.clone()),
        }
    }

    /// Its path, in a volume as below a cache root.
    pub fn path(self) -> String {
        match self {
            Self::Resource(entry) => entry.resource.relative_path(),
            Self::Repository(entry) => entry.file.to_string(),
        }
    }

    /// Its bytes.
    pub const fn size(self) -> u64 {
        match self {
            Self::Resource(entry) => entry.size,
            Self::Repository(entry) => entry.size,
        }
    }

    /// Of all of it.
    pub const fn sha256(self) -> Sha256 {
        match self {
            Self::Resource(entry) => entry.sha256,
            Self::Repository(entry) => entry.sha256,
        }
    }

    /// The volume it is in, counted from 1.
    pub const fn volume(self) -> u32 {
        match self {
            Self::Resource(entry) => entry.volume,
            Self::Repository(entry) => entry.volume,
        }
    }

    /// What people call it, as the index says.
    pub fn label(self) -> String {
        match self {
            Self::Resource(Entry { name: Some(name), version: Some(version), .. }) => format!("{name} {version}"),
            Self::Resource(Entry { name: Some(name), .. }) => name.clone(),
            Self::Resource(entry) => entry.resource.to_string(),
            Self::Repository(entry) => entry.file.to_string(),
        }
    }
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(resource) => resource.fmt(f),
            Self::Repository(file) => file.fmt(f),
        }
    }
}
