//! What may come in, what may go out, and who may be asked: decided from rules and from what is
//! known of a resource. Pure: no clock, no disk, no network.
//!
//! [`Policy::judge`] is about fetching and serving, [`Policy::privacy`] about public upstreams
//! (`privacy.rs`), [`Policy::age`] about versions that are too young (`age.rs`). Whoever asks gathers
//! the [`Subject`] (`subject.rs`): the mirror, from the registries and packages that are here.

mod age;
mod privacy;
mod subject;

pub use age::Age;
pub use privacy::{Privacy, Surroundings};
pub use subject::{Package, Registry, Subject};

use crate::config::{self, List, Lists};
use serde::Serialize;
use std::fmt;
use subject::Names;

/// The rules of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Policy(config::Policy);

/// What is to be done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// It is brought here.
    Fetch,
    /// It is given to a client.
    Serve,
}

/// What the rules say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be.
    Allowed,
    /// It may not be, and why.
    Denied(Why),
}

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Why {
    /// The key of the list: `policy.deny`.
    pub list: &'static str,
    /// The rule, as it was written; none where a list of what is allowed has none that fits.
    pub rule: Option<String>,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "{} has {rule:?}", self.list),
            None => write!(f, "no rule of {} fits", self.list),
        }
    }
}

impl Policy {
    /// Of a configuration.
    pub const fn new(policy: config::Policy) -> Self {
        Self(policy)
    }

    /// As it was configured.
    pub const fn rules(&self) -> &config::Policy {
        &self.0
    }

    /// Whether there is a rule about this at all: what is asked before every hit.
    pub fn is_silent(&self, act: Act) -> bool {
        self.lists(act).into_iter().all(Lists::is_empty)
    }

    /// Whether there is no rule of any kind.
    pub fn is_empty(&self) -> bool {
        let silent = [Act::Fetch, Act::Serve].into_iter().all(|act| self.is_silent(act));
        silent && self.0.private.rules.is_empty() && self.0.min_age.is_none()
    }

    fn lists(&self, act: Act) -> [&Lists; 2] {
        let own = match act {
            Act::Fetch => &self.0.fetch,
            Act::Serve => &self.0.serve,
        };
        [&self.0.both, own]
    }

    /// Whether this may be done with a resource. Deny wins. A list of what is allowed says nothing
    /// about registries: without them no client finds what is allowed.
    pub fn judge(&self, act: Act, subject: &Subject) -> Verdict {
        match subject {
            Subject::Registry(registry) => self.judge_registry(act, registry),
            Subject::Package(package) => self.judge_package(act, package, &[]),
            Subject::Artifact { tree, owners, .. } => {
                let fits =
                    |list: &List| list.rules.iter().find(|rule| rule.is_artifact(*tree)).map(|rule| why(list, rule));
                let lists = self.lists(act);
                if let Some(why) = lists.iter().find_map(|lists| fits(&lists.deny)) {
                    return Verdict::Denied(why);
                }
                // Lists that allow it by its own name need not allow a package for it.
                let met: Vec<_> =
                    lists.iter().filter(|lists| fits(&lists.allow).is_some()).map(|it| it.allow.key).collect();
                let mut first = None;
                for owner in owners {
                    match self.judge_package(act, owner, &met) {
                        Verdict::Allowed => return Verdict::Allowed,
                        Verdict::Denied(why) => first = first.or(Some(why)),
                    }
                }
                let wanting = lists.iter().map(|lists| &lists.allow);
                let wanting = wanting.into_iter().find(|list| !list.rules.is_empty() && !met.contains(&list.key));
                let unowned = || wanting.map(|list| Why { list: list.key, rule: None });
                first.or_else(|| unowned().filter(|_| owners.is_empty())).map_or(Verdict::Allowed, Verdict::Denied)
            }
        }
    }

    fn judge_registry(&self, act: Act, registry: &Registry) -> Verdict {
        // Without a name none can be held against it: it may come in, for that is how names are learned.
        let is_unknown = |rule: &config::Rule| {
            act == Act::Serve && registry.name.is_none() && matches!(rule.about, config::About::RegistryName(_))
        };
        let fits = |list| first(list, |rule| rule.is_registry(registry) || is_unknown(rule));
        let denied = self.lists(act).into_iter().find_map(|lists| fits(&lists.deny));
        denied.map_or(Verdict::Allowed, Verdict::Denied)
    }

    /// `met` are lists of what is allowed that need not be looked at.
    fn judge_package(&self, act: Act, package: &Package, met: &[&str]) -> Verdict {
        let lists = self.lists(act);
        let denied = lists.iter().find_map(|lists| first(&lists.deny, |rule| rule.is_package(package, Names::All)));
        if let Some(why) = denied {
            return Verdict::Denied(why);
        }
        // What a manifest calls a package must not open the door to it.
        let allows = |list: &List| list.rules.iter().any(|rule| rule.is_package(package, Names::Registered));
        let lists = lists.into_iter().map(|lists| &lists.allow);
        let mut lists = lists.filter(|list| !list.rules.is_empty() && !met.contains(&list.key));
        match lists.find(|list| !allows(list)) {
            Some(list) => Verdict::Denied(Why { list: list.key, rule: None }),
            None => Verdict::Allowed,
        }
    }

    /// Every rule that fits a resource, in any list, for people.
    pub fn fitting(&self, subject: &Subject) -> Vec<Why> {
        let config::Policy { both, fetch, serve, private, .. } = &self.0;
        let lists = [both, fetch, serve].into_iter().flat_map(|lists| [&lists.allow, &lists.deny]).chain([private]);
        let fitting = lists.flat_map(|list| {
            let fits = list.rules.iter().filter(|rule| rule.fits(subject));
            fits.map(|rule| why(list, rule)).collect::<Vec<_>>()
        });
        fitting.collect()
    }
}

fn why(list: &List, rule: &config::Rule) -> Why {
    Why { list: list.key, rule: Some(rule.to_string()) }
}

fn first(list: &List, fits: impl Fn(&config::Rule) -> bool) -> Option<Why> {
    list.rules.iter().find(|rule| fits(rule)).map(|rule| why(list, rule))
}

#[cfg(test)]
mod tests;
