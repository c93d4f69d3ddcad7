//! Check: can these manifests be instantiated from this cache? Asks no upstream, ever.
//!
//! The plan of [`crate::closure`] is surveyed as a whole, and each input is judged by itself
//! (`finding.rs`): of several manifests the report says which are complete (`report.rs`).

mod finding;
mod report;

pub use finding::{Finding, FindingKind};
pub use report::{CheckedInput, CheckedResource, Report, Status, Totals};

use crate::closure::{
    Content, Input, InputError, Plan, Registries, Selection, Solver, Survey, listed_registries, read_inputs,
    said_names, solve_projects, survey,
};
use crate::julia::{JuliaTarget, RegisteredVersion};
use crate::mirror::Mirror;
use crate::protocol::{Kind, Resource};
use crate::store::{Store, StoreError};
use crate::tree::Limits;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What to check, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// Files and folders.
    pub paths: Vec<PathBuf>,
    /// For which Julia versions of projects are chosen.
    pub julias: Vec<JuliaTarget>,
    /// Whether what the tests of projects need must be here too.
    pub tests: bool,
    /// Which artifacts are wanted.
    pub selection: Selection,
    /// Packages that no package server can give do not make a manifest incomplete.
    pub allow_unmirrorable: bool,
    /// Files that are verified side by side.
    pub jobs: usize,
}

/// One step of a check.
#[derive(Clone, Copy, Debug)]
pub enum Event<'e> {
    /// So many resources are wanted at least; more when packages name artifacts.
    Planned(usize),
    /// This one was looked at, and verified if nobody had done so yet.
    Looked(&'e Resource),
}

/// Says what of the inputs is here. What is verified on the way is remembered. `policy` is a mirror
/// that knows the names of what is here, where there are rules to be held against them. Blocks.
pub fn check(
    store: &Store,
    limits: &Limits,
    request: &Request,
    policy: Option<&Mirror>,
    progress: &(impl Fn(Event<'_>) + Sync),
) -> Result<Report, StoreError> {
    let mut inputs = read_inputs(&request.paths);
    if let Some(policy) = policy {
        policy.learn_names(said_names(&inputs));
    }
    let listed = listed_registries(store, limits)?;
    if inputs.iter().any(|input| matches!(input.content, Ok(Content::Project(_)))) {
        let registries = Registries::load(store, limits)?;
        let (julias, tests) = (&request.julias, request.tests);
        let forbids = |uuid, version: &RegisteredVersion<'_>| policy?.forbids(uuid, version.tree);
        solve_projects(
            &mut inputs,
            &Solver { registries: &registries, julias, tests, forbids: &forbids, stopped: &|| false },
        );
        inputs.iter_mut().for_each(refuse_unsolved);
    }
    let plan_of = |inputs: &[Input]| Plan::new(request.selection.clone(), inputs, listed.indexes.clone());
    let mut plan = plan_of(&inputs);
    progress(Event::Planned(plan.count()));
    let survey = survey(store, limits, &mut plan, request.jobs, &|resource| progress(Event::Looked(resource)))?;
    let denied = policy.map(|policy| denied(policy, &plan, &survey)).unwrap_or_default();
    let repositories = plan.repositories.iter().map(|(url, wanted)| Ok((url.clone(), wanted.look_up(store)?)));
    let repositories = repositories.collect::<Result<_, StoreError>>()?;
    let mut report = Report::new(&plan, &survey, &listed, &denied);
    for input in &inputs {
        let mut plan = plan_of(std::slice::from_ref(input));
        let packages: Vec<_> = plan.resources().filter(|resource| resource.kind() == Kind::Package).collect();
        for package in packages {
            plan.open(&package, survey.artifacts.get(&package).map_or(&[], Vec::as_slice));
        }
        let is_missing = |it: &Resource| survey.bytes(it).is_none() || denied.contains_key(it);
        let missing = plan.resources().filter(is_missing).count();
        let findings = finding::of_input(input, &plan, &listed, &repositories);
        report.add_input(input, missing, findings, request.allow_unmirrorable);
    }
    Ok(report)
}

/// A project that no versions could be chosen for, for one Julia at least, cannot be instantiated.
fn refuse_unsolved(input: &mut Input) {
    let path = || input.path.clone();
    let error = match &input.content {
        Ok(Content::Project(_)) => InputError::NoJulia(path()),
        Ok(Content::Resolved(resolved)) => match resolved.conflicts.first() {
            Some(conflict) => InputError::Conflict { path: path(), why: conflict.why.clone() },
            None => return,
        },
        _ => return,
    };
    input.content = Err(error);
}

/// What clients do not get, or prewarm would not fetch, with what decides it.
fn denied(policy: &Mirror, plan: &Plan, survey: &Survey) -> BTreeMap<Resource, String> {
    let denial = |it: Resource| Some((it, policy.denial(&it, survey.bytes(&it).is_some())?));
    plan.resources().filter_map(denial).collect()
}
