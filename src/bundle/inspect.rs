//! What is in a bundle, told without a cache.

use super::gather::{Bundle, Signature};
use super::outcome::{Problem, VolumeState};
use super::{VolumeFile, work};
use crate::exchange::{Item, Publication, RepositoryEntry, Uncarried};
use crate::protocol::{Kind, Uuid};
use crate::tree::Limits;
use serde::Serialize;
use std::collections::BTreeSet;

/// What is in a bundle.
#[derive(Debug, Serialize)]
pub struct Inspected {
    /// Which.
    pub id: Uuid,
    /// The cache that it was made from.
    pub origin: Uuid,
    /// Whom it is for.
    pub destination: String,
    /// Its number.
    pub sequence: u64,
    /// Earlier numbers of which it has everything again.
    pub repeats: BTreeSet<u64>,
    /// When it was made.
    pub created: jiff::Timestamp,
    /// Whose signature it has.
    pub signature: Signature,
    /// The platforms that its artifacts were chosen for.
    pub platforms: Vec<String>,
    /// Its volumes.
    pub volumes: Vec<VolumeState>,
    /// Registries in it.
    pub registry_count: usize,
    /// Package versions in it.
    pub package_count: usize,
    /// Artifacts in it.
    pub artifact_count: usize,
    /// The git bundles of repositories in it.
    pub repositories: Vec<RepositoryEntry>,
    /// The bytes of all of them.
    pub bytes: u64,
    /// The registries that it publishes.
    pub registries: Vec<Publication>,
    /// The time up to which it takes everything to be there.
    pub builds_on_since: Option<jiff::Timestamp>,
    /// When the request was made whose inventory it leaves out.
    pub builds_on_request: Option<jiff::Timestamp>,
    /// Resources and git bundles that it takes to be there.
    pub builds_on: usize,
    /// What was wanted and is not in it.
    pub uncarried: Vec<Uncarried>,
    /// Whether its resources were hashed.
    pub verified: bool,
    /// What is damaged or whose volume was not given; only known when it was hashed.
    pub problems: Vec<Problem>,
    /// Whether all volumes were given, and nothing that was looked at is wrong.
    pub complete: bool,
}

/// Says what is in a bundle; with limits for its tarballs and a number of threads, also hashes all
/// of it. `progress` is told of each file that was hashed. Of a git bundle that is all: what git says of
/// it is for an import to find.
pub fn inspect(bundle: &Bundle, hash: Option<(&Limits, usize)>, progress: &(impl Fn(Item<'_>) + Sync)) -> Inspected {
    let index = &bundle.index;
    let problems = hash.map(|(limits, jobs)| work::run(bundle, None, limits, jobs, progress).problems);
    let mut volumes = VolumeState::all(bundle);
    for volume in volumes.iter_mut().filter(|volume| hash.is_some() && volume.oddity.is_none()) {
        volume.oddity = bundle.volume(volume.number).and_then(VolumeFile::misleading);
    }
    let whole = volumes.iter().all(|volume| volume.file.is_some() && volume.oddity.is_none());
    Inspected {
        id: index.id,
        origin: index.origin,
        destination: index.destination.clone(),
        sequence: index.sequence,
        repeats: index.repeats.clone(),
        created: index.created,
        signature: bundle.signature,
        platforms: index.platforms.clone(),
        registry_count: index.count(Kind::Registry),
        package_count: index.count(Kind::Package),
        artifact_count: index.count(Kind::Artifact),
        repositories: index.repositories.clone(),
        bytes: index.bytes(),
        registries: index.registries.clone(),
        builds_on_since: index.builds_on.since,
        builds_on_request: index.builds_on.request,
        builds_on: index.builds_on.resources.len() + index.builds_on.repositories.len(),
        uncarried: index.uncarried.clone(),
        complete: whole && bundle.signature.is_acceptable() && problems.as_ref().is_none_or(Vec::is_empty),
        verified: problems.is_some(),
        problems: problems.unwrap_or_default(),
        volumes,
    }
}
