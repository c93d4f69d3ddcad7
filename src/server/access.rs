//! The guard: who asks, whether they may, and what may be kept of the answer on its way.
//!
//! What may be asked by whom is decided in `access/`; here are the HTTP side of it and the order of
//! things: the guard comes before every handler, so before anything is looked up, fetched or written down.
//! Without `[access]` it does nothing, except below `/admin/` (`admin.rs`).
//!
//! A token is shown as `Authorization: Bearer …`, as Julia's `auth.toml` sends it, or as the password of
//! HTTP Basic, under any user, as a browser can. What begins with [`PREFIX`] is one of ours, and one that is not
//! good (any more) is 401 everywhere but at `/health` and `/robots.txt`: whoever has it must hear of it. What does not is meant for
//! somebody else, a proxy perhaps: it counts like none.

use super::routes::App;
use super::wishes::is_from_here;
use super::{admin, artifacts_toml, refusal};
use crate::access::{PREFIX, Scope, Sight, Token, TokenList};
use crate::config::Config;
use crate::mirror::{Mirror, Refusal, blocking};
use crate::protocol::{Listing, Resource};
use axum::extract::{FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Extensions, Method, StatusCode, request};
use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;

/// Longest `Authorization` header, in bytes.
const MAX_HEADER: usize = 1024;

/// Who asks, as far as a token says. It is an extension of the request, for handlers, and of the
/// response, for layers around them; neither has it where nobody needs a token.
#[derive(Clone, Debug, Default)]
pub struct Caller(Option<Arc<Token>>);

impl Caller {
    /// Who sent a request, or got a response.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// What their token is called; `None` for who showed none.
    pub fn label(&self) -> Option<&str> {
        self.0.as_ref().map(|token| token.label.as_str())
    }

    /// What they may see.
    pub(super) fn sight<'a>(&'a self, config: &'a Config) -> Sight<'a> {
        Sight::new(&config.access, self.0.as_ref().map_or(&[], |token| &token.scopes))
    }

    /// Whether they may have a resource.
    pub(super) async fn sees(&self, app: &App, mirror: &Arc<Mirror>, resource: &Resource) -> bool {
        let config = app.config();
        let sight = self.sight(&config);
        sight.is_full() || sight.sees(&mirror.belonging(resource).await)
    }

    fn is_admin(&self) -> bool {
        self.0.as_ref().is_some_and(|token| token.scopes.contains(&Scope::Admin))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// What says nothing of anything.
    Open,
    Resource(Resource),
    Listing,
    Metrics,
    Admin,
    /// Pages, what the server says of itself, and what is no path.
    Page,
}

impl Target {
    /// By the raw path, as the router and the one parser of resources read it: percent-encoding is no
    /// way around.
    fn of(path: &str) -> Self {
        match path {
            "/health" | "/robots.txt" => Self::Open,
            "/registries" | "/registries.eager" | "/registries.conservative" => Self::Listing,
            "/metrics" => Self::Metrics,
            path if admin::is_below(path) => Self::Admin,
            path => match path.parse() {
                Ok(resource) => Self::Resource(resource),
                Err(_) => match artifacts_toml::parse(path) {
                    Some((tree, _)) => Self::Resource(Resource::Artifact { tree }),
                    None => Self::Page,
                },
            },
        }
    }
}

/// What is shown in an `Authorization` header.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    /// No header.
    Nothing,
    /// Something that is meant for somebody else.
    Foreign,
    /// What looks like a token of ours.
    Token(String),
}

/// Why somebody is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// The header makes no sense.
    Malformed,
    /// No token is shown.
    Missing,
    /// What is shown is no token here.
    Unknown,
    /// The token is not good any more.
    Expired,
    /// The token is for other things.
    Scope,
    /// A browser sends this because a page of another site told it to.
    OtherSite,
    /// There is nothing: without an admin token there are no admin routes.
    Nothing,
}

/// Lets pass who may, with the [`Caller`].
pub(super) async fn guard(app: &App, mut request: Request, next: Next) -> Response {
    let config = app.config();
    let path = request.uri().path();
    if config.access.is_open() && !admin::is_below(path) {
        return next.run(request).await;
    }
    let target = Target::of(path);
    if target == Target::Open {
        return next.run(request).await;
    }
    let (caller, is_free) = match judge(app, &config, target, request.headers()).await {
        Ok(judged) => judged,
        Err(refused) => return refused.response(target),
    };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if target == Target::Admin && !reads && !is_from_here(app, request.headers()) {
        let mut response = Refused::OtherSite.response(target);
        response.extensions_mut().insert(caller);
        return response;
    }
    request.extensions_mut().insert(caller.clone());
    let mut response = next.run(request).await;
    let is_kept = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
    if !(is_free && is_kept) {
        keep_private(response.headers_mut());
    }
    response.extensions_mut().insert(caller);
    response
}

