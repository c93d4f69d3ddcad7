//! Bare clones of repositories and the trees in them: how private registries, the packages of
//! repositories and git bundles come in.
//!
//! Transport is the `git` program (`program.rs`), so that ssh configuration, credential helpers,
//! proxies and `insteadOf` work as an admin expects, and clones can be blobless. Objects are read
//! with libgit2 from the clone's object database alone (`objects.rs`): its configuration does not
//! matter, and every object is checked against its hash. Tarballs are written from tree objects
//! (`pack.rs`), never by `git archive`, whose attributes change content.
//!
//! ```text
//! <folder>/
//!   <host-path>-<32 digits>/       a bare repository, blobless where the server allows it
//!     airlock-full                 it has all blobs
//!     airlock-damaged              an object in it was found damaged: to be made again
//!   <host-path>-<32 digits>.lock   held by whoever changes it
//!   <host-path>-<32 digits>.new    being made; takes its place when it is whole
//! ```
//!
//! Nothing is ever pruned from a clone, so a tree that was seen once stays when a branch is pushed
//! over. Everything here blocks.

mod address;
mod bundle;
mod clone;
mod error;
mod lock;
mod make;
mod objects;
mod pack;
mod program;

pub use bundle::{BundleError, References, references, trees_in};
pub use clone::{BareClone, Refs, Release};
pub use error::{GitError, MovedTag};

use crate::config::{Config, Git};
use crate::tree::Limits;
use address::Address;
pub use address::{Trust, relative_url};
use program::Program;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where clones are, below the cache directory: one folder for all who need some.
pub const FOLDER: &str = ".airlock/clones";

/// Bounds on what one repository may cost.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// A `git` that prints nothing, no progress either, for so long is ended.
    pub silence: Duration,
    /// One that takes so long in all is ended too. Also the longest wait for another one that is at
    /// work on the same clone.
    pub whole: Duration,
    /// Bytes of one file: it is in memory as a whole while it is packed.
    pub file: u64,
    /// For the tree of a tarball.
    pub tree: Limits,
}

impl Bounds {
    /// As somebody configured them.
    pub fn new(config: &Config) -> Self {
        Self::of(config.git, Limits::from(&config.limits))
    }

    fn of(Git { silence, whole, file }: Git, tree: Limits) -> Self {
        Self { silence, whole, file, tree }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::of(Git::default(), Limits::default())
    }
}

/// A folder of clones. Dropping it ends the `git` programs that work for it.
#[derive(Debug)]
pub struct Clones {
    folder: PathBuf,
    program: Arc<Program>,
}

impl Clones {
    /// Clones in this folder, which is made when the first of them is.
    pub fn new(folder: PathBuf, bounds: Bounds) -> Self {
        // `git` runs elsewhere.
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        Self { folder, program: Arc::new(Program::new(bounds)) }
    }

    /// The clone of a repository, which need not be there yet: nothing is fetched before it is
    /// asked for.
    pub fn open(&self, url: &str, trust: Trust) -> Result<BareClone, GitError> {
        Ok(BareClone::new(&self.folder, Address::parse(url, trust)?, Arc::clone(&self.program)))
    }

    /// Ends the `git` programs that work for it, for good.
    pub fn stop(&self) {
        self.program.stop();
    }

    /// The folder.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }
}

impl Drop for Clones {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
