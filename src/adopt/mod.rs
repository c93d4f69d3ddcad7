//! Depots into resources: what has been carried by hand for years is hashed, packed again and
//! published. What is not what its name says is reported, not taken.
//!
//! `depot.rs` says what there is, `registry.rs`, `package.rs` and `artifact.rs` judge it, each by the
//! tree that `folder.rs` reads; `seal.rs` is the gate; `work.rs` does it side by side; `listing.rs`
//! comes last. A depot is only ever read. Killed at any point, the next run goes on: the cache
//! itself says what is here.

mod artifact;
mod depot;
mod folder;
mod hints;
mod listing;
mod package;
mod registry;
mod report;
mod seal;
mod work;

pub use report::{Item, Listed, ListedStatus, Report, Status, Totals};

use crate::fault::point;
use crate::mirror::{is_here, load_registry};
use crate::policy::Policy;
use crate::protocol::{Flavor, Kind, RegistryTree};
use crate::store::{Action, Store, StoreError};
use crate::tree::Limits;
use depot::{Task, What};
use folder::Fault;
use fs_err as fs;
use hints::Hints;
use registry::FoundRegistry;
use seal::{Context, Sealed};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use work::{Tally, Work, lock};

/// An adoption to be made.
#[derive(Clone, Debug)]
pub struct Adoption<'a> {
    /// The depots.
    pub depots: &'a [PathBuf],
    /// What of them is taken.
    pub only: &'a [Kind],
    /// Limits for tarballs.
    pub limits: &'a Limits,
    /// What may be fetched may be adopted.
    pub policy: &'a Policy,
    /// Only say what would be done: everything is hashed, nothing is written.
    pub dry_run: bool,
    /// Threads that hash and pack.
    pub jobs: usize,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Event<'e> {
    /// So much was found.
    Found(usize),
    /// One is done with; so many bytes of tarballs came of it.
    Done {
        /// Where it is.
        path: &'e Path,
        /// Bytes.
        bytes: u64,
    },
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The cache directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A folder that was named cannot be read; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It has nothing of a depot.
    #[error("{} is no depot: there is no folder registries, packages or artifacts in it", .0.display())]
    NoDepot(PathBuf),
}

