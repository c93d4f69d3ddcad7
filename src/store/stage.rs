//! Files in progress: one folder per process below `.airlock/tmp`, swept when its owner is dead.

use super::{Lock, StoreError};
use fs_err as fs;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that gather before they are sent on their way to the disk.
const FLUSH: u64 = 512 << 10;

/// This process's folder for files in progress.
#[derive(Debug)]
pub(super) struct Session {
    folder: PathBuf,
    next: AtomicU64,
    _alive: Lock,
}

/// A file in progress. It can be read while it is written; dropped, it is gone.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    file: Arc<std::fs::File>,
    written: u64,
    /// So many of them are on their way to the disk.
    flushed: u64,
    /// So many of them are on the disk for good.
    synced: Option<u64>,
}

impl Session {
    pub(super) fn open(tmp: &Path) -> Result<Self, StoreError> {
        sweep(tmp)?;
        let name = format!("{}-{}", std::process::id(), jiff::Timestamp::now().as_nanosecond());
        // The lock first: a folder without a held lock beside it is taken for a dead one.
        let alive = Lock::acquire(&tmp.join(format!("{name}.lock")))?;
        let folder = tmp.join(name);
        fs::create_dir(&folder)?;
        Ok(Self { folder, next: AtomicU64::new(0), _alive: alive })
    }

    /// The process numbers of the other sessions. Those of the dead were swept when this one was
    /// opened.
    pub(super) fn others(&self) -> Result<Vec<u32>, StoreError> {
        let mut others = BTreeSet::new();
        for entry in fs::read_dir(self.folder.parent().unwrap_or(&self.folder))? {
            let path = entry?.path();
            let is_lock = path.extension().is_some_and(|extension| extension == "lock");
            let is_own = path.with_extension("") == self.folder;
            let name = path.file_stem().and_then(|name| name.to_str()).filter(|_| is_lock && !is_own);
            others.extend(name.and_then(|name| name.split_once('-')?.0.parse::<u32>().ok()));
        }
        Ok(others.into_iter().collect())
    }

    /// A new folder, for what other programs write.
    pub(super) fn scratch(&self) -> io::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix("scratch-").tempdir_in(&self.folder)
    }

    /// Where a file of this process may be written before it gets its name.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn stage(&self) -> Result<Staged, StoreError> {
        let path = self.folder.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let file = fs::OpenOptions::new().create_new(true).read(true).write(true).open(&path)?.into_parts().0;
        Ok(Staged { path, file: Arc::new(file), written: 0, flushed: 0, synced: None })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Staged {
    /// Appends.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&*self.file).write_all(bytes)?;
        self.written += bytes.len() as u64;
        if self.written - self.flushed >= FLUSH {
            start_writing_out(&self.file, self.flushed, self.written - self.flushed);
            self.flushed = self.written;
        }
        Ok(())
    }

    /// Returns when all that was written is on the disk. To be called early, beside other work: what
    /// was synced is not synced again when it is published. A file that could not be synced must
    /// never be published: a second sync may say that all is well when the bytes are lost.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.synced != Some(self.written) {
            self.file.sync_all()?;
            self.synced = Some(self.written);
        }
        Ok(())
    }

    /// Bytes so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The file, for those who read it while it grows. It stays readable after it was published
    /// or dropped.
    pub fn file(&self) -> Arc<std::fs::File> {
        Arc::clone(&self.file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Has the kernel begin to write a part of a file to the disk, without waiting for it: the sync
/// that clients wait for at the end then finds little left to do. Linux does so when told that the
/// part is not needed soon, and keeps what is not yet on the disk.
#[cfg(target_os = "linux")]
fn start_writing_out(file: &std::fs::File, from: u64, bytes: u64) {
    // Only a hint: the sync that counts comes later.
    let _ = rustix::fs::fadvise(file, from, std::num::NonZeroU64::new(bytes), rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn start_writing_out(_: &std::fs::File, _: u64, _: u64) {}

/// Removes the folders of processes that are gone.
fn sweep(tmp: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(tmp)? {
        let path = entry?.path();
        let lock = if path.extension().is_some_and(|extension| extension == "lock") {
            path.clone()
        } else {
            path.with_extension("lock")
        };
        if let Some(_dead) = Lock::try_acquire(&lock)? {
            let _ = fs::remove_dir_all(lock.with_extension(""));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_are_swept_and_the_living_are_not() {
        let tmp = tempfile::tempdir().unwrap();
        let living = Session::open(tmp.path()).unwrap();
        let staged = living.stage().unwrap();
        fs::create_dir(tmp.path().join("1-1")).unwrap();
        fs::write(tmp.path().join("1-1/0"), "left over").unwrap();
        fs::write(tmp.path().join("2-2.lock"), "").unwrap();
        let other = Session::open(tmp.path()).unwrap();
        assert!(staged.path().exists());
        assert!(!tmp.path().join("1-1").exists() && !tmp.path().join("2-2.lock").exists());
        drop((staged, living, other));
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    }
}
