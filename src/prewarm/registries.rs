//! The registries of a run: all that the upstreams list, brought up to date before anything else,
//! for packages are looked up in them.

use super::{Outcome, RegistryReport};
use crate::mirror::{Mirror, Patience, RegistryProblem, blocking};
use crate::protocol::{Flavor, Kind, RegistryTree, Resource};
use crate::store::{Store, StoreError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Asks the upstreams for their registries and fetches what is new; reports those that are listed
/// here afterwards, and what failed.
pub(super) async fn refresh(mirror: &Arc<Mirror>, patience: Patience) -> Vec<RegistryReport> {
    let before = look(mirror, held).await;
    let problems = mirror.refresh_registries(patience).await;
    let mut listed = look(mirror, listed).await;
    // One that the policy denies is not asked for, so that it does not come is no failure.
    listed.retain(|registry| mirror.takes(registry.uuid));
    let mut reports = Vec::new();
    for registry in &listed {
        let outcome = match mirror.fetch(&(*registry).into(), patience).await {
            Ok((bytes, here)) => Outcome::here(bytes, here && before.contains(registry)),
            Err(refusal) => refusal.into(),
        };
        reports.push(RegistryReport::new(*registry, outcome));
    }
    // What one source lacks another may have brought; what could not be written here is in no listing
    // that it should be in.
    let fails = |problem: &RegistryProblem| {
        problem.is_ours || problem.registry.is_none_or(|registry| !listed.contains(&registry))
    };
    reports.extend(problems.into_iter().filter(fails).map(|problem| failed(&problem)));
    if reports.is_empty() {
        let why =
            if mirror.is_offline() { "no registry is here, and no upstream" } else { "no upstream lists a registry" };
        reports.push(RegistryReport::unknown(Outcome::failed(why)));
    }
    reports
}

/// What is listed here, for a run that asks no upstream.
pub(super) async fn here(mirror: &Arc<Mirror>) -> Vec<RegistryReport> {
    let sized = |store: &Store| {
        let size = |registry: RegistryTree| Ok((registry, fs_err::metadata(store.path(&registry.into()))?.len()));
        listed(store)?.into_iter().map(size).collect()
    };
    let listed: BTreeSet<(RegistryTree, u64)> = look(mirror, sized).await;
    if listed.is_empty() {
        return vec![RegistryReport::unknown(Outcome::planned())];
    }
    listed.into_iter().map(|(registry, bytes)| RegistryReport::new(registry, Outcome::here(bytes, true))).collect()
}

fn failed(problem: &RegistryProblem) -> RegistryReport {
    match problem.registry {
        Some(registry) => RegistryReport::new(registry, Outcome::failed(&problem.reason)),
        None => RegistryReport::unknown(Outcome::failed(&problem.to_string())),
    }
}

/// Looks at the cache directory; what cannot be read there is as good as nothing.
async fn look<T: Default + Send + 'static>(mirror: &Arc<Mirror>, look: fn(&Store) -> Result<T, StoreError>) -> T {
    let store = Arc::clone(mirror.store());
    match blocking(move || look(&store)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::error!("cannot look for registries in the cache directory: {error}");
            T::default()
        }
        Err(_) => T::default(),
    }
}

fn listed(store: &Store) -> Result<BTreeSet<RegistryTree>, StoreError> {
    let mut registries = BTreeSet::new();
    for flavor in Flavor::ALL {
        registries.extend(store.listing(flavor)?.unwrap_or_default().iter());
    }
    Ok(registries)
}

fn held(store: &Store) -> Result<BTreeSet<RegistryTree>, StoreError> {
    let trees = store.resources(Kind::Registry).filter_map(|resource| match resource {
        Ok(Resource::Registry { uuid, tree }) => Some(Ok(RegistryTree { uuid, tree })),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    trees.collect()
}
