//! The policy at work: what is known of a resource here, and what follows from it for fetching,
//! serving, asking and showing.
//!
//! Names come from the registries and packages that are here, and from what prewarm was given
//! ([`Mirror::learn_names`]). Nothing is judged before they were read: a pattern that cannot be held
//! against a name must not let it through.

use super::{Health, Mirror, Refusal, blocking, lock};
use crate::julia::RegistryIndex;
use crate::policy::{Act, Age, Package, Policy, Privacy, Registry, Subject, Surroundings, Verdict, Why};
use crate::protocol::{GENERAL, Kind, Listing, RegistryTree, Resource, TreeHash, Uuid};
use crate::source::{Claim, Rank, Source};
use crate::store::{Action, FirstSeen, Seen, StoreError};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;

/// What is known beside the registries and the packages.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Done once the names of what is here were read.
    read: OnceCell<()>,
    /// What inputs call packages.
    packages: Mutex<HashMap<Uuid, BTreeSet<Arc<str>>>>,
    /// What inputs call artifacts, and whose they say they are.
    artifacts: Mutex<HashMap<TreeHash, BTreeSet<Arc<str>>>>,
    /// Registries that a public upstream lists.
    listed: Mutex<BTreeSet<Uuid>>,
    /// Registries that were published here from a private source, with its name.
    private: Mutex<BTreeMap<Uuid, Arc<str>>>,
    /// By registry; only where versions must have an age.
    seen: Mutex<BTreeMap<Uuid, Arc<FirstSeen>>>,
    pinned: Mutex<Arc<BTreeSet<Resource>>>,
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

/// What holds for a resource.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Whether it may be fetched.
    pub fetch: Verdict,
    /// Whether it may be served.
    pub serve: Verdict,
    /// Who may be asked for it.
    pub privacy: Privacy,
    /// Every rule that has to do with it.
    pub rules: Vec<Why>,
}

impl Mirror {
    /// The rules.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether anything must be known of a resource before it is asked for.
    pub fn is_guarded(&self) -> bool {
        !self.policy.is_empty() || self.private_sources().next().is_some()
    }

