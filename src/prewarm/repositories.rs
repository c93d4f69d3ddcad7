//! The git repositories of a run: each becomes a git bundle in the cache, made in a folder for files
//! in progress, verified there, and only then put in place of an earlier one.

use super::{Event, Outcome, Progress, RepositoryReport, Request};
use crate::closure::{Plan, RepositoryState, WantedRepository, one_line, remember_repository, verify_repository};
use crate::git::{BareClone, Clones, GitError, Refs, Trust, references};
use crate::mirror::{Mirror, Refusal, blocking};
use crate::policy::Verdict;
use crate::protocol::{Resource, TreeHash};
use crate::store::{Store, StoreError};
use futures_util::stream::{self, StreamExt as _};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// Repositories at one time: each runs a `git`, and most of them come from few hosts.
const AT_ONE_TIME: usize = 4;

/// What came of one, as it is known on the blocking thread.
type Made = (RepositoryState, Outcome);

/// Mirrors the repositories of a plan if the request says so; otherwise says which are here. What
/// was not come to when the run is stopped has no report.
pub(super) async fn mirror(
    mirror: &Arc<Mirror>,
    plan: &Plan,
    request: &Request,
    progress: &dyn Progress,
) -> Vec<RepositoryReport> {
    let clones = Clones::new(mirror.store().root().join(crate::git::FOLDER), mirror.git_bounds().clone());
    let mut reports = Vec::new();
    let all = stream::iter(plan.repositories.values().cloned()).map(|wanted| {
        progress.event(&Event::Repository { url: &wanted.url });
        let denied = denied(mirror, plan, &wanted.url);
        let clone = if denied.is_some() {
            None
        } else if request.git && !request.dry_run {
            Some(clones.open(wanted.address.expose(), Trust::Named))
        } else {
            None
        };
        let store = Arc::clone(mirror.store());
        async move {
            let (for_work, git) = (wanted.clone(), request.git);
            let made = blocking(move || make(&store, &for_work, clone, git)).await;
            let (state, outcome) = made.and_then(|made| made.map_err(io::Error::other)).unwrap_or_else(|error| {
                (
                    RepositoryState { missing: wanted.trees.clone(), ..RepositoryState::default() },
                    Outcome::failed(&error.to_string()),
                )
            });
            // What is here already stays, and counts.
            let outcome = denied.filter(|_| !state.is_complete()).map_or(outcome, Outcome::from);
            RepositoryReport::new(&wanted, state, outcome)
        }
    });
    let mut all = all.buffer_unordered(AT_ONE_TIME);
    // Without --git nobody asked for what is not here.
    while let Some(Some(report)) = request.cancel.run_until_cancelled(all.next()).await {
        progress.event(&Event::RepositoryDone { url: &report.url, outcome: &report.outcome() });
        reports.extend((request.git || report.is_here()).then_some(report));
    }
    drop(all);
    // Ends what still runs for it.
    drop(clones);
    reports.sort_by(|a, b| a.url.cmp(&b.url));
    reports
}

/// What denies a repository: a package of it that must not be fetched.
fn denied(mirror: &Mirror, plan: &Plan, url: &str) -> Option<Refusal> {
    let packages = plan.unmirrorable.iter().filter(|it| it.repo_url.as_deref() == Some(url));
    packages.into_iter().find_map(|it| {
        let package = Resource::Package { uuid: it.uuid, tree: it.tree.unwrap_or(TreeHash::EMPTY) };
        match mirror.standing(&mirror.subject(&package)).fetch {
            Verdict::Allowed => None,
            Verdict::Denied(why) => Some(Refusal::Denied(format!("{}: {why}", it.name))),
        }
    })
}

fn make(
    store: &Store,
    wanted: &WantedRepository,
    clone: Option<Result<BareClone, GitError>>,
    git: bool,
) -> Result<Made, StoreError> {
    let state = wanted.look_up(store)?;
    let here = Outcome::here(state.bytes.unwrap_or_default(), true);
    let outcome = match clone {
        _ if state.file.is_none() => Outcome::failed("its address is too long to be the name of a file"),
        None if state.is_complete() => here,
        // An unusable file is no reason to call it planned where nothing is planned.
        None => match state.damage.as_deref().filter(|_| !git) {
            Some(damage) => Outcome::failed(damage),
            None => Outcome::planned(),
        },
        Some(Err(error)) => Outcome::failed(&error.to_string()),
        Some(Ok(clone)) => return refresh(store, wanted, &clone, state),
    };
    Ok((state, outcome))
}

