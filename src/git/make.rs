//! How a clone is made, brought up to date, found damaged, and made again. The caller holds its
//! lock.

use super::clone::{BareClone, Refs};
use super::objects::Objects;
use super::{GitError, address::Address};
use fs_err as fs;
use git2::Oid;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Marks a clone that has all blobs.
const FULL: &str = "airlock-full";
/// Marks a clone in which something was found damaged.
const DAMAGED: &str = "airlock-damaged";
/// What a git that was killed left behind is older than this; one that outlived its airlock may still be
/// at work.
const LEFT_BEHIND: Duration = Duration::from_hours(1);
/// Packs of a clone above which they are put together: each fetch leaves one, and git looks into all of them.
const MOST_PACKS: usize = 50;
/// The branch that the repository points to.
pub(super) const HEAD: &str = "refs/airlock/head";

impl BareClone {
    /// Fetches, into a new clone if there is none or it is damaged.
    pub(super) fn refresh(&self, refs: Refs) -> Result<(), GitError> {
        if !self.folder().join("HEAD").exists() {
            return self.make(refs, self.is_full());
        }
        if !self.is_sound() {
            return self.make(refs, self.is_full());
        }
        match self.fetch_into(self.folder(), refs) {
            Err(GitError::Broken { .. }) => self.make(refs, self.is_full()),
            fetched => fetched.inspect(|()| self.put_packs_together()),
        }
    }

    /// Makes one of many packs. Nothing is lost, also of what no branch leads to any more (`-k`), and git removes
    /// the old ones when the new one is on disk.
    fn put_packs_together(&self) {
        if !packs(self.folder()).is_ok_and(|packs| packs.len() > MOST_PACKS) {
            return;
        }
        // No search for a better form: that takes long, and git is silent over it.
        let repack = ["-c", "repack.writeBitmaps=false", "repack", "-a", "-d", "-k", "-n", "-q", "--window=0"];
        if let Err(error) = self.git_at(self.folder(), &repack, Vec::new()) {
            tracing::warn!(repository = self.shown(), "its packs cannot be put together: {error}");
        }
    }

    /// Makes the clone, in place of one that may be there. Until it is whole the other stays.
    pub(super) fn make(&self, refs: Refs, full: bool) -> Result<(), GitError> {
        let new = self.beside("new");
        let made = self.make_at(&new, refs, full).and_then(|()| Ok(self.put_in_place(&new)?));
        if made.is_err() {
            let _ = remove(&new);
        }
        made.map_err(|error| match error {
            // There was nothing here yet that could be.
            GitError::Broken { address, detail } => {
                GitError::Failed { address, detail: format!("what it sends is damaged: {detail}") }
            }
            error => error,
        })
    }

    fn make_at(&self, new: &Path, refs: Refs, full: bool) -> Result<(), GitError> {
        remove(new)?;
        self.git_at(new, &["init", "--quiet", "--bare", "--template="], Vec::new())?;
        if full {
            fs::write(new.join(FULL), "")?;
        } else {
            let promisor = [("promisor", "true"), ("partialclonefilter", "blob:none")];
            for (key, value) in promisor {
                self.git_at(new, &["config", &format!("remote.origin.{key}"), value], Vec::new())?;
            }
        }
        self.fetch_into(new, refs)
    }

