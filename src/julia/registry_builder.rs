//! Builds a [`RegistryIndex`] from the files of a registry, as they come out of a tarball.

use super::error::FormatError;
use super::registry::{PackageEntry, RegistryToml, VersionEntry, parse_versions};
use super::registry_index::{PackageRow, RegistryIndex, Slice, VersionRow};
use super::version::Version;
use crate::protocol::Uuid;
use std::collections::HashMap;

const REGISTRY_TOML: &str = "Registry.toml";
const VERSIONS_TOML: &str = "/Versions.toml";

/// A file of a registry that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// There is no `Registry.toml` at the root.
    #[error("the registry has no Registry.toml")]
    NoRegistryToml,
    /// Not UTF-8.
    #[error("{path:?} is not UTF-8")]
    Encoding {
        /// From the root of the registry.
        path: String,
    },
    /// Not what it should be.
    #[error("{path:?} cannot be read")]
    Format {
        /// From the root of the registry.
        path: String,
        /// What is wrong.
        source: FormatError,
    },
    /// More than the index can point at.
    #[error("the registry is too big")]
    TooBig,
}

/// Builds a [`RegistryIndex`] from the files of a registry as they come.
#[derive(Debug, Default)]
pub struct RegistryIndexBuilder {
    registry: Option<RegistryToml>,
    /// By the folder of the package.
    versions: HashMap<String, Vec<VersionEntry>>,
    problems: Vec<RegistryError>,
}

impl RegistryIndexBuilder {
    /// Whether the index is made from this file; others need not be read.
    pub fn wants(path: &str) -> bool {
        path == REGISTRY_TOML || path.ends_with(VERSIONS_TOML)
    }

    /// Takes a file of the registry. A broken one does not stop the others: one package that
    /// cannot be named must not take the names from all.
    pub fn file(&mut self, path: &str, bytes: &[u8]) {
        if let Err(problem) = self.try_file(path, bytes) {
            self.problems.push(problem);
        }
    }

    fn try_file(&mut self, path: &str, bytes: &[u8]) -> Result<(), RegistryError> {
        if !Self::wants(path) {
            return Ok(());
        }
        let text = str::from_utf8(bytes).map_err(|_| RegistryError::Encoding { path: path.to_owned() })?;
        let broken = |source| RegistryError::Format { path: path.to_owned(), source };
        match path.strip_suffix(VERSIONS_TOML) {
            Some(folder) => {
                let versions = parse_versions(text).map_err(broken)?;
                self.versions.insert(folder.to_owned(), versions);
            }
            None => self.registry = Some(RegistryToml::parse(text).map_err(broken)?),
        }
        Ok(())
    }

    /// The index of all files that came.
    pub fn finish(mut self) -> Result<RegistryIndex, RegistryError> {
        let Some(registry) = self.registry else {
            let of_registry_toml = |problem: &RegistryError| problem.path() == Some(REGISTRY_TOML);
            let position = self.problems.iter().position(of_registry_toml);
            return Err(position.map_or(RegistryError::NoRegistryToml, |position| self.problems.swap_remove(position)));
        };
        let mut index = RegistryIndex {
            name: registry.name,
            uuid: registry.uuid,
            text: String::new(),
            packages: Vec::with_capacity(registry.packages.len()),
            versions: Vec::with_capacity(self.versions.values().map(Vec::len).sum()),
            by_tree: Vec::new(),
            problems: self.problems,
        };
        for (uuid, package) in registry.packages {
            let versions = self.versions.remove(&package.path).unwrap_or_default();
            index.add(uuid, &package, versions)?;
        }
        index.close()
    }
}

impl RegistryError {
    fn path(&self) -> Option<&str> {
        match self {
            Self::Encoding { path } | Self::Format { path, .. } => Some(path),
            Self::NoRegistryToml | Self::TooBig => None,
        }
    }
}

impl RegistryIndex {
    /// Packages come in the order of their uuids.
    fn add(&mut self, uuid: Uuid, entry: &PackageEntry, mut versions: Vec<VersionEntry>) -> Result<(), RegistryError> {
        versions.sort_by_cached_key(|entry| entry.version.parse::<Version>().ok());
        let package = u32::try_from(self.packages.len()).map_err(|_| RegistryError::TooBig)?;
        let row = PackageRow {
            uuid,
            name: self.push(&entry.name)?,
            path: self.push(&entry.path)?,
            versions: Slice::new(self.versions.len(), versions.len())?,
        };
        self.packages.push(row);
        for VersionEntry { version, tree, yanked } in versions {
            let version = self.push(&version)?;
            self.versions.push(VersionRow { tree, package, version, yanked });
        }
        Ok(())
    }

    fn push(&mut self, text: &str) -> Result<Slice, RegistryError> {
        let slice = Slice::new(self.text.len(), text.len())?;
        self.text.push_str(text);
        Ok(slice)
    }

    fn close(mut self) -> Result<Self, RegistryError> {
        let count = u32::try_from(self.versions.len()).map_err(|_| RegistryError::TooBig)?;
        let mut by_tree: Vec<u32> = (0..count).collect();
        by_tree.sort_by_key(|&position| self.row(position).map(|row| row.tree));
        self.by_tree = by_tree;
        self.text.shrink_to_fit();
        self.versions.shrink_to_fit();
        Ok(self)
    }
}
