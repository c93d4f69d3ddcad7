//! The model as the kernel sees it. Nothing is cached by name or attribute, so that what the model says
//! is what a process gets; locks stay with the kernel.

use super::model::{Body, Files, Ino, Node};
use super::{Disk, Op};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, SystemTime};

const NEVER: Duration = Duration::ZERO;
const BLOCK: u32 = 4096;
/// Blocks of the disk: 1 GiB.
const BLOCKS: u64 = 1 << 18;

pub(super) struct Model(pub(super) Disk);

fn attributes(files: &Files, ino: Ino) -> Result<FileAttr, Errno> {
    let node = files.nodes.get(&ino).ok_or(Errno::ENOENT)?;
    let kind = kind(node);
    Ok(FileAttr {
        ino: INodeNo(ino),
        size: node.len(),
        blocks: node.len().div_ceil(512),
        atime: node.mtime,
        mtime: node.mtime,
        ctime: node.ctime,
        crtime: node.mtime,
        kind,
        perm: node.mode,
        nlink: if kind == FileType::Directory { 2 } else { files.links(ino) },
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    })
}

fn kind(node: &Node) -> FileType {
    match node.body {
        Body::File(_) => FileType::RegularFile,
        Body::Folder(_) => FileType::Directory,
        Body::Link(_) => FileType::Symlink,
    }
}

fn mode_of(mode: u32, umask: u32) -> u16 {
    u16::try_from(mode & !umask & 0o7777).unwrap_or_default()
}

impl Model {
    fn look(&self, folder: INodeNo, name: &OsStr) -> Result<FileAttr, Errno> {
        let state = self.0.lock();
        attributes(&state.files, state.files.child(folder.0, name).ok_or(Errno::ENOENT)?)
    }

    fn make(&self, folder: INodeNo, name: &OsStr, body: Body, mode: u16) -> Result<FileAttr, Errno> {
        let mut state = self.0.admit(Op::Create, folder.0)?;
        state.files.entries(folder.0).ok_or(Errno::ENOENT)?;
        if state.files.child(folder.0, name).is_some() {
            return Err(Errno::EEXIST);
        }
        let ino = state.files.add(folder.0, name, body, mode);
        attributes(&state.files, ino)
    }

    fn remove(&self, folder: INodeNo, name: &OsStr) -> Result<(), Errno> {
        let mut state = self.0.admit(Op::Unlink, folder.0)?;
        let ino = state.files.child(folder.0, name).ok_or(Errno::ENOENT)?;
        if state.files.entries(ino).is_some_and(|entries| !entries.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        state.files.set(folder.0, name, None);
        Ok(())
    }

    fn move_to(&self, from: (INodeNo, &OsStr), to: (INodeNo, &OsStr), flags: RenameFlags) -> Result<(), Errno> {
        let mut state = self.0.admit(Op::Rename, from.0.0)?;
        let ino = state.files.child(from.0.0, from.1).ok_or(Errno::ENOENT)?;
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return Err(Errno::EINVAL);
        }
        if let Some(there) = state.files.child(to.0.0, to.1) {
            if flags.contains(RenameFlags::RENAME_NOREPLACE) {
                return Err(Errno::EEXIST);
            }
            if state.files.entries(there).is_some_and(|entries| !entries.is_empty()) {
                return Err(Errno::ENOTEMPTY);
            }
        }
        state.files.set(to.0.0, to.1, Some(ino));
        state.files.set(from.0.0, from.1, None);
        Ok(())
    }

    fn put(&self, ino: INodeNo, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let mut state = self.0.admit(Op::Write, ino.0)?;
        let node = state.files.nodes.get_mut(&ino.0).ok_or(Errno::ENOENT)?;
        let Body::File(bytes) = &mut node.body else { return Err(Errno::EISDIR) };
        let start = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
        let end = start + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes.get_mut(start..end).ok_or(Errno::EIO)?.copy_from_slice(data);
        node.touch();
        Ok(())
    }

