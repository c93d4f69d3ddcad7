//! `/misses`: what clients asked for and is not here, why, and what to do; `/misses.txt` is the same
//! as `airlock misses export` writes.

use super::moment::Moment;
use super::visitor::Visitor;
use super::{Place, Shell};
use crate::julia::{MissList, MissListEntry};
use crate::mirror::Refusal;
use crate::server::access::Caller;
use crate::server::routes::App;
use crate::store::{Miss, Reason};
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::header;

/// Misses on the page.
const SHOWN: usize = 200;

/// What follows the `?` of the page's address.
#[derive(Debug, serde::Deserialize)]
pub(in crate::server) struct Chosen {
    reason: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/misses.html", escape = "page")]
struct Misses {
    shell: Shell,
    total: usize,
    /// Those that occur.
    reasons: Vec<ReasonRow>,
    /// Of which reason alone the misses are shown.
    chosen: Option<&'static str>,
    rows: Vec<MissRow>,
    rest: usize,
}

struct ReasonRow {
    key: String,
    word: &'static str,
    means: &'static str,
    remedy: &'static str,
    count: usize,
    is_chosen: bool,
}

/// A miss on a page.
pub(super) struct MissRow {
    /// What it is called, or the path.
    pub(super) title: String,
    /// The path, if it is called something.
    pub(super) path: Option<String>,
    pub(super) count: u64,
    pub(super) last: Moment,
    pub(super) why: &'static str,
}

impl MissRow {
    pub(super) fn new(miss: Miss) -> Self {
        let path = miss.resource.to_string();
        let (title, path) = match (miss.name, miss.version) {
            (Some(name), Some(version)) => (format!("{name} {version}"), Some(path)),
            (Some(name), None) => (name, Some(path)),
            (None, _) => (path, None),
        };
        Self { title, path, count: miss.count, last: Moment::new(miss.last), why: words(miss.reason).0 }
    }
}

/// A reason in a few words, what it means, and what to do.
const fn words(reason: Reason) -> (&'static str, &'static str, &'static str) {
    match reason {
        Reason::Offline => (
            "not brought here yet",
            "It is not here, and this mirror was offline when it was asked for.",
            "Carry the list to the connected side, prewarm with it there, and bring back what comes.",
        ),
        Reason::NotFoundUpstream => (
            "nobody has it",
            "Every source was asked and none has it.",
            "If it is private, configure its registry; if it was taken from its server, the fall-backs may still find it.",
        ),
        Reason::UpstreamError => (
            "a source failed",
            "A source could not be reached, or did not answer as it should.",
            "The page about the sources says which and how; the next request tries again.",
        ),
        Reason::HashMismatch => (
            "wrong content",
            "What came from a source was not what its name says, so it was not kept.",
            "Ask another source, or tell who runs that one.",
        ),
        Reason::Denied => (
            "not allowed",
            "The policy of this mirror denies it, or it may be private, so that no public upstream was asked.",
            "The command “airlock policy explain” says there which rule it is.",
        ),
    }
}

/// `/misses`
pub(in crate::server) async fn misses(
    State(app): State<App>,
    caller: Caller,
    query: Result<Query<Chosen>, QueryRejection>,
) -> Response {
    let chosen = query.ok().and_then(|Query(query)| query.reason);
    // What is no reason chooses none.
    let chosen = Reason::ALL.into_iter().find(|reason| chosen.as_deref() == Some(reason.to_string().as_str()));
    super::page(gather(&Visitor::new(&app, caller), chosen).await)
}

async fn gather(visitor: &Visitor, chosen: Option<Reason>) -> Result<Misses, Refusal> {
    let mut misses = visitor.misses().await?;
    let total = misses.len();
    let reasons = Reason::ALL.into_iter().map(|reason| {
        let (word, means, remedy) = words(reason);
        let count = misses.iter().filter(|miss| miss.reason == reason).count();
        ReasonRow { key: reason.to_string(), word, means, remedy, count, is_chosen: chosen == Some(reason) }
    });
    let reasons = reasons.filter(|reason| reason.count > 0 || reason.is_chosen).collect();
    misses.retain(|miss| chosen.is_none_or(|chosen| miss.reason == chosen));
    let rest = misses.len().saturating_sub(SHOWN);
    Ok(Misses {
        shell: Shell::new("Misses", Place::Misses),
        total,
        reasons,
        chosen: chosen.map(|chosen| words(chosen).0),
        rows: misses.into_iter().take(SHOWN).map(MissRow::new).collect(),
        rest,
    })
}

/// `/misses.txt`
pub(in crate::server) async fn export(State(app): State<App>, caller: Caller) -> Response {
    match Visitor::new(&app, caller).misses().await {
        Ok(misses) => {
            let entries = misses.into_iter().map(MissListEntry::from).collect();
            let headers = [
                (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
                (header::CONTENT_DISPOSITION, "attachment; filename=airlock-misses.txt"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (headers, MissList { entries }.to_string()).into_response()
        }
        Err(refused) => crate::server::meta::unreadable(&refused),
    }
}
