//! Every way of asking against every kind of thing that is asked for.

use super::{PRIVATE, REGISTRY, Stock, ask, get, revoke, said, token};
use crate::support::Airlock;
use airlock::config::Config;
use airlock::protocol::{Resource, TreeHash};
use jiff::Timestamp;
use reqwest::Method;

/// What is shown, with the status for what anybody may have, and for each of: Acme's registry,
/// one package, the other, its artifact, and what nobody can tell whose it is.
type Row = (&'static str, String, u16, [u16; 5]);

fn rows(config: &Config) -> Vec<Row> {
    let past = Timestamp::from_second(1_000_000_000).unwrap();
    let future = Timestamp::now() + jiff::Span::new().hours(1);
    let made = |label: &'static str, scopes: &[&str], expires| token(config, label, scopes, expires);
    let revoked = made("revoked", &["all"], None);
    revoke(config, "revoked");
    vec![
        ("none", String::new(), 200, [401; 5]),
        ("of somebody else", "Bearer eyJhbGciOi".to_owned(), 200, [401; 5]),
        ("another scheme", "Negotiate YII=".to_owned(), 200, [401; 5]),
        ("wrong", format!("Bearer airlock_{:064}", 0), 401, [401; 5]),
        ("expired", made("expired", &["all"], Some(past)), 401, [401; 5]),
        ("revoked", revoked, 401, [401; 5]),
        ("metrics", made("metrics", &["metrics"], None), 200, [403; 5]),
        ("small", made("small", &["registry:Other", "package:Greeting"], None), 200, [403; 5]),
        ("package", made("package", &["package:AcmeTools"], None), 200, [403, 200, 403, 403, 403]),
        ("owner", made("owner", &["package:*Data"], None), 200, [403, 403, 200, 200, 403]),
        ("right", made("right", &["registry:AcmeRegistry"], Some(future)), 200, [200, 200, 200, 200, 403]),
        ("uuid", made("uuid", &[&format!("registry:{REGISTRY}")], None), 200, [200, 200, 200, 200, 403]),
        // Not here, and there is no upstream.
        ("all", made("all", &["all"], None), 200, [200, 200, 200, 200, 404]),
        ("admin", made("admin", &["admin"], None), 200, [200, 200, 200, 200, 404]),
    ]
}

/// Asks for one thing in every way, and holds the answers to a status.
async fn holds(airlock: &Airlock, stock: &Stock, path: &str, row: &str, shown: &str, expected: u16) {
    let whole = get(airlock, path, shown).await;
    let what = format!("{row}: {path}");
    assert_eq!(whole.status(), expected, "{what}");
    let challenge = whole.headers().get("www-authenticate").map(|it| it.to_str().unwrap().to_owned());
    let (cached, vary) = (whole.headers().get("cache-control").cloned(), whole.headers().get("vary").cloned());
    let cached = cached.map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
    match expected {
        401 => {
            let challenge = challenge.unwrap();
            assert!(challenge.starts_with("Bearer realm=\"airlock\""), "{what}: {challenge}");
            assert_eq!(challenge.contains("error=\"invalid_token\""), !shown.is_empty(), "{what}: {challenge}");
            assert_eq!((cached.as_str(), vary.unwrap()), ("no-store", "Authorization".parse().unwrap()), "{what}");
        }
        403 => assert!(challenge.unwrap().contains("error=\"insufficient_scope\""), "{what}"),
        _ => assert_eq!(challenge, None, "{what}"),
    }
    if matches!(expected, 401 | 403) {
        let words = stock.words();
        let text = said(whole).await;
        assert!(words.iter().all(|word| !text.contains(word)), "{what}: {text}");
    } else if expected == 200 && !path.ends_with("/name") {
        let body = whole.bytes().await.unwrap();
        let original = stock.scene.upstream.body(path);
        assert!(original.is_none_or(|original| original == body), "{what}");
        let is_private = stock.private().iter().any(|it| path.contains(&it.tree().to_string()));
        assert!(cached.ends_with("max-age=31536000, immutable"), "{what}: {cached}");
        assert!(!(is_private && cached.contains("public")), "{what}: {cached}");
        assert!(is_private || !shown.is_empty() || cached.starts_with("public"), "{what}: {cached}");
    }
    let head = ask(airlock, Method::HEAD, path, shown, &[]).await;
    assert_eq!(head.status(), expected, "HEAD, {what}");
    if path.ends_with("/name") {
        return;
    }
    let part = ask(airlock, Method::GET, path, shown, &[("range", "bytes=0-4")]).await;
    assert_eq!(part.status(), if expected == 200 { 206 } else { expected }, "range, {what}");
    let known = ask(airlock, Method::GET, path, shown, &[("if-none-match", "*")]).await;
    assert_eq!(known.status(), if expected == 200 { 304 } else { expected }, "known, {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_against_every_kind_of_resource() {
    let stock = Stock::new().await;
    let none = TreeHash::from_bytes([7; 20]);
    let unknown = [
        Resource::Artifact { tree: none },
        Resource::Package { uuid: "0e0e0e0e-0000-4000-8000-000000000001".parse().unwrap(), tree: none },
        Resource::Registry { uuid: "0e0e0e0e-0000-4000-8000-000000000002".parse().unwrap(), tree: none },
    ];
    let config = stock.offline(&format!("view.show = 'full'\n{PRIVATE}"));
    let airlock = Stock::serve(&config).await;
    for (row, shown, public, [registry, tools, data, measured, untold]) in rows(&config) {
        for resource in stock.public() {
            holds(&airlock, &stock, &resource.to_string(), row, &shown, public).await;
        }
        holds(&airlock, &stock, &format!("{}/name", stock.shared), row, &shown, public).await;
        let private = stock.private().into_iter().zip([registry, tools, data, measured]);
        for (resource, expected) in private {
            holds(&airlock, &stock, &resource.to_string(), row, &shown, expected).await;
            // It is the same for what is not here.
            if !matches!(resource, Resource::Artifact { .. }) {
                let absent = if expected == 200 { 404 } else { expected };
                holds(&airlock, &stock, &resource.with_tree(none).to_string(), row, &shown, absent).await;
            }
        }
        holds(&airlock, &stock, &format!("{}/name", stock.measured), row, &shown, measured).await;
        for resource in unknown {
            holds(&airlock, &stock, &resource.to_string(), row, &shown, untold).await;
        }
    }
}

/// The registries in each listing, by whether they are Acme's, and where they are.
async fn listed(airlock: &Airlock, path: &str, shown: &str) -> (u16, Vec<String>) {
    let answer = get(airlock, path, shown).await;
    let status = answer.status().as_u16();
    if status == 200 {
        assert_eq!(answer.headers()["vary"], "Authorization", "{path}");
        assert_eq!(answer.headers()["cache-control"], "private, no-cache", "{path}");
    }
    (status, answer.text().await.unwrap().lines().map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_have_what_one_may_see_in_either_view() {
    let stock = Stock::new().await;
    for view in ["full", "available"] {
        let config = stock.offline(&format!("view.show = '{view}'\n{PRIVATE}"));
        let airlock = Stock::serve(&config).await;
        for (row, shown, public, [registry, ..]) in rows(&config) {
            for path in ["/registries", "/registries.eager", "/registries.conservative"] {
                let (status, lines) = listed(&airlock, path, &shown).await;
                assert_eq!(status, public, "{row}, {path}");
                if status != 200 {
                    continue;
                }
                assert_eq!(lines.len(), if registry == 200 { 2 } else { 1 }, "{row}, {path}: {lines:?}");
                for line in lines {
                    let is_acme = line.contains(REGISTRY);
                    assert!(!is_acme || registry == 200, "{row}: {line}");
                    assert_eq!(get(&airlock, &line, &shown).await.status(), 200, "{row}: {line}");
                    if is_acme {
                        // Derived ones too.
                        assert_eq!(get(&airlock, &line, "").await.status(), 401, "{line}");
                    }
                }
            }
        }
        fs_err::remove_file(config.tokens_file()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_with_nothing_left_is_refused() {
    let stock = Stock::new().await;
    let config = stock.offline("access.private-registries = ['*']\n");
    let airlock = Stock::serve(&config).await;
    let one = token(&config, "one", &["registry:AcmeRegistry"], None);
    let other = token(&config, "other", &["package:Greeting"], None);
    assert_eq!(listed(&airlock, "/registries", "").await.0, 401);
    assert_eq!(listed(&airlock, "/registries", &other).await.0, 403);
    assert_eq!(listed(&airlock, "/registries", &one).await.1.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_everybody_needs_a_token_nothing_is_said_without() {
    let stock = Stock::new().await;
    let config = stock.offline("access.token = 'required'\n");
    let airlock = Stock::serve(&config).await;
    let all = token(&config, "all", &["all"], None);
    let general = token(&config, "general", &["registry:General"], None);
    let package = token(&config, "package", &["package:AcmeTools"], None);
    let metrics = token(&config, "metrics", &["metrics"], None);
    let paths = ["/", "/registries", "/meta", "/meta/stats", "/meta/misses", "/nothing", "/%68ealth", "/health/"];
    let resources = stock.public().into_iter().chain(stock.private()).map(|it| it.to_string());
    for path in paths.into_iter().map(str::to_owned).chain(resources) {
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(ask(&airlock, method, &path, "", &[]).await.status(), 401, "{path}");
        }
        assert_eq!(get(&airlock, &path, &metrics).await.status(), 403, "{path}");
        let expected = if ["/nothing", "/%68ealth", "/health/"].contains(&path.as_str()) { 404 } else { 200 };
        assert_eq!(get(&airlock, &path, &all).await.status(), expected, "{path}");
    }
    for open in ["/health", "/robots.txt"] {
        for shown in ["", "Bearer airlock_x", &metrics] {
            assert_eq!(get(&airlock, open, shown).await.status(), 200, "{open}");
        }
    }
    assert_eq!(ask(&airlock, Method::POST, "/request", "", &[]).await.status(), 401);
    // A scope is what one sees.
    let statuses = async |shown: &str| {
        let mut statuses = Vec::new();
        for resource in [stock.general, stock.registry, stock.greeting, stock.tools, stock.shared, stock.measured] {
            statuses.push(get(&airlock, &resource.to_string(), shown).await.status().as_u16());
        }
        (statuses, listed(&airlock, "/registries", shown).await.1.len())
    };
    assert_eq!(statuses(&general).await, (vec![200, 403, 200, 403, 200, 403], 1));
    // Without registries no client finds the package.
    assert_eq!(statuses(&package).await, (vec![200, 200, 403, 200, 403, 403], 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_asked_for_a_password_and_programs_are_not() {
    let stock = Stock::new().await;
    let config = stock.offline("access.token = 'required'\n");
    let airlock = Stock::serve(&config).await;
    let shown = token(&config, "me", &["all"], None);
    let challenges = async |path: &str| {
        let answer = get(&airlock, path, "").await;
        let all = answer.headers().get_all("www-authenticate").iter().map(|it| it.to_str().unwrap().to_owned());
        (all.collect::<Vec<_>>(), answer.text().await.unwrap())
    };
    let (page, says) = challenges("/").await;
    assert_eq!(page, ["Bearer realm=\"airlock\"", "Basic realm=\"airlock\", charset=\"UTF-8\""]);
    assert_eq!(says.lines().count(), 1, "{says}");
    assert!(says.contains("Over plain http Julia sends tokens only to localhost"), "{says}");
    assert_eq!(challenges("/registries").await.0, ["Bearer realm=\"airlock\""]);
    assert_eq!(challenges(&stock.greeting.to_string()).await.0, ["Bearer realm=\"airlock\""]);
    let url = airlock.url("/meta").replace("http://", &format!("http://anybody:{}@", &shown["Bearer ".len()..]));
    let answer = crate::support::client().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_made_or_revoked_counts_with_the_next_request() {
    let stock = Stock::new().await;
    let config = stock.offline(PRIVATE);
    let airlock = Stock::serve(&config).await;
    let path = stock.tools.to_string();
    for round in 0..20 {
        let label = format!("t{round}");
        let shown = token(&config, &label, &["all"], None);
        assert_eq!(get(&airlock, &path, &shown).await.status(), 200, "{label}");
        // What is hot in memory now is guarded all the same.
        assert_eq!(get(&airlock, &path, "").await.status(), 401);
        revoke(&config, &label);
        assert_eq!(get(&airlock, &path, &shown).await.status(), 401, "{label}");
    }
    let shown = token(&config, "last", &["all"], None);
    let good = fs_err::read(config.tokens_file()).unwrap();
    assert_eq!(get(&airlock, &path, &shown).await.status(), 200);
    fs_err::write(config.tokens_file(), &good[..good.len() / 2]).unwrap();
    assert_eq!(get(&airlock, &path, &shown).await.status(), 200, "the last good ones stay");
    fs_err::remove_file(config.tokens_file()).unwrap();
    assert_eq!(get(&airlock, &path, &shown).await.status(), 401, "nobody has one");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_or_written_down_for_who_may_not_have_it() {
    let stock = Stock::new().await;
    let upstream = &stock.scene.upstream;
    let config = crate::support::config(&stock.scene.folder.path().join("cold"), &[upstream.url()], PRIVATE);
    let airlock = Airlock::quiet(&config).await;
    let before = upstream.requests().len();
    // Nobody knows yet whose anything is.
    for resource in stock.private().into_iter().chain([stock.greeting, stock.shared]) {
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(ask(&airlock, method, &resource.to_string(), "", &[]).await.status(), 401, "{resource}");
        }
        assert_eq!(get(&airlock, &format!("{resource}/name"), "").await.status().as_u16() / 100, 4);
    }
    assert_eq!(upstream.requests().len(), before);
    assert_eq!(airlock.mirror.all_misses().await.unwrap(), []);
    // General is by its uuid, and once it is here its packages are.
    let shown = token(&config, "all", &["all"], None);
    airlock.mirror.refresh_registries(airlock::mirror::Patience::prewarm(1)).await;
    assert_eq!(get(&airlock, &stock.greeting.to_string(), "").await.status(), 200);
    assert_eq!(get(&airlock, &stock.shared.to_string(), "").await.status(), 200, "a package that names it is here");
    assert_eq!(get(&airlock, &stock.tools.to_string(), "").await.status(), 401);
    assert_eq!(upstream.gets(&stock.tools.to_string()), 1, "when the cache was stocked");
    assert_eq!(get(&airlock, &stock.tools.to_string(), &shown).await.status(), 200);
    assert_eq!(upstream.gets(&stock.tools.to_string()), 2);
    assert_eq!(get(&airlock, &stock.tools.to_string(), "").await.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_word_about_access_headers_mean_nothing() {
    let stock = Stock::new().await;
    let config = stock.offline("");
    let airlock = Stock::serve(&config).await;
    token(&config, "one", &["all"], None);
    for shown in ["", "Bearer airlock_x", "Basic !", "x"] {
        for resource in stock.public().into_iter().chain(stock.private()) {
            let answer = get(&airlock, &resource.to_string(), shown).await;
            assert_eq!(answer.status(), 200, "{resource}");
            assert_eq!(answer.headers()["cache-control"], "public, max-age=31536000, immutable");
            assert!(!answer.headers().contains_key("vary"));
        }
        let listing = get(&airlock, "/registries", shown).await;
        assert_eq!(listing.headers()["cache-control"], "no-cache");
        assert_eq!(listing.text().await.unwrap().lines().count(), 2);
    }
}
