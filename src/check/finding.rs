//! What stands in the way of a manifest beside missing files: what clients will not even ask a
//! package server for. The rules are Pkg's; each sentence says what to do.

use crate::closure::{Content, Input, Listed, Plan, RepositoryState, UnmirrorableKind};
use crate::git;
use crate::julia::{Manifest, Origin, stdlib};
use crate::protocol::{GENERAL, RepositoryFile, TreeHash, Uuid};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What is here of the git repositories that inputs name, by address.
pub(super) type Repositories = BTreeMap<String, RepositoryState>;

/// Something about a package or a registry that whoever instantiates a manifest will meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What, in a word.
    pub kind: FindingKind,
    /// The package's or registry's name.
    pub name: Option<String>,
    /// Its uuid.
    pub uuid: Option<Uuid>,
    /// The package's version, if the manifest has one.
    pub version: Option<String>,
    /// The tree that the manifest names.
    pub tree: Option<TreeHash>,
    /// The address of a git repository that clients will clone.
    pub url: Option<String>,
    /// The git bundle of that repository, as a path below the cache, if it is here.
    pub file: Option<RepositoryFile>,
    /// What clients do.
    pub why: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// What is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// No registry is listed at all.
    NoRegistry,
    /// The manifest names a registry that is not listed.
    RegistryNotListed,
    /// A package from a git repository that is not here.
    Git,
    /// A note: a package from a git repository, whose git bundle is here.
    NeedsGit,
    /// A package without a tree hash that no registry here has.
    Unhashed,
    /// A package that no registry has which is listed here.
    Unregistered,
    /// A note: the package is registered, this version is not.
    VersionNotListed,
    /// A note: General is not listed.
    GeneralNotListed,
}

/// What to do where a repository is a folder: `prewarm --git` does not take it, for whoever writes a
/// manifest must not choose what of this machine is copied.
const PUSH_IT: &str = "its address is a folder of one machine, which nothing here takes: use a registered version, or put the repository on a git server, add the package by that address and resolve the manifest again";

impl FindingKind {
    /// Whether it is only a note: instantiation works all the same.
    pub const fn is_note(self) -> bool {
        matches!(self, Self::VersionNotListed | Self::GeneralNotListed | Self::NeedsGit)
    }

    /// Whether it is a package that no package server can give.
    pub const fn is_unmirrorable(self) -> bool {
        matches!(self, Self::Git | Self::Unhashed | Self::Unregistered)
    }

    /// What clients do (Pkg `Operations.jl`, `Registry.jl`).
    const fn why(self) -> &'static str {
        match self {
            Self::NoRegistry => "no registry is listed here, so clients try to clone General from GitHub",
            Self::RegistryNotListed => {
                "the manifest names this registry and it is not listed here: Julia 1.13 and later clone it from its address before anything else"
            }
            Self::Git => "it was added by the address of a git repository: no Julia asks a package server for it",
            Self::NeedsGit => {
                "it needs git inside: it was added by the address of a git repository, which is here as a git bundle, and no Julia asks a package server for it"
            }
            Self::Unhashed => {
                "the manifest has no tree hash for it, no Julia ships it, and no registry here has this version"
            }
            Self::Unregistered => {
                "no registry that is listed here has it: since Julia 1.8 clients do not ask the package server for it and `instantiate` ends with \"expected package to be registered\"; since 1.13 they do not ask for its artifacts either"
            }
            Self::VersionNotListed => {
                "no registry that is listed here has this version: `instantiate` takes it by its hash all the same, the resolver (`add`, `up`) does not know it"
            }
            Self::GeneralNotListed => {
                "a client with an empty depot tries to clone General from GitHub when the server does not list it"
            }
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::NoRegistry => "carry the registries and the listings over: they are the last part of every transfer",
            Self::RegistryNotListed => "prewarm from a package server that lists it, and carry it over",
            Self::Git => {
                "use a registered version, or mirror the repository with `airlock prewarm --git` and carry it over, or put a copy of it inside and let git rewrite its address (url.<copy>.insteadOf)"
            }
            Self::NeedsGit => {
                "make a repository of the file on a git server inside (`git clone --mirror`) and let git rewrite its address (url.<copy>.insteadOf)"
            }
            Self::Unhashed => "resolve the manifest again with the Julia that will use it",
            Self::Unregistered => "carry over the registry that has it, or a newer state of it",
            Self::VersionNotListed => "carry over a newer registry",
            Self::GeneralNotListed => "carry General over too, unless every depot has its registries already",
        }
    }

    fn found(self) -> Finding {
        Finding {
            kind: self,
            name: None,
            uuid: None,
            version: None,
            tree: None,
            url: None,
            file: None,
            why: self.why(),
            remedy: self.remedy(),
        }
    }
}

