//! The first pass: every resource is verified, and its SHA-256 is what the index will say.

use super::order::{ExportError, Order};
use super::repositories::Candidates;
use super::{Step, Watch};
use crate::exchange::Sha256;
use crate::mirror::{Damage, Mirror, verify_file};
use crate::protocol::{RepositoryFile, Resource, TreeHash};
use crate::store::{Fact, HeldArtifact, Lookup, OpenFile, Stamp, StoreError};
use sha2::Digest as _;
use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};

/// A resource that was hashed.
pub(super) struct Hashed {
    pub(super) resource: Resource,
    /// The file as it was then.
    pub(super) stamp: Stamp,
    pub(super) sha256: Sha256,
    /// What it names, if it is a package.
    pub(super) artifacts: Vec<HeldArtifact>,
}

/// A git bundle that was hashed.
pub(super) struct HashedRepository {
    pub(super) file: RepositoryFile,
    /// The file as it was then.
    pub(super) stamp: Stamp,
    pub(super) sha256: Sha256,
    /// Trees that are known to be in it.
    pub(super) trees: BTreeSet<TreeHash>,
}

/// What came of one resource.
type Outcome = Result<Hashed, String>;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// Hashes all, one thread for each processor; in the order of the resources, and why some cannot be
/// packed. Of a dry run the hashes are all zero.
pub(super) fn hash_all(
    mirror: &Mirror,
    order: &Order,
    resources: &BTreeSet<Resource>,
    watch: &dyn Watch,
) -> Result<Vec<(Resource, Outcome)>, ExportError> {
    let (queue, done) = (Mutex::new(resources.iter()), Mutex::new(Vec::new()));
    let work = || {
        let mut buffer = vec![0; BUFFER];
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(&resource) = next else { return Ok::<_, ExportError>(()) };
            order.check()?;
            let outcome = hash_one(mirror, order.dry_run, resource, &mut buffer)?;
            watch.step(Step::Done { bytes: outcome.as_ref().map_or(0, |hashed| hashed.stamp.size) });
            done.lock().unwrap_or_else(PoisonError::into_inner).push((resource, outcome));
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let panicked = |_| std::io::Error::other("a hashing thread ended early");
        threads.into_iter().try_for_each(|thread| thread.join().map_err(panicked)?)
    })?;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(resource, _)| *resource);
    Ok(done)
}

/// Hashes git bundles, in their order; without those that have gone or were written to meanwhile.
pub(super) fn hash_repositories(
    mirror: &Mirror,
    order: &Order,
    candidates: &Candidates,
    watch: &dyn Watch,
) -> Result<Vec<HashedRepository>, ExportError> {
    let (store, mut buffer, mut done) = (mirror.store(), vec![0; BUFFER], Vec::new());
    for file in candidates.keys() {
        order.check()?;
        let Some(OpenFile { file: open, stamp }) = store.open_repository(file)? else { continue };
        let sha256 = if order.dry_run { Sha256::from_bytes([0; 32]) } else { digest(&open, &mut buffer)? };
        if Stamp::of(&open.metadata()?) == stamp {
            let trees = store.repository_finding(file, stamp)?.trees;
            done.push(HashedRepository { file: file.clone(), stamp, sha256, trees });
        }
        watch.step(Step::Done { bytes: stamp.size });
    }
    Ok(done)
}

fn hash_one(mirror: &Mirror, dry_run: bool, resource: Resource, buffer: &mut [u8]) -> Result<Outcome, StoreError> {
    let (open, known) = match mirror.store().look_up(&resource)? {
        Lookup::Absent => return Ok(Err("it has gone".to_owned())),
        Lookup::Verified(open, fact) => (open, Some(fact)),
        Lookup::Unverified(open) => (open, None),
    };
    let OpenFile { file, stamp } = open;
    let file = Arc::new(file);
    let fact = match known {
        Some(fact) => fact,
        None => match verify(mirror, dry_run, &resource, &file, stamp)? {
            Ok(fact) => fact,
            Err(why) => return Ok(Err(why)),
        },
    };
    let sha256 = if dry_run { Sha256::from_bytes([0; 32]) } else { digest(&file, buffer)? };
    if Stamp::of(&file.metadata()?) != stamp {
        return Ok(Err("it was written to while it was read".to_owned()));
    }
    Ok(Ok(Hashed { resource, stamp, sha256, artifacts: fact.artifacts }))
}

/// Verifies a file that came another way; a damaged one is set aside.
fn verify(
    mirror: &Mirror,
    dry_run: bool,
    resource: &Resource,
    file: &Arc<std::fs::File>,
    stamp: Stamp,
) -> Result<Result<Fact, String>, StoreError> {
    let store = mirror.store();
    Ok(match verify_file(resource, file, stamp, mirror.limits()) {
        Ok(fact) => {
            store.remember(fact.clone());
            Ok(fact)
        }
        Err(damage) => {
            if matches!(damage, Damage::Wrong(_) | Damage::Limit(_)) && !dry_run {
                store.quarantine(resource, stamp)?;
            }
            Err(format!("it is damaged here: {damage}"))
        }
    })
}

fn digest(file: &std::fs::File, buffer: &mut [u8]) -> std::io::Result<Sha256> {
    let (mut reader, mut hasher) = (file, sha2::Sha256::new());
    std::io::Seek::rewind(&mut reader)?;
    loop {
        let read = reader.read(buffer)?;
        if read == 0 {
            return Ok(Sha256::from_bytes(hasher.finalize().into()));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}
