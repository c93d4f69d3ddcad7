//! Trees out of the repositories of packages: who may work in which clone, and when.
//!
//! A job blocks a thread for as long as a repository is waited for, a minute if it is silent, and
//! goes on when whoever asked has left; what it brings is there for the next request. So there is
//! one job for a clone: whoever needs another tree of it waits, and leaves again, without a thread
//! and without a place that the packages of other repositories need.

use super::hosts::{Hosts, Reach, lock};
use super::{Fault, Repository};
use crate::git::{BareClone, GitError, Release};
use crate::protocol::TreeHash;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

/// Jobs at one time at all hosts together: so many that a few silent ones leave room for the rest,
/// and far below the threads that may block.
const JOBS: usize = 32;

/// The repositories that a source looks into.
#[derive(Debug)]
pub(super) struct Repositories {
    jobs: Arc<Semaphore>,
    hosts: Hosts,
    clones: Mutex<HashMap<PathBuf, Arc<Turns>>>,
}

/// Whose turn it is in one clone.
#[derive(Debug)]
struct Turns {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// One that is silent is so for every tree.
    reach: Reach,
}

/// Why a tree is not brought.
#[derive(Debug, thiserror::Error)]
pub(super) enum BringError {
    /// The repository.
    #[error(transparent)]
    Git(#[from] GitError),
    /// It or its host is left alone now.
    #[error(transparent)]
    LeftAlone(Fault),
}

impl Repositories {
    pub(super) fn new() -> Self {
        Self { jobs: Arc::new(Semaphore::new(JOBS)), hosts: Hosts::default(), clones: Mutex::default() }
    }

    /// Brings a tree with all its files into a clone. `of` is the package that it is a version of.
    pub(super) async fn bring(
        &self,
        clone: &BareClone,
        tree: TreeHash,
        of: Option<Repository>,
    ) -> Result<(), BringError> {
        let stopped = |_| GitError::Stopped;
        // What is here needs nobody.
        let look = clone.clone();
        if tokio::task::spawn_blocking(move || look.has_whole(tree)).await.map_err(|_| GitError::Stopped)? {
            return Ok(());
        }
        let (turns, host) = (self.turns(clone), self.hosts.of(clone.host()));
        let turn = Arc::clone(&turns.turn).lock_owned().await;
        let place = Arc::clone(&host.places).acquire_owned().await.map_err(stopped)?;
        let job = Arc::clone(&self.jobs).acquire_owned().await.map_err(stopped)?;
        turns.reach.check().and_then(|()| host.reach.check()).map_err(BringError::LeftAlone)?;
        let clone = clone.clone();
        let brought = tokio::task::spawn_blocking(move || {
            let _held = (turn, place, job);
            let brought = ensure(&clone, tree, of.as_ref());
            match &brought {
                Err(error @ (GitError::TimedOut { .. } | GitError::Unreachable { .. })) => {
                    if matches!(error, GitError::TimedOut { .. }) {
                        turns.reach.unreached(error.to_string());
                    }
                    host.reach.unreached(error.to_string());
                }
                Ok(()) | Err(GitError::NoRepository { .. } | GitError::Refused { .. } | GitError::NoTree { .. }) => {
                    host.reach.reached();
                }
                // Ours, or who knows.
                Err(_) => {}
            }
            brought
        });
        Ok(brought.await.map_err(|_| GitError::Stopped)??)
    }

    fn turns(&self, clone: &BareClone) -> Arc<Turns> {
        let new = || Turns { turn: Arc::default(), reach: Reach::new(clone.shown(), 1) };
        Arc::clone(lock(&self.clones).entry(clone.folder().to_owned()).or_insert_with(|| Arc::new(new())))
    }
}

/// Blocks, for as long as a clone takes.
fn ensure(clone: &BareClone, tree: TreeHash, of: Option<&Repository>) -> Result<(), GitError> {
    let release = of.and_then(|of| {
        let version = of.version.as_deref()?;
        Some(Release { name: &of.name, version, subdir: of.subdir.as_deref() })
    });
    clone.ensure_tree(tree, release)?;
    clone.complete(tree)
}
