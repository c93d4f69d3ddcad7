//! A package server as a source: `https://pkg.julialang.org`, another airlock, or a static copy of
//! a cache directory.

use super::http_client::{ClientError, cause, client, is_private};
use super::{Answer, Fault, Rank, Resume, Source, Wanted};
use crate::config::{Secret, TokenFrom, Upstream};
use crate::protocol::{Flavor, Listing, RequestId};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt};
use reqwest::header::{self, HeaderMap};
use reqwest::{Response, StatusCode};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longest listing that is read, in bytes.
const MAX_LISTING: usize = 1 << 20;

/// A package server.
pub struct PackageServer {
    /// With the user and password that may stand in it.
    url: Secret,
    /// Without them.
    name: String,
    is_public: bool,
    client: reqwest::Client,
    token: Option<Token>,
    /// Requests at one time, and how many; a request ends with its body.
    places: Option<(Arc<Semaphore>, usize)>,
    first_byte_timeout: Duration,
    idle_timeout: Duration,
}

/// A bearer token, which may change while the process runs.
struct Token {
    from: TokenFrom,
    now: Mutex<Secret>,
}

impl PackageServer {
    /// The package servers of a configuration, in order. Reads their tokens and certificates.
    pub fn all(upstreams: &[Upstream]) -> Result<Vec<Self>, ClientError> {
        // A second call finds a provider in place, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        upstreams.iter().map(Self::new).collect()
    }

    fn new(upstream: &Upstream) -> Result<Self, ClientError> {
        let (client, token) = client(upstream)?;
        let mut token = upstream.token.clone().zip(token).map(|(from, now)| Token { from, now: Mutex::new(now) });
        if token.is_some() && !is_private(upstream) {
            tracing::warn!(
                source = upstream.name,
                "its token is not sent: the way there is not https, so anybody on it could read the token"
            );
            token = None;
        }
        let mut url = upstream.url.clone();
        if url.expose() != upstream.name && !is_private(upstream) {
            tracing::warn!(
                source = upstream.name,
                "its user and password are not sent: the way there is not https, so anybody on it could read them"
            );
            url = Secret::new(upstream.name.clone());
        }
        Ok(Self {
            url,
            name: upstream.name.clone(),
            is_public: upstream.public,
            client,
            token,
            places: upstream.concurrency.map(|places| (Arc::new(Semaphore::new(places)), places)),
            first_byte_timeout: upstream.first_byte_timeout,
            idle_timeout: upstream.idle_timeout,
        })
    }

    /// Waits for a place among the requests at one time. That it is not had is no fault of the
    /// server's; without a bound whoever waits must have one.
    async fn place(&self, bound: Option<Duration>) -> Result<Option<OwnedSemaphorePermit>, Fault> {
        let Some((places, count)) = &self.places else { return Ok(None) };
        let place = Arc::clone(places).acquire_owned();
        let place = match bound {
            Some(bound) => tokio::time::timeout(bound, place).await.map_err(|_| Fault::Busy(*count))?,
            None => place.await,
        };
        Ok(place.ok())
    }