    fn put_in_place(&self, new: &Path) -> io::Result<()> {
        let old = self.beside("old");
        remove(&old)?;
        crate::fault::point("clone.made");
        match fs::rename(self.folder(), &old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        crate::fault::point("clone.moved");
        fs::rename(new, self.folder())?;
        crate::fault::point("clone.renamed");
        remove(&old)
    }

    /// Fetches all blobs too, for good. What is in the clone stays in it.
    pub(super) fn make_full(&self) -> Result<(), GitError> {
        if self.is_full() {
            return Ok(());
        }
        let new = self.beside("new");
        let made = self.make_at(&new, Refs::Heads, true).and_then(|()| {
            keep_packs(self.folder(), &new)?;
            Ok(self.put_in_place(&new)?)
        });
        if made.is_err() {
            let _ = remove(&new);
        }
        made
    }

    /// Whether every blob comes with a fetch.
    pub(super) fn is_full(&self) -> bool {
        self.folder().join(FULL).exists()
    }

    /// Whether something in it was found damaged.
    pub(super) fn is_damaged(&self) -> bool {
        self.folder().join(DAMAGED).exists()
    }

    /// Remembers that something in it is damaged: the next who needs more than it has makes it
    /// again.
    pub(super) fn note_damage(&self) {
        let _ = fs::write(self.folder().join(DAMAGED), "");
    }

    fn fetch_into(&self, folder: &Path, refs: Refs) -> Result<(), GitError> {
        let specs: &[&str] = match refs {
            Refs::Heads => &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"],
            Refs::All => &["+refs/*:refs/remotes/all/*"],
        };
        let head = ["+HEAD:", HEAD].concat();
        let fetch = |head: Option<&str>| {
            let mut arguments = vec!["fetch", "--progress", "--force", "--prune", "--no-tags", "--no-write-fetch-head"];
            arguments.push("--recurse-submodules=no");
            if !folder.join(FULL).exists() {
                arguments.push("--filter=blob:none");
            }
            arguments.push("origin");
            arguments.extend(specs);
            arguments.extend(head);
            self.git_at(folder, &arguments, Vec::new()).map(drop)
        };
        match fetch(Some(&head)) {
            Err(GitError::Failed { detail, .. }) if detail.contains("remote ref HEAD") => {
                fetch(None)?;
                self.git_at(folder, &["update-ref", "-d", HEAD], Vec::new()).map(drop)
            }
            fetched => fetched,
        }
    }

    /// Fetches objects by name, in one request, as git's own fetch of what a promisor has
    /// (`promisor-remote.c`).
    pub(super) fn fetch_objects(&self, objects: &[Oid]) -> Result<(), GitError> {
        let names = objects.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n";
        let arguments = [
            "-c",
            "fetch.negotiationAlgorithm=noop",
            "fetch",
            "--progress",
            "--no-tags",
            "--no-write-fetch-head",
            "--recurse-submodules=no",
            "--filter=blob:none",
            "--stdin",
            "origin",
        ];
        self.git_at(self.folder(), &arguments, names.into_bytes()).map(drop)
    }

    /// Whether what its references name is here and its packs are as long as when they were written.
    /// A bit that fell over inside is found when the object is read.
    fn is_sound(&self) -> bool {
        let look = || {
            if self.is_damaged() || !packs(self.folder())?.iter().all(|index| is_whole(index).unwrap_or(false)) {
                return Ok(false);
            }
            let names = self.git_at(self.folder(), &["for-each-ref", "--format=%(objectname)"], Vec::new())?;
            let objects = Objects::open(self.folder(), self.address().shown())?;
            for name in String::from_utf8_lossy(&names).lines() {
                if !Oid::from_str(name).is_ok_and(|oid| objects.has(oid).unwrap_or(false)) {
                    return Ok(false);
                }
            }
            Ok::<_, GitError>(true)
        };
        // What stops the look itself shows in what comes next.
        look().unwrap_or_else(|error| !matches!(error, GitError::Broken { .. }))
    }

    /// Removes what processes that were killed left behind: packs in progress, which are as large as a
    /// repository, and half clones.
    pub(super) fn sweep(&self) {
        let folder = self.folder();
        for entry in fs::read_dir(folder.join("objects/pack")).into_iter().flatten().flatten() {
            let is_its =
                entry.file_name().to_str().is_some_and(|name| name.starts_with("tmp_") || name.starts_with(".tmp-"));
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let is_old = modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > LEFT_BEHIND));
            if is_its && is_old && fs::remove_file(entry.path()).is_ok() {
                tracing::info!(file = %entry.path().display(), "removed what a killed git left behind");
            }
        }
        // Without the clone itself, `old` is all that is left of it until there is a new one.
        if folder.join("HEAD").exists() {
            for end in ["new", "old"] {
                let _ = remove(&self.beside(end));
            }
        }
    }

    fn beside(&self, end: &str) -> PathBuf {
        self.folder().with_extension(end)
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }
}

/// The indexes of all packs.
pub(super) fn packs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.join("objects/pack"))? {
        let path = entry?.path();
        // What begins with a dot is in progress.
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|extension| extension == "idx") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a pack ends in the checksum that its index has for it (`git help format-pack`).
fn is_whole(index: &Path) -> io::Result<bool> {
    let end = |path: &Path, from: i64| {
        let mut file = fs::File::open(path)?;
        let mut bytes = [0; 20];
        file.seek(SeekFrom::End(-from))?;
        file.read_exact(&mut bytes)?;
        Ok::<_, io::Error>(bytes)
    };
    Ok(end(index, 40)? == end(&index.with_extension("pack"), 20)?)
}

/// Takes the packs of one clone into another, as plain ones.
fn keep_packs(from: &Path, to: &Path) -> io::Result<()> {
    for index in packs(from)? {
        for extension in ["pack", "idx"] {
            let file = index.with_extension(extension);
            let Some(name) = file.file_name() else { continue };
            let link = to.join("objects/pack").join(name);
            if !link.exists() {
                fs::hard_link(&file, link)?;
            }
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
