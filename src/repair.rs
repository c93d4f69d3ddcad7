//! Repair: what a verification found damaged, and what was set aside before and is not here again,
//! comes back: from the same content under another name, or from where it came first.
//!
//! The bytes of a file that came back may be others, for two servers gzip one tree differently; what
//! decides is its tree. What cannot be had is written to the misses, so that it goes out with the
//! next list.

use crate::mirror::{Healed, Mirror, Patience, Refusal, blocking};
use crate::protocol::{Kind, Resource};
use crate::store::{StepBack, StoreError};
use crate::verify::{Damaged, Report, Scope, Unreadable};
use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What came of all that was found.
#[derive(Debug, Serialize)]
pub struct RepairReport {
    /// What was found.
    #[serde(flatten)]
    pub found: Report,
    /// What came of it, by resource.
    pub repairs: Vec<Repair>,
    /// Registries that clients do not see as they are published.
    pub stepped_back: Vec<StepBack>,
    /// Whether there is no source to ask, by decision.
    pub offline: bool,
    /// Whether nothing was to be done.
    pub dry_run: bool,
    /// Whether every file is what its name says now, and nothing is lacking that was damaged.
    pub whole: bool,
}

/// What came of one resource.
#[derive(Debug, Serialize)]
pub struct Repair {
    /// Which.
    pub resource: Resource,
    /// What a registry here calls it.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What was wrong.
    pub problem: String,
    /// Where the file is now; `None` where it is as it was, or was set aside before.
    pub quarantine: Option<PathBuf>,
    /// In a word.
    pub status: RepairStatus,
    /// Where it came from.
    pub from: Option<String>,
    /// Its size now.
    pub bytes: Option<u64>,
    /// Why it did not come back.
    pub reason: Option<String>,
    /// Whether that is among the misses now.
    pub missed: bool,
}

/// What came of one resource, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RepairStatus {
    /// It is here again.
    Repaired,
    /// It is not.
    Failed,
    /// It would be fetched.
    Planned,
}

/// What is to be brought back.
struct Lost {
    problem: String,
    quarantine: Option<PathBuf>,
    is_unreadable: bool,
}

/// Brings back what is damaged, many at once; `progress` is told of each that is done with.
pub async fn repair(
    mirror: &Arc<Mirror>,
    found: Report,
    scope: &Scope,
    patience: Patience,
    jobs: usize,
    progress: &impl Fn(&Repair),
) -> Result<RepairReport, StoreError> {
    let lost = lost(mirror, &found, scope).await?;
    let dry_run = !scope.moves;
    let mut repairs = Vec::new();
    let mut lost = lost.into_iter().peekable();
    // Registries first, then packages: they say what the rest is called and where it comes from.
    for kind in Kind::ALL {
        mirror.load_names().await;
        let of_kind: Vec<_> = std::iter::from_fn(|| lost.next_if(|(it, _)| it.kind() == kind)).collect();
        let work = stream::iter(of_kind).map(|(resource, lost)| async move {
            if dry_run { planned(mirror, resource, lost) } else { bring(mirror, resource, lost, patience).await }
        });
        let mut work = std::pin::pin!(work.buffer_unordered(jobs.max(1)));
        while let Some(repair) = work.next().await {
            progress(&repair);
            repairs.push(repair);
        }
    }
    repairs.sort_by_key(|repair| repair.resource);
    let store = Arc::clone(mirror.store());
    let (repairs, stepped_back) = blocking(move || {
        for repair in repairs.iter_mut().filter(|repair| repair.status == RepairStatus::Failed) {
            // Another name of the same content came after it was asked for.
            if let Some(fact) = store.fact(&repair.resource)? {
                (repair.status, repair.reason, repair.missed) = (RepairStatus::Repaired, None, false);
                repair.bytes = Some(fact.stamp.size);
            }
        }
        Ok::<_, StoreError>((repairs, store.stepped_back()?))
    })
    .await??;
    // No source is asked for a git bundle: which repository and which trees, only a manifest says.
    let whole = repairs.iter().all(|repair| repair.status == RepairStatus::Repaired)
        && stepped_back.is_empty()
        && found.repositories.is_empty();
    Ok(RepairReport { found, repairs, stepped_back, offline: mirror.is_offline(), dry_run, whole })
}

async fn lost(mirror: &Arc<Mirror>, found: &Report, scope: &Scope) -> Result<BTreeMap<Resource, Lost>, StoreError> {
    let store = Arc::clone(mirror.store());
    let before = blocking(move || {
        let mut before = store.quarantined()?;
        before.retain(|resource| !store.serves(resource));
        Ok::<_, StoreError>(before)
    });
    let before = before.await??.into_iter().filter(|resource| scope.has(resource));
    let early = |resource| {
        let problem = "it was set aside before and is not here".to_owned();
        (resource, Lost { problem, quarantine: None, is_unreadable: false })
    };
    let mut lost: BTreeMap<_, _> = before.map(early).collect();
    for Damaged { resource, problem, quarantine } in &found.damaged {
        let (problem, quarantine) = (problem.clone(), quarantine.clone());
        lost.insert(*resource, Lost { problem, quarantine, is_unreadable: false });
    }
    for Unreadable { resource, problem } in &found.unreadable {
        lost.insert(*resource, Lost { problem: problem.clone(), quarantine: None, is_unreadable: true });
    }
    Ok(lost)
}

fn planned(mirror: &Mirror, resource: Resource, lost: Lost) -> Repair {
    Repair { status: RepairStatus::Planned, ..blank(mirror, resource, lost) }
}

fn blank(mirror: &Mirror, resource: Resource, lost: Lost) -> Repair {
    let (name, version) = mirror.name(&resource).map_or((None, None), |name| (Some(name.name), name.version));
    Repair {
        resource,
        name,
        version,
        problem: lost.problem,
        quarantine: lost.quarantine,
        status: RepairStatus::Failed,
        from: None,
        bytes: None,
        reason: None,
        missed: false,
    }
}

async fn bring(mirror: &Arc<Mirror>, resource: Resource, lost: Lost, patience: Patience) -> Repair {
    let is_unreadable = lost.is_unreadable;
    let mut repair = blank(mirror, resource, lost);
    if is_unreadable {
        // Read once more first: what kept it from being read may be over, and say nothing of the file.
        repair.quarantine = mirror.examine_and_set_aside(resource).await;
    }
    // As long as it is under its name it can neither be replaced nor be asked for outside.
    let store = Arc::clone(mirror.store());
    if repair.quarantine.is_none() && blocking(move || store.has(&resource)).await.unwrap_or(true) {
        let reason = "it could not be set aside, or can be read again: `airlock verify` says which";
        return Repair { reason: Some(reason.to_owned()), ..repair };
    }
    let healed = mirror.heal(&resource, patience).await;
    let store = Arc::clone(mirror.store());
    let fact = blocking(move || store.fact(&resource)).await;
    repair.bytes = fact.ok().and_then(Result::ok).flatten().map(|fact| fact.stamp.size);
    match healed {
        Ok(how) => {
            repair.status = RepairStatus::Repaired;
            repair.from = match how {
                Healed::Here => None,
                Healed::Twin(twin) => Some(twin.to_string()),
                Healed::Derived => Some("derived again".to_owned()),
                Healed::Fetched(brought) => brought.from.map(|from| from.to_string()),
            };
        }
        Err(refusal) => {
            repair.missed = refusal.reason().is_some();
            repair.reason = Some(match refusal {
                Refusal::Offline => "offline: there is no upstream to ask".to_owned(),
                refusal => refusal.to_string(),
            });
        }
    }
    repair
}
