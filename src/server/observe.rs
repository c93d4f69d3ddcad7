//! What is seen of each request from outside: its id, its line in the log, its place in the metrics
//! and in the audit log.
//!
//! A request ends when its answer's last byte was given to the connection, or when the connection
//! was closed before. Whatever is counted of it is counted before the client can know that it has
//! all, so that whoever asks next sees it.

use super::Peer;
use super::access::Caller;
use super::artifacts_toml;
use super::audit::Entry;
use super::metrics::target;
use super::routes::App;
use crate::mirror::{Found, Landed, Refusal};
use crate::protocol::{RequestId, Resource};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Extensions, Method, StatusCode};
use hyper::body::{Body as _, Frame, SizeHint};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tracing::Instrument as _;

const HEADER: HeaderName = HeaderName::from_static(RequestId::HEADER);
/// Most letters of a path that are logged, and of what a client says of itself.
const LONGEST_PATH: usize = 512;
const LONGEST_WORD: usize = 64;
/// The status of a request whose client left before there was an answer; nginx made this number up.
const CLIENT_LEFT: u16 = 499;

/// What a handler tells of its answer, in the extensions of the response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// What was asked for.
    pub(super) resource: Resource,
    /// `hit`, `fetched` or `miss`.
    pub(super) how: &'static str,
}

impl Answered {
    pub(super) const fn new(resource: Resource, found: &Result<Found, Refusal>) -> Self {
        let how = match found {
            // What is small has landed before there is an answer.
            Ok(Found::Streaming(..) | Found::Length(_) | Found::File(Landed { from: Some(_), .. })) => "fetched",
            Ok(Found::Memory(_) | Found::File(_)) => "hit",
            Err(_) => "miss",
        };
        Self { resource, how }
    }
}

/// Sees to all of it. The outermost layer.
pub(super) async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(HEADER).and_then(|id| id.to_str().ok()?.parse().ok());
    let id = given.unwrap_or_else(|| app.metrics().new_id());
    request.extensions_mut().insert(id);
    let mut watch = Watch::begin(app, &request, id);
    let is_head = request.method() == Method::HEAD;
    // What is logged on the way bears the id, at whatever level.
    let span = tracing::error_span!("request", %id);
    let mut response = next.run(request).instrument(span).await;
    watch.status = Some(response.status());
    watch.answered = response.extensions_mut().remove();
    watch.token = token_label(response.extensions());
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(HEADER, id);
    }
    watch.expected = length(&response);
    if is_head || response.status() == StatusCode::NOT_MODIFIED || response.body().is_end_stream() {
        watch.whole = true;
        drop(watch);
        return response;
    }
    response.map(|body| Body::new(Sent { body, watch: Some(watch) }))
}

/// Whose token it was: the place where what an access guard found out gets into the log and the
/// audit log. It has to be among the extensions of the response.
fn token_label(extensions: &Extensions) -> Option<String> {
    Caller::of(extensions).label().map(str::to_owned)
}

fn length(response: &Response) -> Option<u64> {
    let said = response.headers().get(header::CONTENT_LENGTH);
    let said = said.and_then(|length| length.to_str().ok()?.parse().ok());
    said.or_else(|| response.body().size_hint().exact())
}

/// A request under way. When it is dropped, the request has ended.
struct Watch {
    app: App,
    begun: Instant,
    target: usize,
    id: RequestId,
    /// What the log and the audit log say beside the rest, if there is one of them.
    line: Option<Box<Line>>,
    status: Option<StatusCode>,
    answered: Option<Answered>,
    token: Option<String>,
    /// Bytes of the body that is to come, if that is known.
    expected: Option<u64>,
    sent: u64,
    /// Whether all of the body was given to the connection.
    whole: bool,
}

struct Line {
    method: Method,
    path: String,
    client: Option<IpAddr>,
    /// The name in the certificate that the client showed.
    certificate: Option<Arc<str>>,
    julia: Option<String>,
    /// What the path names.
    resource: Option<Resource>,
}

impl Watch {
    fn begin(app: App, request: &Request, id: RequestId) -> Self {
        let path = request.uri().path();
        app.metrics().in_progress.fetch_add(1, Ordering::Relaxed);
        let wanted = tracing::enabled!(tracing::Level::INFO) || app.audit().is_some();
        let line = wanted.then(|| {
            let julia = request.headers().get("julia-version").and_then(|julia| julia.to_str().ok());
            Box::new(Line {
                method: request.method().clone(),
                path: short(path, LONGEST_PATH),
                client: client_address(&app, request),
                certificate: request.extensions().get::<Peer>().and_then(|peer| peer.certificate_name.clone()),
                resource: path
                    .parse()
                    .ok()
                    .or_else(|| artifacts_toml::parse(path).map(|(tree, _)| Resource::Artifact { tree })),
                julia: julia.map(|julia| short(julia, LONGEST_WORD)),
            })
        });
        Self {
            begun: Instant::now(),
            target: target(path),
            id,
            line,
            status: None,
            answered: None,
            token: None,
            expected: None,
            sent: 0,
            whole: false,
            app,
        }
    }

    fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.app.metrics().transmitted.fetch_add(bytes as u64, Ordering::Relaxed);
        self.whole = self.expected == Some(self.sent);
    }

    fn tell(&self, line: &Line, time: Duration) {
        let status = self.status.map_or(CLIENT_LEFT, |status| status.as_u16());
        tracing::info!(
            method = %line.method,
            path = line.path,
            status,
            bytes = self.sent,
            whole = self.whole,
            ms = (time.as_secs_f64() * 1e4).round() / 10.0,
            cache = self.answered.map(|answered| answered.how),
            client = line.client.map(tracing::field::display),
            certificate = line.certificate.as_deref().map(|name| short(name, LONGEST_WORD)),
            julia = line.julia,
            token = self.token,
            id = %self.id,
            "request"
        );
        // What was refused before anything was looked up, or whose client left, was asked for too.
        let asked = self.answered.or_else(|| Some(Answered { resource: line.resource?, how: "refused" }));
        if let (Some(audit), Some(Answered { resource, how })) = (self.app.audit(), asked) {
            let (name, version) =
                self.app.mirror().name(&resource).map_or((None, None), |name| (Some(name.name), name.version));
            audit.record(Entry {
                time: jiff::Timestamp::now(),
                id: self.id,
                client: line.client,
                token: self.token.clone(),
                method: line.method.to_string(),
                resource,
                name,
                version,
                status,
                cache: how,
                bytes: self.sent,
                whole: self.whole,
            });
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.status.is_none() && std::thread::panicking() {
            // What the connection makes of it.
            self.status = Some(StatusCode::INTERNAL_SERVER_ERROR);
        }
        let (metrics, time) = (self.app.metrics(), self.begun.elapsed());
        metrics.took(self.target, time);
        if let Some(status) = self.status {
            metrics.answered(status.as_u16());
        }
        metrics.in_progress.fetch_sub(1, Ordering::Relaxed);
        if let Some(line) = &self.line {
            self.tell(line, time);
        }
    }
}

/// A body on its way out, watched.
struct Sent {
    body: Body,
    watch: Option<Watch>,
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let Some(watch) = &mut self.watch else { return polled };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => watch.sent(frame.data_ref().map_or(0, Bytes::len)),
            // One that was to be longer is cut by the connection.
            Poll::Ready(None) => watch.whole = watch.expected.is_none_or(|expected| expected == watch.sent),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        // Before the last bytes are on their way.
        if watch.whole || matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.watch = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Who asks: the other end of the connection or, where that is a proxy that is trusted, the last
/// one before it that is not.
fn client_address(app: &App, request: &Request) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>()?.address.ip().to_canonical();
    let config = app.config();
    let is_trusted = |address: IpAddr| config.server.trusted_proxies.iter().any(|proxy| proxy.contains(address));
    Some(if is_trusted(peer) { forwarded_for(request.headers(), peer, is_trusted) } else { peer })
}

/// Each proxy writes down, at the end, whom it heard: so all that was written before the first that
/// is not trusted, seen from the end, may be a lie. What is no address is a lie too.
fn forwarded_for(headers: &HeaderMap, peer: IpAddr, is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let lines = headers.get_all("x-forwarded-for").iter().rev().filter_map(|line| line.to_str().ok());
    let mut client = peer;
    for hop in lines.flat_map(|line| line.rsplit(',')) {
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
        if !is_trusted(client) {
            break;
        }
    }
    client
}

fn short(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Settings};
    use crate::mirror::Mirror;
    use crate::store::Store;
    use futures_util::FutureExt as _;
    use hyper::service::Service as _;

    #[tokio::test]
    async fn a_handler_that_panics_counts_as_what_its_client_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { offline: Some(true), ..Settings::default() };
        let config = Config::new(settings, Settings::default()).unwrap();
        let mirror = Mirror::new(Arc::new(Store::open(folder.path()).unwrap()), Vec::new(), &config);
        let app = App::new(Arc::new(mirror), config);
        let router = axum::Router::new()
            .route("/", axum::routing::get(async || -> &'static str { panic!("a bug") }))
            .layer(axum::middleware::from_fn_with_state(app.clone(), observe));
        let service = hyper_util::service::TowerToHyperService::new(router);
        let answer = service.call(Request::new(Body::empty()));
        assert!(std::panic::AssertUnwindSafe(answer).catch_unwind().await.is_err());
        assert_eq!(app.metrics().by_class(), [0, 0, 0, 0, 1]);
        assert_eq!(app.metrics().in_progress.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn of_forwarded_addresses_only_what_trusted_proxies_wrote_counts() {
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let is_trusted = |address: IpAddr| address.to_string().starts_with("10.");
        for (lines, client) in [
            (&[][..], "10.0.0.1"),
            (&["1.2.3.4"], "1.2.3.4"),
            (&["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            (&["6.6.6.6, 1.2.3.4, 10.0.0.2"], "1.2.3.4"),
            (&["6.6.6.6", "1.2.3.4,10.0.0.2"], "1.2.3.4"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["nobody, 10.0.0.2"], "10.0.0.2"),
            (&["1.2.3.4, <script>"], "10.0.0.1"),
            (&["::ffff:1.2.3.4"], "1.2.3.4"),
            (&["fd00::1"], "fd00::1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            assert_eq!(forwarded_for(&headers, peer, is_trusted).to_string(), client, "{lines:?}");
        }
    }
}
