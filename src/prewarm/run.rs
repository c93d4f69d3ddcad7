//! Working a plan off: many at once, never more than asked for.

use super::{Event, ManifestFolder, Outcome, Progress, RegistryReport, Report, RepositoryReport, Request, Status};
use super::{choose, estimate, manifest, registries, repositories};
use crate::closure::{
    Content, Input, Plan, Selection, Versions, one_line, pinned_versions, read_inputs, said_names, said_owners,
};
use crate::fault;
use crate::mirror::{Mirror, Patience, Refusal, blocking, verify_file};
use crate::protocol::{Kind, Resource};
use crate::store::{HeldArtifact, Lookup, OpenFile};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

/// Brings everything here that is asked for, or says what it would be. Never fails as a whole: the
/// report says what did. Dropping it, or [`Request::cancel`], leaves what was fetched.
pub async fn run(mirror: Arc<Mirror>, request: Request, progress: &dyn Progress) -> Report {
    let paths = request.paths.clone();
    let inputs = match blocking(move || read_inputs(&paths)).await {
        Ok(inputs) => inputs,
        Err(error) => return Report::unread(&request, &error),
    };
    // A typing error must not cost a look outside.
    if request.by_name.is_empty() && inputs.iter().all(|input| input.content.is_err()) {
        return Report::unusable(&request, &inputs);
    }
    if !request.dry_run {
        remember_platforms(&mirror, &request).await;
    }
    let registries = prepare(&mirror, &request, progress).await;
    // What a project calls its dependencies may be private; chosen is what the policy permits.
    mirror.learn_names(said_names(&inputs));
    let inputs = match choose(&mirror, &request.by_name, inputs, &request.cancel).await {
        Ok(inputs) => inputs,
        Err(error) => return Report::unread(&request, &error),
    };
    let mut report = if request.by_name.many.is_empty() {
        run_inputs(Arc::clone(&mirror), &request, &inputs, registries, progress).await
    } else {
        match large(&mirror, &request, &inputs, registries, progress).await {
            Ok(report) => report,
            Err(error) => return Report::unread(&request, &error),
        }
    };
    if let Some(to) = request.by_name.manifest.clone().filter(|_| !request.dry_run) {
        write_manifest(mirror, &request, to, inputs, &mut report).await;
    }
    report
}

/// Many versions: first it is said how many, and nothing large starts without a yes.
async fn large(
    mirror: &Arc<Mirror>,
    request: &Request,
    inputs: &[Input],
    registries: Vec<RegistryReport>,
    progress: &dyn Progress,
) -> std::io::Result<Report> {
    let selection = Selection { platforms: request.platforms.clone(), lazy: request.lazy };
    let plan = Plan::new(selection, inputs, mirror.registries());
    let mut parts = estimate::parts(mirror, &plan).await?;
    if parts.here.len() < estimate::FEW && !request.dry_run && !mirror.is_offline() {
        // Of few only some: nobody said yes yet.
        let sample = estimate::spread(&parts.missing, estimate::FEW.min(parts.missing.len().div_ceil(4)));
        let packages = sample.into_iter().filter_map(|it| Some((it, plan.packages.get(&it)?.clone()))).collect();
        let versions = Content::Versions(Box::new(Versions { packages, problems: Vec::new() }));
        let sample = [Input { path: "a sample".into(), kind: None, content: Ok(versions) }];
        run_inputs(Arc::clone(mirror), request, &sample, Vec::new(), progress).await;
        parts = estimate::parts(mirror, &plan).await?;
    }
    let mut estimate = estimate::estimate(mirror, &parts).await?;
    estimate.started = request.by_name.yes && !request.dry_run;
    progress.event(&Event::Estimated(&estimate));
    let request = Request { dry_run: !estimate.started, ..request.clone() };
    let mut report = run_inputs(Arc::clone(mirror), &request, inputs, registries, progress).await;
    report.estimate = Some(estimate);
    Ok(report)
}

/// Writes the manifests if all is here that they name.
async fn write_manifest(
    mirror: Arc<Mirror>,
    request: &Request,
    to: ManifestFolder,
    inputs: Vec<Input>,
    report: &mut Report,
) {
    if report.totals.failed + report.totals.denied + report.totals.planned > 0 {
        report.unwritten = Some("no manifest is written: not all that was wanted is here".to_owned());
        return;
    }
    let by_name = request.by_name.clone();
    let written = blocking(move || manifest::write(&mirror, &by_name, &to, &inputs)).await;
    match written.unwrap_or_else(|error| Err(error.into())) {
        Ok(written) => report.add_manifests(written),
        Err(error) => report.unwritten = Some(one_line(&error.to_string())),
    }
}

