//! Tarballs straight from tree objects: the same tree gives the same bytes, whatever
//! `.gitattributes` says.

use super::objects::{Entry, Mode, Objects, join, oid};
use super::{Bounds, GitError};
use crate::protocol::TreeHash;
use crate::tree::{Hashes, TarGzWriter, WriteError};
use std::io::Write;

/// Bytes of a tar stream that an entry costs beside its content, at least.
const HEADER: u64 = 512;

/// Writes a tree, all of which is here. One blob at a time is in memory.
pub(super) fn pack(
    objects: &Objects,
    tree: TreeHash,
    out: impl Write,
    level: u32,
    bounds: &Bounds,
) -> Result<Hashes, GitError> {
    let mut tar = TarGzWriter::new(out, level);
    let mut budget = Budget { bounds, entries: 0, bytes: 0 };
    let root = objects.entries(oid(tree), b"")?;
    let mut open = vec![(Vec::new(), root.into_iter())];
    while let Some((folder, entries)) = open.last_mut() {
        let Some(Entry { name, mode, oid }) = entries.next() else {
            open.pop();
            continue;
        };
        let path = join(folder, &name);
        let size = if mode == Mode::Directory { 0 } else { objects.size(oid)? };
        budget.spend(&path, size, open.len())?;
        match mode {
            Mode::Directory => {
                tar.directory(&path).map_err(refused)?;
                let entries = objects.entries(oid, &path)?;
                open.push((path, entries.into_iter()));
            }
            Mode::Symlink => objects.with_blob(oid, |target| tar.symlink(&path, target))?.map_err(refused)?,
            Mode::File { executable } => objects
                .with_blob(oid, |bytes| tar.file(&path, executable, bytes.len() as u64, &mut &*bytes))?
                .map_err(refused)?,
        }
    }
    let (mut out, hashes) = tar.finish().map_err(refused)?;
    out.flush().map_err(GitError::Write)?;
    if hashes.strict != tree {
        return Err(objects.damage(format!("what was read as tree {tree} is {}", hashes.strict)));
    }
    Ok(hashes)
}

/// What may still be spent: a few small objects can describe a tree without end.
struct Budget<'b> {
    bounds: &'b Bounds,
    entries: u64,
    bytes: u64,
}

impl Budget<'_> {
    fn spend(&mut self, path: &[u8], size: u64, depth: usize) -> Result<(), GitError> {
        let limits = &self.bounds.tree;
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(HEADER).saturating_add(size);
        for (what, value, limit) in [
            ("files", self.entries, limits.entries),
            ("bytes", self.bytes, limits.unpacked_bytes),
            ("bytes in a file", size, self.bounds.file),
            ("bytes in a path", path.len() as u64, limits.path_bytes as u64),
            ("folders in each other", depth as u64, limits.depth as u64),
        ] {
            if value > limit {
                return Err(GitError::TooBig { what, limit });
            }
        }
        Ok(())
    }
}

fn refused(error: WriteError) -> GitError {
    match error {
        WriteError::Write(error) | WriteError::Read { source: error, .. } => GitError::Write(error),
        WriteError::Entry { path, what } => GitError::Entry { path, what: what.to_owned() },
    }
}
