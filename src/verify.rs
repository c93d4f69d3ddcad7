//! Hashing the whole cache again: what is damaged is taken out of sight and reported.

use crate::mirror::{Damage, verify_file};
use crate::protocol::{Kind, Resource};
use crate::store::{Lookup, Stamp, Store, StoreError};
use crate::tree::Limits;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Files that were hashed.
    pub checked: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are not what their name says; they are in quarantine now.
    pub damaged: Vec<Damaged>,
    /// Files that could not be read; they are where they were.
    pub unreadable: Vec<Unreadable>,
}

/// A damaged file.
#[derive(Debug, Serialize)]
pub struct Damaged {
    /// Its name.
    pub resource: Resource,
    /// What is wrong with it.
    pub problem: String,
    /// Where it is now; `None` if it could not be moved.
    pub quarantine: Option<PathBuf>,
}

/// A file that could not be read.
#[derive(Debug, Serialize)]
pub struct Unreadable {
    /// Its name.
    pub resource: Resource,
    /// What the system said.
    pub problem: String,
}

impl Report {
    /// Whether every file is what its name says.
    pub fn is_clean(&self) -> bool {
        self.damaged.is_empty() && self.unreadable.is_empty()
    }
}

/// Hashes everything with `jobs` threads. `progress` is told of each file and its bytes.
pub fn verify(
    store: &Arc<Store>,
    limits: &Limits,
    jobs: usize,
    progress: &(impl Fn(&Resource, u64) + Sync),
) -> Result<Report, StoreError> {
    check_all(store, limits, jobs, Kind::ALL.into_iter().flat_map(|kind| store.resources(kind)), progress)
}

/// Hashes what nobody has verified as it is now, in the same way.
pub fn verify_new(
    store: &Arc<Store>,
    limits: &Limits,
    jobs: usize,
    progress: &(impl Fn(&Resource, u64) + Sync),
) -> Result<Report, StoreError> {
    check_all(store, limits, jobs, unverified(store)?.into_iter().map(Ok), progress)
}

/// The files that nobody has verified as they are now.
pub fn unverified(store: &Store) -> Result<Vec<Resource>, StoreError> {
    let mut unverified = Vec::new();
    for resource in Kind::ALL.into_iter().flat_map(|kind| store.resources(kind)) {
        let resource = resource?;
        // What cannot even be looked at is said when it is read.
        if !store.fact(&resource).is_ok_and(|fact| fact.is_some()) {
            unverified.push(resource);
        }
    }
    Ok(unverified)
}

fn check_all(
    store: &Arc<Store>,
    limits: &Limits,
    jobs: usize,
    resources: impl Iterator<Item = Result<Resource, StoreError>> + Send,
    progress: &(impl Fn(&Resource, u64) + Sync),
) -> Result<Report, StoreError> {
    let resources = Mutex::new(resources);
    let report = Mutex::new(Report::default());
    let work = || {
        loop {
            let next = resources.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(resource) = next.transpose()? else { return Ok::<_, StoreError>(()) };
            check(store, limits, resource, &report, progress);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        let panicked = || StoreError::Io(std::io::Error::other("a verifying thread ended early"));
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| panicked())?)
    })?;
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.damaged.sort_by_key(|damaged| damaged.resource);
    report.unreadable.sort_by_key(|unreadable| unreadable.resource);
    Ok(report)
}

fn check(
    store: &Store,
    limits: &Limits,
    resource: Resource,
    report: &Mutex<Report>,
    progress: &impl Fn(&Resource, u64),
) {
    let found = check_one(store, limits, resource);
    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
    match found {
        Ok(None) => {}
        Ok(Some((stamp, problem))) => {
            report.checked += 1;
            report.bytes += stamp.size;
            report.damaged.extend(problem.and_then(|problem| set_aside(store, resource, stamp, problem)));
            progress(&resource, stamp.size);
        }
        Err(problem) => report.unreadable.push(Unreadable { resource, problem }),
    }
}

/// Takes a damaged file out of sight; `None` if it has been replaced or removed meanwhile.
fn set_aside(store: &Store, resource: Resource, wrong: Stamp, problem: String) -> Option<Damaged> {
    match store.quarantine(&resource, wrong) {
        Ok(None) => None,
        Ok(quarantine) => Some(Damaged { resource, problem, quarantine }),
        Err(_) => Some(Damaged { resource, problem, quarantine: None }),
    }
}

/// What a file looked like and what is wrong with it; `None` if it has gone meanwhile.
fn check_one(store: &Store, limits: &Limits, resource: Resource) -> Result<Option<(Stamp, Option<String>)>, String> {
    let (open, known) = match store.look_up(&resource).map_err(|error| error.to_string())? {
        Lookup::Absent => return Ok(None),
        Lookup::Verified(open, _) => (open, true),
        Lookup::Unverified(open) => (open, false),
    };
    let stamp = open.stamp;
    match verify_file(&resource, &Arc::new(open.file), stamp, limits) {
        Ok(fact) => {
            if !known {
                store.remember(fact);
            }
            Ok(Some((stamp, None)))
        }
        Err(Damage::Wrong(problem)) => Ok(Some((stamp, Some(problem)))),
        Err(Damage::Unreadable(error)) => Err(error.to_string()),
    }
}