/// Brings the registries up to date, unless only a plan is wanted, for what is named is looked up in
/// them.
pub async fn prepare(mirror: &Arc<Mirror>, request: &Request, progress: &dyn Progress) -> Vec<RegistryReport> {
    let registries = if request.dry_run {
        registries::here(mirror).await
    } else {
        progress.event(&Event::Registries);
        let patience = Patience::prewarm(request.attempts);
        let refreshed = request.cancel.run_until_cancelled(registries::refresh(mirror, patience)).await;
        refreshed.unwrap_or_else(|| vec![RegistryReport::unknown(Outcome::interrupted())])
    };
    mirror.load_names().await;
    registries
}

/// The same as [`run`] for inputs that were read, after [`prepare`] and [`choose`].
pub async fn run_inputs(
    mirror: Arc<Mirror>,
    request: &Request,
    inputs: &[Input],
    registries: Vec<RegistryReport>,
    progress: &dyn Progress,
) -> Report {
    for artifacts in inputs.iter().filter_map(|input| input.content.as_ref().ok()).filter_map(Content::artifacts) {
        mirror.learn_downloads(artifacts);
    }
    let selection = Selection { platforms: request.platforms.clone(), lazy: request.lazy };
    let plan = Plan::new(selection, inputs, mirror.registries());
    // Before anything is asked for: private names are told by them.
    mirror.learn_names(said_names(inputs));
    mirror.learn_owners(said_owners(inputs));
    if !request.dry_run {
        remember_pins(&mirror, inputs).await;
    }
    let how = if request.dry_run { How::Look } else { How::Fetch(Patience::prewarm(request.attempts)) };
    let mut work = Work { mirror, plan, progress, outcomes: HashMap::new(), opened: 0 };
    work.planned();
    fault::point("prewarm.planned");
    request.cancel.run_until_cancelled(work.all(how, request.jobs)).await;
    fault::point("prewarm.done");
    let Work { mirror, plan, outcomes, opened, .. } = work;
    let repositories = repositories::mirror(&mirror, &plan, request, progress).await;
    Report::new(request, inputs, registries, Done { plan, outcomes, opened, repositories })
}

/// Whose artifacts are wanted is whom the view serves. That it cannot be written down must not keep
/// anything from being fetched.
async fn remember_platforms(mirror: &Mirror, request: &Request) {
    let (store, names) = (Arc::clone(mirror.store()), request.platforms.names());
    if let Ok(Err(error)) = blocking(move || store.remember_platforms(&names)).await {
        tracing::warn!("the platforms cannot be remembered: {error}");
    }
}

/// What manifests name is shown however young it is. That it cannot be written down must not keep
/// anything from being fetched.
async fn remember_pins(mirror: &Arc<Mirror>, inputs: &[Input]) {
    let (pins, blocked) = (pinned_versions(inputs, &mirror.registries()), Arc::clone(mirror));
    if let Ok(Err(error)) = blocking(move || blocked.pin_versions(&pins)).await {
        tracing::warn!("what the manifests name cannot be remembered: {error}");
    }
}

/// A plan with what came of it.
pub(super) struct Done {
    pub(super) plan: Plan,
    /// A resource without one was not come to.
    pub(super) outcomes: HashMap<Resource, Outcome>,
    /// How many packages were opened for their artifacts.
    pub(super) opened: usize,
    /// Of the git repositories that were come to.
    pub(super) repositories: Vec<RepositoryReport>,
}

/// What to do for a resource.
#[derive(Clone, Copy)]
enum How {
    /// See whether it is here.
    Look,
    /// Fetch it if it is not.
    Fetch(Patience),
}

/// What came of a resource, and the artifacts that it names, where it is a package and here.
struct Obtained {
    outcome: Outcome,
    artifacts: Option<Vec<HeldArtifact>>,
}

struct Work<'p> {
    mirror: Arc<Mirror>,
    plan: Plan,
    progress: &'p dyn Progress,
    outcomes: HashMap<Resource, Outcome>,
    opened: usize,
}

