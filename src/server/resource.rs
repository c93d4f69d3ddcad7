//! Resources over HTTP: hits with ranges and conditions, flights as they come in.

use super::access;
use super::observe::Answered;
use super::range::{Wanted, wanted};
use super::routes::App;
use crate::mirror::{Ask, Found, Landed};
use crate::protocol::Resource;
use crate::store::Client;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version, request};
use std::io;
use std::ops::Range;
use std::time::Duration;

/// Resources never change.
const CACHE_CONTROL: &str = "public, max-age=31536000, immutable";

/// Answers `GET` and `HEAD` for a resource.
pub(super) async fn respond(app: &App, resource: Resource, request: &request::Parts) -> Response {
    let ask = Ask {
        client: client(&request.headers),
        // HTTP/1.0 has no chunks, so without a length a short close looks like the end.
        spool: request.version < Version::HTTP_11,
        head: request.method == Method::HEAD,
        wait: wait(&request.headers),
        id: request.extensions.get().copied(),
    };
    let etag = format!("\"{}\"", resource.tree());
    let mirror = app.mirror();
    let found = mirror.get(&resource, &ask).await;
    let answered = Answered::new(resource, &found);
    let mut response = match found {
        Ok(Found::Memory(body)) => hit(request, &etag, body.len() as u64, |part| memory_part(&body, part)),
        Ok(Found::File(Landed { file, size, .. })) => {
            hit(request, &etag, size, |part| Body::from_stream(mirror.read(resource, file, part)))
        }
        Ok(Found::Streaming(length, bytes)) => whole(&etag, length, Body::from_stream(bytes)),
        // An empty body would be taken for one of length 0, and that be said.
        Ok(Found::Length(length)) => whole(&etag, length, Body::from_stream(stream::empty::<io::Result<Bytes>>())),
        Err(refused) => access::refuse(app, &request.extensions, &mirror, &resource, &refused),
    };
    response.extensions_mut().insert(answered);
    response
}

fn memory_part(body: &Bytes, part: Range<u64>) -> Body {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
    Body::from(body.slice(place(part.start)..place(part.end)))
}

/// What a client says of itself.
pub(super) fn client(headers: &HeaderMap) -> Client {
    let text = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        Some(value.chars().take(200).collect())
    };
    Client { julia: text("julia-version"), system: text("julia-system") }
}

/// How long a client waits for an answer (`Prefer: wait=7`, RFC 7240, 4.3), if it says: another
/// airlock does, so that a slow upstream of this one is not taken for this one being down.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = lines.flat_map(|line| line.split(','));
    let seconds = preferences.find_map(|it| it.trim().strip_prefix("wait=")?.parse().ok());
    seconds.filter(|&seconds| seconds > 0).map(Duration::from_secs)
}

/// A body of known size that can be read anywhere.
fn hit(request: &request::Parts, etag: &str, size: u64, part: impl FnOnce(Range<u64>) -> Body) -> Response {
    let text = |name: HeaderName| request.headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::IF_NONE_MATCH).is_some_and(|tags| matches_etag(tags, etag)) {
        return respond_with(StatusCode::NOT_MODIFIED, etag, None, Body::empty());
    }
    let same = text(header::IF_RANGE).is_none_or(|tag| tag == etag);
    let range = text(header::RANGE).filter(|_| same && request.method == Method::GET);
    match wanted(range, size) {
        Wanted::Whole => respond_with(StatusCode::OK, etag, Some(size), part(0..size)),
        Wanted::Part(wanted) => {
            let (start, end) = (wanted.start, wanted.end);
            let response = respond_with(StatusCode::PARTIAL_CONTENT, etag, Some(end - start), part(wanted));
            with_content_range(response, &format!("bytes {start}-{}/{size}", end - 1))
        }
        Wanted::Unsatisfiable => {
            let response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            with_content_range(response, &format!("bytes */{size}"))
        }
    }
}

/// A body that is still on its way in.
fn whole(etag: &str, length: Option<u64>, body: Body) -> Response {
    let mut response = respond_with(StatusCode::OK, etag, length, body);
    response.headers_mut().insert("x-cache-miss", HeaderValue::from_static("miss"));
    response
}

fn respond_with(status: StatusCode, etag: &str, length: Option<u64>, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-gzip"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(etag) = etag.parse() {
        headers.insert(header::ETAG, etag);
    }
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

fn with_content_range(mut response: Response, range: &str) -> Response {
    if let Ok(range) = range.parse() {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    response
}

/// `If-None-Match` compares weakly (RFC 9110, 13.1.2).
fn matches_etag(tags: &str, etag: &str) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
