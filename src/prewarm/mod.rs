//! Prewarm: bring everything here that some files name, before anybody asks for it.
//!
//! The plan of [`crate::closure`] is worked off (`run.rs`, after `registries.rs` has brought the
//! registries up to date; `repositories.rs` mirrors those of git), and what came of it is one report
//! (`report.rs`). Nothing is kept between runs: what is here already is a hit, so a run that was stopped
//! goes on where it was. What is asked for by name (`by_name.rs`) becomes exact versions first; many of
//! them are estimated (`estimate.rs`), and the environment that was chosen can be written
//! (`manifest.rs`).

mod by_name;
mod estimate;
mod manifest;
mod outcome;
mod progress;
mod registries;
mod report;
mod repositories;
mod run;
mod solved;

pub use by_name::{ByName, ManifestFolder, PrepareError, choose};
pub use estimate::Estimate;
pub use outcome::{Outcome, Status};
pub use progress::{Event, Progress};
pub use report::{ArtifactReport, PackageReport, RegistryReport, Report, RepositoryReport, Totals};
pub use run::{prepare, run, run_inputs};
pub use solved::{ConflictReport, SolvedPackage, SolvedReport};

use crate::config::Config;
use crate::julia::{JuliaTargetError, ParsePlatformError, Platforms};
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// Fetches at one time, unless somebody said otherwise: most packages are small, so it is the
/// round trips that cost.
pub const DEFAULT_JOBS: usize = 64;

/// What to prewarm, and how.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Request {
    /// Files and folders.
    pub paths: Vec<PathBuf>,
    /// What is asked for by name.
    pub by_name: ByName,
    /// The platforms whose artifacts are wanted.
    pub platforms: Platforms,
    /// Whether lazy artifacts are wanted.
    pub lazy: bool,
    /// Only say what is wanted and what of it is here. No upstream is asked.
    pub dry_run: bool,
    /// Fetches at one time.
    pub jobs: usize,
    /// How often a resource is tried.
    pub attempts: u32,
    /// Entries that no package server can serve do not make the run incomplete.
    pub allow_unmirrorable: bool,
    /// Mirror the git repositories that manifests name, too.
    pub git: bool,
    /// Ends the run early; what was fetched by then stays, and the report says what was not.
    pub cancel: CancellationToken,
}

/// A request that makes no sense: wrong usage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Names the known platforms.
    #[error(transparent)]
    Platform(#[from] ParsePlatformError),
    /// Names the Julia that it does not know.
    #[error(transparent)]
    Julia(#[from] JuliaTargetError),
    /// Nothing to read.
    #[error("name at least one file or folder to prewarm, or a package with --add")]
    NoPaths,
}

impl Request {
    /// What the configuration says about these paths.
    pub fn new(paths: Vec<PathBuf>, config: &Config) -> Result<Self, RequestError> {
        Self::by_name(paths, ByName::default(), config)
    }

    /// The same with what is asked for by name.
    pub fn by_name(paths: Vec<PathBuf>, by_name: ByName, config: &Config) -> Result<Self, RequestError> {
        if paths.is_empty() && by_name.is_empty() {
            return Err(RequestError::NoPaths);
        }
        let platforms = config.prewarm.platforms.iter().map(|platform| platform.parse::<Platforms>());
        Ok(Self {
            paths,
            by_name: by_name.with_julias(&config.prewarm)?,
            platforms: platforms.collect::<Result<_, _>>()?,
            lazy: config.prewarm.lazy,
            dry_run: config.prewarm.dry_run,
            jobs: config.jobs.unwrap_or(DEFAULT_JOBS),
            attempts: config.prewarm.attempts,
            allow_unmirrorable: config.prewarm.allow_unmirrorable,
            git: config.prewarm.git,
            cancel: CancellationToken::new(),
        })
    }
}
