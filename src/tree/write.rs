//! Writes tarballs of which the same tree always gives the same bytes.
//!
//! Plain enough for every Julia since 1.4, whose first versions run the system's `tar`: ustar
//! headers, a pax header only where a name does not fit, every directory listed before what is in
//! it, no hard links, no `./`, no times and no owners.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fmt;
use std::io::{self, Read, Write};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::header::{BLOCK, checksum};
use super::nodes::{Leaf, Tree};
use super::object::{BlobHasher, Mode, ObjectHash, blob_hash};
use crate::protocol::TreeHash;

/// One file, link or directory to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarEntry {
    path: Vec<u8>,
    node: Node,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory,
    File { contents: Vec<u8>, executable: bool },
    Symlink { target: Vec<u8> },
}

impl TarEntry {
    /// A regular file at `path` (relative, `/` between components).
    pub fn file(path: impl Into<Vec<u8>>, contents: impl Into<Vec<u8>>, executable: bool) -> Self {
        Self { path: path.into(), node: Node::File { contents: contents.into(), executable } }
    }

    /// A symbolic link at `path`.
    pub fn symlink(path: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), node: Node::Symlink { target: target.into() } }
    }

    /// A directory; needed only for empty ones.
    pub fn directory(path: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), node: Node::Directory }
    }
}

