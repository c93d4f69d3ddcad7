//! The one place that makes files visible: sync, rename, sync the folder.
//!
//! Publishing is a group commit. Whatever is waiting when the publisher comes round is synced side
//! by side, renamed, and then each folder is synced once, so that a prewarm of thousands of small
//! files does not pay for thousands of folder syncs.

use super::{Staged, StoreError};
use fs_err as fs;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

/// Files after which a commit takes no more in.
const BATCH: usize = 256;
/// Threads that sync the files of one commit.
const SYNC_THREADS: usize = 64;

#[derive(Debug)]
pub(super) struct Publisher(mpsc::Sender<Vec<Job>>);

#[derive(Debug)]
struct Job {
    staged: Staged,
    names: Vec<PathBuf>,
    done: mpsc::SyncSender<io::Result<()>>,
}

impl Publisher {
    /// Starts the thread that commits; it ends when the publisher is dropped.
    pub(super) fn start(root: &Path) -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel::<Vec<Job>>();
        let root = root.to_owned();
        std::thread::Builder::new().name("publish".into()).spawn(move || {
            let mut lasting = HashSet::new();
            while let Ok(mut batch) = jobs.recv() {
                while batch.len() < BATCH
                    && let Ok(more) = jobs.try_recv()
                {
                    batch.extend(more);
                }
                commit(&root, &mut lasting, batch);
            }
        })?;
        Ok(Self(sender))
    }

    /// Returns when the files are under their names for good; those that are given together are
    /// committed together.
    pub(super) fn publish(&self, files: Vec<(Staged, Vec<PathBuf>)>) -> Vec<Result<(), StoreError>> {
        let gone = || StoreError::Io(io::Error::other("the publisher has ended"));
        let job = |(staged, names)| {
            let (done, result) = mpsc::sync_channel(1);
            (Job { staged, names, done }, result)
        };
        let (jobs, results): (Vec<_>, Vec<_>) = files.into_iter().map(job).unzip();
        // Should it have ended, the results say so.
        let _ = self.0.send(jobs);
        results.into_iter().map(|result| Ok(result.recv().map_err(|_| gone())??)).collect()
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
    folders_of(root, to).try_for_each(sync_folder)
}

/// `lasting` are the folders that are found again after a power cut.
fn commit(root: &Path, lasting: &mut HashSet<PathBuf>, batch: Vec<Job>) {
    let synced = sync_files(&batch);
    crate::fault::point("publish.synced");
    let mut folders = BTreeSet::new();
    let placed: Vec<_> = batch
        .iter()
        .zip(synced)
        .map(|(job, synced)| synced.and_then(|()| place(root, job, lasting, &mut folders)))
        .collect();
    crate::fault::point("publish.renamed");
    let synced = folders.iter().try_for_each(|folder| sync_folder(folder));
    if synced.is_ok() {
        lasting.extend(folders);
    }
    for (job, placed) in batch.into_iter().zip(placed) {
        let result = placed.and_then(|()| same(&synced));
        // Whoever waited may have been cancelled; the file is published all the same.
        let _ = job.done.send(result);
    }
}

/// Syncs the files of a commit side by side: a disk does many small syncs at once far faster than
/// one after the other.
fn sync_files(batch: &[Job]) -> Vec<io::Result<()>> {
    if let [only] = batch {
        return vec![only.staged.file().sync_all()];
    }
    let share = batch.len().div_ceil(SYNC_THREADS);
    std::thread::scope(|scope| {
        let threads: Vec<_> = batch
            .chunks(share)
            .map(|jobs| scope.spawn(|| jobs.iter().map(|job| job.staged.file().sync_all()).collect::<Vec<_>>()))
            .collect();
        let panicked = || vec![Err(io::Error::other("a sync thread ended early"))];
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|_| panicked())).collect()
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

fn same(result: &io::Result<()>) -> io::Result<()> {
    result.as_ref().copied().map_err(|error| io::Error::new(error.kind(), error.to_string()))
}
