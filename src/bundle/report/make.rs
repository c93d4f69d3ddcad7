//! From volumes to the sheet.

use super::read::{ReadPackage, ReadVolume, read};
use super::{ArtifactLine, PackageLine, RegistryLine, ReportError, RepositoryLine, Sheet, Totals, VolumeLine, plain};
use crate::bundle::{Bundle, Signature, TrustedKey, gather};
use crate::exchange::{BundleIndex, Entry, Publication, RepositoryEntry, Uncarried, Volume};
use crate::julia::Version;
use crate::protocol::{Kind, Resource};
use crate::tree::Limits;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

impl Sheet {
    /// Reads volumes of one bundle, in any order, with `jobs` threads. A volume that was not given
    /// is said on the sheet. `progress` is told of each volume that was read. Blocks.
    pub fn of_files(
        paths: &[PathBuf],
        trusted: &[TrustedKey],
        limits: &Limits,
        jobs: usize,
        progress: &(impl Fn(&str, u64) + Sync),
    ) -> Result<Self, ReportError> {
        let bundles = gather(paths, trusted)?;
        let [bundle] = bundles.as_slice() else { return Err(ReportError::NotOne(bundles.len())) };
        let (index, read) = (&bundle.index, read(bundle, limits, jobs, progress));
        let key = |key| trusted.iter().find(|trusted| trusted.id() == key).map(ToString::to_string);
        Ok(Self {
            airlock: env!("CARGO_PKG_VERSION"),
            id: index.id,
            origin: index.origin,
            destination: plain(&index.destination),
            sequence: index.sequence,
            repeats: index.repeats.clone(),
            created: index.created,
            index_sha256: bundle.sha256(),
            signature: bundle.signature,
            public_key: if let Signature::Trusted { key: id } = bundle.signature { key(id) } else { None },
            platforms: index.platforms.iter().map(|platform| plain(platform)).collect(),
            volumes: volumes(bundle, &read.volumes),
            totals: Totals {
                registries: index.count(Kind::Registry),
                packages: index.count(Kind::Package),
                artifacts: index.count(Kind::Artifact),
                repositories: index.repositories.len(),
                bytes: index.bytes(),
            },
            registries: registries(index),
            packages: packages(index, read.packages),
            artifacts: artifacts(index),
            repositories: repositories(index),
            builds_on: index.builds_on.clone(),
            uncarried: uncarried(index),
        })
    }
}

fn volumes(bundle: &Bundle, read: &BTreeMap<u32, ReadVolume>) -> Vec<VolumeLine> {
    let line = |(number, volume): (u32, &Volume)| {
        let (size, sha256, problem) = match (bundle.volume(number), read.get(&number)) {
            (Some(file), Some(&Ok((size, sha256)))) => {
                let problem = file.layout().oddity.or_else(|| file.misleading());
                (Some(size), Some(sha256), problem.map(str::to_owned))
            }
            (Some(_), Some(Err(problem))) => (None, None, Some(plain(problem))),
            _ => (None, None, Some("missing: nobody looked at what is in it".to_owned())),
        };
        VolumeLine { number, file: plain(&volume.file), size, sha256, resources: volume.resources, problem }
    };
    (1..).zip(&bundle.index.volumes).map(line).collect()
}

fn registries(index: &BundleIndex) -> Vec<RegistryLine> {
    let line = |registry: &Publication| RegistryLine {
        name: registry.name.as_deref().map(plain),
        uuid: registry.uuid,
        tree: registry.tree,
        flavors: registry.flavors.clone(),
        published: registry.published,
        age_hours: registry.published.map(|published| index.created.duration_since(published).as_hours()),
    };
    let mut lines: Vec<_> = index.registries.iter().map(line).collect();
    lines.sort_by(|a, b| (&a.name, a.uuid, a.tree).cmp(&(&b.name, b.uuid, b.tree)));
    lines
}

fn packages(index: &BundleIndex, mut read: HashMap<Resource, ReadPackage>) -> Vec<PackageLine> {
    let line = |entry: &Entry| {
        let Resource::Package { uuid, tree } = entry.resource else { return None };
        let read = read.remove(&entry.resource).unwrap_or_else(|| Err("nobody looked".to_owned()));
        Some(PackageLine {
            name: entry.name.as_deref().map(plain),
            version: entry.version.as_deref().map(plain),
            uuid,
            tree,
            replaces: entry.replaces.as_ref().map(|versions| versions.0.iter().map(|version| plain(version)).collect()),
            unread: read.as_ref().err().map(|problem| plain(problem)),
            licence: read.ok(),
            repository: entry.repository.as_deref().map(plain),
            size: entry.size,
        })
    };
    let mut lines: Vec<_> = index.resources.iter().filter_map(line).collect();
    lines.sort_by_cached_key(|line| {
        let version = line.version.as_deref().and_then(|version| version.parse::<Version>().ok());
        (line.name.clone(), line.uuid, version, line.version.clone(), line.tree)
    });
    lines
}

fn artifacts(index: &BundleIndex) -> Vec<ArtifactLine> {
    let of = index.resources.iter().filter(|entry| entry.resource.kind() == Kind::Artifact);
    let line = |entry: &Entry| ArtifactLine {
        name: entry.name.as_deref().map(plain),
        tree: entry.resource.tree(),
        size: entry.size,
    };
    let mut lines: Vec<_> = of.map(line).collect();
    lines.sort_by(|a, b| (&a.name, a.tree).cmp(&(&b.name, b.tree)));
    lines
}

fn repositories(index: &BundleIndex) -> Vec<RepositoryLine> {
    let line = |entry: &RepositoryEntry| RepositoryLine {
        file: entry.file.clone(),
        url: entry.url.as_deref().map(plain),
        packages: entry.packages.iter().map(|name| plain(name)).collect(),
        trees: entry.trees.clone(),
        size: entry.size,
    };
    let mut lines: Vec<_> = index.repositories.iter().map(line).collect();
    lines.sort_by(|a, b| a.file.cmp(&b.file));
    lines
}

fn uncarried(index: &BundleIndex) -> Vec<Uncarried> {
    let of = index.uncarried.iter();
    let line = |it: &Uncarried| Uncarried { what: plain(&it.what), kind: it.kind, why: plain(&it.why) };
    let mut lines: Vec<_> = of.map(line).collect();
    lines.sort();
    lines
}
