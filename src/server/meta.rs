//! What the server says of itself, for machines: `/meta` and what is below it, `/health`.
//!
//! Keys that `PkgServer` has too are here in its form and mean what they mean there (`meta.jl`).

use super::access::Caller;
use super::artifacts_toml::base_url;
use super::metrics::Process;
use super::refusal;
use super::routes::App;
use crate::mirror::{Health, Mirror, Refusal, Served, blocking};
use crate::protocol::{Flavor, Kind, RegistryTree, Resource, TreeHash, Uuid};
use crate::source::{Rank, Source};
use crate::store::{Miss, Reason, StoreError};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A registry as people want to know it.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct RegistryStatus {
    pub(super) uuid: Uuid,
    pub(super) name: Option<String>,
    pub(super) tree: TreeHash,
    pub(super) flavors: Vec<Flavor>,
    /// When this tree was published here; unknown if another tool brought it.
    pub(super) published: Option<jiff::Timestamp>,
    pub(super) age_seconds: Option<i64>,
    /// `full`, as upstream published it, or `available`, derived to list only what is here.
    pub(super) view: &'static str,
    /// The tree of the full registry; when it was published is what `published` says.
    pub(super) derived_from: Option<TreeHash>,
    /// How many packages of a derived one have a version here.
    pub(super) packages: Option<usize>,
    /// How many versions it lists.
    pub(super) versions: Option<usize>,
    /// When it was derived.
    pub(super) derived: Option<jiff::Timestamp>,
}

impl RegistryStatus {
    /// The published registries. Blocks, but reads no more than a few short files.
    pub(super) fn all(mirror: &Mirror) -> Result<Vec<Self>, StoreError> {
        let mut registries = served(mirror)?;
        for registry in &mut registries {
            let resource = Resource::Registry { uuid: registry.uuid, tree: registry.tree };
            registry.name = mirror.name(&resource).map(|name| name.name);
        }
        Ok(registries)
    }
}

/// The published registries that somebody may see.
pub(super) async fn registry_status(app: &App, caller: &Caller) -> Result<Vec<RegistryStatus>, Refusal> {
    let mirror = app.mirror();
    let reader = Arc::clone(&mirror);
    let mut registries = Vec::new();
    for registry in blocking(move || RegistryStatus::all(&reader)).await?? {
        let resource = Resource::Registry { uuid: registry.uuid, tree: registry.tree };
        if caller.sees(app, &mirror, &resource).await {
            registries.push(registry);
        }
    }
    Ok(registries)
}

fn served(mirror: &Mirror) -> Result<Vec<RegistryStatus>, StoreError> {
    let now = jiff::Timestamp::now();
    let mut registries = BTreeMap::new();
    for flavor in Flavor::ALL {
        for Served { registry: RegistryTree { uuid, tree }, derived } in mirror.served(flavor)? {
            let from = derived.as_ref().map(|derived| derived.from);
            let published = mirror.published_at(RegistryTree { uuid, tree: from.unwrap_or(tree) })?;
            let status = registries.entry((uuid, tree)).or_insert_with(|| RegistryStatus {
                uuid,
                name: None,
                tree,
                flavors: Vec::new(),
                published,
                age_seconds: published.map(|time| now.duration_since(time).as_secs()),
                view: if derived.is_some() { "available" } else { "full" },
                derived_from: from,
                packages: derived.as_ref().map(|derived| derived.packages),
                versions: derived.as_ref().map(|derived| derived.versions),
                derived: derived.as_ref().map(|derived| derived.time),
            });
            status.flavors.push(flavor);
        }
    }
    Ok(registries.into_values().collect())
}

