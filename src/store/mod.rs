//! The cache directory: open, look up, stage, publish, list, remove. The disk is the truth.
//!
//! ```text
//! cache/
//!   registries  registries.eager  registries.conservative   mutable; written last, by rename
//!   registry/<uuid>/<tree>  package/<uuid>/<tree>  artifact/<tree>     gzip tarballs, immutable
//!   git/<host>/<path>.bundle   git repositories, each may be replaced by a later state of it
//!   .airlock/            this machine's own state; never crosses the gap
//!     format             layout version; beside it `made-by`, which airlock wrote that
//!     tmp/               downloads in progress, one folder per process
//!     locks/             advisory locks between processes
//!     facts/             what was verified, and what it holds; rebuildable
//!     misses/            what was asked for and not here
//!     wishes/            what people asked for by name
//!     generations/       which registry trees were published, when, from where
//!     view/              registries derived from those here, and the listings that name them
//!     first-seen/        when each version of a registry was first seen here
//!     pinned-versions    versions that manifests named, however young
//!     platforms          whose artifacts prewarm was asked for
//!     quarantine/        what failed verification at rest; the oldest goes when it is too much
//!     scrub.json         how far the scrub has come
//!     site               a random uuid: which cache this is
//!     pins               registries that stay at one tree, written as a listing
//!     julia-versions     which versions of Julia its clients run
//!     activity.jsonl     what was done here, when
//!     audit/             who fetched what, if that is written down; a file for each day
//!     repositories.jsonl  what was found in the git bundles; rebuildable
//!     clones/            bare clones of git repositories; rebuildable
//!     bundles/sent/      the index of each bundle that was exported, by destination
//!     bundles/received.jsonl   which bundles arrived here
//! ```
//!
//! A resource that can be seen is whole: it was written elsewhere, verified, synced and renamed
//! (`publish.rs` is the only place that does so). Everything here blocks; callers above keep it
//! off the async threads.

mod activity;
mod bundles;
mod census;
mod facts;
mod first_seen;
mod generations;
mod julias;
mod layout;
mod lines;
mod listings;
mod lock;
mod misses;
mod outside;
mod pinned;
mod platforms;
mod publish;
mod quarantine;
mod received;
mod remove;
mod repositories;
mod room;
mod scrub;
mod signature;
mod site;
mod stage;
mod usage;
mod view;
mod walk;
mod wishes;

pub use activity::{Action, Activity};
pub use census::{Census, Counted};
pub use facts::{Fact, FactsRead, HeldArtifact, Stamp};
pub use first_seen::{FirstSeen, Seen};
pub use generations::{DISK, Generation, PIN, ROLLBACK, is_rolled_back, is_superseded};
pub use layout::FORMAT;
pub use listings::StepBack;
pub use lock::Lock;
pub use misses::{Client, Miss, MissLedger, Reason};
pub use outside::Outside;
pub use publish::make_folders;
pub use received::{ReceivedBundle, gaps};
pub use remove::Removal;
pub use repositories::RepositoryFinding;
pub use room::Room;
pub use scrub::{ScrubPass, ScrubRecord};
pub use signature::Signature;
pub use stage::Staged;
pub use view::Derived;
pub use wishes::RecordedWish;

use crate::exchange::MAX_WISHES;
use crate::protocol::{Kind, Resource, TreeHash};
use facts::Facts;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use publish::Publisher;
use quarantine::Condemned;
use stage::Session;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use usage::Usage;

/// The folders of a cache's own state.
const FOLDERS: [&str; 9] =
    ["tmp", "locks", "facts", "misses", "wishes", "generations", "view", "first-seen", "quarantine"];

/// An open cache directory.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    facts: Facts,
    session: Session,
    publisher: Publisher,
    min_free: room::MinFree,
    census: Mutex<Option<Census>>,
    condemned: Condemned,
    _usage: Usage,
}

