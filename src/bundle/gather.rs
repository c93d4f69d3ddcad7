//! The files that somebody gives become bundles: each volume in its place, whatever their order.

use super::signature::{KeyId, TrustedKey, Verdict, verify};
use super::volume::{VolumeError, VolumeFile};
use crate::exchange::{BundleIndex, Item, Sha256};
use crate::protocol::Uuid;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A bundle, as far as its volumes were given.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The index, the same in every volume.
    pub index: Arc<BundleIndex>,
    /// What its signature is worth.
    pub signature: Signature,
    volumes: BTreeMap<u32, VolumeFile>,
    sha256: Sha256,
}

/// Whose signature it has, and whether that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum Signature {
    /// Made with a trusted key over exactly this index.
    Trusted {
        /// Which key.
        key: KeyId,
    },
    /// Made, as it says, with this key; no key is trusted here, so nobody looked.
    Unchecked {
        /// Which key.
        key: KeyId,
    },
    /// There is none, and no key is trusted here.
    Unsigned,
    /// There is none, and there must be.
    Missing,
    /// Made, as it says, with a key that nobody here trusts.
    Unknown {
        /// Which key.
        key: KeyId,
    },
    /// Not a signature of this index.
    Bad,
}

/// Files that do not make bundles.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// One of them is no volume.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// One volume was given twice.
    #[error("{} and {} are both volume {number} of one bundle: give one of them", one.display(), other.display())]
    Twice {
        /// The volume, counted from 1.
        number: u32,
        /// One file.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// Two volumes say that they are of one bundle and are not.
    #[error("{} and {} say that they are volumes of one bundle, but their bundle.json differ: one of them is damaged or forged", one.display(), other.display())]
    Differ {
        /// One file.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
}

impl Signature {
    fn of(verdict: Verdict, trusted: &[TrustedKey]) -> Self {
        match verdict {
            Verdict::Trusted(key) => Self::Trusted { key },
            Verdict::Unsigned if trusted.is_empty() => Self::Unsigned,
            Verdict::Unsigned => Self::Missing,
            Verdict::UnknownKey(key) if trusted.is_empty() => Self::Unchecked { key },
            Verdict::UnknownKey(key) => Self::Unknown { key },
            Verdict::Bad => Self::Bad,
        }
    }

    /// Whether a bundle with it may come in.
    pub const fn is_acceptable(self) -> bool {
        matches!(self, Self::Trusted { .. } | Self::Unchecked { .. } | Self::Unsigned)
    }
}

impl Bundle {
    /// SHA-256 of the bytes of the index.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// A volume, counted from 1, if it was given.
    pub fn volume(&self, number: u32) -> Option<&VolumeFile> {
        self.volumes.get(&number)
    }

    /// The volumes that were given.
    pub fn volumes(&self) -> impl Iterator<Item = &VolumeFile> {
        self.volumes.values()
    }

    /// Any of them, to read what is the same in all.
    pub fn any_volume(&self) -> Option<&VolumeFile> {
        self.volumes.values().next()
    }

    /// Every resource and git bundle, in the order of the index, with its place.
    pub fn items(&self) -> impl Iterator<Item = (Item<'_>, Place<'_>)> {
        let (mut number, mut volume, mut offsets) = (0, None, None);
        self.index.items().map(move |item| {
            if item.volume() != number {
                number = item.volume();
                volume = self.volume(number);
                offsets = volume.map(|volume| volume.layout().offsets());
            }
            let offset = offsets.as_mut().and_then(Iterator::next).flatten();
            let place = match (volume, offset) {
                (Some(volume), Some(offset)) => Place::At(volume, offset),
                (Some(_), None) => Place::Damaged,
                (None, _) => Place::Absent,
            };
            (item, place)
        })
    }

    /// What somebody called a volume of this number.
    pub fn file_name(&self, number: u32) -> &str {
        let at = usize::try_from(number).unwrap_or_default().checked_sub(1);
        at.and_then(|at| self.index.volumes.get(at)).map_or("", |volume| &volume.file)
    }
}

/// Where a file of a bundle is.
#[derive(Clone, Copy, Debug)]
pub enum Place<'b> {
    /// In this volume, its bytes at this offset.
    At(&'b VolumeFile, u64),
    /// Its volume was given, but its header is not where it should be.
    Damaged,
    /// Its volume was not given.
    Absent,
}

/// Opens the files and puts them together: bundles in the order of their origin, destination and
/// number. Blocks.
pub fn gather(files: &[PathBuf], trusted: &[TrustedKey]) -> Result<Vec<Bundle>, GatherError> {
    let mut bundles: BTreeMap<Uuid, Bundle> = BTreeMap::new();
    for path in files {
        let mut volume = VolumeFile::open(path)?;
        let signature = signature_of(&volume, trusted)?;
        let bundle = bundles.entry(volume.index().id).or_insert_with(|| Bundle {
            index: Arc::clone(volume.index()),
            signature,
            volumes: BTreeMap::new(),
            sha256: volume.layout().index_sha256,
        });
        let number = volume.number();
        let other = |one: &VolumeFile| (one.path().to_owned(), path.clone());
        if let Some((one, other)) =
            bundle.any_volume().filter(|_| bundle.sha256 != volume.layout().index_sha256).map(other)
        {
            return Err(GatherError::Differ { one, other });
        }
        if let Some((one, other)) = bundle.volume(number).filter(|one| !is_same(one.path(), path)).map(other) {
            return Err(GatherError::Twice { number, one, other });
        }
        // One that was signed and lost its signature on the way is still the same index.
        if signature.is_acceptable() && !bundle.signature.is_acceptable() {
            bundle.signature = signature;
        }
        volume.share_index(&bundle.index);
        bundle.volumes.insert(number, volume);
    }
    let mut bundles: Vec<_> = bundles.into_values().collect();
    bundles.sort_by(|a, b| order(&a.index).cmp(&order(&b.index)));
    Ok(bundles)
}

fn order(index: &BundleIndex) -> (Uuid, &str, u64) {
    (index.origin, &index.destination, index.sequence)
}

fn signature_of(volume: &VolumeFile, trusted: &[TrustedKey]) -> Result<Signature, VolumeError> {
    let verdict = verify(&volume.index_bytes()?, volume.signature()?.as_deref(), trusted);
    Ok(Signature::of(verdict, trusted))
}

/// Whether two paths are of one file, as far as that can be told.
fn is_same(one: &Path, other: &Path) -> bool {
    match (fs_err::canonicalize(one), fs_err::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}
