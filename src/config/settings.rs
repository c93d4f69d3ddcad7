//! Settings as somebody wrote them: the keys of `airlock.toml`, everything optional, nothing
//! checked but the form.

use super::disk::DiskSettings;
use super::scrub::ScrubSettings;
use super::{AccessSettings, ConfigError, TlsSettings};
use bytesize::ByteSize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Settings as somebody wrote them: everything optional, nothing checked. The keys of
/// `airlock.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The cache directory.
    pub cache: Option<PathBuf>,
    /// Address and port to serve at.
    pub listen: Option<SocketAddr>,
    /// Package servers, asked in this order: addresses, or tables with all that is known of them.
    pub upstream: Option<Vec<UpstreamSettings>>,
    /// `[[registry]]`: private registries, from git.
    pub registry: Option<Vec<RegistrySettings>>,
    /// `[fallback]`
    pub fallback: FallbackSettings,
    /// `[git]`
    pub git: super::GitSettings,
    /// Ask no upstream, ever.
    pub offline: Option<bool>,
    /// How to log.
    pub log: Option<LogFormat>,
    /// How much to log.
    pub log_level: Option<LogLevel>,
    /// One JSON document on standard output.
    pub json: Option<bool>,
    /// Work done side by side.
    pub jobs: Option<usize>,
    /// `[prewarm]`
    pub prewarm: PrewarmSettings,
    /// `[bundle]`
    pub bundle: BundleSettings,
    /// `[request]`
    pub request: RequestSettings,
    /// `[server]`
    pub server: ServerSettings,
    /// `[mirror]`
    pub mirror: MirrorSettings,
    /// `[view]`
    pub view: ViewSettings,
    /// `[limits]`
    pub limits: LimitSettings,
    /// `[policy]`
    pub policy: PolicySettings,
    /// `[access]`
    pub access: AccessSettings,
    /// `[disk]`
    pub disk: DiskSettings,
    /// `[scrub]`
    pub scrub: ScrubSettings,
    /// `[tls]`
    pub tls: TlsSettings,
    /// `[audit]`
    pub audit: super::AuditSettings,
}

/// A package server: an address, or `[[upstream]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "kebab-case")]
pub struct UpstreamSettings {
    /// The address; without a scheme, https.
    pub url: String,
    /// Whether anybody else runs it, so that private names must not be asked of it.
    pub public: Option<bool>,
    /// Longest wait for a connection.
    pub connect_timeout: Option<Span>,
    /// Longest wait for the first byte.
    pub first_byte_timeout: Option<Span>,
    /// Longest wait for the next byte.
    pub idle_timeout: Option<Span>,
    /// A file with the bearer token.
    pub token_file: Option<PathBuf>,
    /// An environment variable with the bearer token.
    pub token_env: Option<String>,
    /// A PEM file with certificate authorities that are trusted too.
    pub ca_file: Option<PathBuf>,
    /// A PEM file with the client's certificate.
    pub client_certificate: Option<PathBuf>,
    /// A PEM file with its key, if it is not in the same file.
    pub client_key: Option<PathBuf>,
    /// The HTTP proxy to go through; `none` for none, whatever the environment says.
    pub proxy: Option<String>,
    /// Requests at one time.
    pub concurrency: Option<usize>,
}

impl<'de> Deserialize<'de> for UpstreamSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UpstreamForm)
    }
}

/// Written out, for an error must name the key and not only say that neither form fits.
struct UpstreamForm;

impl<'de> Visitor<'de> for UpstreamForm {
    type Value = UpstreamSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address, or a table with a url")
    }

    fn visit_str<E>(self, address: &str) -> Result<UpstreamSettings, E> {
        Ok(address.to_owned().into())
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<UpstreamSettings, A::Error> {
        // Not the trait's: the one that reads a table, made by `remote`.
        UpstreamSettings::deserialize(MapAccessDeserializer::new(table))
    }
}

impl From<String> for UpstreamSettings {
    fn from(url: String) -> Self {
        Self { url, ..Self::default() }
    }
}

/// `[[registry]]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RegistrySettings {
    /// The repository: https, ssh, file, git, or `user@host:path`.
    pub git: String,
    /// The branch; unset, the one that the repository points to.
    pub branch: Option<String>,
}

/// `[fallback]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FallbackSettings {
    /// The repositories that registries name, for packages that no package server has.
    pub git: Option<When>,
    /// The addresses that packages name, for artifacts that no package server has.
    pub download: Option<When>,
}

/// When a fall-back is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Never.
    Never,
    /// In a prewarm, which has time; not while a client waits.
    Prewarm,
    /// While a client waits too.
    Always,
}

/// `[prewarm]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PrewarmSettings {
    /// Triplets, `host` or `all`.
    pub platform: Option<Vec<String>>,
    /// Leave lazy artifacts out.
    pub no_lazy: Option<bool>,
    /// Only print the plan.
    pub dry_run: Option<bool>,
    /// Entries that no package server can serve do not make the exit code 1.
    pub allow_unmirrorable: Option<bool>,
    /// How often a resource is tried.
    pub attempts: Option<u32>,
    /// Mirror the git repositories that manifests name.
    pub git: Option<bool>,
    /// The versions of Julia that versions are chosen for.
    pub julia: Option<Vec<String>>,
}