/// Why the cache directory cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Of another version.
    #[error(
        "{root} has cache layout {found}, made by {made_by}; this airlock, {}, knows layout {FORMAT}: use that version, or move .airlock away: then all is verified again, and misses, pins and ages are gone",
        env!("CARGO_PKG_VERSION"), root = root.display()
    )]
    Format {
        /// The cache directory.
        root: PathBuf,
        /// Its layout.
        found: String,
        /// Which airlock made it.
        made_by: String,
    },
    /// Nobody can say which layout it has.
    #[error("{root}/.airlock/format says {found:?}, which is no layout: if an airlock of this version made this cache, write {FORMAT} into it", root = root.display())]
    Unformatted {
        /// The cache directory.
        root: PathBuf,
        /// What its `format` file says.
        found: String,
    },
    /// No more than what must stay free is left.
    #[error("the disk of the cache has {0}: nothing new is cached. Make room, or lower min-free")]
    Low(Room),
    /// It cannot be written.
    #[error("{root} cannot be written ({why}), and airlock notes in .airlock what it verified: {remedy}", root = root.display())]
    ReadOnly {
        /// The cache directory.
        root: PathBuf,
        /// What the system said.
        why: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// Something is being removed from it.
    #[error("airlock gc is at work on this cache; try again when it is done")]
    Cleaning,
    /// It is needed alone, and is not.
    #[error("another airlock uses this cache (serve, prewarm, an import): stop it first")]
    InUse,
    /// Its file system is of no use.
    #[error(
        "the file system of the cache has no file locks, so two processes could harm each other: put the cache on another"
    )]
    NoLocks,
    /// No more room for wishes.
    #[error(
        "{MAX_WISHES} wishes are recorded here and no more are taken: export them, then remove some with `airlock request remove` or `clear`"
    )]
    TooManyWishes,
}

impl StoreError {
    /// Whether there is no room left.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// What is on disk under a resource's name.
#[derive(Debug)]
pub enum Lookup {
    /// Nothing.
    Absent,
    /// A file that was verified as it is now.
    Verified(OpenFile, Fact),
    /// A file that came another way and must be verified before its first use.
    Unverified(OpenFile),
}

/// A staged file that is what its name says.
#[derive(Debug)]
pub struct Verified {
    /// The file.
    pub staged: Staged,
    /// Its name.
    pub resource: Resource,
    /// Its strict tree hash; its name is this or the lenient one.
    pub strict: TreeHash,
    /// The artifacts that it names.
    pub artifacts: Vec<HeldArtifact>,
}

/// An open resource.
#[derive(Debug)]
pub struct OpenFile {
    /// Open for reading.
    pub file: std::fs::File,
    /// What the file looked like when it was opened.
    pub stamp: Stamp,
}

impl Store {
    /// Opens a cache directory, making it if it is not there, and clears away what dead processes
    /// left in `.airlock/tmp`.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::open_as(root, Usage::shared)
    }

    /// Opens a cache directory that nobody else has open, and keeps everybody out: for removing
    /// what is visible.
    pub fn open_alone(root: &Path) -> Result<Self, StoreError> {
        Self::open_as(root, Usage::alone)
    }

    fn open_as(root: &Path, take: fn(&Path) -> Result<Usage, StoreError>) -> Result<Self, StoreError> {
        Self::open_written(root, take).map_err(|error| explain(root, error))
    }

    fn open_written(root: &Path, take: fn(&Path) -> Result<Usage, StoreError>) -> Result<Self, StoreError> {
        let state = root.join(".airlock");
        publish::make_folders(&state)?;
        layout::ensure(root, &state)?;
        for folder in FOLDERS {
            publish::make_folders(&state.join(folder))?;
        }
        let usage = take(&state)?;
        let session = Session::open(&state.join("tmp"))?;
        let root = fs::canonicalize(root)?;
        Ok(Self {
            facts: Facts::new(state.join("facts")),
            publisher: Publisher::new(&root),
            min_free: room::MinFree::default(),
            census: Mutex::default(),
            condemned: Condemned::default(),
            session,
            root,
            _usage: usage,
        })
    }