/// Makes the file if a wanted tree or a branch or tag as it is now is not in it.
fn refresh(
    store: &Store,
    wanted: &WantedRepository,
    clone: &BareClone,
    state: RepositoryState,
) -> Result<Made, StoreError> {
    if let Err(error) = clone.fetch(Refs::Heads) {
        // What is here is what was asked for; that nothing newer can be had is only said.
        let why = one_line(&format!("it cannot be asked for anything newer: {error}"));
        let bytes = state.bytes.unwrap_or_default();
        let outcome = if state.is_complete() {
            Outcome { reason: Some(why), ..Outcome::here(bytes, true) }
        } else {
            Outcome::failed(&error.to_string())
        };
        return Ok((state, outcome));
    }
    if state.is_complete() && is_up_to_date(store, clone, &state) {
        let outcome = Outcome::here(state.bytes.unwrap_or_default(), true);
        return Ok((state, outcome));
    }
    match bundle(store, wanted, clone, &state)? {
        Ok(made) => Ok(made),
        Err(why) => Ok((state, Outcome::failed(&why))),
    }
}

/// Whether every branch and tag is in the file as it is now in the clone.
fn is_up_to_date(store: &Store, clone: &BareClone, state: &RepositoryState) -> bool {
    let Some(file) = &state.file else { return false };
    let (Ok(now), Ok(then)) = (clone.references(), references(&store.repository_path(file))) else { return false };
    now.iter().all(|(name, object)| then.get(name) == Some(object))
}

fn bundle(
    store: &Store,
    wanted: &WantedRepository,
    clone: &BareClone,
    state: &RepositoryState,
) -> Result<Result<Made, String>, StoreError> {
    let Some(file) = &state.file else { return Ok(Err("it has no file name".to_owned())) };
    // What was found in the file that is here, for this manifest or another, must not be lost.
    let held = match store.repository_stamp(file)?.filter(|_| state.damage.is_none()) {
        Some(stamp) => store.repository_finding(file, stamp)?.trees,
        None => BTreeSet::new(),
    };
    let scratch = store.scratch()?;
    let made = scratch.path().join("new.bundle");
    if let Err(error) = clone.bundle(&made) {
        return Ok(Err(error.to_string()));
    }
    let sought = &wanted.trees | &held;
    let found = match verify_repository(store, &made, &sought)? {
        Ok(found) => found,
        Err(why) => return Ok(Err(why)),
    };
    let missing = &wanted.trees - &found;
    if let Some(lost) = held.difference(&found).next() {
        let path = file.relative_path();
        return Ok(Err(format!(
            "it was pushed over: tree {lost} is in {path} and no longer in the repository; the file stays as it is \
             (move it away to have a new one){}",
            not_there(&missing, clone.shown())
        )));
    }
    // Only what is better than what is here takes its place.
    if !missing.is_empty() && found.is_empty() && !wanted.trees.is_empty() {
        return Ok(Err(not_there(&missing, clone.shown()).trim_start_matches("; ").to_owned()));
    }
    let stamp = store.publish_repository(&made, file)?;
    remember_repository(store, file, stamp, &found, &sought)?;
    let state = RepositoryState {
        file: Some(file.clone()),
        bytes: Some(stamp.size),
        trees: &wanted.trees & &found,
        missing,
        damage: None,
    };
    let outcome = if state.is_complete() {
        Outcome::here(stamp.size, false)
    } else {
        let why = not_there(&state.missing, clone.shown());
        Outcome { bytes: Some(stamp.size), ..Outcome::failed(why.trim_start_matches("; ")) }
    };
    Ok(Ok((state, outcome)))
}

/// Why a tree cannot be had, in words.
fn not_there(missing: &BTreeSet<TreeHash>, url: &str) -> String {
    let Some(first) = missing.first() else { return String::new() };
    let more = if missing.len() > 1 { format!(" (and {} more)", missing.len() - 1) } else { String::new() };
    format!(
        "; tree {first}{more} is in no branch or tag of {url}: it was pushed over, or is only in a pull request; \
         resolve the manifest again with what is there now"
    )
}
