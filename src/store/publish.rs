//! The one place that makes files visible: sync, rename, sync the folder.
//!
//! Publishing is a group commit. Each file is synced by whoever brings it; then the first who comes
//! renames all that is waiting and syncs each folder once, while those who come meanwhile gather for
//! the next turn. A prewarm of thousands of small files does not pay for thousands of folder syncs,
//! and one file alone does not pay for a thread to hand it to.

use super::{Staged, StoreError};
use fs_err as fs;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Files after which a commit takes no more in.
const BATCH: usize = 256;
/// Threads that sync files that are given together.
const SYNC_THREADS: usize = 64;

#[derive(Debug)]
pub(super) struct Publisher {
    root: PathBuf,
    waiting: Mutex<VecDeque<Job>>,
    /// Held by the one who commits, with the folders that are found again after a power cut.
    turn: Mutex<HashSet<PathBuf>>,
}

/// A file that was synced and waits for its names.
#[derive(Debug)]
struct Job {
    staged: Staged,
    names: Vec<PathBuf>,
    done: Done,
}

type Done = Arc<OnceLock<io::Result<()>>>;

impl Drop for Job {
    /// Nobody may wait for ever for one whose commit ended early.
    fn drop(&mut self) {
        let _ = self.done.set(Err(io::Error::other("the commit ended early")));
    }
}

impl Publisher {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), waiting: Mutex::default(), turn: Mutex::default() }
    }

    /// Returns when the files are under their names for good; those that are given together are
    /// committed together.
    pub(super) fn publish(&self, mut files: Vec<(Staged, Vec<PathBuf>)>) -> Vec<Result<(), StoreError>> {
        let synced = sync_files(&mut files);
        crate::fault::point("publish.synced");
        let mut all = Vec::with_capacity(files.len());
        {
            let mut waiting = lock(&self.waiting);
            for ((staged, names), synced) in files.into_iter().zip(synced) {
                let done = Done::default();
                match synced {
                    Ok(()) => waiting.push_back(Job { staged, names, done: Arc::clone(&done) }),
                    Err(error) => _ = done.set(Err(error)),
                }
                all.push(done);
            }
        }
        while all.iter().any(|done| done.get().is_none()) {
            let mut lasting = lock(&self.turn);
            if all.iter().any(|done| done.get().is_none()) {
                let batch: Vec<_> = {
                    let mut waiting = lock(&self.waiting);
                    let some = waiting.len().min(BATCH);
                    waiting.drain(..some).collect()
                };
                commit(&self.root, &mut lasting, &batch);
            }
        }
        let result = |done: &Done| done.get().map_or_else(|| Err(io::Error::other("it was not committed")), same);
        all.iter().map(|done| Ok(result(done)?)).collect()
    }
}

/// Replaces one mutable file (a listing), durably.
pub(super) fn replace(staged: &Staged, to: &Path) -> io::Result<()> {
    staged.file().sync_all()?;
    fs::rename(staged.path(), to)?;
    to.parent().map_or(Ok(()), sync_folder)
}

/// Puts a file that was synced in place of one that may be there, below `root`, durably.
pub(super) fn replace_below(root: &Path, from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(root))?;
    fs::rename(from, to)?;
    sync_above(root, to)
}

/// Returns when a name that can be seen is on disk for good: one that somebody else brought, or one
/// whose folder could not be synced.
pub(super) fn sync_above(root: &Path, name: &Path) -> io::Result<()> {
    folders_of(root, name).try_for_each(sync_folder)
}

/// `lasting` are the folders that are found again after a power cut.
fn commit(root: &Path, lasting: &mut HashSet<PathBuf>, batch: &[Job]) {
    let mut folders = BTreeSet::new();
    let placed: Vec<_> = batch.iter().map(|job| place(root, job, lasting, &mut folders)).collect();
    crate::fault::point("publish.renamed");
    let synced = folders.iter().try_for_each(|folder| sync_folder(folder));
    if synced.is_ok() {
        lasting.extend(folders);
    }
    for (job, placed) in batch.iter().zip(placed) {
        let _ = job.done.set(placed.and_then(|()| same(&synced)));
    }
}

/// Syncs files side by side: a disk does many small syncs at once far faster than one after the
/// other.
fn sync_files(files: &mut [(Staged, Vec<PathBuf>)]) -> Vec<io::Result<()>> {
    if let [(only, _)] = files {
        return vec![only.sync()];
    }
    let share = files.len().div_ceil(SYNC_THREADS).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = files
            .chunks_mut(share)
            .map(|files| (files.len(), scope.spawn(|| files.iter_mut().map(|(it, _)| it.sync()).collect::<Vec<_>>())))
            .collect();
        let panicked = |count| (0..count).map(|_| Err(io::Error::other("a sync thread ended early"))).collect();
        threads.into_iter().flat_map(|(count, thread)| thread.join().unwrap_or_else(|_| panicked(count))).collect()
    })
}

/// Puts one file under all its names. The first name last: it is the one that was asked for, and
/// when it can be seen the others can.
fn place(root: &Path, job: &Job, lasting: &HashSet<PathBuf>, folders: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for (index, name) in job.names.iter().enumerate().rev() {
        let folder = name.parent().unwrap_or(root);
        let is_lasting = folder.is_dir() && lasting.contains(folder);
        fs::create_dir_all(folder)?;
        if index == 0 {
            rename_unless_there(job.staged.path(), name)?;
        } else {
            link_or_copy(job.staged.path(), name)?;
        }
        folders.extend(folders_of(root, name).take(if is_lasting { 1 } else { usize::MAX }).map(Path::to_owned));
    }
    Ok(())
}

/// The folders in which a name must be found again after a power cut: its own and all above it. One
/// that was there already may be as new: another process, alive or killed, made it a moment ago.
fn folders_of<'p>(root: &'p Path, name: &'p Path) -> impl Iterator<Item = &'p Path> {
    name.ancestors().skip(1).take_while(move |above| above.starts_with(root))
}

/// Makes folders so that they are found again after a power cut.
pub fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folders(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(above),
    }
}

/// What another process published first stays: clients may be in the middle of reading it by
/// ranges, and two gzips of one tree differ.
fn rename_unless_there(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        // No such rename on this file system (FAT, some network ones).
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => fs::rename(from, to),
        Err(error) => {
            Err(io::Error::new(io::Error::from(error).kind(), format!("cannot publish {}: {error}", to.display())))
        }
    }
}

fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(_) => {
            // Beside the staged file, so that a cut copy is swept with it and never seen.
            let copy = from.with_extension("copy");
            fs::copy(from, &copy)?;
            fs::File::open(&copy)?.sync_all()?;
            rename_unless_there(&copy, to)
        }
    }
}

/// Returns when the names in a folder are on disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    match fs::File::open(folder)?.sync_all() {
        // Some network file systems cannot sync a folder; nothing more can be done there.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn same(result: &io::Result<()>) -> io::Result<()> {
    result.as_ref().copied().map_err(|error| io::Error::new(error.kind(), error.to_string()))
}
