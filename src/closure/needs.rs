//! What a project needs for one Julia, with the members of its workspace and the folders that it
//! takes packages from.

use super::project_input::ProjectInput;
use super::{Unmirrorable, UnmirrorableKind};
use crate::config::without_credentials;
use crate::julia::stdlib::{self, Shipped};
use crate::julia::{CompatEntry, JuliaTarget, Project, ProjectSource, RegisteredVersion, Version};
use crate::protocol::Uuid;
use crate::resolve::Root;
use std::collections::{BTreeMap, BTreeSet};

/// What a project needs.
#[derive(Debug, Clone, Default)]
pub(super) struct Needs {
    /// What must be there, by the name that somebody has for it.
    pub(super) roots: Vec<(String, Root)>,
    /// What it says about packages that need not be there.
    bounds: BTreeMap<Uuid, Vec<CompatEntry>>,
    /// What comes from git repositories.
    pub(super) git: BTreeSet<Unmirrorable>,
    /// What comes from folders.
    pub(super) local: BTreeSet<Uuid>,
    /// The packages that these projects are, in their versions: no registry decides those
    /// (`collect_fixed!`).
    pub(super) fixed: BTreeMap<Uuid, Version>,
    /// What somebody should know, a line each.
    pub(super) notes: BTreeSet<String>,
    /// What it says about Julia, if it does not take this one.
    pub(super) excludes_julia: Option<String>,
}

/// Since 1.9 what stands among the weak dependencies too is no dependency, and since 1.11 sources
/// count.
const WEAK_SINCE: (u32, u32) = (1, 9);
const SOURCES_SINCE: (u32, u32) = (1, 11);
/// Since 1.8 compat does not bound what Julia ships (`unbind_stdlibs` in `resolve_versions!`).
const STDLIBS_UNBOUND_SINCE: (u32, u32) = (1, 8);

impl Needs {
    pub(super) fn of(input: &ProjectInput, julia: &JuliaTarget, tests: bool) -> Self {
        let mut needs = Self::default();
        let minor = (julia.version().major, julia.version().minor);
        let mut projects: Vec<&Project> = std::iter::once(&input.project).chain(&input.members).collect();
        projects.extend(input.tests.iter().filter(|_| tests));
        // Packages of the workspace are their own folders.
        let own: BTreeSet<Uuid> = projects.iter().filter_map(|project| project.uuid).collect();
        let mut read = BTreeSet::new();
        while let Some(project) = projects.pop() {
            let mut deps = project.deps.clone();
            if minor >= WEAK_SINCE {
                deps.retain(|name, _| !project.weakdeps.contains_key(name));
                needs.bound(project);
            }
            needs.fixed.extend(project.uuid.map(|uuid| (uuid, project.version.clone().unwrap_or_else(no_version))));
            // Where there is a test/Project.toml, Pkg looks at that alone.
            if tests && input.tests.is_none() && std::ptr::eq(project, &raw const input.project) {
                deps.extend(project.test_deps());
            }
            let takes_julia = project.compat.get("julia").is_none_or(|compat| compat.accepts(julia.version()));
            if !takes_julia {
                needs.excludes_julia = project.compat.get("julia").map(|compat| compat.text.clone());
            }
            for (name, uuid) in deps.into_iter().filter(|(_, uuid)| !own.contains(uuid)) {
                match project.sources.get(&name).filter(|_| minor >= SOURCES_SINCE) {
                    Some(ProjectSource::Git(url)) => needs.add_git(name, uuid, url),
                    Some(ProjectSource::Path(_)) => {
                        needs.local.insert(uuid);
                        if read.insert(uuid) {
                            projects.extend(input.folders.iter().filter(|folder| folder.uuid == Some(uuid)));
                        }
                    }
                    None => {
                        let compat = project.compat.get(&name).filter(|compat| {
                            let unbound = minor >= STDLIBS_UNBOUND_SINCE && is_shipped(uuid, julia);
                            needs.notes.extend(overruled(&name, uuid, compat, julia).filter(|_| unbound));
                            !unbound
                        });
                        let ranges = compat.map(|compat| compat.ranges.clone()).unwrap_or_default();
                        needs.roots.push((name, Root { uuid, ranges }));
                    }
                }
            }
        }
        // What one of them takes from a folder or a repository, the others do not take from a registry.
        let elsewhere: BTreeSet<_> = needs.git.iter().map(|git| git.uuid).chain(needs.local.iter().copied()).collect();
        needs.roots.retain(|(_, root)| !elsewhere.contains(&root.uuid));
        needs.roots.sort_by(|a, b| a.0.cmp(&b.0));
        needs
    }

    /// What the project says against a version of a package that need not be there.
    pub(super) fn forbid(&self, uuid: Uuid, version: &RegisteredVersion<'_>) -> Option<String> {
        let number: Version = version.version.parse().ok()?;
        let bound = self.bounds.get(&uuid)?.iter().find(|bound| !bound.accepts(&number))?;
        Some(format!("the project wants {} {}", version.name, bound.text))
    }

    fn bound(&mut self, project: &Project) {
        for (name, uuid) in &project.weakdeps {
            self.bounds.entry(*uuid).or_default().extend(project.compat.get(name).cloned());
        }
    }

    fn add_git(&mut self, name: String, uuid: Uuid, url: &str) {
        let repo_url = Some(without_credentials(url));
        self.git.insert(Unmirrorable { name, uuid, version: None, kind: UnmirrorableKind::Git, repo_url, tree: None });
    }
}

/// What Pkg takes for the version of a package that says none.
fn no_version() -> Version {
    Version::default()
}

fn is_shipped(uuid: Uuid, julia: &JuliaTarget) -> bool {
    stdlib::shipped(uuid, julia.version()) != Shipped::No
}

/// That a project wants another version of a library than its Julia ships.
fn overruled(name: &str, uuid: Uuid, compat: &CompatEntry, julia: &JuliaTarget) -> Option<String> {
    let (version, shown) = match stdlib::shipped(uuid, julia.version()) {
        Shipped::No => return None,
        Shipped::Unversioned => (julia.version().clone(), julia.to_string()),
        Shipped::Version(version) => (version.parse().ok()?, version.to_owned()),
    };
    let text = &compat.text;
    let said = || format!("the project wants {name} {text}, and Julia {julia} ships {shown}, which counts, as for Pkg");
    (!compat.accepts(&version)).then(said)
}
