//! What came of an import: one document, for people and for `--json`.

use super::gather::{Bundle, Signature};
use crate::exchange::{Item, ItemName};
use crate::protocol::{Flavor, RepositoryFile, TreeHash, Uuid};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What came of an import.
#[derive(Debug, Serialize)]
pub struct ImportReport {
    /// Whether this only says what would be done.
    pub dry_run: bool,
    /// Why it ended early, if it did; before anything was begun or in the middle.
    pub stopped: Option<String>,
    /// Bytes that the resources to be imported and some room beside them need.
    pub needed_bytes: u64,
    /// Bytes that were free on the disk of the cache.
    pub free_bytes: u64,
    /// Whether anything in the cache changed.
    pub changed: bool,
    /// What came of each bundle, in the order in which they were taken.
    pub bundles: Vec<Imported>,
}

/// What came of one bundle.
#[derive(Debug, Serialize)]
pub struct Imported {
    /// Which.
    pub id: Uuid,
    /// The cache that it was made from.
    pub origin: Uuid,
    /// Whom it is for.
    pub destination: String,
    /// Its number.
    pub sequence: u64,
    /// When it was made.
    pub created: jiff::Timestamp,
    /// Whose signature it has.
    pub signature: Signature,
    /// Its volumes.
    pub volumes: Vec<VolumeState>,
    /// Resources and git bundles in its index.
    pub resources: usize,
    /// How many of them are git bundles.
    pub repositories: usize,
    /// Those that were here already.
    pub here: usize,
    /// Those that were imported; in a dry run, that would be.
    pub imported: usize,
    /// Their bytes.
    pub imported_bytes: u64,
    /// Those that did not come, in the order of the index.
    pub problems: Vec<Problem>,
    /// Git bundles that did not come because the one here has what they lack. They count as here.
    pub kept: Vec<Kept>,
    /// What it builds on and is not here.
    pub base_missing: Vec<ItemName>,
    /// What came of its registries, each for each listing.
    pub registries: Vec<Listed>,
    /// Earlier numbers that never arrived.
    pub gaps: BTreeSet<u64>,
    /// Whether that it arrived was written down by this run.
    #[serde(skip)]
    pub(super) recorded: bool,
    /// Whether all of it is here, and all that it builds on, and no number before it is missing.
    pub complete: bool,
}

/// A volume of a bundle.
#[derive(Clone, Debug, Serialize)]
pub struct VolumeState {
    /// Counted from 1.
    pub number: u32,
    /// The name that it was given when it was made.
    pub name: String,
    /// The file that was given; `None` if none was.
    pub file: Option<PathBuf>,
    /// What is odd about that file, in words. What can be used of it is used all the same.
    pub oddity: Option<&'static str>,
}

/// A git bundle that stays as it is here.
#[derive(Debug, Serialize)]
pub struct Kept {
    /// Which.
    pub file: RepositoryFile,
    /// Why, in words.
    pub why: String,
}

/// A resource or a git bundle that did not come.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// Which.
    pub resource: ItemName,
    /// Its name, if the index has it; of a git bundle, the packages that are taken from it.
    pub name: Option<String>,
    /// Its version, likewise.
    pub version: Option<String>,
    /// The volume that it is in, counted from 1.
    pub volume: u32,
    /// The name of that volume.
    pub volume_name: String,
    /// Why, in a word.
    pub kind: ProblemKind,
    /// Why, in words.
    pub why: String,
}

/// Why a resource did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// Its volume was not given.
    Lacking,
    /// It is not what was packed.
    Damaged,
    /// It is what was packed, and that is not what its name says.
    Wrong,
}

/// What came of a registry in one listing.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// Which.
    pub uuid: Uuid,
    /// Its name, if the index has it.
    pub name: Option<String>,
    /// At which tree.
    pub tree: TreeHash,
    /// In which listing.
    pub flavor: Flavor,
    /// What came of it.
    pub status: ListedStatus,
    /// Whether it was published though it is older.
    pub moved_back: bool,
    /// The tree at which clients see it because it is pinned there.
    pub pinned: Option<TreeHash>,
}

/// What came of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListedStatus {
    /// It is published at this tree now.
    Published,
    /// It was published at this tree already.
    Already,
    /// It waits until all of the bundle is here.
    HeldBack,
    /// What is published is newer.
    Older,
    /// It would be published, but it is pinned at another tree.
    Pinned,
    /// Its tarball is not here.
    Absent,
}

impl ImportReport {
    /// Whether nothing is missing, damaged or refused.
    pub fn is_complete(&self) -> bool {
        self.stopped.is_none() && self.bundles.iter().all(|bundle| bundle.complete)
    }
}

impl Imported {
    /// Of a bundle of which nothing was done yet.
    pub(super) fn new(bundle: &Bundle) -> Self {
        let index = &bundle.index;
        Self {
            id: index.id,
            origin: index.origin,
            destination: index.destination.clone(),
            sequence: index.sequence,
            created: index.created,
            signature: bundle.signature,
            volumes: VolumeState::all(bundle),
            resources: index.items().count(),
            repositories: index.repositories.len(),
            here: 0,
            imported: 0,
            imported_bytes: 0,
            problems: Vec::new(),
            kept: Vec::new(),
            base_missing: Vec::new(),
            registries: Vec::new(),
            gaps: BTreeSet::new(),
            recorded: false,
            complete: false,
        }
    }

    /// Whether anything in the cache changed because of it.
    pub(super) fn changed(&self) -> bool {
        let listed = self.registries.iter().any(|registry| registry.status == ListedStatus::Published);
        self.imported > 0 || self.recorded || listed
    }

    /// Whether all that is in it is here.
    pub fn is_all_here(&self) -> bool {
        self.here + self.imported == self.resources
    }
}

impl VolumeState {
    /// All volumes of a bundle.
    pub fn all(bundle: &Bundle) -> Vec<Self> {
        let volumes = (1..).zip(&bundle.index.volumes);
        let state = |(number, volume): (u32, &crate::exchange::Volume)| {
            let given = bundle.volume(number);
            Self {
                number,
                name: volume.file.clone(),
                file: given.map(|given| given.path().to_owned()),
                oddity: given.and_then(|given| given.layout().oddity),
            }
        };
        volumes.map(state).collect()
    }
}

impl Problem {
    pub(super) fn new(bundle: &Bundle, item: Item<'_>, kind: ProblemKind, why: String) -> Self {
        let (name, version) = match item {
            Item::Resource(entry) => (entry.name.clone(), entry.version.clone()),
            Item::Repository(entry) => {
                let packages: Vec<_> = entry.packages.iter().map(String::as_str).collect();
                (Some(packages.join(", ")).filter(|name| !name.is_empty()), None)
            }
        };
        Self {
            resource: item.name(),
            name,
            version,
            volume: item.volume(),
            volume_name: bundle.file_name(item.volume()).to_owned(),
            kind,
            why,
        }
    }
}
