//! The tree that an archive's entries add up to, and its two hashes.
//!
//! Names and hashes only: memory grows with the number of entries, never with their content.
//! Directories live in one vector and a child comes after its parent, so that nothing here
//! recurses, however deep a hostile path is.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::object::{Mode, ObjectHash, push_tree_line, tree_hash};
use crate::protocol::TreeHash;

/// Rough cost of a leaf and of a directory beside their names, in bytes.
const LEAF_COST: u64 = 112;
const DIRECTORY_COST: u64 = 368;

/// A file, hard link or symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) mode: Mode,
    /// Whether a hard link may name it: only what was itself a regular file entry.
    pub(super) linkable: bool,
    pub(super) hash: ObjectHash,
    /// Which of the kept contents is this file's.
    pub(super) kept: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
enum Node {
    Leaf(Leaf),
    Directory(usize),
}

type Children = HashMap<Box<[u8]>, Node>;

/// Why an entry does not fit the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// A parent is a symbolic link, so a client would write elsewhere.
    BelowSymlink,
    /// More components than allowed.
    TooDeep,
}

/// The tree so far.
pub(super) struct Tree {
    directories: Vec<Children>,
    /// The parent used last and its path: archives list a directory's files together. It is never
    /// stale: the node put last is its child, so no directory replaced since can hold it.
    last_parent: (Vec<u8>, usize),
    depth: usize,
    cost: u64,
    replaced: bool,
}

impl Tree {
    /// An empty tree that takes paths of at most `depth` components.
    pub(super) fn new(depth: usize) -> Self {
        Self { directories: vec![Children::new()], last_parent: (Vec::new(), 0), depth, cost: 0, replaced: false }
    }

    /// Rough number of bytes that all nodes ever made take.
    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    /// Whether a later entry ever took the place of an earlier file, link or directory.
    pub(super) fn replaced(&self) -> bool {
        self.replaced
    }

    /// Puts a leaf at a normalised, non-empty path, in place of whatever was there.
    pub(super) fn put_leaf(&mut self, path: &[u8], leaf: Leaf) -> Result<(), Misfit> {
        let (parent, name) = split_parent(path);
        let directory = self.parent(parent)?;
        self.put(directory, name, Node::Leaf(leaf));
        Ok(())
    }

    /// Makes sure that a normalised, non-empty path is a directory; one that is there stays.
    pub(super) fn put_directory(&mut self, path: &[u8]) -> Result<(), Misfit> {
        let (parent, name) = split_parent(path);
        let directory = self.parent(parent)?;
        if !matches!(self.child(directory, name), Some(Node::Directory(_))) {
            self.new_directory(directory, name);
        }
        Ok(())
    }

    /// The leaf at a normalised path.
    pub(super) fn leaf(&self, path: &[u8]) -> Option<Leaf> {
        let (parent, name) = split_parent(path);
        let mut directory = 0;
        for part in parts(parent) {
            match self.child(directory, part)? {
                Node::Directory(id) => directory = id,
                Node::Leaf(_) => return None,
            }
        }
        match self.child(directory, name)? {
            Node::Leaf(leaf) => Some(leaf),
            Node::Directory(_) => None,
        }
    }

    fn child(&self, directory: usize, name: &[u8]) -> Option<Node> {
        self.directories.get(directory)?.get(name).copied()
    }

    /// The directory at a path, made where it is missing.
    fn parent(&mut self, path: &[u8]) -> Result<usize, Misfit> {
        if self.last_parent.0 == path {
            return Ok(self.last_parent.1);
        }
        if parts(path).count() >= self.depth {
            return Err(Misfit::TooDeep);
        }
        let mut directory = 0;
        for part in parts(path) {
            directory = match self.child(directory, part) {
                Some(Node::Directory(id)) => id,
                Some(Node::Leaf(Leaf { mode: Mode::Symlink, .. })) => return Err(Misfit::BelowSymlink),
                Some(Node::Leaf(_)) | None => self.new_directory(directory, part),
            };
        }
        self.last_parent.0.clear();
        self.last_parent.0.extend_from_slice(path);
        self.last_parent.1 = directory;
        Ok(directory)
    }

    fn new_directory(&mut self, parent: usize, name: &[u8]) -> usize {
        let id = self.directories.len();
        self.directories.push(Children::new());
        self.put(parent, name, Node::Directory(id));
        id
    }

