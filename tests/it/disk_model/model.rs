//! What is in memory, and what of it is on the disk for good.
//!
//! Writes are in memory until the file is synced, names until their folder is. At a power cut all else
//! is gone, or any part of it is there, in any order: disks promise no more. A file that was never
//! synced may be empty, zeros, garbage or whole; a rename may be there without what it renamed.

use crate::dice::Dice;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::SystemTime;

pub(super) type Ino = u64;
pub(super) const ROOT: Ino = 1;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    File(Vec<u8>),
    Folder(BTreeMap<OsString, Ino>),
    Link(OsString),
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) body: Body,
    pub(super) mode: u16,
    pub(super) mtime: SystemTime,
    pub(super) ctime: SystemTime,
    /// What is on the disk for good.
    durable: Body,
    /// A sync failed: what was written until then is lost, though later ones succeed.
    is_given_up: bool,
}

/// A name that is not on the disk for good.
#[derive(Clone, Debug)]
struct Pending {
    folder: Ino,
    name: OsString,
    to: Option<Ino>,
}

#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) nodes: HashMap<Ino, Node>,
    next: Ino,
    pending: Vec<Pending>,
}

/// What a power cut leaves of what was not synced.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    /// Nothing.
    Strict,
    /// Any part.
    Random(Dice),
}

impl Node {
    fn new(body: Body, mode: u16) -> Self {
        let durable = match &body {
            Body::File(_) => Body::File(Vec::new()),
            Body::Folder(_) => Body::Folder(BTreeMap::new()),
            Body::Link(to) => Body::Link(to.clone()),
        };
        let now = SystemTime::now();
        Self { body, mode, mtime: now, ctime: now, durable, is_given_up: false }
    }

    pub(super) fn len(&self) -> u64 {
        match &self.body {
            Body::File(bytes) => bytes.len() as u64,
            Body::Folder(_) => 4096,
            Body::Link(to) => to.len() as u64,
        }
    }

    pub(super) fn touch(&mut self) {
        self.mtime = SystemTime::now();
        self.ctime = self.mtime;
    }
}

impl Files {
    pub(super) fn new() -> Self {
        let root = Node::new(Body::Folder(BTreeMap::new()), 0o755);
        Self { nodes: HashMap::from([(ROOT, root)]), next: ROOT + 1, pending: Vec::new() }
    }

    /// Takes in a folder of the real disk, as if it had been there for long.
    pub(super) fn load(&mut self, from: &Path, folder: Ino) {
        for entry in fs_err::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let (body, mode) = if kind.is_dir() {
                (Body::Folder(BTreeMap::new()), 0o755)
            } else if kind.is_symlink() {
                (Body::Link(fs_err::read_link(entry.path()).unwrap().into()), 0o777)
            } else {
                (Body::File(fs_err::read(entry.path()).unwrap()), 0o644)
            };
            let ino = self.add(folder, &entry.file_name(), body, mode);
            if kind.is_dir() {
                self.load(&entry.path(), ino);
            }
            self.sync(ino);
        }
        self.sync(folder);
    }

    pub(super) fn entries(&self, folder: Ino) -> Option<&BTreeMap<OsString, Ino>> {
        match self.nodes.get(&folder).map(|node| &node.body) {
            Some(Body::Folder(entries)) => Some(entries),
            _ => None,
        }
    }

    pub(super) fn child(&self, folder: Ino, name: &OsStr) -> Option<Ino> {
        self.entries(folder)?.get(name).copied()
    }

    /// Names that a file has.
    pub(super) fn links(&self, ino: Ino) -> u32 {
        let named = self.nodes.keys().filter_map(|folder| self.entries(*folder));
        u32::try_from(named.flat_map(BTreeMap::values).filter(|named| **named == ino).count()).unwrap()
    }

    pub(super) fn add(&mut self, folder: Ino, name: &OsStr, body: Body, mode: u16) -> Ino {
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, Node::new(body, mode));
        self.set(folder, name, Some(ino));
        ino
    }

    /// Gives or takes a name.
    pub(super) fn set(&mut self, folder: Ino, name: &OsStr, to: Option<Ino>) {
        self.pending.push(Pending { folder, name: name.to_owned(), to });
        let Some(node) = self.nodes.get_mut(&folder) else { return };
        put(&mut node.body, name, to);
        node.touch();
        if let Some(node) = to.and_then(|to| self.nodes.get_mut(&to)) {
            node.ctime = SystemTime::now();
        }
    }

    /// Puts content, or the names in a folder, on the disk for good.
    pub(super) fn sync(&mut self, ino: Ino) {
        let Some(node) = self.nodes.get_mut(&ino).filter(|node| !node.is_given_up) else { return };
        node.durable = node.body.clone();
        self.pending.retain(|pending| pending.folder != ino);
    }

    /// A sync that failed: what it was to write is forgotten, in silence from then on.
    pub(super) fn give_up(&mut self, ino: Ino) {
        if let Some(node) = self.nodes.get_mut(&ino).filter(|node| matches!(node.body, Body::File(_))) {
            node.is_given_up = true;
        }
    }

    /// What is there when the power is back.
    pub(super) fn after(&self, cut: &mut Cut) -> Self {
        let mut nodes = self.nodes.clone();
        if let Cut::Random(dice) = cut {
            // Some disks keep most of it, some hardly any.
            let odds = 1 + dice.below(9);
            for Pending { folder, name, to } in &self.pending {
                if dice.below(10) < odds
                    && let Some(node) = nodes.get_mut(folder)
                {
                    put(&mut node.durable, name, *to);
                }
            }
            let mut inos: Vec<_> = nodes.keys().copied().collect();
            inos.sort_unstable();
            for ino in inos {
                let Some(node) = nodes.get_mut(&ino) else { continue };
                if let (Body::File(old), Body::File(new)) = (&node.durable, &node.body) {
                    node.durable = Body::File(torn(old, new, dice));
                }
            }
        }
        let (mut kept, mut open) = (HashMap::new(), BTreeSet::from([ROOT]));
        while let Some(ino) = open.pop_first() {
            let Some(mut node) = nodes.remove(&ino) else { continue };
            node.body = node.durable.clone();
            node.is_given_up = false;
            if let Body::Folder(entries) = &node.body {
                open.extend(entries.values());
            }
            kept.insert(ino, node);
        }
        Self { nodes: kept, next: self.next, pending: Vec::new() }
    }
}

fn put(folder: &mut Body, name: &OsStr, to: Option<Ino>) {
    let Body::Folder(entries) = folder else { return };
    match to {
        Some(ino) => entries.insert(name.to_owned(), ino),
        None => entries.remove(name),
    };
}

/// What may be of a file that was not synced: as it was, as it is, cut, zeros, or anything; and in all
/// cases but the first two with the size of the new one, for that is written by itself.
fn torn(old: &[u8], new: &[u8], dice: &mut Dice) -> Vec<u8> {
    if old == new {
        return new.to_vec();
    }
    let safe = if new.starts_with(old) { old.len() } else { 0 };
    let rest = new.len() - safe;
    let mut torn = new.get(..safe).unwrap_or_default().to_vec();
    match dice.below(5) {
        0 => return old.to_vec(),
        1 => return new.to_vec(),
        2 => torn.extend_from_slice(new.get(safe..safe + dice.below(rest + 1)).unwrap_or_default()),
        3 => torn.resize(new.len(), 0),
        _ => torn.extend((0..rest).map(|_| dice.next().to_le_bytes()[0])),
    }
    torn
}