    fn change(
        &self,
        ino: INodeNo,
        mode: Option<u32>,
        size: Option<u64>,
        mtime: Option<TimeOrNow>,
    ) -> Result<FileAttr, Errno> {
        let mut state = if size.is_some() { self.0.admit(Op::Write, ino.0)? } else { self.0.lock() };
        let node = state.files.nodes.get_mut(&ino.0).ok_or(Errno::ENOENT)?;
        if let Some(size) = size {
            let Body::File(bytes) = &mut node.body else { return Err(Errno::EISDIR) };
            bytes.resize(usize::try_from(size).map_err(|_| Errno::EFBIG)?, 0);
            node.touch();
        }
        if let Some(mode) = mode {
            node.mode = mode_of(mode, 0);
        }
        if let Some(time) = mtime {
            node.mtime = match time {
                TimeOrNow::SpecificTime(time) => time,
                TimeOrNow::Now => SystemTime::now(),
            };
        }
        node.ctime = SystemTime::now();
        attributes(&state.files, ino.0)
    }

    fn synced(&self, ino: INodeNo) -> Result<(), Errno> {
        self.0.admit(Op::Sync, ino.0)?.files.sync(ino.0);
        Ok(())
    }
}

fn done(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn entry(reply: ReplyEntry, result: Result<FileAttr, Errno>) {
    match result {
        Ok(attributes) => reply.entry(&NEVER, &attributes, Generation(0)),
        Err(error) => reply.error(error),
    }
}

fn attr(reply: ReplyAttr, result: Result<FileAttr, Errno>) {
    match result {
        Ok(attributes) => reply.attr(&NEVER, &attributes),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Model {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, self.look(parent, name));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let state = self.0.lock();
        attr(reply, attributes(&state.files, ino.0));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        attr(reply, self.change(ino, mode, size, mtime));
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.0.lock().files.nodes.get(&ino.0).map(|node| &node.body) {
            Some(Body::Link(to)) => reply.data(to.as_encoded_bytes()),
            _ => reply.error(Errno::EINVAL),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        entry(reply, self.make(parent, name, Body::Folder(BTreeMap::new()), mode_of(mode, umask)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.remove(parent, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.remove(parent, name));
    }

    fn symlink(&self, _: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        entry(reply, self.make(parent, name, Body::Link(target.into()), 0o777));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        done(reply, self.move_to((parent, name), (new_parent, new_name), flags));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let link = || {
            let mut state = self.0.admit(Op::Create, parent.0)?;
            if state.files.child(parent.0, name).is_some() {
                return Err(Errno::EEXIST);
            }
            state.files.set(parent.0, name, Some(ino.0));
            attributes(&state.files, ino.0)
        };
        entry(reply, link());
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = match self.0.admit(Op::Read, ino.0) {
            Ok(state) => state,
            Err(error) => return reply.error(error),
        };
        match state.files.nodes.get(&ino.0).map(|node| &node.body) {
            Some(Body::File(bytes)) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = bytes.len().min(start + usize::try_from(size).unwrap_or_default());
                reply.data(bytes.get(start..end).unwrap_or_default());
            }
            _ => reply.error(Errno::EISDIR),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.put(ino, offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or_default()),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(reply, self.synced(ino));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(reply, self.synced(ino));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.0.admit(Op::Read, ino.0) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = self.0.lock();
        let Some(entries) = state.files.entries(ino.0) else { return reply.error(Errno::ENOTDIR) };
        let skipped = usize::try_from(offset).unwrap_or_default();
        for (place, (name, ino)) in (1..).zip(entries).skip(skipped) {
            let kind = state.files.nodes.get(ino).map_or(FileType::RegularFile, kind);
            if reply.add(INodeNo(*ino), place, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCK, 255, BLOCK);
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        match self.make(parent, name, Body::File(Vec::new()), mode_of(mode, umask)) {
            Ok(attributes) => {
                reply.created(&NEVER, &attributes, Generation(0), FileHandle(0), FopenFlags::empty());
            }
            Err(error) => reply.error(error),
        }
    }
}
