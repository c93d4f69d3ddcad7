//! Hashing the whole cache again, and looking into its git bundles: what is damaged is taken out of
//! sight and reported.

use crate::git::{BundleError, trees_in};
use crate::mirror::{Examined, examine, whole};
use crate::protocol::{Kind, RepositoryFile, Resource};
use crate::store::{Stamp, Store, StoreError};
use crate::tree::Limits;
use serde::Serialize;
use std::collections::BTreeSet;
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
    /// Git bundles of repositories that git cannot use, or that could not be looked into.
    pub repositories: Vec<BadRepository>,
}

/// A damaged file.
#[derive(Debug, Serialize)]
pub struct Damaged {
    /// Its name.
    pub resource: Resource,
    /// What is wrong with it.
    pub problem: String,
    /// Where it is now; `None` if it was to stay, or could not be moved.
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

/// A git bundle that is no good.
#[derive(Debug, Serialize)]
pub struct BadRepository {
    /// Its name.
    pub file: RepositoryFile,
    /// Whether it is damaged; else it could not be looked into, for which a full disk is enough.
    pub damaged: bool,
    /// What is wrong with it, or what the system said.
    pub problem: String,
    /// Where it is now; `None` if it is where it was.
    pub quarantine: Option<PathBuf>,
}

impl Report {
    /// Whether every file is what its name says.
    pub fn is_clean(&self) -> bool {
        self.damaged.is_empty() && self.unreadable.is_empty() && self.repositories.is_empty()
    }
}

/// What is verified, and how.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Paths below the cache directory, of resources or of folders of them; empty for everything.
    pub parts: Vec<String>,
    /// Whether what is damaged goes to the quarantine.
    pub moves: bool,
}

impl Scope {
    /// Whether a resource is of it.
    pub fn has(&self, resource: &Resource) -> bool {
        self.has_path(&resource.relative_path())
    }

    fn has_path(&self, path: &str) -> bool {
        let is_below =
            |part: &String| path.strip_prefix(part.as_str()).is_some_and(|it| it.is_empty() || it.starts_with('/'));
        self.parts.is_empty() || self.parts.iter().any(is_below)
    }
}

/// Hashes everything with `jobs` threads. `progress` is told of each file and its bytes.
pub fn verify(
    store: &Arc<Store>,
    limits: &Limits,
    jobs: usize,
    progress: &(impl Fn(&Resource, u64) + Sync),
) -> Result<Report, StoreError> {
    verify_scope(store, limits, jobs, &Scope { parts: Vec::new(), moves: true }, progress)
}

/// Hashes what is in scope, in the same way.
pub fn verify_scope(
    store: &Arc<Store>,
    limits: &Limits,
    jobs: usize,
    scope: &Scope,
    progress: &(impl Fn(&Resource, u64) + Sync),
) -> Result<Report, StoreError> {
    let all = all(store).filter(|it| !matches!(it, Ok(resource) if !scope.has(resource)));
    let mut report = check_all(store, limits, (jobs, scope.moves), all, progress)?;
    for (file, stamp) in store.repositories()? {
        if scope.has_path(file.relative_path()) {
            check_repository(store, file, stamp, scope.moves, &mut report)?;
        }
    }
    Ok(report)
}

/// Checks every object of a git bundle. No tree says what must be in it: that is for `check`.
fn check_repository(
    store: &Store,
    file: RepositoryFile,
    stamp: Stamp,
    moves: bool,
    report: &mut Report,
) -> Result<(), StoreError> {
    let scratch = store.scratch()?;
    let (problem, damaged) = match trees_in(&store.repository_path(&file), scratch.path(), &BTreeSet::new()) {
        Ok(_) => (None, false),
        Err(BundleError::Unusable(why)) => (Some(why), true),
        Err(BundleError::Io(error)) => (Some(error.to_string()), false),
    };
    if problem.is_none() || damaged {
        report.checked += 1;
        report.bytes += stamp.size;
    }
    if let Some(problem) = problem {
        let quarantine = if damaged && moves { store.quarantine_repository(&file, stamp)? } else { None };
        report.repositories.push(BadRepository { file, damaged, problem, quarantine });
    }
    Ok(())
}

/// Everything that a pass looks at: what is here, and the registries that were derived from it.
pub fn all(store: &Store) -> impl Iterator<Item = Result<Resource, StoreError>> + Send + use<> {
    let kinds: Vec<_> = Kind::ALL.into_iter().map(|kind| store.resources(kind)).collect();
    kinds.into_iter().flatten().chain(store.derived_here())
}

/// Hashes what nobody has verified as it is now, in the same way.
pub fn verify_new(
    store: &Arc<Store>,
    limits: &Limits,
    jobs: usize,
    progress: &(impl Fn(&Resource, u64) + Sync),
) -> Result<Report, StoreError> {
    check_all(store, limits, (jobs, true), unverified(store)?.into_iter().map(Ok), progress)
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
    (jobs, moves): (usize, bool),
    resources: impl Iterator<Item = Result<Resource, StoreError>> + Send,
    progress: &(impl Fn(&Resource, u64) + Sync),
) -> Result<Report, StoreError> {
    let resources = Mutex::new(resources);
    let report = Mutex::new(Report::default());
    let work = || {
        loop {
            let next = resources.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(resource) = next.transpose()? else { return Ok::<_, StoreError>(()) };
            let examined = examine(store, limits, &resource, moves, whole);
            note(resource, examined, &report, progress);
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

fn note(resource: Resource, examined: Examined, report: &Mutex<Report>, progress: &impl Fn(&Resource, u64)) {
    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
    let bytes = match examined {
        // It has gone meanwhile.
        Examined::Gone => return,
        Examined::Unreadable { why: problem } | Examined::Unsure { why: problem } => {
            return report.unreadable.push(Unreadable { resource, problem });
        }
        Examined::Whole { bytes } => bytes,
        Examined::Damaged { bytes, why: problem, quarantine } => {
            report.damaged.push(Damaged { resource, problem, quarantine });
            bytes
        }
    };
    report.checked += 1;
    report.bytes += bytes;
    progress(&resource, bytes);
}
