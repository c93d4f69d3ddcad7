//! The room on the disk of the cache, and how much of it must stay free.
//!
//! A disk that is really full fails whatever is written next: ledgers, listings, another program's
//! files. So what can be done without is not begun when only this much is left.

use super::{Store, StoreError};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that stay free unless somebody said otherwise; less on a small disk.
const MIN_FREE: u64 = 1 << 30;
/// That part of a small disk.
const SMALL: u64 = 50;
/// Stands for "as the size of the disk suggests".
const UNSET: u64 = u64::MAX;

/// A disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What this user may still write.
    pub free: u64,
    /// Its size.
    pub size: u64,
    /// What must stay free of it.
    pub min_free: u64,
}

impl Room {
    /// Whether no more than what must stay free is left.
    pub const fn is_low(&self) -> bool {
        self.free < self.min_free
    }

    /// What may be written.
    pub const fn left(&self) -> u64 {
        self.free.saturating_sub(self.min_free)
    }

    /// Whether something new may be begun.
    pub const fn ensure(&self) -> Result<(), StoreError> {
        if self.is_low() { Err(StoreError::Low(*self)) } else { Ok(()) }
    }
}

/// In words: `3.5 MiB free and [disk] min-free keeps 1.0 GiB`.
impl std::fmt::Display for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = |bytes: u64| bytesize::ByteSize(bytes).display().iec().to_string();
        write!(f, "{} free and [disk] min-free keeps {}", size(self.free), size(self.min_free))
    }
}

/// How much must stay free, as it was configured.
#[derive(Debug)]
pub(super) struct MinFree(AtomicU64);

impl Default for MinFree {
    fn default() -> Self {
        Self(AtomicU64::new(UNSET))
    }
}

impl MinFree {
    fn of(&self, size: u64) -> u64 {
        match self.0.load(Ordering::Relaxed) {
            UNSET => MIN_FREE.min(size / SMALL),
            bytes => bytes,
        }
    }
}

impl Store {
    /// Says how many bytes must stay free; `None` for what the size of the disk suggests.
    pub fn keep_free(&self, bytes: Option<u64>) {
        self.min_free.0.store(bytes.unwrap_or(UNSET), Ordering::Relaxed);
    }

    /// The room that there is.
    pub fn room(&self) -> Result<Room, StoreError> {
        let disk = rustix::fs::statvfs(&self.root).map_err(io::Error::from)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let size = bytes(disk.f_blocks);
        Ok(Room { free: bytes(disk.f_bavail), size, min_free: self.min_free.of(size) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_keeps_less_free_and_what_was_said_counts() {
        let min_free = MinFree::default();
        assert_eq!((min_free.of(600 << 10), min_free.of(10 << 40)), ((600 << 10) / 50, 1 << 30));
        min_free.0.store(0, Ordering::Relaxed);
        assert_eq!(min_free.of(10 << 40), 0);
        let room = Room { free: 5, size: 10, min_free: 6 };
        assert!(room.is_low() && room.left() == 0 && room.ensure().is_err());
        assert!(Room { free: 6, ..room }.ensure().is_ok());
    }
}