    fn put(&mut self, directory: usize, name: &[u8], node: Node) {
        let fixed = if matches!(node, Node::Leaf(_)) { LEAF_COST } else { DIRECTORY_COST };
        self.cost = self.cost.saturating_add(fixed + name.len() as u64);
        let Some(children) = self.directories.get_mut(directory) else { return };
        self.replaced |= children.insert(name.into(), node).is_some();
    }

    /// The strict and the lenient hash of the whole.
    pub(super) fn hashes(&self) -> (TreeHash, TreeHash) {
        let mut done: Vec<Option<Hashed>> = vec![None; self.directories.len()];
        let mut body = Vec::new();
        for (id, children) in self.directories.iter().enumerate().rev() {
            let hashed = hash_directory(children, &done, &mut body);
            if let Some(slot) = done.get_mut(id) {
                *slot = Some(hashed);
            }
        }
        let root = done.first().copied().flatten().unwrap_or(Hashed::EMPTY);
        (TreeHash::from_bytes(root.strict), TreeHash::from_bytes(root.lenient))
    }
}

/// A directory's hashes.
#[derive(Clone, Copy)]
struct Hashed {
    strict: ObjectHash,
    lenient: ObjectHash,
    /// Whether a file or link is anywhere below, `.git` not excepted (`contains_files` in Pkg's
    /// `GitTools.jl`).
    has_files: bool,
}

impl Hashed {
    const EMPTY: Self =
        Self { strict: *TreeHash::EMPTY.as_bytes(), lenient: *TreeHash::EMPTY.as_bytes(), has_files: false };
}

/// One line of a tree object to be.
struct Line<'a> {
    name: &'a [u8],
    mode: Mode,
    hashed: Hashed,
}

fn hash_directory(children: &Children, done: &[Option<Hashed>], body: &mut Vec<u8>) -> Hashed {
    let mut lines: Vec<Line<'_>> = children.iter().map(|(name, node)| line(name, *node, done)).collect();
    lines.sort_unstable_by(|a, b| git_order(a, b));
    let strict = hash_lines(lines.iter(), |hashed| &hashed.strict, body);
    let plain = lines.iter().all(|line| !is_skipped(line) && line.hashed.strict == line.hashed.lenient);
    let lenient = if plain {
        strict
    } else {
        hash_lines(lines.iter().filter(|line| !is_skipped(line)), |hashed| &hashed.lenient, body)
    };
    Hashed { strict, lenient, has_files: lines.iter().any(|line| line.hashed.has_files) }
}

fn line<'a>(name: &'a [u8], node: Node, done: &[Option<Hashed>]) -> Line<'a> {
    match node {
        Node::Leaf(leaf) => {
            Line { name, mode: leaf.mode, hashed: Hashed { strict: leaf.hash, lenient: leaf.hash, has_files: true } }
        }
        Node::Directory(id) => {
            Line { name, mode: Mode::Directory, hashed: done.get(id).copied().flatten().unwrap_or(Hashed::EMPTY) }
        }
    }
}

/// What Pkg leaves out when it hashes a tree on disk (`tree_hash` in Pkg's `GitTools.jl`).
fn is_skipped(line: &Line<'_>) -> bool {
    line.name == b".git" || !line.hashed.has_files
}

fn hash_lines<'a>(
    lines: impl Iterator<Item = &'a Line<'a>>,
    which: fn(&Hashed) -> &ObjectHash,
    body: &mut Vec<u8>,
) -> ObjectHash {
    body.clear();
    for line in lines {
        push_tree_line(body, line.mode, line.name, which(&line.hashed));
    }
    tree_hash(body)
}

/// Bytewise, with a directory's name read as if it ended in a slash.
fn git_order(a: &Line<'_>, b: &Line<'_>) -> Ordering {
    let shared = a.name.len().min(b.name.len());
    let next = |line: &Line<'_>| {
        let end = (line.mode == Mode::Directory).then_some(b'/');
        line.name.get(shared).copied().or(end)
    };
    a.name.iter().take(shared).cmp(b.name.iter().take(shared)).then_with(|| next(a).cmp(&next(b)))
}

/// Drops empty and `.` components; the root is empty.
pub(super) fn normalise(path: &[u8]) -> Vec<u8> {
    let mut normal = Vec::with_capacity(path.len());
    for part in parts(path).filter(|part| *part != b".") {
        if !normal.is_empty() {
            normal.push(b'/');
        }
        normal.extend_from_slice(part);
    }
    normal
}

fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
}

fn split_parent(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (&[], path),
    }
}
