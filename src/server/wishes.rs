//! `POST /request`: somebody asks for a package by name. The one route that writes, so it takes
//! little, from this server's own page or from scripts, and from no other site.

use super::access::Caller;
use super::pages;
use super::routes::App;
use crate::access::Sight;
use crate::exchange::{Wish, WishError};
use crate::mirror::{Mirror, PackagesByName, WishState, WishStatus, blocking};
use crate::protocol::{Resource, TreeHash, Uuid};
use crate::store::StoreError;
use axum::Json;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequest as _, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderMap};
use serde::Deserialize;
use serde_json::json;

/// Longest body, in bytes.
pub(super) const MAX_BODY: usize = 4 << 10;

/// The form.
#[derive(Debug, Deserialize)]
struct Asked {
    name: String,
    #[serde(default)]
    range: String,
}

/// A wish, looked up.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) wish: Wish,
    pub(super) status: WishStatus,
    /// In words.
    pub(super) says: String,
    /// Whether it is on the list of wishes.
    pub(super) recorded: bool,
    near: Vec<String>,
}

/// Why a wish is not taken, in words, and the status that goes with it.
struct Refused(StatusCode, String);

/// Records a wish. A browser is led back to the page, which says what becomes of it; a script that
/// accepts JSON gets that.
pub(super) async fn ask(State(app): State<App>, request: Request) -> Response {
    let (wants_json, headers) = (accepts_json(request.headers()), request.headers().clone());
    match take(&app, request).await {
        Ok(answer) if wants_json => Json(json!({
            "wish": answer.wish,
            "recorded": answer.recorded,
            "state": answer.status.state,
            "registry": answer.status.registry,
            "newest": answer.status.newest,
            "here": answer.status.here,
            "near": answer.near,
            "message": answer.says,
        }))
        .into_response(),
        Ok(answer) => {
            // Relative, so that it leads back below whatever prefix this came from.
            let to = format!("./?asked={}", pages::encoded(&answer.wish.to_string()));
            (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
        }
        Err(Refused(status, says)) if wants_json => (status, Json(json!({ "error": says }))).into_response(),
        Err(Refused(status, says)) => pages::refused(&headers, status, says),
    }
}

async fn take(app: &App, request: Request) -> Result<Answer, Refused> {
    if !is_from_here(app, request.headers()) {
        let says = "a page of another site may not ask for packages here; if this is the right site, its proxy must pass the Host header on, or server.url must be set";
        return Err(Refused(StatusCode::FORBIDDEN, says.to_owned()));
    }
    let caller = Caller::of(request.extensions());
    let in_time = tokio::time::timeout(app.config().server.header_timeout, Form::<Asked>::from_request(request, &()));
    let late = |_| Refused(StatusCode::REQUEST_TIMEOUT, "the form did not arrive in time".to_owned());
    let Form(asked) = in_time.await.map_err(late)?.map_err(|rejection| malformed(&rejection))?;
    let wish = asked.wish().map_err(|error| Refused(StatusCode::BAD_REQUEST, error.to_string()))?;
    record(app, &caller, wish).await
}

impl Asked {
    /// The range may also stand behind the name.
    fn wish(&self) -> Result<Wish, WishError> {
        match self.range.trim() {
            "" => self.name.parse(),
            range => format!("{}@{range}", self.name).parse(),
        }
    }
}

async fn record(app: &App, caller: &Caller, wish: Wish) -> Result<Answer, Refused> {
    let (mirror, config, caller) = (app.mirror(), app.config(), caller.clone());
    let recorded = blocking(move || {
        let answer = look_up(&packages_for(&mirror, &caller.sight(&config))?, wish);
        if answer.recorded {
            mirror.store().add_wishes(std::slice::from_ref(&answer.wish))?;
        }
        Ok::<_, StoreError>(answer)
    });
    let recorded = recorded.await.map_err(StoreError::from).and_then(|recorded| recorded);
    let answer = recorded.map_err(|error| refused(&error))?;
    tracing::info!(wish = %answer.wish, state = %answer.status.state, "asked for");
    Ok(answer)
}

/// Whether somebody may see a registry. Blocks.
pub(super) fn sees_registry(mirror: &Mirror, sight: &Sight, uuid: Uuid) -> bool {
    // Of a registry any tree will do.
    sight.is_full() || sight.sees(&mirror.subject(&Resource::Registry { uuid, tree: TreeHash::EMPTY }))
}

/// The packages of the registries that are loaded and served, and that somebody may see. Blocks.
pub(super) fn packages_for<'m>(mirror: &'m Mirror, sight: &Sight) -> Result<PackagesByName<'m>, StoreError> {
    mirror.packages_by_name_in(|uuid| {
        let registry = Resource::Registry { uuid, tree: TreeHash::EMPTY };
        sees_registry(mirror, sight, uuid) && mirror.denial(&registry, true).is_none()
    })
}

