//! Artifacts from the addresses that packages name: what Pkg itself does when no package server has
//! one (`download_artifact` in Pkg's `Artifacts.jl`).
//!
//! What comes is hashed (SHA-256) and packed again as gzip while it streams, on a thread that may
//! block; the network is read no faster than that thread takes it. The sum is known only at the end,
//! so a wrong one is a fault before the end of the body, and whoever takes the body for whole must
//! have seen its end.

use super::hosts::Hosts;
use super::http_client::REDIRECTS;
use super::package_server::{fault, retry_after};
use super::piped::{Body, Pipe, Taker, piped};
use super::{Answer, ClientError, Download, Fault, Rank, Resume, Source, Wanted};
use crate::config::Config;
use crate::protocol::{Flavor, Kind, Listing};
use crate::tree::{Limits, Packing, RepackError, TAR_BLOCK, TreeError, repack};
use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt};
use reqwest::{Response, StatusCode, Url};
use sha2::{Digest, Sha256};
use std::error::Error as _;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Downloads that are packed again at one time: unpacking one may need 160 MiB.
const REPACKED: usize = 8;

/// The addresses that packages name, as a source. Asked with one [`Download`] at a time.
#[derive(Debug)]
pub struct Downloads {
    client: reqwest::Client,
    first_byte_timeout: Duration,
    idle_timeout: Duration,
    limits: Limits,
    hosts: Hosts,
    repacked: Arc<Semaphore>,
}

impl Downloads {
    /// With the time-outs of the mirror and the proxies of the environment.
    pub fn new(config: &Config) -> Result<Self, ClientError> {
        // A second call finds a provider in place, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("airlock/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.mirror.connect_timeout)
            // It would tell one host the address at another.
            .referer(false)
            .redirect(reqwest::redirect::Policy::limited(REDIRECTS))
            .build()
            .map_err(|error| ClientError::of_downloads(&error))?;
        Ok(Self {
            client,
            first_byte_timeout: config.mirror.first_byte_timeout,
            idle_timeout: config.mirror.idle_timeout,
            limits: Limits::from(&config.limits),
            hosts: Hosts::default(),
            repacked: Arc::new(Semaphore::new(REPACKED)),
        })
    }

    async fn get(&self, download: &Download) -> Result<Answer, Fault> {
        let response = self.ask(&download.url).await?;
        let length = response.content_length();
        let mut body = chunks(response, self.idle_timeout);
        let mut head = BytesMut::new();
        while head.len() < TAR_BLOCK {
            let Some(bytes) = body.next().await else { break };
            head.extend_from_slice(&bytes?);
        }
        let start = head.get(..TAR_BLOCK).unwrap_or(&head);
        let packing = Packing::of(start).map_err(|error| Fault::Content(error.to_string()))?;
        let place = match packing {
            Packing::Gzip => None,
            _ => Some(Arc::clone(&self.repacked).acquire_owned().await.map_err(closed)?),
        };
        let body = stream::iter([Ok(head.freeze())]).chain(body).boxed();
        // What is packed again has another length.
        let length = length.filter(|_| packing == Packing::Gzip);
        let body = pack(body, download.sha256, self.limits.clone(), place);
        Ok(Answer { length, start: 0, etag: None, body })
    }

    async fn ask(&self, url: &str) -> Result<Response, Fault> {
        let url =
            Url::parse(url).map_err(|error| Fault::worded(format!("this is no address: {error}"), Fault::NotFound))?;
        if !matches!(url.scheme(), "http" | "https") {
            let words = format!("{} is not spoken, only http and https are", url.scheme());
            return Err(Fault::worded(words, Fault::NotFound));
        }
        let (name, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        let host = self.hosts.of(&format!("{name}:{port}"));
        host.reach.check()?;
        let response = tokio::time::timeout(self.first_byte_timeout, self.client.get(url).send())
            .await
            .map_err(|_| Fault::Stalled(self.first_byte_timeout))
            .and_then(|response| response.map_err(|error| fault(&error)));
        match &response {
            Err(fault) if fault.is_unreachable() => host.reach.unreached(fault.to_string()),
            _ => host.reach.reached(),
        }
        let response = response?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(Fault::NotFound),
            status => Err(Fault::Status { status: status.as_u16(), retry_after: retry_after(response.headers()) }),
        }
    }
}

