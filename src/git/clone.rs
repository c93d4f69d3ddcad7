//! One bare clone, and what can be asked of it.

use super::address::Address;
use super::error::MovedTag;
use super::lock::Lock;
use super::make::{HEAD, packs};
use super::objects::Objects;
use super::program::{Call, Program};
use super::{GitError, pack};
use crate::protocol::TreeHash;
use crate::tree::Hashes;
use fs_err as fs;
use git2::Oid;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// The bare clone of a repository. It need not be there yet; what needs it makes it. Any number of
/// these may be open on one repository, in any number of processes.
#[derive(Clone, Debug)]
pub struct BareClone {
    pub(super) address: Address,
    folder: PathBuf,
    program: Arc<Program>,
}

/// What is fetched of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refs {
    /// Branches and tags.
    Heads,
    /// Whatever it shows, as Pkg does: pull requests, too.
    All,
}

/// The version that a tree was registered as: where to look when it is gone.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// The package's name.
    pub name: &'a str,
    /// The version.
    pub version: &'a str,
    /// The package's folder in the repository.
    pub subdir: Option<&'a str>,
}

impl BareClone {
    pub(super) fn new(clones: &Path, address: Address, program: Arc<Program>) -> Self {
        Self { folder: clones.join(address.folder_name()), address, program }
    }

    /// The address without credentials.
    pub fn shown(&self) -> &str {
        self.address.shown()
    }

    /// The host that serves it, with its port; the address itself if it is on this machine.
    pub fn host(&self) -> &str {
        self.address.host()
    }

    /// Where it is, or will be.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Fetches what is new, into a new clone if there is none or it is damaged.
    pub fn fetch(&self, refs: Refs) -> Result<(), GitError> {
        let _lock = self.lock()?;
        self.refresh(refs)
    }

    /// Whether a tree is in the clone as it is here. Asks nobody.
    pub fn has_tree(&self, tree: TreeHash) -> bool {
        !self.is_damaged() && self.objects().is_ok_and(|objects| objects.has_tree(tree).unwrap_or(false))
    }

    /// Whether a tree is here with all its files. Asks nobody.
    pub fn has_whole(&self, tree: TreeHash) -> bool {
        self.has_tree(tree) && matches!(self.missing_blobs(tree), Ok(blobs) if blobs.is_empty())
    }

    /// Makes sure that a tree is here, its files not included: looks, fetches branches and tags,
    /// then all else, and looks again.
    pub fn ensure_tree(&self, tree: TreeHash, release: Option<Release<'_>>) -> Result<(), GitError> {
        if self.has_tree(tree) {
            return Ok(());
        }
        let _lock = self.lock()?;
        for refs in [None, Some(Refs::Heads), Some(Refs::All)] {
            refs.map_or(Ok(()), |refs| self.refresh(refs))?;
            if self.has_tree(tree) {
                return Ok(());
            }
        }
        let moved = release.and_then(|release| self.moved_tag(tree, release));
        Err(GitError::NoTree { tree, address: self.shown().to_owned(), moved })
    }

    /// Makes sure that all files of a tree, which is here, are here too: those that are not come in
    /// one request.
    pub fn complete(&self, tree: TreeHash) -> Result<(), GitError> {
        let missing = || self.missing_blobs(tree);
        if matches!(missing(), Ok(blobs) if blobs.is_empty()) {
            return Ok(());
        }
        let _lock = self.lock()?;
        let blobs = match missing() {
            Err(GitError::Broken { .. }) => {
                self.make(Refs::Heads, self.is_full())?;
                missing()?
            }
            blobs => blobs?,
        };
        if blobs.is_empty() {
            return Ok(());
        }
        match self.fetch_objects(&blobs) {
            // A server that gives nothing by name.
            Ok(()) | Err(GitError::Failed { .. }) => {}
            Err(error) => return Err(error),
        }
        if !missing()?.is_empty() {
            self.make_full()?;
        }
        match missing()?.len() {
            0 => Ok(()),
            count => Err(GitError::Failed {
                address: self.shown().to_owned(),
                detail: format!("it does not give {count} of the files of tree {tree}"),
            }),
        }
    }

    /// Writes a tree, which is here, as a gzip tarball; fetches its files if they are not here.
    /// `level` is gzip's, 0 to 9. The same tree gives the same bytes.
    ///
    /// After [`GitError::Broken`] the clone is made again by the next [`BareClone::ensure_tree`].
    pub fn pack(&self, tree: TreeHash, out: impl Write, level: u32) -> Result<Hashes, GitError> {
        self.complete(tree)?;
        let before = packs(&self.folder).ok();
        let packed = pack::pack(&self.objects()?, tree, out, level, self.program.bounds());
        // Packs that are gone meanwhile were put together: who tries again finds all of it.
        if matches!(packed, Err(GitError::Broken { .. })) && packs(&self.folder).ok() == before {
            self.note_damage();
        }
        packed
    }

    /// The tree of a branch as it was fetched last; of the one that the repository points to if
    /// none is named.
    pub fn head_tree(&self, branch: Option<&str>) -> Result<TreeHash, GitError> {
        let reference = branch.map_or(HEAD.to_owned(), |branch| format!("refs/heads/{branch}"));
        let is_empty = || self.references().is_ok_and(|references| references.is_empty());
        let none = || GitError::NoBranch {
            address: self.shown().to_owned(),
            branch: branch.map(str::to_owned),
            is_empty: is_empty(),
        };
        self.reference_tree(&reference)?.ok_or_else(none)
    }

