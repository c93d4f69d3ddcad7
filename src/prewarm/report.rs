//! What a run came to, as one document. Every key is always there, `null` where nothing is known,
//! and the order depends on nothing but the content.

use super::manifest::Written;
use super::run::Done;
use super::solved::{conflicts, solved};
use super::{ConflictReport, Estimate, Outcome, Request, SolvedReport, Status};
use crate::closure::{
    Input, InputReport, RepositoryState, Unmirrorable, UnmirrorableKind, WantedArtifact, WantedPackage,
    WantedRepository, one_line,
};
use crate::protocol::{GENERAL, RegistryTree, RepositoryFile, Resource, TreeHash, Uuid};
use serde::Serialize;
use std::io;
use std::path::PathBuf;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The files that were read, and the paths that gave none.
    pub inputs: Vec<InputReport>,
    /// What was chosen for names and projects, for each Julia.
    pub solved: Vec<SolvedReport>,
    /// What could not be chosen.
    pub conflicts: Vec<ConflictReport>,
    /// How much it is, where many versions were asked for.
    pub estimate: Option<Estimate>,
    /// Why the manifest that was asked for was not written.
    pub unwritten: Option<String>,
    /// Registries, by uuid and tree.
    pub registries: Vec<RegistryReport>,
    /// Packages, by name, uuid, version and tree.
    pub packages: Vec<PackageReport>,
    /// Artifacts, by package, names and tree.
    pub artifacts: Vec<ArtifactReport>,
    /// Git repositories that inputs name, by address: all if they were to be mirrored, else those
    /// that are here.
    pub repositories: Vec<RepositoryReport>,
    /// What no package server can give and no repository here has, by name.
    pub unmirrorable: Vec<Unmirrorable>,
    /// How many packages are standard libraries.
    pub standard_libraries: usize,
    /// How many packages are folders on the machine that wrote the manifest.
    pub local_paths: usize,
    /// Over registries, packages and artifacts.
    pub totals: Totals,
    /// Packages that are not here, so that their artifacts are not known.
    pub unopened_packages: usize,
    #[serde(skip)]
    dry_run: bool,
    #[serde(skip)]
    allow_unmirrorable: bool,
}

/// A registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RegistryReport {
    /// Its uuid.
    pub uuid: Uuid,
    /// Its tree; unknown until an upstream was asked.
    pub tree: Option<TreeHash>,
    /// What came of it.
    pub status: Status,
    /// Its size, if it is here.
    pub bytes: Option<u64>,
    /// In words, if it failed.
    pub reason: Option<String>,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PackageReport {
    /// Its name.
    pub name: Option<String>,
    /// Its uuid.
    pub uuid: Uuid,
    /// Its version.
    pub version: Option<String>,
    /// The tree of the version.
    pub tree: TreeHash,
    /// What came of it.
    pub status: Status,
    /// Its size, if it is here.
    pub bytes: Option<u64>,
    /// In words, if it failed.
    pub reason: Option<String>,
    /// Where it came from, if this run fetched it: a package server, a repository or an address.
    pub from: Option<String>,
}

/// An artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArtifactReport {
    /// Its tree.
    pub tree: TreeHash,
    /// All that it is called.
    pub names: Vec<String>,
    /// The package that names it, of several the first by name; `null` if only an input does.
    pub package: Option<String>,
    /// The platforms that it is for, as triplets; empty for any.
    pub platforms: Vec<String>,
    /// Whether Pkg leaves it until it is used.
    pub lazy: bool,
    /// What came of it.
    pub status: Status,
    /// Its size, if it is here.
    pub bytes: Option<u64>,
    /// In words, if it failed.
    pub reason: Option<String>,
    /// Where it came from, if this run fetched it: a package server, a repository or an address.
    pub from: Option<String>,
}

/// A git repository that manifests name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepositoryReport {
    /// Its address, without a user and password.
    pub url: String,
    /// The packages in it, by name.
    pub packages: Vec<String>,
    /// Its git bundle, as a path below the cache; `null` if its address can be none.
    pub file: Option<RepositoryFile>,
    /// What came of it.
    pub status: Status,
    /// The size of the file, if it is here.
    pub bytes: Option<u64>,
    /// The trees that manifests name and that are in the file.
    pub trees: Vec<TreeHash>,
    /// The trees that manifests name and that are not.
    pub missing: Vec<TreeHash>,
    /// In words, if there is something to be said.
    pub reason: Option<String>,
}

