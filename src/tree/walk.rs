//! Entries into a tree: content hashed or handed out as it streams by.

use super::archive::{Archive, Entry, Kind};
use super::limits::check;
use super::nodes::{Leaf, Misfit, Tree, normalise};
use super::object::{BlobHasher, Mode, ObjectHash, blob_hash};
use super::{KeptFile, Limits, TreeError};

/// What to do with the content of regular files.
pub(super) enum Handling<'a> {
    /// Retain the ones whose path is wanted.
    Keep { wanted: &'a dyn Fn(&str) -> bool, hash: bool },
    /// Hand out each one as it comes. No later entry may replace it.
    Visit(&'a mut dyn FnMut(&str, Vec<u8>)),
}

/// An archive read to its end.
pub(super) struct Walked {
    pub(super) tree: Tree,
    pub(super) kept: Vec<KeptFile>,
    pub(super) entries: u64,
    pub(super) unpacked_bytes: u64,
}

/// Reads the whole archive.
pub(super) fn walk<'a>(
    mut archive: Archive<'_, '_>,
    limits: &'a Limits,
    handling: Handling<'a>,
) -> Result<Walked, TreeError> {
    let mut walk = Walk { tree: Tree::new(limits.depth), kept: Vec::new(), kept_bytes: 0, limits, handling };
    while let Some(entry) = archive.next()? {
        walk.add(&entry, &mut archive)?;
        check("memory of the tree in bytes", walk.tree.cost(), limits.tree_bytes)?;
        if matches!(walk.handling, Handling::Visit(_)) && walk.tree.replaced() {
            return Err(entry.refuse("it replaces an earlier file"));
        }
    }
    let kept = walk.final_kept();
    Ok(Walked { tree: walk.tree, kept, entries: archive.entries(), unpacked_bytes: archive.offset() })
}

struct Walk<'a> {
    tree: Tree,
    kept: Vec<KeptFile>,
    kept_bytes: u64,
    limits: &'a Limits,
    handling: Handling<'a>,
}

impl Walk<'_> {
    fn add(&mut self, entry: &Entry, archive: &mut Archive<'_, '_>) -> Result<(), TreeError> {
        let path = normalise(&entry.path);
        // The root itself: a directory, as `check_entry` made sure.
        if path.is_empty() {
            return Ok(());
        }
        let put = match entry.kind {
            Kind::Directory => self.tree.put_directory(&path),
            Kind::Symlink => self.tree.put_leaf(&path, leaf(Mode::Symlink, blob_hash(&entry.link))),
            Kind::HardLink => {
                let leaf = self.hard_link(entry, &path)?;
                self.tree.put_leaf(&path, leaf)
            }
            Kind::File => {
                let leaf = self.file(entry, &path, archive)?;
                self.tree.put_leaf(&path, leaf)
            }
        };
        put.map_err(|misfit| match misfit {
            Misfit::BelowSymlink => entry.refuse("it lies beneath a symbolic link"),
            Misfit::TooDeep => TreeError::Limit { name: "components of a path", limit: self.limits.depth as u64 },
        })
    }

    /// The linked file's content under the link's own mode. Links to links are refused as clients do.
    fn hard_link(&mut self, entry: &Entry, path: &[u8]) -> Result<Leaf, TreeError> {
        let target = self.tree.leaf(&normalise(&entry.link)).filter(|leaf| leaf.linkable);
        let target = target.ok_or_else(|| entry.refuse("a hard link to what is no earlier regular file"))?;
        if matches!(self.handling, Handling::Visit(_)) {
            return Err(entry.refuse("a hard link among files to be read"));
        }
        let kept = target.kept.and_then(|index| self.kept.get(index as usize));
        let kept = match (kept.map(|file| file.contents.clone()), self.wanted(path)) {
            (Some(contents), Some(path)) => Some(self.keep(path, contents)?),
            _ => None,
        };
        Ok(Leaf { mode: Mode::file(entry.executable), linkable: false, kept, ..target })
    }

    fn file(&mut self, entry: &Entry, path: &[u8], archive: &mut Archive<'_, '_>) -> Result<Leaf, TreeError> {
        let mode = Mode::file(entry.executable);
        let Some(wanted) = self.wanted(path) else {
            return Ok(Leaf { linkable: true, ..leaf(mode, self.stream(entry.size, archive)?) });
        };
        check("bytes of kept files", entry.size.saturating_add(self.kept_bytes), self.limits.kept_bytes)?;
        // Grows as bytes arrive: the header alone must not cost memory.
        let mut contents = Vec::new();
        archive.content(entry.size, |bytes| contents.extend_from_slice(bytes))?;
        let hash = if self.hashes() { blob_hash(&contents) } else { ObjectHash::default() };
        let kept = match &mut self.handling {
            Handling::Visit(visit) => {
                visit(&wanted, contents);
                None
            }
            Handling::Keep { .. } => Some(self.keep(wanted, contents)?),
        };
        Ok(Leaf { mode, linkable: true, hash, kept })
    }

    fn stream(&self, size: u64, archive: &mut Archive<'_, '_>) -> Result<ObjectHash, TreeError> {
        if !self.hashes() {
            return archive.content(size, |_| {}).map(|()| ObjectHash::default());
        }
        let mut hasher = BlobHasher::new(size);
        archive.content(size, |bytes| hasher.update(bytes))?;
        Ok(hasher.finish())
    }

    fn hashes(&self) -> bool {
        matches!(self.handling, Handling::Keep { hash: true, .. })
    }

    /// The path as text, if its content is wanted.
    fn wanted(&self, path: &[u8]) -> Option<String> {
        let path = std::str::from_utf8(path).ok()?;
        let wanted = match &self.handling {
            Handling::Keep { wanted, .. } => wanted(path),
            Handling::Visit(_) => true,
        };
        wanted.then(|| path.to_owned())
    }

    fn keep(&mut self, path: String, contents: Vec<u8>) -> Result<u32, TreeError> {
        self.kept_bytes = self.kept_bytes.saturating_add(contents.len() as u64);
        check("bytes of kept files", self.kept_bytes, self.limits.kept_bytes)?;
        let full = TreeError::Limit { name: "kept files", limit: u64::from(u32::MAX) };
        let index = u32::try_from(self.kept.len()).map_err(|_| full)?;
        self.kept.push(KeptFile { path, contents });
        Ok(index)
    }

    /// Those that no later entry replaced or removed, by path.
    fn final_kept(&mut self) -> Vec<KeptFile> {
        let kept = std::mem::take(&mut self.kept).into_iter().enumerate();
        let is_final = |(index, file): &(usize, KeptFile)| {
            let leaf = self.tree.leaf(file.path.as_bytes());
            leaf.and_then(|leaf| leaf.kept).is_some_and(|kept| kept as usize == *index)
        };
        let mut files: Vec<KeptFile> = kept.filter(is_final).map(|(_, file)| file).collect();
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        files
    }
}

fn leaf(mode: Mode, hash: ObjectHash) -> Leaf {
    Leaf { mode, linkable: false, hash, kept: None }
}
