//! Which path leads where.

use super::access::{self, Caller};
use super::admission::Admission;
use super::audit::Audit;
use super::live::{Pulse, Reading};
use super::metrics::{self, Metrics};
use super::observe::observe;
use super::tls::Tls;
use super::{admin, artifacts_toml, meta, pages, resource, wishes};
use crate::config::Config;
use crate::mirror::{ListingAnswer, Mirror, blocking};
use crate::protocol::{Flavor, Resource};
use crate::tokens::LiveTokens;
use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::future::BoxFuture;
use http::header::{self, HeaderMap};
use http::{Method, StatusCode};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The one path that takes a POST, and nothing else.
const WISHES: &str = "/request";

/// What every handler sees.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    live: ArcSwap<Live>,
    reload: Option<Reload>,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    reading: ArcSwap<Reading>,
    pulse: Pulse,
    started: jiff::Timestamp,
    tokens: Arc<LiveTokens>,
    admission: Arc<Admission>,
    tls: OnceLock<Arc<Tls>>,
    metrics: Metrics,
    /// As the configuration was at the start: a reload does not change it.
    audit: Option<Audit>,
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

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    /// The server of a mirror.
    pub fn new(mirror: Arc<Mirror>, config: Config) -> Self {
        Self::with_reload(mirror, config, None)
    }

    /// The same, able to `reload`.
    pub fn with_reload(mirror: Arc<Mirror>, config: Config, reload: Option<Reload>) -> Self {
        let audit = Audit::start(&config.audit, mirror.store().root());
        Self(Arc::new(Shared {
            live: ArcSwap::from_pointee(Live { mirror, config: Arc::new(config) }),
            reload,
            reloading: tokio::sync::Mutex::default(),
            reading: ArcSwap::default(),
            pulse: Pulse::default(),
            started: jiff::Timestamp::now(),
            tokens: Arc::default(),
            admission: Arc::default(),
            tls: OnceLock::new(),
            metrics: Metrics::new(),
            audit,
        }))
    }

    /// Reads the configuration again; `None` where there is no file to read.
    pub async fn reload(&self) -> Option<Result<Vec<String>, String>> {
        self.0.reload.as_ref()?;
        // A task of its own: whoever asked may leave, and half a reload is none.
        let app = self.clone();
        let reloaded = tokio::spawn(async move { app.reload_now().await }).await;
        reloaded.unwrap_or_else(|error| Some(Err(error.to_string())))
    }

    async fn reload_now(&self) -> Option<Result<Vec<String>, String>> {
        let _only = self.0.reloading.lock().await;
        let outcome = self.0.reload.as_ref()?(self.clone()).await;
        self.0.reading.store(Arc::new(self.reading().after(&outcome)));
        Some(outcome)
    }

    /// How the configuration was read.
    pub(super) fn reading(&self) -> Arc<Reading> {
        self.0.reading.load_full()
    }

    /// Whether the loop that accepts connections and the threads for blocking work answer within a
    /// bound.
    pub async fn is_alive(&self, bound: Duration) -> bool {
        let both = async {
            self.0.pulse.beat().await;
            blocking(|| ()).await.is_ok()
        };
        tokio::time::timeout(bound, both).await.unwrap_or(false)
    }

    /// For the loop that accepts connections.
    pub(super) fn pulse(&self) -> &Pulse {
        &self.0.pulse
    }

    /// Puts another mirror and configuration in the place of those of now, which are returned: the
    /// old mirror is for the caller to close, when its flights have landed.
    pub fn replace(&self, mirror: Arc<Mirror>, config: Config) -> (Arc<Mirror>, Arc<Config>) {
        let old = self.0.live.swap(Arc::new(Live { mirror, config: Arc::new(config) }));
        (Arc::clone(&old.mirror), Arc::clone(&old.config))
    }

    /// The mirror of now: a handler must ask once, or a reload in between gives it two.
    pub fn mirror(&self) -> Arc<Mirror> {
        Arc::clone(&self.0.live.load().mirror)
    }

    /// The configuration of now.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.0.live.load().config)
    }

    pub(super) fn tokens(&self) -> &Arc<LiveTokens> {
        &self.0.tokens
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

    /// What the server counts.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The audit log, if there is one.
    pub(super) fn audit(&self) -> Option<&Audit> {
        self.0.audit.as_ref()
    }
}

/// All routes. Resources come last: whatever is no other path and no resource is 404 before it
/// touches the disk.
pub fn router(app: &App) -> Router {
    let router = Router::new()
        .route("/", get(pages::overview))
        .route("/packages", get(pages::packages))
        .route("/misses", get(pages::misses))
        .route("/misses.txt", get(pages::export))
        .route("/sources", get(pages::sources))
        .route(WISHES, post(wishes::ask).layer(DefaultBodyLimit::max(wishes::MAX_BODY)))
        .route("/registries", get(registries))
        .route("/registries.eager", get(registries_eager))
        .route("/registries.conservative", get(registries_conservative))
        .route("/artifact/{tree}/{name}", get(artifacts_toml::respond))
        .route("/meta", get(meta::meta))
        .route("/meta/stats", get(meta::stats))
        .route("/meta/misses", get(meta::misses))
        .route("/meta/siblings", get(meta::none))
        .route("/meta/children", get(meta::none))
        .route("/meta/parents", get(meta::parents))
        .route("/metrics", get(metrics::metrics))
        .route("/health", get(meta::health))
        .route("/robots.txt", get(async || "User-agent: *\nDisallow: /\n"))
        .merge(admin::routes())
        .fallback(fallback)
        .layer(middleware::from_fn_with_state(app.clone(), only_get_and_head))
        .layer(middleware::from_fn_with_state(app.clone(), observe))
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
        Err(_) => pages::not_found(&parts),
    }
}

/// Then the guard, here and in no layer of its own: each layer costs every hit something.
async fn only_get_and_head(State(app): State<App>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    if matches!(*method, Method::GET | Method::HEAD) || path == WISHES || admin::takes(method, path) {
        return access::guard(&app, request, next).await;
    }
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], "only GET and HEAD\n").into_response()
}

/// `/registries`: the flavor is chosen as `PkgServer` does (`handle_request`), but answered here
/// and now, without a redirect.
async fn registries(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Response {
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
    listing(&app, &caller, &headers, &flavors).await
}

async fn registries_eager(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Response {
    listing(&app, &caller, &headers, &[Flavor::Eager]).await
}

async fn registries_conservative(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Response {
    listing(&app, &caller, &headers, &[Flavor::Conservative]).await
}

async fn listing(app: &App, caller: &Caller, request: &HeaderMap, flavors: &[Flavor]) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain"), (header::CACHE_CONTROL, "no-cache")];
    let mirror = app.mirror();
    match mirror.listing(flavors, resource::wait(request)).await {
        Ok(ListingAnswer::Listing(listing)) => match access::listing_for(app, caller, &mirror, listing).await {
            Ok(listing) => (headers, listing.to_string()).into_response(),
            Err(refused) => refused,
        },
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