/// `[bundle]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct BundleSettings {
    /// Whom bundles are for, unless a request says.
    pub destination: Option<String>,
    /// Largest volume.
    pub volume_size: Option<ByteSize>,
    /// File of the secret key that signs.
    pub sign_key: Option<PathBuf>,
    /// Public keys whose signatures count: `RW…`, or files of them.
    pub trusted_keys: Option<Vec<String>>,
}

/// `[request]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RequestSettings {
    /// What this site is called: the destination of bundles for it.
    pub name: Option<String>,
}

/// `[server]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServerSettings {
    /// Longest wait for a request's head, on a kept-alive connection too.
    pub header_timeout: Option<Span>,
    /// A client that takes no byte for so long is cut.
    pub stall_timeout: Option<Span>,
    /// How long running downloads may go on after a signal to stop.
    pub shutdown_timeout: Option<Span>,
    /// Memory for small hot bodies.
    pub hot_memory: Option<ByteSize>,
    /// A path below which everything is served too, for proxies that do not strip theirs.
    pub prefix: Option<String>,
    /// Where clients reach this server.
    pub url: Option<String>,
    /// Connections at one time.
    pub max_connections: Option<usize>,
    /// Connections of one client's address at one time.
    pub max_connections_per_client: Option<usize>,
    /// Proxies whose word counts for who the client is: addresses, or networks.
    pub trusted_proxies: Option<Vec<String>>,
}

/// `[mirror]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MirrorSettings {
    /// Longest wait for a connection to an upstream.
    pub connect_timeout: Option<Span>,
    /// Longest wait for an upstream's first byte.
    pub first_byte_timeout: Option<Span>,
    /// Longest wait for an upstream's next byte.
    pub idle_timeout: Option<Span>,
    /// Longest time a client waits without a byte, all sources and retries together.
    pub silence: Option<Span>,
    /// How often upstreams are asked for their registries.
    pub registries_interval: Option<Span>,
    /// How often the cache directory is searched for new files.
    pub rescan_interval: Option<Span>,
    /// How often the cache directory is looked at for changes, when only what is here is shown.
    pub view_interval: Option<Span>,
    /// How long a failure of one resource at one upstream is remembered; doubles up to an hour.
    pub cooldown: Option<Span>,
}

/// `[view]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ViewSettings {
    /// What of the registries clients see.
    pub show: Option<Show>,
    /// The platforms that are served: triplets, `host` or `all`.
    pub platform: Option<Vec<String>>,
}

/// `[limits]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LimitSettings {
    /// Entries in one tarball.
    pub entries: Option<u64>,
    /// Bytes in one path or link target.
    pub path: Option<ByteSize>,
    /// Unpacked bytes of one tarball.
    pub unpacked: Option<ByteSize>,
    /// Unpacked bytes per packed byte.
    pub ratio: Option<u64>,
}

/// `[policy]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicySettings {
    /// If not empty, nothing else is fetched or served.
    pub allow: Option<Vec<String>>,
    /// Neither fetched nor served.
    pub deny: Option<Vec<String>>,
    /// Asked of no public upstream.
    pub private: Option<Vec<String>>,
    /// How long a version must have been known here.
    pub min_age: Option<Span>,
    /// A manifest may name younger versions.
    pub pins: Option<bool>,
    /// `[policy.fetch]`
    pub fetch: PolicyListSettings,
    /// `[policy.serve]`
    pub serve: PolicyListSettings,
}

/// `[policy.fetch]` and `[policy.serve]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyListSettings {
    /// If not empty, nothing else.
    pub allow: Option<Vec<String>>,
    /// Not these.
    pub deny: Option<Vec<String>>,
}

/// What of the registries clients see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Show {
    /// All, as upstream published it.
    Full,
    /// Only what is here.
    Available,
}

/// A duration written as `500ms`, `15s` or `2m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = humantime::DurationError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        humantime::parse_duration(&text).map(Self)
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What somebody must look at.
    Error,
    /// What somebody may want to look at.
    Warn,
    /// One line for each request.
    Info,
    /// For developers.
    Debug,
    /// For developers, all of it.
    Trace,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Settings {
    /// Reads `airlock.toml`. Unknown keys are refused.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = fs_err::read_to_string(file).map_err(ConfigError::Read)?;
        toml::from_str(&text).map_err(|error| ConfigError::Parse {
            file: file.to_owned(),
            line: line_of(&text, error.span().map_or(0, |span| span.start)),
            message: without_value(error.message().lines().next().unwrap_or_default()),
        })
    }
}

/// The message without the text that it is about: that may be an address with a password in it, and
/// messages are logged.
fn without_value(message: &str) -> String {
    let quoted = message.split_once(" string \"").zip(message.rsplit_once("\", expected"));
    match quoted {
        Some(((before, _), (_, after))) => format!("{before} text, expected{after}"),
        None => message.to_owned(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}
