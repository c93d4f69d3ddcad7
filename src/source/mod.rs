//! Where a missing resource may come from: private registries, package servers, and the addresses
//! that packages and registries name, behind one trait.
//!
//! A source only fetches. It never sees the cache directory and never judges content: the mirror
//! verifies everything against the name that was asked for, whatever a redirect led to.

mod download;
mod git_fallback;
mod git_registry;
mod http_client;
mod package_server;
mod piped;

pub use download::Downloads;
pub use git_fallback::GitFallback;
pub use git_registry::GitRegistry;
pub use http_client::ClientError;
pub use package_server::PackageServer;

use crate::config::{Config, When, without_credentials};
use crate::git::{self, Bounds, GitError};
use crate::protocol::{Flavor, Kind, Listing, RequestId, Resource, Uuid};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why there can be no sources.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A private registry with an address that cannot be used.
    #[error("[[registry]]: {0}")]
    Registry(#[source] GitError),
    /// Two that say they are the same.
    #[error("[[registry]] {one} and [[registry]] {other} are both registry {uuid}: take one of them out")]
    SameRegistry {
        /// What they say they are.
        uuid: Uuid,
        /// The first.
        one: String,
        /// The second.
        other: String,
    },
}

/// All sources of a configuration, in the order in which they are asked; none when offline.
pub fn all(config: &Config) -> Result<Vec<Arc<dyn Source>>, SourceError> {
    if config.offline {
        return Ok(Vec::new());
    }
    let mut sources = private_registries(config)?;
    let servers = PackageServer::all(&config.upstreams)?;
    sources.extend(servers.into_iter().map(|server| Arc::new(server) as Arc<dyn Source>));
    if config.fallback.git != When::Never {
        sources.push(Arc::new(GitFallback::new(config)));
    }
    if config.fallback.download != When::Never {
        sources.push(Arc::new(Downloads::new(config)?));
    }
    Ok(sources)
}

fn private_registries(config: &Config) -> Result<Vec<Arc<dyn Source>>, SourceError> {
    let mut registries: Vec<GitRegistry> = Vec::new();
    for registry in &config.registries {
        let registry = GitRegistry::new(registry, &config.cache.join(git::FOLDER), Bounds::new(config));
        let registry = registry.map_err(SourceError::Registry)?;
        let same = |one: &&GitRegistry| one.uuid().is_some() && one.uuid() == registry.uuid();
        if let (Some(one), Some(uuid)) = (registries.iter().find(same), registry.uuid()) {
            let (one, other) = (one.name().to_owned(), registry.name().to_owned());
            return Err(SourceError::SameRegistry { uuid, one, other });
        }
        registries.push(registry);
    }
    Ok(registries.into_iter().map(|registry| Arc::new(registry) as Arc<dyn Source>).collect())
}

/// Sources are asked in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A private registry, for what only it has.
    Private,
    /// A package server.
    Server,
    /// Where packages and artifacts were before any package server had them. Needs the
    /// [`Origins`] of what is wanted, and is asked with one of them at a time.
    Fallback,
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "private registry",
            Self::Server => "package server",
            Self::Fallback => "fall-back",
        })
    }
}

/// A resource with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub resource: Resource,
    /// Where it comes from in the first place; empty unless a [`Rank::Fallback`] is asked.
    pub origins: Origins,
    /// The request that asked for it, for a source that keeps a log.
    pub request: Option<RequestId>,
    /// Longest wait for a place among the requests that a source may be sent at one time, then it is
    /// [`Fault::Busy`]; `None` for as long as it takes. What goes on waits for as long as it takes.
    pub place_wait: Option<Duration>,
}

impl Wanted {
    /// A resource of which nothing else is known.
    pub fn new(resource: Resource) -> Self {
        Self { resource, origins: Origins::default(), request: None, place_wait: None }
    }
}

/// Where a resource comes from in the first place, as registries and packages here say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// Of a package: the repositories with its sources.
    pub repositories: Vec<Repository>,
    /// Of an artifact: the tarballs that it was made from.
    pub downloads: Vec<Download>,
}

impl Origins {
    /// Each of them by itself, in order.
    pub fn one_by_one(self) -> impl Iterator<Item = Self> {
        let repositories = self.repositories.into_iter();
        let repositories = repositories.map(|it| Self { repositories: vec![it], ..Self::default() });
        let downloads = self.downloads.into_iter();
        repositories.chain(downloads.map(|it| Self { downloads: vec![it], ..Self::default() }))
    }

    /// The address of the first, as it may be shown: without what may be a secret in it.
    pub fn address(&self) -> Option<String> {
        let repository = self.repositories.first().map(|it| it.url.as_str());
        let url = repository.or_else(|| self.downloads.first().map(|it| it.url.as_str()))?;
        let (address, _) = url.split_once(['?', '#']).unwrap_or((url, ""));
        Some(without_credentials(address))
    }
}