/// `/meta`
pub(super) async fn meta(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Response {
    let registries = match registry_status(&app, &caller).await {
        Ok(registries) => registries,
        Err(refused) => return unreadable(&refused),
    };
    let mirror = app.mirror();
    let reader = Arc::clone(&mirror);
    let looked = blocking(move || Ok::<_, StoreError>((reader.disk_status()?, reader.store().stepped_back()?)));
    let (disk, stepped_back) = match looked.await.map_err(StoreError::from).and_then(|looked| looked) {
        Ok(looked) => looked,
        Err(error) => return unreadable(&error.into()),
    };
    // The address of a private registry is for those who may see all, and so is what an error names.
    let is_full = caller.sight(&app.config()).is_full();
    let mut sources = mirror.sources();
    let looked = sources.iter().filter_map(|(_, health)| health.last_listing).max();
    let updated = looked.or_else(|| registries.iter().filter_map(|registry| registry.published).max());
    sources.retain(|(source, _)| is_full || source.is_public());
    let sources = sources.into_iter().map(|(source, mut health)| {
        health.last_error = health.last_error.filter(|_| is_full);
        source_status(source, &health)
    });
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "mode": if mirror.is_offline() { "offline" } else { "online" },
        "sources": sources.collect::<Vec<_>>(),
        "registries": registries,
        "registries_stepped_back": is_full.then_some(stepped_back),
        "disk": disk,
        "scrub": mirror.scrub_status(),
        "configuration": configuration(&app, is_full),
        // From here on what PkgServer says.
        "start_time": as_julia_writes(app.started()),
        "last_registry_update": updated.map(as_julia_writes),
        "pkgserver_version": concat!("airlock ", env!("CARGO_PKG_VERSION")),
        "pkgserver_url": base_url(&app, &headers),
        // No Julia runs here, and no watchdog.
        "julia_version": null,
        "registry_update_task": if mirror.is_offline() { "not-started" } else { "started" },
        "registry_watchdog_task": "not-started",
        "maxrss": Process::read().most_resident,
        "live_tasks": tasks.to_string(),
    }))
    .into_response()
}

/// Which configuration is in force. `last_error` is that of the last attempt to read it again, null
/// if that went well, or if who asks may not see all: it may name what is private.
fn configuration(app: &App, is_full: bool) -> serde_json::Value {
    let reading = app.reading();
    json!({
        "file": app.config().file.as_ref().filter(|_| is_full),
        "loaded": reading.loaded.unwrap_or_else(|| app.started()),
        "last_error": reading.failed.as_ref().filter(|_| is_full).map(|(_, error)| error),
        "last_error_time": reading.failed.as_ref().map(|(time, _)| time),
    })
}

/// `string(now())`: UTC, though it does not say so.
fn as_julia_writes(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3f").to_string()
}

/// `/meta/siblings` and `/meta/children`: no list of others is kept here.
pub(super) async fn none() -> Response {
    Json(json!([])).into_response()
}

/// `/meta/parents`: the package servers that this one asks, by addresses without what may be secret in
/// them.
pub(super) async fn parents(State(app): State<App>, caller: Caller) -> Response {
    let mirror = app.mirror();
    let is_full = caller.sight(&app.config()).is_full();
    let mut servers = mirror.sources();
    servers.retain(|(source, _)| source.rank() == Rank::Server && (is_full || source.is_public()));
    let addresses: Vec<_> = servers.into_iter().map(|(source, _)| source.name().to_owned()).collect();
    Json(addresses).into_response()
}

/// A source as people want to know it. Times are UTC; `cooling_down_until` is
/// null when the next request may find out whether it is back.
fn source_status(source: &dyn Source, health: &Health) -> serde_json::Value {
    let left = health.cooled_until.and_then(|until| until.checked_duration_since(Instant::now()));
    let error = health.last_error.as_ref();
    json!({
        "name": source.name(),
        "kind": source.rank().to_string(),
        "public": source.is_public(),
        "state": health.state(),
        "cooling_down_until": left.and_then(|left| jiff::Timestamp::now().checked_add(left).ok()),
        "failures_in_a_row": health.unreachable,
        "last_error": error.map(|(_, error)| error),
        "last_error_time": error.map(|(time, _)| time),
        "last_success": health.last_success,
    })
}

