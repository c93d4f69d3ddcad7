//! From volumes to the sheet.

use super::read::{ReadPackage, read};
use super::{
    ArtifactLine, PackageLine, RegistryLine, ReportError, Sheet, SheetSignature, Totals, VerdictWord, VolumeLine, plain,
};
use crate::bundle::{TrustedKey, Verdict, VolumeFile, verify};
use crate::exchange::{BundleIndex, Entry, Publication, Uncarried};
use crate::julia::Version;
use crate::protocol::{Kind, Resource};
use crate::tree::Limits;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

impl Sheet {
    /// Reads volumes of one bundle, in any order, with `jobs` threads. A volume that is not given or
    /// cannot be used is said on the sheet. `progress` is told of bytes that were read. Blocks.
    pub fn of_files(
        paths: &[PathBuf],
        trusted: &[TrustedKey],
        limits: &Limits,
        jobs: usize,
        progress: &(impl Fn(u64) + Sync),
    ) -> Result<Self, ReportError> {
        let mut files: BTreeMap<u32, VolumeFile> = BTreeMap::new();
        let mut unusable = Vec::new();
        for path in paths {
            match VolumeFile::open(path) {
                Ok(file) => add(&mut files, file)?,
                Err(error) => unusable.push(error),
            }
        }
        let Some(first) = files.values().next() else {
            return Err(unusable.into_iter().next().map_or(ReportError::Nothing, ReportError::Volume));
        };
        let (index, index_sha256) = (first.index(), first.layout().index_sha256);
        let read = read(&files, limits, jobs, progress);
        let volumes = (1..).zip(&index.volumes).map(|(number, volume)| {
            let (file, read) = (files.get(&number), read.volumes.get(&number));
            let missing = || "missing: what is in it was not looked at".to_owned();
            let problem = match (file, read) {
                (Some(file), Some(Ok(_))) => file.layout().oddity.map(str::to_owned),
                (_, Some(Err(problem))) => Some(problem.clone()),
                _ => Some(missing()),
            };
            VolumeLine {
                number,
                file: plain(&volume.file),
                size: read.and_then(|read| Some(read.as_ref().ok()?.0)),
                sha256: read.and_then(|read| Some(read.as_ref().ok()?.1)),
                resources: volume.resources,
                problem,
            }
        });
        Ok(Self {
            airlock: env!("CARGO_PKG_VERSION"),
            id: index.id,
            origin: index.origin,
            destination: plain(&index.destination),
            sequence: index.sequence,
            repeats: index.repeats.clone(),
            created: index.created,
            index_sha256,
            signature: signature(&files, trusted),
            platforms: index.platforms.iter().map(|platform| plain(platform)).collect(),
            volumes: volumes.collect(),
            unusable: unusable.iter().map(|error| plain(&error.to_string())).collect(),
            totals: Totals {
                registries: index.count(Kind::Registry),
                packages: index.count(Kind::Package),
                artifacts: index.count(Kind::Artifact),
                bytes: index.bytes(),
            },
            registries: registries(index),
            packages: packages(index, read.packages),
            artifacts: artifacts(index),
            builds_on: index.builds_on.clone(),
            uncarried: uncarried(index),
        })
    }
}

fn add(files: &mut BTreeMap<u32, VolumeFile>, file: VolumeFile) -> Result<(), ReportError> {
    let other = || file.path().to_owned();
    if let Some(first) = files.values().next().filter(|it| it.layout().index_sha256 != file.layout().index_sha256) {
        return Err(ReportError::Mixed { first: first.path().to_owned(), other: other() });
    }
    let number = file.number();
    if let Some(first) = files.get(&number) {
        return Err(ReportError::Twice { number, first: first.path().to_owned(), other: other() });
    }
    files.insert(number, file);
    Ok(())
}

/// Each volume has a signature of its own; the worst counts.
fn signature(files: &BTreeMap<u32, VolumeFile>, trusted: &[TrustedKey]) -> SheetSignature {
    let verdict = |file: &VolumeFile| match (file.index_bytes(), file.signature()) {
        (Ok(bytes), Ok(signature)) => verify(&bytes, signature.as_deref(), trusted),
        _ => Verdict::Bad,
    };
    let word = |verdict| match verdict {
        Verdict::Bad => (VerdictWord::Bad, None),
        Verdict::Unsigned => (VerdictWord::Unsigned, None),
        Verdict::UnknownKey(key) => (VerdictWord::UnknownKey, Some(key)),
        Verdict::Trusted(key) => (VerdictWord::Trusted, Some(key)),
    };
    let worst = files.values().map(|file| word(verdict(file))).min();
    let (verdict, key) = worst.unwrap_or((VerdictWord::Unsigned, None));
    let trusted_key = trusted.iter().find(|it| verdict == VerdictWord::Trusted && Some(it.id()) == key);
    let tolerated = trusted.is_empty() && verdict != VerdictWord::Bad;
    SheetSignature {
        verdict,
        key,
        public_key: trusted_key.map(ToString::to_string),
        accepted: verdict == VerdictWord::Trusted || tolerated,
    }
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
        let missing = || Err(format!("volume {} is missing", entry.volume));
        let read = read.remove(&entry.resource).unwrap_or_else(missing);
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

fn uncarried(index: &BundleIndex) -> Vec<Uncarried> {
    let of = index.uncarried.iter();
    let line = |it: &Uncarried| Uncarried { what: plain(&it.what), kind: it.kind, why: plain(&it.why) };
    let mut lines: Vec<_> = of.map(line).collect();
    lines.sort();
    lines
}
