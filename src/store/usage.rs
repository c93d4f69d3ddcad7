//! Who uses a cache directory: everybody shares it, but whoever removes from it needs it alone.

use super::StoreError;
use fs_err as fs;
use std::fs::TryLockError;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long somebody who needs a cache alone waits for others to be done.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// A lock on the whole cache directory, held while a [`super::Store`] is open. Its file stays:
/// somebody may be waiting for it.
#[derive(Debug)]
pub(super) struct Usage(#[expect(dead_code, reason = "the lock is released when it is dropped")] std::fs::File);

impl Usage {
    /// Uses it beside others.
    pub(super) fn shared(state: &Path) -> Result<Self, StoreError> {
        let file = open(state)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Cleaning),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Uses it alone. Whoever only looks is soon done, and is waited for.
    pub(super) fn alone(state: &Path) -> Result<Self, StoreError> {
        let file = open(state)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(StoreError::InUse),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }
}

fn open(state: &Path) -> io::Result<std::fs::File> {
    let path = state.join("locks/use");
    Ok(fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?.into_parts().0)
}
