//! How much it would be, before anything large starts.

use crate::closure::Plan;
use crate::mirror::{Mirror, blocking};
use crate::protocol::{Kind, Resource};
use crate::store::{Lookup, Store, StoreError};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// So many packages are looked at to tell how large one is, and if fewer are here so many are fetched
/// first.
const SAMPLE: usize = 500;
pub(super) const FEW: usize = 20;

/// How much is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// Packages.
    pub packages: usize,
    /// Versions of them.
    pub versions: usize,
    /// How many of those versions are here already.
    pub here: usize,
    /// About how many bytes the others have, with their artifacts; unknown where nothing is here to
    /// tell by.
    pub bytes: Option<u64>,
    /// How many packages that was told by.
    pub sample: usize,
    /// Bytes free on the disk of the cache.
    pub free: Option<u64>,
    /// Whether it was fetched: not without `--yes`.
    pub started: bool,
}

/// The packages of a plan that are here, and those that are not.
pub(super) struct Parts {
    pub(super) here: Vec<Resource>,
    pub(super) missing: Vec<Resource>,
}

/// Which packages of a plan are here, without verifying anything.
pub(super) async fn parts(mirror: &Arc<Mirror>, plan: &Plan) -> io::Result<Parts> {
    let (store, wanted) = (Arc::clone(mirror.store()), plan.packages.keys().copied().collect::<Vec<_>>());
    blocking(move || {
        let (here, missing) = wanted.into_iter().partition(|resource| store.has(resource));
        Parts { here, missing }
    })
    .await
}

/// Some of them, evenly spread.
pub(super) fn spread(resources: &[Resource], most: usize) -> Vec<Resource> {
    let step = (resources.len() / most.max(1)).max(1);
    resources.iter().step_by(step).take(most).copied().collect()
}

/// How much a plan is, told by packages that are here.
pub(super) async fn estimate(mirror: &Arc<Mirror>, parts: &Parts) -> io::Result<Estimate> {
    let store = Arc::clone(mirror.store());
    let packages: BTreeSet<_> = parts.here.iter().chain(&parts.missing).filter_map(Resource::uuid).collect();
    let (here, missing) = (parts.here.len(), parts.missing.len());
    let of_plan = parts.here.clone();
    let (mean, sample, free) = blocking(move || {
        let (mean, sample) = mean(&store, &of_plan)?;
        Ok::<_, StoreError>((mean, sample, free(store.root())))
    })
    .await?
    .map_err(io::Error::other)?;
    Ok(Estimate {
        packages: packages.len(),
        versions: here + missing,
        here,
        bytes: if missing == 0 { Some(0) } else { mean.map(|mean| mean.saturating_mul(missing as u64)) },
        sample,
        free,
        started: false,
    })
}

/// The mean size of a package with its artifacts, of those of the plan that are here if they are
/// enough, else of any.
fn mean(store: &Store, of_plan: &[Resource]) -> Result<(Option<u64>, usize), StoreError> {
    let mut sample = spread(of_plan, SAMPLE);
    if sample.len() < FEW {
        let all: Vec<_> = store.resources(Kind::Package).collect::<Result<_, _>>()?;
        sample = spread(&all, SAMPLE);
    }
    let (mut bytes, mut count, mut artifacts) = (0_u64, 0_usize, BTreeSet::new());
    for package in &sample {
        if let Lookup::Verified(open, fact) = store.look_up(package)? {
            count += 1;
            bytes = bytes.saturating_add(open.stamp.size);
            artifacts.extend(fact.artifacts.iter().map(|artifact| Resource::Artifact { tree: artifact.tree }));
        }
    }
    for artifact in artifacts {
        bytes = bytes.saturating_add(store.stamp(&artifact)?.map_or(0, |stamp| stamp.size));
    }
    Ok((bytes.checked_div(count as u64), count))
}

fn free(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_all() {
        let all: Vec<_> =
            (0..100u32).map(|n| Resource::Artifact { tree: format!("{n:040x}").parse().unwrap() }).collect();
        assert_eq!(spread(&all, 4), [all[0], all[25], all[50], all[75]]);
        assert_eq!(spread(&all, 200).len(), 100);
        assert_eq!(spread(&[], 4), []);
    }
}
