//! Which git bundles go into a bundle, by the same rules as resources.

use crate::bundle::order::{ExportError, Order};
use crate::closure::{Plan, RepositoryState, known_repository, look_into_repository};
use crate::exchange::{BundleIndex, Uncarried, UncarriedKind};
use crate::protocol::{RepositoryFile, TreeHash};
use crate::store::{Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a git bundle that may go into a bundle.
#[derive(Clone, Debug, Default)]
pub(in crate::bundle) struct Candidate {
    /// The address, if an input names it.
    pub(in crate::bundle) url: Option<String>,
    /// The packages that inputs take from it.
    pub(in crate::bundle) packages: BTreeSet<String>,
    /// The trees for which it goes.
    pub(in crate::bundle) trees: BTreeSet<TreeHash>,
}

/// Git bundles that are here.
pub(in crate::bundle) type Candidates = BTreeMap<RepositoryFile, Candidate>;

/// Git bundles as an export sees them.
pub(in crate::bundle) struct Choice {
    /// To be packed.
    pub(in crate::bundle) candidates: Candidates,
    /// Left out, with the trees that the other side must have.
    pub(in crate::bundle) base: BTreeMap<RepositoryFile, BTreeSet<TreeHash>>,
    /// What is here of the repositories that inputs name, by address.
    pub(in crate::bundle) states: BTreeMap<String, RepositoryState>,
    /// Those that are here and cannot be packed.
    pub(in crate::bundle) uncarried: Vec<Uncarried>,
}

/// Chooses: what the inputs name, or without any all that is here, but for what the other side has.
/// What nobody looked into yet is verified on the way.
pub(in crate::bundle) fn choose(
    order: &Order,
    store: &Store,
    plan: &Plan,
    since: Option<jiff::Timestamp>,
) -> Result<Choice, ExportError> {
    let (mut candidates, mut uncarried) = (Candidates::new(), Vec::new());
    let mut states = BTreeMap::new();
    for (url, wanted) in &plan.repositories {
        let state = wanted.look_up(store)?;
        if let Some(file) = state.file.clone().filter(|_| state.bytes.is_some() && state.damage.is_none()) {
            let candidate = candidates.entry(file).or_default();
            candidate.url.get_or_insert(url.clone());
            candidate.packages.extend(wanted.packages.iter().cloned());
            candidate.trees.extend(&state.trees);
        }
        states.insert(url.clone(), state);
    }
    let all = if order.paths.is_empty() { store.repositories()? } else { BTreeMap::new() };
    for (file, stamp) in all {
        match look_into_repository(store, &file, stamp, &BTreeSet::new())? {
            Ok(_) => {
                let known = store.repository_finding(&file, stamp)?.trees;
                candidates.entry(file).or_default().trees.extend(known);
            }
            Err(damage) => uncarried.push(missing(file.to_string(), format!("it is damaged here: {damage}"))),
        }
    }
    let there = order.request.as_ref().map(|request| &request.repositories);
    let is_there = |file: &RepositoryFile, candidate: &Candidate| {
        there.and_then(|there| there.get(file)).is_some_and(|there| candidate.trees.is_subset(there))
    };
    let is_old = |file: &RepositoryFile| {
        let came = store.repository_stamp(file).ok().flatten().map(|stamp| i128::from(stamp.ctime));
        since.is_some_and(|since| came.is_some_and(|came| came < since.as_nanosecond()))
    };
    let left = candidates.extract_if(.., |file, candidate| is_there(file, candidate) || is_old(file));
    let base = left.map(|(file, candidate)| (file, candidate.trees)).collect();
    Ok(Choice { candidates, base, states, uncarried })
}

/// Adds the git bundles of a bundle that was made before. True if all of them are here still, each
/// with all trees that it had.
pub(in crate::bundle) fn repeat(
    candidates: &mut Candidates,
    uncarried: &mut BTreeSet<Uncarried>,
    store: &Store,
    sent: &BundleIndex,
) -> Result<bool, StoreError> {
    let mut all = true;
    for entry in &sent.repositories {
        let known = known_repository(store, &entry.file)?;
        let (is_here, trees) = known.map_or((false, BTreeSet::new()), |(_, trees)| (true, trees));
        if is_here {
            let candidate = candidates.entry(entry.file.clone()).or_default();
            candidate.url = candidate.url.take().or_else(|| entry.url.clone());
            candidate.packages.extend(entry.packages.iter().cloned());
            candidate.trees.extend(&trees);
        }
        if !is_here || !entry.trees.is_subset(&trees) {
            let why = format!("bundle {} had it, and it is not here any more, or without trees it had", sent.sequence);
            uncarried.insert(missing(entry.file.to_string(), why));
            all = false;
        }
    }
    Ok(all)
}

fn missing(what: String, why: String) -> Uncarried {
    Uncarried { what, kind: UncarriedKind::Missing, why }
}
