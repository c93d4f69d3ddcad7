//! Everything in a bundle, side by side: what is here stays, what a volume has comes in, in
//! batches that are made durable together.

use super::gather::{Bundle, Place};
use super::outcome::{Kept, Problem, ProblemKind};
use super::receive::{Fault, check, receive};
use super::repositories::{self, Taken};
use crate::exchange::{Entry, Item, RepositoryEntry};
use crate::mirror::is_here;
use crate::store::{Store, StoreError, Verified};
use crate::tree::Limits;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Resources after which a batch is made durable.
const BATCH: usize = 256;
/// Bytes after which it is.
const BATCH_BYTES: u64 = 64 << 20;

/// Why a file of a damaged volume does not come.
pub(super) const NO_HEADER: &str = "its header is not where it should be, so the volume was damaged on its way";
/// Why a file of an absent volume does not come.
pub(super) const NO_VOLUME: &str = "its volume was not given";

/// What came of the resources of a bundle.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) here: usize,
    pub(super) imported: usize,
    pub(super) imported_bytes: u64,
    pub(super) problems: Vec<Problem>,
    pub(super) kept: Vec<Kept>,
    /// What made it end early.
    pub(super) stopped: Option<StoreError>,
}

/// Where a file stands.
enum State {
    Here,
    /// Staged; it comes with its batch.
    Staged(Verified),
    Imported,
    Kept(String),
    Problem(ProblemKind, String),
}

struct Work<'w, P> {
    bundle: &'w Bundle,
    /// `None` to check the volumes only.
    store: Option<&'w Store>,
    limits: &'w Limits,
    progress: &'w P,
    tally: Mutex<Tally>,
    batch: Mutex<(Vec<Verified>, u64)>,
}

/// Brings in what is not here, with `jobs` threads; without a store, only checks the volumes.
/// `progress` is told of each that is done with.
pub(super) fn run<P: Fn(Item<'_>) + Sync>(
    bundle: &Bundle,
    store: Option<&Store>,
    limits: &Limits,
    jobs: usize,
    progress: &P,
) -> Tally {
    let (tally, batch) = (Mutex::default(), Mutex::default());
    let work = Work { bundle, store, limits, progress, tally, batch };
    let items = Mutex::new(bundle.items());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while !work.is_stopped() {
                    // Not in the condition: the lock must not be held while the file is read.
                    let next = lock(&items).next();
                    let Some((item, place)) = next else { return };
                    work.bring(item, place);
                    (work.progress)(item);
                }
            });
        }
    });
    // What is verified comes in also when the rest cannot.
    let (last, _) = mem::take(&mut *lock(&work.batch));
    work.publish(last);
    let mut tally = work.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.problems.sort_by(|a, b| (a.volume, &a.resource).cmp(&(b.volume, &b.resource)));
    tally.kept.sort_by(|a, b| a.file.cmp(&b.file));
    tally
}

impl<P: Fn(Item<'_>) + Sync> Work<'_, P> {
    fn is_stopped(&self) -> bool {
        lock(&self.tally).stopped.is_some()
    }

    fn bring(&self, item: Item<'_>, place: Place<'_>) {
        let state = match item {
            Item::Resource(entry) => self.resource(entry, place),
            Item::Repository(entry) => self.repository(entry, place),
        };
        match state {
            Ok(State::Here) => lock(&self.tally).here += 1,
            Ok(State::Staged(verified)) => self.gather(verified, item.size()),
            Ok(State::Imported) => {
                let mut tally = lock(&self.tally);
                tally.imported += 1;
                tally.imported_bytes += item.size();
            }
            Ok(State::Kept(why)) => {
                let Item::Repository(entry) = item else { return };
                let mut tally = lock(&self.tally);
                tally.here += 1;
                tally.kept.push(Kept { file: entry.file.clone(), why });
            }
            Ok(State::Problem(kind, why)) => {
                lock(&self.tally).problems.push(Problem::new(self.bundle, item, kind, why));
            }
            Err(error) => _ = lock(&self.tally).stopped.get_or_insert(error),
        }
    }

    fn resource(&self, entry: &Entry, place: Place<'_>) -> Result<State, StoreError> {
        if let Some(store) = self.store
            && is_here(store, self.limits, &entry.resource)?
        {
            return Ok(State::Here);
        }
        let (volume, offset) = match place {
            Place::At(volume, offset) => (volume, offset),
            Place::Damaged => return Ok(State::Problem(ProblemKind::Damaged, NO_HEADER.to_owned())),
            Place::Absent => return Ok(State::Problem(ProblemKind::Lacking, NO_VOLUME.to_owned())),
        };
        let from = (volume.file().as_ref(), offset);
        let taken = match self.store {
            Some(store) => receive(store, self.limits, entry, from).map(State::Staged),
            None => check(self.limits, entry, from).map(|()| State::Here),
        };
        or_problem(taken)
    }

    fn repository(&self, entry: &RepositoryEntry, place: Place<'_>) -> Result<State, StoreError> {
        let (volume, offset) = match (place, self.store) {
            (Place::At(volume, offset), _) => (volume, offset),
            (_, Some(store)) if repositories::is_same(store, entry)? => return Ok(State::Here),
            (Place::Damaged, _) => return Ok(State::Problem(ProblemKind::Damaged, NO_HEADER.to_owned())),
            (Place::Absent, _) => return Ok(State::Problem(ProblemKind::Lacking, NO_VOLUME.to_owned())),
        };
        let from = (volume.file().as_ref(), offset);
        let Some(store) = self.store else { return or_problem(repositories::check(entry, from).map(|()| State::Here)) };
        Ok(match repositories::take(store, entry, from)? {
            Taken::Here => State::Here,
            Taken::Imported => State::Imported,
            Taken::Kept(why) => State::Kept(why),
            Taken::Problem(kind, why) => State::Problem(kind, why),
        })
    }

    fn gather(&self, verified: Verified, size: u64) {
        crate::fault::point("import.staged");
        let full = {
            let mut batch = lock(&self.batch);
            batch.0.push(verified);
            batch.1 += size;
            let is_full = batch.0.len() >= BATCH || batch.1 >= BATCH_BYTES;
            is_full.then(|| mem::take(&mut *batch))
        };
        if let Some((batch, _)) = full {
            self.publish(batch);
        }
    }

    fn publish(&self, batch: Vec<Verified>) {
        let Some(store) = self.store.filter(|_| !batch.is_empty()) else { return };
        let sizes: Vec<_> = batch.iter().map(|verified| verified.staged.written()).collect();
        let published = store.publish_all(batch);
        crate::fault::point("import.batch");
        let mut tally = lock(&self.tally);
        for (published, size) in published.into_iter().zip(sizes) {
            match published {
                Ok(()) => {
                    tally.imported += 1;
                    tally.imported_bytes += size;
                }
                Err(error) => _ = tally.stopped.get_or_insert(error),
            }
        }
    }
}

/// What is wrong with one file is no reason to stop, what is wrong with the cache is.
fn or_problem(taken: Result<State, Fault>) -> Result<State, StoreError> {
    match taken {
        Err(Fault::Store(error)) => Err(error),
        Err(fault @ Fault::Wrong(_)) => Ok(State::Problem(ProblemKind::Wrong, fault.to_string())),
        Err(fault) => Ok(State::Problem(ProblemKind::Damaged, fault.to_string())),
        Ok(state) => Ok(state),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