impl Adoption<'_> {
    /// Adopts the depots. `progress` is told of each thing that is done with. An error means that
    /// nothing could be done; all else is in the report.
    pub fn run(&self, store: &Store, progress: &(impl Fn(Event<'_>) + Sync)) -> Result<Report, AdoptError> {
        let depots = self.depots.iter().map(|depot| open(depot)).collect::<Result<Vec<_>, _>>()?;
        let tasks: Vec<_> = depots.iter().enumerate().flat_map(|(at, depot)| depot::tasks(depot, at)).collect();
        let (registries, others): (Vec<_>, Vec<_>) = tasks.iter().partition(|task| task.kind == Kind::Registry);
        let others: Vec<_> = others.into_iter().filter(|task| self.only.contains(&task.kind)).collect();
        let takes_registries = self.only.contains(&Kind::Registry);
        progress(Event::Found(others.len() + if takes_registries { registries.len() } else { 0 }));

        let work = Work::new(store, self.jobs, self.dry_run, progress);
        let found = self.registries(store, &registries, &work);
        let hints = self.hints(store, &depots, &found)?;
        let context = Context { store, limits: self.limits, policy: self.policy, hints: &hints, dry_run: self.dry_run };
        work.run(&others, |task| judge(&context, task));
        let mut report = self.report(work.into_tally(), &depots);
        point("adopt.published");
        if report.stopped.is_none() && takes_registries {
            report.registries = listing::list(store, &offers(&found, &depots), self.dry_run)?;
            point("adopt.listed");
        }
        if !self.dry_run {
            store.note(Action::Adopt, report.is_complete(), report.summary(depots.len()));
        }
        Ok(report)
    }

    /// Takes the registries, if they are wanted, and reads what they know of packages.
    fn registries<P: Fn(Event<'_>) + Sync>(
        &self,
        store: &Store,
        tasks: &[&Task],
        work: &Work<'_, P>,
    ) -> Vec<FoundRegistry> {
        let found = Mutex::default();
        if self.only.contains(&Kind::Registry) {
            work.run(tasks, |task| self.judge_registry(store, task, &found));
        } else if self.only.contains(&Kind::Package) {
            let look = Self { dry_run: true, ..self.clone() };
            for task in tasks {
                // What cannot be read names nothing.
                let _ = look.judge_registry(store, task, &found);
            }
        }
        let mut found: Vec<FoundRegistry> = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by(|a, b| a.order.cmp(&b.order));
        found
    }

    fn report(&self, tally: Tally, depots: &[PathBuf]) -> Report {
        let Tally { mut items, artifact_names, stopped, .. } = tally;
        for item in items.iter_mut().filter(|item| item.kind == Kind::Artifact) {
            item.name = item.tree.and_then(|tree| artifact_names.get(&tree).cloned());
        }
        let mut report = Report {
            dry_run: self.dry_run,
            stopped: stopped.as_ref().map(say_stopped),
            items,
            registries: Vec::new(),
            notes: depots.iter().flat_map(|depot| depot::notes(depot, self.only)).collect(),
            totals: Totals::default(),
        };
        report.add_up();
        report
    }

    fn judge_registry(&self, store: &Store, task: &Task, all: &Mutex<Vec<FoundRegistry>>) -> Result<Sealed, Fault> {
        if let What::Unnamed(why) = &task.what {
            return Err(Fault::refused(why));
        }
        let mut found = None;
        let hints = Hints::default();
        let context = Context { store, limits: self.limits, policy: self.policy, hints: &hints, dry_run: self.dry_run };
        let judged = registry::judge(&context, task, &mut found);
        lock(all).extend(found);
        judged
    }

    /// What is known of packages, by the depots and by the registries that are listed here.
    fn hints<'f>(
        &self,
        store: &Store,
        depots: &[PathBuf],
        found: &'f [FoundRegistry],
    ) -> Result<Hints<'f>, StoreError> {
        if !self.only.contains(&Kind::Package) {
            return Ok(Hints::default());
        }
        let known: BTreeSet<_> = found.iter().filter_map(|found| found.registry).map(|it| (it.uuid, it.tree)).collect();
        let mut listed = BTreeSet::new();
        for flavor in Flavor::ALL {
            listed.extend(store.listing(flavor)?.unwrap_or_default().iter().map(|it| (it.uuid, it.tree)));
        }
        let mut indexes: Vec<_> = found.iter().map(|found| Cow::Borrowed(&found.index)).collect();
        for &(uuid, tree) in listed.difference(&known) {
            let resource = RegistryTree { uuid, tree }.into();
            if !self.dry_run && !is_here(store, self.limits, &resource)? {
                continue;
            }
            match load_registry(store, &resource, self.limits) {
                Ok(index) => indexes.push(Cow::Owned(index)),
                Err(error) => tracing::warn!(registry = %uuid, "cannot be read: {error}"),
            }
        }
        let manifests: Vec<_> = depots.iter().flat_map(|depot| depot::manifests(depot)).collect();
        Ok(Hints::new(indexes, &manifests))
    }
}

/// What may be listed, the first depot's first.
fn offers<'f>(found: &'f [FoundRegistry], depots: &'f [PathBuf]) -> Vec<listing::Offer<'f>> {
    let offer = |found: &'f FoundRegistry| {
        let (registry, depot) = (found.registry?, depots.get(found.order.0)?);
        Some(listing::Offer { registry, name: found.index.registry_name(), depot })
    };
    found.iter().filter_map(offer).collect()
}

fn judge(context: &Context<'_>, task: &Task) -> Result<Sealed, Fault> {
    match &task.what {
        What::Package { name, slug } => package::judge(context, &task.path, name, slug),
        What::Artifact(tree) => artifact::judge(context, &task.path, *tree),
        What::Unnamed(why) => Err(Fault::refused(why)),
        What::PackedRegistry | What::RegistryFolder => Err(Fault::refused("it is a registry")),
    }
}

/// A depot by its one name: the log of generations is read years later.
fn open(depot: &Path) -> Result<PathBuf, AdoptError> {
    if !depot.exists() {
        return Err(AdoptError::NoDepot(depot.to_owned()));
    }
    let path = fs::canonicalize(depot)?;
    if depot::is_depot(&path) { Ok(path) } else { Err(AdoptError::NoDepot(depot.to_owned())) }
}

fn say_stopped(error: &StoreError) -> String {
    let what = if error.is_full() { "the disk of the cache is full".to_owned() } else { error.to_string() };
    format!("{what}; what was adopted so far stays, and running this again goes on where it stopped")
}
