//! What pages and scrapes ask for all the time, remembered as long as the file that it was read
//! from looks the same: the last misses, when registries were published. What takes more than one
//! file is summed up by the rescan.

use super::{Mirror, Refusal, blocking, lock};
use crate::protocol::{RegistryTree, TreeHash, Uuid};
use crate::store::{Census, Miss, Stamp, StoreError};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Most misses that are remembered.
const RECENT: usize = 1000;

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Summary {
    misses: Remembered<MissSummary>,
    published: Remembered<HashMap<(Uuid, TreeHash), Timestamp>>,
    open: Mutex<Option<Open>>,
}

/// Something that was read from a file, and what the file looked like.
#[derive(Debug)]
struct Remembered<T>(Mutex<Option<(Stamp, Arc<T>)>>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Remembered<T> {
    /// What the file says; the stamp must be from before it is read. Whoever comes while it is being
    /// read waits, instead of reading it too. Blocks.
    fn get(&self, stamp: Option<Stamp>, read: impl FnOnce() -> Result<T, StoreError>) -> Result<Arc<T>, StoreError> {
        let mut remembered = lock(&self.0);
        if let (Some((then, value)), Some(now)) = (&*remembered, stamp)
            && *then == now
        {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(read()?);
        *remembered = stamp.map(|stamp| (stamp, Arc::clone(&value)));
        Ok(value)
    }
}

impl Summary {
    /// What another mirror over the same cache has summed up, until this one does.
    pub(super) fn inherit(&self, before: &Self) {
        *lock(&self.open) = *lock(&before.open);
    }
}

/// The ledger of misses in short.
#[derive(Clone, Debug, Default)]
pub struct MissSummary {
    /// How many distinct resources are in it.
    pub distinct: usize,
    /// Those missed last, the last first: at most 1,000.
    pub recent: Vec<Miss>,
}

/// What somebody is waiting for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Distinct resources in the ledger of misses, here by now or not.
    pub misses: usize,
    /// Wishes that are not fulfilled.
    pub wishes: usize,
}

impl Mirror {
    /// The ledger of misses in short, with what was not written to it yet.
    pub async fn recent_misses(self: &Arc<Self>) -> Result<Arc<MissSummary>, Refusal> {
        self.flush_misses().await;
        let mirror = Arc::clone(self);
        Ok(blocking(move || mirror.read_misses()).await??)
    }

    fn read_misses(&self) -> Result<Arc<MissSummary>, StoreError> {
        let ledger = self.store.misses();
        self.summary.misses.get(ledger.stamp(), || {
            let mut recent = ledger.read()?;
            let distinct = recent.len();
            recent.truncate(RECENT);
            recent.shrink_to_fit();
            Ok(MissSummary { distinct, recent })
        })
    }

    /// When a tree of a registry was last published here; `None` if another tool brought it and it
    /// was not found yet. Blocks.
    pub fn published_at(&self, registry: RegistryTree) -> Result<Option<Timestamp>, StoreError> {
        let published = self.summary.published.get(self.store.generations_stamp(), || {
            let log = self.store.generations()?;
            Ok(log.into_iter().map(|entry| ((entry.uuid, entry.tree), entry.time)).collect())
        });
        Ok(published?.get(&(registry.uuid, registry.tree)).copied())
    }

    /// How much is here, by the last rescan and what was published since; counted now if there was
    /// none yet.
    pub async fn census(&self) -> Result<Census, Refusal> {
        if let Some(census) = self.store.census() {
            return Ok(census);
        }
        let store = Arc::clone(&self.store);
        Ok(blocking(move || store.take_census(|_, _| Ok(()))).await??)
    }

    /// What somebody was waiting for when the cache directory was last searched; `None` before the
    /// first time.
    pub fn open(&self) -> Option<Open> {
        *lock(&self.summary.open)
    }

    /// Sums up what takes more than a look.
    pub(super) async fn sum_up(self: &Arc<Self>) {
        let mirror = Arc::clone(self);
        let open = blocking(move || {
            let misses = mirror.read_misses()?.distinct;
            Ok::<_, StoreError>(Open { misses, wishes: mirror.open_wishes(usize::MAX)?.len() })
        });
        match open.await {
            Ok(Ok(open)) => *lock(&self.summary.open) = Some(open),
            Ok(Err(error)) => tracing::warn!("cannot sum up misses and wishes: {error}"),
            Err(_) => {}
        }
    }
}
