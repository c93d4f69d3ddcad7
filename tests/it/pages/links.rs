//! Where links lead, what headers every page has, and what is no page.

use super::{carried, html::Html, miss, page};
use crate::support::{Airlock, client};
use airlock::store::Reason;
use reqwest::Method;
use reqwest::header::HeaderMap;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

const PAGES: [&str; 6] = ["/", "/packages", "/packages?q=e", "/packages?name=Greeting", "/misses", "/sources"];
/// What a browser says that it wants.
pub(super) const BROWSER: (&str, &str) =
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8");

/// Follows every link and every form that only asks, from an address on.
async fn crawl(airlock: &Airlock, start: &str) -> BTreeMap<String, u16> {
    let base = reqwest::Url::parse(&airlock.url(start)).unwrap();
    let (mut seen, mut next) = (BTreeMap::new(), vec![base]);
    while let Some(url) = next.pop() {
        if seen.contains_key(url.as_str()) {
            continue;
        }
        let response = client().get(url.clone()).send().await.unwrap();
        let is_page = response.headers()["content-type"].to_str().unwrap().starts_with("text/html");
        seen.insert(url.to_string(), response.status().as_u16());
        let here = response.url().clone();
        let text = response.text().await.unwrap();
        if !is_page {
            continue;
        }
        let html = Html::parse(&text);
        assert!(!text.contains("http-equiv") && html.all("link", "href") == ["data:,"], "{url}");
        for link in [html.all("a", "href"), html.all("form", "action")].concat() {
            assert!(!link.contains("://") && !link.starts_with('/'), "{link} would leave, or forget a prefix");
            let mut to = here.join(&link).unwrap();
            to.set_fragment(None);
            if !to.path().ends_with("/request") {
                next.push(to);
            }
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn every_link_leads_somewhere_on_this_server_below_a_prefix_too() {
    let (_folder, airlock) = carried("[server]\nprefix = '/julia/pkg'\n").await;
    airlock.mirror.store().misses().append(&[miss("Faraway/1.0.0", Reason::Offline, 1)]).unwrap();
    airlock.mirror.store().add_wishes(&["Faraway".parse().unwrap()]).unwrap();
    let mut paths = Vec::new();
    for prefix in ["", "/julia/pkg"] {
        let seen = crawl(&airlock, &format!("{prefix}/")).await;
        let root = airlock.url(prefix);
        assert!(seen.iter().all(|(url, status)| *status == 200 && url.starts_with(&root)), "{prefix}: {seen:#?}");
        paths.push(seen.into_keys().map(|url| url[root.len()..].to_owned()).collect::<BTreeSet<_>>());
    }
    assert_eq!(paths[0], paths[1]);
    let expected =
        ["/", "/misses", "/misses.txt", "/misses?reason=offline", "/packages?name=Faraway", "/sources", "/meta"];
    assert!(expected.iter().all(|path| paths[0].contains(*path)), "{:#?}", paths[0]);

    // Without the `/` at the end all links would lead beside the prefix.
    let bare = page(&airlock, "/julia/pkg?asked=Faraway").await;
    assert!(bare.text.contains("Faraway : it is on the list of wishes"), "{}", bare.text);
    assert!(crawl(&airlock, "/julia/pkg").await.values().all(|status| *status == 200));
}

fn check_headers(headers: &HeaderMap, text: &str, path: &str) {
    let style = text.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let hash = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, Sha256::digest(style));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    for (name, value) in [
        ("content-security-policy", policy.as_str()),
        ("content-type", "text/html; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(headers[name], value, "{path}");
    }
    assert!(!style.contains("url(") && !style.contains("@import"), "{path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_forbids_whatever_it_does_not_need() {
    let (_folder, airlock) = carried("").await;
    for path in [&PAGES[..], &["/nowhere", "/packages?name=Nobody"]].concat() {
        let response = airlock.request(Method::GET, path, &[BROWSER]).await;
        let headers = response.headers().clone();
        check_headers(&headers, &response.text().await.unwrap(), path);
        let head = airlock.request(Method::HEAD, path, &[BROWSER]).await;
        assert_eq!(head.headers()["content-length"], headers["content-length"], "{path}");
        let posted = airlock.request(Method::POST, path, &[BROWSER]).await;
        assert_eq!(posted.status(), 405, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_nowhere_is_a_page_for_a_browser_and_a_line_for_others() {
    let (_folder, airlock) = carried("[server]\nprefix = '/julia'\n").await;
    for path in ["/nowhere", "/a/b/c", "/julia/a/b", "/package/x", "/packages/", "/misses/x", "/%00", "/..%2f"] {
        let plain = airlock.get(path).await;
        assert_eq!(plain.status(), 404, "{path}");
        assert_eq!(plain.text().await.unwrap(), "no such path\n", "{path}");
        let response = airlock.request(Method::GET, path, &[BROWSER]).await;
        assert_eq!(response.status(), 404, "{path}");
        let url = response.url().clone();
        let html = Html::parse(&response.text().await.unwrap());
        assert!(html.text.contains("There is no such page"), "{}", html.text);
        let home = url.join(&html.all("a", "href")[1]).unwrap();
        let root = if path.starts_with("/julia") { "/julia/" } else { "/" };
        assert_eq!(home.path(), root, "{path}");
    }
    // A resource that is not here says why in a line, whoever asks.
    let absent = crate::view::resource("Faraway/1.0.0").to_string();
    let response = airlock.request(Method::GET, &absent, &[BROWSER]).await;
    assert!(response.text().await.unwrap().starts_with("Faraway 1.0.0 (/package/"));
}