/// `/meta/stats`; all keys but the number of registries are `PkgServer`'s.
pub(super) async fn stats(State(app): State<App>) -> Response {
    let mirror = app.mirror();
    let counters = mirror.counters();
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (hits, fetched, misses) = (counters.hits(), get(&counters.fetched), counters.misses.sum());
    let (received, transmitted) = (get(&counters.received), get(&app.metrics().transmitted));
    match counts(&app).await {
        Err(refused) => unreadable(&refused),
        Ok(counts) => Json(json!({
            "total_hits": hits + fetched,
            "cached_hits": hits,
            "fetch_hits": fetched,
            "total_misses": misses,
            "payload_bytes_received": received,
            "payload_bytes_transmitted": transmitted,
            // Who asked for what how often is not for every client to read.
            "lru": {},
            "registries_cached": counts[0],
            "packages_cached": counts[1],
            "artifacts_cached": counts[2],
        }))
        .into_response(),
    }
}

/// How many registries, packages and artifacts are here.
async fn counts(app: &App) -> Result<[u64; 3], Refusal> {
    let census = app.mirror().census().await?;
    Ok(Kind::ALL.map(|kind| census.of(kind).files))
}

/// `/meta/misses`: the last 1,000, and how many there are; `airlock misses` has all.
pub(super) async fn misses(State(app): State<App>, caller: Caller) -> Response {
    let summary = match app.mirror().recent_misses().await {
        Ok(summary) => summary,
        Err(refused) => return unreadable(&refused),
    };
    match misses_for(&app, &caller, summary.recent.clone()).await {
        Ok(misses) => {
            // How many there are of what somebody may not see is not for them either.
            let is_full = caller.sight(&app.config()).is_full();
            Json(json!({ "distinct": if is_full { summary.distinct } else { misses.len() }, "misses": misses }))
                .into_response()
        }
        Err(refused) => unreadable(&refused),
    }
}

/// Those of some misses that somebody may see.
pub(super) async fn misses_for(app: &App, caller: &Caller, mut misses: Vec<Miss>) -> Result<Vec<Miss>, Refusal> {
    let (mirror, config, caller) = (app.mirror(), app.config(), caller.clone());
    // Where this mirror looked is not for every client to read.
    for miss in &mut misses {
        miss.detail = None;
    }
    if caller.sight(&config).is_full() {
        return Ok(misses);
    }
    mirror.know_names().await;
    let seen = blocking(move || {
        let sight = caller.sight(&config);
        misses.retain_mut(|miss| {
            let subject = mirror.subject(&miss.resource);
            // That it is private, though a public registry has it too, is not for them.
            if miss.reason == Reason::Denied {
                miss.reason = Reason::NotFoundUpstream;
            }
            if !sight.sees_names_of(&subject) {
                (miss.name, miss.version) = (None, None);
            }
            sight.sees(&subject)
        });
        misses
    });
    Ok(seen.await?)
}

/// `/health`: 200 while the cache directory can be read. Also when the disk runs low: what is here is
/// served as ever and what is not is passed through, so a load balancer that took this mirror out
/// would turn a warning into an outage.
pub(super) async fn health(State(app): State<App>) -> Response {
    let mirror = app.mirror();
    let readable = blocking(move || {
        fs_err::read_dir(mirror.store().root())?;
        Ok(mirror.disk_status().is_ok_and(|disk| disk.is_low()))
    });
    match readable.await.and_then(|readable| readable) {
        Ok(false) => "ok\n".into_response(),
        Ok(true) => "ok, but low disk: nothing new is cached\n".into_response(),
        Err(error) => {
            tracing::error!("not healthy: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, "the cache directory cannot be read\n").into_response()
        }
    }
}

pub(super) fn unreadable(refused: &Refusal) -> Response {
    tracing::error!("{refused}");
    (refusal::status(refused), "the cache directory cannot be read\n").into_response()
}
