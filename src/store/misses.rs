//! The miss ledger: what was asked for and is not here, so that somebody can bring it.
//!
//! One append-only file of increments, which any number of processes may append to; reading it
//! adds them up. No user name and no client address is ever written.

use super::lines::{append_lines, for_each_line};
use super::{Lock, Stamp, StoreError, publish};
use crate::julia::MissListEntry;
use crate::protocol::Resource;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;

/// Most distinct misses that are kept; the ones not seen for longest go first.
const KEPT: usize = 100_000;
/// Bytes of increments beyond which the file is added up and written anew.
const COMPACT_AT: u64 = 64 << 20;

/// Why something could not be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Not here, and there is no upstream by decision.
    Offline,
    /// No upstream has it.
    NotFoundUpstream,
    /// An upstream could not be asked, or failed.
    UpstreamError,
    /// What an upstream sent was not what its name says.
    HashMismatch,
    /// Policy forbids it.
    Denied,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 5] =
        [Self::Offline, Self::NotFoundUpstream, Self::UpstreamError, Self::HashMismatch, Self::Denied];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::NotFoundUpstream => "not-found-upstream",
            Self::UpstreamError => "upstream-error",
            Self::HashMismatch => "hash-mismatch",
            Self::Denied => "denied",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a client says of itself in Pkg's headers: never who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// `Julia-Version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub julia: Option<String>,
    /// `Julia-System`: a platform triplet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
}

/// One resource that was missed, or an increment to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// Which.
    pub resource: Resource,
    /// The package's name, if a registry here knows it; for an artifact, its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The package's version, if a registry here knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why, the last time.
    pub reason: Reason,
    /// The same in words, where there is more to say than the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// First seen.
    pub first: jiff::Timestamp,
    /// Last seen.
    pub last: jiff::Timestamp,
    /// How often.
    pub count: u64,
    /// Who asked last.
    #[serde(flatten)]
    pub client: Client,
}

impl From<Miss> for MissListEntry {
    fn from(Miss { resource, name, version, .. }: Miss) -> Self {
        Self { resource, name, version }
    }
}

impl Miss {
    /// Adds a later increment of the same resource.
    pub fn add(&mut self, later: Self) {
        let first = self.first.min(later.first);
        let count = self.count.saturating_add(later.count);
        let (name, version) = (self.name.take(), self.version.take());
        *self = Self {
            first,
            count,
            name: later.name.or(name),
            version: later.version.or(version),
            last: self.last.max(later.last),
            ..later
        };
    }
}

/// The ledger on disk.
#[derive(Clone, Debug)]
pub struct MissLedger {
    file: PathBuf,
    lock: PathBuf,
    /// Where a new one is written before it takes the place of the old.
    new: PathBuf,
}

impl MissLedger {
    pub(super) fn new(file: PathBuf, lock: PathBuf, new: PathBuf) -> Self {
        Self { file, lock, new }
    }

    /// Adds increments.
    pub fn append(&self, increments: &[Miss]) -> Result<(), StoreError> {
        let _lock = Lock::acquire(&self.lock)?;
        append_lines(&self.file, increments)?;
        crate::fault::point("misses.appended");
        if fs::metadata(&self.file).is_ok_and(|metadata| metadata.len() > COMPACT_AT) {
            self.replace(&self.read()?)?;
        }
        Ok(())
    }

    /// All misses, the one seen last first.
    pub fn read(&self) -> Result<Vec<Miss>, StoreError> {
        let mut misses = HashMap::<Resource, Miss>::new();
        for_each_line(&self.file, |miss: Miss| match misses.entry(miss.resource) {
            std::collections::hash_map::Entry::Occupied(mut known) => known.get_mut().add(miss),
            std::collections::hash_map::Entry::Vacant(free) => drop(free.insert(miss)),
        })?;
        let mut misses: Vec<_> = misses.into_values().collect();
        misses.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.resource.cmp(&b.resource)));
        misses.truncate(KEPT);
        Ok(misses)
    }

    /// What the ledger looks like: as long as that stays, so does what it says.
    pub fn stamp(&self) -> Option<Stamp> {
        fs::metadata(&self.file).ok().map(|file| Stamp::of(&file))
    }

    /// Forgets all misses.
    pub fn clear(&self) -> Result<(), StoreError> {
        let _lock = Lock::acquire(&self.lock)?;
        self.replace(&[])
    }

    fn replace(&self, misses: &[Miss]) -> Result<(), StoreError> {
        let mut out = io::BufWriter::new(fs::File::create(&self.new)?);
        for miss in misses {
            serde_json::to_writer(&mut out, miss).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        crate::fault::point("misses.staged");
        fs::rename(&self.new, &self.file)?;
        Ok(self.file.parent().map_or(Ok(()), publish::sync_folder)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn miss(digit: u8, second: i64) -> Miss {
        let time = jiff::Timestamp::from_second(second).unwrap();
        Miss {
            resource: Resource::Artifact { tree: crate::protocol::TreeHash::from_bytes([digit; 20]) },
            name: None,
            version: None,
            reason: Reason::Offline,
            detail: None,
            first: time,
            last: time,
            count: 1,
            client: Client::default(),
        }
    }

    #[test]
    fn increments_add_up_and_a_cut_line_loses_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let ledger =
            MissLedger::new(folder.path().join("misses"), folder.path().join("lock"), folder.path().join("new"));
        let named = Miss { name: Some("Example".into()), ..miss(1, 10) };
        ledger.append(&[named, miss(2, 5)]).unwrap();
        let mut file = fs::OpenOptions::new().append(true).open(folder.path().join("misses")).unwrap();
        file.write_all(b"{\"resource\":\"/art").unwrap();
        ledger.append(&[Miss { reason: Reason::UpstreamError, ..miss(1, 20) }]).unwrap();
        let read = ledger.read().unwrap();
        assert_eq!(read.iter().map(|miss| miss.count).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((read[0].name.as_deref(), read[0].reason), (Some("Example"), Reason::UpstreamError));
        assert_eq!((read[0].first, read[0].last), (miss(1, 10).first, miss(1, 20).last));
        ledger.clear().unwrap();
        assert!(ledger.read().unwrap().is_empty());
    }
}