/// Why a tarball could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output failed.
    #[error("cannot write the tarball")]
    Write(#[source] io::Error),
    /// The content of a file could not be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The path, with replacement characters if not UTF-8.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// An entry that no client would unpack, or that is not in its place.
    #[error("cannot put {path:?} into a tarball: {what}")]
    Entry {
        /// The path, with replacement characters if not UTF-8.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Writes `entries`, in any order, as a gzip tarball and returns its strict tree hash.
///
/// `level` is gzip's, 0 to 9. Parents need not be listed. `out` is not flushed.
pub fn write_tar_gz(
    entries: impl IntoIterator<Item = TarEntry>,
    out: impl Write,
    level: u32,
) -> Result<TreeHash, WriteError> {
    let mut writer = TarGzWriter::new(out, level);
    for (path, node) in &sorted(entries)? {
        match node {
            Node::Directory => writer.directory(path)?,
            Node::Symlink { target } => writer.symlink(path, target)?,
            Node::File { contents, executable } => {
                writer.file(path, *executable, contents.len() as u64, &mut &contents[..])?;
            }
        }
    }
    writer.finish().map(|(_, hashes)| hashes.strict)
}

/// The hashes of a tree that was written; see [`Contents`](super::Contents).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashes {
    /// Of all there is.
    pub strict: TreeHash,
    /// Without `.git` and without empty directories.
    pub lenient: TreeHash,
}

/// Writes a gzip tarball entry by entry, so that no content is ever held, and hashes it as a git
/// tree on the way.
///
/// Entries come in git's order: depth first, siblings by their names with a `/` after those of
/// directories, every directory before what is in it. So the same tree gives the same bytes.
pub struct TarGzWriter<W: Write> {
    gzip: GzEncoder<W>,
    tree: Tree,
    /// The path of the last entry, with a `/` after that of a directory.
    last: Vec<u8>,
}

impl<W: Write> TarGzWriter<W> {
    /// `level` is gzip's, 0 to 9.
    pub fn new(out: W, level: u32) -> Self {
        let builder = GzBuilder::new().mtime(0).operating_system(255);
        let gzip = builder.write(out, Compression::new(level.min(9)));
        Self { gzip, tree: Tree::new(usize::MAX), last: Vec::new() }
    }

    /// A directory; its parent must have come.
    pub fn directory(&mut self, path: &[u8]) -> Result<(), WriteError> {
        self.place(path, b"/")?;
        self.tree.put_directory(path).map_err(|_| refuse(path, MISFIT))?;
        self.ensure_new(path)?;
        let name = [path, b"/"].concat();
        self.header(&Header { path: &name, link: b"", mode: 0o755, size: 0, type_flag: b'5' })
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: &[u8], target: &[u8]) -> Result<(), WriteError> {
        if target.is_empty() || target.contains(&0) {
            return Err(refuse(path, "a bad link target"));
        }
        self.place(path, b"")?;
        self.leaf(path, Mode::Symlink, blob_hash(target))?;
        self.header(&Header { path, link: target, mode: 0o755, size: 0, type_flag: b'2' })
    }

    /// A regular file, of which `contents` gives exactly `size` bytes: one that grew or shrank
    /// meanwhile is refused.
    pub fn file(
        &mut self,
        path: &[u8],
        executable: bool,
        size: u64,
        contents: &mut dyn Read,
    ) -> Result<(), WriteError> {
        self.place(path, b"")?;
        let mode = if executable { 0o755 } else { 0o644 };
        self.header(&Header { path, link: b"", mode, size, type_flag: b'0' })?;
        let mut hasher = BlobHasher::new(size);
        let mut buffer = vec![0; COPY.min(usize::try_from(size).unwrap_or(COPY).saturating_add(1))];
        let mut written = 0;
        loop {
            let read = match contents.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(|source| WriteError::Read { path: shown(path), source })?,
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            written += bytes.len() as u64;
            if written > size || (bytes.is_empty() && written < size) {
                return Err(refuse(path, "it changed while it was read"));
            }
            if bytes.is_empty() {
                break;
            }
            hasher.update(bytes);
            self.gzip.write_all(bytes).map_err(WriteError::Write)?;
        }
        self.pad(size)?;
        self.leaf(path, Mode::file(executable), hasher.finish())
    }

    /// The output, which is not flushed, and what was written to it.
    pub fn finish(mut self) -> Result<(W, Hashes), WriteError> {
        self.gzip.write_all(&[0; 2 * BLOCK]).map_err(WriteError::Write)?;
        let (strict, lenient) = self.tree.hashes();
        Ok((self.gzip.finish().map_err(WriteError::Write)?, Hashes { strict, lenient }))
    }

    /// Whether this path may come now.
    fn place(&mut self, path: &[u8], end: &[u8]) -> Result<(), WriteError> {
        check(path).map_err(|what| refuse(path, what))?;
        let key = [path, end].concat();
        let parent = path.iter().rposition(|byte| *byte == b'/').map(|at| &key[..=at]);
        if key <= self.last || parent.is_some_and(|parent| !self.last.starts_with(parent)) {
            return Err(refuse(path, "it is not in git's order, or it is there twice"));
        }
        self.last = key;
        Ok(())
    }

    fn leaf(&mut self, path: &[u8], mode: Mode, hash: ObjectHash) -> Result<(), WriteError> {
        let leaf = Leaf { mode, linkable: false, hash, kept: None };
        self.tree.put_leaf(path, leaf).map_err(|_| refuse(path, MISFIT))?;
        self.ensure_new(path)
    }

    fn ensure_new(&self, path: &[u8]) -> Result<(), WriteError> {
        if self.tree.replaced() { Err(refuse(path, MISFIT)) } else { Ok(()) }
    }

    fn header(&mut self, header: &Header<'_>) -> Result<(), WriteError> {
        let records = pax_records(header.path, header.link, header.size);
        if !records.is_empty() {
            let size = records.len() as u64;
            let pax = Header { path: b"pax_header", link: b"", mode: 0o644, size, type_flag: b'x' };
            self.gzip
                .write_all(&pax.block())
                .and_then(|()| self.gzip.write_all(&records))
                .map_err(WriteError::Write)?;
            self.pad(size)?;
        }
        self.gzip.write_all(&header.block()).map_err(WriteError::Write)
    }

    fn pad(&mut self, size: u64) -> Result<(), WriteError> {
        let used = usize::try_from(size % BLOCK as u64).unwrap_or_default();
        let rest = if used == 0 { &[][..] } else { [0; BLOCK].get(used..).unwrap_or_default() };
        self.gzip.write_all(rest).map_err(WriteError::Write)
    }
}

impl<W: Write> fmt::Debug for TarGzWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TarGzWriter").field("last", &String::from_utf8_lossy(&self.last)).finish_non_exhaustive()
    }
}

