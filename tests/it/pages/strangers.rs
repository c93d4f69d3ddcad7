//! What strangers write - registries, clients, addresses - is shown as text, bounded, or not at all.

use super::links::BROWSER;
use super::{html::Html, page, served};
use crate::support::{Airlock, LONG, config};
use airlock::mirror::Patience;
use airlock::protocol::{Resource, TreeHash};
use airlock::sample::{SampleUpstream, Site};
use airlock::store::{Client, Miss, Reason};
use airlock::tree::TarEntry;
use reqwest::Method;

const REGISTRY: &str = "ac3e0000-0000-4000-8000-00000000000b";
/// What a registry may call a package: a word.
const NAMES: [&str; 5] =
    ["<script>alert(1)</script>", "\"onmouseover='x'", "&lt;b&gt;", "javascript:alert(1)", "gnp\u{202e}.exe\u{200b}"];

fn uuid(number: usize) -> String {
    format!("ac3e0000-0000-4000-8000-0000000001{number:02}")
}

/// An online server with a registry that calls things what it likes.
async fn hostile() -> (SampleUpstream, tempfile::TempDir, Airlock) {
    let mut site = Site::empty();
    let toml = |text: &str| serde_json::to_string(text).unwrap();
    let file = |path: String, text: String| TarEntry::file(path, text.into_bytes(), false);
    let packages = NAMES.iter().enumerate();
    let lines = packages.clone().map(|(at, name)| format!("{} = {{name={}, path='P/{at}'}}\n", uuid(at), toml(name)));
    let head = format!("name = {}\nuuid = '{REGISTRY}'\n[packages]\n", toml("<b>R&D</b>"));
    let mut entries = vec![file("Registry.toml".into(), head + &lines.collect::<String>())];
    for (at, name) in packages {
        entries.push(file(format!("P/{at}/Package.toml"), format!("name = {}\nuuid = '{}'\n", toml(name), uuid(at))));
        let versions = format!("['1.0.0']\ngit-tree-sha1 = '{at:040}'\n");
        entries.push(file(format!("P/{at}/Versions.toml"), versions));
    }
    site.add_registry(REGISTRY.parse().unwrap(), entries).unwrap();
    let upstream = SampleUpstream::start(site).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let airlock = Airlock::quiet(&config(folder.path(), &[upstream.url()], "")).await;
    assert_eq!(airlock.mirror.refresh_registries(Patience::prewarm(1)).await, []);
    airlock.mirror.load_names().await;
    (upstream, folder, airlock)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_calls_things_is_text() {
    let (_upstream, _folder, airlock) = hostile().await;
    assert!(page(&airlock, "/").await.text.contains("<b>R&D</b>"));
    for at in 0..NAMES.len() {
        let resource =
            Resource::Package { uuid: uuid(at).parse().unwrap(), tree: format!("{at:040}").parse().unwrap() };
        assert_eq!(airlock.get(&resource.to_string()).await.status(), 404);
    }
    let found = page(&airlock, "/packages?q=1").await;
    let misses = page(&airlock, "/misses").await;
    for name in ["<script>alert(1)</script>", "javascript:alert(1)"] {
        assert!(found.text.contains(name) && misses.text.contains(&format!("{name} 1.0.0 /package/")), "{name}");
    }
    let all = page(&airlock, "/packages?q=").await;
    assert!(!all.text.contains("alert"), "none is here");
    let shown = page(&airlock, "/packages?q=gnp").await;
    assert!(shown.text.contains("gnp\u{fffd}.exe\u{fffd}"), "{}", shown.text);
    let links: Vec<_> = [&found, &shown].iter().flat_map(|html| html.all("a", "href")).collect();
    let links: Vec<_> = links.iter().filter(|link| link.starts_with("packages?name=")).collect();
    assert_eq!(links.len(), 3, "{links:?}");
    for link in links {
        assert!(page(&airlock, &format!("/{link}")).await.text.contains("1.0.0 not here"), "{link}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_an_address_is_text_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    crate::view::carry(folder.path(), &["General"]);
    let airlock = served(folder.path(), "").await;
    airlock.mirror.load_names().await;
    let long = "x".repeat(10_000);
    for (query, status) in [
        ("q=%3Cscript%3Ealert(1)%3C/script%3E".to_owned(), 200),
        ("q=%00%1b[31m%E2%80%AE".to_owned(), 200),
        ("q=%ff%fe".to_owned(), 200),
        ("q=%".to_owned(), 200),
        ("q=a&q=b&name=c&name=d".to_owned(), 200),
        (format!("q={long}"), 200),
        (format!("q={}", long.repeat(6)), 200),
        (format!("q={}", "%F0%9F%92%A9".repeat(2000)), 200),
        ("name=%3Cscript%3E".to_owned(), 404),
        ("name=%00".to_owned(), 404),
        (format!("name={long}"), 404),
        ("name=../../etc/passwd".to_owned(), 404),
        ("name=&q=%22%20onfocus=x%20autofocus=%22".to_owned(), 200),
    ] {
        let response = airlock.get(&format!("/packages?{query}")).await;
        assert_eq!(response.status(), status, "{query}");
        let text = response.text().await.unwrap();
        let html = Html::parse(&text);
        assert!(text.len() < 12_000, "{}: {query}", text.len());
        let values = html.all("input", "value");
        assert!(values.iter().all(|value| value.chars().count() <= 100), "{values:?}");
    }
    for path in
        ["/?asked=%3Cscript%3E", "/misses?reason=%3Cscript%3E", "/sources?%3Cscript%3E", "/?%00", "/misses?reason=%ff"]
    {
        page(&airlock, path).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_ledger_of_misses_calls_things_is_text() {
    let folder = tempfile::tempdir().unwrap();
    let airlock = served(folder.path(), "").await;
    let now = jiff::Timestamp::now();
    let misses = NAMES.iter().zip(1..).map(|(name, number)| Miss {
        resource: Resource::Artifact { tree: TreeHash::from_bytes([number; 20]) },
        name: Some(format!("{name}\n\0")),
        version: Some("<i>1</i>".to_owned()),
        reason: Reason::Offline,
        detail: None,
        first: now,
        last: now,
        count: u64::MAX,
        client: Client { julia: Some("<script>".to_owned()), system: None },
    });
    airlock.mirror.store().misses().append(&misses.collect::<Vec<_>>()).unwrap();
    for path in ["/", "/misses"] {
        let html = page(&airlock, path).await;
        assert!(html.text.contains("<script>alert(1)</script>\u{fffd}\u{fffd} <i>1</i> /artifact/"), "{}", html.text);
        assert!(!html.text.contains("<script> "), "{}", html.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_refused_says_so_to_a_browser_as_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let airlock = served(folder.path(), "[server]\nprefix = '/julia'\n").await;
    for (accept, is_page) in [(BROWSER, true), (("accept", "*/*"), false)] {
        let request = crate::support::client()
            .request(Method::POST, airlock.url("/julia/request"))
            .header("content-type", "application/x-www-form-urlencoded")
            .header(accept.0, accept.1)
            .body("name=%3Cscript%3E");
        let response = tokio::time::timeout(LONG, request.send()).await.unwrap().unwrap();
        assert_eq!(response.status(), 400);
        let url = response.url().clone();
        let text = response.text().await.unwrap();
        if is_page {
            let html = Html::parse(&text);
            assert!(html.text.contains("This was not understood") && html.text.contains("name of a package"));
            assert_eq!(url.join(&html.all("a", "href")[1]).unwrap().path(), "/julia/");
        } else {
            assert!(text.starts_with('"') && text.ends_with('\n') && !text.contains("<html"), "{text}");
        }
    }
}
