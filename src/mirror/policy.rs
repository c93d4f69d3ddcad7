//! The policy at work: what is known of a resource here, and what follows from it for fetching,
//! serving, asking and showing.
//!
//! Names come from the registries and packages that are here, and from what prewarm was given
//! ([`Mirror::learn_names`]). Nothing is judged before they were read: a pattern that cannot be held
//! against a name must not let it through.

use super::{Mirror, Refusal, blocking, lock};
use crate::config::Rule;
use crate::julia::RegistryIndex;
use crate::policy::{Act, Age, Package, Policy, Registry, Subject, Verdict};
use crate::protocol::{GENERAL, Listing, RegistryTree, Resource, TreeHash, Uuid};
use crate::source::Source;
use crate::store::{Action, FirstSeen, Seen, StoreError};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::OnceCell;

/// What is known beside the registries and the packages.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Done once the names of what is here were read.
    read: OnceCell<()>,
    /// What inputs call packages.
    packages: Mutex<HashMap<Uuid, BTreeSet<Arc<str>>>>,
    /// What inputs say of artifacts.
    artifacts: Mutex<HashMap<TreeHash, SaidOfArtifact>>,
    /// By registry; only where versions must have an age.
    seen: Mutex<BTreeMap<Uuid, Arc<FirstSeen>>>,
    pinned: Mutex<Arc<BTreeSet<Resource>>>,
}

/// What inputs say of an artifact.
#[derive(Clone, Debug, Default)]
struct SaidOfArtifact {
    /// What it is called, and what it is of.
    words: BTreeSet<Arc<str>>,
    /// The packages that it is of, by name.
    of: BTreeSet<Arc<str>>,
    /// The same by uuid.
    owners: BTreeSet<Uuid>,
}

/// Which sources may be asked.
#[derive(Debug)]
pub(super) struct Askable {
    /// Their places, in order.
    pub(super) sources: Vec<usize>,
    /// Why others may not.
    withheld: Option<String>,
}

impl Askable {
    /// What it comes to when none of them has it.
    pub(super) fn explain(self, refusal: Refusal) -> Refusal {
        match (self.withheld, refusal) {
            (Some(why), Refusal::NotFound) => Refusal::Private(why),
            // Its own source was asked and failed: that is the cause.
            (Some(why), Refusal::Absent(words)) => {
                Refusal::Absent(format!("{words}; no public upstream was asked: {why}"))
            }
            (_, refusal) => refusal,
        }
    }
}

impl Mirror {
    /// The rules.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether anything must be known of a resource before it is asked for.
    pub fn is_guarded(&self) -> bool {
        !self.policy.is_empty() || self.claimed.has_private()
    }

    /// Reads the names of what is here, unless that was done.
    pub(super) async fn know(self: &Arc<Self>) {
        self.known.read.get_or_init(|| self.load_names()).await;
    }