/// Looks a wish up. Blocks.
fn look_up(packages: &PackagesByName<'_>, wish: Wish) -> Answer {
    let status = packages.status(&wish);
    let says = packages.explain(&wish, &status);
    let near = if status.registry.is_none() { packages.near(&wish.name) } else { Vec::new() };
    let recorded = status.state != WishState::Julia;
    Answer { wish, status, says, recorded, near }
}

/// What the page says of a wish in its address: nothing if it is none. Anybody may have written
/// that address, so whether it was recorded is looked up; unless that would tell who may not see all
/// whether others asked for a name that may be private. Blocks.
pub(super) fn asked_before(
    mirror: &Mirror,
    packages: &PackagesByName<'_>,
    sight: &Sight,
    asked: &str,
) -> Result<Option<Answer>, StoreError> {
    let Ok(wish) = asked.parse::<Wish>() else { return Ok(None) };
    let is_known = sight.is_full() || packages.has(&wish.name);
    let answer = look_up(packages, wish);
    let is_on_list = || Ok::<_, StoreError>(mirror.store().wishes()?.iter().any(|known| known.wish == answer.wish));
    let recorded = if is_known { is_on_list()? } else { answer.recorded };
    Ok(Some(Answer { recorded, ..answer }))
}

fn malformed(rejection: &FormRejection) -> Refused {
    let status = rejection.status();
    let says = match status {
        StatusCode::PAYLOAD_TOO_LARGE => format!("a form has at most {MAX_BODY} bytes"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "the body must be application/x-www-form-urlencoded".to_owned(),
        _ => return Refused(StatusCode::BAD_REQUEST, "the form must have a name, and may have a range".to_owned()),
    };
    Refused(status, says)
}

fn refused(error: &StoreError) -> Refused {
    if let StoreError::TooManyWishes = error {
        let says = "this mirror has taken as many wishes as it can hold; please tell its administrator";
        return Refused(StatusCode::INSUFFICIENT_STORAGE, says.to_owned());
    }
    tracing::error!("a wish: {error}");
    let status = if error.is_full() { StatusCode::INSUFFICIENT_STORAGE } else { StatusCode::INTERNAL_SERVER_ERROR };
    Refused(status, "the wish could not be written down; please tell the administrator of this mirror".to_owned())
}

/// Whether no browser says that another site's page sent this. Scripts say nothing of the kind.
pub(super) fn is_from_here(app: &App, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text("sec-fetch-site").is_some_and(|site| site.eq_ignore_ascii_case("cross-site")) {
        return false;
    }
    let Some(origin) = text("origin") else { return true };
    let authority = |url: &str| url.split_once("://").and_then(|(_, rest)| rest.split('/').next()).map(str::to_owned);
    let own = [text("host").map(str::to_owned), app.config().server.url.as_deref().and_then(authority)];
    let origin = authority(origin);
    origin.is_some_and(|origin| own.into_iter().flatten().any(|own| own.eq_ignore_ascii_case(&origin)))
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split([',', ';']).any(|part| part.trim().eq_ignore_ascii_case("application/json"))
}
