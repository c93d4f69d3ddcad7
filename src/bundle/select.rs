//! What goes into a bundle, what is left out because the other side has it, and what is missing.

use super::order::{ExportError, Order};
use super::repositories::{self, Candidates};
use crate::closure::{Content, Input, Plan, RepositoryState, Selection, State, UnmirrorableKind, survey};
use crate::exchange::{Base, Publication, Request, Uncarried, UncarriedKind};
use crate::mirror::Mirror;
use crate::prewarm::Report;
use crate::protocol::{Flavor, Kind, RegistryTree, RepositoryFile, Resource};
use crate::store::{Stamp, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// What was chosen.
pub(super) struct Chosen {
    pub(super) plan: Plan,
    /// To be packed, as far as it is sound.
    pub(super) resources: BTreeSet<Resource>,
    /// Git bundles to be packed, likewise.
    pub(super) repositories: Candidates,
    pub(super) base: Base,
    pub(super) repeats: BTreeSet<u64>,
    pub(super) registries: Vec<Publication>,
    pub(super) uncarried: BTreeSet<Uncarried>,
}

impl Chosen {
    /// A resource for people.
    pub(super) fn label(&self, mirror: &Mirror, resource: &Resource) -> String {
        label(&self.plan, mirror, resource)
    }

    /// Takes something out again that turned out to be unfit.
    pub(super) fn unfit(&mut self, what: String, resource: &Resource, why: &str) {
        self.resources.remove(resource);
        // It may have been in any of them.
        self.repeats.clear();
        self.registries.retain(|it| Resource::Registry { uuid: it.uuid, tree: it.tree } != *resource);
        self.uncarried.insert(Uncarried { what, kind: UncarriedKind::Missing, why: why.to_owned() });
    }

    /// Takes a git bundle out again, likewise.
    pub(super) fn unfit_repository(&mut self, file: &RepositoryFile) {
        self.repositories.remove(file);
        self.repeats.clear();
        let why = "it has gone, or was written to while it was read".to_owned();
        self.uncarried.insert(Uncarried { what: file.to_string(), kind: UncarriedKind::Missing, why });
    }
}

const NOT_MIRRORED: &str = "which is not mirrored here: `airlock prewarm --git` does that";

/// Chooses. What nobody verified yet is verified on the way. Blocks.
pub(super) fn choose(
    mirror: &Mirror,
    order: &Order,
    inputs: &[Input],
    fetched: Option<&Report>,
    destination: &str,
) -> Result<Chosen, ExportError> {
    let store = mirror.store();
    let selection = Selection { platforms: order.platforms.clone(), lazy: order.lazy };
    let mut plan = Plan::new(selection, inputs, mirror.registries());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let states = survey(store, mirror.limits(), &mut plan, threads, &|_| {})?.states;
    let inventory = order.request.as_ref().map(inventory).unwrap_or_default();
    let since = order.since.as_ref().map(|since| since.time(store)).transpose()?;
    let repositories = repositories::choose(order, store, &plan, since)?;
    let mut uncarried = unusable(inputs, &plan, &repositories.states);
    uncarried.extend(repositories.uncarried);
    let reasons = fetched.map(reasons).unwrap_or_default();
    let mut resources = BTreeSet::new();
    for (resource, state) in states {
        if state != State::Absent || inventory.contains(&resource) {
            resources.insert(resource);
        } else {
            let why = reasons.get(&resource).cloned().unwrap_or_else(|| "it is not here".to_owned());
            let what = label(&plan, mirror, &resource);
            uncarried.insert(Uncarried { what, kind: UncarriedKind::Missing, why });
        }
    }
    if order.paths.is_empty() {
        let all = [Kind::Package, Kind::Artifact].into_iter().flat_map(|kind| store.resources(kind));
        all.into_iter().try_for_each(|resource| Ok::<_, StoreError>(_ = resources.insert(resource?)))?;
    }
    let registries = registries(mirror, store)?;
    resources.extend(registries.iter().map(|it| Resource::Registry { uuid: it.uuid, tree: it.tree }));
    let left = leave_out(since, store, &inventory, &mut resources);
    let request = order.request.as_ref().map(|request| request.created);
    let base = Base { since, request, resources: left, repositories: repositories.base };
    let (repositories, repeats) = (repositories.candidates, BTreeSet::new());
    let mut chosen = Chosen { plan, resources, repositories, base, repeats, registries, uncarried };
    repeat(&mut chosen, mirror, store, order.overlap, destination)?;
    Ok(chosen)
}

fn label(plan: &Plan, mirror: &Mirror, resource: &Resource) -> String {
    let planned = plan.label(resource);
    match mirror.name(resource) {
        Some(name) if planned == resource.to_string() => {
            name.version.map_or_else(|| name.name.clone(), |version| format!("{} {version}", name.name))
        }
        _ => planned,
    }
}

/// What the other side has for good.
fn inventory(request: &Request) -> BTreeSet<Resource> {
    let damaged: BTreeSet<_> = request.damaged.iter().map(|damaged| damaged.resource).collect();
    request.inventory.difference(&damaged).copied().collect()
}

/// Inputs that cannot be used, and entries that no package server can serve.
fn unusable(inputs: &[Input], plan: &Plan, repositories: &BTreeMap<String, RepositoryState>) -> BTreeSet<Uncarried> {
    let broken = inputs.iter().filter_map(|input| {
        let why = input.content.as_ref().err()?.to_string();
        Some(Uncarried { what: input.path.display().to_string(), kind: UncarriedKind::Missing, why })
    });
    let unchosen = inputs.iter().flat_map(|input| {
        let why = match &input.content {
            Ok(Content::Resolved(resolved)) => resolved.conflicts.iter().map(|it| it.why.clone()).collect(),
            Ok(Content::Project(_)) => vec!["no Julia is known to choose its versions for".to_owned()],
            _ => Vec::new(),
        };
        let what = input.path.display().to_string();
        why.into_iter().map(move |why| Uncarried { what: what.clone(), kind: UncarriedKind::Missing, why })
    });
    let state = |url: &Option<String>| url.as_ref().and_then(|url| repositories.get(url));
    let lacking = plan.unmirrorable.iter().filter(|entry| !state(&entry.repo_url).is_some_and(|it| it.gives(entry)));
    let unmirrorable = lacking.map(|entry| {
        let what = format!("{} {}", entry.name, entry.version.as_deref().unwrap_or("without a version"));
        let (kind, why) = match entry.kind {
            UnmirrorableKind::Git => {
                let from = entry.repo_url.as_deref().unwrap_or("a repository");
                let here = state(&entry.repo_url).map_or_else(|| NOT_MIRRORED.to_owned(), not_given);
                (UncarriedKind::Git, format!("clients clone it from {from}, {here}"))
            }
            UnmirrorableKind::Unhashed => {
                (UncarriedKind::Unhashed, "it has no tree hash and no registry here knows it".to_owned())
            }
        };
        Uncarried { what, kind, why }
    });
    broken.chain(unchosen).chain(unmirrorable).collect()
}

/// Why a repository does not give what is wanted of it.
fn not_given(state: &RepositoryState) -> String {
    match (&state.file, &state.damage, state.bytes) {
        (Some(file), Some(damage), _) => format!("and {file} is damaged here: {damage}"),
        (Some(file), None, Some(_)) => {
            format!("and {file} lacks what is wanted of it: `airlock prewarm --git` adds it")
        }
        _ => NOT_MIRRORED.to_owned(),
    }
}

/// Why something could not be fetched.
fn reasons(report: &Report) -> BTreeMap<Resource, String> {
    let packages = report
        .packages
        .iter()
        .filter_map(|it| Some((Resource::Package { uuid: it.uuid, tree: it.tree }, it.reason.clone()?)));
    let artifacts = report.artifacts.iter();
    let artifacts = artifacts.filter_map(|it| Some((Resource::Artifact { tree: it.tree }, it.reason.clone()?)));
    let registries = report
        .registries
        .iter()
        .filter_map(|it| Some((Resource::Registry { uuid: it.uuid, tree: it.tree? }, it.reason.clone()?)));
    packages.chain(artifacts).chain(registries).collect()
}

/// The registries as they are published here; of one that is listed at two trees both.
fn registries(mirror: &Mirror, store: &Store) -> Result<Vec<Publication>, StoreError> {
    let mut flavors: BTreeMap<RegistryTree, BTreeSet<Flavor>> = BTreeMap::new();
    for flavor in Flavor::ALL {
        for registry in store.listing(flavor)?.unwrap_or_default().iter() {
            flavors.entry(registry).or_default().insert(flavor);
        }
    }
    let log = store.generations()?;
    let publication = |(registry, flavors): (RegistryTree, _)| {
        let RegistryTree { uuid, tree } = registry;
        let times = log.iter().filter(|it| (it.uuid, it.tree) == (uuid, tree)).map(|it| it.time);
        let name = mirror.name(&registry.into()).map(|name| name.name);
        Publication { flavors, uuid, tree, name, published: times.min() }
    };
    Ok(flavors.into_iter().map(publication).collect())
}

/// Takes out what the other side has, or is taken to have.
///
/// "Since" goes by the ctime of a file: it says when it came to this name, however it came, while
/// rsync and tar put the mtime back to when it came elsewhere.
fn leave_out(
    since: Option<jiff::Timestamp>,
    store: &Store,
    inventory: &BTreeSet<Resource>,
    resources: &mut BTreeSet<Resource>,
) -> Vec<Resource> {
    let is_old = |resource: &Resource| {
        let came = fs_err::metadata(store.path(resource)).map(|metadata| Stamp::of(&metadata).ctime);
        since.is_some_and(|since| came.is_ok_and(|came| i128::from(came) < since.as_nanosecond()))
    };
    let left: Vec<_> = resources.iter().filter(|it| inventory.contains(it) || is_old(it)).copied().collect();
    resources.retain(|resource| left.binary_search(resource).is_err());
    left
}

/// Adds what the last bundles had. A bundle of which something is gone is not repeated, whatever is
/// left of it is packed all the same.
fn repeat(
    chosen: &mut Chosen,
    mirror: &Mirror,
    store: &Store,
    overlap: usize,
    destination: &str,
) -> Result<(), StoreError> {
    for number in store.sent(destination)?.into_iter().rev().take(overlap) {
        let missing = |what, why: &str| Uncarried { what, kind: UncarriedKind::Missing, why: why.to_owned() };
        let Some(index) = store.sent_index(destination, number)? else {
            let what = format!("bundle {number}");
            chosen.uncarried.insert(missing(what, "the record of what it had cannot be read"));
            continue;
        };
        let (here, gone): (Vec<_>, Vec<_>) = index.resources.iter().partition(|entry| store.has(&entry.resource));
        chosen.resources.extend(here.iter().map(|entry| entry.resource));
        for entry in &gone {
            let what = chosen.label(mirror, &entry.resource);
            chosen.uncarried.insert(missing(what, &format!("bundle {number} had it, and it is not here any more")));
        }
        let all = repositories::repeat(&mut chosen.repositories, &mut chosen.uncarried, store, &index)?;
        if gone.is_empty() && all {
            chosen.repeats.insert(number);
        }
    }
    chosen.base.resources.retain(|resource| !chosen.resources.contains(resource));
    chosen.base.repositories.retain(|file, _| !chosen.repositories.contains_key(file));
    Ok(())
}
