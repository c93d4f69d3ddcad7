//! What private registries have, and what they ever had: what was private once is asked of nobody else
//! because somebody took it out of its registry, or because that registry cannot be reached now.
//!
//! What they had is in `.airlock/first-seen/`, where each registry that was read here has every version that it
//! ever named. What public upstreams list is kept here too, for only that makes a version public that a
//! private registry has as well.

use super::memory::Health;
use super::{Mirror, Refusal, lock};
use crate::config::{About, Config, Rule};
use crate::git;
use crate::policy::{Privacy, Subject, Surroundings};
use crate::protocol::{GENERAL, TreeHash, Uuid};
use crate::source::{Claim, Rank, Source};
use crate::store::{FirstSeen, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// What is known of private registries, and of public listings.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    /// The names of the private registries that are configured, also of a mirror that is offline.
    configured: BTreeSet<Arc<str>>,
    /// Registries that were published here from one of those, with its name.
    published: Mutex<BTreeMap<Uuid, Arc<str>>>,
    /// By registry, whatever makes it private.
    had: Mutex<BTreeMap<Uuid, Had>>,
    /// Registries that public upstreams list or have listed, at these trees.
    listed: Mutex<BTreeMap<Uuid, BTreeSet<TreeHash>>>,
}

/// What a private registry is called, and all that it ever had.
type Had = (Arc<str>, Arc<FirstSeen>);

impl Claimed {
    pub(super) fn new(config: &Config, sources: &[Arc<dyn Source>]) -> Self {
        let private = sources.iter().filter(|source| source.rank() == Rank::Private).map(|source| source.name().into());
        let configured = config.registries.iter().map(|registry| registry.name.as_str().into());
        Self { configured: configured.chain(private).collect(), ..Self::default() }
    }

    /// Whether any private registry is configured.
    pub(super) fn has_private(&self) -> bool {
        !self.configured.is_empty()
    }

    /// A public upstream lists a registry.
    pub(super) fn list(&self, registry: Uuid, tree: TreeHash) {
        lock(&self.listed).entry(registry).or_default().insert(tree);
    }

    /// Whether a public upstream lists a registry, or has listed it.
    pub(super) fn is_listed(&self, registry: Uuid) -> bool {
        lock(&self.listed).contains_key(&registry)
    }

    /// The same of a registry at a tree.
    pub(super) fn is_listed_at(&self, registry: Uuid, tree: TreeHash) -> bool {
        lock(&self.listed).get(&registry).is_some_and(|trees| trees.contains(&tree))
    }

    /// The private registry that a registry was published from.
    pub(super) fn published_from(&self, registry: Uuid) -> Option<Arc<str>> {
        lock(&self.published).get(&registry).cloned()
    }

    /// The private registry that had a package once.
    pub(super) fn who_had(&self, package: Uuid) -> Option<Arc<str>> {
        lock(&self.had).values().find(|(_, seen)| seen.has(package)).map(|(name, _)| Arc::clone(name))
    }
}

impl Mirror {
    /// Looks at what other processes may have written down since. Blocks.
    pub(super) fn look_at_claims(&self) -> Result<(), StoreError> {
        if !self.is_guarded() {
            return Ok(());
        }
        for entry in self.store.generations()? {
            if let Some(name) = self.claimed.configured.get(entry.source.as_str()) {
                lock(&self.claimed.published).insert(entry.uuid, Arc::clone(name));
            } else if self.sources.iter().any(|source| source.is_public() && source.name() == entry.source) {
                self.claimed.list(entry.uuid, entry.tree);
            }
        }
        for uuid in self.store.registries_seen()? {
            let registry = self.registry(uuid);
            let name = registry.claimed_by.clone().or_else(|| registry.name.clone());
            if !self.privacy(&Subject::Registry(registry)).is_private() {
                continue;
            }
            let known = lock(&self.claimed.had).get(&uuid).cloned();
            if !known.is_some_and(|(_, seen)| self.store.is_current(uuid, &seen)) {
                let name = name.unwrap_or_else(|| uuid.to_string().into());
                let seen = Arc::new(self.store.first_seen(uuid)?);
                lock(&self.claimed.had).insert(uuid, (name, seen));
            }
        }
        Ok(())
    }

    /// Who may be asked for something.
    pub(super) fn privacy(&self, subject: &Subject) -> Privacy {
        let private_registries = self.claimed.has_private();
        if !private_registries && self.policy.rules().private.rules.is_empty() {
            return Privacy::Public;
        }
        self.policy.privacy(subject, &Surroundings { private_registries, unread: self.unread() })
    }

    /// Something that is private, or has what is, of which nobody can tell what it has now: what was added
    /// to it since it was read last is private too.
    fn unread(&self) -> Option<Arc<str>> {
        let health = self.memory.health();
        let is_behind = |(index, source): &(usize, &Arc<dyn Source>)| {
            let failed = health.get(*index).is_some_and(Health::failed_to_list);
            match source.rank() {
                Rank::Private => failed || source.claims(GENERAL) == Claim::Unread,
                Rank::Server => failed && !source.is_public(),
                Rank::Fallback => false,
            }
        };
        let source = self.sources.iter().enumerate().find(is_behind).map(|(_, source)| source.name().into());
        let rules = self.policy.rules().private.rules.iter();
        source.or_else(|| {
            let mut rules = rules.filter(|rule| rule.is_of_registries() && !self.has_registry(rule));
            rules.next().map(|rule| rule.to_string().into())
        })
    }

    /// Why a repository must not be asked for a package, though a manifest says that it is there: it is private,
    /// or may be, and the repository is at a host that has nothing private for all that is known here.
    pub fn withholds_from(&self, package: &Subject, address: &str) -> Option<Refusal> {
        let privacy = Some(self.privacy(package)).filter(|privacy| !privacy.is_public())?;
        let own =
            self.sources.iter().filter(|source| !source.is_public()).filter_map(|source| git::host(source.name()));
        let host = git::host(address).unwrap_or_default();
        let is_own = own.into_iter().any(|own| own == host) || self.policy.rules().private_hosts.contains(&host);
        let words = format!("{privacy}, and its repository is at {host:?}: policy.private-hosts may name that host");
        (!is_own).then_some(Refusal::Private(words))
    }

    /// Whether a uuid is that of a registry, as far as anything here says, be it only a rule.
    pub fn is_registry(&self, uuid: Uuid) -> bool {
        let of_rule = |(_, rule): &(&str, Rule)| matches!(rule.about, About::Registry(it) if it == uuid);
        self.names.loaded(uuid).is_some()
            || self.claimed.is_listed(uuid)
            || self.claimed.published_from(uuid).is_some()
            || self.registry_rules.iter().any(of_rule)
    }

    /// The private registry that a package is of, or was.
    pub(super) fn claimant(&self, package: Uuid) -> Option<Arc<str>> {
        self.claims(package).or_else(|| self.claimed.who_had(package))
    }

    /// The private registry that says that a registry or a package is its own.
    pub(super) fn claims(&self, uuid: Uuid) -> Option<Arc<str>> {
        let private = self.sources.iter().filter(|source| source.rank() == Rank::Private);
        private.into_iter().find(|source| source.claims(uuid) == Claim::Yes).map(|source| source.name().into())
    }
}
