//! `bundle.json`: what is in a bundle, where, and what it builds on.

use crate::protocol::{Flavor, Kind, RegistryTree, Resource, TreeHash, Uuid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The format that this version writes and reads.
pub const INDEX_FORMAT: u32 = 1;

/// What is in a bundle. The first entry of each of its volumes, the same bytes in all of them, so
/// that any volume says what it belongs to. What is signed is exactly these bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleIndex {
    /// [`INDEX_FORMAT`].
    pub airlock_bundle: u32,
    /// This bundle: random.
    pub id: Uuid,
    /// When it was made.
    pub created: jiff::Timestamp,
    /// The cache that it was made from.
    pub origin: Uuid,
    /// Whom it is for: letters, digits, `-`, `_` and `.`. Sequence numbers count for one origin and
    /// one destination.
    pub destination: String,
    /// Counted from 1.
    pub sequence: u64,
    /// Earlier sequence numbers of which this one has everything again.
    pub repeats: BTreeSet<u64>,
    /// What it takes to be there already.
    pub builds_on: Base,
    /// The platforms that its artifacts were chosen for, as triplets; `all` for all.
    pub platforms: Vec<String>,
    /// The registries to publish when everything has arrived.
    pub registries: Vec<Publication>,
    /// What is in it, in the order of the volumes.
    pub resources: Vec<Entry>,
    /// The volumes, in order.
    pub volumes: Vec<Volume>,
    /// What was wanted and could not be carried.
    pub uncarried: Vec<Uncarried>,
    /// SHA-256 of the file `sbom.cdx.json` beside this one.
    pub sbom_sha256: Sha256,
}

/// What a bundle takes to be on the other side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// The time up to which everything is taken to be there, for a bundle of what came later.
    pub since: Option<jiff::Timestamp>,
    /// When the request was made whose inventory was left out.
    pub request: Option<jiff::Timestamp>,
    /// Resources of its closure that are not in it. Empty for a bundle that stands alone.
    pub resources: Vec<Resource>,
}

/// A registry to publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// In these listings.
    pub flavors: BTreeSet<Flavor>,
    /// Which.
    pub uuid: Uuid,
    /// At which tree.
    pub tree: TreeHash,
    /// Its name, if it could be read.
    pub name: Option<String>,
    /// When this tree was published at the origin, if that is known.
    pub published: Option<jiff::Timestamp>,
}

/// A resource in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its path, with a leading slash. In the volume it stands without that slash.
    pub resource: Resource,
    /// Bytes of its tarball.
    pub size: u64,
    /// Of its tarball.
    pub sha256: Sha256,
    /// The volume it is in, counted from 1.
    pub volume: u32,
    /// Of a package or registry, its name; of an artifact, what it is called, and by whom.
    pub name: Option<String>,
    /// Of a package, its version, if a registry knows it.
    pub version: Option<String>,
    /// Of a package, the repository with its sources, as its registry has it.
    pub repository: Option<String>,
    /// Of a package, the versions of it that the other side has, if that is known: newest first.
    pub replaces: Option<Replaced>,
}

/// What the other side has of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Replaced(pub Vec<String>);

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// The name it was given.
    pub file: String,
    /// Its resources.
    pub resources: u64,
    /// The bytes of its resources.
    pub bytes: u64,
}

/// Something that was wanted and is not in the bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uncarried {
    /// Name and version, or a path.
    pub what: String,
    /// Why, in a word.
    pub kind: UncarriedKind,
    /// Why, in words.
    pub why: String,
}

/// Why something is not in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UncarriedKind {
    /// Clients clone it from git and ask no package server.
    Git,
    /// No tree hash, and no registry knows it.
    Unhashed,
    /// It is not at the origin and could not be fetched.
    Missing,
    /// Wished for by a name or range that no registry at the origin knows.
    Unknown,
}

/// A SHA-256, written as 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; 32]);

/// A `bundle.json` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Another format.
    #[error("bundle format {0}, this airlock knows {INDEX_FORMAT}: use the version that made it")]
    Format(u64),
    /// Not JSON, or not these keys.
    #[error("not an index of a bundle: {0}")]
    Json(String),
    /// It contradicts itself.
    #[error("{0}")]
    Inconsistent(&'static str),
}

impl BundleIndex {
    /// Reads and checks an index.
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        #[derive(Deserialize)]
        struct Format {
            airlock_bundle: u64,
        }
        let json = |error: serde_json::Error| IndexError::Json(error.to_string());
        let format: Format = serde_json::from_slice(bytes).map_err(json)?;
        if format.airlock_bundle != u64::from(INDEX_FORMAT) {
            return Err(IndexError::Format(format.airlock_bundle));
        }
        let index: Self = serde_json::from_slice(bytes).map_err(json)?;
        index.check()?;
        Ok(index)
    }

    /// The bytes to be signed and packed.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    fn check(&self) -> Result<(), IndexError> {
        let wrong = |what| Err(IndexError::Inconsistent(what));
        if !is_destination(&self.destination) {
            return wrong("the destination is not a plain name");
        }
        if self.sequence == 0 || self.repeats.iter().any(|&repeated| repeated >= self.sequence) {
            return wrong("the sequence numbers make no sense");
        }
        if self.volumes.is_empty() || self.volumes.len() > 9999 || !self.volumes.iter().all(|it| is_file_name(&it.file))
        {
            return wrong("the volumes make no sense");
        }
        let mut seen = BTreeSet::new();
        let mut last = 1;
        for entry in &self.resources {
            if !seen.insert(entry.resource) {
                return wrong("a resource is listed twice");
            }
            if entry.volume < last || entry.volume as usize > self.volumes.len() {
                return wrong("the resources are not in the order of the volumes");
            }
            last = entry.volume;
        }
        let based: BTreeSet<_> = self.builds_on.resources.iter().collect();
        let known = |registry: &Publication| {
            let resource = Resource::from(RegistryTree { uuid: registry.uuid, tree: registry.tree });
            !registry.flavors.is_empty() && (seen.contains(&resource) || based.contains(&resource))
        };
        if !self.registries.iter().all(known) {
            return wrong("a registry to publish is neither in the bundle nor in what it builds on");
        }
        Ok(())
    }

    /// The entries of a volume, counted from 1.
    pub fn of_volume(&self, volume: u32) -> impl Iterator<Item = &Entry> {
        self.resources.iter().filter(move |entry| entry.volume == volume)
    }

    /// The bytes of all resources.
    pub fn bytes(&self) -> u64 {
        self.resources.iter().fold(0, |sum, entry| sum.saturating_add(entry.size))
    }

    /// How many resources of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.resources.iter().filter(|entry| entry.resource.kind() == kind).count()
    }
}

/// Whether a text may name a destination: it becomes part of file names.
pub fn is_destination(text: &str) -> bool {
    is_file_name(text) && text.len() <= 64
}

fn is_file_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= 255 && !text.starts_with('.') && text.bytes().all(plain)
}

impl Sha256 {
    /// From the raw digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is 64 lowercase hexadecimal digits")]
pub struct ParseSha256Error;

impl FromStr for Sha256 {
    type Err = ParseSha256Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| ParseSha256Error)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            for &character in pair {
                let digit = match character {
                    b'0'..=b'9' => character - b'0',
                    b'a'..=b'f' => character - b'a' + 10,
                    _ => return Err(ParseSha256Error),
                };
                *byte = *byte << 4 | digit;
            }
        }
        Ok(Self(bytes))
    }
}

crate::protocol::serde_as_text!(Sha256);
