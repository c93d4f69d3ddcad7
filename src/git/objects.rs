//! The objects of a clone, read from its object database alone. Everything that is read is checked
//! against its hash.

use super::{Bounds, GitError};
use crate::protocol::TreeHash;
use git2::{ErrorCode, ObjectType, Odb, OdbLookupFlags, Oid, Repository};
use std::collections::HashSet;
use std::path::Path;

/// What a tree entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    File { executable: bool },
    Symlink,
    Directory,
}

/// An entry of a tree.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) mode: Mode,
    pub(super) oid: Oid,
}

/// An open object database.
pub(super) struct Objects {
    repository: Repository,
    shown: String,
}

impl Objects {
    /// Opens the database of a bare repository. `shown` is its address, for errors.
    pub(super) fn open(folder: &Path, shown: &str) -> Result<Self, GitError> {
        git2::opts::strict_hash_verification(true);
        let broken = |error: git2::Error| broken(shown, &error);
        let objects = folder.join("objects");
        let path = objects.to_str().ok_or_else(|| {
            std::io::Error::other(format!("{}: the path of the cache must be UTF-8 for git", objects.display()))
        })?;
        let database = Odb::new().map_err(broken)?;
        database.add_disk_alternate(path).map_err(broken)?;
        Ok(Self { repository: Repository::from_odb(database).map_err(broken)?, shown: shown.to_owned() })
    }

    /// Whether a tree is here; what is below it is not looked at.
    pub(super) fn has_tree(&self, tree: TreeHash) -> Result<bool, GitError> {
        match self.repository.find_tree(oid(tree)) {
            Ok(_) => Ok(true),
            // An object of another kind under this hash is no tree.
            Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => Ok(false),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Whether an object is here.
    pub(super) fn has(&self, oid: Oid) -> Result<bool, GitError> {
        Ok(self.database()?.exists_ext(oid, OdbLookupFlags::NO_REFRESH))
    }

    /// The entries of a tree, in git's order; one that is not here is damage.
    pub(super) fn entries(&self, tree: Oid, folder: &[u8]) -> Result<Vec<Entry>, GitError> {
        let tree = self.repository.find_tree(tree).map_err(|error| self.broken(&error))?;
        tree.iter().map(|entry| to_entry(&entry, folder)).collect()
    }

    /// Bytes of a blob, if it is here.
    pub(super) fn size(&self, blob: Oid) -> Result<u64, GitError> {
        let (size, kind) = self.database()?.read_header(blob).map_err(|error| self.broken(&error))?;
        if kind != ObjectType::Blob {
            return Err(self.damage(format!("object {blob} is no blob")));
        }
        Ok(size as u64)
    }

    /// Hands the content of a blob to `take`.
    pub(super) fn with_blob<T>(&self, blob: Oid, take: impl FnOnce(&[u8]) -> T) -> Result<T, GitError> {
        let database = self.database()?;
        let object = database.read(blob).map_err(|error| self.broken(&error))?;
        Ok(take(object.data()))
    }

    /// The tree of a commit, or of what a tag names.
    pub(super) fn peel(&self, object: &str) -> Result<TreeHash, GitError> {
        let peel = || {
            let object = self.repository.find_object(Oid::from_str(object)?, None)?;
            Ok(object.peel_to_tree()?.id())
        };
        to_tree(peel().map_err(|error| self.broken(&error))?)
    }

    /// The tree at a path below a tree.
    pub(super) fn subtree(&self, tree: TreeHash, path: &str) -> Result<Option<TreeHash>, GitError> {
        match self.at(tree, path)? {
            Some((oid, Some(ObjectType::Tree))) => to_tree(oid).map(Some),
            _ => Ok(None),
        }
    }

    /// The blob at a path below a tree.
    pub(super) fn blob_at(&self, tree: TreeHash, path: &str) -> Result<Option<Oid>, GitError> {
        Ok(self.at(tree, path)?.filter(|(_, kind)| *kind == Some(ObjectType::Blob)).map(|(oid, _)| oid))
    }

    fn at(&self, tree: TreeHash, path: &str) -> Result<Option<(Oid, Option<ObjectType>)>, GitError> {
        let mut parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
        let mut at = (oid(tree), Some(ObjectType::Tree));
        parts
            .try_fold((), |(), part| {
                // No name has one, and libgit2's wrapper panics.
                if part.contains('\0') {
                    return Err(None);
                }
                let below = match self.repository.find_tree(at.0) {
                    Ok(tree) => tree.get_name(part).map(|entry| (entry.id(), entry.kind())),
                    Err(error) => return Err(Some(self.broken(&error))),
                };
                at = below.ok_or(None)?;
                Ok(())
            })
            .map_or_else(|failed| failed.map_or(Ok(None), Err), |()| Ok(Some(at)))
    }

    /// The blobs below a tree that are not here, each once. A tree that no tarball can carry, or
    /// that is not whole otherwise, is an error.
    pub(super) fn missing_blobs(&self, tree: TreeHash, bounds: &Bounds) -> Result<Vec<Oid>, GitError> {
        let database = self.database()?;
        let (mut seen, mut missing) = (HashSet::new(), Vec::new());
        let mut folders = vec![(oid(tree), Vec::new())];
        while let Some((tree, folder)) = folders.pop() {
            for Entry { name, mode, oid } in self.entries(tree, &folder)? {
                if !seen.insert(oid) {
                    continue;
                }
                if seen.len() as u64 > bounds.tree.entries {
                    return Err(GitError::TooBig { what: "files", limit: bounds.tree.entries });
                }
                match mode {
                    Mode::Directory => folders.push((oid, join(&folder, &name))),
                    _ if database.exists_ext(oid, OdbLookupFlags::NO_REFRESH) => {}
                    Mode::File { .. } | Mode::Symlink => missing.push(oid),
                }
            }
        }
        Ok(missing)
    }

    fn database(&self) -> Result<Odb<'_>, GitError> {
        self.repository.odb().map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &git2::Error) -> GitError {
        broken(&self.shown, error)
    }

    pub(super) fn damage(&self, detail: String) -> GitError {
        GitError::Broken { address: self.shown.clone(), detail }
    }
}

fn broken(shown: &str, error: &git2::Error) -> GitError {
    GitError::Broken { address: shown.to_owned(), detail: error.message().to_owned() }
}

fn to_entry(entry: &git2::TreeEntry<'_>, folder: &[u8]) -> Result<Entry, GitError> {
    let name = entry.name_bytes().to_vec();
    let path = || String::from_utf8_lossy(&join(folder, &name)).into_owned();
    let mode = match entry.filemode_raw() {
        0o100_644 => Mode::File { executable: false },
        0o100_755 => Mode::File { executable: true },
        0o120_000 => Mode::Symlink,
        0o040_000 => Mode::Directory,
        0o160_000 => return Err(GitError::Submodule { path: path() }),
        // Such as 100664 of the first gits: the hash of what is unpacked could not be this one.
        mode => {
            return Err(GitError::Entry { path: path(), what: format!("no client can make a file of mode {mode:o}") });
        }
    };
    Ok(Entry { mode, oid: entry.id(), name })
}

pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

pub(super) fn oid(tree: TreeHash) -> Oid {
    // 20 bytes are always an object's name.
    Oid::from_bytes(tree.as_bytes()).unwrap_or(Oid::ZERO_SHA1)
}

fn to_tree(oid: Oid) -> Result<TreeHash, GitError> {
    let bytes = oid.as_bytes().try_into().map_err(std::io::Error::other)?;
    Ok(TreeHash::from_bytes(bytes))
}
