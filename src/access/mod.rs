//! Who may have what: tokens (`token.rs`), what they are good for (`scope.rs`), and what follows from
//! that for a resource. Pure: no clock, no disk, no network.
//!
//! # What it means that a registry is private
//!
//! `[access] private-registries` names registries that only a token shows. Everything else stays open,
//! unless `token = "required"`. What belongs to a private registry is told from what the registries and
//! packages here say, never from what clients or manifests say:
//!
//! - **The registry itself**: its line in every listing, and its tarballs at any tree, derived ones too.
//! - **A package, by its uuid, that only private registries have.** One that a public registry has too is
//!   out in the world. Which tree of it is asked for does not matter.
//! - **An artifact that only such packages name.** One that a public package names too is public.
//! - **What nobody here can tell**: a package that is in no registry that was read, an artifact that no
//!   package here names, a registry whose name is not known where a private one is given by name. It is
//!   taken for private: what was given once cannot be taken back. So a public artifact is open only once a
//!   package that names it is here, and before the registries were read hardly anything is.
//!
//! Without a token that covers it, the answer is 401, with one that does not, 403, and both are the same
//! for what is here, what is not and what does not exist: nobody can find out by asking. Nothing is looked
//! up, fetched or written down as a miss before.
//!
//! What is no resource but may name one is filtered for who asks: listings, `/meta`, the misses, the
//! wishes, the page, the answers to `POST /request` ([`Sight`]). A listing with nothing left in it is 401 or 403,
//! for a client that gets an empty one goes to GitHub.
//!
//! What stays to be seen: `/meta/stats` counts all resources; a derived public registry keeps an entry
//! for a public package that private ones depend on, though no version of it is here. A name says what
//! is private only as long as the registry keeps it: a uuid is better.

mod scope;
mod token;

pub use scope::{Scope, ScopeError};
pub use token::{Label, PREFIX, Token, TokenHash, TokenList, TokenListError};

use crate::config::{About, Access, Rule, TokenNeed};
use crate::policy::{Package, Registry, Subject};

/// What somebody may see: the rules, and the scopes of who asks.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    rules: &'a Access,
    /// Empty for who has no token.
    scopes: &'a [Scope],
}

impl<'a> Sight<'a> {
    /// Of whoever has these scopes; nobody in particular has none.
    pub const fn new(rules: &'a Access, scopes: &'a [Scope]) -> Self {
        Self { rules, scopes }
    }

    /// Whether nothing is hidden from them.
    pub fn is_full(&self) -> bool {
        self.rules.is_open() || self.scopes.iter().any(Scope::is_for_all)
    }

    /// Whether they may ask for anything at all: pages, listings, what is no path here.
    pub fn may_enter(&self) -> bool {
        self.rules.token == TokenNeed::No || self.scopes.iter().any(Scope::is_for_resources)
    }

    /// Whether they may read metrics, which have names of sources and registries in them.
    pub fn may_measure(&self) -> bool {
        self.rules.is_open() || self.scopes.iter().any(|scope| scope.is_for_all() || *scope == Scope::Metrics)
    }

    /// Whether they may have a resource.
    pub fn sees(&self, subject: &Subject) -> bool {
        self.is_full() || self.is_free(subject) || self.scopes.iter().any(|scope| self.covers(scope, subject))
    }

    /// Whether they may have everything that a resource's name could come from: an artifact is called
    /// after a package, and one of its packages may be private.
    pub fn sees_names_of(&self, subject: &Subject) -> bool {
        let sees_registries = |package: &Package| {
            package.registries.iter().all(|registry| self.sees(&Subject::Registry(registry.clone())))
        };
        self.is_full()
            || (self.sees(subject)
                && match subject {
                    Subject::Registry(_) => true,
                    Subject::Package(package) => sees_registries(package),
                    Subject::Artifact { owners, .. } => owners.iter().all(sees_registries),
                })
    }

    /// Whether anybody may have it.
    pub fn is_free(&self, subject: &Subject) -> bool {
        self.rules.token == TokenNeed::No && is_public(self.rules, subject)
    }

    fn covers(&self, scope: &Scope, subject: &Subject) -> bool {
        match scope {
            Scope::All | Scope::Admin => true,
            Scope::Metrics => false,
            Scope::Registry(rule) => match subject {
                Subject::Registry(registry) => rule.is_registry(registry),
                Subject::Package(package) => is_in(rule, package),
                Subject::Artifact { owners, .. } => owners.iter().any(|owner| is_in(rule, owner)),
            },
            Scope::Package(rule) => match subject {
                // Without a registry no client finds the package.
                Subject::Registry(_) => is_public(self.rules, subject),
                Subject::Package(package) => is_called(rule, package),
                Subject::Artifact { owners, .. } => owners.iter().any(|owner| is_called(rule, owner)),
            },
        }
    }
}

/// Whether it belongs to no private registry only, for all that is known.
fn is_public(rules: &Access, subject: &Subject) -> bool {
    if rules.private().is_empty() {
        return true;
    }
    match subject {
        Subject::Registry(registry) => is_public_registry(rules, registry),
        Subject::Package(package) => is_public_package(rules, package),
        Subject::Artifact { owners, .. } => owners.iter().any(|owner| is_public_package(rules, owner)),
    }
}

fn is_public_registry(rules: &Access, registry: &Registry) -> bool {
    let by_name = |rule: &Rule| matches!(rule.about, About::RegistryName(_));
    let is_unknown = registry.name.is_none() && rules.private().iter().any(by_name);
    !is_unknown && !rules.private().iter().any(|rule| rule.is_registry(registry))
}

fn is_public_package(rules: &Access, package: &Package) -> bool {
    package.registries.iter().any(|registry| is_public_registry(rules, registry))
}

fn is_in(rule: &Rule, package: &Package) -> bool {
    package.registries.iter().any(|registry| rule.is_registry(registry))
}

/// Only what registries call it counts: what a manifest does must open no door.
fn is_called(rule: &Rule, package: &Package) -> bool {
    match &rule.about {
        About::Package(uuid) => *uuid == package.uuid,
        About::Name(pattern) => package.names.iter().any(|name| pattern.matches(name)),
        About::Registry(_) | About::RegistryName(_) | About::Artifact(_) => false,
    }
}

#[cfg(test)]
mod tests;
