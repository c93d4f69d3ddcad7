//! One validated configuration out of a file, the environment and flags.
//!
//! Flags and environment variables arrive together as [`Settings`], for the command line reads
//! both; what they leave open the file decides, and what that leaves open the defaults here.
//! `airlock.example.toml` shows every key with its default and is held to this by a test.

mod access;
mod audit;
mod changes;
mod disk;
mod environment;
mod git;
mod network;
mod policy;
mod scrub;
mod secret;
mod settings;
mod sources;
mod tls;

pub use access::{Access, AccessSettings, TokenNeed};
pub use audit::{Audit, AuditSettings};
pub use disk::{Disk, DiskSettings};
pub use environment::GitEnvironment;
pub use git::{Git, GitSettings};
pub use network::Network;
pub use policy::{About, List, Lists, Policy, Rule, RuleError};
pub use scrub::{Scrub, ScrubSettings};
pub use secret::{Credentials, Secret, SecretError};
pub use settings::{
    BundleSettings, FallbackSettings, LimitSettings, LogFormat, LogLevel, MirrorSettings, PolicyListSettings,
    PolicySettings, PrewarmSettings, RegistrySettings, RequestSettings, ServerSettings, Settings, Show, Span,
    UpstreamSettings, ViewSettings, When,
};
pub use sources::{Fallback, GitRegistry, Proxy, TokenFrom, Upstream, without_credentials};
pub use tls::{ClientCertificate, Tls, TlsFiles, TlsSettings};

use sources::upstream_url;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where Julia's own clients go.
pub const DEFAULT_UPSTREAM: &str = "https://pkg.julialang.org";

/// The file that is read when `--config` is absent and it is there.
pub const DEFAULT_FILE: &str = "airlock.toml";

/// The validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cache directory.
    pub cache: PathBuf,
    /// Address and port to serve at.
    pub listen: SocketAddr,
    /// Package servers in order. Empty when offline.
    pub upstreams: Vec<Upstream>,
    /// Private registries from git. Empty when offline.
    pub registries: Vec<GitRegistry>,
    /// What is tried last.
    pub fallback: Fallback,
    /// What one repository may cost.
    pub git: Git,
    /// Whether offline by decision.
    pub offline: bool,
    /// How to log.
    pub log: LogFormat,
    /// How much to log, if somebody said.
    pub log_level: Option<LogLevel>,
    /// Whether output is one JSON document.
    pub json: bool,
    /// Work done side by side, if somebody said.
    pub jobs: Option<usize>,
    /// For prewarm.
    pub prewarm: Prewarm,
    /// For bundles.
    pub bundle: Bundle,
    /// What this site is called in requests, if somebody said.
    pub site_name: Option<String>,
    /// For the HTTP server.
    pub server: Server,
    /// For the mirror.
    pub mirror: Mirror,
    /// What of the registries clients see.
    pub view: View,
    /// For tarballs.
    pub limits: Limits,
    /// What must not leak and what must not come in.
    pub policy: Policy,
    /// Who may have what.
    pub access: Access,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// The room that stays free.
    pub disk: Disk,
    /// How everything is read again.
    pub scrub: Scrub,
    /// What the server speaks TLS with; `None` for plain HTTP.
    pub tls: Option<Tls>,
    /// Whether it is written down who fetched what, and how.
    pub audit: Audit,
}

/// What prewarm takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Prewarm {
    /// Triplets, `host` or `all`.
    pub platforms: Vec<String>,
    /// Whether lazy artifacts belong to the closure.
    pub lazy: bool,
    /// Whether to only print the plan.
    pub dry_run: bool,
    /// Whether entries that no package server can serve are acceptable.
    pub allow_unmirrorable: bool,
    /// How often a resource is tried, at least 1.
    pub attempts: u32,
    /// Whether the git repositories that manifests name are mirrored.
    pub git: bool,
    /// The versions of Julia that versions are chosen for; empty for those that were seen.
    pub julias: Vec<String>,
}

/// How bundles are made, and which are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Whom they are for, if somebody said.
    pub destination: Option<String>,
    /// Bytes of the largest volume; `None` for one volume of any size.
    pub volume_size: Option<u64>,
    /// File of the secret key that signs them.
    pub sign_key: Option<PathBuf>,
    /// Public keys as text, or files of them.
    pub trusted_keys: Vec<String>,
}

/// Bounds of the HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Longest wait for a request's head.
    pub header_timeout: Duration,
    /// A client that takes no byte for so long is cut.
    pub stall_timeout: Duration,
    /// How long running downloads may go on after a signal to stop.
    pub shutdown_timeout: Duration,
    /// Bytes of memory for small hot bodies.
    pub hot_memory: u64,
    /// A path below which everything is served too: `/julia`.
    pub prefix: Option<String>,
    /// Where clients reach this server, without a trailing slash.
    pub url: Option<String>,
    /// Connections at one time, at least 1.
    pub max_connections: usize,
    /// Of one client's address; 0 for no limit.
    pub max_connections_per_client: usize,
    /// Whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
}

