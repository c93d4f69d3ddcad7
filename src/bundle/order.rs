//! What to export, and how.

use super::SigningKey;
use crate::exchange::{MAX_VOLUMES, Request, Uncarried, is_destination};
use crate::julia::{JuliaTarget, Platforms};
use crate::protocol::Resource;
use crate::store::{Stamp, Store, StoreError};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// An export to be made.
#[expect(clippy::struct_excessive_bools, reason = "the switches of the command line")]
pub struct Order {
    /// The file to write, or the folder to write into.
    pub out: PathBuf,
    /// Manifests and the like whose closure is packed; without any, everything that is here.
    pub paths: Vec<PathBuf>,
    /// What the other side has, lacks and wishes for.
    pub request: Option<Request>,
    /// Pack only what came here since then.
    pub since: Option<Since>,
    /// Pack everything of so many bundles before this one again.
    pub overlap: usize,
    /// Whom it is for; else the request says, else it is for all.
    pub destination: Option<String>,
    /// For which Julia versions are chosen for projects; empty for those whose clients were seen here.
    pub julias: Vec<JuliaTarget>,
    /// Whose artifacts belong to the closure.
    pub platforms: Platforms,
    /// Whether lazy artifacts belong to it.
    pub lazy: bool,
    /// Bytes of the largest volume.
    pub volume_size: Option<u64>,
    /// Ask the upstreams for what the request lacks, and for registries.
    pub fetch: bool,
    /// Replace what is at `out`.
    pub force: bool,
    /// Only say what would be packed.
    pub dry_run: bool,
    /// Entries that no package server can serve do not make the export incomplete.
    pub allow_unmirrorable: bool,
    /// Fetches at one time.
    pub jobs: usize,
    /// How often a resource is tried.
    pub attempts: u32,
    /// What signs it.
    pub key: Option<SigningKey>,
    /// Ends the export; nothing is left of it then.
    pub cancel: CancellationToken,
}

/// Since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// A moment.
    Time(jiff::Timestamp),
    /// The moment at which a registry was first published here at a tree whose hash starts so.
    Generation(String),
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The cache directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system; the message names the file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The key.
    #[error(transparent)]
    Signature(#[from] super::SignatureError),
    /// Neither a date nor a generation.
    #[error("{0:?} is neither a date (2026-11-21, 2026-11-21T08:00:00Z) nor the tree hash of a registry, or its start")]
    Since(String),
    /// A generation that is not in the log, or more than one.
    #[error("{0} registry trees that were published here start with {1}; `airlock registries` lists them")]
    Generation(usize, String),
    /// A destination that cannot be part of a file name.
    #[error("{0:?} cannot be the name of a destination: letters, digits, -, _ and ., at most 64")]
    Destination(String),
    /// A file that no import would take as a volume.
    #[error("{0:?} cannot be the name of a bundle: letters, digits, -, _ and ., the first no .")]
    Name(String),
    /// More volumes than an index may have.
    #[error("that would be {0} volumes, at most {MAX_VOLUMES} are read: --volume-size must be larger")]
    Volumes(u32),
    /// Nothing was found to pack.
    #[error("there is nothing to pack: no registry is published here, and nothing of what was named is here")]
    Nothing,
    /// No volume has room for it.
    #[error("{name} has {size} bytes and fits no volume: --volume-size must be at least {least}")]
    TooLarge {
        /// What.
        name: String,
        /// Its bytes.
        size: u64,
        /// The volume size that would do, in bytes.
        least: u64,
    },
    /// A volume must at least have room for the index.
    #[error("no volume has room for the index and the checksums: --volume-size must be at least {least}")]
    Volume {
        /// The volume size that would do, in bytes.
        least: u64,
    },
    /// What is there is not replaced.
    #[error("{} is there already; --force replaces it", .0.display())]
    Exists(PathBuf),
    /// Another export is at work on the same file.
    #[error("{} is being written by another export", .0.display())]
    Busy(PathBuf),
    /// The disk is too full.
    #[error("{} has room for {free} bytes, the bundle needs {needed}", folder.display())]
    NoRoom {
        /// Where it would go.
        folder: PathBuf,
        /// Bytes that are free there.
        free: u64,
        /// Bytes that it takes.
        needed: u64,
    },
    /// A file of the cache is another than the one that was hashed.
    #[error("{name} ({path}) changed while it was packed; nothing was written, try again")]
    Changed {
        /// What.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// It was stopped.
    #[error("stopped; nothing was written")]
    Stopped,
}

impl ExportError {
    /// Whether it was well asked for and only did not come to an end.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Changed { .. } | Self::Stopped)
    }
}

