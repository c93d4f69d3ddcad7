//! What of a plan is here, without asking any upstream.

use super::Plan;
use crate::mirror::verify_file;
use crate::protocol::{Kind, Resource};
use crate::store::{HeldArtifact, Lookup, Store, StoreError};
use crate::tree::Limits;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// What of a plan is here.
#[derive(Debug, Default)]
pub struct Survey {
    /// Every resource of the plan.
    pub states: BTreeMap<Resource, State>,
    /// The artifacts that each package names that is here.
    pub artifacts: BTreeMap<Resource, Vec<HeldArtifact>>,
}

/// What lies under the name of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A file that is what its name says.
    Here {
        /// Its size.
        bytes: u64,
    },
    /// Nothing. The artifacts of an absent package are not known.
    Absent,
    /// A file that is something else, or cannot be read, and why.
    Bad(String),
}

impl Survey {
    /// The size of a resource that is here.
    pub fn bytes(&self, resource: &Resource) -> Option<u64> {
        match self.states.get(resource) {
            Some(State::Here { bytes }) => Some(*bytes),
            _ => None,
        }
    }

    /// Whether all of the plan is here.
    pub fn is_complete(&self) -> bool {
        self.states.values().all(|state| matches!(state, State::Here { .. }))
    }
}

/// Looks for every resource of a plan, and adds to the plan what the packages that are here name.
/// What nobody verified yet is verified now, with `jobs` threads. `progress` is told of each
/// resource. Blocks.
pub fn survey(
    store: &Store,
    limits: &Limits,
    plan: &mut Plan,
    jobs: usize,
    progress: &(impl Fn(&Resource) + Sync),
) -> Result<Survey, StoreError> {
    let mut survey = Survey::default();
    // The artifacts come into the plan with their packages, so they are the second wave.
    for is_second in [false, true] {
        let wave: Vec<_> = plan.resources().filter(|it| (it.kind() == Kind::Artifact) == is_second).collect();
        for (resource, state, artifacts) in look_at_all(store, limits, wave, jobs, progress)? {
            if resource.kind() == Kind::Package && matches!(state, State::Here { .. }) {
                plan.open(&resource, &artifacts);
                survey.artifacts.insert(resource, artifacts);
            }
            survey.states.insert(resource, state);
        }
    }
    Ok(survey)
}

type Seen = (Resource, State, Vec<HeldArtifact>);

fn look_at_all(
    store: &Store,
    limits: &Limits,
    wave: Vec<Resource>,
    jobs: usize,
    progress: &(impl Fn(&Resource) + Sync),
) -> Result<Vec<Seen>, StoreError> {
    let (queue, seen) = (Mutex::new(wave.into_iter()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some(resource) = queue.lock().unwrap_or_else(PoisonError::into_inner).next() else {
                return;
            };
            let (state, artifacts) = look_at(store, limits, &resource);
            seen.lock().unwrap_or_else(PoisonError::into_inner).push((resource, state, artifacts));
            progress(&resource);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        let panicked = |_| StoreError::Io(io::Error::other("a thread ended early"));
        threads.into_iter().try_for_each(|thread| thread.join().map_err(panicked))
    })?;
    Ok(seen.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What lies under one name. What nobody verified yet is verified now, and that is remembered.
pub(super) fn look_at(store: &Store, limits: &Limits, resource: &Resource) -> (State, Vec<HeldArtifact>) {
    let open = match store.look_up(resource) {
        Ok(Lookup::Absent) => return (State::Absent, Vec::new()),
        Ok(Lookup::Verified(open, fact)) => return (State::Here { bytes: open.stamp.size }, fact.artifacts),
        Ok(Lookup::Unverified(open)) => open,
        Err(error) => return (State::Bad(error.to_string()), Vec::new()),
    };
    let stamp = open.stamp;
    match verify_file(resource, &Arc::new(open.file), stamp, limits) {
        Ok(fact) => {
            let artifacts = fact.artifacts.clone();
            store.remember(fact);
            (State::Here { bytes: stamp.size }, artifacts)
        }
        Err(damage) => (State::Bad(damage.to_string()), Vec::new()),
    }
}