/// Bounds of the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Longest wait for a connection to an upstream.
    pub connect_timeout: Duration,
    /// Longest wait for an upstream's first byte.
    pub first_byte_timeout: Duration,
    /// Longest wait for an upstream's next byte.
    pub idle_timeout: Duration,
    /// Longest time a client waits without a byte. Clients leave after 20 s (Downloads.jl), so
    /// this must stay below.
    pub silence: Duration,
    /// How often upstreams are asked for their registries.
    pub registries_interval: Duration,
    /// How often the cache directory is searched for new files.
    pub rescan_interval: Duration,
    /// How often the cache directory is looked at for changes, when only what is here is shown.
    pub view_interval: Duration,
    /// How long a first failure of one resource at one upstream is remembered.
    pub cooldown: Duration,
}

/// What of the registries clients see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// All, or only what is here.
    pub show: Show,
    /// The platforms that are served (triplets, `host` or `all`), if somebody said: a version whose
    /// artifacts for one of them are not all here is shown as yanked.
    pub platforms: Option<Vec<String>>,
}

/// Bounds of a tarball: generous, against bombs only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes in one path or link target.
    pub path: u64,
    /// Unpacked bytes.
    pub unpacked: u64,
    /// Unpacked bytes per packed byte.
    pub ratio: u64,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration: {0}")]
    Read(#[source] std::io::Error),
    /// The file is not what it should be.
    #[error("{file}:{line}: {message}", file = file.display())]
    Parse {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// One line.
        message: String,
    },
    /// An upstream that is no address.
    #[error("{0:?} is not an http:// or https:// address")]
    Upstream(String),
    /// A registry that is no repository.
    #[error("{0:?} is not the address of a git repository")]
    Registry(String),
    /// A user or a password that is not told from a path. Only what follows it is shown.
    #[error(
        "the address that ends in {0:?} has an @ behind a /: in a user or a password write / as %2F, in a path @ as %40"
    )]
    Credentials(String),
    /// Two registries that are one.
    #[error("[[registry]] {0} is there twice")]
    RegistryTwice(String),
    /// A rule of the policy that makes no sense.
    #[error("{key}: {rule:?}: {problem}")]
    Rule {
        /// The key that it stands under.
        key: &'static str,
        /// As it was written.
        rule: String,
        /// What is wrong with it.
        problem: RuleError,
    },
    /// A proxy that is no address.
    #[error("{0:?} is not the address of an HTTP proxy: http://host:port, https://host:port or \"none\"")]
    Proxy(String),
    /// Neither an address nor a network.
    #[error("server.trusted-proxies: {0:?} is neither an IP address nor a network such as 10.0.0.0/8")]
    Network(String),
    /// A bound that cannot work.
    #[error("{0}")]
    Bound(&'static str),
}

impl Config {
    /// Merges: `flags` (with the environment) over `file` over the defaults.
    pub fn new(flags: Settings, file: Settings) -> Result<Self, ConfigError> {
        let offline = flags.offline.or(file.offline).unwrap_or(false);
        let mirror = Mirror::new(&file.mirror);
        let upstreams = flags.upstream.or(file.upstream).unwrap_or_else(|| vec![DEFAULT_UPSTREAM.to_owned().into()]);
        let upstreams = upstreams.into_iter().map(|upstream| Upstream::from_settings(upstream, &mirror));
        let upstreams = upstreams.collect::<Result<Vec<_>, _>>()?;
        let registries = file.registry.unwrap_or_default().into_iter().map(GitRegistry::from_settings);
        let registries = registries.collect::<Result<Vec<_>, _>>()?;
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = registries.iter().find(|registry| !seen.insert((&registry.name, &registry.branch))) {
            return Err(ConfigError::RegistryTwice(twice.name.clone()));
        }
        let config = Self {
            cache: flags.cache.or(file.cache).unwrap_or_else(|| PathBuf::from("cache")),
            listen: flags.listen.or(file.listen).unwrap_or((Ipv4Addr::LOCALHOST, 8000).into()),
            upstreams: if offline { Vec::new() } else { upstreams },
            registries: if offline { Vec::new() } else { registries },
            fallback: Fallback::new(&flags.fallback, &file.fallback),
            git: Git::new(&file.git)?,
            offline,
            log: flags.log.or(file.log).unwrap_or_default(),
            log_level: flags.log_level.or(file.log_level),
            json: flags.json.or(file.json).unwrap_or(false),
            jobs: flags.jobs.or(file.jobs),
            prewarm: Prewarm::new(flags.prewarm, file.prewarm),
            bundle: Bundle::new(flags.bundle, file.bundle),
            site_name: flags.request.name.or(file.request.name),
            server: Server::new(file.server)?,
            mirror,
            view: View::new(flags.view, file.view, offline),
            limits: Limits::new(&file.limits),
            policy: Policy::new(file.policy)?,
            access: Access::new(file.access)?,
            file: None,
            disk: Disk::new(&file.disk),
            scrub: Scrub::new(&file.scrub)?,
            tls: Tls::from_settings(flags.tls, file.tls)?,
            audit: Audit::new(file.audit)?,
        };
        config.check()
    }

