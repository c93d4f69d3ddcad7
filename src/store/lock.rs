//! Advisory locks between processes on one cache directory, as files that come and go. A file system
//! without locks never gets here: `usage.rs` refuses it.

use fs_err as fs;
use std::fs::TryLockError;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A held lock; dropping it, or the end of the process however it ends, releases it.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: std::fs::File,
}

impl Lock {
    /// Waits for the lock.
    pub(super) fn acquire(path: &Path) -> io::Result<Self> {
        loop {
            let file = open(path)?;
            file.lock()?;
            if is_still(&file, path) {
                return Ok(Self { path: path.to_owned(), _file: file });
            }
        }
    }

    /// The lock, or `None` while somebody else has it.
    pub(super) fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if is_still(&file, path) {
                return Ok(Some(Self { path: path.to_owned(), _file: file }));
            }
        }
    }
}

impl Drop for Lock {
    /// Removed while it is held: whoever opened the same file meanwhile notices in `is_still`.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> io::Result<std::fs::File> {
    Ok(fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?.into_parts().0)
}

/// Whether the locked file is the one that the path names: its last holder may have removed it
/// between our open and our lock.
pub(super) fn is_still(file: &std::fs::File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_nothing_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = Lock::try_acquire(&path).unwrap().unwrap();
        assert!(Lock::try_acquire(&path).unwrap().is_none());
        drop(held);
        assert!(!path.exists());
        assert!(Lock::try_acquire(&path).unwrap().is_some());
    }

    #[test]
    fn a_lock_on_a_removed_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let stale = open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!is_still(&stale, &path));
        fs::write(&path, "").unwrap();
        assert!(!is_still(&stale, &path));
    }
}