/// Bytes of a file in memory at one time.
const COPY: usize = 64 << 10;
const MISFIT: &str = "a file, a link and a directory share a name";

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn refuse(path: &[u8], what: &'static str) -> WriteError {
    WriteError::Entry { path: shown(path), what }
}

/// All nodes by path, parents included, in git's order.
fn sorted(entries: impl IntoIterator<Item = TarEntry>) -> Result<Vec<(Vec<u8>, Node)>, WriteError> {
    let mut nodes = BTreeMap::new();
    for TarEntry { path, node } in entries {
        check(&path).map_err(|what| refuse(&path, what))?;
        match nodes.entry(path) {
            Slot::Vacant(slot) => drop(slot.insert(node)),
            Slot::Occupied(slot) if *slot.get() == Node::Directory && node == Node::Directory => {}
            Slot::Occupied(slot) => return Err(refuse(slot.key(), "it is there twice")),
        }
    }
    for parent in missing_parents(&nodes)? {
        nodes.insert(parent, Node::Directory);
    }
    let mut nodes: Vec<_> = nodes.into_iter().collect();
    nodes.sort_by_cached_key(
        |(path, node)| {
            if *node == Node::Directory { [path.as_slice(), b"/"].concat() } else { path.clone() }
        },
    );
    Ok(nodes)
}

fn missing_parents(nodes: &BTreeMap<Vec<u8>, Node>) -> Result<Vec<Vec<u8>>, WriteError> {
    let mut missing = Vec::new();
    let mut last: &[u8] = &[];
    for path in nodes.keys() {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for parent in slashes.filter_map(|at| path.get(..at)) {
            // Sorted neighbours share most parents.
            if last.starts_with(parent) && last.get(parent.len()) == Some(&b'/') {
                continue;
            }
            match nodes.get(parent) {
                Some(Node::Directory) => {}
                Some(_) => return Err(refuse(path, "a parent is no directory")),
                None => missing.push(parent.to_vec()),
            }
        }
        last = path;
    }
    Ok(missing)
}

fn check(path: &[u8]) -> Result<(), &'static str> {
    if path.contains(&0) {
        return Err("a NUL in the path");
    }
    if path.split(|byte| *byte == b'/').any(|part| matches!(part, b"" | b"." | b"..")) {
        return Err("an empty, . or .. component");
    }
    Ok(())
}

const NAME_BYTES: usize = 100;
/// The largest size that eleven octal digits can say.
const OCTAL_SIZE: u64 = (8 << 30) - 1;

/// Records for what the header block has no room for.
fn pax_records(path: &[u8], link: &[u8], size: u64) -> Vec<u8> {
    let mut records = Vec::new();
    if path.len() > NAME_BYTES {
        push_record(&mut records, b"path", path);
    }
    if link.len() > NAME_BYTES {
        push_record(&mut records, b"linkpath", link);
    }
    if size > OCTAL_SIZE {
        push_record(&mut records, b"size", size.to_string().as_bytes());
    }
    records
}

/// A record's length counts its own digits.
fn push_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    for part in [b" ", key, b"=", value, b"\n"] {
        records.extend_from_slice(part);
    }
}

struct Header<'a> {
    path: &'a [u8],
    link: &'a [u8],
    mode: u32,
    size: u64,
    type_flag: u8,
}

