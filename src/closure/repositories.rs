//! The git repositories that manifests name (`add URL`): no package server is ever asked for them,
//! so they are carried as git bundles, one file for each.

use super::{Unmirrorable, UnmirrorableKind, one_line};
use crate::config::{Secret, without_credentials};
use crate::git::{BundleError, has_all, references, trees_in};
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
        Ok(match look_into_repository(store, &file, stamp, &self.trees)? {
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

    /// Whether its file is here and has what an entry of it stands for.
    pub fn gives(&self, entry: &Unmirrorable) -> bool {
        let is_whole = self.bytes.is_some() && self.damage.is_none();
        is_whole && entry.kind == UnmirrorableKind::Git && entry.tree.is_none_or(|tree| self.trees.contains(&tree))
    }
}

/// Those of `trees` that are in the file of a repository, or what is wrong with the file. One that
/// nobody looked into yet is verified. Blocks.
pub fn look_into_repository(
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

/// What the file of a repository that is here looks like, and the trees that are known to be in it.
pub fn known_repository(
    store: &Store,
    file: &RepositoryFile,
) -> Result<Option<(Stamp, BTreeSet<TreeHash>)>, StoreError> {
    // Or a file may be seen of which nothing is written down yet.
    let _lock = store.lock_repositories()?;
    let Some(stamp) = store.repository_stamp(file)? else { return Ok(None) };
    Ok(Some((stamp, store.repository_finding(file, stamp)?.trees)))
}

/// Publishes a verified git bundle in place of the file that was `seen`, with which of the trees that
/// were looked for are in it. `None` if there is another file by now: what is known of that counts.
pub fn replace_repository(
    store: &Store,
    from: &Path,
    (file, seen): (&RepositoryFile, Option<Stamp>),
    found: &BTreeSet<TreeHash>,
    sought: &BTreeSet<TreeHash>,
) -> Result<Option<Stamp>, StoreError> {
    let _lock = store.lock_repositories()?;
    if store.repository_stamp(file)? != seen {
        return Ok(None);
    }
    let stamp = store.publish_repository(from, file)?;
    remember(store, file, stamp, found, sought)?;
    Ok(Some(stamp))
}

/// Writes down which of the trees that were looked for are in a file.
fn remember(
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
    said(trees_in(bundle, scratch.path(), trees))
}

/// Whether one git bundle has every commit that branches and tags of another name, or one line that
/// says why one of them is none that can be used. Blocks.
pub fn has_all_of(store: &Store, bundle: &Path, other: &Path) -> Result<Result<bool, String>, StoreError> {
    let scratch = store.scratch()?;
    said(references(other).and_then(|references| has_all(bundle, scratch.path(), &references)))
}

fn said<T>(found: Result<T, BundleError>) -> Result<Result<T, String>, StoreError> {
    match found {
        Ok(found) => Ok(Ok(found)),
        Err(error @ BundleError::Unusable(_)) => Ok(Err(one_line(&error.to_string()))),
        Err(BundleError::Io(error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_replaced_meanwhile_is_not_replaced_by_who_did_not_see_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_alone(folder.path()).unwrap();
        let file = RepositoryFile::of("https://h/a").unwrap();
        let replace = |text: &str, seen, tree: u8| {
            let scratch = store.scratch().unwrap();
            let from = scratch.path().join("x");
            fs_err::write(&from, text).unwrap();
            let found = BTreeSet::from([TreeHash::from_bytes([tree; 20])]);
            replace_repository(&store, &from, (&file, seen), &found, &found).unwrap()
        };
        let one = replace("one", None, 1);
        assert!(one.is_some());
        assert_eq!(replace("another", None, 2), None, "there is one now");
        let two = replace("two", one, 2);
        assert!(two.is_some());
        assert_eq!(replace("three", one, 3), None, "it is another one now");
        let known = known_repository(&store, &file).unwrap();
        assert_eq!(known, two.map(|stamp| (stamp, [TreeHash::from_bytes([2; 20])].into())));
    }
}