impl Work<'_> {
    /// Goes through the plan, which grows while it does. May be dropped at any point.
    async fn all(&mut self, how: How, jobs: usize) {
        // Whether an artifact is private or denied goes by all the packages that name it.
        let first_packages = self.mirror.is_guarded();
        let waits = |it: &Resource| first_packages && it.kind() == Kind::Artifact;
        let (mut waiting, mut queue): (VecDeque<_>, VecDeque<_>) = self.plan.resources().partition(waits);
        let mut running = FuturesUnordered::new();
        loop {
            if queue.is_empty() && running.is_empty() {
                queue.append(&mut waiting);
            }
            while running.len() < jobs.max(1) {
                let Some(resource) = queue.pop_front() else { break };
                self.progress.event(&Event::Started { resource: &resource, name: &self.plan.label(&resource) });
                running.push(obtain(Arc::clone(&self.mirror), resource, how));
            }
            let Some((resource, obtained)) = running.next().await else { return };
            let new = self.arrived(resource, obtained).into_iter();
            let (late, now): (Vec<_>, Vec<_>) = new.partition(waits);
            waiting.extend(late);
            queue.extend(now);
        }
    }

    /// Writes down what came of a resource, and returns what it makes wanted.
    fn arrived(&mut self, resource: Resource, obtained: Obtained) -> Vec<Resource> {
        let Obtained { outcome, artifacts } = obtained;
        self.progress.event(&Event::Done { resource: &resource, name: &self.plan.label(&resource), outcome: &outcome });
        if resource.kind() == Kind::Package && outcome.status == Status::Fetched {
            fault::point("prewarm.package");
        }
        self.outcomes.insert(resource, outcome);
        let Some(artifacts) = artifacts else { return Vec::new() };
        self.opened += 1;
        let new = self.plan.open(&resource, &artifacts);
        if !new.is_empty() {
            self.planned();
        }
        new
    }

    fn planned(&self) {
        self.progress.event(&Event::Planned { resources: self.plan.count() + self.plan.repositories.len() });
    }
}

async fn obtain(mirror: Arc<Mirror>, resource: Resource, how: How) -> (Resource, Obtained) {
    let obtained = match how {
        How::Fetch(patience) => fetch(&mirror, resource, patience).await,
        How::Look => look(&mirror, resource).await,
    };
    (resource, obtained.unwrap_or_else(|refusal| Obtained { outcome: refusal.into(), artifacts: None }))
}

async fn fetch(mirror: &Arc<Mirror>, resource: Resource, patience: Patience) -> Result<Obtained, Refusal> {
    let brought = mirror.fetch_from(&resource, patience).await?;
    let artifacts = match resource.kind() {
        Kind::Package => Some(held_artifacts(mirror, resource).await?),
        Kind::Registry | Kind::Artifact => None,
    };
    let from = brought.from.map(|from| from.to_string());
    Ok(Obtained { outcome: Outcome { from, ..Outcome::here(brought.bytes, brought.was_here) }, artifacts })
}

/// What a package that is here names. A package that is gone again, or changed, must not count as
/// one without artifacts.
async fn held_artifacts(mirror: &Arc<Mirror>, package: Resource) -> Result<Vec<HeldArtifact>, Refusal> {
    let store = Arc::clone(mirror.store());
    let fact = blocking(move || store.fact(&package)).await??;
    fact.map(|fact| fact.artifacts)
        .ok_or_else(|| Refusal::Store("it changed while its artifacts were looked up".to_owned()))
}

async fn look(mirror: &Arc<Mirror>, resource: Resource) -> Result<Obtained, Refusal> {
    let absent = Obtained { outcome: Outcome::planned(), artifacts: None };
    let store = Arc::clone(mirror.store());
    Ok(match blocking(move || store.look_up(&resource)).await?? {
        Lookup::Absent => absent,
        Lookup::Verified(open, fact) => {
            let artifacts = (resource.kind() == Kind::Package).then_some(fact.artifacts);
            Obtained { outcome: Outcome::here(open.stamp.size, true), artifacts }
        }
        Lookup::Unverified(open) if resource.kind() == Kind::Package => {
            let size = open.stamp.size;
            let artifacts = open_unverified(mirror, resource, open).await?;
            artifacts
                .map_or(absent, |artifacts| Obtained { outcome: Outcome::here(size, true), artifacts: Some(artifacts) })
        }
        Lookup::Unverified(open) => Obtained { outcome: Outcome::here(open.stamp.size, true), artifacts: None },
    })
}

/// Reads a package that came another way, without writing down that it is good. `None` if it is
/// damaged: it will have to be fetched.
async fn open_unverified(
    mirror: &Arc<Mirror>,
    package: Resource,
    open: OpenFile,
) -> io::Result<Option<Vec<HeldArtifact>>> {
    let limits = mirror.limits().clone();
    let verified = blocking(move || verify_file(&package, &Arc::new(open.file), open.stamp, &limits)).await?;
    Ok(verified.ok().map(|fact| fact.artifacts))
}
