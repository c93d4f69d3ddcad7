//! What came of an adoption: one document, for people and for `--json`.

use crate::protocol::{Flavor, Kind, Resource, TreeHash, Uuid};
use serde::Serialize;

/// What came of an adoption.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether this only says what would be done.
    pub dry_run: bool,
    /// Why it ended early, if it did.
    pub stopped: Option<String>,
    /// Everything that was found in the depots: registries, packages, artifacts, each by path.
    pub items: Vec<Item>,
    /// The registries that are here now, and whether listings name them.
    pub registries: Vec<Listed>,
    /// What was passed over, and why.
    pub notes: Vec<String>,
    /// The sums.
    pub totals: Totals,
}

/// A registry, package or artifact of a depot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its kind.
    pub kind: Kind,
    /// Where it is; what is not UTF-8 in it is replaced.
    pub path: String,
    /// What became of it.
    pub status: Status,
    /// The name of the package or registry.
    pub name: Option<String>,
    /// The version of a package, if a registry or the package itself says it.
    pub version: Option<String>,
    /// The uuid of the package or registry.
    pub uuid: Option<Uuid>,
    /// The tree that it is.
    pub tree: Option<TreeHash>,
    /// Bytes of the tarball that was published.
    pub bytes: Option<u64>,
    /// What was left out because a build made it, so that the rest is the tree.
    pub left_out: Vec<String>,
    /// Why it was refused.
    pub reason: Option<String>,
}

/// What became of something in a depot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Published; in a dry run, it would be.
    Adopted,
    /// Was here already.
    Here,
    /// It is not what its name says, or cannot be read.
    Refused,
}

/// What became of a registry in the listings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The registry.
    pub uuid: Uuid,
    /// What it is called.
    pub name: String,
    /// The tree that was found.
    pub tree: TreeHash,
    /// What became of it.
    #[serde(flatten)]
    pub status: ListedStatus,
}

/// Whether listings name a registry's tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "status")]
pub enum ListedStatus {
    /// These name it from now on; in a dry run, they would.
    Listed {
        /// The listings.
        flavors: Vec<Flavor>,
    },
    /// It was named already.
    Already,
    /// Another tree is named, and stays: tree hashes have no order.
    Other {
        /// The tree that is named.
        listed: TreeHash,
    },
    /// The registry is pinned at another tree.
    Pinned {
        /// The tree that it is pinned at.
        pinned: TreeHash,
    },
}

/// Sums over all items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Published.
    pub adopted: usize,
    /// Here already.
    pub here: usize,
    /// Refused.
    pub refused: usize,
    /// Bytes of the tarballs that were published.
    pub bytes: u64,
}

impl Item {
    pub(super) fn refused(kind: Kind, path: &std::path::Path, reason: String) -> Self {
        Self {
            kind,
            path: path.to_string_lossy().into_owned(),
            status: Status::Refused,
            name: None,
            version: None,
            uuid: None,
            tree: None,
            bytes: None,
            left_out: Vec::new(),
            reason: Some(reason),
        }
    }

    pub(super) fn of(resource: &Resource, path: &std::path::Path, status: Status) -> Self {
        let (uuid, tree) = (resource.uuid(), Some(resource.tree()));
        Self { status, uuid, tree, reason: None, ..Self::refused(resource.kind(), path, String::new()) }
    }
}

impl Report {
    /// Whether everything in the depots is here now.
    pub fn is_complete(&self) -> bool {
        self.stopped.is_none() && self.totals.refused == 0
    }

    pub(super) fn add_up(&mut self) {
        self.items.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
        self.totals = Totals::default();
        for item in &self.items {
            match item.status {
                Status::Adopted => self.totals.adopted += 1,
                Status::Here => self.totals.here += 1,
                Status::Refused => self.totals.refused += 1,
            }
            self.totals.bytes += item.bytes.unwrap_or_default();
        }
    }

    /// What the ledger of activities says.
    pub(super) fn summary(&self, depots: usize) -> String {
        let Totals { adopted, here, refused, .. } = self.totals;
        let s = if depots == 1 { "" } else { "s" };
        format!("{depots} depot{s}: {adopted} adopted, {here} here already, {refused} refused")
    }
}