    async fn get(&self, path: &str, mut headers: HeaderMap) -> Result<Response, Fault> {
        headers.extend(wait_header(self.first_byte_timeout));
        let token = self.token.as_ref().map(Token::now);
        let response = self.send(path, headers.clone(), token.as_ref()).await?;
        let response = match (&self.token, token) {
            (Some(token), Some(sent)) if is_refused(response.status()) => {
                match token.renewed(&self.name, &sent).await {
                    Some(newer) => self.send(path, headers, Some(&newer)).await?,
                    None => response,
                }
            }
            _ => response,
        };
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(Fault::NotFound),
            status => Err(Fault::Status { status: status.as_u16(), retry_after: retry_after(response.headers()) }),
        }
    }

    async fn send(&self, path: &str, headers: HeaderMap, token: Option<&Secret>) -> Result<Response, Fault> {
        let mut request = self.client.get(format!("{}{path}", self.url.expose())).headers(headers);
        if let Some(token) = token {
            // Marked as sensitive by reqwest, and dropped by it where a redirect leads to another
            // scheme, host or port.
            request = request.bearer_auth(token.expose());
        }
        let sent = tokio::time::timeout(self.first_byte_timeout, request.send());
        sent.await.map_err(|_| Fault::Stalled(self.first_byte_timeout))?.map_err(|error| fault(&error))
    }

    async fn get_listing(&self, flavor: Flavor) -> Result<Listing, Fault> {
        let response = self.get(&format!("/{}", flavor.file_name()), HeaderMap::new()).await?;
        let mut text = Vec::new();
        let mut body = self.body(response, None);
        while let Some(bytes) = body.next().await {
            text.extend_from_slice(&bytes?);
            if text.len() > MAX_LISTING {
                return Err(Fault::Content(format!("a listing of over {MAX_LISTING} bytes")));
            }
        }
        Listing::parse(&String::from_utf8_lossy(&text)).map_err(|error| Fault::Content(error.to_string()))
    }

    async fn get_resource(&self, wanted: &Wanted, resume: Option<&Resume>) -> Result<Answer, Fault> {
        let place = self.place(wanted.place_wait.filter(|_| resume.is_none())).await?;
        let mut headers = resume.map(range_headers).unwrap_or_default();
        // A client may have chosen it, and what clients say is nothing for a public server.
        if let Some(id) = wanted.request.filter(|_| !self.is_public) {
            insert(&mut headers, header::HeaderName::from_static(RequestId::HEADER), id.as_str());
        }
        let response = self.get(&wanted.resource.to_string(), headers).await?;
        let etag = strong_etag(response.headers());
        let (start, length) = match (resume, response.status()) {
            (Some(_), StatusCode::PARTIAL_CONTENT) => content_range(response.headers())?,
            (_, StatusCode::OK) => (0, response.content_length()),
            (_, status) => return Err(Fault::Status { status: status.as_u16(), retry_after: None }),
        };
        Ok(Answer { length, start, etag, body: self.body(response, place) })
    }

    /// The body, cut by the idle time-out. It keeps its place until it ends.
    fn body(
        &self,
        response: Response,
        place: Option<OwnedSemaphorePermit>,
    ) -> stream::BoxStream<'static, Result<Bytes, Fault>> {
        let idle = self.idle_timeout;
        stream::try_unfold((response, place), move |(mut response, place)| async move {
            match tokio::time::timeout(idle, response.chunk()).await {
                Err(_) => Err(Fault::Stalled(idle)),
                Ok(Err(error)) => Err(fault(&error)),
                Ok(Ok(chunk)) => Ok(chunk.map(|chunk| (chunk, (response, place)))),
            }
        })
        .boxed()
    }
}

impl Token {
    fn now(&self) -> Secret {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The token to try after `sent` was refused: another request's find, or what the file has now.
    async fn renewed(&self, source: &str, sent: &Secret) -> Option<Secret> {
        let now = self.now();
        if now != *sent {
            return Some(now);
        }
        let TokenFrom::File(_) = &self.from else { return None };
        let from = self.from.clone();
        let read = tokio::task::spawn_blocking(move || from.read()).await.ok()?;
        let newer = read.inspect_err(|error| tracing::warn!(source, "its token cannot be read again: {error}")).ok()?;
        if newer == *sent {
            return None;
        }
        tracing::info!(source, "its token has changed in {}", self.from);
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&newer);
        Some(newer)
    }
}

impl fmt::Debug for PackageServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackageServer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Source for PackageServer {
    fn name(&self) -> &str {
        &self.name
    }

    fn rank(&self) -> Rank {
        Rank::Server
    }

    fn is_public(&self) -> bool {
        self.is_public
    }

    fn listing(&self, flavor: Flavor) -> BoxFuture<'_, Result<Listing, Fault>> {
        // It is one line for each registry: a source that lets it drip must not keep the others
        // from being asked.
        let bound = self.first_byte_timeout.saturating_add(self.idle_timeout);
        async move {
            let _place = self.place(Some(bound)).await?;
            let listing = tokio::time::timeout(bound, self.get_listing(flavor)).await;
            listing.unwrap_or(Err(Fault::Stalled(bound)))
        }
        .boxed()
    }

    fn fetch<'a>(&'a self, wanted: &'a Wanted, resume: Option<&'a Resume>) -> BoxFuture<'a, Result<Answer, Fault>> {
        self.get_resource(wanted, resume).boxed()
    }
}