impl Header<'_> {
    fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, text: &[u8], most: usize| {
            let text = text.get(..most).unwrap_or(text);
            if let Some(field) = block.get_mut(at..at + text.len()) {
                field.copy_from_slice(text);
            }
        };
        let size = if self.size > OCTAL_SIZE { 0 } else { self.size };
        put(0, self.path, NAME_BYTES);
        put(100, format!("{:07o}", self.mode).as_bytes(), 7);
        put(108, b"0000000", 7);
        put(116, b"0000000", 7);
        put(124, format!("{size:011o}").as_bytes(), 11);
        put(136, b"00000000000", 11);
        put(156, &[self.type_flag], 1);
        put(157, self.link, NAME_BYTES);
        put(257, b"ustar\x0000", 8);
        let sum = checksum(&block);
        if let Some(field) = block.get_mut(148..156) {
            field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Step = fn(&mut TarGzWriter<Vec<u8>>) -> Result<(), WriteError>;

    fn written(entries: Vec<TarEntry>) -> Result<Vec<u8>, WriteError> {
        let mut out = Vec::new();
        write_tar_gz(entries, &mut out, 6).map(|_| out)
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes() {
        let one = vec![TarEntry::file("b/c", "x", true), TarEntry::symlink("a", "b"), TarEntry::directory("b")];
        let other = vec![TarEntry::symlink("a", "b"), TarEntry::file("b/c", "x", true)];
        let bytes = written(one).unwrap();
        assert_eq!(bytes, written(other).unwrap());
        assert_eq!(bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], "no time, no name, no system");
    }

    #[test]
    fn what_cannot_be_unpacked_is_refused() {
        for path in ["", "/a", "a/", "a//b", "./a", "a/../b", "a\0b"] {
            assert!(matches!(written(vec![TarEntry::directory(path)]), Err(WriteError::Entry { .. })), "{path:?}");
        }
        for pair in [
            [TarEntry::file("a", "", false), TarEntry::file("a", "", false)],
            [TarEntry::file("a", "", false), TarEntry::file("a/b", "", false)],
            [TarEntry::file("a", "", false), TarEntry::directory("a")],
            [TarEntry::symlink("a", "x"), TarEntry::file("a/b/c", "", false)],
        ] {
            assert!(matches!(written(pair.to_vec()), Err(WriteError::Entry { .. })), "{pair:?}");
        }
        assert!(written(vec![TarEntry::symlink("a", "")]).is_err());
    }

    #[test]
    fn the_streaming_writer_gives_the_same_bytes_in_gits_order_and_refuses_any_other() {
        let mut writer = TarGzWriter::new(Vec::new(), 6);
        writer.file(b"a-b", false, 1, &mut &b"x"[..]).unwrap();
        writer.directory(b"a").unwrap();
        writer.file(b"a/c", true, 1, &mut &b"y"[..]).unwrap();
        writer.symlink(b"a0", b"a").unwrap();
        let (bytes, hashes) = writer.finish().unwrap();
        let entries =
            [TarEntry::symlink("a0", "a"), TarEntry::file("a/c", "y", true), TarEntry::file("a-b", "x", false)];
        assert_eq!(bytes, written(entries.to_vec()).unwrap());
        assert_eq!(hashes.strict, hashes.lenient);
        let wrong: [Step; 7] = [
            |writer| writer.symlink(b"x/y", b"t"),
            |writer| writer.file(b"b", false, 2, &mut &b"x"[..]),
            |writer| writer.file(b"b", false, 0, &mut &b"x"[..]),
            |writer| writer.directory(b"b").and_then(|()| writer.directory(b"b")),
            |writer| writer.directory(b"b").and_then(|()| writer.directory(b"a")),
            |writer| {
                writer
                    .symlink(b"b", b"t")
                    .and_then(|()| writer.directory(b"b"))
                    .and_then(|()| writer.symlink(b"b/c", b"t"))
            },
            |writer| writer.symlink(b"b", b""),
        ];
        for (at, wrong) in wrong.into_iter().enumerate() {
            let mut writer = TarGzWriter::new(Vec::new(), 6);
            assert!(matches!(wrong(&mut writer), Err(WriteError::Entry { .. })), "{at}");
        }
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in 80..120 {
            let mut record = Vec::new();
            push_record(&mut record, b"path", &vec![b'x'; length]);
            let counted: String = record.iter().take_while(|byte| **byte != b' ').map(|byte| *byte as char).collect();
            assert_eq!(counted.parse(), Ok(record.len()));
        }
    }
}
