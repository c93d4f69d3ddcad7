//! The one map from refusals to HTTP: a status, and one line of plain text for a person.

#![warn(clippy::wildcard_enum_match_arm)]

use crate::mirror::{Name, Refusal};
use crate::protocol::Resource;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

/// The status of a refusal.
pub(super) const fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Offline | Refusal::NotFound | Refusal::Absent(_) | Refusal::Denied(_) | Refusal::Private(_) => {
            StatusCode::NOT_FOUND
        }
        Refusal::Upstream(_) | Refusal::Content(_) => StatusCode::BAD_GATEWAY,
        Refusal::Slow(_) => StatusCode::GATEWAY_TIMEOUT,
        Refusal::Full | Refusal::Low(_) => StatusCode::INSUFFICIENT_STORAGE,
        Refusal::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Refusal::Closing => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// What the client is told. Details of this machine stay in the log.
fn advice(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Offline => {
            "is not in this mirror, which is offline. It is on the list of misses now: \
             `airlock misses export FILE` writes that list, `airlock prewarm FILE` fetches it on the connected side."
        }
        Refusal::NotFound | Refusal::Absent(_) => {
            "was not found at any upstream of this mirror. It is on the list of misses now."
        }
        Refusal::Upstream(_) => "could not be fetched: the upstream failed. It is on the list of misses now.",
        Refusal::Slow(_) => {
            "could not be fetched: the upstream did not answer in time. It is on the list of misses now."
        }
        Refusal::Content(_) => {
            "is not served: what came does not have the tree hash in its name. It is on the list of misses now."
        }
        Refusal::Denied(_) => {
            "is not given: the policy of this mirror denies it. `airlock policy explain` says there which rule does, \
             its administrator can change that rule."
        }
        Refusal::Private(_) => {
            "is not in this mirror. It is private, or may be, so no public upstream was asked for it: \
             `airlock policy explain` says there why. It is on the list of misses now."
        }
        Refusal::Full | Refusal::Low(_) => {
            "could not be stored: the disk of the mirror is full. Please tell its administrator."
        }
        Refusal::Store(_) => "could not be read: the disk of the mirror failed. Please tell its administrator.",
        Refusal::Closing => "could not be served: the mirror is stopping.",
    }
}

/// The answer to a client.
pub(super) fn answer(resource: &Resource, name: Option<Name>, refusal: &Refusal) -> Response {
    let status = status(refusal);
    // The others are in the log as misses.
    if refusal.reason().is_none() {
        tracing::error!(%resource, "{refusal}");
    }
    let line = format!("{} {}\n", title(resource, name), advice(refusal));
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], line).into_response()
}

/// `Example 0.5.3 (/package/…)`, or the path alone.
pub(super) fn title(resource: &Resource, name: Option<Name>) -> String {
    match name {
        Some(Name { name, version: Some(version) }) => format!("{name} {version} ({resource})"),
        Some(Name { name, version: None }) => format!("{name} ({resource})"),
        None => resource.to_string(),
    }
}
