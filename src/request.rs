//! Making the request: what this side has, lacks and wishes for, gathered into the one small file
//! that goes out.

use crate::closure::look_into_repository;
use crate::config::Config;
use crate::exchange::{Damaged, Missed, REQUEST_FORMAT, Received, Request, RequestError};
use crate::mirror::{Mirror, limits};
use crate::protocol::{Flavor, Kind, RepositoryFile, Resource, TreeHash, Uuid};
use crate::store::{Outside, ReceivedBundle, Store, StoreError, gaps};
use crate::verify::{self, verify_new};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// Most numbers that never arrived, of one origin and destination: the last ones.
const MOST_GAPS: usize = 100;

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// The cache directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The name of the site.
    #[error(transparent)]
    Name(#[from] RequestError),
}

/// A request, and what was found on the way.
#[derive(Debug)]
pub struct Gathered {
    /// To be written.
    pub request: Request,
    /// What came of the files that nobody had verified; `None` if none was looked at.
    pub verified: Option<verify::Report>,
    /// Files that nobody has verified, so they are not in the inventory.
    pub unverified: usize,
}

/// Gathers the request of a cache, whose registries should be loaded, for they give names. With
/// `jobs`, what nobody has verified is verified by so many threads, and what is damaged is set
/// aside; `progress` is told of each. Without, nothing is touched. Blocks.
pub fn gather(
    mirror: &Mirror,
    config: &Config,
    jobs: Option<usize>,
    progress: &(impl Fn(&Resource, u64) + Sync),
) -> Result<Gathered, GatherError> {
    let store = mirror.store();
    let site = store.site()?;
    let name = config.site_name.clone().unwrap_or_else(|| default_name(site));
    Request::check_name(&name)?;
    let verified = jobs.map(|jobs| verify_new(store, &limits(&config.limits), jobs, progress)).transpose()?;
    let (inventory, unverified) = inventory(store)?;
    let asked = published(store)?;
    let misses = mirror.missing()?.into_iter().filter(|miss| asked(&miss.resource));
    let request = Request {
        airlock_request: REQUEST_FORMAT,
        created: jiff::Timestamp::now(),
        site,
        name,
        platforms: mirror.served_platforms()?.names(),
        julia: store.julia_versions()?.iter().map(ToString::to_string).collect(),
        registries: registries(store)?,
        inventory,
        repositories: repositories(store, jobs.is_some())?,
        misses: misses.map(|miss| Missed::new(miss.resource, miss.name, miss.version, miss.count)).collect(),
        wishes: mirror.open_wishes(usize::MAX)?.into_iter().map(|open| open.wish).collect(),
        damaged: damaged(store)?,
        received: received(store)?,
    };
    Ok(Gathered { request, verified, unverified })
}

/// `site-1a2b3c4d`
fn default_name(site: Uuid) -> String {
    let digits: String = site.to_string().chars().take(8).collect();
    format!("site-{digits}")
}

/// What is here and verified, and how many files are not.
fn inventory(store: &Store) -> Result<(BTreeSet<Resource>, usize), StoreError> {
    let (mut inventory, mut others) = (BTreeSet::new(), 0);
    for resource in Kind::ALL.into_iter().flat_map(|kind| store.resources(kind)) {
        let resource = resource?;
        match store.fact(&resource) {
            Ok(Some(_)) => _ = inventory.insert(resource),
            Ok(None) | Err(_) => others += 1,
        }
    }
    Ok((inventory, others))
}

/// The git bundles that are here, with the trees that are known to be in them. What nobody looked
/// into is verified now, or else left out; what is damaged is left out.
fn repositories(store: &Store, verifies: bool) -> Result<BTreeMap<RepositoryFile, BTreeSet<TreeHash>>, StoreError> {
    let mut repositories = BTreeMap::new();
    for (file, stamp) in store.repositories()? {
        if verifies && let Err(damage) = look_into_repository(store, &file, stamp, &BTreeSet::new())? {
            tracing::warn!(%file, "a git bundle cannot be used: {damage}");
        }
        let finding = store.repository_finding(&file, stamp)?;
        if !finding.trees.is_empty() || !finding.without.is_empty() {
            repositories.insert(file, finding.trees);
        }
    }
    Ok(repositories)
}

/// Whether anybody outside can have a resource. A registry that was never published here was derived
/// here, and clients still ask for it, or is nobody's.
fn published(store: &Store) -> Result<impl Fn(&Resource) -> bool, StoreError> {
    let log = store.generations()?;
    let registries: BTreeSet<_> = log.iter().map(|it| Resource::Registry { uuid: it.uuid, tree: it.tree }).collect();
    Ok(move |resource: &Resource| resource.kind() != Kind::Registry || registries.contains(resource))
}

/// The registries as upstream published them, in whatever listing.
fn registries(store: &Store) -> Result<BTreeSet<Resource>, StoreError> {
    let mut registries = BTreeSet::new();
    for flavor in Flavor::ALL {
        registries.extend(store.listing(flavor)?.unwrap_or_default().iter().map(Resource::from));
    }
    Ok(registries)
}

/// What was found damaged at any time and is not here now.
fn damaged(store: &Store) -> Result<Vec<Damaged>, StoreError> {
    let asked = published(store)?;
    let gone = store.quarantined()?.into_iter().filter(|resource| asked(resource) && !store.has(resource));
    Ok(gone.map(|resource| Damaged { resource }).collect())
}

/// The bundles that arrived, by origin and destination: what is counted together.
fn received(store: &Store) -> Result<Vec<Received>, StoreError> {
    let mut counted: BTreeMap<(Uuid, String), Vec<ReceivedBundle>> = BTreeMap::new();
    for bundle in store.received_bundles()? {
        counted.entry((bundle.origin, bundle.destination.clone())).or_default().push(bundle);
    }
    let received = counted.into_iter().filter_map(|((origin, destination), bundles)| {
        let last = bundles.iter().map(|bundle| bundle.sequence).max()?;
        let gaps = gaps(&bundles, last, &BTreeSet::new()).into_iter().rev().take(MOST_GAPS).collect();
        Some(Received { origin, destination, last, gaps })
    });
    Ok(received.collect())
}

/// Writes a request, so that a file of this name is always a whole one.
pub fn write(request: &Request, to: &Path) -> io::Result<()> {
    // Somebody else may have to carry it.
    Outside::stage(to, &request.to_json(), 0o666)?.publish(true)
}
