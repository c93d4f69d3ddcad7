//! What is in a cache: one walk over names and sizes; no tarball is opened.

use crate::protocol::{Flavor, GENERAL, Kind, RegistryTree, Resource, TreeHash, Uuid};
use crate::store::{Activity, Generation, Room, Store, StoreError};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;

/// What is in a cache. Every key is always there, `null` where nothing is known.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The cache directory.
    pub cache: PathBuf,
    /// Which cache it is.
    pub site: Uuid,
    /// The version of its layout.
    pub layout: &'static str,
    /// Processes that have it open now.
    pub used_by: Vec<u32>,
    /// What is here, by kind.
    pub kinds: Vec<KindStatus>,
    /// Of all resources.
    pub totals: Totals,
    /// Git bundles of repositories.
    pub repositories: Totals,
    /// The disk that it is on.
    pub disk: Disk,
    /// The registries that are published, by uuid and tree.
    pub registries: Vec<RegistryStatus>,
    /// Registries that are here and not published: earlier generations.
    pub generations: Totals,
    /// Whose artifacts prewarm was asked for, as triplets or `all`; empty if for nobody's yet.
    pub platforms: Vec<String>,
    /// Resources that clients asked for and that are not here.
    pub misses: usize,
    /// What people asked for by name; some of it may be here by now.
    pub wishes: usize,
    /// What failed verification at rest.
    pub quarantine: Totals,
    /// The last of each kind of things that were done here, newest first.
    pub activities: Vec<Activity>,
}

/// Files of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KindStatus {
    /// Which.
    pub kind: Kind,
    /// How many, and their bytes.
    #[serde(flatten)]
    pub totals: Totals,
    /// How many of them nobody has verified yet.
    pub unverified: usize,
}

/// Files and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// How many.
    pub files: usize,
    /// All together.
    pub bytes: u64,
}

/// A disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// What this user may still write.
    pub free: u64,
    /// Its size.
    pub size: u64,
}

/// A registry that is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegistryStatus {
    /// Its uuid.
    pub uuid: Uuid,
    /// Its name, where that is known without opening it.
    pub name: Option<&'static str>,
    /// Its tree.
    pub tree: TreeHash,
    /// In which listings.
    pub flavors: Vec<Flavor>,
    /// When it was published here; for one that came by other means, the time of its file.
    pub since: jiff::Timestamp,
    /// Whether it stays at this tree.
    pub pinned: bool,
    /// Its size.
    pub bytes: u64,
}

impl Totals {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Looks a cache over. Blocks.
pub fn status(store: &Store) -> Result<Status, StoreError> {
    let registries = published(store)?;
    let is_published = |resource: &Resource| {
        registries.iter().any(|it| (Some(it.uuid), it.tree) == (resource.uuid(), resource.tree()))
    };
    let (mut kinds, mut totals, mut generations) = (Vec::new(), Totals::default(), Totals::default());
    for kind in Kind::ALL {
        let mut found = KindStatus { kind, totals: Totals::default(), unverified: 0 };
        for resource in store.resources(kind) {
            let resource = resource?;
            let Some(stamp) = store.stamp(&resource)? else { continue };
            found.totals.add(stamp.size);
            totals.add(stamp.size);
            found.unverified += usize::from(!store.is_verified(&resource, stamp)?);
            if kind == Kind::Registry && !is_published(&resource) {
                generations.add(stamp.size);
            }
        }
        kinds.push(found);
    }
    let mut quarantine = Totals::default();
    let mut repositories = Totals::default();
    store.repositories()?.values().for_each(|stamp| repositories.add(stamp.size));
    store.quarantine_files()?.iter().for_each(|(_, bytes)| quarantine.add(*bytes));
    Ok(Status {
        cache: store.root().to_owned(),
        site: store.site()?,
        layout: crate::store::FORMAT,
        used_by: store.other_users()?,
        kinds,
        totals,
        repositories,
        disk: disk(store)?,
        registries,
        generations,
        platforms: store.served_platforms()?,
        wishes: store.wishes()?.len(),
        misses: store.misses().read()?.iter().filter(|miss| !store.serves(&miss.resource)).count(),
        quarantine,
        activities: last_of_each(store.activities()?),
    })
}

fn published(store: &Store) -> Result<Vec<RegistryStatus>, StoreError> {
    let mut flavors: BTreeMap<RegistryTree, Vec<Flavor>> = BTreeMap::new();
    for flavor in Flavor::ALL {
        for registry in store.listing(flavor)?.unwrap_or_default().iter() {
            flavors.entry(registry).or_default().push(flavor);
        }
    }
    let (log, pins) = (store.generations()?, store.pins()?);
    let mut registries = Vec::new();
    for (registry, flavors) in flavors {
        let Some(stamp) = store.stamp(&registry.into())? else { continue };
        let RegistryTree { uuid, tree } = registry;
        registries.push(RegistryStatus {
            uuid,
            name: (uuid == GENERAL).then_some("General"),
            tree,
            flavors,
            since: since(&log, registry, stamp.mtime)?,
            pinned: pins.tree(uuid) == Some(tree),
            bytes: stamp.size,
        });
    }
    Ok(registries)
}

fn since(log: &[Generation], registry: RegistryTree, mtime: i64) -> Result<jiff::Timestamp, StoreError> {
    let entry = log.iter().rfind(|entry| (entry.uuid, entry.tree) == (registry.uuid, registry.tree));
    let of_file = || jiff::Timestamp::from_nanosecond(mtime.into()).map_err(io::Error::other);
    Ok(entry.map_or_else(of_file, |entry| Ok(entry.time))?)
}

fn disk(store: &Store) -> Result<Disk, StoreError> {
    let Room { free, size, .. } = store.room()?;
    Ok(Disk { free, size })
}

fn last_of_each(activities: Vec<Activity>) -> Vec<Activity> {
    let mut last = HashMap::new();
    for activity in activities {
        last.insert(activity.what, activity);
    }
    let mut last: Vec<_> = last.into_values().collect();
    last.sort_by_key(|activity| std::cmp::Reverse(activity.time));
    last
}
