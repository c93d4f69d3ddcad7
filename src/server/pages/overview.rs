//! `/`: what this is, the line to set, what is here, what is missing, and the form to ask for a
//! package.

use super::misses::MissRow;
use super::moment::Moment;
use super::visitor::{Disk, Traffic, Visitor};
use super::{Place, Shell, counted, package_href, size};
use crate::mirror::{Health, Refusal};
use crate::server::access::Caller;
use crate::server::artifacts_toml::base_url;
use crate::server::meta::RegistryStatus;
use crate::server::routes::App;
use crate::source::Source;
use crate::store::RecordedWish;
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{OriginalUri, Query, State};
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap};
use http::{StatusCode, Uri};

/// Misses on the page, and wishes.
const SHOWN: usize = 10;

/// What follows the `?` of the page's address.
#[derive(Debug, serde::Deserialize)]
pub(in crate::server) struct Asked {
    /// A wish that was just recorded.
    asked: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/overview.html", escape = "page")]
struct Overview {
    shell: Shell,
    mode: &'static str,
    url: String,
    query: String,
    ask: String,
    asked: Option<AskedRow>,
    wishes: Vec<WishRow>,
    registries: Vec<RegistryRow>,
    is_empty: bool,
    held: Vec<Fact>,
    started: Moment,
    traffic: Vec<Fact>,
    sources: String,
    misses: Vec<MissRow>,
}

struct AskedRow {
    wish: String,
    recorded: bool,
    says: String,
}

struct WishRow {
    wish: String,
    href: String,
    count: u64,
    last: Moment,
}

struct RegistryRow {
    name: String,
    tree: String,
    published: String,
    /// What a derived registry lists, and the tree that it is derived from.
    derived: Option<(usize, usize, String)>,
}

struct Fact {
    what: &'static str,
    value: String,
    more: Option<String>,
}

/// `/`
pub(in crate::server) async fn overview(
    State(app): State<App>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    query: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    if let Some(to) = as_folder(&uri) {
        return (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to)]).into_response();
    }
    // An address that makes no sense shows the page all the same.
    let asked = query.ok().and_then(|Query(query)| query.asked);
    let visitor = Visitor::new(&app, caller);
    super::page(gather(&visitor, base_url(&app, &headers), asked).await)
}

/// Where the page is if its address lacks the `/` at the end, as a prefix may: links on the page
/// would lead beside it.
fn as_folder(uri: &Uri) -> Option<String> {
    let path = uri.path().strip_prefix('/')?;
    let last = path.rsplit('/').next().filter(|last| !last.is_empty())?;
    Some(format!("./{last}/{}", uri.query().map_or_else(String::new, |query| format!("?{query}"))))
}

async fn gather(visitor: &Visitor, base: String, asked: Option<String>) -> Result<Overview, Refusal> {
    let (asked, wishes) = visitor.wishes(asked, SHOWN).await?;
    let disk = visitor.disk().await?;
    Ok(Overview {
        shell: Shell::new("Julia package mirror", Place::Overview),
        mode: if visitor.is_offline() { "offline" } else { "online" },
        url: base,
        query: String::new(),
        ask: String::new(),
        asked: asked.map(|it| AskedRow { wish: it.wish.to_string(), recorded: it.recorded, says: it.says }),
        wishes: wishes.iter().map(wish_row).collect(),
        registries: visitor.registries().await?.into_iter().map(registry_row).collect(),
        is_empty: disk.held.iter().skip(1).all(|held| held.files == 0),
        held: held(disk),
        started: Moment::new(visitor.started()),
        traffic: traffic(visitor.traffic()),
        sources: in_short(&visitor.sources()),
        misses: visitor.misses().await?.into_iter().take(SHOWN).map(MissRow::new).collect(),
    })
}

fn wish_row(known: &RecordedWish) -> WishRow {
    WishRow {
        wish: known.wish.to_string(),
        href: package_href(&known.wish.name),
        count: known.count,
        last: Moment::new(known.last),
    }
}

fn registry_row(registry: RegistryStatus) -> RegistryRow {
    RegistryRow {
        name: registry.name.unwrap_or_else(|| registry.uuid.to_string()),
        tree: registry.tree.to_string(),
        published: registry
            .published
            .map_or_else(|| "not recorded here".to_owned(), |time| Moment::new(time).to_string()),
        derived: registry
            .derived_from
            .map(|from| (registry.versions.unwrap_or(0), registry.packages.unwrap_or(0), from.to_string())),
    }
}

fn held(Disk { held, free, low_since }: Disk) -> Vec<Fact> {
    let names = ["Registries", "Package versions", "Artifacts"];
    let kinds = names.into_iter().zip(held).map(|(what, held)| Fact {
        what,
        value: held.files.to_string(),
        more: Some(size(held.bytes)),
    });
    let more = if low_since.is_some() { "free: low, so nothing new is cached" } else { "free" };
    let free = Fact { what: "Disk", value: size(free), more: Some(more.to_owned()) };
    kinds.chain([free]).collect()
}

fn traffic(Traffic { hits, fetched, misses, received }: Traffic) -> Vec<Fact> {
    let fact = |what, count: u64, more: &str| Fact { what, value: count.to_string(), more: Some(more.to_owned()) };
    let received = format!("{} came from sources", size(received));
    vec![
        fact("Hits", hits, "answered from here"),
        fact("Fetched", fetched, &received),
        fact("Misses", misses, "could not be answered"),
    ]
}

/// How the sources are, in one sentence.
fn in_short(sources: &[(&dyn Source, Health)]) -> String {
    if sources.is_empty() {
        return "There is none: this mirror asks nobody.".to_owned();
    }
    let cooling = sources.iter().filter(|(_, health)| health.cooled_until.is_some()).count();
    let failing = sources.iter().filter(|(_, health)| health.cooled_until.is_none() && health.failed_last()).count();
    let all = counted(sources.len(), "source");
    match (cooling, failing) {
        (0, 0) => format!("{all}, and nothing is wrong."),
        (0, failing) => format!("{all}; {failing} failed when last asked."),
        (cooling, 0) => format!("{all}; {cooling} out of reach."),
        (cooling, failing) => format!("{all}; {cooling} out of reach, {failing} failed when last asked."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_whose_links_would_lead_beside_it_is_elsewhere() {
        let to = |uri: &str| as_folder(&uri.parse().unwrap());
        assert_eq!(to("/julia/pkg?asked=A"), Some("./pkg/?asked=A".to_owned()));
        assert_eq!((to("/"), to("/julia/pkg/"), to("/?asked=A")), (None, None, None));
    }
}
