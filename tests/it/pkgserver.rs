//! What `PkgServer.jl` promises and checks in its own tests, each named after the behaviour. What is
//! tested elsewhere: the flavors and who gets which (`registries::the_flavor_is_chosen_as_pkgserver_does`,
//! `registries::without_flavors_upstream_there_are_none_here`), an artifact under both of its names
//! (`disk::an_artifact_named_by_its_lenient_hash_is_published_under_both`), each kind of range
//! (`http::ranges_of_hits`), one download for many (`flights`).
//!
//! Where we differ, the test says so: no redirect from `/registries`, a range that ends before it
//! begins is ignored as RFC 9110 wants it, and a miss is given whole.

use crate::flights::big_site;
use crate::support::{Airlock, Scene};
use airlock::mirror::Patience;
use airlock::protocol::{GENERAL, Listing, RegistryTree, Resource};
use airlock::sample::{Body, Gate};
use airlock::tree::{Limits, hash_tar_gz};
use http::HeaderMap;
use reqwest::Method;
use sha2::{Digest as _, Sha256};

/// An online server with the registry and nothing else, and a package and an artifact to ask for.
async fn server() -> (Scene, Airlock, [String; 2]) {
    let scene = Scene::new().await;
    let airlock = Airlock::quiet(&scene.configured("[server]\nurl = 'https://julia.example.org'\n")).await;
    assert_eq!(airlock.mirror.refresh_registries(Patience::prewarm(1)).await, []);
    let paths = ["Greeting/1.1.0", "greeting-text-1"].map(|label| crate::view::resource(label).to_string());
    (scene, airlock, paths)
}

async fn json(airlock: &Airlock, path: &str) -> serde_json::Value {
    serde_json::from_slice(&airlock.get(path).await.bytes().await.unwrap()).unwrap()
}