/// What is found about one input. Lists of misses and artifacts need no registry.
pub(super) fn of_input(input: &Input, plan: &Plan, listed: &Listed, repositories: &Repositories) -> BTreeSet<Finding> {
    let mut findings = BTreeSet::new();
    let manifest = match &input.content {
        Ok(Content::Manifest(manifest)) => Some(manifest),
        // Its versions were chosen from the registries that are listed.
        Ok(Content::Resolved(_)) => None,
        _ => return findings,
    };
    findings.extend(manifest.into_iter().flat_map(|manifest| of_registries(manifest, listed)));
    findings.extend(plan.unmirrorable.iter().map(|entry| {
        let state = entry.repo_url.as_ref().and_then(|url| repositories.get(url)).filter(|state| state.gives(entry));
        let kind = match entry.kind {
            UnmirrorableKind::Git if state.is_some() => FindingKind::NeedsGit,
            UnmirrorableKind::Git => FindingKind::Git,
            UnmirrorableKind::Unhashed => FindingKind::Unhashed,
        };
        let (name, uuid, version) = (Some(entry.name.clone()), Some(entry.uuid), entry.version.clone());
        let is_local = kind == FindingKind::Git && entry.repo_url.as_deref().is_some_and(git::is_local);
        let found = kind.found();
        let found = if is_local { Finding { remedy: PUSH_IT, ..found } } else { found };
        let (url, tree, file) = (entry.repo_url.clone(), entry.tree, state.and_then(|state| state.file.clone()));
        Finding { name, uuid, version, tree, url, file, ..found }
    }));
    // Of a registry that cannot be read nobody knows what it has.
    if listed.is_readable() && !listed.states.is_empty() {
        findings.extend(manifest.into_iter().flat_map(|manifest| of_packages(manifest, listed)));
    }
    findings
}

fn of_registries(manifest: &Manifest, listed: &Listed) -> Vec<Finding> {
    if listed.states.is_empty() {
        return vec![FindingKind::NoRegistry.found()];
    }
    let absent = manifest.registries.iter().filter(|registry| !listed.has(registry.uuid));
    let mut findings: Vec<_> = absent
        .map(|registry| Finding {
            name: Some(registry.name.clone()),
            uuid: Some(registry.uuid),
            url: registry.url.clone(),
            ..FindingKind::RegistryNotListed.found()
        })
        .collect();
    if !listed.has(GENERAL) {
        let (name, uuid) = (Some("General".to_owned()), Some(GENERAL));
        findings.push(Finding { name, uuid, ..FindingKind::GeneralNotListed.found() });
    }
    findings
}

/// Standard libraries need no registry: a client takes its own, whatever the manifest says.
fn of_packages(manifest: &Manifest, listed: &Listed) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in &manifest.entries {
        let Origin::Registered { tree } = entry.origin else { continue };
        let kind = match listed.knows(entry.uuid) {
            false if stdlib::is_stdlib(entry.uuid) => continue,
            false => FindingKind::Unregistered,
            true if listed.knows_at(entry.uuid, tree) => continue,
            true => FindingKind::VersionNotListed,
        };
        findings.push(Finding {
            name: Some(entry.name.clone()),
            uuid: Some(entry.uuid),
            version: entry.version.clone(),
            tree: Some(tree),
            ..kind.found()
        });
    }
    findings
}