    fn check(self) -> Result<Self, ConfigError> {
        if self.jobs == Some(0) {
            return Err(ConfigError::Bound("jobs must be at least 1"));
        }
        if self.server.max_connections == 0 {
            return Err(ConfigError::Bound("server.max-connections must be at least 1"));
        }
        if self.prewarm.attempts == 0 {
            return Err(ConfigError::Bound("prewarm.attempts must be at least 1"));
        }
        if self.mirror.silence > Duration::from_secs(15) {
            return Err(ConfigError::Bound("mirror.silence must be at most 15s: Julia's clients leave after 20 s"));
        }
        let mirror = &self.mirror;
        let intervals = [mirror.registries_interval, mirror.rescan_interval, mirror.view_interval];
        if intervals.iter().any(Duration::is_zero) {
            return Err(ConfigError::Bound(
                "mirror.registries-interval, mirror.rescan-interval and mirror.view-interval must not be zero",
            ));
        }
        let (server, mirror) = (&self.server, &self.mirror);
        let waits = [server.header_timeout, server.stall_timeout, mirror.connect_timeout, mirror.first_byte_timeout];
        if waits.iter().chain([&mirror.idle_timeout, &mirror.silence]).any(Duration::is_zero) {
            return Err(ConfigError::Bound("a time-out must not be zero"));
        }
        Ok(self)
    }
}

impl Prewarm {
    fn new(flags: PrewarmSettings, file: PrewarmSettings) -> Self {
        Self {
            platforms: flags.platform.or(file.platform).unwrap_or_else(|| vec!["host".to_owned()]),
            lazy: !flags.no_lazy.or(file.no_lazy).unwrap_or(false),
            dry_run: flags.dry_run.or(file.dry_run).unwrap_or(false),
            allow_unmirrorable: flags.allow_unmirrorable.or(file.allow_unmirrorable).unwrap_or(false),
            attempts: flags.attempts.or(file.attempts).unwrap_or(5),
            git: flags.git.or(file.git).unwrap_or(false),
            julias: flags.julia.or(file.julia).unwrap_or_default(),
        }
    }
}

impl Bundle {
    fn new(flags: BundleSettings, file: BundleSettings) -> Self {
        Self {
            destination: flags.destination.or(file.destination),
            volume_size: flags.volume_size.or(file.volume_size).map(|size| size.as_u64()),
            sign_key: flags.sign_key.or(file.sign_key),
            trusted_keys: flags.trusted_keys.or(file.trusted_keys).unwrap_or_default(),
        }
    }
}

impl Server {
    fn new(file: ServerSettings) -> Result<Self, ConfigError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
        let prefix = file.prefix.map(|prefix| format!("/{}", prefix.trim_matches('/')));
        if prefix.as_ref().is_some_and(|prefix| prefix.len() < 2 || !prefix.bytes().all(plain)) {
            return Err(ConfigError::Bound("server.prefix must be a path of letters, digits, '-', '_' and '.'"));
        }
        Ok(Self {
            header_timeout: span(file.header_timeout, 30_000),
            stall_timeout: span(file.stall_timeout, 300_000),
            shutdown_timeout: span(file.shutdown_timeout, 30_000),
            hot_memory: file.hot_memory.map_or(32 << 20, |size| size.as_u64()),
            prefix,
            url: file.url.as_deref().map(upstream_url).transpose()?,
            max_connections: file.max_connections.unwrap_or(16_384),
            max_connections_per_client: file.max_connections_per_client.unwrap_or(1_024),
            trusted_proxies: Network::all(&file.trusted_proxies.unwrap_or_default())?,
        })
    }
}

impl Mirror {
    fn new(file: &MirrorSettings) -> Self {
        Self {
            connect_timeout: span(file.connect_timeout, 3_000),
            first_byte_timeout: span(file.first_byte_timeout, 8_000),
            idle_timeout: span(file.idle_timeout, 8_000),
            silence: span(file.silence, 14_000),
            registries_interval: span(file.registries_interval, 60_000),
            rescan_interval: span(file.rescan_interval, 600_000),
            view_interval: span(file.view_interval, 10_000),
            cooldown: span(file.cooldown, 60_000),
        }
    }
}

impl View {
    /// Outside, clients may have whatever upstream has; inside, what is not here cannot be had.
    fn new(flags: ViewSettings, file: ViewSettings, offline: bool) -> Self {
        let default = if offline { Show::Available } else { Show::Full };
        Self { show: flags.show.or(file.show).unwrap_or(default), platforms: flags.platform.or(file.platform) }
    }
}

impl Limits {
    fn new(file: &LimitSettings) -> Self {
        Self {
            entries: file.entries.unwrap_or(5_000_000),
            path: file.path.map_or(16 << 10, |size| size.as_u64()),
            unpacked: file.unpacked.map_or(256 << 30, |size| size.as_u64()),
            ratio: file.ratio.unwrap_or(1_000),
        }
    }
}

fn span(setting: Option<Span>, default_ms: u64) -> Duration {
    span_or(setting, Duration::from_millis(default_ms))
}

fn span_or(setting: Option<Span>, default: Duration) -> Duration {
    setting.map_or(default, |span| span.0)
}

#[cfg(test)]
mod tests;