/// How many resources have which status, and the bytes of those that are here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Wanted and not here.
    pub planned: usize,
    /// Here before.
    pub cached: usize,
    /// Fetched by this run.
    pub fetched: usize,
    /// Not to be had.
    pub failed: usize,
    /// Denied by the policy.
    pub denied: usize,
    /// Of all that is here now.
    pub bytes: u64,
}

impl Report {
    pub(super) fn new(request: &Request, inputs: &[Input], registries: Vec<RegistryReport>, done: Done) -> Self {
        let Done { plan, mut outcomes, opened, repositories } = done;
        let skipped = if request.dry_run { Outcome::planned } else { Outcome::interrupted };
        let mut outcome = |resource: &Resource| outcomes.remove(resource).unwrap_or_else(skipped);
        let mut report = Self { registries, ..Self::empty(request) };
        report.inputs = inputs.iter().map(InputReport::new).collect();
        report.solved = solved(inputs);
        report.conflicts = conflicts(inputs);
        report.add_registries(plan.registries.iter().map(|at| (at, outcome(at))));
        report.packages = plan.packages.iter().filter_map(|(at, of)| PackageReport::new(at, of, outcome(at))).collect();
        report.packages.sort_unstable();
        report.artifacts = plan.artifacts.iter().map(|(at, of)| ArtifactReport::new(at, of, outcome(at))).collect();
        report.artifacts.sort_by(|a, b| (&a.package, &a.names, a.tree).cmp(&(&b.package, &b.names, b.tree)));
        report.unopened_packages = plan.packages.len().saturating_sub(opened);
        let is_here = |entry: &Unmirrorable| repositories.iter().any(|repository| repository.gives(entry));
        report.unmirrorable = plan.unmirrorable.into_iter().filter(|entry| !is_here(entry)).collect();
        report.repositories = repositories;
        report.standard_libraries = plan.standard_libraries.len();
        report.local_paths = plan.local_paths.len();
        report.totals = report.count();
        report
    }

    /// Nothing could even be read.
    pub(super) fn unread(request: &Request, error: &io::Error) -> Self {
        let error = Some(one_line(&error.to_string()));
        let input = |path: &PathBuf| InputReport { error: error.clone(), ..InputReport::of(path) };
        Self { inputs: request.paths.iter().map(input).collect(), ..Self::empty(request) }
    }

    /// No input could be used.
    pub(super) fn unusable(request: &Request, inputs: &[Input]) -> Self {
        Self { inputs: inputs.iter().map(InputReport::new).collect(), ..Self::empty(request) }
    }

    fn empty(request: &Request) -> Self {
        Self {
            inputs: Vec::new(),
            solved: Vec::new(),
            conflicts: Vec::new(),
            estimate: None,
            unwritten: None,
            registries: Vec::new(),
            packages: Vec::new(),
            artifacts: Vec::new(),
            repositories: Vec::new(),
            unmirrorable: Vec::new(),
            standard_libraries: 0,
            local_paths: 0,
            totals: Totals::default(),
            unopened_packages: 0,
            dry_run: request.dry_run,
            allow_unmirrorable: request.allow_unmirrorable,
        }
    }

    pub(super) fn add_manifests(&mut self, written: Vec<Written>) {
        for Written { input, julia, manifest } in written {
            let of = self.solved.iter_mut().filter(|it| (&it.input, &it.julia, it.tests) == (&input, &julia, false));
            of.for_each(|solved| solved.manifest = Some(manifest.clone()));
        }
    }

    /// Whether all that was asked for is here. A dry run is complete when every input could be
    /// read: it asks for no more.
    pub fn is_complete(&self) -> bool {
        let readable = self.inputs.iter().all(|input| input.error.is_none());
        let here = self.totals.failed + self.totals.denied + self.totals.planned == 0;
        let mirrorable = self.allow_unmirrorable || self.unmirrorable.is_empty();
        let mirrored = self.repositories.iter().all(RepositoryReport::is_here);
        let chosen = self.conflicts.is_empty() && self.unwritten.is_none();
        readable && chosen && (self.dry_run || (here && mirrorable && mirrored))
    }

