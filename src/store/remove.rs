//! Removing what is visible: the counterpart of `publish.rs`. A store that does so is open alone.
//!
//! A file that is gone was unneeded, so an end in between harms nothing. Facts about it stay: they
//! say nothing about a file that looks different, and cost a line.

use super::{Stamp, Store, StoreError, is_absent, publish};
use crate::protocol::{Flavor, RegistryTree, Resource};
use fs_err as fs;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Removals that are not on disk for good yet.
#[derive(Debug)]
pub struct Removal<'s> {
    store: &'s Store,
    /// Folders that lost a name.
    folders: BTreeSet<PathBuf>,
}

impl Removal<'_> {
    /// Removes a resource, and its folder when that is empty then. False if the file that was
    /// `seen` is no longer there: whatever took its place stays.
    pub fn resource(&mut self, resource: &Resource, seen: Stamp) -> Result<bool, StoreError> {
        if self.store.stamp(resource)? != Some(seen) {
            return Ok(false);
        }
        let path = self.store.path(resource);
        self.file(&path)?;
        if let (Some(_), Some(folder)) = (resource.uuid(), path.parent()) {
            // Not empty: the usual case.
            if fs::remove_dir(folder).is_ok() {
                self.folders.remove(folder);
                self.folders.extend(folder.parent().map(Path::to_owned));
            }
        }
        Ok(true)
    }

    /// Removes a file of [`Store::quarantined`].
    pub fn file(&mut self, path: &Path) -> Result<(), StoreError> {
        fs::remove_file(path)?;
        self.folders.extend(path.parent().map(Path::to_owned));
        Ok(())
    }

    pub(super) fn store(&self) -> &Store {
        self.store
    }

    /// Removes the folders above a file that is gone, as far as they are empty, up to `top` below
    /// the root, which stays.
    pub(super) fn empty_folders(&mut self, file: &Path, top: &str) {
        let top = self.store.root.join(top);
        for folder in file.ancestors().skip(1).take_while(|folder| **folder != *top && folder.starts_with(&top)) {
            // Not empty: the usual case.
            if fs::remove_dir(folder).is_err() {
                return;
            }
            self.folders.remove(folder);
            self.folders.extend(folder.parent().map(Path::to_owned));
        }
    }

    /// Returns when what was removed is gone for good.
    pub fn finish(self) -> Result<(), StoreError> {
        Ok(self.folders.iter().try_for_each(|folder| publish::sync_folder(folder))?)
    }
}

impl Store {
    /// Starts to remove. Only for a store that was opened by [`Store::open_alone`].
    pub fn removal(&self) -> Removal<'_> {
        Removal { store: self, folders: BTreeSet::new() }
    }

    /// What a resource looks like from outside; `None` if it is not here.
    pub fn stamp(&self, resource: &Resource) -> Result<Option<Stamp>, StoreError> {
        match fs::metadata(self.path(resource)) {
            Ok(metadata) if metadata.is_file() => Ok(Some(Stamp::of(&metadata))),
            Ok(_) => Ok(None),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Every registry that a listing or a pin names, here or not, served or not.
    pub fn named_registries(&self) -> Result<BTreeSet<RegistryTree>, StoreError> {
        let mut named: BTreeSet<_> = self.pins()?.iter().collect();
        for flavor in Flavor::ALL {
            named.extend(self.published_listing(flavor)?.unwrap_or_default().iter());
            named.extend(self.listing(flavor)?.unwrap_or_default().iter());
        }
        Ok(named)
    }

    /// The files in quarantine, with their sizes, by name.
    pub fn quarantine_files(&self) -> Result<Vec<(PathBuf, u64)>, StoreError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.root.join(".airlock/quarantine"))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                files.push((entry.path(), metadata.len()));
            }
        }
        files.sort_unstable();
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{GENERAL, TreeHash};

    #[test]
    fn only_the_file_that_was_seen_goes_and_its_folder_with_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_alone(folder.path()).unwrap();
        let [one, two] =
            [1, 2].map(|digit| Resource::Package { uuid: GENERAL, tree: TreeHash::from_bytes([digit; 20]) });
        let write = |resource: &Resource, text: &str| {
            let path = store.path(resource);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            store.stamp(resource).unwrap().unwrap()
        };
        let (old, seen) = (write(&one, "old"), write(&two, "two"));
        write(&one, "another");
        let mut removal = store.removal();
        assert!(!removal.resource(&one, old).unwrap());
        assert!(removal.resource(&two, seen).unwrap());
        assert!(store.has(&one) && !store.has(&two));
        assert!(!removal.resource(&two, seen).unwrap(), "it is gone already");
        let seen = store.stamp(&one).unwrap().unwrap();
        assert!(removal.resource(&one, seen).unwrap());
        assert!(!folder.path().join(format!("package/{GENERAL}")).exists());
        removal.finish().unwrap();
    }
}
