//! One resource out of a volume, in one pass: read, SHA-256, staged, unpacked, tree hash.

use crate::exchange::{Entry, Sha256};
use crate::mirror::{Damage, verify_reader};
use crate::store::{Staged, Store, StoreError, Verified};
use crate::tree::Limits;
use sha2::{Digest as _, Sha256 as Hasher};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

/// Why a resource of a volume cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The volume's disk did not give it.
    #[error("cannot be read from the volume: {0}")]
    Volume(io::Error),
    /// It is not what was packed.
    #[error("its SHA-256 is not the one in the index, so the volume was damaged on its way")]
    Damaged,
    /// It is what was packed, and that is not what its name says.
    #[error("it was packed as it is and is not what its name says: {0}")]
    Wrong(String),
    /// The cache could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Verifies a resource of a volume and stages it.
pub(super) fn receive(store: &Store, limits: &Limits, entry: &Entry, from: (&File, u64)) -> Result<Verified, Fault> {
    let mut staged = store.stage()?;
    let (strict, artifacts) = read(limits, entry, from, Some(&mut staged))?;
    Ok(Verified { staged, resource: entry.resource, strict, artifacts })
}

/// Verifies a resource of a volume.
pub(super) fn check(limits: &Limits, entry: &Entry, from: (&File, u64)) -> Result<(), Fault> {
    read(limits, entry, from, None).map(drop)
}

type Judged = (crate::protocol::TreeHash, Vec<crate::store::HeldArtifact>);

fn read(
    limits: &Limits,
    entry: &Entry,
    (file, at): (&File, u64),
    staged: Option<&mut Staged>,
) -> Result<Judged, Fault> {
    let mut tee = Tee { file, at, left: entry.size, sha256: Hasher::new(), staged, fault: None };
    let judged = verify_reader(&entry.resource, &mut tee, limits);
    // What is wrong with the tree may be because of the volume: the sum of all bytes tells.
    let drained = io::copy(&mut tee, &mut io::sink());
    if let Some(fault) = tee.fault.take() {
        return Err(fault);
    }
    drained.map_err(Fault::Volume)?;
    if Sha256::from_bytes(tee.sha256.finalize().into()) != entry.sha256 {
        return Err(Fault::Damaged);
    }
    judged.map_err(|damage| match damage {
        Damage::Unreadable(error) => Fault::Volume(error),
        Damage::Wrong(why) | Damage::Limit(why) => Fault::Wrong(why),
    })
}

/// Reads a part of a file; every byte is summed and staged on its way.
struct Tee<'f> {
    file: &'f File,
    at: u64,
    left: u64,
    sha256: Hasher,
    staged: Option<&'f mut Staged>,
    /// What went wrong on this side of the reader: the reader only sees an error.
    fault: Option<Fault>,
}

impl Tee<'_> {
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let wanted = buffer.get_mut(..most).unwrap_or_default();
        let count = self.file.read_at(wanted, self.at).map_err(Fault::Volume)?;
        if count == 0 && most > 0 {
            return Err(Fault::Volume(io::ErrorKind::UnexpectedEof.into()));
        }
        let bytes = wanted.get(..count).unwrap_or_default();
        self.sha256.update(bytes);
        if let Some(staged) = &mut self.staged {
            staged.write_all(bytes).map_err(StoreError::from)?;
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_some(buffer).map_err(|fault| {
            self.fault.get_or_insert(fault);
            io::Error::other("see the fault")
        })
    }
}