/// A repository with the sources of a package (`Package.toml`). Untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// The package's name.
    pub name: String,
    /// The version that the registry has at the wanted tree.
    pub version: Option<String>,
    /// Its address.
    pub url: String,
    /// The folder whose tree a version is; the root if there is none.
    pub subdir: Option<String>,
}

/// A tarball of an artifact (`download` in an `Artifacts.toml`). Untrusted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Download {
    /// Its address.
    pub url: String,
    /// The SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// What a source says of a uuid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It does not have it.
    No,
    /// It is its own.
    Yes,
    /// It was never read, so nobody can tell.
    Unread,
}

/// A place that resources come from.
pub trait Source: Send + Sync + fmt::Debug {
    /// What it is called in logs, ledgers and answers.
    fn name(&self) -> &str;

    /// When it is asked.
    fn rank(&self) -> Rank;

    /// Whether anybody else runs it, so that private names must not be asked of it.
    fn is_public(&self) -> bool;

    /// Whether a registry or a package is its own, by its uuid; only a [`Rank::Private`] has any.
    /// What is its own is asked of no public source.
    fn claims(&self, uuid: Uuid) -> Claim {
        let _ = uuid;
        Claim::No
    }

    /// Whether it may have resources of this kind.
    fn gives(&self, _kind: Kind) -> bool {
        true
    }

    /// Its listing of registries; [`Fault::NotFound`] where it does not know the flavor.
    fn listing(&self, flavor: Flavor) -> BoxFuture<'_, Result<Listing, Fault>>;

    /// Starts to fetch a resource, or goes on with one.
    fn fetch<'a>(&'a self, wanted: &'a Wanted, resume: Option<&'a Resume>) -> BoxFuture<'a, Result<Answer, Fault>>;
}

/// Where a broken download goes on.
#[derive(Clone, Debug)]
pub struct Resume {
    /// Bytes that are already here.
    pub at: u64,
    /// The strong entity tag of the answer that broke.
    pub etag: Option<String>,
}

/// A good answer, with its body still to come.
pub struct Answer {
    /// Bytes of the whole resource, if the source said.
    pub length: Option<u64>,
    /// The offset of the first byte that comes: 0 unless a resume was granted.
    pub start: u64,
    /// A strong entity tag (RFC 9110, 8.8.1); weak ones are no promise about bytes.
    pub etag: Option<String>,
    /// The bytes, exactly as sent.
    pub body: BoxStream<'static, Result<Bytes, Fault>>,
}

/// What a source did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not have it (404, 410).
    #[error("not found")]
    NotFound,
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Connected, then silence.
    #[error("no byte for {0:?}")]
    Stalled(Duration),
    /// As many requests as it may be sent at one time are under way: no fault of its own.
    #[error("all {0} requests that it may be sent at one time are under way")]
    Busy(usize),
    /// Any other status.
    #[error("answered {status}{}", meaning(*status))]
    Status {
        /// The status.
        status: u16,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The bytes are not what was asked for.
    #[error("{0}")]
    Content(String),
    /// Any of these in words that say more.
    #[error("{words}")]
    Worded {
        /// For people.
        words: String,
        /// Which.
        means: Box<Self>,
    },
}

impl Fault {
    /// A fault in words that say more.
    pub fn worded(words: String, means: Self) -> Self {
        Self::Worded { words, means: Box::new(means) }
    }

    /// The fault itself.
    pub const fn root(&self) -> &Self {
        match self {
            Self::Worded { means, .. } => means.root(),
            fault => fault,
        }
    }

    /// Whether asking again soon may help.
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::NotFound | Self::Content(_) => false,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Connect(_) | Self::Stalled(_) | Self::Broken(_) | Self::Busy(_) => true,
            Self::Worded { means, .. } => means.is_passing(),
        }
    }

    /// Whether this speaks against the source as a whole, not only against one resource.
    pub const fn is_unreachable(&self) -> bool {
        match self {
            Self::Worded { means, .. } => means.is_unreachable(),
            fault => matches!(fault, Self::Connect(_) | Self::Stalled(_)),
        }
    }

    /// The more it says for asking again, or telling somebody, the higher.
    pub const fn weight(&self) -> u8 {
        match self {
            Self::NotFound => 0,
            Self::Connect(_) | Self::Stalled(_) | Self::Busy(_) => 1,
            Self::Broken(_) | Self::Status { .. } => 2,
            Self::Content(_) => 3,
            Self::Worded { means, .. } => means.weight(),
        }
    }

    /// Whether this speaks against what the source was shown, a token for example, and not against
    /// the resource.
    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Status { status: 401 | 403 | 407, .. })
    }

    /// How long the source asked to be left alone.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Worded { means, .. } => means.retry_after(),
            _ => None,
        }
    }
}

/// What a status wants of whoever runs this mirror.
const fn meaning(status: u16) -> &'static str {
    match status {
        401 => ": it wants a token, or another one",
        403 => ": it does not let this mirror in, or not there",
        407 => ": the proxy wants a user and a password",
        _ => "",
    }
}
