//! Writes tarballs of which the same tree always gives the same bytes.
//!
//! Plain enough for every Julia since 1.4, whose first versions run the system's `tar`: ustar
//! headers, a pax header only where a name does not fit, every directory listed before what is in
//! it, no hard links, no `./`, no times and no owners.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::io::{self, Write};

use flate2::{Compression, GzBuilder};

use super::header::{BLOCK, checksum};
use super::nodes::{Leaf, Tree};
use super::object::{Mode, blob_hash};
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
    Write(#[from] io::Error),
    /// An entry that no client would unpack.
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
    let nodes = sorted(entries)?;
    let builder = GzBuilder::new().mtime(0).operating_system(255);
    let mut gzip = builder.write(out, Compression::new(level.min(9)));
    let mut tree = Tree::new(usize::MAX);
    for (path, node) in &nodes {
        write_node(&mut gzip, path, node)?;
        let put = match leaf(node) {
            Some(leaf) => tree.put_leaf(path, leaf),
            None => tree.put_directory(path),
        };
        put.map_err(|_| refuse(path, "a parent is a symbolic link"))?;
    }
    gzip.write_all(&[0; 2 * BLOCK])?;
    gzip.finish()?;
    Ok(tree.hashes().0)
}

fn refuse(path: &[u8], what: &'static str) -> WriteError {
    WriteError::Entry { path: String::from_utf8_lossy(path).into_owned(), what }
}

/// All nodes by path, parents included; bytewise order puts a parent before its children.
fn sorted(entries: impl IntoIterator<Item = TarEntry>) -> Result<BTreeMap<Vec<u8>, Node>, WriteError> {
    let mut nodes = BTreeMap::new();
    for TarEntry { path, node } in entries {
        check(&path, &node).map_err(|what| refuse(&path, what))?;
        match nodes.entry(path) {
            Slot::Vacant(slot) => drop(slot.insert(node)),
            Slot::Occupied(slot) if *slot.get() == Node::Directory && node == Node::Directory => {}
            Slot::Occupied(slot) => return Err(refuse(slot.key(), "it is there twice")),
        }
    }
    for parent in missing_parents(&nodes)? {
        nodes.insert(parent, Node::Directory);
    }
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

fn check(path: &[u8], node: &Node) -> Result<(), &'static str> {
    if path.contains(&0) {
        return Err("a NUL in the path");
    }
    if path.split(|byte| *byte == b'/').any(|part| matches!(part, b"" | b"." | b"..")) {
        return Err("an empty, . or .. component");
    }
    match node {
        Node::Symlink { target } if target.is_empty() || target.contains(&0) => Err("a bad link target"),
        _ => Ok(()),
    }
}

fn leaf(node: &Node) -> Option<Leaf> {
    let (mode, hash) = match node {
        Node::Directory => return None,
        Node::File { contents, executable } => (Mode::file(*executable), blob_hash(contents)),
        Node::Symlink { target } => (Mode::Symlink, blob_hash(target)),
    };
    Some(Leaf { mode, linkable: false, hash, kept: None })
}

fn write_node(out: &mut impl Write, path: &[u8], node: &Node) -> io::Result<()> {
    let directory = [path, b"/"].concat();
    let (path, link, mode, contents, type_flag): (&[u8], &[u8], u32, &[u8], u8) = match node {
        Node::Directory => (&directory, b"", 0o755, b"", b'5'),
        Node::Symlink { target } => (path, target, 0o755, b"", b'2'),
        Node::File { contents, executable } => (path, b"", if *executable { 0o755 } else { 0o644 }, contents, b'0'),
    };
    let size = contents.len() as u64;
    let records = pax_records(path, link, size);
    if !records.is_empty() {
        let header =
            Header { path: b"pax_header", link: b"", mode: 0o644, size: records.len() as u64, type_flag: b'x' };
        out.write_all(&header.block())?;
        write_padded(out, &records)?;
    }
    out.write_all(&Header { path, link, mode, size, type_flag }.block())?;
    write_padded(out, contents)
}

fn write_padded(out: &mut impl Write, data: &[u8]) -> io::Result<()> {
    out.write_all(data)?;
    let used = data.len() % BLOCK;
    if used == 0 { Ok(()) } else { out.write_all([0; BLOCK].get(used..).unwrap_or_default()) }
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
    fn a_record_counts_its_own_length() {
        for length in 80..120 {
            let mut record = Vec::new();
            push_record(&mut record, b"path", &vec![b'x'; length]);
            let counted: String = record.iter().take_while(|byte| **byte != b' ').map(|byte| *byte as char).collect();
            assert_eq!(counted.parse(), Ok(record.len()));
        }
    }
}
