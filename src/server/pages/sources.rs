//! `/sources`: where this mirror gets what is not here, and how those places are.

use super::moment::Moment;
use super::visitor::Visitor;
use super::{Place, Shell, counted};
use crate::config::{Fallback, When};
use crate::mirror::Health;
use crate::server::access::Caller;
use crate::server::routes::App;
use crate::source::Source;
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use std::time::Instant;

#[derive(Template)]
#[template(path = "pages/sources.html", escape = "page")]
struct Sources {
    shell: Shell,
    rows: Vec<SourceRow>,
    summary: String,
    nothing: &'static str,
    fallbacks: Option<String>,
}

struct SourceRow {
    name: String,
    kind: String,
    is_public: bool,
    state: &'static str,
    colour: &'static str,
    means: &'static str,
    /// Until when it is left alone.
    until: Option<Moment>,
    success: String,
    error: Option<(Moment, String)>,
}

/// `/sources`
pub(in crate::server) async fn sources(State(app): State<App>, caller: Caller) -> Response {
    let visitor = Visitor::new(&app, caller);
    let rows: Vec<_> = visitor.sources().into_iter().map(|(source, health)| row(source, &health)).collect();
    let up = rows.iter().filter(|row| row.colour == "good").count();
    super::page(Ok(Sources {
        shell: Shell::new("Sources", Place::Sources),
        summary: format!("{}, {up} of them up", counted(rows.len(), "source")),
        rows,
        nothing: if visitor.is_offline() {
            "There is none: this mirror is offline. It serves what is here, and what is brought to it."
        } else {
            "There is none but the fall-backs."
        },
        fallbacks: fallbacks(visitor.config().fallback).filter(|_| !visitor.is_offline()),
    }))
}

fn row(source: &dyn Source, health: &Health) -> SourceRow {
    let left = health.cooled_until.map(|until| until.saturating_duration_since(Instant::now()));
    let until = left.filter(|left| !left.is_zero()).and_then(|left| jiff::Timestamp::now().checked_add(left).ok());
    let (state, colour, means) = match (health.state(), until) {
        ("cooling down", Some(_)) => ("out of reach", "bad", "left alone until"),
        ("cooling down", None) => ("out of reach", "bad", "the next request finds out whether it is back"),
        ("failing", _) => ("failing", "wait", "it answers, and failed when it was last asked"),
        ("up", _) => ("up", "good", "it is asked for what is not here"),
        (other, _) => (other, "wait", "nothing was needed from it since the start"),
    };
    SourceRow {
        name: source.name().to_owned(),
        kind: source.rank().to_string(),
        is_public: source.is_public(),
        state,
        colour,
        means,
        until: until.map(Moment::new),
        success: health
            .last_success
            .map_or_else(|| "none since the start".to_owned(), |it| Moment::new(it).to_string()),
        error: health.last_error.as_ref().map(|(time, error)| (Moment::new(*time), error.clone())),
    }
}

/// Fall-backs are many places, so they have no state of their own.
fn fallbacks(fallback: Fallback) -> Option<String> {
    let when = |what, when| match when {
        When::Never => None,
        When::Prewarm => Some(format!("{what} in a prewarm")),
        When::Always => Some(format!("{what} also while a client waits")),
    };
    let kinds = [
        when("the repositories that registries name", fallback.git),
        when("the downloads that packages name", fallback.download),
    ];
    let kinds: Vec<_> = kinds.into_iter().flatten().collect();
    (!kinds.is_empty()).then(|| format!("What no source has is looked for last at {}.", kinds.join(", and at ")))
}
