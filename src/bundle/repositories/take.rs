//! A git bundle out of a volume into the cache: copied beside, compared with the index, looked into as
//! git does, and put in place of an earlier one only if nothing is lost by that.

use crate::bundle::ProblemKind;
use crate::bundle::receive::Fault;
use crate::closure::{has_all_of, known_repository, look_into_repository, replace_repository, verify_repository};
use crate::exchange::{RepositoryEntry, Sha256};
use crate::protocol::{RepositoryFile, TreeHash};
use crate::store::{OpenFile, Store, StoreError};
use fs_err as fs;
use sha2::{Digest as _, Sha256 as Hasher};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// What came of a git bundle.
pub(in crate::bundle) enum Taken {
    /// What is here has all that it has.
    Here,
    /// It is here now.
    Imported,
    /// What is here stays, and why: both have what the other lacks.
    Kept(String),
    /// It does not come.
    Problem(ProblemKind, String),
}

/// Whether the file that is here is the very one of an entry.
pub(in crate::bundle) fn is_same(store: &Store, entry: &RepositoryEntry) -> Result<bool, StoreError> {
    let Some(OpenFile { file, stamp }) = store.open_repository(&entry.file)? else { return Ok(false) };
    let is_it = || copy((&file, 0), entry.size, &mut io::sink()).is_ok_and(|sum| sum == entry.sha256);
    Ok(stamp.size == entry.size && is_it())
}

/// Whether the file that is here lacks trees, or is not here, or is damaged.
pub(in crate::bundle) fn is_lacking(
    store: &Store,
    file: &RepositoryFile,
    trees: &BTreeSet<TreeHash>,
) -> Result<bool, StoreError> {
    let Some(stamp) = store.repository_stamp(file)? else { return Ok(true) };
    let found = look_into_repository(store, file, stamp, trees)?;
    Ok(!found.is_ok_and(|found| trees.is_subset(&found)))
}

/// Takes a git bundle out of a volume, where its bytes begin at an offset. Blocks.
pub(in crate::bundle) fn take(store: &Store, entry: &RepositoryEntry, from: (&File, u64)) -> Result<Taken, StoreError> {
    if is_same(store, entry)? && !is_lacking(store, &entry.file, &entry.trees)? {
        return Ok(Taken::Here);
    }
    let scratch = store.scratch()?;
    let new = scratch.path().join("new.bundle");
    let mut staged = fs::File::create(&new)?;
    match read(entry, from, &mut staged) {
        Ok(()) => {}
        Err(Fault::Store(error)) => return Err(error),
        Err(fault) => return Ok(Taken::Problem(ProblemKind::Damaged, fault.to_string())),
    }
    drop(staged);
    // Once more for each process that replaces the file meanwhile.
    loop {
        if let Some(taken) = place(store, entry, &new)? {
            return Ok(taken);
        }
    }
}

/// Puts a git bundle into its place if it is good and nothing is lost by that. `None` if what is there
/// was replaced meanwhile.
fn place(store: &Store, entry: &RepositoryEntry, new: &Path) -> Result<Option<Taken>, StoreError> {
    let RepositoryEntry { file, trees, .. } = entry;
    let known = known_repository(store, file)?;
    let seen = known.as_ref().map(|(stamp, _)| *stamp);
    let sought = known.as_ref().map_or_else(|| trees.clone(), |(_, held)| trees | held);
    let wrong = |why| Ok(Some(Taken::Problem(ProblemKind::Wrong, Fault::Wrong(why).to_string())));
    let found = match verify_repository(store, new, &sought)? {
        Ok(found) => found,
        Err(why) => return wrong(why),
    };
    if let Some(tree) = trees.difference(&found).next() {
        return wrong(format!("tree {tree}, which bundle.json names, is not in it"));
    }
    if let Some((stamp, held)) = known {
        let old = store.repository_path(file);
        // A damaged one has nothing to lose.
        if let Ok(of_old) = look_into_repository(store, file, stamp, trees)?
            && let Ok(has_all) = has_all_of(store, &old, new)?
        {
            let lost = held.difference(&found).next();
            let lacks = trees.difference(&of_old).next();
            match (lost, lacks) {
                (_, None) if has_all || lost.is_some() => return Ok(Some(Taken::Here)),
                (Some(lost), Some(lacks)) => return Ok(Some(Taken::Kept(kept(*lost, *lacks)))),
                _ => {}
            }
        }
    }
    let published = replace_repository(store, new, (file, seen), &found, &sought)?;
    Ok(published.map(|_| Taken::Imported))
}

/// Compares a git bundle of a volume with its entry. What git says of it needs a cache.
pub(in crate::bundle) fn check(entry: &RepositoryEntry, from: (&File, u64)) -> Result<(), Fault> {
    read(entry, from, &mut io::sink())
}

fn read(entry: &RepositoryEntry, from: (&File, u64), to: &mut impl Write) -> Result<(), Fault> {
    if copy(from, entry.size, to)? == entry.sha256 { Ok(()) } else { Err(Fault::Damaged) }
}

/// Copies a part of a file, and says what its SHA-256 is.
fn copy((file, mut at): (&File, u64), size: u64, to: &mut impl Write) -> Result<Sha256, Fault> {
    let (mut sha256, mut left, mut buffer) = (Hasher::new(), size, vec![0; BUFFER]);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER);
        let wanted = buffer.get_mut(..most).unwrap_or_default();
        let count = file.read_at(wanted, at).map_err(Fault::Volume)?;
        if count == 0 {
            return Err(Fault::Volume(io::ErrorKind::UnexpectedEof.into()));
        }
        let bytes = wanted.get(..count).unwrap_or_default();
        sha256.update(bytes);
        to.write_all(bytes).map_err(StoreError::from)?;
        at += count as u64;
        left -= count as u64;
    }
    Ok(Sha256::from_bytes(sha256.finalize().into()))
}

fn kept(lost: TreeHash, lacks: TreeHash) -> String {
    format!(
        "the one that is here has tree {lost}, which the one in the bundle lacks, and stays; so tree {lacks} did not \
         come. Move it away and run this import again to have the other one"
    )
}
