//! Every task of a depot, side by side; what is verified is published in batches that are made
//! durable together.

use super::Event;
use super::depot::Task;
use super::folder::Fault;
use super::report::{Item, Status};
use super::seal::Sealed;
use crate::protocol::{Resource, TreeHash};
use crate::store::{Store, StoreError, Verified};
use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Resources after which a batch is made durable.
const BATCH: usize = 256;
/// Bytes after which it is.
const BATCH_BYTES: u64 = 64 << 20;

/// What came of all tasks so far.
pub(super) struct Work<'w, P> {
    store: &'w Store,
    jobs: usize,
    dry_run: bool,
    progress: &'w P,
    tally: Mutex<Tally>,
    batch: Mutex<(Vec<(Item, Verified)>, u64)>,
}

/// What came of tasks.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) items: Vec<Item>,
    /// Two depots may hold the same.
    taken: HashSet<Resource>,
    /// What packages call artifacts.
    pub(super) artifact_names: HashMap<TreeHash, String>,
    /// What made it end early.
    pub(super) stopped: Option<StoreError>,
}

impl<'w, P: Fn(Event<'_>) + Sync> Work<'w, P> {
    pub(super) fn new(store: &'w Store, jobs: usize, dry_run: bool, progress: &'w P) -> Self {
        Self { store, jobs, dry_run, progress, tally: Mutex::default(), batch: Mutex::default() }
    }

    /// Judges tasks and publishes what is what it says.
    pub(super) fn run(&self, tasks: &[&Task], judge: impl Fn(&Task) -> Result<Sealed, Fault> + Sync) {
        let next = Mutex::new(tasks.iter());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    while lock(&self.tally).stopped.is_none() {
                        // Not in the condition: the lock must not be held while the task is done.
                        let task = lock(&next).next();
                        let Some(task) = task else { return };
                        let judged = self.ensure_room().and_then(|()| judge(task));
                        let bytes = judged.as_ref().ok().and_then(|sealed| sealed.item.bytes).unwrap_or_default();
                        self.settle(task, judged);
                        (self.progress)(Event::Done { path: &task.path, bytes });
                    }
                });
            }
        });
        // What is verified comes in also when the rest cannot.
        let (last, _) = mem::take(&mut *lock(&self.batch));
        self.publish(last);
    }

    pub(super) fn into_tally(self) -> Tally {
        self.tally.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is begun with the room that must stay free.
    fn ensure_room(&self) -> Result<(), Fault> {
        if self.dry_run { Ok(()) } else { Ok(self.store.room().and_then(|room| room.ensure())?) }
    }

    fn settle(&self, task: &Task, judged: Result<Sealed, Fault>) {
        match judged {
            Ok(Sealed { item, verified: Some(verified) }) => self.gather(item, verified),
            Ok(Sealed { item, verified: None }) => lock(&self.tally).items.push(item),
            Err(Fault::Refused(why)) => {
                lock(&self.tally).items.push(Item::refused(task.kind, &task.path, why));
            }
            Err(Fault::Store(error)) => _ = lock(&self.tally).stopped.get_or_insert(error),
        }
    }

    fn gather(&self, item: Item, verified: Verified) {
        crate::fault::point("adopt.staged");
        {
            let mut tally = lock(&self.tally);
            if !tally.taken.insert(verified.resource) {
                tally.items.push(Item { status: Status::Here, bytes: None, ..item });
                return;
            }
        }
        let full = {
            let mut batch = lock(&self.batch);
            batch.1 += verified.staged.written();
            batch.0.push((item, verified));
            let is_full = batch.0.len() >= BATCH || batch.1 >= BATCH_BYTES;
            is_full.then(|| mem::take(&mut *batch))
        };
        if let Some((batch, _)) = full {
            self.publish(batch);
        }
    }

    fn publish(&self, batch: Vec<(Item, Verified)>) {
        if batch.is_empty() {
            return;
        }
        let (items, all): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let names = all.iter().flat_map(|verified| &verified.artifacts);
        let names: Vec<_> = names.map(|artifact| (artifact.tree, artifact.name.clone())).collect();
        let published = self.store.publish_all(all);
        let mut tally = lock(&self.tally);
        tally.artifact_names.extend(names);
        for (item, published) in items.into_iter().zip(published) {
            match published {
                Ok(()) => tally.items.push(item),
                Err(error) => _ = tally.stopped.get_or_insert(error),
            }
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
