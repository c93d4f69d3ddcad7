//! The second pass: the volumes as plain tar files, written beside their names and renamed when all
//! are whole.

use super::hash::{Hashed, HashedRepository};
use super::header::{head, head_bytes};
use super::layout::{Layout, path, volume_bytes};
use super::order::{ExportError, Order};
use super::{Step, Watch};
use crate::exchange::{Item, ItemName};
use crate::store::{Lookup, OpenFile, Stamp, Store};
use fs_err as fs;
use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

const BLOCK: u64 = 512;

const ZEROS: [u8; 512] = [0; 512];

/// The end of a tar: two blocks of zeros.
pub(super) const TRAILER: u64 = 2 * BLOCK;

/// What an entry of a short name takes: its header, its bytes, and zeros up to a whole block. Sizes
/// from 8 GiB on are written in binary, as GNU tar does.
pub(super) const fn entry_size(bytes: u64) -> u64 {
    BLOCK.saturating_add(bytes.div_ceil(BLOCK).saturating_mul(BLOCK))
}

/// What a resource or a git bundle takes.
pub(super) fn item_size(item: Item<'_>) -> u64 {
    (head_bytes(&item.path()) - BLOCK).saturating_add(entry_size(item.size()))
}

/// The files of an export in progress; dropped before the end, they are gone.
pub(super) struct Parts {
    /// What is written, and what it will be called.
    files: Vec<(PathBuf, PathBuf)>,
    folder: PathBuf,
    /// The first of them, and with it its lock: until all have their names, no other export begins
    /// at the same place.
    first: Option<std::fs::File>,
}

impl Parts {
    /// Writes all volumes to `NAME.part`, synced.
    pub(super) fn write(
        store: &Store,
        order: &Order,
        out: &Path,
        layout: &Layout,
        (hashed, repositories): (&[Hashed], &[HashedRepository]),
        watch: &dyn Watch,
    ) -> Result<Self, ExportError> {
        let count = u32::try_from(layout.index.volumes.len()).unwrap_or(u32::MAX);
        let names: Vec<_> = (1..=count).map(|number| path(out, number, count)).collect();
        if let Some(there) = names.iter().find(|name| !order.force && fs::symlink_metadata(name).is_ok()) {
            return Err(ExportError::Exists(there.clone()));
        }
        let folder = folder_of(out);
        let files: Vec<_> = names.into_iter().map(|name| (part_of(&name), name)).collect();
        check_room(&folder, &files, layout)?;
        let stamps = hashed.iter().map(|it| (ItemName::Resource(it.resource), it.stamp));
        let of_repositories = repositories.iter().map(|it| (ItemName::Repository(it.file.clone()), it.stamp));
        let stamps: HashMap<_, _> = stamps.chain(of_repositories).collect();
        let mut parts = Self { files: Vec::new(), folder, first: None };
        for (number, (part, name)) in (1..=count).zip(files) {
            let file = create(&part)?;
            parts.files.push((part, name));
            let mut volume = Volume { file: &file, time: layout.index.created };
            for (name, bytes) in &layout.metadata {
                volume.bytes(name, bytes)?;
            }
            for item in layout.index.of_volume(number) {
                order.check()?;
                volume.item(store, item, stamps.get(&item.name()).copied())?;
                watch.step(Step::Done { bytes: item.size() });
            }
            volume.trailer()?;
            file.sync_all()?;
            parts.first.get_or_insert(file);
        }
        Ok(parts)
    }

    /// Gives the files their names, and returns these.
    pub(super) fn publish(mut self) -> Result<Vec<PathBuf>, ExportError> {
        let mut names = Vec::new();
        for (part, name) in std::mem::take(&mut self.files) {
            fs::rename(&part, &name)?;
            crate::fault::point("export.named");
            names.push(name);
        }
        match fs::File::open(&self.folder)?.sync_all() {
            // Some file systems cannot sync a folder; nothing more can be done there.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            synced => synced?,
        }
        Ok(names)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for (part, _) in &self.files {
            let _ = fs::remove_file(part);
        }
    }
}

/// The file that becomes `name`.
pub(super) fn part_of(name: &Path) -> PathBuf {
    let mut part = name.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

pub(super) fn folder_of(out: &Path) -> PathBuf {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

/// A new file, in place of what a dead export left; that of a living one is locked.
fn create(part: &Path) -> Result<std::fs::File, ExportError> {
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(part)?.into_file();
    if let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
        return Err(ExportError::Busy(part.to_owned()));
    }
    file.set_len(0)?;
    Ok(file)
}

fn check_room(folder: &Path, files: &[(PathBuf, PathBuf)], layout: &Layout) -> Result<(), ExportError> {
    let needed: u64 = (1..).zip(files).map(|(number, _)| volume_bytes(layout, number)).sum();
    let disk = rustix::fs::statvfs(folder).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("cannot write to {}: {error}", folder.display()))
    })?;
    // What is left of a dead export is written over.
    let left: u64 = files.iter().filter_map(|(part, _)| Some(fs::metadata(part).ok()?.len())).sum();
    let free = disk.f_bavail.saturating_mul(disk.f_frsize).saturating_add(left);
    if free < needed {
        return Err(ExportError::NoRoom { folder: folder.to_owned(), free, needed });
    }
    Ok(())
}

struct Volume<'v> {
    file: &'v std::fs::File,
    time: jiff::Timestamp,
}

impl Volume<'_> {
    fn bytes(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.header(name, bytes.len() as u64)?;
        self.file.write_all(bytes)?;
        self.pad(bytes.len() as u64)
    }

    /// Copies a file of the cache: the kernel does it without the bytes ever coming here.
    fn item(&mut self, store: &Store, item: Item<'_>, hashed: Option<Stamp>) -> Result<(), ExportError> {
        let changed = || ExportError::Changed { name: item.label(), path: path_of(store, item) };
        let Some(source) = open_as_hashed(store, item, hashed)? else { return Err(changed()) };
        self.header(&item.path(), item.size())?;
        let copied = io::copy(&mut (&source).take(item.size()), &mut self.file)?;
        // What was written to meanwhile may be here and not in the hash.
        if copied != item.size() || Some(Stamp::of(&source.metadata()?)) != hashed {
            return Err(changed());
        }
        Ok(self.pad(item.size())?)
    }

    fn header(&mut self, name: &str, size: u64) -> io::Result<()> {
        self.file.write_all(&head(name, size, self.time))
    }

    fn trailer(&mut self) -> io::Result<()> {
        self.file.write_all(&ZEROS)?;
        self.file.write_all(&ZEROS)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let missing = usize::try_from(size.next_multiple_of(BLOCK) - size).unwrap_or_default();
        self.file.write_all(ZEROS.get(..missing).unwrap_or_default())
    }
}

fn path_of(store: &Store, item: Item<'_>) -> PathBuf {
    match item {
        Item::Resource(entry) => store.path(&entry.resource),
        Item::Repository(entry) => store.repository_path(&entry.file),
    }
}

fn open_as_hashed(store: &Store, item: Item<'_>, hashed: Option<Stamp>) -> Result<Option<std::fs::File>, ExportError> {
    let (file, stamp) = match item {
        Item::Resource(entry) => match store.look_up(&entry.resource)? {
            Lookup::Verified(OpenFile { file, stamp }, _) => (file, stamp),
            _ => return Ok(None),
        },
        Item::Repository(entry) => match store.open_repository(&entry.file)? {
            Some(OpenFile { file, stamp }) => (file, stamp),
            None => return Ok(None),
        },
    };
    Ok(Some(file).filter(|_| Some(stamp) == hashed))
}
