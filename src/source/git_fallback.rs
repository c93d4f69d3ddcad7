//! Packages from the repositories that registries name: what Pkg itself does when no package server
//! has one (`install_git` in Pkg's `Operations.jl`).
//!
//! Slow, for a repository is ready before its first byte comes, so by default only a prewarm asks
//! here. The tree is found by its hash, wherever it is; tags are looked at only to say what happened
//! to one that is gone.

use super::piped::piped;
use super::{Answer, Fault, Rank, Repository, Resume, Source, Wanted};
use crate::config::Config;
use crate::git::{BareClone, Bounds, Clones, GitError, Release, Trust};
use crate::protocol::{Flavor, Kind, Listing, TreeHash};
use futures_util::future::{BoxFuture, FutureExt};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Repositories that are asked at one time.
const REPOSITORIES: usize = 8;
/// gzip's own default.
const LEVEL: u32 = 6;

/// The repositories that registries name, as a source. Asked with one [`Repository`] at a time.
#[derive(Debug)]
pub struct GitFallback {
    clones: Clones,
    places: Arc<Semaphore>,
}

impl GitFallback {
    /// With its clones in the cache directory.
    pub fn new(config: &Config) -> Self {
        let clones = Clones::new(config.cache.join(crate::git::FOLDER), Bounds::new(config));
        Self { clones, places: Arc::new(Semaphore::new(REPOSITORIES)) }
    }

    async fn get(&self, tree: TreeHash, repository: Repository) -> Result<Answer, Fault> {
        let closing = || Fault::Broken("shutting down".to_owned());
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| closing())?;
        // Anybody can register an address. The threads get one clone each and not all of them: when
        // this source goes, so do the programs that work for it.
        let clone = self.clones.open(&repository.url, Trust::Named).map_err(|error| fault(&error))?;
        let ready = tokio::task::spawn_blocking(move || {
            ensure(&clone, tree, &repository)?;
            Ok((clone, place))
        });
        let (clone, place) = ready.await.map_err(|_| closing())?.map_err(|error: GitError| fault(&error))?;
        let body = piped(move |pipe| {
            let _place = place;
            clone.pack(tree, pipe, LEVEL).map(drop).map_err(|error| fault(&error))
        });
        Ok(Answer { length: None, start: 0, etag: None, body })
    }
}

impl Source for GitFallback {
    fn name(&self) -> &'static str {
        "git"
    }

    fn rank(&self) -> Rank {
        Rank::Fallback
    }

    /// What a private registry has comes from that; what is asked for here is the name that a
    /// registry gives to everybody.
    fn is_public(&self) -> bool {
        true
    }

    fn gives(&self, kind: Kind) -> bool {
        kind == Kind::Package
    }

    fn listing(&self, _: Flavor) -> BoxFuture<'_, Result<Listing, Fault>> {
        async { Err(Fault::NotFound) }.boxed()
    }

    /// Never resumes: without a length nothing would.
    fn fetch<'a>(&'a self, wanted: &'a Wanted, resume: Option<&'a Resume>) -> BoxFuture<'a, Result<Answer, Fault>> {
        async move {
            match wanted.origins.repositories.first() {
                Some(repository) if resume.is_none() => self.get(wanted.resource.tree(), repository.clone()).await,
                _ => Err(Fault::NotFound),
            }
        }
        .boxed()
    }
}

/// Brings the tree with all its files into the clone. Blocks, for as long as a clone takes.
fn ensure(clone: &BareClone, tree: TreeHash, repository: &Repository) -> Result<(), GitError> {
    let release = repository.version.as_deref().map(|version| Release {
        name: &repository.name,
        version,
        subdir: repository.subdir.as_deref(),
    });
    clone.ensure_tree(tree, release)?;
    clone.complete(tree)
}

fn fault(error: &GitError) -> Fault {
    let means = match error {
        GitError::Address { .. }
        | GitError::NoRepository { .. }
        | GitError::Refused { .. }
        | GitError::NoBranch { .. }
        | GitError::NoTree { .. }
        | GitError::Submodule { .. }
        | GitError::Entry { .. }
        | GitError::TooBig { .. } => Fault::NotFound,
        GitError::NoProgram
        | GitError::OldProgram(_)
        | GitError::Unreachable { .. }
        | GitError::TimedOut { .. }
        | GitError::Broken { .. }
        | GitError::Failed { .. }
        | GitError::Write(_)
        | GitError::Io(_)
        | GitError::Stopped => Fault::Broken(error.to_string()),
    };
    Fault::worded(error.to_string(), means)
}
