//! Flags, and the environment variables that stand for them.

use super::adopt::AdoptArgs;
use super::bundle::BundleArgs;
use super::check::CheckArgs;
use super::doctor::DoctorArgs;
use super::fallback::FallbackArgs;
use super::gc::GcArgs;
use super::policy::PolicyArgs;
use super::prewarm::PrewarmArgs;
use super::registries::RegistriesArgs;
use super::status::StatusArgs;
use crate::config::{LogFormat, RequestSettings, Settings, Show, TlsSettings, UpstreamSettings, ViewSettings};
use clap::builder::{BoolishValueParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use tracing_subscriber::filter::LevelFilter;

/// A Julia package server for closed networks: fetch and verify outside, carry across, serve
/// inside.
#[derive(Debug, Parser)]
#[command(name = "airlock", version, about, propagate_version = true)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Configuration file [default: airlock.toml, if it is there]
    #[arg(long, global = true, env = "AIRLOCK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Cache directory [default: cache]
    #[arg(long, global = true, env = "AIRLOCK_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
    /// How log lines look [default: text]
    #[arg(long, global = true, env = "AIRLOCK_LOG", value_name = "FORMAT")]
    log: Option<LogStyle>,
    /// How much is logged: off, error, warn, info, debug, trace [default: info for serve, warn
    /// otherwise]
    #[arg(long, global = true, env = "AIRLOCK_LOG_LEVEL", value_name = "LEVEL")]
    log_level: Option<LevelFilter>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogStyle {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the cache directory to Julia clients, fetching what is missing unless offline
    Serve(ServeArgs),
    /// Fetch packages by name, or the whole closure of manifests and projects, into the cache directory
    Prewarm(PrewarmArgs),
    /// Take over depots that were filled by hand: what is what its name says is published
    Adopt(AdoptArgs),
    /// Show, export or forget what clients asked for and was not here
    Misses(MissesArgs),
    /// Ask for packages by name, and export what this side has, lacks and wishes for
    Request(RequestArgs),
    /// Show the published registries; ask upstreams for new ones, go back, hold one where it is
    Registries(RegistriesArgs),
    /// Show which rules there are, and what they come to for a package
    Policy(PolicyArgs),
    /// Say whether manifests can be instantiated from this cache, asking nobody
    Check(CheckArgs),
    /// Say what is in this cache, and what was done to it
    Status(StatusArgs),
    /// Show what no manifest needs, and remove it with --yes
    Gc(GcArgs),
    /// Hash the whole cache again; what is damaged goes to .airlock/quarantine
    Verify(VerifyArgs),
    /// Make, show and import the bundles that cross the gap, and the keys that sign them
    Bundle(BundleArgs),
    /// Examine this host: does its Julia see the package server, and what to do where not
    Doctor(DoctorArgs),
    /// Show the whole way with a sample upstream inside this process, without any network
    Demo(DemoArgs),
    /// Print a completion script
    Completions {
        /// For this shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    Man {
        /// Into this folder
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// Address and port to serve at [default: 127.0.0.1:8000]
    #[arg(long, env = "AIRLOCK_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    upstream: Upstream,
    #[command(flatten)]
    fallback: FallbackArgs,
    /// Ask no upstream, ever: what is not here is refused at once
    #[arg(long, env = "AIRLOCK_OFFLINE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    offline: Option<bool>,
    /// What of the registries clients see: full, as upstream published it, or available, only the
    /// versions that are here [default: available when offline, full otherwise]
    #[arg(long, env = "AIRLOCK_VIEW", value_name = "VIEW")]
    view: Option<ViewName>,
    /// Speak https with this certificate, which what leads to its authority may follow (PEM)
    #[arg(long, env = "AIRLOCK_TLS_CERTIFICATE", value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// Its key (PEM) [default: in the same file]
    #[arg(long, env = "AIRLOCK_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ViewName {
    Full,
    Available,
}

#[derive(Debug, clap::Args)]
pub(super) struct Upstream {
    /// Package server to fetch from; repeat for more, asked in order [default:
    /// the official one, pkg.julialang.org]
    #[arg(long, env = "AIRLOCK_UPSTREAM", value_name = "URL", value_delimiter = ',')]
    pub(super) upstream: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct MissesArgs {
    /// One JSON document on standard output
    #[arg(long, global = true, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
    #[command(subcommand)]
    pub(super) action: Option<MissesAction>,
}

#[derive(Debug, Default, Subcommand)]
pub(super) enum MissesAction {
    /// Show them
    #[default]
    List,
    /// Write a list that `airlock prewarm` takes on the connected side
    Export {
        /// To this file; - is standard output
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Forget them
    Clear,
}

#[derive(Debug, clap::Args)]
pub(super) struct RequestArgs {
    /// One JSON document on standard output
    #[arg(long, global = true, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
    #[command(subcommand)]
    pub(super) action: Option<RequestAction>,
}

#[derive(Debug, Default, Subcommand)]
pub(super) enum RequestAction {
    /// Show what was asked for by name
    #[default]
    List,
    /// Ask for packages
    Add {
        /// Packages, with a range of versions or without: Example, Example@1.2
        #[arg(required = true, value_name = "NAME[@RANGE]")]
        wishes: Vec<String>,
    },
    /// Ask for packages no more
    Remove {
        /// A name takes all that was asked for under it, a name with a range that one
        #[arg(required = true, value_name = "NAME[@RANGE]")]
        wishes: Vec<String>,
    },
    /// Forget all that was asked for by name
    Clear,
    /// Write the request that `airlock bundle export --for` takes on the connected side
    Export {
        /// What this site is called: the destination of bundles for it [default: site- and the
        /// first digits of the cache's uuid]
        #[arg(long, env = "AIRLOCK_REQUEST_NAME", value_name = "NAME")]
        name: Option<String>,
        /// Say what would be written; verify and write nothing
        #[arg(long, env = "AIRLOCK_DRY_RUN", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
        dry_run: Option<bool>,
        /// To this file; - is standard output
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// Files hashed side by side [default: one per processor]
    #[arg(long, env = "AIRLOCK_JOBS", value_name = "N")]
    jobs: Option<usize>,
    /// One JSON document on standard output
    #[arg(long, env = "AIRLOCK_JSON", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = switch(), value_name = "BOOL")]
    json: Option<bool>,
}

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Address and port to serve at [default: 127.0.0.1:8000]
    #[arg(long, env = "AIRLOCK_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// End instead of serving on
    #[arg(long)]
    pub(super) exit: bool,
    /// Only serve the sample upstream, to try the other commands against
    #[arg(long, conflicts_with = "exit")]
    pub(super) upstream_only: bool,
}

impl Upstream {
    pub(super) fn setting(&self) -> Option<Vec<UpstreamSettings>> {
        some(&self.upstream).map(|urls| urls.into_iter().map(UpstreamSettings::from).collect())
    }
}

impl Args {
    /// The configuration file, the level of the log, the settings, and what to do.
    pub(super) fn split(self) -> (Option<PathBuf>, Option<LevelFilter>, Settings, Command) {
        let Self { common: Common { config, cache, log, log_level }, command } = self;
        let log = log.map(|style| match style {
            LogStyle::Text => LogFormat::Text,
            LogStyle::Json => LogFormat::Json,
        });
        (config, log_level, command.settings(Settings { cache, log, ..Settings::default() }), command)
    }
}

impl Command {
    /// Serving is watched over its log; the others speak for themselves.
    pub(super) const fn default_log_level(&self) -> LevelFilter {
        match self {
            Self::Serve(_) => LevelFilter::INFO,
            _ => LevelFilter::WARN,
        }
    }

    fn settings(&self, common: Settings) -> Settings {
        match self {
            Self::Serve(args) => Settings {
                listen: args.listen,
                upstream: args.upstream.setting(),
                fallback: args.fallback.settings(),
                offline: args.offline,
                view: ViewSettings { show: args.view.map(Show::from), platform: None },
                tls: TlsSettings {
                    certificate: args.tls_certificate.clone(),
                    key: args.tls_key.clone(),
                    ..TlsSettings::default()
                },
                ..common
            },
            Self::Prewarm(args) => args.settings(common),
            Self::Adopt(args) => args.settings(common),
            Self::Misses(args) => Settings { json: args.json, ..common },
            Self::Request(args) => args.settings(common),
            Self::Registries(args) => args.settings(common),
            Self::Policy(args) => args.settings(common),
            Self::Check(args) => args.settings(common),
            Self::Status(args) => args.settings(common),
            Self::Gc(args) => args.settings(common),
            Self::Verify(args) => Settings { jobs: args.jobs, json: args.json, ..common },
            Self::Bundle(args) => args.settings(common),
            Self::Doctor(args) => Settings { json: args.json, ..common },
            Self::Demo(args) => Settings { listen: args.listen, ..common },
            Self::Completions { .. } | Self::Man { .. } => common,
        }
    }
}

impl From<ViewName> for Show {
    fn from(name: ViewName) -> Self {
        match name {
            ViewName::Full => Self::Full,
            ViewName::Available => Self::Available,
        }
    }
}

impl RequestArgs {
    fn settings(&self, common: Settings) -> Settings {
        let name = match &self.action {
            Some(RequestAction::Export { name, .. }) => name.clone(),
            _ => None,
        };
        Settings { json: self.json, request: RequestSettings { name }, ..common }
    }
}

/// What a variable of the environment may say for a flag: `1`, `true`, `yes`, `on` and their
/// opposites, which win over the file. Anything else, an empty text too, is wrong usage: it must not
/// be guessed whether a machine is meant to be offline.
pub(super) fn switch() -> impl TypedValueParser<Value = bool> {
    BoolishValueParser::new()
}

pub(super) fn some(values: &[String]) -> Option<Vec<String>> {
    (!values.is_empty()).then(|| values.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}
