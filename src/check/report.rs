//! What a check came to, as one document. Every key is always there, `null` where nothing is known,
//! and the order depends on nothing but the content.

use super::Finding;
use crate::closure::{Input, InputReport, Listed, Plan, State, Survey};
use crate::protocol::{Kind, Resource, TreeHash, Uuid};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether all that was asked for can be instantiated from here.
    pub complete: bool,
    /// The files that were read, and the paths that gave none.
    pub inputs: Vec<CheckedInput>,
    /// All of the closure, the listed registries too: by kind, name, version and tree.
    pub resources: Vec<CheckedResource>,
    /// What stands in the way beside missing files.
    pub problems: BTreeSet<Finding>,
    /// What does not stand in the way, and is better known.
    pub notes: BTreeSet<Finding>,
    /// How many packages are standard libraries.
    pub standard_libraries: usize,
    /// How many packages are folders on the machine that wrote the manifest.
    pub local_paths: usize,
    /// Packages that are not here, so that their artifacts are not known.
    pub unopened_packages: usize,
    /// Over all resources.
    pub totals: Totals,
}

/// An input, judged by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckedInput {
    /// What it is.
    #[serde(flatten)]
    pub input: InputReport,
    /// Whether it can be instantiated from here.
    pub complete: bool,
    /// How many of its resources are missing or damaged.
    pub missing: usize,
}

/// A resource of the closure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CheckedResource {
    /// Its kind.
    pub kind: Kind,
    /// The name of the package or registry; of an artifact, all that it is called.
    pub name: Option<String>,
    /// The version of a package.
    pub version: Option<String>,
    /// The uuid of a package or registry.
    pub uuid: Option<Uuid>,
    /// Its tree.
    pub tree: TreeHash,
    /// The package that names an artifact, of several the first by name.
    pub package: Option<String>,
    /// The platforms that an artifact is for, as triplets; empty for any.
    pub platforms: Vec<String>,
    /// Whether Pkg leaves an artifact until it is used.
    pub lazy: bool,
    /// Whether it is here.
    pub status: Status,
    /// Its size, if it is here.
    pub bytes: Option<u64>,
    /// What is wrong with it, if it is damaged, or what denies it.
    pub reason: Option<String>,
}

/// Whether a resource is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Yes, and it was verified.
    Present,
    /// No.
    Missing,
    /// There is a file, and it is not what its name says or cannot be read.
    Damaged,
    /// Whether it is here or not, the policy denies it.
    Denied,
}

/// How many resources have which status, and the bytes of those that are here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Here.
    pub present: usize,
    /// Not here.
    pub missing: usize,
    /// Here and useless.
    pub damaged: usize,
    /// Denied by the policy.
    pub denied: usize,
    /// Of all that is here.
    pub bytes: u64,
}

impl Report {
    pub(super) fn new(plan: &Plan, survey: &Survey, listed: &Listed, denied: &BTreeMap<Resource, String>) -> Self {
        let state = |resource: &Resource| survey.states.get(resource).unwrap_or(&State::Absent);
        let mut resources = BTreeSet::new();
        for (registry, state) in &listed.states {
            resources.insert(CheckedResource::registry(&(*registry).into(), state, listed));
        }
        resources.extend(plan.registries.iter().map(|it| CheckedResource::registry(it, state(it), listed)));
        resources.extend(plan.packages.iter().map(|(it, package)| CheckedResource {
            name: package.name.clone(),
            version: package.version.clone(),
            ..CheckedResource::new(it, state(it))
        }));
        resources.extend(plan.artifacts.iter().map(|(it, artifact)| CheckedResource {
            name: Some(artifact.names.iter().cloned().collect::<Vec<_>>().join(", ")).filter(|name| !name.is_empty()),
            package: artifact.packages.first().cloned(),
            platforms: artifact.platforms.iter().cloned().collect(),
            lazy: artifact.lazy,
            ..CheckedResource::new(it, state(it))
        }));
        let resources: Vec<_> = resources.into_iter().map(|it| it.judged(denied)).collect();
        Self {
            totals: Totals::of(&resources),
            // Without an input nothing was asked for; each that comes may say no.
            complete: listed.states.values().all(|state| matches!(state, State::Here { .. })),
            resources,
            inputs: Vec::new(),
            problems: BTreeSet::new(),
            notes: BTreeSet::new(),
            standard_libraries: plan.standard_libraries.len(),
            local_paths: plan.local_paths.len(),
            unopened_packages: plan.packages.len().saturating_sub(survey.artifacts.len()),
        }
    }

    pub(super) fn add_input(
        &mut self,
        input: &Input,
        missing: usize,
        findings: BTreeSet<Finding>,
        allow_unmirrorable: bool,
    ) {
        let (notes, problems): (BTreeSet<_>, BTreeSet<_>) =
            findings.into_iter().partition(|finding| finding.kind.is_note());
        let is_fine = problems.iter().all(|finding| allow_unmirrorable && finding.kind.is_unmirrorable());
        let complete = input.content.is_ok() && missing == 0 && is_fine;
        self.complete &= complete;
        self.notes.extend(notes);
        self.problems.extend(problems);
        self.inputs.push(CheckedInput { input: InputReport::new(input), complete, missing });
    }
}

impl CheckedResource {
    fn new(resource: &Resource, state: &State) -> Self {
        let (status, bytes, reason) = match state {
            State::Here { bytes } => (Status::Present, Some(*bytes), None),
            State::Absent => (Status::Missing, None, None),
            State::Bad(reason) => (Status::Damaged, None, Some(reason.clone())),
        };
        Self {
            kind: resource.kind(),
            name: None,
            version: None,
            uuid: resource.uuid(),
            tree: resource.tree(),
            package: None,
            platforms: Vec::new(),
            lazy: false,
            status,
            bytes,
            reason,
        }
    }

    fn judged(self, denied: &BTreeMap<Resource, String>) -> Self {
        let resource = match (self.kind, self.uuid) {
            (Kind::Registry, Some(uuid)) => Resource::Registry { uuid, tree: self.tree },
            (Kind::Package, Some(uuid)) => Resource::Package { uuid, tree: self.tree },
            _ => Resource::Artifact { tree: self.tree },
        };
        match denied.get(&resource) {
            Some(why) => Self { status: Status::Denied, reason: Some(why.clone()), ..self },
            None => self,
        }
    }

    fn registry(resource: &Resource, state: &State, listed: &Listed) -> Self {
        let name = resource.uuid().and_then(|uuid| listed.registry_name(uuid)).map(str::to_owned);
        Self { name, ..Self::new(resource, state) }
    }
}

impl Totals {
    fn of(resources: &[CheckedResource]) -> Self {
        let mut totals = Self::default();
        for resource in resources {
            match resource.status {
                Status::Present => totals.present += 1,
                Status::Missing => totals.missing += 1,
                Status::Damaged => totals.damaged += 1,
                Status::Denied => totals.denied += 1,
            }
            totals.bytes = totals.bytes.saturating_add(resource.bytes.unwrap_or_default());
        }
        totals
    }
}