    fn private_sources(&self) -> impl Iterator<Item = &dyn Source> {
        self.sources.iter().map(AsRef::as_ref).filter(|source| source.rank() == Rank::Private)
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
                    artifacts.entry(tree).or_default().extend(name.split(" of ").map(Arc::from));
                }
            }
        }
    }

    /// Whether this may be done with a resource.
    pub(super) async fn permits(self: &Arc<Self>, act: Act, resource: &Resource) -> Result<(), Refusal> {
        if self.policy.is_silent(act) {
            return Ok(());
        }
        // Registries themselves are what names are read from.
        if !matches!(resource, Resource::Registry { .. }) || act == Act::Serve {
            self.know().await;
            if !self.is_known(resource) {
                // Another process may have brought what says what it is.
                self.load_names().await;
            }
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
            self.know().await;
            if !self.is_known(resource) {
                // Another process may have brought what says what it is.
                self.load_names().await;
            }
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

    fn is_known(&self, resource: &Resource) -> bool {
        match self.subject(resource) {
            Subject::Registry(_) => true,
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
            let RegistryTree { uuid, .. } = registry;
            if source.is_public() {
                lock(&self.known.listed).insert(uuid);
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
        match self.permits_now(Act::Fetch, &Resource::Package { uuid, tree }) {
            Err(refusal) => Some(refusal.to_string()),
            Ok(()) => self.too_young(&Resource::Package { uuid, tree }).map(|age| age.to_string()),
        }
    }

    /// How old a version is, if it is too young. What is private comes from nobody else, and what a
    /// manifest named may be young if pins are allowed.
    pub(super) fn too_young(&self, resource: &Resource) -> Option<Age> {
        self.policy.rules().min_age?;
        let Resource::Package { uuid, tree } = *resource else { return None };
        let age = self.age(uuid, tree);
        let is_young = age.is_young() && !self.is_pinned(uuid, tree) && !self.is_private(uuid);
        is_young.then_some(age)
    }

    fn is_private(&self, uuid: Uuid) -> bool {
        self.privacy(&Subject::Package(self.package(uuid))).is_private()
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

    fn age_of(&self, seen: Option<Seen>) -> Age {
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
        if self.is_guarded() && !self.is_offline() {
            let log = self.store.generations()?;
            let is_of = |name: &str, source: &&Arc<dyn Source>| source.name() == name;
            for entry in &log {
                match self.sources.iter().find(|source| is_of(&entry.source, source)) {
                    Some(source) if source.rank() == Rank::Private => {
                        lock(&self.known.private).insert(entry.uuid, source.name().into());
                    }
                    Some(source) if source.is_public() => _ = lock(&self.known.listed).insert(entry.uuid),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn privacy(&self, subject: &Subject) -> Privacy {
        // What was added since it was read last is its own too, though nobody can tell yet.
        let health = self.memory.health();
        let is_behind = |(index, source): &(usize, &Arc<dyn Source>)| {
            source.rank() == Rank::Private
                && (source.claims(GENERAL) == Claim::Unread || health.get(*index).is_some_and(Health::failed_last))
        };
        let unread = self.sources.iter().enumerate().find(is_behind).map(|(_, source)| source);
        let around = Surroundings {
            private_registries: self.private_sources().next().is_some(),
            unread: unread.map(|source| source.name().into()),
        };
        self.policy.privacy(subject, &around)
    }

    /// What is known of a resource.
    pub fn subject(&self, resource: &Resource) -> Subject {
        match *resource {
            Resource::Registry { uuid, .. } => Subject::Registry(self.registry(uuid)),
            Resource::Package { uuid, .. } => Subject::Package(self.package(uuid)),
            Resource::Artifact { tree } => Subject::Artifact {
                tree,
                owners: self.names.owners(tree).into_iter().map(|owner| self.package(owner)).collect(),
                said: lock(&self.known.artifacts).get(&tree).cloned().unwrap_or_default(),
            },
        }
    }

    fn package(&self, uuid: Uuid) -> Package {
        let indexes = self.registries().into_iter().filter_map(|index| {
            let name = index.name(uuid)?.into();
            Some((name, self.registry(index.registry_uuid())))
        });
        let (names, registries) = indexes.unzip();
        let said = lock(&self.known.packages).get(&uuid).cloned().unwrap_or_default();
        Package { uuid, names, said, registries, claimed_by: self.claimant(uuid) }
    }

    fn registry(&self, uuid: Uuid) -> Registry {
        let name = self.names.registry_name(uuid).or_else(|| (uuid == GENERAL).then(|| "General".into()));
        let claimed_by = self.claimant(uuid).or_else(|| lock(&self.known.private).get(&uuid).cloned());
        let is_listed = lock(&self.known.listed).contains(&uuid);
        Registry { uuid, name, claimed_by, is_listed }
    }

    fn claimant(&self, uuid: Uuid) -> Option<Arc<str>> {
        self.private_sources().find(|source| source.claims(uuid) == Claim::Yes).map(|source| source.name().into())
    }

    /// What holds for a resource, for people. The names of what is here must have been read.
    pub fn standing(&self, subject: &Subject) -> Standing {
        Standing {
            fetch: self.policy.judge(Act::Fetch, subject),
            serve: self.policy.judge(Act::Serve, subject),
            privacy: self.privacy(subject),
            rules: self.policy.fitting(subject),
        }
    }

    /// When the versions of the registries here were first seen, by registry. Blocks.
    pub fn first_seen(&self) -> Result<Vec<FirstSeen>, StoreError> {
        self.registries().iter().map(|index| self.store.first_seen(index.registry_uuid())).collect()
    }

    /// How a version stands to the age that versions must have, and whether that holds it back: not
    /// where it is private, nor where a manifest named it. The names of what is here must have been
    /// read.
    pub fn version_age(&self, seen: &[FirstSeen], uuid: Uuid, tree: TreeHash) -> (Age, bool) {
        let first = seen.iter().filter_map(|seen| seen.version(uuid, tree));
        let age = self.age_of(first.min_by_key(|seen| (!seen.is_baseline, seen.since)));
        (age, self.too_young(&Resource::Package { uuid, tree }).is_some())
    }

    /// Names of the sources for a kind of resources, each with whether it may be asked for what has
    /// this privacy. A private registry counts only for what is its own.
    pub fn who_is_asked(&self, privacy: &Privacy, kind: Kind, uuid: Option<Uuid>) -> Vec<(String, bool)> {
        let may = |source: &dyn Source| privacy.is_public() || !source.is_public();
        let concerns = |source: &dyn Source| {
            source.rank() != Rank::Private || uuid.is_some_and(|uuid| source.claims(uuid) == Claim::Yes)
        };
        self.sources
            .iter()
            .filter(|source| source.gives(kind) && concerns(source.as_ref()))
            .map(|source| (source.name().to_owned(), may(source.as_ref())))
            .collect()
    }

    /// Reads the names of what is here without any task: for commands that ask nobody.
    pub async fn know_names(self: &Arc<Self>) {
        self.know().await;
        let mirror = Arc::clone(self);
        let _ = blocking(move || mirror.know_blocking()).await;
    }
}
