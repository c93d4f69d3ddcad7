//! What the cache directory looks like from outside, cheaply: rsync and other tools tell nobody
//! when they brought something.

use super::{Stamp, Store, StoreError, is_absent};
use crate::protocol::{Flavor, Kind};
use fs_err as fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::Path;

/// Times on disk are as coarse as this on some file systems (FAT, old network ones), in
/// nanoseconds: a folder that changed so lately may change again without looking different.
const COARSE: i64 = 2_000_000_000;

/// What the listings, the pins, what was first seen when, and the folders of registries, packages and
/// artifacts look like. Files that
/// came or went change it; a file that was overwritten in place does not.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// The same for the same looks, within one process.
    pub digest: u64,
    /// Whether all that it is made of is old enough to tell the next change from.
    pub is_settled: bool,
}

impl Store {
    /// Looks at the cache directory: one `stat` for each package that has a version here.
    pub fn signature(&self) -> Result<Signature, StoreError> {
        let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        let mut signature = Signature { digest: 0, is_settled: true };
        for flavor in Flavor::ALL {
            signature.add(&self.root().join(flavor.file_name()), now)?;
        }
        for file in [".airlock/platforms", super::listings::PINS, super::pinned::FILE] {
            signature.add(&self.root().join(file), now)?;
        }
        for entry in fs::read_dir(self.root().join(super::first_seen::FOLDER))? {
            signature.add(&entry?.path(), now)?;
        }
        for kind in Kind::ALL {
            let folder = self.root().join(kind.folder());
            signature.add(&folder, now)?;
            if kind != Kind::Artifact && folder.is_dir() {
                for entry in fs::read_dir(folder)? {
                    signature.add(&entry?.path(), now)?;
                }
            }
        }
        Ok(signature)
    }
}

impl Store {
    /// What the listings, the pins, the folders of registries and the facts look like, from which names are
    /// learned: the same for the same looks, within one process. Some 270 times `stat`.
    pub fn names_digest(&self) -> Result<u64, StoreError> {
        let mut signature = Signature { digest: 0, is_settled: true };
        let files = Flavor::ALL.map(|flavor| self.root().join(flavor.file_name()));
        for file in files.into_iter().chain([self.root().join(super::listings::PINS)]) {
            signature.add(&file, 0)?;
        }
        for folder in [self.root().join(".airlock/facts"), self.root().join(Kind::Registry.folder())] {
            if folder.is_dir() {
                for entry in fs::read_dir(folder)? {
                    signature.add(&entry?.path(), 0)?;
                }
            }
        }
        Ok(signature.digest)
    }
}

impl Signature {
    fn add(&mut self, path: &Path, now: i64) -> io::Result<()> {
        let stamp = match fs::metadata(path) {
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut hasher = DefaultHasher::new();
        (path, stamp.size, stamp.mtime, stamp.ctime, stamp.inode).hash(&mut hasher);
        // Added up, for folders are read in no order.
        self.digest = self.digest.wrapping_add(hasher.finish());
        self.is_settled &= now.saturating_sub(stamp.ctime).saturating_abs() > COARSE;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_come_from_is_seen_to_change() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let registry = folder.path().join("registry/7876af07-990d-54b4-ab0e-23690620f79a");
        fs::create_dir_all(&registry).unwrap();
        let mut seen = vec![store.names_digest().unwrap()];
        for file in ["registries", ".airlock/facts/00.jsonl", "registry/7876af07-990d-54b4-ab0e-23690620f79a/x"] {
            fs::write(folder.path().join(file), "x").unwrap();
            let digest = store.names_digest().unwrap();
            assert!(!seen.contains(&digest) && store.names_digest().unwrap() == digest, "{file}");
            seen.push(digest);
        }
        fs::create_dir_all(folder.path().join("artifact")).unwrap();
        assert_eq!(seen.last(), Some(&store.names_digest().unwrap()), "it says nothing of names");
    }

    #[test]
    fn what_comes_and_goes_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut seen = vec![store.signature().unwrap().digest];
        let mut changed = |what: &str| {
            let digest = store.signature().unwrap().digest;
            assert_eq!(store.signature().unwrap().digest, digest, "{what}");
            assert!(!seen.contains(&digest), "{what}");
            seen.push(digest);
        };
        let package = folder.path().join("package/7876af07-990d-54b4-ab0e-23690620f79a");
        fs::create_dir_all(&package).unwrap();
        changed("a package");
        fs::create_dir(folder.path().join("artifact")).unwrap();
        changed("artifacts");
        fs::write(folder.path().join("registries.eager"), "").unwrap();
        changed("a listing");
        fs::write(folder.path().join(".airlock/platforms"), "all\n").unwrap();
        changed("platforms");
        fs::write(folder.path().join(super::super::listings::PINS), "").unwrap();
        changed("pins");
        // Longer than the clock of the file system is coarse cannot be waited for here.
        let old = std::time::SystemTime::now() - std::time::Duration::from_mins(1);
        let file = fs::File::open(&package).unwrap();
        file.file().set_modified(old).unwrap();
        changed("a version");
        assert!(!store.signature().unwrap().is_settled, "all this is new");
    }
}
