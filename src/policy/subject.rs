//! What is known of a resource, as far as rules ask for it, and which rules fit.

use crate::config::{About, Rule};
use crate::protocol::{Resource, TreeHash, Uuid};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A resource with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A registry.
    Registry(Registry),
    /// A package, in any version.
    Package(Package),
    /// An artifact.
    Artifact {
        /// Which.
        tree: TreeHash,
        /// The packages here that name it.
        owners: Vec<Package>,
        /// What inputs call it, and the package that they say it is of: words of others, which count
        /// only where no package here names it.
        said: BTreeSet<Arc<str>>,
        /// That package: each that is known here by such a name, or else one of which nothing is known.
        said_of: Vec<Package>,
    },
}

/// A package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its uuid.
    pub uuid: Uuid,
    /// What the registries here call it.
    pub names: BTreeSet<Arc<str>>,
    /// What manifests call it.
    pub said: BTreeSet<Arc<str>>,
    /// The registries here that have it.
    pub registries: Vec<Registry>,
    /// The registries here that have the version that is asked for and that public upstreams list just as
    /// they are here.
    pub published_by: Vec<Registry>,
    /// The private registry that has it or had it once, also where no registry here does.
    pub claimed_by: Option<Arc<str>>,
}

/// A registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// Its uuid.
    pub uuid: Uuid,
    /// Its name, once it was read.
    pub name: Option<Arc<str>>,
    /// The private source that it comes from.
    pub claimed_by: Option<Arc<str>>,
    /// Whether a public upstream lists it, or has listed it.
    pub is_listed: bool,
}

/// Whose words count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Those of registries.
    Registered,
    /// Those of manifests too.
    All,
}

impl Subject {
    /// A resource of which nothing is known.
    pub fn unknown(resource: &Resource) -> Self {
        match *resource {
            Resource::Registry { uuid, .. } => Self::Registry(Registry::new(uuid)),
            Resource::Package { uuid, .. } => Self::Package(Package::new(uuid)),
            Resource::Artifact { tree } => {
                Self::Artifact { tree, owners: Vec::new(), said: BTreeSet::new(), said_of: Vec::new() }
            }
        }
    }
}

impl Package {
    /// A package of which nothing is known.
    pub const fn new(uuid: Uuid) -> Self {
        Self {
            uuid,
            names: BTreeSet::new(),
            said: BTreeSet::new(),
            registries: Vec::new(),
            published_by: Vec::new(),
            claimed_by: None,
        }
    }
}

impl Registry {
    /// A registry of which nothing is known.
    pub const fn new(uuid: Uuid) -> Self {
        Self { uuid, name: None, claimed_by: None, is_listed: false }
    }
}

impl Rule {
    /// Whether it is about this registry.
    pub fn is_registry(&self, registry: &Registry) -> bool {
        match &self.about {
            About::Registry(uuid) => *uuid == registry.uuid,
            About::RegistryName(pattern) => registry.name.as_ref().is_some_and(|name| pattern.matches(name)),
            About::Name(_) | About::Package(_) | About::Artifact(_) => false,
        }
    }

    /// Whether it is about registries, and about packages only as far as those have them.
    pub fn is_of_registries(&self) -> bool {
        matches!(self.about, About::Registry(_) | About::RegistryName(_))
    }

    /// Whether it is about this package.
    pub(super) fn is_package(&self, package: &Package, names: Names) -> bool {
        match &self.about {
            About::Package(uuid) => *uuid == package.uuid,
            About::Name(pattern) => {
                let said = package.said.iter().filter(|_| names == Names::All);
                package.names.iter().chain(said).any(|name| pattern.matches(name))
            }
            About::Registry(_) | About::RegistryName(_) => {
                package.registries.iter().any(|registry| self.is_registry(registry))
            }
            About::Artifact(_) => false,
        }
    }

    /// Whether it is about the artifact with this tree, by that.
    pub(super) fn is_artifact(&self, tree: TreeHash) -> bool {
        matches!(&self.about, About::Artifact(about) if *about == tree)
    }

    /// Whether what inputs say of an artifact fits.
    pub(super) fn is_said(&self, said: &BTreeSet<Arc<str>>) -> bool {
        matches!(&self.about, About::Name(pattern) if said.iter().any(|name| pattern.matches(name)))
    }

    /// Whether it has to do with a resource in any way.
    pub(super) fn fits(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Registry(registry) => self.is_registry(registry),
            Subject::Package(package) => self.is_package(package, Names::All),
            Subject::Artifact { tree, owners, .. } => {
                self.is_artifact(*tree) || owners.iter().any(|owner| self.is_package(owner, Names::All))
            }
        }
    }
}
