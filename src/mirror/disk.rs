//! Room on the disk: when little is left, nothing new is cached, but everything is served.
//!
//! A flight then ends as any other: received into a staged file, verified, its last bytes released;
//! only the file is never published, and is gone when the last who reads it is done. So the promise
//! to clients is the same, and 100 of them still cost one fetch. It begins below `min-free`, and ends
//! a little above it, or every file that goes would let one come.

use super::{Mirror, Refusal, blocking, lock};
use crate::store::{Room, Store, StoreError};
use jiff::Timestamp;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often the disk is looked at when nobody fetches.
const LOOK: Duration = Duration::from_secs(10);
/// It is over when so much more than `min-free` is free: this part of it.
const MARGIN: u64 = 10;

/// Whether there is room for what is new.
#[derive(Debug, Default)]
pub(super) struct Disk {
    low_since: Mutex<Option<Timestamp>>,
    uncached: AtomicU64,
}

/// The disk of the cache, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DiskStatus {
    /// What this user may still write.
    pub free: u64,
    /// Its size.
    pub size: u64,
    /// What must stay free of it.
    pub min_free: u64,
    /// Since when nothing new is cached, if so.
    pub low_since: Option<Timestamp>,
    /// How many resources were passed on to clients without being cached, since the start.
    pub uncached: u64,
}

impl DiskStatus {
    /// Whether nothing new is cached.
    pub const fn is_low(&self) -> bool {
        self.low_since.is_some()
    }
}

impl Disk {
    /// Whether something that is staged, so many bytes, may be cached. Says it once when the disk
    /// runs low, and once when it does no more.
    fn takes(&self, room: Room, staged: u64) -> bool {
        let mut low = lock(&self.low_since);
        // As if nothing were staged: one file too large for the room is no low disk.
        let free = room.free.saturating_add(staged);
        match *low {
            None if free < room.min_free => {
                *low = Some(Timestamp::now());
                tracing::error!("low disk: {room}. Nothing new is cached until there is more; what is here is served");
            }
            Some(_) if free >= room.min_free.saturating_add(room.min_free / MARGIN) => {
                *low = None;
                tracing::info!("the disk has room again: {room}");
            }
            _ => {}
        }
        low.is_none() && !room.is_low()
    }

    /// The same for a file on its way in; where the disk does not say, the file system will.
    pub(super) fn takes_staged(&self, store: &Store, bytes: u64) -> bool {
        let takes = store.room().map_or(true, |room| self.takes(room, bytes));
        if !takes {
            self.uncached.fetch_add(1, Ordering::Relaxed);
        }
        takes
    }

    fn ensure(&self, store: &Store) -> Result<(), StoreError> {
        let room = store.room()?;
        if self.takes(room, 0) { Ok(()) } else { Err(StoreError::Low(room)) }
    }
}

impl Mirror {
    /// How the disk is now. Blocks.
    pub fn disk_status(&self) -> Result<DiskStatus, StoreError> {
        let room = self.store.room()?;
        self.disk.takes(room, 0);
        let Room { free, size, min_free } = room;
        let low_since = *lock(&self.disk.low_since);
        Ok(DiskStatus { free, size, min_free, low_since, uncached: self.disk.uncached.load(Ordering::Relaxed) })
    }

    /// Whether it is of use to fetch something that must then be here.
    pub(super) async fn ensure_room(&self) -> Result<(), Refusal> {
        let (store, disk) = (Arc::clone(&self.store), Arc::clone(&self.disk));
        Ok(blocking(move || disk.ensure(&store)).await??)
    }

    pub(super) fn spawn_disk(self: &Arc<Self>) {
        let mirror = Arc::clone(self);
        let resting = self.resting.clone();
        self.tasks.spawn(async move {
            loop {
                let looker = Arc::clone(&mirror);
                if let Ok(Err(error)) = blocking(move || looker.disk_status()).await {
                    tracing::warn!("it cannot be told how much room is left: {error}");
                }
                if resting.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_below_and_ends_above_and_one_large_file_is_no_low_disk() {
        let disk = Disk::default();
        let room = |free| Room { free, size: 10_000, min_free: 1000 };
        let is_low = |disk: &Disk| lock(&disk.low_since).is_some();
        assert!(disk.takes(room(1000), 10) && !is_low(&disk));
        assert!(!disk.takes(room(500), 600) && !is_low(&disk), "too large for the room, and gone again");
        assert!(disk.takes(room(1100), 0));
        assert!(!disk.takes(room(999), 0) && is_low(&disk));
        assert!(!disk.takes(room(1050), 0) && is_low(&disk), "or it would begin again with the next file");
        assert!(disk.takes(room(1100), 0) && !is_low(&disk));
        let none = Room { min_free: 0, ..room(0) };
        assert!(disk.takes(none, 0), "0 is for never");
    }
}
