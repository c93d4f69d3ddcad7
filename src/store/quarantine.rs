//! The quarantine: files that are not what their name says, or cannot be read, out of sight and kept
//! to be looked at. It does not grow for ever: the oldest go when there are too many.
//!
//! It is also how other processes learn what was found wrong: its names say which resources.

use super::{Stamp, Store, StoreError, is_absent, publish};
use crate::protocol::{RepositoryFile, Resource};
use fs_err as fs;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

const FOLDER: &str = ".airlock/quarantine";
/// Bytes of a name, beside the time.
const LONGEST_NAME: usize = 200;
/// Most files that are kept.
const KEPT_FILES: usize = 1000;
/// Most bytes that are kept, beside the file that came last.
const KEPT_BYTES: u64 = 4 << 30;

/// Files that were found damaged and could not be moved: whatever a fact says, they are to be verified
/// before they are given to anybody.
#[derive(Debug, Default)]
pub(super) struct Condemned {
    /// So that nobody waits for the list as long as it is empty.
    any: AtomicBool,
    files: Mutex<HashSet<(Resource, Stamp)>>,
}

impl Condemned {
    pub(super) fn has(&self, resource: &Resource, stamp: Stamp) -> bool {
        self.any.load(Ordering::Acquire)
            && self.files.lock().unwrap_or_else(PoisonError::into_inner).contains(&(*resource, stamp))
    }
}

impl Store {
    /// Remembers that a file is damaged that cannot be moved.
    pub fn condemn(&self, resource: Resource, stamp: Stamp) {
        self.condemned.files.lock().unwrap_or_else(PoisonError::into_inner).insert((resource, stamp));
        self.condemned.any.store(true, Ordering::Release);
    }