/// Who asks, and whether anybody may have what they ask for.
async fn judge(app: &App, config: &Config, target: Target, headers: &HeaderMap) -> Result<(Caller, bool), Refused> {
    let shown = Shown::of(headers)?;
    let caller = match &shown {
        Shown::Nothing | Shown::Foreign => Caller::default(),
        Shown::Token(token) => {
            let token = tokens(app, config).await.find(token).cloned().ok_or(Refused::Unknown)?;
            if token.is_expired(jiff::Timestamp::now()) {
                return Err(Refused::Expired);
            }
            Caller(Some(token))
        }
    };
    let sight = caller.sight(config);
    let (may, is_free) = match target {
        Target::Open => (true, true),
        Target::Listing | Target::Page => (sight.may_enter(), false),
        Target::Metrics => (sight.may_measure(), false),
        Target::Admin if !has_admin(&*tokens(app, config).await) => return Err(Refused::Nothing),
        Target::Admin => (caller.is_admin(), false),
        // What follows costs look-ups, and nobody needs to know.
        Target::Resource(_) if sight.is_full() => (true, false),
        Target::Resource(resource) if sight.may_enter() => {
            let subject = app.mirror().belonging(&resource).await;
            (sight.sees(&subject), sight.is_free(&subject))
        }
        Target::Resource(_) => (false, false),
    };
    match (may, &caller.0, &shown) {
        (true, ..) => Ok((caller, is_free)),
        (false, Some(_), _) => Err(Refused::Scope),
        (false, None, Shown::Nothing) => Err(Refused::Missing),
        (false, None, _) => Err(Refused::Unknown),
    }
}

/// The tokens as they are now: what was revoked a moment ago is good for nothing.
async fn tokens(app: &App, config: &Config) -> Arc<TokenList> {
    let (tokens, file) = (Arc::clone(app.tokens()), config.tokens_file());
    blocking(move || tokens.now(&file)).await.unwrap_or_default()
}

fn has_admin(tokens: &TokenList) -> bool {
    let now = jiff::Timestamp::now();
    tokens.iter().any(|token| token.scopes.contains(&Scope::Admin) && !token.is_expired(now))
}

impl Shown {
    fn of(headers: &HeaderMap) -> Result<Self, Refused> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(Self::Nothing) };
        if values.next().is_some() || value.len() > MAX_HEADER {
            return Err(Refused::Malformed);
        }
        let text = value.to_str().map_err(|_| Refused::Malformed)?;
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        let token = match rest.trim() {
            token if scheme.eq_ignore_ascii_case("bearer") => Some(token.to_owned()),
            word if scheme.eq_ignore_ascii_case("basic") => password(word),
            _ => None,
        };
        Ok(token.filter(|token| token.starts_with(PREFIX)).map_or(Self::Foreign, Self::Token))
    }
}

fn password(word: &str) -> Option<String> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(word).ok()?;
    let (_, password) = str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(password.to_owned())
}

