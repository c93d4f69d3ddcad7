//! The pages for people: what is here, what is not, and what to do about it. Plain HTML without any
//! other file and without scripts, so that they work where nothing else does.
//!
//! What a page shows it gets from a [`visitor::Visitor`]. All pages lie side by side and all links
//! are relative, so they work below any prefix and behind any proxy.

mod misses;
mod moment;
mod overview;
mod packages;
mod sources;
mod visitor;

pub(super) use misses::{export, misses};
pub(super) use overview::overview;
pub(super) use packages::packages;
pub(super) use sources::sources;

use crate::mirror::Refusal;
use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, request};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::LazyLock;

const STYLE: &str = include_str!("../../../templates/pages/style.css");

/// Longest text from a visitor that is looked at or shown again, in characters: that of a wish.
const LONGEST: usize = 100;

/// Nothing but the page itself and its own style is ever loaded, and its forms lead here only. The
/// icon is an empty one, or browsers would ask for one.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    policy.parse().ok()
});

/// What is around the content of every page.
struct Shell {
    title: String,
    place: Place,
    /// Leads from this page to the overview: `./`.
    root: String,
}

/// Where in the navigation a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Overview,
    Packages,
    Misses,
    Sources,
    Elsewhere,
}

struct Link {
    href: String,
    text: &'static str,
    is_current: bool,
}

impl Shell {
    fn new(title: impl Into<String>, place: Place) -> Self {
        Self { title: title.into(), place, root: "./".to_owned() }
    }

    fn links(&self) -> [Link; 4] {
        let link = |place, page: &str, text| Link {
            href: format!("{}{page}", self.root),
            text,
            is_current: self.place == place,
        };
        [
            link(Place::Overview, "", "Overview"),
            link(Place::Packages, "packages", "Packages"),
            link(Place::Misses, "misses", "Misses"),
            link(Place::Sources, "sources", "Sources"),
        ]
    }

    #[expect(clippy::unused_self, reason = "templates ask the shell")]
    const fn style(&self) -> &'static str {
        STYLE
    }

    #[expect(clippy::unused_self, reason = "templates ask the shell")]
    const fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

/// Escapes text for HTML. Letters that cannot be seen, or that turn the order of others around, are
/// shown as what they are: not to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct PageEscaper;

impl askama::filters::Escaper for PageEscaper {
    fn write_escaped_str<W: fmt::Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '<' => dest.write_str("&lt;")?,
                '>' => dest.write_str("&gt;")?,
                '&' => dest.write_str("&amp;")?,
                '"' => dest.write_str("&quot;")?,
                '\'' => dest.write_str("&#39;")?,
                unseen if is_unseen(unseen) => dest.write_char(char::REPLACEMENT_CHARACTER)?,
                seen => dest.write_char(seen)?,
            }
        }
        Ok(())
    }
}

fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

#[derive(Template)]
#[template(path = "pages/problem.html", escape = "page")]
struct Problem {
    shell: Shell,
    says: String,
}

/// A page, or what kept it from being made.
fn page(page: Result<impl Template, Refusal>) -> Response {
    match page {
        Ok(page) => with_status(StatusCode::OK, &page),
        Err(refused) => {
            tracing::error!("a page: {refused}");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "./", "The cache directory cannot be read".to_owned())
        }
    }
}

fn with_status(status: StatusCode, page: &impl Template) -> Response {
    let html = match page.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!("a page: {error}");
            return (StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be made\n").into_response();
        }
    };
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    if let Some(policy) = &*POLICY {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With `no-referrer` browsers would not say either from where a form is sent (`Origin: null`).
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What is wrong, in one sentence, as a page. `root` leads to the overview.
fn problem(status: StatusCode, root: &str, says: String) -> Response {
    let title = match status {
        StatusCode::NOT_FOUND => "There is no such page",
        status if status.is_client_error() => "This was not understood",
        _ => "This did not work",
    };
    let shell = Shell { root: root.to_owned(), ..Shell::new(title, Place::Elsewhere) };
    with_status(status, &Problem { shell, says: says + "." })
}

/// The answer to an address that leads nowhere: a page for a browser, a line for all others.
pub(super) fn not_found(request: &request::Parts) -> Response {
    if !accepts_html(&request.headers) {
        return (StatusCode::NOT_FOUND, "no such path\n").into_response();
    }
    let depth = request.uri.path().bytes().filter(|&byte| byte == b'/').count().saturating_sub(1);
    // A browser never asks for as many as could fill the memory; others need no links.
    let root = if depth == 0 { "./".to_owned() } else { "../".repeat(depth.min(64)) };
    problem(StatusCode::NOT_FOUND, &root, "Nothing is at this address".to_owned())
}

/// The answer to a form that was refused: a page for a browser, a line for all others. For
/// addresses that lie beside the pages.
pub(super) fn refused(headers: &HeaderMap, status: StatusCode, says: String) -> Response {
    if accepts_html(headers) {
        return problem(status, "./", says);
    }
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], says + "\n").into_response()
}

/// Whether a browser asks; Julia and curl do not say that they want HTML.
fn accepts_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|part| part.split(';').next().is_some_and(|it| it.trim().eq_ignore_ascii_case("text/html")))
}

/// For a query, byte by byte.
pub(super) fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let one = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// Where the page about a package is.
fn package_href(name: &str) -> String {
    format!("packages?name={}", encoded(name))
}

/// `1 file`, `2 files`.
fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// `1.5 MiB`
fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use askama::filters::Escaper as _;

    #[test]
    fn nothing_that_is_put_into_a_page_is_html_or_hides() {
        let mut out = String::new();
        PageEscaper.write_escaped_str(&mut out, "<a href='\"'>&amp;\0\u{1b}[31m\u{202e}é\u{feff}</a>").unwrap();
        assert_eq!(out, "&lt;a href=&#39;&quot;&#39;&gt;&amp;amp;\u{fffd}\u{fffd}[31m\u{fffd}é\u{fffd}&lt;/a&gt;");
    }

    #[test]
    fn only_who_says_so_wants_html() {
        for (accept, wants) in [
            ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", true),
            ("application/json, TEXT/HTML ;q=0.1", true),
            ("*/*", false),
            ("text/plain", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(accepts_html(&headers), wants, "{accept}");
        }
        assert!(!accepts_html(&HeaderMap::new()));
    }
}
