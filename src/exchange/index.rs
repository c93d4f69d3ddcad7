//! `bundle.json`: what is in a bundle, where, and what it builds on.

use super::item::{Item, RepositoryEntry};
use super::sha256::Sha256;
use crate::protocol::{Flavor, Kind, RegistryTree, RepositoryFile, Resource, TreeHash, Uuid};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The format that this version writes and reads.
pub const INDEX_FORMAT: u32 = 1;

/// Most volumes of a bundle.
pub const MAX_VOLUMES: usize = 9999;

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
    /// The resources in it, in the order of the volumes.
    pub resources: Vec<Entry>,
    /// The git bundles of repositories in it, likewise. They come after all resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<RepositoryEntry>,
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
    /// Git bundles that are not in it, with the trees that they must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repositories: BTreeMap<RepositoryFile, BTreeSet<TreeHash>>,
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
    /// How many resources and git bundles are in it.
    pub resources: u64,
    /// Their bytes.
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

impl UncarriedKind {
    /// As it is written in the index.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Unhashed => "unhashed",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }
}

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
        if self.volumes.is_empty()
            || self.volumes.len() > MAX_VOLUMES
            || !self.volumes.iter().all(|it| is_file_name(&it.file))
        {
            return wrong("the volumes make no sense");
        }
        let mut seen = BTreeSet::new();
        if !self.resources.iter().all(|entry| seen.insert(entry.resource)) {
            return wrong("a resource is listed twice");
        }
        let mut files = BTreeSet::new();
        if !self.repositories.iter().all(|entry| files.insert(&entry.file)) {
            return wrong("a git bundle is listed twice");
        }
        let mut last = 1;
        for item in self.items() {
            if item.volume() < last || item.volume() as usize > self.volumes.len() {
                return wrong("the resources are not in the order of the volumes");
            }
            last = item.volume();
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

    /// Everything in it, in the order of the volumes.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let repositories = self.repositories.iter().map(Item::Repository);
        self.resources.iter().map(Item::Resource).chain(repositories)
    }

    /// What is in a volume, counted from 1.
    pub fn of_volume(&self, volume: u32) -> impl Iterator<Item = Item<'_>> {
        self.items().filter(move |item| item.volume() == volume)
    }

    /// The bytes of everything in it.
    pub fn bytes(&self) -> u64 {
        self.items().fold(0, |sum, item| sum.saturating_add(item.size()))
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

/// Whether a volume may be called so: letters, digits, `-`, `_` and `.`, at most 255, the first no `.`.
pub fn is_file_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= 255 && !text.starts_with('.') && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::GENERAL;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    const FILE: &str = "git/h/own.jl.git.bundle";

    /// An index with everything in it, as JSON to break.
    fn whole() -> Value {
        let entry = |resource: String, volume: u32| {
            json!({
                "resource": resource, "size": 3, "sha256": "ab".repeat(32), "volume": volume, "name": "x",
                "version": "1.0.0", "repository": null, "replaces": ["0.9.0"],
            })
        };
        json!({
            "airlock_bundle": 1,
            "id": GENERAL,
            "created": "2026-11-21T08:00:00Z",
            "origin": GENERAL,
            "destination": "site-a",
            "sequence": 3,
            "repeats": [1, 2],
            "builds_on": { "since": null, "request": "2026-11-20T08:00:00Z", "resources": [] },
            "platforms": ["x86_64-linux-gnu"],
            "registries": [{
                "flavors": ["eager"], "uuid": GENERAL, "tree": TREE, "name": "General", "published": null,
            }],
            "resources": [
                entry(format!("/registry/{GENERAL}/{TREE}"), 1),
                entry(format!("/package/{GENERAL}/{TREE}"), 1),
                entry(format!("/artifact/{TREE}"), 2),
            ],
            "volumes": [
                { "file": "a.1of2.tar", "resources": 2, "bytes": 6 },
                { "file": "a.2of2.tar", "resources": 2, "bytes": 6 },
            ],
            "repositories": [{
                "file": FILE, "size": 3, "sha256": "ab".repeat(32), "volume": 2, "url": null, "packages": ["Own"],
                "trees": [TREE],
            }],
            "uncarried": [{ "what": "Own 0.1.0", "kind": "git", "why": "clients clone it" }],
            "sbom_sha256": "cd".repeat(32),
        })
    }

    fn parse(index: &Value) -> Result<BundleIndex, IndexError> {
        BundleIndex::parse(index.to_string().as_bytes())
    }

    /// The whole with another value at a place.
    fn with(pointer: &str, value: Value) -> Result<BundleIndex, IndexError> {
        let mut index = whole();
        *index.pointer_mut(pointer).unwrap() = value;
        parse(&index)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let index = parse(&whole()).unwrap();
        assert_eq!(BundleIndex::parse(&index.to_json()), Ok(index.clone()));
        assert_eq!((index.bytes(), index.count(Kind::Package), index.of_volume(2).count()), (12, 1, 2));
    }

    #[test]
    fn an_index_without_git_bundles_is_as_it_was_before_they_crossed() {
        let mut before = whole();
        before.as_object_mut().unwrap().remove("repositories");
        let index = parse(&before).unwrap();
        assert_eq!(index.repositories, []);
        assert_eq!(serde_json::from_slice::<Value>(&index.to_json()).unwrap(), before);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (pointer, value, word) in [
            ("/destination", json!("../x"), "destination"),
            ("/destination", json!("x".repeat(65)), "destination"),
            ("/destination", json!(".x"), "destination"),
            ("/sequence", json!(0), "sequence"),
            ("/repeats", json!([3]), "sequence"),
            ("/volumes", json!([]), "volumes"),
            ("/volumes/0/file", json!("a/b.tar"), "volumes"),
            ("/volumes/0/file", json!(".."), "volumes"),
            ("/volumes/0/file", json!("\u{1b}[31m"), "volumes"),
            ("/resources/0/volume", json!(2), "order"),
            ("/resources/0/volume", json!(0), "order"),
            ("/resources/2/volume", json!(3), "order"),
            ("/resources/2/resource", json!(format!("/package/{GENERAL}/{TREE}")), "twice"),
            ("/repositories/0/volume", json!(1), "order"),
            ("/repositories/0/volume", json!(3), "order"),
            ("/repositories", json!([whole()["repositories"][0], whole()["repositories"][0]]), "twice"),
            ("/registries/0/tree", json!("ab".repeat(20)), "registry"),
            ("/registries/0/flavors", json!([]), "registry"),
        ] {
            match with(pointer, value.clone()) {
                Err(IndexError::Inconsistent(what)) => assert!(what.contains(word), "{pointer} {value}: {what}"),
                other => panic!("{pointer} {value}: {other:?}"),
            }
        }
        let mut based = whole();
        *based.pointer_mut("/registries/0/tree").unwrap() = json!("ab".repeat(20));
        *based.pointer_mut("/builds_on/resources").unwrap() =
            json!([format!("/registry/{GENERAL}/{}", "ab".repeat(20))]);
        parse(&based).unwrap();
    }

    #[test]
    fn what_is_no_index_is_refused() {
        for (pointer, value) in [
            ("/resources/0/resource", json!("/artifact/../etc")),
            ("/resources/0/sha256", json!("AB".repeat(32))),
            ("/resources/0/size", json!(-1)),
            ("/repositories/0/file", json!("git/../x.bundle")),
            ("/repositories/0/file", json!("registries")),
            ("/repositories/0/trees", json!(["x"])),
            ("/repositories/0", json!({ "more": 1 })),
            ("/resources/0", json!({})),
            ("/id", json!("x")),
            ("/created", json!("yesterday")),
            ("/uncarried/0/kind", json!("other")),
            ("/builds_on", json!({ "more": 1 })),
            ("/repeats", json!({})),
        ] {
            assert!(matches!(with(pointer, value.clone()), Err(IndexError::Json(_))), "{pointer} {value}");
        }
        let mut more = whole();
        more["more"] = json!(1);
        assert!(matches!(parse(&more), Err(IndexError::Json(_))), "an unknown key");
        assert_eq!(with("/airlock_bundle", json!(2)), Err(IndexError::Format(2)));
        for bad in [&b""[..], b"[]", b"null", b"{}", b"\xff", &vec![b'['; 100_000]] {
            assert!(matches!(BundleIndex::parse(bad), Err(IndexError::Json(_))));
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(at in 0usize..2000, byte in any::<u8>()) {
            let mut bytes = whole().to_string().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = BundleIndex::parse(&bytes);
        }
    }
}