impl Source for Downloads {
    fn name(&self) -> &'static str {
        "download"
    }

    fn rank(&self) -> Rank {
        Rank::Fallback
    }

    /// Nobody is asked but those whom the package itself names.
    fn is_public(&self) -> bool {
        false
    }

    fn gives(&self, kind: Kind) -> bool {
        kind == Kind::Artifact
    }

    fn listing(&self, _: Flavor) -> BoxFuture<'_, Result<Listing, Fault>> {
        async { Err(Fault::NotFound) }.boxed()
    }

    /// Never resumes: the bytes that come are not the bytes that are sent.
    fn fetch<'a>(&'a self, wanted: &'a Wanted, resume: Option<&'a Resume>) -> BoxFuture<'a, Result<Answer, Fault>> {
        async move {
            match wanted.origins.downloads.first() {
                Some(download) if resume.is_none() => self.get(download).await,
                _ => Err(Fault::NotFound),
            }
        }
        .boxed()
    }
}

fn closed<E>(_: E) -> Fault {
    Fault::Broken("shutting down".to_owned())
}

/// The body as it is sent, cut by the idle time-out.
fn chunks(response: Response, idle: Duration) -> Body {
    stream::try_unfold(response, move |mut response| async move {
        match tokio::time::timeout(idle, response.chunk()).await {
            Err(_) => Err(Fault::Stalled(idle)),
            Ok(Err(error)) => Err(fault(&error)),
            Ok(Ok(chunk)) => Ok(chunk.map(|chunk| (chunk, response))),
        }
    })
    .boxed()
}

/// The same as a gzip tarball. Ends well only if the sum was right.
fn pack(body: Body, sha256: [u8; 32], limits: Limits, place: Option<OwnedSemaphorePermit>) -> Body {
    let runtime = Handle::current();
    piped(move |pipe| {
        let _place = place;
        let (taker, chunk, hasher) = (pipe.taker(), Bytes::new(), Sha256::new());
        pack_blocking(Raw { runtime, body, chunk, hasher, fault: None, taker }, sha256, &limits, pipe)
    })
}

fn pack_blocking(mut raw: Raw, expected: [u8; 32], limits: &Limits, pipe: &mut Pipe) -> Result<(), Fault> {
    let packed = repack(&mut raw, limits, pipe);
    if let Some(fault) = raw.fault.take() {
        return Err(fault);
    }
    packed.map_err(|error| match error {
        RepackError::Tree(error) => Fault::Content(described(&error)),
        RepackError::Write(error) => Fault::Broken(error.to_string()),
    })?;
    let found: [u8; 32] = raw.hasher.finalize().into();
    if found == expected {
        return Ok(());
    }
    Err(Fault::Content(format!("its SHA-256 is {}, and should be {}", hex(found), hex(expected))))
}

fn described(error: &TreeError) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn hex(bytes: [u8; 32]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What comes from the network, read by a thread that may block.
struct Raw {
    runtime: Handle,
    body: Body,
    chunk: Bytes,
    hasher: Sha256,
    /// What the source did wrong.
    fault: Option<Fault>,
    /// Who leaves must not leave this thread waiting for the network.
    taker: Taker,
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let Self { runtime, body, taker, .. } = self;
            let next = runtime.block_on(async {
                tokio::select! {
                    next = body.next() => next,
                    () = taker.left() => Some(Err(Fault::Broken("nobody takes it any more".to_owned()))),
                }
            });
            match next {
                Some(Ok(bytes)) => self.chunk = bytes,
                Some(Err(fault)) => {
                    let error = io::Error::other(fault.clone());
                    self.fault = Some(fault);
                    return Err(error);
                }
                None => return Ok(0),
            }
        }
        let taken = self.chunk.split_to(buffer.len().min(self.chunk.len()));
        if let Some(place) = buffer.get_mut(..taken.len()) {
            place.copy_from_slice(&taken);
        }
        self.hasher.update(&taken);
        Ok(taken.len())
    }
}
