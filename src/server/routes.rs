//! Which path leads where.

use super::admission::Admission;
use super::tls::Tls;
use super::{artifacts_toml, meta, page, resource, wishes};
use crate::config::Config;
use crate::mirror::{ListingAnswer, Mirror};
use crate::protocol::{Flavor, Resource};
use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::future::BoxFuture;
use http::header::{self, HeaderMap};
use http::{Method, StatusCode};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// The one path that takes a POST, and nothing else.
const WISHES: &str = "/request";

/// What every handler sees.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    live: ArcSwap<Live>,
    reload: Option<Reload>,
    started: jiff::Timestamp,
    admission: Arc<Admission>,
    tls: OnceLock<Arc<Tls>>,
}

/// Reads the configuration again and puts it into force. Says what changed, or why all stays as it
/// was.
pub type Reload = Box<dyn Fn(App) -> BoxFuture<'static, Result<Vec<String>, String>> + Send + Sync>;

/// What a reload replaces as a whole.
#[derive(Debug)]
struct Live {
    mirror: Arc<Mirror>,
    config: Arc<Config>,
}

impl App {
    /// The server of a mirror.
    pub fn new(mirror: Arc<Mirror>, config: Config) -> Self {
        Self::with_reload(mirror, config, None)
    }

    /// The same, able to `reload`.
    pub fn with_reload(mirror: Arc<Mirror>, config: Config, reload: Option<Reload>) -> Self {
        let live = ArcSwap::from_pointee(Live { mirror, config: Arc::new(config) });
        let (admission, tls) = (Arc::default(), OnceLock::new());
        Self(Arc::new(Shared { live, reload, started: jiff::Timestamp::now(), admission, tls }))
    }

    /// Reads the configuration again; `None` where there is no file to read.
    pub async fn reload(&self) -> Option<Result<Vec<String>, String>> {
        match &self.0.reload {
            Some(reload) => Some(reload(self.clone()).await),
            None => None,
        }
    }

    /// Puts another mirror and configuration in the place of those of now, which are returned: the
    /// old mirror is for the caller to close, when its flights have landed.
    pub fn replace(&self, mirror: Arc<Mirror>, config: Config) -> (Arc<Mirror>, Arc<Config>) {
        let old = self.0.live.swap(Arc::new(Live { mirror, config: Arc::new(config) }));
        (Arc::clone(&old.mirror), Arc::clone(&old.config))
    }

    /// The mirror of now: a handler must ask once, or a reload in between gives it two.
    pub(super) fn mirror(&self) -> Arc<Mirror> {
        Arc::clone(&self.0.live.load().mirror)
    }

    /// The configuration of now.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.0.live.load().config)
    }

    pub(super) fn started(&self) -> jiff::Timestamp {
        self.0.started
    }

    /// The connections of now, and what became of those that were not taken.
    pub(super) fn admission(&self) -> &Arc<Admission> {
        &self.0.admission
    }

    /// Where `tls.rs` keeps what it read.
    pub(super) fn tls_place(&self) -> &OnceLock<Arc<Tls>> {
        &self.0.tls
    }
}

/// All routes. Resources come last: whatever is no other path and no resource is 404 before it
/// touches the disk.
pub fn router(app: &App) -> Router {
    let router = Router::new()
        .route("/", get(page::front))
        .route(WISHES, post(wishes::ask).layer(DefaultBodyLimit::max(wishes::MAX_BODY)))
        .route("/registries", get(registries))
        .route("/registries.eager", get(registries_eager))
        .route("/registries.conservative", get(registries_conservative))
        .route("/artifact/{tree}/{name}", get(artifacts_toml::respond))
        .route("/meta", get(meta::meta))
        .route("/meta/stats", get(meta::stats))
        .route("/meta/misses", get(meta::misses))
        .route("/health", get(meta::health))
        .route("/robots.txt", get(async || "User-agent: *\nDisallow: /\n"))
        .fallback(fallback)
        .layer(middleware::from_fn(only_get_and_head))
        .layer(middleware::from_fn(log))
        .with_state(app.clone());
    match &app.config().server.prefix {
        Some(prefix) => Router::new().nest_service(prefix, router.clone()).fallback_service(router),
        None => router,
    }
}

async fn fallback(State(app): State<App>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    match parts.uri.path().parse::<Resource>() {
        Ok(wanted) => resource::respond(&app, wanted, &parts).await,
        Err(_) => (StatusCode::NOT_FOUND, "no such path\n").into_response(),
    }
}

async fn only_get_and_head(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) || request.uri().path() == WISHES {
        return next.run(request).await;
    }
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], "only GET and HEAD\n").into_response()
}

/// One line per request.
async fn log(request: Request, next: Next) -> Response {
    if !tracing::enabled!(tracing::Level::INFO) {
        return next.run(request).await;
    }
    let (begun, method, path) = (Instant::now(), request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let elapsed = begun.elapsed().as_secs_f64() * 1000.0;
    tracing::info!(%method, path, status = response.status().as_u16(), ms = format_args!("{elapsed:.1}"), "request");
    response
}

/// `/registries`: the flavor is chosen as `PkgServer` does (`handle_request`), but answered here
/// and now, without a redirect.
async fn registries(State(app): State<App>, headers: HeaderMap) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(julia) = text("julia-version") {
        app.mirror().saw_julia(julia);
    }
    let is_ci = text("julia-ci-variables").is_some_and(|all| all.split(';').any(|variable| variable.ends_with("=t")));
    let eager = text("julia-registry-preference").map_or(is_ci, |preference| preference == "eager");
    let flavors = if eager {
        [Flavor::Eager, Flavor::Plain, Flavor::Conservative]
    } else {
        [Flavor::Conservative, Flavor::Plain, Flavor::Eager]
    };
    listing(&app, &headers, &flavors).await
}

async fn registries_eager(State(app): State<App>, headers: HeaderMap) -> Response {
    listing(&app, &headers, &[Flavor::Eager]).await
}

async fn registries_conservative(State(app): State<App>, headers: HeaderMap) -> Response {
    listing(&app, &headers, &[Flavor::Conservative]).await
}

async fn listing(app: &App, request: &HeaderMap, flavors: &[Flavor]) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain"), (header::CACHE_CONTROL, "no-cache")];
    let mirror = app.mirror();
    match mirror.listing(flavors, resource::wait(request)).await {
        Ok(ListingAnswer::Listing(listing)) => (headers, listing.to_string()).into_response(),
        Ok(ListingAnswer::NoFlavor) => (StatusCode::NOT_FOUND, headers, "no such flavor here\n").into_response(),
        Ok(ListingAnswer::Nothing) => {
            let line = if mirror.is_offline() {
                "this mirror has no registry yet: run `airlock bundle import`, or copy a cache here\n"
            } else {
                "this mirror has no registry yet: run `airlock prewarm`, or wait for its upstream\n"
            };
            (StatusCode::SERVICE_UNAVAILABLE, headers, line).into_response()
        }
        Err(refusal) => {
            tracing::error!("/registries: {refusal}");
            (super::refusal::status(&refusal), headers, "the listing cannot be read\n").into_response()
        }
    }
}
