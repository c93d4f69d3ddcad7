//! Import: what is here is passed over, what a volume has is verified and comes in, the registries
//! last. Cut at any point, the next run goes on: the cache itself says what is here.

use super::gather::{Bundle, Place, Signature};
use super::listings::{Terms, publish};
use super::outcome::{ImportReport, Imported, ListedStatus, Problem, ProblemKind};
use super::signature::TrustedKey;
use super::{repositories, work};
use crate::exchange::{BundleIndex, Item, ItemName};
use crate::fault::point;
use crate::julia::Platforms;
use crate::store::{Action, ReceivedBundle, Room, Store, StoreError, gaps};
use crate::tree::Limits;
use std::collections::BTreeSet;

/// Room that is left beside the resources, in bytes: facts, logs, and what folders take.
const ROOM: u64 = 1 << 20;
/// Room for each file beside its bytes.
const ROOM_PER_FILE: u64 = 4096;

/// How to import.
#[derive(Clone, Debug)]
pub struct Import<'i> {
    /// Limits for tarballs.
    pub limits: &'i Limits,
    /// The keys that are trusted, to say so.
    pub trusted: &'i [TrustedKey],
    /// Only say what would be done.
    pub dry_run: bool,
    /// An older bundle may move registries back.
    pub allow_rollback: bool,
    /// Threads that verify.
    pub jobs: usize,
}

