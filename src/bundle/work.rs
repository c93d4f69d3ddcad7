//! Every resource of a bundle, side by side: what is here stays, what a volume has comes in, in
//! batches that are made durable together.

use super::gather::{Bundle, Place};
use super::outcome::{Problem, ProblemKind};
use super::receive::{Fault, check, receive};
use crate::exchange::Entry;
use crate::mirror::is_here;
use crate::store::{Store, StoreError, Verified};
use crate::tree::Limits;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Resources after which a batch is made durable.
const BATCH: usize = 256;
/// Bytes after which it is.
const BATCH_BYTES: u64 = 64 << 20;

/// Why a resource of a damaged volume does not come.
pub(super) const NO_HEADER: &str = "its header is not where it should be, so the volume was damaged on its way";
/// Why a resource of an absent volume does not come.
pub(super) const NO_VOLUME: &str = "its volume was not given";

/// What came of the resources of a bundle.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) here: usize,
    pub(super) imported: usize,
    pub(super) imported_bytes: u64,
    pub(super) problems: Vec<Problem>,
    /// What made it end early.
    pub(super) stopped: Option<StoreError>,
}

/// Where a resource stands.
enum State {
    Here,
    Imported(Verified),
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
/// `progress` is told of each resource that is done with.
pub(super) fn run<P: Fn(&Entry) + Sync>(
    bundle: &Bundle,
    store: Option<&Store>,
    limits: &Limits,
    jobs: usize,
    progress: &P,
) -> Tally {
    let (tally, batch) = (Mutex::default(), Mutex::default());
    let work = Work { bundle, store, limits, progress, tally, batch };
    let entries = Mutex::new(bundle.entries());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while !work.is_stopped() {
                    // Not in the condition: the lock must not be held while the resource is read.
                    let next = lock(&entries).next();
                    let Some((entry, place)) = next else { return };
                    work.bring(entry, place);
                    (work.progress)(entry);
                }
            });
        }
    });
    // What is verified comes in also when the rest cannot.
    let (last, _) = mem::take(&mut *lock(&work.batch));
    work.publish(last);
    let mut tally = work.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.problems.sort_by_key(|problem| (problem.volume, problem.resource));
    tally
}

impl<P: Fn(&Entry) + Sync> Work<'_, P> {
    fn is_stopped(&self) -> bool {
        lock(&self.tally).stopped.is_some()
    }

    fn bring(&self, entry: &Entry, place: Place<'_>) {
        match self.state(entry, place) {
            Ok(State::Here) => lock(&self.tally).here += 1,
            Ok(State::Imported(verified)) => self.gather(verified, entry.size),
            Ok(State::Problem(kind, why)) => {
                lock(&self.tally).problems.push(Problem::new(self.bundle, entry, kind, why));
            }
            Err(error) => _ = lock(&self.tally).stopped.get_or_insert(error),
        }
    }

    fn state(&self, entry: &Entry, place: Place<'_>) -> Result<State, StoreError> {
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
            Some(store) => receive(store, self.limits, entry, from).map(State::Imported),
            None => check(self.limits, entry, from).map(|()| State::Here),
        };
        match taken {
            Err(Fault::Store(error)) => Err(error),
            Err(fault @ Fault::Wrong(_)) => Ok(State::Problem(ProblemKind::Wrong, fault.to_string())),
            Err(fault) => Ok(State::Problem(ProblemKind::Damaged, fault.to_string())),
            Ok(state) => Ok(state),
        }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
