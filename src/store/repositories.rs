//! The git bundles of repositories: what is in `git/`, and what was found in each.
//!
//! Unlike a resource, such a file may be replaced by a later one of the same repository. It is
//! published as the others are: written elsewhere, verified, synced and renamed. What was found in a
//! file counts for the file as it was then.

use super::lines::{append_rebuildable, read_lines};
use super::{Lock, OpenFile, Removal, Stamp, Store, StoreError, is_absent, publish};
use crate::protocol::{REPOSITORIES, RepositoryFile, TreeHash};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

const FINDINGS: &str = ".airlock/repositories.jsonl";
/// Folders in each other: no name is longer.
const DEEPEST: usize = 512;

/// What was found in a git bundle that was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryFinding {
    /// The file.
    pub file: RepositoryFile,
    /// What it looked like.
    stamp: [i128; 4],
    /// Trees that were looked for and are in it.
    pub trees: BTreeSet<TreeHash>,
    /// Trees that were looked for and are not.
    pub without: BTreeSet<TreeHash>,
}

impl RepositoryFinding {
    /// What was found in a file that looks like this.
    pub fn new(file: RepositoryFile, stamp: Stamp, trees: BTreeSet<TreeHash>, without: BTreeSet<TreeHash>) -> Self {
        Self { file, stamp: numbers(stamp), trees, without }
    }
}

fn numbers(stamp: Stamp) -> [i128; 4] {
    [stamp.size.into(), stamp.mtime.into(), stamp.ctime.into(), stamp.inode.into()]
}

impl Store {
    /// Where the bundle of a repository is, or would be.
    pub fn repository_path(&self, file: &RepositoryFile) -> PathBuf {
        self.root.join(file.relative_path())
    }

    /// What the bundle of a repository looks like from outside; `None` if it is not here.
    pub fn repository_stamp(&self, file: &RepositoryFile) -> Result<Option<Stamp>, StoreError> {
        match fs::metadata(self.repository_path(file)) {
            Ok(metadata) if metadata.is_file() => Ok(Some(Stamp::of(&metadata))),
            Ok(_) => Ok(None),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The bundle of a repository, open; `None` if it is not here.
    pub fn open_repository(&self, file: &RepositoryFile) -> Result<Option<OpenFile>, StoreError> {
        let file = match fs::File::open(self.repository_path(file)) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        let stamp = Stamp::of(&metadata);
        Ok(metadata.is_file().then(|| OpenFile { file: file.into_parts().0, stamp }))
    }

    /// The lock on what is in `git/` and what is known of it: whoever replaces a file holds it from
    /// the last look at that until what was found in the new one is written down.
    pub fn lock_repositories(&self) -> Result<Lock, StoreError> {
        Ok(Lock::acquire(&self.root.join(".airlock/locks/repositories"))?)
    }

    /// All bundles of repositories that are here, by name. Names that are none are passed over.
    pub fn repositories(&self) -> Result<BTreeMap<RepositoryFile, Stamp>, StoreError> {
        let mut found = BTreeMap::new();
        let mut folders = vec![(REPOSITORIES.to_owned(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let entries = match fs::read_dir(self.root.join(&folder)) {
                Ok(entries) => entries,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            for entry in entries {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = format!("{folder}/{name}");
                if entry.file_type()?.is_dir() {
                    folders.extend((depth < DEEPEST).then_some((path, depth + 1)));
                } else if let Ok(file) = path.parse::<RepositoryFile>()
                    && let Some(stamp) = self.repository_stamp(&file)?
                {
                    found.insert(file, stamp);
                }
            }
        }
        Ok(found)
    }

    /// What was found in a bundle as it is now; nothing, if nobody has looked.
    pub fn repository_finding(&self, file: &RepositoryFile, stamp: Stamp) -> Result<RepositoryFinding, StoreError> {
        let mut all = RepositoryFinding::new(file.clone(), stamp, BTreeSet::new(), BTreeSet::new());
        for found in read_lines::<RepositoryFinding>(&self.root.join(FINDINGS))? {
            if (&found.file, found.stamp) == (file, all.stamp) {
                all.trees.extend(found.trees);
                all.without.extend(found.without);
            }
        }
        Ok(all)
    }

    /// Writes down what was found.
    pub fn remember_repository(&self, finding: &RepositoryFinding) -> Result<(), StoreError> {
        append_rebuildable(&self.root.join(FINDINGS), &[finding])
    }

    /// A new empty folder in `.airlock/tmp`, removed when it is dropped.
    pub fn scratch(&self) -> Result<tempfile::TempDir, StoreError> {
        Ok(self.session.scratch()?)
    }

    /// Publishes a verified bundle under the name of its repository, in place of an earlier one.
    /// When this returns, it is on disk for good. `from` must be in a folder of [`Store::scratch`].
    pub fn publish_repository(&self, from: &Path, file: &RepositoryFile) -> Result<Stamp, StoreError> {
        fs::File::open(from)?.sync_all()?;
        crate::fault::point("repository.synced");
        publish::replace_below(&self.root, from, &self.repository_path(file))?;
        crate::fault::point("repository.renamed");
        Ok(self.repository_stamp(file)?.ok_or_else(|| io::Error::other("what was just published is gone"))?)
    }
}

impl Removal<'_> {
    /// Removes the bundle of a repository, and its folders that are empty then. False if the file
    /// that was `seen` is no longer there.
    pub fn repository(&mut self, file: &RepositoryFile, seen: Stamp) -> Result<bool, StoreError> {
        if self.store().repository_stamp(file)? != Some(seen) {
            return Ok(false);
        }
        let path = self.store().repository_path(file);
        self.file(&path)?;
        self.empty_folders(&path, REPOSITORIES);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_published_found_replaced_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_alone(folder.path()).unwrap();
        let file = RepositoryFile::of("https://h/A/b").unwrap();
        let publish = |text: &str| {
            let scratch = store.scratch().unwrap();
            fs::write(scratch.path().join("x"), text).unwrap();
            store.publish_repository(&scratch.path().join("x"), &file).unwrap()
        };
        let old = publish("one");
        let finding = RepositoryFinding::new(file.clone(), old, [TreeHash::EMPTY].into(), BTreeSet::new());
        store.remember_repository(&finding).unwrap();
        assert_eq!(store.repository_finding(&file, old).unwrap(), finding);
        let new = publish("another");
        assert_eq!(store.repository_finding(&file, new).unwrap().trees, BTreeSet::new());
        fs::write(store.root().join("git/h/.hidden.bundle"), "").unwrap();
        assert_eq!(store.repositories().unwrap(), [(file.clone(), new)].into());
        let mut removal = store.removal();
        assert!(!removal.repository(&file, old).unwrap(), "it is another one now");
        assert!(removal.repository(&file, new).unwrap());
        removal.finish().unwrap();
        assert!(!folder.path().join("git/h/!a").exists() && folder.path().join("git/h").exists());
        assert_eq!(store.repositories().unwrap(), BTreeMap::new());
    }
}
