//! A folder of a depot as the tree that it is: listed without following a link, packed in git's
//! order, hashed on the way. Nothing is opened that is not a regular file, and nothing is written.

use crate::store::{Staged, Store, StoreError};
use crate::tree::{Hashes, Limits, TarGzWriter, WriteError};
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{self, Read as _, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// How hard gzip tries.
const LEVEL: u32 = 6;

const SOCKET: &str = "a socket";

/// Why something in a depot was not taken, or nothing more can be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It is not what it should be, or cannot be read.
    #[error("{0}")]
    Refused(String),
    /// The cache directory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault {
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    /// The depot's disk said no; the message names the file.
    pub(super) fn unreadable(error: &io::Error) -> Self {
        Self::Refused(format!("it cannot be read: {error}"))
    }
}

/// Everything below a folder, in git's order.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    entries: Vec<Entry>,
    /// Bytes that all its files may have together.
    most: u64,
    /// Its files are packed as if none may be executed.
    without_modes: bool,
}

/// Which of the files of a folder may be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Executable {
    All,
    Some,
    None,
}

impl Executable {
    /// What FAT, NTFS, CIFS and zip make of a folder, said beside a hash that is not right.
    pub(super) const fn suspicion(self) -> &'static str {
        match self {
            Self::All => "; all of its files are executable, so a file system without modes may have changed just that",
            Self::Some => "",
            Self::None => {
                "; none of its files is executable, so a file system or an archive without modes may have changed just that"
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    /// From the folder, `/` between components.
    path: Vec<u8>,
    kind: EntryKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryKind {
    Directory,
    File,
    Symlink,
    /// What no tree can hold.
    Special(&'static str),
}

/// Some entries of a folder, in its order.
pub(super) type Selection<'f> = Vec<&'f Entry>;

/// A folder that was hashed, and staged if there was a store.
pub(super) struct Packed {
    pub(super) hashes: Hashes,
    pub(super) staged: Option<Staged>,
}

impl Folder {
    /// Lists a folder. What `skip` names in its root is left out and not looked at.
    pub(super) fn list(root: &Path, limits: &Limits, skip: &str) -> Result<Self, Fault> {
        let mut folder =
            Self { root: root.to_owned(), entries: Vec::new(), most: limits.unpacked_bytes, without_modes: false };
        folder.list_below(&[], limits, skip.as_bytes())?;
        Ok(folder)
    }

    fn list_below(&mut self, above: &[u8], limits: &Limits, skip: &[u8]) -> Result<(), Fault> {
        if above.split(|byte| *byte == b'/').count() > limits.depth {
            return Err(Fault::refused(format!("{} is too deep", shown(above))));
        }
        if self.entries.len() as u64 > limits.entries {
            return Err(Fault::refused(format!("it has more than {} files", limits.entries)));
        }
        let mut children = Vec::new();
        for entry in fs::read_dir(self.at(above)).map_err(|error| Fault::unreadable(&error))? {
            let entry = entry.map_err(|error| Fault::unreadable(&error))?;
            let kind = kind(entry.file_type().map_err(|error| Fault::unreadable(&error))?);
            let mut key = entry.file_name().into_vec();
            if !above.is_empty() || key != skip {
                key.extend((kind == EntryKind::Directory).then_some(b'/'));
                children.push((key, kind));
            }
        }
        children.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (key, kind) in children {
            let name = key.strip_suffix(b"/").unwrap_or(&key);
            let path = if above.is_empty() { name.to_vec() } else { [above, b"/", name].concat() };
            if kind == EntryKind::Directory {
                self.entries.push(Entry { path: path.clone(), kind });
                self.list_below(&path, limits, skip)?;
            } else {
                self.entries.push(Entry { path, kind });
            }
        }
        Ok(())
    }

    fn at(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(OsStr::from_bytes(path)) }
    }

    /// Which of its files may be executed. What cannot be looked at may not.
    pub(super) fn executable(&self) -> Executable {
        let files = self.entries.iter().filter(|entry| entry.kind == EntryKind::File);
        let is_executable =
            |entry: &Entry| fs::symlink_metadata(self.at(&entry.path)).is_ok_and(|metadata| is_executable(&metadata));
        let (mut all, mut none) = (true, true);
        for entry in files {
            if is_executable(entry) { none = false } else { all = false }
        }
        match (all, none) {
            (_, true) => Executable::None,
            (true, _) => Executable::All,
            _ => Executable::Some,
        }
    }

    /// From now on its files are packed as if none may be executed.
    pub(super) fn forget_modes(&mut self) {
        self.without_modes = true;
    }

    /// All there is.
    pub(super) fn all(&self) -> Selection<'_> {
        self.entries.iter().collect()
    }

    /// Whatever would keep a program waiting that opened it, which a socket does not.
    pub(super) fn trap(&self) -> Option<String> {
        let is_trap = |entry: &&Entry| matches!(entry.kind, EntryKind::Special(what) if what != SOCKET);
        self.entries.iter().find(is_trap).map(|entry| shown(&entry.path))
    }

    /// What Pkg hashes on disk: no `.git` at any level, and no directory without a file or link at
    /// any depth, for which those in `.git` count (`GitTools.jl`, `tree_hash`, `contains_files`).
    pub(super) fn lenient(&self) -> Selection<'_> {
        lenient(self.all())
    }

    /// The same without what `leave_out` says of its path, and the paths that were left out, those
    /// below a directory that was not named.
    pub(super) fn without(&self, leave_out: fn(&str) -> bool) -> (Selection<'_>, Vec<String>) {
        let mut left: Vec<String> = Vec::new();
        let mut below: Option<Vec<u8>> = None;
        let mut kept = Selection::new();
        for entry in lenient(self.all()) {
            if below.as_ref().is_some_and(|below| entry.path.starts_with(below)) {
                continue;
            }
            match str::from_utf8(&entry.path) {
                Ok(path) if leave_out(path) => {
                    let is_directory = entry.kind == EntryKind::Directory;
                    below = is_directory.then(|| [&entry.path[..], b"/"].concat());
                    left.push(if is_directory { format!("{path}/") } else { path.to_owned() });
                }
                _ => kept.push(entry),
            }
        }
        (lenient(kept), left)
    }

    /// Hands the regular files that are wanted, by path, to `visit`.
    pub(super) fn read_files(
        &self,
        limits: &Limits,
        wanted: fn(&str) -> bool,
        mut visit: impl FnMut(&str, &[u8]),
    ) -> Result<(), Fault> {
        for entry in self.entries.iter().filter(|entry| entry.kind == EntryKind::File) {
            let Ok(path) = str::from_utf8(&entry.path) else { continue };
            if wanted(path) {
                let path_on_disk = self.at(&entry.path);
                let contents = open(&path_on_disk).and_then(|file| read_whole(file, &path_on_disk, limits.kept_bytes));
                visit(path, &contents.map_err(|error| Fault::unreadable(&error))?);
            }
        }
        Ok(())
    }

    /// Hashes a selection, and packs it into a staged file where there is a store for it.
    pub(super) fn pack(&self, selection: &[&Entry], store: Option<&Store>) -> Result<Packed, Fault> {
        let Some(store) = store else {
            let (_, hashes) = self.write(selection, io::sink(), 0)?;
            return Ok(Packed { hashes, staged: None });
        };
        let (staged, hashes) = self.write(selection, Staging(store.stage()?), LEVEL)?;
        Ok(Packed { hashes, staged: Some(staged.0) })
    }

    fn write<W: Write>(&self, selection: &[&Entry], out: W, level: u32) -> Result<(W, Hashes), Fault> {
        let mut writer = TarGzWriter::new(out, level);
        let mut left = self.most;
        for entry in selection {
            let path = &entry.path[..];
            match entry.kind {
                EntryKind::Directory => writer.directory(path).map_err(fault)?,
                EntryKind::Symlink => {
                    let target = fs::read_link(self.at(path)).map_err(|error| Fault::unreadable(&error))?;
                    writer.symlink(path, target.as_os_str().as_bytes()).map_err(fault)?;
                }
                EntryKind::File => {
                    let mut file = open(&self.at(path)).map_err(|error| Fault::unreadable(&error))?;
                    let metadata = file.metadata().map_err(|error| Fault::unreadable(&error))?;
                    // Before it is read: a file with a hole may be larger than any disk.
                    left = left
                        .checked_sub(metadata.len())
                        .ok_or_else(|| Fault::refused(format!("its files have more than {} bytes", self.most)))?;
                    let executable = !self.without_modes && is_executable(&metadata);
                    writer.file(path, executable, metadata.len(), &mut file).map_err(fault)?;
                }
                EntryKind::Special(what) => {
                    return Err(Fault::refused(format!("{} is {what}, which no tree can hold", shown(path))));
                }
            }
        }
        writer.finish().map_err(fault)
    }
}

/// The owner's bit counts, as for git.
fn is_executable(metadata: &std::fs::Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}

fn fault(error: WriteError) -> Fault {
    match error {
        WriteError::Write(error) => Fault::Store(error.into()),
        WriteError::Read { path, source } => Fault::Refused(format!("{path:?} cannot be read: {source}")),
        WriteError::Entry { path, what } => Fault::Refused(format!("{path:?}: {what}")),
    }
}

fn lenient(entries: Selection<'_>) -> Selection<'_> {
    let mut with_files: HashSet<&[u8]> = HashSet::new();
    for entry in entries.iter().filter(|entry| entry.kind != EntryKind::Directory) {
        let mut path = &entry.path[..];
        while let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
            path = path.get(..slash).unwrap_or_default();
            // Those above it are known too.
            if !with_files.insert(path) {
                break;
            }
        }
    }
    let is_kept = |entry: &&Entry| {
        let in_git = entry.path.split(|byte| *byte == b'/').any(|part| part == b".git");
        !in_git && (entry.kind != EntryKind::Directory || with_files.contains(&entry.path[..]))
    };
    entries.into_iter().filter(is_kept).collect()
}

fn kind(of: std::fs::FileType) -> EntryKind {
    if of.is_dir() {
        EntryKind::Directory
    } else if of.is_symlink() {
        EntryKind::Symlink
    } else if of.is_file() {
        EntryKind::File
    } else if of.is_fifo() {
        EntryKind::Special("a named pipe")
    } else if of.is_socket() {
        EntryKind::Special(SOCKET)
    } else {
        EntryKind::Special("a device")
    }
}

fn shown(path: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(path))
}

/// A staged file that is written to.
struct Staging(Staged);

impl Write for Staging {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens a regular file; what took its place since it was listed must not keep anybody waiting, as a
/// pipe would, or lead elsewhere.
fn open(path: &Path) -> io::Result<fs::File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    open_with(path, flags)
}

fn open_with(path: &Path, flags: rustix::fs::OFlags) -> io::Result<fs::File> {
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{} is no regular file", path.display())));
    }
    Ok(file)
}

/// Opens a file of the depot itself, which may be a link: many depots are spread over disks.
pub(super) fn open_file(path: &Path) -> io::Result<fs::File> {
    open_with(path, rustix::fs::OFlags::NONBLOCK)
}

/// The content of a small file.
pub(super) fn read_small(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_whole(open_file(path)?, path, most)
}

fn read_whole(file: fs::File, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut contents)?;
    if contents.len() as u64 > most {
        return Err(io::Error::other(format!("{} has more than {most} bytes", path.display())));
    }
    Ok(contents)
}