impl Refused {
    /// One line for people, and the headers of RFC 6750. Nothing in it depends on what was asked for.
    fn response(self, target: Target) -> Response {
        let (status, error, says) = match self {
            Self::Malformed => (
                StatusCode::BAD_REQUEST,
                Some("invalid_request"),
                "there must be one Authorization header, with one token of printable ASCII",
            ),
            Self::Missing => (
                StatusCode::UNAUTHORIZED,
                None,
                "this needs a token: ask the administrator of this mirror for one, and put it into auth.toml of the depot \
                 (airlock doctor says where). Over plain http Julia sends tokens only to localhost, so elsewhere the \
                 address must be https",
            ),
            Self::Unknown => (
                StatusCode::UNAUTHORIZED,
                Some("invalid_token"),
                "this token is not known here, or was revoked: ask the administrator of this mirror for another",
            ),
            Self::Expired => (
                StatusCode::UNAUTHORIZED,
                Some("invalid_token"),
                "this token has expired: ask the administrator of this mirror for another",
            ),
            Self::Scope => (
                StatusCode::FORBIDDEN,
                Some("insufficient_scope"),
                "this token is good, but not for this: ask the administrator of this mirror for one with another scope",
            ),
            Self::OtherSite => (
                StatusCode::FORBIDDEN,
                None,
                "a page of another site may not do this; if this is the right site, its proxy must pass the Host header \
                 on, or server.url must be set",
            ),
            Self::Nothing => (StatusCode::NOT_FOUND, None, "no such path"),
        };
        let body = format!("{says}\n");
        let mut response = (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response();
        let headers = response.headers_mut();
        keep_private(headers);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(self, Self::Nothing | Self::OtherSite) {
            return response;
        }
        let bearer = match error {
            Some(error) => Cow::Owned(format!("Bearer realm=\"airlock\", error=\"{error}\"")),
            None => Cow::Borrowed("Bearer realm=\"airlock\""),
        };
        headers.extend(HeaderValue::from_str(&bearer).map(|bearer| (header::WWW_AUTHENTICATE, bearer)));
        // What a browser understands, where people look.
        if status == StatusCode::UNAUTHORIZED && matches!(target, Target::Page | Target::Admin | Target::Metrics) {
            let basic = HeaderValue::from_static("Basic realm=\"airlock\", charset=\"UTF-8\"");
            headers.append(header::WWW_AUTHENTICATE, basic);
        }
        response
    }
}

/// What depends on who asks is for no cache that others share.
fn keep_private(headers: &mut HeaderMap) {
    let before = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let private = match before {
        None => "private".to_owned(),
        Some(before) if before.contains("public") => before.replace("public", "private"),
        Some(before) => format!("private, {before}"),
    };
    if let Ok(private) = private.parse() {
        headers.insert(header::CACHE_CONTROL, private);
    }
    headers.append(header::VARY, HeaderValue::from_static("Authorization"));
}

/// What of a listing somebody may see. An empty one would send their client to GitHub, so it is refused.
pub(super) async fn listing_for(
    app: &App,
    caller: &Caller,
    mirror: &Arc<Mirror>,
    listing: Listing,
) -> Result<Listing, Response> {
    let mut seen = Vec::new();
    for registry in listing.iter() {
        if caller.sees(app, mirror, &registry.into()).await {
            seen.push(registry);
        }
    }
    if seen.is_empty() && !listing.is_empty() {
        let refused = if caller.0.is_some() { Refused::Scope } else { Refused::Missing };
        return Err(refused.response(Target::Listing));
    }
    Ok(seen.into_iter().collect())
}

/// The answer to who cannot be given a resource: what it is called is for who may know that, and that it is
/// private for who may see all. A public registry may have it too.
pub(super) fn refuse(
    app: &App,
    extensions: &Extensions,
    mirror: &Mirror,
    resource: &Resource,
    refusal: &Refusal,
) -> Response {
    let (config, caller) = (app.config(), Caller::of(extensions));
    let sight = caller.sight(&config);
    let may = sight.is_full() || sight.sees_names_of(&mirror.subject(resource));
    let name = may.then(|| mirror.name(resource)).flatten();
    match refusal {
        Refusal::Private(_) if !sight.is_full() => refusal::answer(resource, name, &Refusal::NotFound),
        refusal => refusal::answer(resource, name, refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: &[&[u8]]) -> Result<Shown, Refused> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        Shown::of(&headers)
    }

    #[test]
    fn a_token_is_a_bearer_or_a_password() {
        let token = format!("{PREFIX}x");
        let basic = |text: &str| format!("bAsIc {}", base64::engine::general_purpose::STANDARD.encode(text));
        assert_eq!(shown(&[]), Ok(Shown::Nothing));
        for good in [
            format!("Bearer {token}"),
            format!("bearer  {token} "),
            basic(&format!(":{token}")),
            basic(&format!("me:{token}")),
        ] {
            assert_eq!(shown(&[good.as_bytes()]), Ok(Shown::Token(token.clone())), "{good}");
        }
        for foreign in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer other",
            "Basic",
            "Basic !",
            "Digest x",
            &token,
            &basic(&token),
            &basic("a:b"),
        ] {
            assert_eq!(shown(&[foreign.as_bytes()]), Ok(Shown::Foreign), "{foreign}");
        }
        let (good, long) = (format!("Bearer {token}"), format!("Bearer {}", "a".repeat(MAX_HEADER)));
        for bad in [&[good.as_bytes(), good.as_bytes()][..], &[long.as_bytes()], &[b"Bearer \xff"]] {
            assert_eq!(shown(bad), Err(Refused::Malformed));
        }
    }

    #[test]
    fn a_path_is_read_as_the_router_reads_it() {
        let tree = "46e44e869b4d90b96bd8ed1fdcf32244fddfb6cc";
        let artifact = Resource::Artifact { tree: tree.parse().unwrap() };
        for (path, target) in [
            ("/health", Target::Open),
            ("/health/", Target::Page),
            ("/%68ealth", Target::Page),
            ("/registries.eager", Target::Listing),
            ("/registries.other", Target::Page),
            ("/admin", Target::Admin),
            ("/admin/x", Target::Admin),
            ("/administrator", Target::Page),
            ("/", Target::Page),
            (&format!("/artifact/{tree}"), Target::Resource(artifact)),
            (&format!("/artifact/{tree}/name"), Target::Resource(artifact)),
            (&format!("/artifact/{tree}/"), Target::Page),
        ] {
            assert_eq!(Target::of(path), target, "{path}");
        }
    }
}