impl std::str::FromStr for Since {
    type Err = ExportError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let midnight = |date: Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
        let time = text.parse().ok().or_else(|| text.parse().ok().and_then(midnight));
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let tree = (4..=40).contains(&text.len()) && text.bytes().all(digits);
        match time {
            Some(time) => Ok(Self::Time(time)),
            None if tree => Ok(Self::Generation(text.to_owned())),
            None => Err(ExportError::Since(text.to_owned())),
        }
    }
}

impl Since {
    /// The moment.
    pub(super) fn time(&self, store: &Store) -> Result<jiff::Timestamp, ExportError> {
        let start = match self {
            Self::Time(time) => return Ok(*time),
            Self::Generation(start) => start,
        };
        let mut log = store.generations()?;
        log.retain(|generation| generation.tree.to_string().starts_with(start));
        let mut trees: Vec<_> = log.iter().map(|generation| generation.tree).collect();
        trees.sort_unstable();
        trees.dedup();
        // The registry itself came before it was logged, and by another clock: the file system's is coarser.
        let came = log.iter().filter_map(|it| {
            let resource = Resource::Registry { uuid: it.uuid, tree: it.tree };
            let ctime = Stamp::of(&fs_err::metadata(store.path(&resource)).ok()?).ctime;
            jiff::Timestamp::from_nanosecond(ctime.into()).ok()
        });
        let first = log.iter().map(|generation| generation.time).chain(came).min();
        first.filter(|_| trees.len() == 1).ok_or_else(|| ExportError::Generation(trees.len(), start.clone()))
    }
}

impl Order {
    /// Whom it is for.
    pub(super) fn destination(&self) -> Result<String, ExportError> {
        let request = || self.request.as_ref().map(|request| request.name.clone());
        let name = self.destination.clone().or_else(request).unwrap_or_else(|| "all".to_owned());
        if is_destination(&name) { Ok(name) } else { Err(ExportError::Destination(name)) }
    }

    /// Whether something that is not carried is no surprise.
    pub(super) fn accepts(&self, uncarried: &Uncarried) -> bool {
        use crate::exchange::UncarriedKind::{Git, Unhashed};
        self.allow_unmirrorable && matches!(uncarried.kind, Git | Unhashed)
    }

    pub(super) fn check(&self) -> Result<(), ExportError> {
        if self.cancel.is_cancelled() { Err(ExportError::Stopped) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_moment_or_the_start_of_a_tree() {
        let time = |text: &str| Since::Time(text.parse().unwrap());
        assert_eq!("2026-11-21".parse::<Since>().unwrap(), time("2026-11-21T00:00:00Z"));
        assert_eq!("2026-11-21T08:30:00+01:00".parse::<Since>().unwrap(), time("2026-11-21T07:30:00Z"));
        assert_eq!("d19fde92".parse::<Since>().unwrap(), Since::Generation("d19fde92".into()));
        for bad in ["", "abc", "yesterday", "2026-13-01", "D19FDE92", &"a".repeat(41)] {
            assert!(matches!(bad.parse::<Since>(), Err(ExportError::Since(_))), "{bad}");
        }
    }
}
