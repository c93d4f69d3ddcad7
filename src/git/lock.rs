//! One process, and one thread in it, at a time changes a clone. The lock is a file beside the
//! clone that stays; what holds it ends with its process, however that ends.

use super::GitError;
use fs_err as fs;
use std::fs::TryLockError;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often a lock that somebody has is tried again.
const POLL: Duration = Duration::from_millis(50);

/// A held lock.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "dropping it releases the lock")] std::fs::File);

impl Lock {
    /// Waits for the lock until `give_up`, or until `is_stopped`; `None` if that came first.
    pub(super) fn acquire(
        path: &Path,
        give_up: Instant,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Option<Self>, GitError> {
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?.into_parts().0;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self(file))),
                Err(TryLockError::Error(error)) => {
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())).into());
                }
                Err(TryLockError::WouldBlock) if is_stopped() => return Err(GitError::Stopped),
                Err(TryLockError::WouldBlock) if Instant::now() >= give_up => return Ok(None),
                Err(TryLockError::WouldBlock) => std::thread::sleep(POLL),
            }
        }
    }
}
