//! `/admin/…`: what an administrator does without a shell on the machine. Every route needs a token with
//! the scope `admin`, always; while nobody has one, there are no such routes (404).
//!
//! | route | answer |
//! |---|---|
//! | `POST /admin/reload` | 200 and what changed; 409 and why the old configuration stays; 501 without a file to read |
//! | `POST /admin/rescan` | 200, when the cache directory was searched |
//! | `GET /admin/misses` | all misses, with details |
//! | `DELETE /admin/misses` | forgets them |
//! | `GET /admin/wishes` | all wishes, with what became of them |
//! | `DELETE /admin/wishes/NAME[@RANGE]` | forgets one, or with a name alone all for it; 404 without one |
//!
//! A browser sends Basic credentials along with whatever another site's page makes it send, so what
//! writes is refused when a page of another site asks (`Refused::OtherSite` in `access.rs`).

use super::access::Caller;
use super::refusal;
use super::routes::App;
use crate::exchange::Wish;
use crate::mirror::{Refusal, blocking};
use crate::store::{RecordedWish, StoreError};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::{Method, StatusCode};
use serde_json::json;
use std::sync::Arc;

/// Whether a path is below `/admin`.
pub(super) fn is_below(path: &str) -> bool {
    path.strip_prefix("/admin").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether some route here may take this, besides GET and HEAD.
pub(super) fn takes(method: &Method, path: &str) -> bool {
    matches!(*method, Method::POST | Method::DELETE) && is_below(path)
}

/// The routes.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/admin/reload", post(reload))
        .route("/admin/rescan", post(rescan))
        .route("/admin/misses", get(misses).delete(forget_misses))
        .route("/admin/wishes", get(wishes))
        .route("/admin/wishes/{wish}", delete(forget_wishes))
}

async fn reload(State(app): State<App>, caller: Caller) -> Response {
    tracing::info!(by = caller.label(), "asked to read the configuration again");
    app.reload_tls().await;
    match app.reload().await {
        None => error(StatusCode::NOT_IMPLEMENTED, "this server has no configuration that it could read again"),
        Some(Ok(changed)) => Json(json!({ "changed": changed })).into_response(),
        Some(Err(why)) => error(StatusCode::CONFLICT, &why),
    }
}

async fn rescan(State(app): State<App>, caller: Caller) -> Response {
    tracing::info!(by = caller.label(), "asked to look for new files");
    let mirror = app.mirror();
    // It goes on when whoever asked has left.
    match tokio::spawn(async move { mirror.rescan().await }).await {
        Ok((good, damaged)) => Json(json!({ "good": good, "damaged": damaged })).into_response(),
        Err(failed) => failed_with(&Refusal::Store(failed.to_string())),
    }
}

async fn misses(State(app): State<App>) -> Response {
    match app.mirror().all_misses().await {
        Ok(misses) => Json(json!({ "misses": misses })).into_response(),
        Err(refused) => failed_with(&refused),
    }
}

async fn forget_misses(State(app): State<App>, caller: Caller) -> Response {
    let mirror = app.mirror();
    // What is not written yet is written first, or it would come back.
    let forgotten = match mirror.all_misses().await {
        Ok(misses) => misses.len(),
        Err(refused) => return failed_with(&refused),
    };
    tracing::info!(by = caller.label(), forgotten, "the misses are forgotten");
    let ledger = mirror.store().misses();
    answer(blocking(move || ledger.clear()).await, |()| json!({ "removed": forgotten }))
}

async fn wishes(State(app): State<App>) -> Response {
    let mirror = app.mirror();
    let read = blocking(move || {
        let (wishes, packages) = (mirror.store().wishes()?, mirror.packages_by_name()?);
        let one = |known: RecordedWish| {
            let status = packages.status(&known.wish);
            json!({
                "wish": known.wish,
                "count": known.count,
                "first": known.first,
                "last": known.last,
                "state": status.state,
                "registry": status.registry,
                "newest": status.newest,
                "here": status.here,
            })
        };
        Ok::<_, StoreError>(wishes.into_iter().map(one).collect::<Vec<_>>())
    });
    answer(read.await, |wishes| json!({ "wishes": wishes }))
}

async fn forget_wishes(State(app): State<App>, caller: Caller, wish: Result<Path<String>, PathRejection>) -> Response {
    let wish = match wish.map(|Path(wish)| wish.parse::<Wish>()) {
        Ok(Ok(wish)) => wish,
        Ok(Err(wrong)) => return error(StatusCode::BAD_REQUEST, &wrong.to_string()),
        Err(_) => return error(StatusCode::BAD_REQUEST, "not UTF-8"),
    };
    tracing::info!(by = caller.label(), %wish, "a wish is forgotten");
    let store = Arc::clone(app.mirror().store());
    // As `airlock request remove` does.
    let is_meant = move |known: &Wish| *known == wish || (wish.range.is_none() && known.name == wish.name);
    match blocking(move || store.remove_wishes(is_meant)).await {
        Ok(Ok(0)) => error(StatusCode::NOT_FOUND, "nobody wished for that"),
        removed => answer(removed, |removed| json!({ "removed": removed })),
    }
}

fn answer<T>(done: std::io::Result<Result<T, StoreError>>, said: impl FnOnce(T) -> serde_json::Value) -> Response {
    match done.map_err(StoreError::from).and_then(|done| done) {
        Ok(done) => Json(said(done)).into_response(),
        Err(error) => failed_with(&error.into()),
    }
}

fn failed_with(refused: &Refusal) -> Response {
    tracing::error!("/admin: {refused}");
    error(refusal::status(refused), &refused.to_string())
}

fn error(status: StatusCode, says: &str) -> Response {
    (status, Json(json!({ "error": says }))).into_response()
}
