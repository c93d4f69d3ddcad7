//! The git repositories that manifests name (`add URL`): no package server is ever asked for them,
//! so they are carried as git bundles, one file for each.

use super::one_line;
use crate::config::{Secret, without_credentials};
use crate::git::{BundleError, trees_in};
use crate::protocol::{RepositoryFile, TreeHash};
use crate::store::{RepositoryFinding, Stamp, Store, StoreError};
use std::collections::BTreeSet;
use std::path::Path;

/// A repository that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRepository {
    /// Its address, as a manifest has it: a user and a password may stand in it.
    pub address: Secret,
    /// The same without them.
    pub url: String,
    /// The trees of it that manifests name.
    pub trees: BTreeSet<TreeHash>,
    /// The packages in it, by name.
    pub packages: BTreeSet<String>,
}

/// What is here of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepositoryState {
    /// Its file; `None` if the address cannot be one.
    pub file: Option<RepositoryFile>,
    /// The size of the file, if it is here.
    pub bytes: Option<u64>,
    /// Wanted trees that are in it.
    pub trees: BTreeSet<TreeHash>,
    /// Wanted trees that are not.
    pub missing: BTreeSet<TreeHash>,
    /// Why the file that is here is of no use.
    pub damage: Option<String>,
}

impl WantedRepository {
    /// A repository of which nothing is wanted yet.
    pub fn new(address: &str) -> Self {
        let (trees, packages) = (BTreeSet::new(), BTreeSet::new());
        Self { address: Secret::new(address), url: without_credentials(address), trees, packages }
    }

    /// What of it is here. A file that nobody looked into yet is verified now. Blocks.
    pub fn look_up(&self, store: &Store) -> Result<RepositoryState, StoreError> {
        let absent = RepositoryState { missing: self.trees.clone(), ..RepositoryState::default() };
        let Ok(file) = RepositoryFile::of(self.address.expose()) else { return Ok(absent) };
        let absent = RepositoryState { file: Some(file.clone()), ..absent };
        let Some(stamp) = store.repository_stamp(&file)? else { return Ok(absent) };
        let here = RepositoryState { bytes: Some(stamp.size), ..absent };
        Ok(match trees_of(store, &file, stamp, &self.trees)? {
            Ok(trees) => RepositoryState { missing: &self.trees - &trees, trees, ..here },
            Err(damage) => RepositoryState { damage: Some(damage), ..here },
        })
    }
}

impl RepositoryState {
    /// Whether all that is wanted of it is here.
    pub fn is_complete(&self) -> bool {
        self.bytes.is_some() && self.damage.is_none() && self.missing.is_empty()
    }
}

/// Those of `trees` that are in the file of a repository, or what is wrong with the file.
fn trees_of(
    store: &Store,
    file: &RepositoryFile,
    stamp: Stamp,
    trees: &BTreeSet<TreeHash>,
) -> Result<Result<BTreeSet<TreeHash>, String>, StoreError> {
    let known = store.repository_finding(file, stamp)?;
    let unknown: BTreeSet<_> = &(trees - &known.trees) - &known.without;
    let is_known = !known.trees.is_empty() || !known.without.is_empty();
    if unknown.is_empty() && is_known {
        return Ok(Ok(trees & &known.trees));
    }
    let found = match verify_repository(store, &store.repository_path(file), &unknown)? {
        Ok(found) => found,
        Err(damage) => return Ok(Err(damage)),
    };
    remember(store, file, stamp, &found, &unknown)?;
    Ok(Ok(&(trees & &known.trees) | &found))
}

/// Writes down which of the trees that were looked for are in a file.
pub fn remember(
    store: &Store,
    file: &RepositoryFile,
    stamp: Stamp,
    found: &BTreeSet<TreeHash>,
    sought: &BTreeSet<TreeHash>,
) -> Result<(), StoreError> {
    // Of a file that is whole and of which no tree is wanted that must be remembered too.
    let nothing = BTreeSet::from([TreeHash::from_bytes([0; 20])]);
    let without = if sought.is_empty() { nothing } else { sought - found };
    store.remember_repository(&RepositoryFinding::new(file.clone(), stamp, found.clone(), without))
}

/// Those of `trees` that are in a git bundle, or one line that says why it is none that can be used.
/// Every object in it is hashed. Blocks.
pub fn verify_repository(
    store: &Store,
    bundle: &Path,
    trees: &BTreeSet<TreeHash>,
) -> Result<Result<BTreeSet<TreeHash>, String>, StoreError> {
    let scratch = store.scratch()?;
    match trees_in(bundle, scratch.path(), trees) {
        Ok(found) => Ok(Ok(found)),
        Err(error @ BundleError::Unusable(_)) => Ok(Err(one_line(&error.to_string()))),
        Err(BundleError::Io(error)) => Err(error.into()),
    }
}