    /// The cache directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a resource is, or would be. A registry that is not among upstream's files may be a
    /// derived one.
    pub fn path(&self, resource: &Resource) -> PathBuf {
        let path = self.root_path(resource);
        if resource.kind() == Kind::Registry && !path.is_file() {
            let derived = self.view(&resource.relative_path());
            if derived.is_file() {
                return derived;
            }
        }
        path
    }

    fn root_path(&self, resource: &Resource) -> PathBuf {
        self.root.join(resource.relative_path())
    }

    /// Looks a resource up. A file that cannot be read is an error, never "absent". A registry that
    /// is only derived is absent: nothing that crosses, or is published, may be one.
    pub fn look_up(&self, resource: &Resource) -> Result<Lookup, StoreError> {
        self.look_up_at(resource, &self.root_path(resource))
    }

    /// Looks up what clients may ask for: derived registries too.
    pub fn look_up_served(&self, resource: &Resource) -> Result<Lookup, StoreError> {
        self.look_up_at(resource, &self.path(resource))
    }

    fn look_up_at(&self, resource: &Resource, path: &Path) -> Result<Lookup, StoreError> {
        // Whatever lies there must not keep anybody waiting, as a pipe would.
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(Lookup::Absent),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(Lookup::Absent);
        }
        let stamp = Stamp::of(&metadata);
        let open = OpenFile { file: file.into_file(), stamp };
        Ok(match self.facts.find(resource, stamp)? {
            Some(fact) if !self.condemned.has(resource, stamp) => Lookup::Verified(open, fact),
            _ => Lookup::Unverified(open),
        })
    }

    /// Whether a file is here under this name, verified or not. Not so a registry that is only
    /// derived.
    pub fn has(&self, resource: &Resource) -> bool {
        fs::metadata(self.root_path(resource)).is_ok_and(|metadata| metadata.is_file())
    }

    /// Whether clients can have it: derived registries too.
    pub fn serves(&self, resource: &Resource) -> bool {
        fs::metadata(self.path(resource)).is_ok_and(|metadata| metadata.is_file())
    }

    /// The fact about a resource that is here as it was verified.
    pub fn fact(&self, resource: &Resource) -> Result<Option<Fact>, StoreError> {
        let stamp = self.stamp(resource)?;
        Ok(stamp.map(|stamp| self.facts.find(resource, stamp)).transpose()?.flatten())
    }

    /// Whether somebody verified a resource that looks like this now.
    pub fn is_verified(&self, resource: &Resource, stamp: Stamp) -> Result<bool, StoreError> {
        Ok(self.facts.find(resource, stamp)?.is_some())
    }

    /// Other names under which the same content was verified: an artifact that is named by its lenient
    /// hash is published under its strict one too. Reads all facts.
    pub fn twins(&self, resource: &Resource) -> Result<BTreeSet<Resource>, StoreError> {
        self.facts.twins(resource)
    }

    /// The processes that have this cache open, beside this one.
    pub fn other_users(&self) -> Result<Vec<u32>, StoreError> {
        self.session.others()
    }

    /// A new empty file in `.airlock/tmp`, removed when it is dropped unpublished.
    pub fn stage(&self) -> Result<Staged, StoreError> {
        self.session.stage()
    }

    /// Publishes a verified file under its name, and under its strict hash where that differs.
    /// When this returns, it is on disk for good. What is already there under a name stays.
    pub fn publish(
        &self,
        staged: Staged,
        resource: &Resource,
        strict: TreeHash,
        artifacts: &[HeldArtifact],
    ) -> Result<(), StoreError> {
        let verified = Verified { staged, resource: *resource, strict, artifacts: artifacts.to_vec() };
        self.publish_all(vec![verified]).into_iter().collect()
    }

    /// Publishes verified files in one commit, each as [`Store::publish`] does. The results are in
    /// the order of the files.
    pub fn publish_all(&self, all: Vec<Verified>) -> Vec<Result<(), StoreError>> {
        crate::fault::point("publish.verified");
        let mut known = Vec::with_capacity(all.len());
        let mut files = Vec::with_capacity(all.len());
        for Verified { staged, resource, strict, artifacts } in all {
            let mut names = vec![resource];
            if resource.tree() != strict {
                names.push(resource.with_tree(strict));
            }
            let paths = names.iter().map(|name| self.root_path(name)).collect();
            known.push((staged.file(), names, strict, artifacts));
            files.push((staged, paths));
        }
        let published = self.publisher.publish(files);
        crate::fault::point("publish.done");
        let remembered = published.into_iter().zip(known).map(|(published, (file, names, strict, artifacts))| {
            published?;
            let stamp = Stamp::of(&file.metadata()?);
            for name in names {
                // What was there already is another file, which nobody may have verified.
                if fs::metadata(self.root_path(&name)).is_ok_and(|there| Stamp::of(&there) == stamp) {
                    self.count_published(&name, stamp);
                    self.facts.remember(Fact { resource: name, stamp, strict, artifacts: artifacts.clone() });
                }
            }
            Ok(())
        });
        remembered.collect()
    }

    /// Remembers that a file that was already here is what its name says: in this process for
    /// sure, and on disk if there is room. What was read of it may have been in memory only, and after
    /// a power cut the file could look the same and hold something else, or be gone: so it is synced
    /// first, and its folders, and what cannot be synced is not believed.
    pub fn remember(&self, fact: Fact) {
        let path = self.path(&fact.resource);
        let synced = fs::File::open(&path).and_then(|file| file.sync_data());
        match synced.and_then(|()| publish::sync_above(&self.root, &path)) {
            // Of a file system that cannot be written to, all is on disk.
            Err(error) if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::ReadOnlyFilesystem) => {
                tracing::warn!(resource = %fact.resource, "verified, but whether it is on disk is not sure: {error}");
            }
            _ => self.facts.remember(fact),
        }
    }

    /// Every fact, also about files that changed since.
    pub fn for_each_fact(&self, visit: impl FnMut(&Fact)) -> Result<(), StoreError> {
        self.for_each_fact_since(&mut FactsRead::default(), visit)
    }

    /// The facts that were written down since the last time, by other processes too.
    pub fn for_each_fact_since(&self, read: &mut FactsRead, visit: impl FnMut(&Fact)) -> Result<(), StoreError> {
        self.facts.for_each_since(read, visit)
    }

    /// Waits for nobody: the lock on a resource, or `None` while another process has it.
    pub fn try_lock(&self, resource: &Resource) -> Result<Option<Lock>, StoreError> {
        let name = resource.relative_path().replace('/', "-");
        Ok(Lock::try_acquire(&self.root.join(".airlock/locks").join(name))?)
    }

    /// The ledger of misses.
    pub fn misses(&self) -> MissLedger {
        let state = self.root.join(".airlock");
        MissLedger::new(state.join("misses/misses.jsonl"), state.join("locks/misses"), self.session.file("misses"))
    }

    /// All resources of a kind that are here, in no order. Names that are no resource are passed
    /// over; a folder that cannot be read is an error.
    pub fn resources(&self, kind: Kind) -> impl Iterator<Item = Result<Resource, StoreError>> + use<> {
        walk::resources(&self.root, kind)
    }
}

/// A name below a file (`ENOTDIR`) is as absent as one that does not exist.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A cache that cannot be written, in words of its own: read-only copies are what people carry.
fn explain(root: &Path, error: StoreError) -> StoreError {
    let remedy = match &error {
        StoreError::Io(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            "mount it writable, or copy the cache to a disk that is"
        }
        StoreError::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "run this as the user that the cache belongs to, or let this one write it"
        }
        _ => return error,
    };
    match error {
        StoreError::Io(why) => StoreError::ReadOnly { root: root.to_owned(), why, remedy },
        error => error,
    }
}
