//! Who may be asked for a resource: anybody, or nobody that others run.
//!
//! Where it cannot be told whether something is private, it is taken to be: what was asked once
//! cannot be taken back.

use super::subject::Names;
use super::{Package, Policy, Registry, Subject, Why, first, why};
use std::fmt;
use std::sync::Arc;

/// Who may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// Anybody.
    Public,
    /// A rule makes it private.
    Rule(Why),
    /// A private registry has it, or is it.
    Registry(Arc<str>),
    /// What is in a private registry now is not known, and no public one here has it.
    Unread(Arc<str>),
    /// Something is private here, and nobody here can say what this is.
    Unknown,
}

/// What else matters for privacy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Whether there is any private registry.
    pub private_registries: bool,
    /// A private registry of which it is not known yet what it has.
    pub unread: Option<Arc<str>>,
}

impl Privacy {
    /// Whether public upstreams may be asked.
    pub const fn is_public(&self) -> bool {
        matches!(self, Self::Public)
    }

    /// What is known to be private first, what anybody may be asked for last.
    const fn strictness(&self) -> u8 {
        match self {
            Self::Rule(_) | Self::Registry(_) => 2,
            Self::Unread(_) | Self::Unknown => 1,
            Self::Public => 0,
        }
    }

    /// Whether it is known to be private, not only taken to be.
    pub const fn is_private(&self) -> bool {
        matches!(self, Self::Rule(_) | Self::Registry(_))
    }
}

impl fmt::Display for Privacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("anybody may be asked for it"),
            Self::Rule(why) => write!(f, "it is private: {why}"),
            Self::Registry(name) => write!(f, "it is private: it belongs to {name}"),
            Self::Unread(name) => write!(
                f,
                "it may be private: what is in {name} now is not known, and no public registry here has it; it can be told once that registry is reached"
            ),
            Self::Unknown => f.write_str("it may be private: no registry, package or manifest here says what it is"),
        }
    }
}

impl Policy {
    /// Who may be asked for a resource.
    pub fn privacy(&self, subject: &Subject, around: &Surroundings) -> Privacy {
        let private = &self.rules().private;
        if private.rules.is_empty() && !around.private_registries {
            return Privacy::Public;
        }
        match subject {
            Subject::Registry(registry) => self.of_registry(registry),
            Subject::Package(package) => self.of_package(package, around),
            Subject::Artifact { tree, owners, said, said_of } => {
                if let Some(rule) = private.rules.iter().find(|rule| rule.is_artifact(*tree)) {
                    return Privacy::Rule(why(private, rule));
                }
                let of = |packages: &[Package]| -> Vec<_> {
                    packages.iter().map(|package| self.of_package(package, around)).collect()
                };
                let strictest = |all: Vec<Privacy>| all.into_iter().max_by_key(Privacy::strictness);
                if !owners.is_empty() {
                    // It is out in the world if one public package names it.
                    let all = of(owners);
                    let is_out = all.iter().any(Privacy::is_public);
                    return strictest(all).filter(|_| !is_out).unwrap_or(Privacy::Public);
                }
                if let Some(rule) = private.rules.iter().find(|rule| rule.is_said(said)) {
                    return Privacy::Rule(why(private, rule));
                }
                // Of what is only said, all that it may mean must be public.
                strictest(of(said_of)).unwrap_or_else(|| unknown(said.is_empty(), around))
            }
        }
    }

    fn of_registry(&self, registry: &Registry) -> Privacy {
        if let Some(why) = first(&self.rules().private, |rule| rule.is_registry(registry)) {
            return Privacy::Rule(why);
        }
        match &registry.claimed_by {
            Some(name) => Privacy::Registry(Arc::clone(name)),
            None if registry.is_listed => Privacy::Public,
            None => Privacy::Unknown,
        }
    }

    fn of_package(&self, package: &Package, around: &Surroundings) -> Privacy {
        let private = &self.rules().private;
        if let Some(why) = first(private, |rule| !rule.is_of_registries() && rule.is_package(package, Names::All)) {
            return Privacy::Rule(why);
        }
        // Of a package that a private registry has too, this very version is out in the world.
        if package.published_by.iter().any(|registry| self.of_registry(registry).is_public()) {
            return Privacy::Public;
        }
        if let Some(why) = first(private, |rule| rule.is_package(package, Names::All)) {
            return Privacy::Rule(why);
        }
        let claimed = package.registries.iter().find_map(|registry| registry.claimed_by.as_ref());
        if let Some(name) = package.claimed_by.as_ref().or(claimed) {
            return Privacy::Registry(Arc::clone(name));
        }
        if package.registries.iter().any(|registry| registry.is_listed) {
            return Privacy::Public;
        }
        if !package.registries.is_empty() {
            return Privacy::Unknown;
        }
        unknown(package.said.is_empty(), around)
    }
}

/// Of what no registry here has: a name that a manifest gives can be held against the patterns.
fn unknown(is_nameless: bool, around: &Surroundings) -> Privacy {
    match &around.unread {
        Some(name) => Privacy::Unread(Arc::clone(name)),
        None if is_nameless => Privacy::Unknown,
        None => Privacy::Public,
    }
}