fn range_headers(resume: &Resume) -> HeaderMap {
    let mut headers = HeaderMap::new();
    insert(&mut headers, header::RANGE, &format!("bytes={}-", resume.at));
    if let Some(etag) = &resume.etag {
        insert(&mut headers, header::IF_RANGE, etag);
    }
    headers
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = value.parse() {
        headers.insert(name, value);
    }
}

fn strong_etag(headers: &HeaderMap) -> Option<String> {
    let etag = headers.get(header::ETAG)?.to_str().ok()?;
    etag.starts_with('"').then(|| etag.to_owned())
}

/// `Content-Range: bytes START-END/TOTAL` (RFC 9110, 14.4).
fn content_range(headers: &HeaderMap) -> Result<(u64, Option<u64>), Fault> {
    let value = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let parse = || {
        let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
        Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
    };
    parse().ok_or_else(|| Fault::Content(format!("Content-Range {value:?} makes no sense")))
}

/// Seconds or a date (RFC 9110, 10.2.3). A date is by the clock over there, which says what it has now:
/// the one here may be years off.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let date = |value| httpdate::parse_http_date(value).ok();
    let value = text(header::RETRY_AFTER)?;
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => date(value)?.duration_since(text(header::DATE).and_then(date).unwrap_or_else(SystemTime::now)).ok(),
    }
}

fn is_refused(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// How long this mirror waits (RFC 7240, 4.3), less what the way takes: another airlock then says
/// in time that its own upstream is slow, and is not itself taken for one that does not answer.
fn wait_header(first_byte_timeout: Duration) -> Option<(header::HeaderName, header::HeaderValue)> {
    let wait = first_byte_timeout.as_secs().checked_sub(1).filter(|wait| *wait > 0)?;
    Some((header::HeaderName::from_static("prefer"), format!("wait={wait}").parse().ok()?))
}

pub(super) fn fault(error: &reqwest::Error) -> Fault {
    let detail = cause(error);
    if error.is_connect() { Fault::Connect(detail) } else { Fault::Broken(detail) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after(&with(header::RETRY_AFTER, "7")), Some(Duration::from_secs(7)));
        assert!(retry_after(&with(header::RETRY_AFTER, "Fri, 31 Dec 2100 23:59:59 GMT")).is_some());
        let both =
            [(header::DATE, "Fri, 31 Dec 1999 23:59:50 GMT"), (header::RETRY_AFTER, "Fri, 31 Dec 1999 23:59:59 GMT")];
        let both = HeaderMap::from_iter(both.map(|(name, value)| (name, value.parse().unwrap())));
        assert_eq!(retry_after(&both), Some(Duration::from_secs(9)), "by the clock over there");
        for past in ["Fri, 31 Dec 1999 23:59:59 GMT", "soon", "-1"] {
            assert_eq!(retry_after(&with(header::RETRY_AFTER, past)), None, "{past}");
        }
    }

    #[test]
    fn only_strong_etags_promise_bytes() {
        assert_eq!(strong_etag(&with(header::ETAG, "\"a\"")).as_deref(), Some("\"a\""));
        assert_eq!(strong_etag(&with(header::ETAG, "W/\"a\"")), None);
    }

    #[test]
    fn content_ranges_that_make_no_sense_are_faults() {
        assert_eq!(content_range(&with(header::CONTENT_RANGE, "bytes 5-9/10")), Ok((5, Some(10))));
        assert_eq!(content_range(&with(header::CONTENT_RANGE, "bytes 5-9/*")), Ok((5, None)));
        for bad in ["", "bytes */10", "items 5-9/10", "bytes 5"] {
            assert!(content_range(&with(header::CONTENT_RANGE, bad)).is_err(), "{bad}");
        }
    }
}
