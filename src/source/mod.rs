//! Where a missing resource may come from. So far: package servers.
//!
//! A source only fetches. It never sees the cache directory and never judges content: the mirror
//! verifies everything against the name that was asked for, whatever a redirect led to.

mod package_server;

pub use package_server::PackageServer;

use crate::protocol::{Flavor, Listing, Resource};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::fmt;
use std::time::Duration;

/// A place that resources come from.
pub trait Source: Send + Sync + fmt::Debug {
    /// What it is called in logs, ledgers and answers.
    fn name(&self) -> &str;

    /// Its listing of registries; [`Fault::NotFound`] where it does not know the flavor.
    fn listing(&self, flavor: Flavor) -> BoxFuture<'_, Result<Listing, Fault>>;

    /// Starts to fetch a resource, or goes on with one.
    fn fetch<'a>(&'a self, resource: &'a Resource, resume: Option<&'a Resume>) -> BoxFuture<'a, Result<Answer, Fault>>;
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
    /// Any other status.
    #[error("answered {status}")]
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
}

impl Fault {
    /// Whether asking again soon may help.
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::NotFound | Self::Content(_) => false,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Connect(_) | Self::Stalled(_) | Self::Broken(_) => true,
        }
    }

    /// Whether this speaks against the source as a whole, not only against one resource.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Stalled(_))
    }

    /// How long the source asked to be left alone.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
