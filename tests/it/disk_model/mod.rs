//! A disk in memory that can lose its power, be full, and fail: a file system of this process (FUSE),
//! so that the real binary runs on it.

mod fuse;
mod model;

pub(crate) use fuser::Errno;
pub(crate) use model::Cut;

use crate::support::skip;
use model::{Files, Ino, ROOT};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a process asks of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Read,
    Write,
    Create,
    Rename,
    Unlink,
    Sync,
}

/// An operation that fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    /// Which, counted from 1 among those that can fail so.
    pub(crate) at: u64,
    pub(crate) errno: Errno,
    /// And all that come after it.
    pub(crate) sticky: bool,
    /// What can be read stays readable.
    pub(crate) spares_reads: bool,
}

impl Failure {
    /// A full disk can be read and emptied.
    fn can(self, op: Op) -> bool {
        let is_full = self.errno == Errno::ENOSPC;
        !(is_full && op == Op::Unlink || (is_full || self.spares_reads) && op == Op::Read)
    }
}

#[derive(Debug)]
struct State {
    files: Files,
    /// Operations until now, and those that the failure could have been.
    ops: u64,
    counted: u64,
    failure: Option<Failure>,
    /// The power is cut at this operation.
    cut_at: Option<u64>,
    is_cut: bool,
    failed: Vec<Op>,
}

/// A disk. A copy is the same disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
    cut: Arc<tokio::sync::Notify>,
}

/// A disk that is mounted; dropped, it is not any more.
pub(crate) struct Mounted {
    folder: PathBuf,
    session: Option<fuser::BackgroundSession>,
}

impl Disk {
    /// With what is in a folder of the real disk.
    pub(crate) fn load(folder: &Path) -> Self {
        let mut files = Files::new();
        files.load(folder, ROOT);
        Self::of(files)
    }

    fn of(files: Files) -> Self {
        let state = State { files, ops: 0, counted: 0, failure: None, cut_at: None, is_cut: false, failed: Vec::new() };
        Self { state: Arc::new(Mutex::new(state)), cut: Arc::default() }
    }

    /// Another disk with the same on it.
    pub(crate) fn copy(&self) -> Self {
        Self::of(self.lock().files.clone())
    }

    /// The disk after its power was cut.
    pub(crate) fn after(&self, mut cut: Cut) -> Self {
        Self::of(self.lock().files.after(&mut cut))
    }

    /// Operations until now.
    pub(crate) fn ops(&self) -> u64 {
        self.lock().ops
    }

    /// Operations until now that a failure could have been; what did fail.
    pub(crate) fn counted(&self) -> (u64, Vec<Op>) {
        let state = self.lock();
        (state.counted, state.failed.clone())
    }

    /// Has an operation fail, counted from now on; or none.
    pub(crate) fn fail(&self, failure: Option<Failure>) {
        let mut state = self.lock();
        (state.failure, state.counted, state.failed) = (failure, 0, Vec::new());
    }

    /// Has all fail from now on that changes anything.
    pub(crate) fn fail_writes(&self, errno: Errno) {
        self.fail(Some(Failure { at: 1, errno, sticky: true, spares_reads: true }));
    }

    /// Cuts the power at an operation, counted from the beginning.
    pub(crate) fn cut_at(&self, op: u64) {
        self.lock().cut_at = Some(op);
    }

    /// Cuts the power now. Whatever is asked from then on fails and changes nothing.
    pub(crate) fn cut(&self) {
        self.lock().is_cut = true;
        self.cut.notify_one();
    }

    /// Returns when the power is cut.
    pub(crate) async fn is_cut(&self) {
        self.cut.notified().await;
    }

    /// Mounts it; `None`, and said, where that cannot be.
    pub(crate) fn mount(&self, folder: &Path) -> Option<Mounted> {
        let mut config = fuser::Config::default();
        config.mount_options = vec![fuser::MountOption::FSName("airlock-disk-model".to_owned())];
        match fuser::spawn_mount(fuse::Model(self.clone()), folder, &config) {
            Ok(session) => Some(Mounted { folder: folder.to_owned(), session: Some(session) }),
            Err(error) => {
                skip(&format!("FUSE ({error}): disks that fail and lose their power"));
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an operation is carried out.
    fn admit(&self, op: Op, ino: Ino) -> Result<MutexGuard<'_, State>, Errno> {
        let mut state = self.lock();
        state.ops += 1;
        if state.cut_at.is_some_and(|at| state.ops >= at) {
            state.is_cut = true;
            self.cut.notify_one();
        }
        if state.is_cut {
            return Err(Errno::EIO);
        }
        if let Some(failure) = state.failure.filter(|failure| failure.can(op)) {
            state.counted += 1;
            if state.counted == failure.at || (failure.sticky && state.counted > failure.at) {
                state.failed.push(op);
                if op == Op::Sync {
                    state.files.give_up(ino);
                }
                return Err(failure.errno);
            }
        }
        Ok(state)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            if session.umount_and_join().is_ok() {
                return;
            }
            // Something has it open still: it goes when that does.
            for (tool, flag) in [("umount", "-l"), ("fusermount3", "-uz")] {
                let mut detach = std::process::Command::new(tool);
                detach.arg(flag).arg(&self.folder).stderr(std::process::Stdio::null());
                if detach.status().is_ok_and(|status| status.success()) {
                    return;
                }
            }
        }
    }
}
