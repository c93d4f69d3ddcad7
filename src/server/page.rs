//! The page at `/`: what this is, the line to set, the form to ask for a package, the registries,
//! the last misses. Plain HTML without any other file, so that it works where nothing else does.

use super::artifacts_toml::base_url;
use super::meta::{counts, registry_status};
use super::routes::App;
use super::wishes::asked_before;
use crate::mirror::{Name, Refusal, blocking};
use crate::store::{Miss, RecordedWish, StoreError};
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// Misses on the page, and wishes.
const SHOWN: usize = 20;

/// What follows the `?` of the page's address.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Asked {
    /// A wish that was just recorded.
    asked: Option<String>,
}

#[derive(Template)]
#[template(path = "front.html")]
struct Front {
    version: &'static str,
    mode: &'static str,
    url: String,
    registries: Vec<RegistryRow>,
    counts: [u64; 3],
    misses: Vec<MissRow>,
    asked: Option<AskedRow>,
    wishes: Vec<WishRow>,
}

struct AskedRow {
    wish: String,
    recorded: bool,
    says: String,
}

struct WishRow {
    wish: String,
    count: u64,
    last: String,
}

struct RegistryRow {
    name: String,
    tree: String,
    published: String,
    /// What a derived registry lists, and the tree that it is derived from.
    derived: Option<(usize, usize, String)>,
}

struct MissRow {
    what: String,
    count: u64,
    last: String,
    reason: String,
}

/// `/`
pub(super) async fn front(
    State(app): State<App>,
    query: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    // An address that makes no sense shows the page all the same.
    let asked = query.ok().and_then(|Query(query)| query.asked);
    let page = match gather(&app, &headers, asked).await {
        Ok(page) => page.render(),
        Err(refused) => {
            tracing::error!("the page: {refused}");
            return (StatusCode::INTERNAL_SERVER_ERROR, "the cache directory cannot be read\n").into_response();
        }
    };
    match page {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!("the page: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn gather(app: &App, headers: &HeaderMap, asked: Option<String>) -> Result<Front, Refusal> {
    let registries = registry_status(app).await?.into_iter().map(|registry| RegistryRow {
        name: registry.name.unwrap_or_else(|| registry.uuid.to_string()),
        tree: registry.tree.to_string(),
        derived: registry
            .derived_from
            .map(|from| (registry.versions.unwrap_or(0), registry.packages.unwrap_or(0), from.to_string())),
        published: registry.published.map_or_else(|| "not recorded here".to_owned(), short),
    });
    let mirror = app.mirror();
    let misses = mirror.recent_misses().await?;
    let reader = Arc::clone(&mirror);
    let (asked, wishes) = blocking(move || {
        let asked = asked.map(|asked| asked_before(&reader, &asked)).transpose()?.flatten();
        Ok::<_, StoreError>((asked, reader.open_wishes(SHOWN)?))
    })
    .await??;
    Ok(Front {
        version: env!("CARGO_PKG_VERSION"),
        mode: if mirror.is_offline() { "offline" } else { "online" },
        url: base_url(app, headers) + app.config().server.prefix.as_deref().unwrap_or_default(),
        registries: registries.collect(),
        counts: counts(app).await?,
        misses: misses.recent.iter().take(SHOWN).map(row).collect(),
        asked: asked.map(|it| AskedRow { wish: it.wish.to_string(), recorded: it.recorded, says: it.says }),
        wishes: wishes.iter().map(wish_row).collect(),
    })
}

fn row(miss: &Miss) -> MissRow {
    let name = miss.name.clone().map(|name| Name { name, version: miss.version.clone() });
    MissRow {
        what: super::refusal::title(&miss.resource, name),
        count: miss.count,
        last: short(miss.last),
        reason: miss.reason.to_string(),
    }
}

fn wish_row(wish: &RecordedWish) -> WishRow {
    WishRow { wish: wish.wish.to_string(), count: wish.count, last: short(wish.last) }
}

fn short(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