fn general(listing: &str) -> RegistryTree {
    let tree = Listing::parse(listing).unwrap().tree(GENERAL).unwrap();
    RegistryTree { uuid: GENERAL, tree }
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_is_a_list_of_registries_whose_tarballs_have_the_hash_of_their_name() {
    let (_scene, airlock, _) = server().await;
    let answer = airlock.get("/registries").await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (200, &"text/plain".parse().unwrap()));
    let registry = general(&answer.text().await.unwrap());
    let body = airlock.get(&Resource::from(registry).to_string()).await.bytes().await.unwrap();
    let contents = hash_tar_gz(&body[..], &Limits::default(), |_| false).unwrap();
    assert_eq!(contents.strict, registry.tree);
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_is_answered_directly_where_pkgserver_redirects() {
    let (_scene, airlock, _) = server().await;
    for headers in [vec![], vec![("julia-ci-variables", "CI=t")], vec![("julia-registry-preference", "eager")]] {
        let answer = airlock.request(Method::GET, "/registries", &headers).await;
        assert!(answer.status() == 200 && answer.url().path() == "/registries", "{headers:?}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_are_gzip_with_a_length_that_take_ranges_and_have_no_encoding() {
    let (scene, airlock, paths) = server().await;
    for path in &paths {
        let size = scene.upstream.body(path).unwrap().len().to_string();
        for _ in ["a miss", "a hit"] {
            let answer = airlock.get(path).await;
            let headers = answer.headers();
            let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(header("content-type"), Some("application/x-gzip"), "{path}");
            assert_eq!(header("content-length"), Some(size.as_str()), "{path}");
            assert_eq!(header("accept-ranges"), Some("bytes"), "{path}");
            assert_eq!((header("content-encoding"), header("transfer-encoding")), (None, None), "{path}");
            answer.bytes().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x_cache_miss_is_on_what_is_still_coming_in_which_is_given_whole() {
    let (site, large) = big_site(1 << 20);
    let (scene, gate, path) = (Scene::with(site).await, Gate::new(), large.to_string());
    scene.upstream.fail(&path, Body::gated(500_000, &gate));
    let airlock = Airlock::quiet(&scene.online()).await;
    let body = scene.upstream.body(&path).unwrap();
    let range = [("range", "bytes=0-99")];
    let miss = airlock.request(Method::GET, &path, &range).await;
    assert_eq!((miss.status().as_u16(), &miss.headers()["x-cache-miss"]), (200, &"miss".parse().unwrap()));
    gate.open();
    assert!(miss.bytes().await.unwrap() == body, "PkgServer answers 206 and gives the part");
    let hit = airlock.request(Method::GET, &path, &range).await;
    let header = |name: &str| hit.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!((hit.status().as_u16(), header("x-cache-miss")), (206, None));
    assert_eq!(header("content-range"), Some(format!("bytes 0-99/{}", body.len())));
    assert_eq!(header("content-length").as_deref(), Some("100"));
    assert!(hit.bytes().await.unwrap() == body[..100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_beyond_the_end_is_416_and_one_that_ends_before_it_begins_is_no_range() {
    let (scene, airlock, [package, _]) = server().await;
    airlock.get(&package).await.bytes().await.unwrap();
    let size = scene.upstream.body(&package).unwrap().len();
    let beyond = airlock.request(Method::GET, &package, &[("range", &format!("bytes={size}-{}", size + 9))]).await;
    assert_eq!(beyond.status(), 416);
    assert_eq!(beyond.headers()["content-range"], format!("bytes */{size}"));
    assert!(beyond.bytes().await.unwrap().is_empty());
    let turned = airlock.request(Method::GET, &package, &[("range", "bytes=2-1")]).await;
    assert_eq!((turned.status().as_u16(), turned.content_length()), (200, Some(size as u64)), "PkgServer answers 416");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_has_the_headers_of_get_on_every_path() {
    let (_scene, airlock, [package, artifact]) = server().await;
    for path in [&package, &artifact] {
        airlock.get(path).await.bytes().await.unwrap();
    }
    let registry = Resource::from(general(&airlock.get("/registries").await.text().await.unwrap())).to_string();
    let of = async |method: Method, path: &str| -> (u16, HeaderMap, usize) {
        let answer = airlock.request(method, path, &[]).await;
        let (status, mut headers) = (answer.status().as_u16(), answer.headers().clone());
        // The clock goes on between two requests, and what names a request is another each time.
        for its_own in ["date", "x-request-id"] {
            headers.remove(its_own);
        }
        (status, headers, answer.bytes().await.unwrap().len())
    };
    let toml = format!("{artifact}/Greeting");
    for path in [
        &package,
        &artifact,
        &registry,
        &toml,
        "/registries",
        "/registries.none",
        "/",
        "/robots.txt",
        "/health",
        "/docs",
    ] {
        let (get, head) = (of(Method::GET, path).await, of(Method::HEAD, path).await);
        assert_eq!((get.0, &get.1), (head.0, &head.1), "{path}");
        assert!(head.2 == 0 && get.2 > 0, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifacts_toml_is_made_for_an_artifact_under_any_name() {
    let (scene, airlock, [_, artifact]) = server().await;
    let answer = airlock.get(&format!("{artifact}/Some_Name-2")).await;
    assert_eq!(answer.status(), 200);
    let made: toml::Table = toml::from_str(&answer.text().await.unwrap()).unwrap();
    let made = made["Some_Name-2"].as_table().unwrap();
    assert_eq!(made["git-tree-sha1"].as_str(), artifact.rsplit('/').next());
    let [download] = made["download"].as_array().unwrap().as_slice() else { panic!("{made:?}") };
    assert_eq!(download["url"].as_str().unwrap(), format!("https://julia.example.org{artifact}"));
    let digest = Sha256::digest(scene.upstream.body(&artifact).unwrap());
    let said = download["sha256"].as_str().unwrap();
    let said: Vec<_> = (0..64).step_by(2).map(|at| u8::from_str_radix(&said[at..at + 2], 16).unwrap()).collect();
    assert_eq!(said, digest.to_vec());
    let absent = format!("/artifact/{}/Name", airlock::protocol::TreeHash::EMPTY);
    assert_eq!(airlock.get(&absent).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_are_nothing_are_404() {
    let (_scene, airlock, _) = server().await;
    for path in ["/docs", "/index.html", "/package", "/registry/", "/artifact", "/meta/nothing", "/favicon.ico"] {
        assert_eq!(airlock.get(path).await.status(), 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn robots_are_kept_out() {
    let (_scene, airlock, _) = server().await;
    let robots = airlock.get("/robots.txt").await;
    assert_eq!(robots.status(), 200);
    assert_eq!(robots.text().await.unwrap(), "User-agent: *\nDisallow: /\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_and_its_stats_have_pkgservers_keys() {
    let (_scene, airlock, [package, artifact]) = server().await;
    for path in [&package, &artifact] {
        airlock.get(path).await.bytes().await.unwrap();
    }
    let meta = json(&airlock, "/meta").await;
    assert_eq!(meta["pkgserver_url"], "https://julia.example.org");
    for key in ["pkgserver_version", "start_time", "last_registry_update"] {
        assert!(meta[key].is_string(), "{key}: {meta}");
    }
    let stats = json(&airlock, "/meta/stats").await;
    assert_eq!((&stats["packages_cached"], &stats["artifacts_cached"]), (&1.into(), &1.into()));
    for key in ["total_hits", "cached_hits", "fetch_hits", "total_misses", "payload_bytes_received"] {
        assert!(stats[key].is_u64(), "{key}: {stats}");
    }
    assert!(stats["payload_bytes_received"].as_u64() > Some(0), "{stats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_pkgservers_names() {
    let (_scene, airlock, [package, _]) = server().await;
    airlock.get(&package).await.bytes().await.unwrap();
    airlock.mirror.rescan().await;
    let metrics = airlock.get("/metrics").await.text().await.unwrap();
    for series in [
        "pkgserver_http_request_duration_seconds_count{target=\"/package\"} 1",
        "pkgserver_cached_resource_files{resource_type=\"package\"} 1",
        "pkgserver_cached_resource_bytes{resource_type=\"package\"} ",
        "pkgserver_received_bytes_total ",
        "pkgserver_transmitted_bytes_total ",
        "pkgserver_registry_updates_total ",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(series)), "{series}: {metrics}");
    }
}
