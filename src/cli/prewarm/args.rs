//! Flags of `airlock prewarm`.

use super::super::args::{Upstream, some, switch};
use super::super::fallback::FallbackArgs;
use crate::bundle::Since;
use crate::closure::{Asked, Many, Whole};
use crate::config::{PrewarmSettings, Settings};
use crate::prewarm::{ByName, ManifestFolder};
use jiff::Timestamp;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(in super::super) struct PrewarmArgs {
    #[command(flatten)]
    upstream: Upstream,
    #[command(flatten)]
    fallback: FallbackArgs,
    /// Platform whose artifacts are wanted: a triplet such as x86_64-linux-gnu, host, or all;
    /// repeat for more [default: host]
    #[arg(long, env = "AIRLOCK_PLATFORM", value_name = "TRIPLET|host|all", value_delimiter = ',')]
    platform: Vec<String>,
    /// Leave lazy artifacts out
    #[arg(long, env = "AIRLOCK_NO_LAZY", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    no_lazy: Option<bool>,
    /// Fetches side by side [default: 64]
    #[arg(long, env = "AIRLOCK_JOBS", value_name = "N")]
    jobs: Option<usize>,
    /// How often one resource is tried [default: 5]
    #[arg(long, env = "AIRLOCK_ATTEMPTS", value_name = "N")]
    attempts: Option<u32>,
    /// Print the plan; needs no upstream and fetches nothing
    #[arg(long, env = "AIRLOCK_DRY_RUN", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    dry_run: Option<bool>,
    /// Entries that no package server can serve do not make the exit code 1
    #[arg(long, env = "AIRLOCK_ALLOW_UNMIRRORABLE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    allow_unmirrorable: Option<bool>,
    /// Mirror the git repositories that manifests name, each as a git bundle
    #[arg(long, env = "AIRLOCK_GIT", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    git: Option<bool>,
    /// One JSON document on standard output
    #[arg(long, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
    #[command(flatten)]
    names: Names,
    /// Manifests, projects, Artifacts.toml files, exported lists of misses, or folders to search for
    /// them
    #[arg(required_unless_present_any = ["add", "all_versions", "registry_all"], value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
}

/// What is asked for by name.
#[expect(clippy::struct_excessive_bools, reason = "the switches of the command line")]
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "By name")]
#[command(group = clap::ArgGroup::new("many").args(["all_versions", "registry_all"]).multiple(true))]
struct Names {
    /// Package to choose a version of, with all that it needs, as Pkg would: Example, Example@1.2, or
    /// Example=UUID where a name is not enough; repeat for more, which are chosen together
    #[arg(long, value_name = "NAME[@RANGE]", value_delimiter = ',')]
    add: Vec<Asked>,
    /// Julia to choose versions for: 1.10, its newest patch, or 1.10.4; repeat for more [default:
    /// those that clients of this mirror run]
    #[arg(long, env = "AIRLOCK_JULIA_VERSION", value_name = "VERSION", value_delimiter = ',')]
    julia: Vec<String>,
    /// What the tests of projects need too
    #[arg(long)]
    test: bool,
    /// Write the environment that was chosen into this folder: a Manifest.toml, and a Project.toml
    /// where there is none; with several --julia into a folder for each
    #[arg(long, value_name = "DIR")]
    write_manifest: Option<PathBuf>,
    /// Replace a manifest that is there
    #[arg(long, requires = "write_manifest")]
    force: bool,
    /// Package of which every version is wanted that is not yanked; repeat for more
    #[arg(long, value_name = "NAME[@RANGE]", value_delimiter = ',')]
    all_versions: Vec<Asked>,
    /// Every package of the registries
    #[arg(long)]
    registry_all: bool,
    /// Of one registry only
    #[arg(long, value_name = "NAME|UUID", requires = "registry_all")]
    registry: Option<String>,
    /// Of each package of --all-versions and --registry-all only the newest versions
    #[arg(long, value_name = "N", requires = "many", value_parser = clap::value_parser!(u32).range(1..))]
    newest: Option<u32>,
    /// Of --all-versions and --registry-all only what this mirror first saw in a registry since then:
    /// a date (UTC), or a time such as 2026-11-21T08:00:00Z
    #[arg(long, value_name = "DATE", requires = "many", value_parser = moment)]
    since: Option<Timestamp>,
    /// Every version that anything of what was chosen may resolve to
    #[arg(long)]
    dependents_closed: bool,
    /// Fetch many versions; without it the plan and an estimate are shown, and only a few packages are
    /// fetched, at most 20, where too few are here to tell how large one is
    #[arg(long)]
    yes: bool,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    match text.parse::<Since>() {
        Ok(Since::Time(time)) => Ok(time),
        _ => Err("neither a date nor a time".to_owned()),
    }
}

impl Names {
    fn by_name(self) -> ByName {
        let whole = self.registry_all.then(|| self.registry.map_or(Whole::Every, Whole::One));
        ByName {
            add: self.add,
            many: Many {
                names: self.all_versions,
                whole,
                newest: self.newest.and_then(|newest| usize::try_from(newest).ok()),
                closed: self.dependents_closed,
            },
            since: self.since,
            julias: Vec::new(),
            tests: self.test,
            manifest: self.write_manifest.map(|folder| ManifestFolder { folder, force: self.force }),
            yes: self.yes,
        }
    }
}

impl PrewarmArgs {
    pub(in super::super) fn settings(&self, common: Settings) -> Settings {
        let prewarm = PrewarmSettings {
            platform: some(&self.platform),
            no_lazy: self.no_lazy,
            dry_run: self.dry_run,
            allow_unmirrorable: self.allow_unmirrorable,
            attempts: self.attempts,
            git: self.git,
            julia: some(&self.names.julia),
        };
        Settings {
            upstream: self.upstream.setting(),
            fallback: self.fallback.settings(),
            jobs: self.jobs,
            json: self.json,
            prewarm,
            ..common
        }
    }

    /// The files and folders, and what is asked for by name.
    pub(super) fn split(self) -> (Vec<PathBuf>, ByName) {
        (self.paths, self.names.by_name())
    }
}