impl Import<'_> {
    /// Imports bundles in their order. `progress` is told of each resource and git bundle that is done with. An
    /// error means that the cache could not be used; all else is in the report.
    pub fn run(
        &self,
        store: &Store,
        bundles: &[Bundle],
        progress: &(impl Fn(Item<'_>) + Sync),
    ) -> Result<ImportReport, StoreError> {
        let room = store.room()?;
        let mut report = ImportReport {
            dry_run: self.dry_run,
            stopped: self.refusal(bundles),
            needed_bytes: needed(store, bundles, self.jobs)?,
            free_bytes: room.free,
            changed: false,
            bundles: bundles.iter().map(Imported::new).collect(),
        };
        if report.stopped.is_none() && report.needed_bytes > room.left() {
            report.stopped = Some(no_room(report.needed_bytes, room));
        }
        if report.stopped.is_some() {
            return Ok(report);
        }
        point("import.checked");
        for (bundle, imported) in bundles.iter().zip(&mut report.bundles) {
            if self.dry_run {
                look(store, bundle, imported)?;
                finish(imported, &bundle.index, store, &store.received_bundles()?)?;
                continue;
            }
            let stopped = self.import(store, bundle, imported, progress)?;
            report.changed |= imported.changed();
            if let Some(stopped) = stopped {
                report.stopped = Some(stopped);
                break;
            }
        }
        if report.changed {
            store.note(Action::Import, report.is_complete(), summary(&report));
        }
        Ok(report)
    }

    /// Why nothing is begun: a bundle that nobody here trusts.
    fn refusal(&self, bundles: &[Bundle]) -> Option<String> {
        let bundle = bundles.iter().find(|bundle| !bundle.signature.is_acceptable())?;
        let what = match bundle.signature {
            Signature::Unknown { key } => format!("is signed with key {key}, which is not trusted here"),
            Signature::Missing => "is not signed".to_owned(),
            _ => "has a signature that is not of its bundle.json: it was changed, or the signature was".to_owned(),
        };
        let keys: Vec<_> = self.trusted.iter().map(|key| key.id().to_string()).collect();
        let trusted = if keys.is_empty() { String::new() } else { format!("; trusted is {}", keys.join(", ")) };
        Some(format!("{} {what}{trusted}. Nothing was imported", name(&bundle.index)))
    }

    fn import(
        &self,
        store: &Store,
        bundle: &Bundle,
        imported: &mut Imported,
        progress: &(impl Fn(Item<'_>) + Sync),
    ) -> Result<Option<String>, StoreError> {
        let tally = work::run(bundle, Some(store), self.limits, self.jobs, progress);
        (imported.here, imported.imported) = (tally.here, tally.imported);
        (imported.imported_bytes, imported.problems) = (tally.imported_bytes, tally.problems);
        imported.kept = tally.kept;
        if let Some(error) = tally.stopped {
            return Ok(Some(stopped(&error)));
        }
        // Until it is written down that this one arrived, or an older one beside it would not see that.
        let _lock = store.lock_listings()?;
        let received = store.received_bundles()?;
        // Before the record: a run that follows one that was cut off there would find nothing left to do.
        if !received.iter().any(|it| it.id == bundle.index.id && it.complete) {
            let known = bundle.index.platforms.iter().filter(|platform| platform.parse::<Platforms>().is_ok());
            store.remember_platforms(&known.cloned().collect::<Vec<_>>())?;
        }
        let (all_here, allow_rollback) = (imported.is_all_here(), self.allow_rollback);
        let terms = Terms { all_here, allow_rollback, received: &received };
        imported.registries = publish(store, &bundle.index, &terms)?;
        point("import.listed");
        finish(imported, &bundle.index, store, &received)?;
        // While the registries that it was packed with are absent it holds back none of an earlier one.
        let lacks_registry = imported.registries.iter().any(|registry| registry.status == ListedStatus::Absent);
        imported.recorded = record(store, &bundle.index, all_here && !lacks_registry, &received)?;
        point("import.recorded");
        Ok(None)
    }
}

/// Bytes that a run with so many threads needs at most. A git bundle that is looked into takes its
/// size again, and that of the one that is here as much.
fn needed(store: &Store, bundles: &[Bundle], jobs: usize) -> Result<u64, StoreError> {
    let (mut seen, mut needed, mut looked_into) = (BTreeSet::new(), 0_u64, Vec::new());
    for (item, place) in bundles.iter().flat_map(Bundle::items) {
        let there = match item {
            Item::Resource(entry) if store.has(&entry.resource) => continue,
            Item::Resource(_) => None,
            Item::Repository(entry) => store.repository_stamp(&entry.file)?.map(|stamp| stamp.size),
        };
        // One of this size is most probably the same.
        if matches!(place, Place::At(..)) && there != Some(item.size()) && seen.insert(item.name()) {
            needed = needed.saturating_add(item.size()).saturating_add(ROOM_PER_FILE);
            if matches!(item, Item::Repository(_)) {
                looked_into.push(item.size().max(there.unwrap_or_default()));
            }
        }
    }
    looked_into.sort_unstable_by(|a, b| b.cmp(a));
    needed = looked_into.into_iter().take(jobs).fold(needed, u64::saturating_add);
    Ok(if needed == 0 { 0 } else { needed.saturating_add(ROOM) })
}

fn no_room(needed: u64, room: Room) -> String {
    let needed = bytesize::ByteSize(needed).display().iec();
    format!("the disk of the cache has {room}, and {needed} are needed. Nothing was imported")
}

fn stopped(error: &StoreError) -> String {
    let what = if error.is_full() { "the disk of the cache is full".to_owned() } else { error.to_string() };
    format!("{what}; what was imported so far stays, and running this import again goes on where it stopped")
}

/// What would be done. Of a git bundle that is not the one that is here, only a real run can say
/// whether it has anything new.
fn look(store: &Store, bundle: &Bundle, imported: &mut Imported) -> Result<(), StoreError> {
    for (item, place) in bundle.items() {
        let problem = |kind, why: &str| Problem::new(bundle, item, kind, why.to_owned());
        let is_here = match item {
            Item::Resource(entry) => store.has(&entry.resource),
            Item::Repository(entry) => repositories::is_same(store, entry)?,
        };
        match place {
            _ if is_here => imported.here += 1,
            Place::At(..) => {
                imported.imported += 1;
                imported.imported_bytes = imported.imported_bytes.saturating_add(item.size());
            }
            Place::Damaged => imported.problems.push(problem(ProblemKind::Damaged, work::NO_HEADER)),
            Place::Absent => imported.problems.push(problem(ProblemKind::Lacking, work::NO_VOLUME)),
        }
    }
    Ok(())
}

/// What is known when all of a bundle was looked at.
fn finish(
    imported: &mut Imported,
    index: &BundleIndex,
    store: &Store,
    received: &[ReceivedBundle],
) -> Result<(), StoreError> {
    let base = index.builds_on.resources.iter().filter(|resource| !store.has(resource));
    imported.base_missing = base.copied().map(ItemName::Resource).collect();
    for (file, trees) in &index.builds_on.repositories {
        if repositories::is_lacking(store, file, trees)? {
            imported.base_missing.push(ItemName::Repository(file.clone()));
        }
    }
    let is_sibling =
        |bundle: &&ReceivedBundle| (bundle.origin, &bundle.destination) == (index.origin, &index.destination);
    let siblings: Vec<_> = received.iter().filter(is_sibling).cloned().collect();
    imported.gaps = gaps(&siblings, index.sequence, &index.repeats);
    let listed = |status| !matches!(status, ListedStatus::HeldBack | ListedStatus::Absent);
    imported.complete = imported.is_all_here()
        && imported.kept.is_empty()
        && imported.base_missing.is_empty()
        && imported.gaps.is_empty()
        && imported.registries.iter().all(|registry| listed(registry.status));
    Ok(())
}

/// Writes down that a bundle arrived, unless that is known.
fn record(store: &Store, index: &BundleIndex, complete: bool, received: &[ReceivedBundle]) -> Result<bool, StoreError> {
    let last = received.iter().rfind(|bundle| bundle.id == index.id);
    // What was all here once arrived, whatever became of it since.
    if last.is_some_and(|last| last.complete || !complete) {
        return Ok(false);
    }
    let (time, repeats) = (jiff::Timestamp::now(), index.repeats.clone());
    let BundleIndex { id, origin, created, sequence, .. } = *index;
    let destination = index.destination.clone();
    let bundle = ReceivedBundle { time, id, origin, destination, created, sequence, repeats, complete };
    store.append_received_bundle(&bundle).map(|()| true)
}

/// What a bundle is called.
pub fn name(index: &BundleIndex) -> String {
    format!("bundle {} of {} for {}", index.sequence, index.origin, index.destination)
}

fn summary(report: &ImportReport) -> String {
    let one = |bundle: &Imported| {
        let missing = bundle.resources - bundle.here - bundle.imported;
        let (sequence, origin, imported) = (bundle.sequence, bundle.origin, bundle.imported);
        format!("bundle {sequence} of {origin}: {imported} imported, {missing} missing")
    };
    report.bundles.iter().map(one).collect::<Vec<_>>().join("; ")
}
