//! What the policy comes to for a resource, told to people.

use super::Mirror;
use crate::policy::{Act, Age, Privacy, Subject, Verdict, Why};
use crate::protocol::{Kind, Resource, TreeHash, Uuid};
use crate::source::{Claim, Rank, Source};
use crate::store::{FirstSeen, StoreError};

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
}
