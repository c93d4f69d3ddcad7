//! Who uses a cache directory: everybody shares it, but whoever removes from it needs it alone.

use super::StoreError;
use fs_err as fs;
use std::fs::TryLockError;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long somebody waits for others to be done: whoever only looks soon is, and a process that was
/// just started holds what its parent held until it runs its own program.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// A lock on the whole cache directory, held while a [`super::Store`] is open. Its file stays:
/// somebody may be waiting for it.
#[derive(Debug)]
pub(super) struct Usage(#[expect(dead_code, reason = "the lock is released when it is dropped")] std::fs::File);

impl Usage {
    /// Uses it beside others.
    pub(super) fn shared(state: &Path) -> Result<Self, StoreError> {
        Self::acquire(state, std::fs::File::try_lock_shared, || StoreError::Cleaning)
    }

    /// Uses it alone.
    pub(super) fn alone(state: &Path) -> Result<Self, StoreError> {
        Self::acquire(state, std::fs::File::try_lock, || StoreError::InUse)
    }

    fn acquire(
        state: &Path,
        try_lock: impl Fn(&std::fs::File) -> Result<(), TryLockError>,
        busy: impl Fn() -> StoreError,
    ) -> Result<Self, StoreError> {
        let file = open(state)?;
        let begun = Instant::now();
        loop {
            match try_lock(&file) {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(busy()),
                Err(TryLockError::Error(error)) => return Err(refused(error)),
            }
        }
    }
}

fn open(state: &Path) -> io::Result<std::fs::File> {
    let path = state.join("locks/use");
    Ok(fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?.into_parts().0)
}

/// Without locks two processes would mix what they write: such a file system is refused.
fn refused(error: io::Error) -> StoreError {
    let has_none = error.kind() == io::ErrorKind::Unsupported
        || error.raw_os_error() == Some(rustix::io::Errno::NOLCK.raw_os_error());
    if has_none { StoreError::NoLocks } else { error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_file_system_without_locks_is_refused_in_words() {
        for errno in [Errno::NOTSUP, Errno::NOSYS, Errno::NOLCK] {
            assert!(matches!(refused(errno.into()), StoreError::NoLocks), "{errno}");
        }
        assert!(matches!(refused(Errno::IO.into()), StoreError::Io(_)));
    }
}
