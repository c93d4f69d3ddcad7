//! Facts: what was verified, as it was on disk then, and what it holds.
//!
//! Append-only files, one for each first byte of the tree hash, read when the first resource of
//! that shard is asked for: a server is ready at once whatever the size of its cache. Facts are
//! rebuildable; a line that cannot be read costs a verification, no more.

use super::StoreError;
use super::lines::{append_rebuildable, whole_lines};
use crate::protocol::{Resource, TreeHash};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a file looks like from outside. If any of it changed, the file is verified again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    /// Inode number.
    pub inode: u64,
    /// When content or attributes changed last, in nanoseconds since 1970: the one time that no
    /// tool can put back (`cp -p` writes into the file that is there and then restores its mtime).
    pub ctime: i64,
}

impl Stamp {
    /// The stamp of a file.
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            size: metadata.len(),
            mtime: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
            ctime: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A resource that was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Which.
    pub resource: Resource,
    /// The file that was verified.
    #[serde(flatten)]
    pub stamp: Stamp,
    /// Its strict tree hash; its name is this or the lenient one.
    pub strict: TreeHash,
    /// The artifacts that the Artifacts.toml files in it name, for every platform.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<HeldArtifact>,
}

/// An artifact that a package names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldArtifact {
    /// Its name in the Artifacts.toml.
    pub name: String,
    /// Its tree hash.
    pub tree: TreeHash,
    /// Whether Pkg leaves it until it is asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lazy: bool,
    /// Whether Pkg never fetches it when it installs the package: it stands in a file below the
    /// root or in the one of two files that Pkg does not read, or has no `download`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deferred: bool,
    /// The platform tags of an entry in array form; `None` applies everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<BTreeMap<String, String>>,
}

#[derive(Debug)]
pub(super) struct Facts {
    folder: PathBuf,
    shards: Vec<Mutex<Shard>>,
}

/// How far the facts have been read: bytes of each shard.
#[derive(Clone, Debug, Default)]
pub struct FactsRead(BTreeMap<u8, u64>);

#[derive(Debug, Default)]
struct Shard {
    facts: HashMap<Resource, Fact>,
    /// How much of the file has been read.
    read: u64,
}

impl Facts {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, shards: std::iter::repeat_with(Mutex::default).take(256).collect() }
    }

    /// The fact about a resource whose file looks like `stamp` now. Facts that another process
    /// appended since are read.
    pub(super) fn find(&self, resource: &Resource, stamp: Stamp) -> Result<Option<Fact>, StoreError> {
        let Some((shard, path)) = self.shard(resource) else { return Ok(None) };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.matching(resource, stamp).is_none() {
            shard.read_on(&path)?;
        }
        Ok(shard.matching(resource, stamp).cloned())
    }

    /// Appends a fact. On a full disk it stays in memory: that costs the next process a
    /// verification, while an error would keep a good file from being served.
    pub(super) fn remember(&self, fact: Fact) {
        let Some((shard, path)) = self.shard(&fact.resource) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = append_rebuildable(&path, std::slice::from_ref(&fact)) {
            tracing::warn!(resource = %fact.resource, "verified, but that cannot be written down: {error}");
        }
        shard.facts.insert(fact.resource, fact);
        crate::fault::point("facts.appended");
    }

    /// Every fact that was written down since `read`, as it stands on disk; files may have changed
    /// since.
    pub(super) fn for_each_since(&self, read: &mut FactsRead, mut visit: impl FnMut(&Fact)) -> Result<(), StoreError> {
        for byte in 0..=u8::MAX {
            let read = read.0.entry(byte).or_default();
            let mut shard = Shard { read: *read, ..Shard::default() };
            shard.read_on(&self.folder.join(format!("{byte:02x}.jsonl")))?;
            *read = shard.read;
            shard.facts.values().for_each(&mut visit);
        }
        Ok(())
    }

    /// The names under which files with this strict tree were verified, and the strict trees of what
    /// was verified under this name: whatever became of the files since.
    pub(super) fn twins(&self, resource: &Resource) -> Result<BTreeSet<Resource>, StoreError> {
        let mut trees = BTreeSet::from([resource.tree()]);
        let mut pairs = Vec::new();
        self.for_each_since(&mut FactsRead::default(), |fact| {
            let is_kin = (fact.resource.kind(), fact.resource.uuid()) == (resource.kind(), resource.uuid());
            if is_kin && fact.resource.tree() != fact.strict {
                pairs.push((fact.resource.tree(), fact.strict));
            }
        })?;
        trees.extend(pairs.iter().filter(|(name, _)| *name == resource.tree()).map(|(_, strict)| *strict));
        trees.extend(
            pairs.iter().filter(|(_, strict)| trees.contains(strict)).map(|(name, _)| *name).collect::<Vec<_>>(),
        );
        trees.remove(&resource.tree());
        Ok(trees.into_iter().map(|tree| resource.with_tree(tree)).collect())
    }

    fn shard(&self, resource: &Resource) -> Option<(&Mutex<Shard>, PathBuf)> {
        let byte = resource.tree().as_bytes()[0];
        Some((self.shards.get(usize::from(byte))?, self.folder.join(format!("{byte:02x}.jsonl"))))
    }
}

impl Shard {
    fn matching(&self, resource: &Resource, stamp: Stamp) -> Option<&Fact> {
        self.facts.get(resource).filter(|fact| fact.stamp == stamp)
    }

    fn read_on(&mut self, path: &Path) -> Result<(), StoreError> {
        let mut file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let length = file.metadata()?.len();
        if length < self.read {
            self.read = 0;
        }
        if length == self.read {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.read))?;
        for line in whole_lines(BufReader::new(file)) {
            let line = line?;
            self.read += line.len() as u64;
            if let Ok(fact) = serde_json::from_slice::<Fact>(&line) {
                self.facts.insert(fact.resource, fact);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_visited_once_and_those_of_other_processes_too() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Facts::new(folder.path().to_owned()), Facts::new(folder.path().to_owned()));
        let fact = |digit: u8| Fact {
            resource: Resource::Artifact { tree: TreeHash::from_bytes([digit; 20]) },
            stamp: Stamp { size: 1, mtime: 2, inode: 3, ctime: 4 },
            strict: TreeHash::from_bytes([digit; 20]),
            artifacts: Vec::new(),
        };
        let mut read = FactsRead::default();
        let mut new = || {
            let mut digits = Vec::new();
            one.for_each_since(&mut read, |fact| digits.push(fact.resource.tree().as_bytes()[0])).unwrap();
            digits
        };
        one.remember(fact(1));
        other.remember(fact(2));
        assert_eq!(new(), [1, 2]);
        assert!(new().is_empty());
        other.remember(fact(1));
        other.remember(fact(3));
        assert_eq!(new(), [1, 3]);
    }
}