    /// Remembers what inputs call packages and artifacts; of an artifact also `NAME of PACKAGE`.
    pub fn learn_names<'n>(&self, names: impl IntoIterator<Item = (Resource, &'n str)>) {
        let (mut packages, mut artifacts) = (lock(&self.known.packages), lock(&self.known.artifacts));
        for (resource, name) in names {
            match resource {
                Resource::Registry { .. } => {}
                Resource::Package { uuid, .. } => _ = packages.entry(uuid).or_default().insert(name.into()),
                Resource::Artifact { tree } => {
                    let said = artifacts.entry(tree).or_default();
                    said.words.extend(name.split(" of ").map(Arc::from));
                    said.of.extend(name.split(" of ").skip(1).map(Arc::from));
                }
            }
        }
    }

    /// Remembers the packages that artifacts are of, for all that inputs say.
    pub fn learn_owners(&self, owners: impl IntoIterator<Item = (TreeHash, Uuid)>) {
        let mut artifacts = lock(&self.known.artifacts);
        for (tree, owner) in owners {
            artifacts.entry(tree).or_default().owners.insert(owner);
        }
    }

    /// Whether this may be done with a resource.
    pub(super) async fn permits(self: &Arc<Self>, act: Act, resource: &Resource) -> Result<(), Refusal> {
        if self.policy.is_silent(act) {
            return Ok(());
        }
        // Registries themselves are what names are read from.
        if !matches!(resource, Resource::Registry { .. }) || act == Act::Serve {
            self.know_of(resource).await;
        }
        self.permits_now(act, resource)
    }

    fn permits_now(&self, act: Act, resource: &Resource) -> Result<(), Refusal> {
        if self.policy.is_silent(act) {
            return Ok(());
        }
        match self.policy.judge(act, &self.subject(resource)) {
            Verdict::Allowed => Ok(()),
            Verdict::Denied(why) => Err(Refusal::Denied(why.to_string())),
        }
    }

    /// Which sources may be asked for a resource.
    pub(super) async fn askable(self: &Arc<Self>, resource: &Resource) -> Result<Askable, Refusal> {
        if self.is_guarded() && !matches!(resource, Resource::Registry { .. }) {
            self.know_of(resource).await;
        }
        self.askable_by_now(resource)
    }

    /// The same at once; `None` while the names of what is here are not read.
    pub(super) fn askable_now(&self, resource: &Resource) -> Option<Result<Askable, Refusal>> {
        let is_ready = !self.is_guarded() || (self.known.read.initialized() && self.is_known(resource));
        (is_ready || self.sources.is_empty()).then(|| self.askable_by_now(resource))
    }

    fn askable_by_now(&self, resource: &Resource) -> Result<Askable, Refusal> {
        let all = 0..self.sources.len();
        if !self.is_guarded() || self.sources.is_empty() {
            return Ok(Askable { sources: all.collect(), withheld: None });
        }
        self.permits_now(Act::Fetch, resource)?;
        let privacy = self.privacy(&self.subject(resource));
        if let Some(denied) = self.denied_age(resource) {
            return Err(denied);
        }
        let may = |source: &dyn Source| privacy.is_public() || !source.is_public();
        let (sources, left): (Vec<_>, Vec<_>) =
            all.partition(|&index| self.sources.get(index).is_some_and(|source| may(source.as_ref())));
        let withheld = (!left.is_empty()).then(|| privacy.to_string());
        match withheld {
            Some(why) if sources.is_empty() => Err(Refusal::Private(why)),
            withheld => Ok(Askable { sources, withheld }),
        }
    }

    /// Sees to it that what can be known of a resource is. What no name is known of passes where names are
    /// denied, so there must be no moment in which another process has brought it and not been heard of.
    async fn know_of(self: &Arc<Self>, resource: &Resource) {
        self.know().await;
        if !self.is_known(resource) {
            self.look_for_names(Duration::ZERO).await;
        }
    }

    fn is_known(&self, resource: &Resource) -> bool {
        match self.subject(resource) {
            Subject::Registry(registry) => registry.name.is_some(),
            Subject::Package(package) => !package.registries.is_empty() || package.claimed_by.is_some(),
            Subject::Artifact { owners, .. } => !owners.is_empty(),
        }
    }

    /// What of a listing may come in from a source. A public upstream does not get to say what a
    /// private registry is.
    pub(super) async fn admitted(self: &Arc<Self>, source: &dyn Source, mut listing: Listing) -> Listing {
        if !self.is_guarded() {
            return listing;
        }
        self.know().await;
        listing.retain(|registry| {
            let RegistryTree { uuid, tree } = registry;
            if source.is_public() {
                self.claimed.list(uuid, tree);
            }
            let subject = Subject::Registry(self.registry(uuid));
            let denied = self.policy.judge(Act::Fetch, &subject) != Verdict::Allowed;
            let privacy = self.privacy(&subject);
            if denied || (source.is_public() && privacy.is_private()) {
                tracing::debug!(registry = %uuid, source = source.name(), "not taken: the policy denies it, or {privacy}");
                return false;
            }
            true
        });
        listing
    }

    /// Whether a registry may be fetched.
    pub fn takes(&self, registry: Uuid) -> bool {
        self.policy.judge(Act::Fetch, &Subject::Registry(self.registry(registry))) == Verdict::Allowed
    }

    /// What of a listing clients may see.
    pub(super) fn shown_listing(&self, mut listing: Listing) -> Listing {
        if !self.policy.is_silent(Act::Serve) {
            listing.retain(|registry| self.permits_now(Act::Serve, &registry.into()).is_ok());
        }
        listing
    }

    /// Whether the registries that list only what is here may list this version, or take this
    /// artifact to be here.
    pub(super) fn shows(&self, resource: &Resource) -> bool {
        self.permits_now(Act::Serve, resource).is_ok() && self.too_young(resource).is_none()
    }

    /// What denies a resource to whoever wants it: what is here must be served, what is not must be
    /// fetched first. The names of what is here must have been read.
    pub fn denial(&self, resource: &Resource, is_here: bool) -> Option<String> {
        let served = self.permits_now(Act::Serve, resource);
        let fetched = if is_here { Ok(()) } else { self.permits_now(Act::Fetch, resource) };
        let age = || self.denied_age(resource).filter(|_| !is_here);
        let refusal = fetched.and(served).err().or_else(age)?;
        Some(refusal.to_string())
    }

    /// A version that is too young, where manifests may not name such ones.
    fn denied_age(&self, resource: &Resource) -> Option<Refusal> {
        let age = self.too_young(resource).filter(|_| !self.policy.rules().pins)?;
        Some(Refusal::Denied(format!("policy.min-age, and policy.pins is false: {age}")))
    }

    /// When the next of these is old enough.
    pub(super) fn ripens(&self, resources: &[Resource]) -> Option<Timestamp> {
        let until = resources.iter().filter_map(|resource| match self.too_young(resource)? {
            Age::Young { until, .. } => Some(until),
            Age::Old { .. } | Age::Unseen => None,
        });
        until.min()
    }

    /// Why a version must not be chosen, for whoever chooses versions. The names of what is here
    /// must have been read ([`Mirror::load_names`]).
    pub fn forbids(&self, uuid: Uuid, tree: TreeHash) -> Option<String> {
        let package = Resource::Package { uuid, tree };
        let permitted = self.permits_now(Act::Fetch, &package).and_then(|()| self.permits_now(Act::Serve, &package));
        permitted.err().map(|refusal| refusal.to_string()).or_else(|| Some(self.too_young(&package)?.to_string()))
    }

    /// How old a version is, if it is too young. What is private comes from nobody else, and what a
    /// manifest named may be young if pins are allowed.
    pub(super) fn too_young(&self, resource: &Resource) -> Option<Age> {
        self.too_young_if_public(resource).filter(|_| !self.privacy(&self.subject(resource)).is_private())
    }

    /// The same of what may be private, as if it were not.
    pub(super) fn too_young_if_public(&self, resource: &Resource) -> Option<Age> {
        self.policy.rules().min_age?;
        let Resource::Package { uuid, tree } = *resource else { return None };
        let age = self.age(uuid, tree);
        (age.is_young() && !self.is_pinned(uuid, tree)).then_some(age)
    }

    /// Whether a manifest named this version when it was fetched, and may. Known only where versions
    /// must have an age.
    pub fn is_pinned(&self, uuid: Uuid, tree: TreeHash) -> bool {
        self.policy.rules().pins && lock(&self.known.pinned).contains(&Resource::Package { uuid, tree })
    }

    /// Of several registries the one that had it first counts.
    fn age(&self, uuid: Uuid, tree: TreeHash) -> Age {
        let seen: Vec<_> = lock(&self.known.seen).values().filter_map(|seen| seen.version(uuid, tree)).collect();
        self.age_of(seen.into_iter().min_by_key(|seen| (!seen.is_baseline, seen.since)))
    }

    pub(super) fn age_of(&self, seen: Option<Seen>) -> Age {
        match seen {
            Some(Seen { since, is_baseline: true }) => Age::Old { since: Some(since) },
            seen => self.policy.age(seen.map(|seen| seen.since), Timestamp::now()),
        }
    }

    /// Says that all versions that are known now are old enough. Returns how many. Blocks.
    pub fn baseline(&self) -> Result<usize, StoreError> {
        let mut count = 0;
        for index in self.registries() {
            count += self.store.baseline(index.registry_uuid(), Timestamp::now())?;
        }
        self.store.note(
            Action::Policy,
            true,
            format!("{count} versions are old enough from now on, whatever their age"),
        );
        self.know_blocking();
        Ok(count)
    }

    /// Remembers versions that manifests name, each with what it is called, so that they are shown
    /// however young they are; unless that is not allowed. Blocks.
    pub fn pin_versions(&self, versions: &[(Resource, String)]) -> Result<(), StoreError> {
        if !self.policy.rules().pins {
            return Ok(());
        }
        self.store.remember_pinned_versions(versions)?;
        self.know_blocking();
        Ok(())
    }

    /// Writes down which versions of a registry are new.
    pub(super) fn see(&self, index: &RegistryIndex) {
        let uuid = index.registry_uuid();
        let versions = index.trees();
        match self.store.see(uuid, versions, Timestamp::now()) {
            Ok(seen) if self.policy.rules().min_age.is_some() => {
                lock(&self.known.seen).insert(uuid, Arc::new(seen));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(registry = %uuid, "it cannot be written down which versions are new: {error}"),
        }
    }

    /// Looks at what other processes, or somebody by hand, may have written down since.
    pub(super) fn know_blocking(&self) {
        if let Err(error) = self.look_at_known() {
            tracing::warn!("what is known of versions cannot be read: {error}");
        }
    }

    fn look_at_known(&self) -> Result<(), StoreError> {
        if self.policy.rules().min_age.is_some() {
            *lock(&self.known.pinned) = Arc::new(self.store.pinned_versions()?);
            let loaded: Vec<_> = lock(&self.known.seen).iter().map(|(uuid, seen)| (*uuid, Arc::clone(seen))).collect();
            for (uuid, _) in loaded.iter().filter(|(uuid, seen)| !self.store.is_current(*uuid, seen)) {
                let seen = self.store.first_seen(*uuid)?;
                lock(&self.known.seen).insert(*uuid, Arc::new(seen));
            }
        }
        self.look_at_claims()
    }

    /// What is known of a resource.
    pub fn subject(&self, resource: &Resource) -> Subject {
        match *resource {
            Resource::Registry { uuid, .. } => Subject::Registry(self.registry(uuid)),
            Resource::Package { uuid, tree } => Subject::Package(self.package(uuid, tree)),
            Resource::Artifact { tree } => {
                let owners: Vec<_> = self.names.packages_with(tree).iter().filter_map(|it| self.owner(it)).collect();
                let said = lock(&self.known.artifacts).get(&tree).cloned().unwrap_or_default();
                let said_of = if owners.is_empty() { self.said_of(&said) } else { Vec::new() };
                Subject::Artifact { tree, owners, said: said.words, said_of }
            }
        }
    }

    fn owner(&self, package: &Resource) -> Option<Package> {
        Some(self.package(package.uuid()?, package.tree()))
    }

    /// The packages that inputs mean by what they say an artifact is of. A name that no registry here has may
    /// be one that a private registry had once.
    fn said_of(&self, said: &SaidOfArtifact) -> Vec<Package> {
        let indexes = self.registries();
        let named = said.of.iter().flat_map(|of| {
            let packages = indexes.iter().flat_map(|index| index.packages()).filter(|(_, name)| *name == &**of);
            let uuids: BTreeSet<_> = packages.map(|(uuid, _)| uuid).collect();
            if uuids.is_empty() { BTreeSet::from([Uuid::NIL]) } else { uuids }
        });
        let uuids: BTreeSet<_> = named.chain(said.owners.iter().copied()).collect();
        uuids.into_iter().map(|uuid| self.package(uuid, TreeHash::EMPTY)).collect()
    }

    /// A package, with who has it at a tree.
    fn package(&self, uuid: Uuid, tree: TreeHash) -> Package {
        let (mut names, mut registries, mut published_by) = (BTreeSet::new(), Vec::new(), Vec::new());
        for (resource, index) in self.names.published() {
            let Some(name) = index.name(uuid) else { continue };
            let registry = self.registry(index.registry_uuid());
            names.insert(name.into());
            let is_listed = self.claimed.is_listed_at(registry.uuid, resource.tree());
            published_by.extend((is_listed && index.version_at(uuid, tree).is_some()).then(|| registry.clone()));
            registries.push(registry);
        }
        let said = lock(&self.known.packages).get(&uuid).cloned().unwrap_or_default();
        Package { uuid, names, said, registries, published_by, claimed_by: self.claimant(uuid) }
    }

    pub(super) fn registry(&self, uuid: Uuid) -> Registry {
        let name = self.names.registry_name(uuid).or_else(|| (uuid == GENERAL).then(|| "General".into()));
        let claimed_by = self.claims(uuid).or_else(|| self.claimed.published_from(uuid));
        Registry { uuid, name, claimed_by, is_listed: self.claimed.is_listed(uuid) }
    }

    /// Whether a rule fits a registry that was read here.
    pub(super) fn has_registry(&self, rule: &Rule) -> bool {
        self.registries().iter().any(|index| rule.is_registry(&self.registry(index.registry_uuid())))
    }

    /// Reads the names of what is here without any task: for commands that ask nobody.
    pub async fn know_names(self: &Arc<Self>) {
        self.know().await;
        let mirror = Arc::clone(self);
        let _ = blocking(move || mirror.know_blocking()).await;
    }
}