    /// The exit code of the process: 0 if complete, else 1.
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.is_complete())
    }

    /// The registries that an input names, beside those that upstream lists.
    fn add_registries<'r>(&mut self, named: impl Iterator<Item = (&'r Resource, Outcome)>) {
        for (resource, outcome) in named {
            let Resource::Registry { uuid, tree } = *resource else { continue };
            if !self.registries.iter().any(|known| (known.uuid, known.tree) == (uuid, Some(tree))) {
                self.registries.push(RegistryReport::new(RegistryTree { uuid, tree }, outcome));
            }
        }
        self.registries.sort_unstable();
    }

    fn count(&self) -> Totals {
        let mut totals = Totals::default();
        self.registries.iter().for_each(|registry| totals.add(registry.status, registry.bytes));
        self.packages.iter().for_each(|package| totals.add(package.status, package.bytes));
        self.artifacts.iter().for_each(|artifact| totals.add(artifact.status, artifact.bytes));
        totals
    }
}

impl Totals {
    fn add(&mut self, status: Status, bytes: Option<u64>) {
        match status {
            Status::Planned => self.planned += 1,
            Status::Cached => self.cached += 1,
            Status::Fetched => self.fetched += 1,
            Status::Failed => self.failed += 1,
            Status::Denied => self.denied += 1,
        }
        self.bytes = self.bytes.saturating_add(bytes.unwrap_or_default());
    }
}

impl RegistryReport {
    pub(super) fn new(RegistryTree { uuid, tree }: RegistryTree, outcome: Outcome) -> Self {
        let Outcome { status, bytes, reason, .. } = outcome;
        Self { uuid, tree: Some(tree), status, bytes, reason }
    }

    /// A registry of which no tree is known. It speaks for General: what every client wants.
    pub(super) fn unknown(outcome: Outcome) -> Self {
        let Outcome { status, bytes, reason, .. } = outcome;
        Self { uuid: GENERAL, tree: None, status, bytes, reason }
    }
}

impl RepositoryReport {
    pub(super) fn new(wanted: &WantedRepository, state: RepositoryState, outcome: Outcome) -> Self {
        Self {
            url: wanted.url.clone(),
            packages: wanted.packages.iter().cloned().collect(),
            file: state.file,
            status: outcome.status,
            bytes: state.bytes,
            trees: state.trees.into_iter().collect(),
            missing: state.missing.into_iter().collect(),
            reason: outcome.reason,
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome { status: self.status, bytes: self.bytes, reason: self.reason.clone(), from: None }
    }

    /// Whether all that is wanted of it is here.
    pub fn is_here(&self) -> bool {
        matches!(self.status, Status::Cached | Status::Fetched)
    }

    /// Whether it has what an entry of a manifest stands for.
    fn gives(&self, entry: &Unmirrorable) -> bool {
        let here = self.bytes.is_some() && entry.tree.map_or(self.is_here(), |tree| self.trees.contains(&tree));
        entry.kind == UnmirrorableKind::Git && entry.repo_url.as_ref() == Some(&self.url) && here
    }
}

impl PackageReport {
    fn new(at: &Resource, package: &WantedPackage, outcome: Outcome) -> Option<Self> {
        let WantedPackage { name, version } = package.clone();
        let Outcome { status, bytes, reason, from } = outcome;
        Some(Self { name, uuid: at.uuid()?, version, tree: at.tree(), status, bytes, reason, from })
    }
}

impl ArtifactReport {
    fn new(at: &Resource, artifact: &WantedArtifact, outcome: Outcome) -> Self {
        let Outcome { status, bytes, reason, from } = outcome;
        Self {
            tree: at.tree(),
            names: artifact.names.iter().cloned().collect(),
            package: artifact.packages.first().cloned(),
            platforms: artifact.platforms.iter().cloned().collect(),
            lazy: artifact.lazy,
            status,
            bytes,
            reason,
            from,
        }
    }
}
