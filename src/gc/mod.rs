//! Gc: remove what no root needs.
//!
//! Roots (`roots.rs`) are inputs with their closures for every platform, the registries that are
//! listed or pinned, and their last generations. What else is here goes. It must never take what a
//! root may need, so what is in doubt stays, or stops the whole: an input that cannot be read may
//! name anything.
//!
//! Only files under the names of resources and of the git bundles of repositories are touched, never listings, nor what other tools put
//! beside them. A cache that a plain web server shows to clients must not be cleaned while they
//! install: nobody here can see them.

mod report;
mod roots;

pub use report::{RemovedRepository, RemovedResource, Report, Totals};

use crate::closure::{listed_registries, read_inputs};
use crate::fault;
use crate::protocol::{Kind, RepositoryFile, Resource};
use crate::store::{Stamp, Store, StoreError};
use crate::tree::Limits;
use roots::Roots;
use std::path::PathBuf;

/// What to keep.
#[derive(Clone, Debug)]
pub struct Request {
    /// Files and folders whose closures are kept. None: packages and artifacts all stay.
    pub paths: Vec<PathBuf>,
    /// So many generations of each registry stay, the listed and pinned ones beside.
    pub keep_generations: usize,
    /// What is in quarantine goes too.
    pub quarantine: bool,
    /// Packages from folders and git repositories have no artifacts of their own. Otherwise every
    /// artifact might be theirs.
    pub no_local_artifacts: bool,
    /// Files that are verified side by side.
    pub jobs: usize,
}

/// What would go, as it was seen.
#[derive(Debug)]
pub struct Plan {
    resources: Vec<(Resource, Stamp)>,
    repositories: Vec<(RepositoryFile, Stamp)>,
    quarantined: Vec<(PathBuf, u64)>,
    report: Report,
}

impl Plan {
    /// What it would come to.
    pub const fn report(&self) -> &Report {
        &self.report
    }
}

/// Finds what no root needs. Packages of the roots that nobody verified yet are verified now, for
/// they name artifacts; `progress` is told of each. Blocks.
pub fn plan(
    store: &Store,
    limits: &Limits,
    request: &Request,
    progress: &(impl Fn(&Resource) + Sync),
) -> Result<Plan, StoreError> {
    let inputs = read_inputs(&request.paths);
    let listed = listed_registries(store, limits)?;
    let roots = Roots::find(store, limits, request, &inputs, &listed, progress)?;
    let mut report = Report::new(&inputs, &roots);
    let (mut resources, mut repositories, mut quarantined) = (Vec::new(), Vec::new(), Vec::new());
    if report.refused.is_empty() {
        for resource in Kind::ALL.into_iter().flat_map(|kind| store.resources(kind)) {
            let resource = resource?;
            // What is no file, or has gone meanwhile, is nothing to remove.
            let Some(stamp) = store.stamp(&resource)? else { continue };
            if roots.keep(&resource) {
                report.keep(stamp.size);
            } else {
                resources.push((resource, stamp));
            }
        }
        for (file, stamp) in store.repositories()? {
            if roots.keep_repository(&file) {
                report.keep(stamp.size);
            } else {
                repositories.push((file, stamp));
            }
        }
        if request.quarantine {
            quarantined = store.quarantine_files()?;
        }
        report.add_resources(store, &resources, &listed)?;
        report.add_repositories(&repositories);
        report.add_quarantined(&quarantined);
    }
    fault::point("gc.planned");
    Ok(Plan { resources, repositories, quarantined, report })
}

/// Removes what was planned. The store must have been opened alone, before the plan was made.
pub fn remove(store: &Store, plan: Plan) -> Result<Report, StoreError> {
    let Plan { resources, repositories, quarantined, mut report } = plan;
    let mut removal = store.removal();
    for (resource, seen) in &resources {
        removal.resource(resource, *seen)?;
        fault::point("gc.removed");
    }
    for (file, seen) in &repositories {
        removal.repository(file, *seen)?;
        fault::point("gc.removed");
    }
    quarantined.iter().try_for_each(|(path, _)| removal.file(path))?;
    fault::point("gc.emptied");
    removal.finish()?;
    fault::point("gc.done");
    report.removed = true;
    Ok(report)
}