    /// Takes a file that is not what its name says out of sight, and says where it went. `None` if
    /// the file that was found wrong is no longer there: what took its place, or goes on being
    /// written, may be good.
    pub fn quarantine(&self, resource: &Resource, wrong: Stamp) -> Result<Option<PathBuf>, StoreError> {
        let path = self.path(resource);
        match fs::metadata(&path) {
            Ok(there) if Stamp::of(&there) == wrong => {}
            Ok(_) => return Ok(None),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        self.set_aside(resource, &path)
    }

    /// Takes a file that cannot be read out of sight, whatever it is, and says where it went; `None`
    /// if it is gone.
    pub fn quarantine_unreadable(&self, resource: &Resource) -> Result<Option<PathBuf>, StoreError> {
        self.set_aside(resource, &self.path(resource))
    }

    /// Takes the git bundle of a repository out of sight, likewise.
    pub fn quarantine_repository(&self, file: &RepositoryFile, wrong: Stamp) -> Result<Option<PathBuf>, StoreError> {
        let _lock = self.lock_repositories()?;
        if self.repository_stamp(file)? != Some(wrong) {
            return Ok(None);
        }
        let name = file.relative_path().replace('/', "-");
        // The end says most, and all of it may be longer than the name of a file can be.
        let name = name.get(name.len().saturating_sub(LONGEST_NAME)..).unwrap_or(&name);
        self.move_aside(name, &self.repository_path(file), |_| self.count_quarantined(None))
    }

    fn set_aside(&self, resource: &Resource, path: &Path) -> Result<Option<PathBuf>, StoreError> {
        let is_counted = path == self.root_path(resource);
        self.move_aside(&resource.relative_path().replace('/', "-"), path, |stamp| {
            self.count_quarantined(is_counted.then_some((resource, stamp)));
        })
    }

    fn move_aside(&self, name: &str, path: &Path, count: impl FnOnce(Stamp)) -> Result<Option<PathBuf>, StoreError> {
        let time = jiff::Timestamp::now().as_nanosecond();
        let to = self.root().join(FOLDER).join(format!("{name}-{time}"));
        let stamp = fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
        match move_for_good(path, &to) {
            Ok(()) => _ = stamp.map(count),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = self.bound_quarantine(KEPT_FILES, KEPT_BYTES) {
            tracing::warn!("the quarantine cannot be tidied up: {error}");
        }
        Ok(Some(to))
    }

    /// Removes the oldest, as their names say it, until what is left is few enough. The last stays.
    fn bound_quarantine(&self, files: usize, bytes: u64) -> Result<(), StoreError> {
        let mut all = self.quarantine_files()?;
        let time = |path: &Path| path.file_name()?.to_str()?.rsplit_once('-')?.1.parse::<u128>().ok();
        // What has no such name is not ours.
        all.retain(|(path, _)| time(path).is_some());
        all.sort_by_key(|(path, _)| std::cmp::Reverse(time(path)));
        let (mut count, mut sum) = (0, 0_u64);
        for (path, size) in all {
            count += 1;
            sum = sum.saturating_add(size);
            if count > 1 && (count > files || sum > bytes) {
                fs::remove_file(&path)?;
                tracing::warn!(file = %path.display(), "removed from the quarantine, which has too much in it");
            }
        }
        Ok(())
    }

    /// When a file last came into the quarantine or left it.
    pub fn quarantine_changed(&self) -> Result<SystemTime, StoreError> {
        Ok(fs::metadata(self.root().join(FOLDER))?.modified()?)
    }

    /// The resources of which a damaged file is kept, whether a good one is here again or not.
    /// Files with other names are passed over.
    pub fn quarantined(&self) -> Result<BTreeSet<Resource>, StoreError> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(self.root().join(FOLDER))? {
            found.extend(entry?.file_name().to_str().and_then(quarantined));
        }
        Ok(found)
    }
}

/// Gives a file its new name for good before the old one is taken: a power cut may leave both, never
/// neither, and what was said to be gone does not come back.
fn move_for_good(path: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(path, to) {
        Ok(()) => {
            to.parent().map_or(Ok(()), publish::sync_folder)?;
            fs::remove_file(path)?;
        }
        Err(error) if is_absent(&error) => return Err(error),
        // No links on this file system (FAT, some network ones), or not to this file.
        Err(_) => fs::rename(path, to)?,
    }
    crate::fault::point("quarantine.moved");
    [to.parent(), path.parent()].into_iter().flatten().try_for_each(publish::sync_folder)
}

/// How many files are in quarantine.
pub(super) fn count(root: &Path) -> Result<u64, StoreError> {
    Ok(fs::read_dir(root.join(FOLDER))?.map(|entry| entry.map(|_| 1)).sum::<Result<_, _>>()?)
}

/// The resource that a file in quarantine was: `package-<uuid>-<tree>-<nanoseconds>`.
fn quarantined(file_name: &str) -> Option<Resource> {
    let (name, time) = file_name.rsplit_once('-')?;
    let _: u128 = time.parse().ok()?;
    let (rest, tree) = name.rsplit_once('-')?;
    match rest.split_once('-') {
        Some((kind, uuid)) => format!("/{kind}/{uuid}/{tree}").parse().ok(),
        None => format!("/{rest}/{tree}").parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{GENERAL, TreeHash};

    #[test]
    fn the_oldest_go_and_the_last_and_what_is_not_ours_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let resource = Resource::Artifact { tree: TreeHash::EMPTY };
        let path = store.path(&resource);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(folder.path().join(FOLDER).join("notes"), "mine").unwrap();
        let mut moved = Vec::new();
        for number in 0..5 {
            fs::write(&path, vec![0; 10]).unwrap();
            moved.extend(store.quarantine_unreadable(&resource).unwrap());
            assert_eq!(moved.len(), number + 1);
        }
        let left = || moved.iter().map(|path| path.exists()).collect::<Vec<_>>();
        store.bound_quarantine(4, 1000).unwrap();
        assert_eq!(left(), [false, true, true, true, true]);
        store.bound_quarantine(4, 25).unwrap();
        assert_eq!(left(), [false, false, false, true, true]);
        store.bound_quarantine(0, 0).unwrap();
        assert_eq!(left(), [false, false, false, false, true]);
        assert!(folder.path().join(FOLDER).join("notes").exists());
    }

    #[test]
    fn what_was_set_aside_is_known_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let tree = TreeHash::EMPTY;
        let all = [
            Resource::Registry { uuid: GENERAL, tree },
            Resource::Package { uuid: GENERAL, tree },
            Resource::Artifact { tree },
        ];
        for resource in all.iter().chain(&all) {
            let path = store.path(resource);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "damaged").unwrap();
            let stamp = Stamp::of(&fs::metadata(&path).unwrap());
            assert!(store.quarantine(resource, stamp).unwrap().is_some());
        }
        for other in [
            "notes",
            "artifact-x-1",
            "artifact-",
            "-",
            "git-h-own.jl.git.bundle-1",
            "package-1-2-3",
            "artifact-4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        ] {
            fs::write(folder.path().join(FOLDER).join(other), "").unwrap();
        }
        assert_eq!(store.quarantined().unwrap(), all.into());
    }
}
