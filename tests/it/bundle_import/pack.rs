//! Bundles as another tool could pack them, and as nobody should.

use airlock::bundle::{SBOM_NAME, SIGNATURE_NAME, SUMS_NAME, SigningKey, sums};
use airlock::exchange::{Base, BundleIndex, Entry, Item, Publication, RepositoryEntry, Sha256, Volume};
use airlock::protocol::{Flavor, GENERAL, Kind, RepositoryFile, Resource, TreeHash, Uuid};
use airlock::sample::Site;
use sha2::Digest as _;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A bundle that is being packed; everything may be changed before it is written.
pub(crate) struct Packing {
    pub(crate) index: BundleIndex,
    /// The bodies by resource; what is not here is packed as zeros.
    pub(crate) bodies: BTreeMap<Resource, Vec<u8>>,
    /// The git bundles, likewise.
    pub(crate) repositories: BTreeMap<RepositoryFile, Vec<u8>>,
    pub(crate) signature: Option<String>,
}

pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256::from_bytes(sha2::Sha256::digest(bytes).into())
}

fn uuid(digit: u8) -> Uuid {
    Uuid::from_random([digit; 16])
}

impl Packing {
    /// Everything that a site has, in so many volumes, as bundle 1 of the first origin.
    pub(crate) fn of(site: &Site, volumes: u32) -> Self {
        let mut resources: Vec<_> = site.resources().collect();
        resources.sort_unstable();
        let share = resources.len().div_ceil(volumes as usize);
        let body = |resource: &Resource| site.body(&resource.to_string()).unwrap().to_vec();
        let entry = |(at, resource): (usize, &Resource)| Entry {
            resource: *resource,
            size: body(resource).len() as u64,
            sha256: sha256(&body(resource)),
            volume: u32::try_from(at / share).unwrap() + 1,
            name: (resource.kind() == Kind::Package).then(|| "Example".to_owned()),
            version: (resource.kind() == Kind::Package).then(|| "1.2.3".to_owned()),
            repository: None,
            replaces: None,
        };
        let registries = resources.iter().filter(|resource| resource.kind() == Kind::Registry);
        let index = BundleIndex {
            airlock_bundle: 1,
            id: uuid(1),
            created: jiff::Timestamp::from_second(1_000_000).unwrap(),
            origin: uuid(100),
            destination: "inside".to_owned(),
            sequence: 1,
            repeats: BTreeSet::new(),
            builds_on: Base::default(),
            platforms: vec!["all".to_owned()],
            registries: registries
                .map(|registry| Publication {
                    flavors: Flavor::ALL.into(),
                    uuid: registry.uuid().unwrap_or(GENERAL),
                    tree: registry.tree(),
                    name: Some("General".to_owned()),
                    published: None,
                })
                .collect(),
            resources: resources.iter().enumerate().map(entry).collect(),
            repositories: Vec::new(),
            volumes: (1..=volumes)
                .map(|number| Volume { file: format!("b.{number}.tar"), resources: 0, bytes: 0 })
                .collect(),
            uncarried: Vec::new(),
            sbom_sha256: sha256(b"{}"),
        };
        let bodies = resources.iter().map(|resource| (*resource, body(resource))).collect();
        Self { index, bodies, repositories: BTreeMap::new(), signature: None }
    }

    /// Adds a git bundle to the last volume.
    pub(crate) fn with(mut self, file: &str, bytes: &[u8], trees: &[TreeHash]) -> Self {
        let file: RepositoryFile = file.parse().unwrap();
        self.index.repositories.push(RepositoryEntry {
            file: file.clone(),
            size: bytes.len() as u64,
            sha256: sha256(bytes),
            volume: u32::try_from(self.index.volumes.len()).unwrap(),
            url: None,
            packages: ["Own".to_owned()].into(),
            trees: trees.iter().copied().collect(),
        });
        self.repositories.insert(file, bytes.to_vec());
        self
    }

    /// Another bundle than before: its number, and an id that goes with it.
    pub(crate) fn numbered(mut self, sequence: u64) -> Self {
        self.index.sequence = sequence;
        self.index.id = uuid(u8::try_from(sequence).unwrap());
        self.index.created = jiff::Timestamp::from_second(1_000_000 + i64::try_from(sequence).unwrap()).unwrap();
        self
    }

    pub(crate) fn of_origin(mut self, digit: u8) -> Self {
        self.index.origin = uuid(digit);
        self.index.id = uuid(digit + 50);
        self
    }

    pub(crate) fn signed(mut self, key: &SigningKey) -> Self {
        self.signature = Some(key.sign(&self.index.to_json(), "a bundle").unwrap());
        self
    }

    /// The bytes of a volume.
    pub(crate) fn volume(&self, number: u32) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, "bundle.json", &self.index.to_json());
        if let Some(signature) = &self.signature {
            append(&mut tar, SIGNATURE_NAME, signature.as_bytes());
        }
        append(&mut tar, SUMS_NAME, &sums(&self.index));
        append(&mut tar, SBOM_NAME, b"{}");
        for item in self.index.of_volume(number) {
            let body = match item {
                Item::Resource(entry) => &self.bodies[&entry.resource],
                Item::Repository(entry) => &self.repositories[&entry.file],
            };
            append(&mut tar, &item.path(), body);
        }
        tar.into_inner().unwrap()
    }

    /// Writes all volumes.
    pub(crate) fn write(&self, folder: &Path) -> Vec<PathBuf> {
        let numbers = 1..=u32::try_from(self.index.volumes.len()).unwrap();
        let write = |number| {
            let path = folder.join(format!("{}-{number}.tar", self.index.id));
            fs_err::write(&path, self.volume(number)).unwrap();
            path
        };
        numbers.map(write).collect()
    }

    /// The offset of a git bundle's bytes in its volume.
    pub(crate) fn offset_of_repository(&self, file: &str) -> usize {
        let entry = self.index.repositories.iter().find(|entry| entry.file.relative_path() == file).unwrap();
        let (volume, body) = (self.volume(entry.volume), &self.repositories[&entry.file]);
        (0..volume.len()).step_by(512).find(|&at| volume[at..].starts_with(body)).unwrap()
    }

    /// The offset of a resource's bytes in its volume.
    pub(crate) fn offset(&self, resource: &Resource) -> usize {
        let entry = self.index.resources.iter().find(|entry| entry.resource == *resource).unwrap();
        let volume = self.volume(entry.volume);
        let (name, body) = (resource.relative_path(), &self.bodies[resource]);
        let blocks = (0..volume.len()).step_by(512).find(|&at| volume[at..].starts_with(name.as_bytes())).unwrap();
        assert!(volume[blocks + 512..].starts_with(body));
        blocks + 512
    }
}

pub(crate) fn header(name: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    tar.append(&header(name, bytes.len() as u64), bytes).unwrap();
}