    /// Remembers that all files of a branch are here as it is now, whose tree this is.
    pub fn note_complete(&self, branch: Option<&str>, tree: TreeHash) -> Result<(), GitError> {
        let reference = complete_reference(branch);
        if self.reference_tree(&reference)? == Some(tree) {
            return Ok(());
        }
        let _lock = self.lock()?;
        self.git(&["update-ref", &reference, &tree.to_string()]).map(drop)
    }

    /// The tree that a branch had when all files of it were here last.
    pub fn complete_tree(&self, branch: Option<&str>) -> Result<TreeHash, GitError> {
        let none = || GitError::NoBranch {
            address: self.shown().to_owned(),
            branch: branch.map(str::to_owned),
            is_empty: false,
        };
        self.reference_tree(&complete_reference(branch))?.ok_or_else(none)
    }

    /// The tree of a tag as it was fetched last, or that of a folder in it.
    pub fn tag_tree(&self, tag: &str, subdir: Option<&str>) -> Result<Option<TreeHash>, GitError> {
        let Some(tree) = self.reference_tree(&format!("refs/tags/{tag}"))? else { return Ok(None) };
        subdir.map_or(Ok(Some(tree)), |subdir| self.objects()?.subtree(tree, subdir))
    }

    /// A file of a tree that is here and complete; `None` if there is none.
    pub fn read_file(&self, tree: TreeHash, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        let objects = self.objects()?;
        let Some(blob) = objects.blob_at(tree, path)? else { return Ok(None) };
        let limit = self.program.bounds().file;
        if objects.size(blob)? > limit {
            return Err(GitError::TooBig { what: "bytes in a file", limit });
        }
        objects.with_blob(blob, <[u8]>::to_vec).map(Some)
    }

    /// Writes all branches and tags, with all that they need, as a git bundle that `git clone`
    /// takes.
    pub fn bundle(&self, to: &Path) -> Result<(), GitError> {
        let _lock = self.lock()?;
        self.refresh(Refs::Heads)?;
        self.make_full()?;
        let to = std::path::absolute(to)?;
        let mut arguments = vec!["bundle", "create", "--progress"];
        let to = to.to_str().ok_or_else(|| std::io::Error::other("the path of a git bundle must be UTF-8"))?;
        arguments.extend([to, "--branches", "--tags"]);
        let said = self.git(&["ls-remote", "--symref", "origin", "HEAD"])?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let head = said.lines().find_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"));
        if let Some(head) = head.filter(|head| head.starts_with("refs/heads/")) {
            self.git(&["symbolic-ref", "HEAD", head])?;
            arguments.push("HEAD");
        }
        self.git(&arguments).map(drop)
    }

    /// What the tag of a version has now, if that is another tree.
    fn moved_tag(&self, tree: TreeHash, Release { name, version, subdir }: Release<'_>) -> Option<MovedTag> {
        // As TagBot makes them, and as people do.
        let tags = [format!("{name}-v{version}"), format!("v{version}"), version.to_owned()];
        let tag_tree = |tag: String| Some((self.tag_tree(&tag, subdir).ok()??, tag));
        let (now, tag) = tags.into_iter().find_map(tag_tree)?;
        (now != tree).then_some(MovedTag { tag, tree: now })
    }

    fn reference_tree(&self, reference: &str) -> Result<Option<TreeHash>, GitError> {
        if !self.folder.join("HEAD").exists() {
            return Ok(None);
        }
        // It fails where there is none, and where the name cannot be one.
        match self.git(&["show-ref", "--verify", "--hash", reference]) {
            Ok(name) => self.objects()?.peel(String::from_utf8_lossy(&name).trim()).map(Some),
            Err(GitError::Failed { .. } | GitError::Broken { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn missing_blobs(&self, tree: TreeHash) -> Result<Vec<Oid>, GitError> {
        self.objects()?.missing_blobs(tree, self.program.bounds())
    }

    fn objects(&self) -> Result<Objects, GitError> {
        Objects::open(&self.folder, self.shown())
    }

    fn git(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        self.git_at(&self.folder, arguments, Vec::new())
    }

    pub(super) fn git_at(&self, folder: &Path, arguments: &[&str], input: Vec<u8>) -> Result<Vec<u8>, GitError> {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        self.program.run(Call { address: &self.address, folder, arguments, input })
    }

    fn lock(&self) -> Result<Lock, GitError> {
        fs::create_dir_all(self.folder.parent().unwrap_or(&self.folder))?;
        let after = self.program.bounds().whole;
        let lock =
            Lock::acquire(&self.folder.with_extension("lock"), Instant::now() + after, &|| self.program.is_stopped())?;
        let lock = lock.ok_or_else(|| GitError::TimedOut { address: self.shown().to_owned(), after })?;
        self.sweep();
        Ok(lock)
    }
}

/// Below no reference that a fetch or a prune touches.
fn complete_reference(branch: Option<&str>) -> String {
    branch.map_or("refs/airlock/complete/head".to_owned(), |branch| format!("refs/airlock/complete/branches/{branch}"))
}
