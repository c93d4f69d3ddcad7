//! What is asked for by name: packages, projects, whole registries. Before anything is fetched it
//! becomes exact versions, by the registries that are listed here.

use super::RequestError;
use crate::closure::{Asked, Choice, Content, Input, Many, Registries, Solver, many_versions, solve_projects};
use crate::config;
use crate::julia::{JuliaTarget, RegisteredVersion};
use crate::mirror::{Mirror, blocking};
use crate::store::{FirstSeen, Store, StoreError};
use jiff::Timestamp;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What is asked for by name.
#[derive(Clone, Debug, Default)]
pub struct ByName {
    /// Packages, of which one version is chosen for each Julia, all of them together.
    pub add: Vec<Asked>,
    /// Many versions at once.
    pub many: Many,
    /// Of many versions only those that this mirror first saw since then.
    pub since: Option<Timestamp>,
    /// For which Julia. Empty: those whose clients were seen here.
    pub julias: Vec<JuliaTarget>,
    /// Whether the test dependencies of projects are wanted.
    pub tests: bool,
    /// Where the environment is written that was chosen.
    pub manifest: Option<ManifestFolder>,
    /// Whether many versions are fetched once it is known how many.
    pub yes: bool,
}

/// Where an environment is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFolder {
    /// The folder; with several Julias, each has a folder of its name in it.
    pub folder: PathBuf,
    /// Whether manifests that are there are replaced.
    pub force: bool,
}

/// How an input is called that is no file.
pub(super) const ADD: &str = "--add";
const MANY: &str = "--all-versions";
const WHOLE: &str = "--registry-all";

impl ByName {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.many.is_empty()
    }

    /// Takes the Julia that the configuration names, unless the command line named some.
    pub fn with_julias(self, config: &config::Prewarm) -> Result<Self, RequestError> {
        let mut julias = Vec::new();
        for julia in &config.julias {
            let julia = julia.parse()?;
            if !julias.contains(&julia) {
                julias.push(julia);
            }
        }
        Ok(Self { julias, ..self })
    }

    /// Takes those that were seen here, if nobody named any. What is asked for by name needs one.
    /// Refuses what would fail at the end only: a manifest that must not be replaced.
    pub fn prepare(&mut self, store: &Store) -> Result<(), PrepareError> {
        if self.julias.is_empty() {
            let seen = store.julia_versions()?;
            self.julias = seen.iter().filter_map(|version| version.to_string().parse().ok()).collect();
        }
        if self.julias.is_empty() && (!self.add.is_empty() || self.many.closed) {
            return Err(PrepareError::NoJulia);
        }
        let all = self.manifest.iter().flat_map(|to| self.julias.iter().map(move |julia| (to, julia)));
        for (to, julia) in all {
            let minor = format!("-v{}.{}", julia.version().major, julia.version().minor);
            let names = [format!("JuliaManifest{minor}"), format!("Manifest{minor}"), "JuliaManifest".to_owned()];
            let file = self.manifest_file(to, julia);
            let mut rivals = names.into_iter().map(|name| file.with_file_name(name + ".toml"));
            rivals.find(|rival| rival.exists()).map_or(Ok(()), |rival| Err(PrepareError::Rival(rival)))?;
        }
        let kept = self.manifest.as_ref().filter(|to| !to.force);
        let mut files = kept.into_iter().flat_map(|to| self.julias.iter().map(|julia| self.manifest_file(to, julia)));
        files.find(|file| file.exists()).map_or(Ok(()), |file| Err(PrepareError::Manifest(file)))
    }

    /// The manifest for a Julia.
    pub(super) fn manifest_file(&self, to: &ManifestFolder, julia: &JuliaTarget) -> PathBuf {
        let folder = if self.julias.len() > 1 { to.folder.join(julia.to_string()) } else { to.folder.clone() };
        folder.join("Manifest.toml")
    }
}

/// What keeps a run by name from starting.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Versions depend on the Julia.
    #[error(
        "say with --julia for which Julia versions are chosen, such as --julia 1.10, or set prewarm.julia: no client has told of one that is known here"
    )]
    NoJulia,
    /// It may be somebody's work.
    #[error("{} is there already; --force replaces it", .0.display())]
    Manifest(PathBuf),
    /// Julia would not read what is written (`base/loading.jl`, `manifest_names`).
    #[error("{} is there, and Julia reads it instead of a Manifest.toml beside it: name another folder", .0.display())]
    Rival(PathBuf),
    /// The cache directory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Chooses versions for what was asked for by name and for the projects among the inputs. The
/// registries must have been brought up to date. Ends early once `cancel` says so.
pub async fn choose(
    mirror: &Arc<Mirror>,
    by_name: &ByName,
    mut inputs: Vec<Input>,
    cancel: &CancellationToken,
) -> io::Result<Vec<Input>> {
    let has_project = inputs.iter().any(|input| matches!(input.content, Ok(Content::Project(_))));
    if by_name.is_empty() && !has_project {
        return Ok(inputs);
    }
    let (mirror, by_name, cancel) = (Arc::clone(mirror), by_name.clone(), cancel.clone());
    blocking(move || {
        let registries = Registries::load(mirror.store(), mirror.limits()).map_err(io::Error::other)?;
        let forbids = |uuid, version: &RegisteredVersion<'_>| mirror.forbids(uuid, version.tree);
        let stopped = || cancel.is_cancelled();
        let (julias, tests) = (by_name.julias.as_slice(), by_name.tests);
        let solver = Solver { registries: &registries, julias, tests, forbids: &forbids, stopped: &stopped };
        if !by_name.add.is_empty() {
            inputs.push(named(ADD, Content::Resolved(Box::new(solver.names(&by_name.add)))));
        }
        solve_projects(&mut inputs, &solver);
        if !by_name.many.is_empty() {
            let seen = by_name.since.map(|_| mirror.first_seen()).transpose().map_err(io::Error::other)?;
            let is_late = |it: &RegisteredVersion<'_>| match (&seen, by_name.since) {
                (Some(seen), Some(since)) => first_seen(seen, it).is_some_and(|time| time >= since),
                _ => true,
            };
            let admits = |it: &RegisteredVersion<'_>| is_late(it) && forbids(it.uuid, it).is_none();
            let choice = Choice { registries: &registries, julias, admits: &admits, stopped: &stopped };
            let versions = many_versions(&by_name.many, &inputs, &choice);
            let flag = if by_name.many.whole.is_some() { WHOLE } else { MANY };
            inputs.push(named(flag, Content::Versions(Box::new(versions))));
        }
        tell_problems(&mut inputs, &registries.problems);
        Ok(inputs)
    })
    .await?
}

/// When this mirror first saw a version, in any registry.
fn first_seen(seen: &[FirstSeen], version: &RegisteredVersion<'_>) -> Option<Timestamp> {
    seen.iter().filter_map(|seen| seen.version(version.uuid, version.tree)).map(|seen| seen.since).min()
}

fn named(path: &str, content: Content) -> Input {
    Input { path: path.into(), kind: None, content: Ok(content) }
}

/// A registry that cannot be read may have what was not found.
fn tell_problems(inputs: &mut [Input], problems: &[String]) {
    for input in inputs {
        match &mut input.content {
            Ok(Content::Resolved(resolved)) => resolved.notes.extend(problems.iter().cloned()),
            Ok(Content::Versions(versions)) => versions.problems.extend(problems.iter().cloned()),
            _ => {}
        }
    }
}
