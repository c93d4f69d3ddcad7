//! The HTTP surface: ranges, conditions, methods, hostile paths, slow clients, shutdown.

use crate::flights::big_site;
use crate::support::{Airlock, LONG, Scene};
use airlock::protocol::{Kind, Resource};
use airlock::sample::{Body, Gate, Site};
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A server that has a small and a large artifact, and their bodies.
async fn warm(file: &str) -> (Scene, Airlock, [(String, Vec<u8>); 2]) {
    let (site, large) = big_site(1 << 20);
    let small = site.resources().find(|resource| resource.kind() == Kind::Artifact && *resource != large).unwrap();
    let scene = Scene::with(site).await;
    let airlock = Airlock::quiet(&scene.configured(file)).await;
    let mut bodies = Vec::new();
    for resource in [small, large] {
        let path = resource.to_string();
        let body = airlock.get(&path).await.bytes().await.unwrap().to_vec();
        assert!(body == scene.upstream.body(&path).unwrap());
        bodies.push((path, body));
    }
    (scene, airlock, bodies.try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_says_what_it_is() {
    let (_scene, airlock, bodies) = warm("").await;
    for (path, body) in &bodies {
        for method in [Method::GET, Method::HEAD] {
            let response = airlock.request(method.clone(), path, &[("accept-encoding", "gzip, zstd")]).await;
            assert_eq!(response.status(), 200);
            let headers = response.headers();
            assert_eq!(headers["content-type"], "application/x-gzip");
            assert_eq!(headers["content-length"], body.len().to_string());
            assert_eq!(headers["accept-ranges"], "bytes");
            assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
            assert_eq!(headers["etag"], format!("\"{}\"", path.rsplit('/').next().unwrap()));
            assert!(!headers.contains_key("content-encoding"), "a client would unwrap it only once");
            let expected: &[u8] = if method == Method::GET { body } else { &[] };
            assert!(response.bytes().await.unwrap() == expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_hits() {
    let (_scene, airlock, bodies) = warm("").await;
    for (path, body) in &bodies {
        let size = body.len();
        for (range, part) in [
            ("bytes=0-9".to_owned(), 0..10),
            (format!("bytes={}-", size - 5), size - 5..size),
            ("bytes=-7".to_owned(), size - 7..size),
            (format!("bytes=3-{}", size * 2), 3..size),
        ] {
            let response = airlock.request(Method::GET, path, &[("range", &range)]).await;
            assert_eq!(response.status(), 206, "{range}");
            let expected = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            assert_eq!(response.headers()["content-range"], expected);
            assert!(response.bytes().await.unwrap() == body[part], "{range}");
        }
        let beyond = airlock.request(Method::GET, path, &[("range", &format!("bytes={size}-"))]).await;
        assert_eq!(
            (beyond.status().as_u16(), &beyond.headers()["content-range"]),
            (416, &format!("bytes */{size}").parse().unwrap())
        );
        for ignored in ["bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes"] {
            let response = airlock.request(Method::GET, path, &[("range", ignored)]).await;
            assert_eq!(response.status(), 200, "{ignored}");
            assert!(response.bytes().await.unwrap() == body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_hits() {
    let (_scene, airlock, [(path, body), _]) = warm("").await;
    let etag = format!("\"{}\"", path.rsplit('/').next().unwrap());
    for tags in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let response = airlock.request(Method::GET, &path, &[("if-none-match", &tags)]).await;
        assert_eq!(response.status(), 304, "{tags}");
    }
    let response = airlock.request(Method::GET, &path, &[("if-none-match", "\"x\"")]).await;
    assert_eq!(response.status(), 200);
    for (tag, status) in [(etag.as_str(), 206), ("\"x\"", 200), ("Sat, 01 Jan 2000 00:00:00 GMT", 200)] {
        let response = airlock.request(Method::GET, &path, &[("range", "bytes=1-2"), ("if-range", tag)]).await;
        assert_eq!(response.status(), status, "{tag}");
        let expected = if status == 206 { &body[1..3] } else { &body[..] };
        assert!(response.bytes().await.unwrap() == expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_refused_and_say_what_is_allowed() {
    let (_scene, airlock, [(path, _), _]) = warm("").await;
    for path in [path.as_str(), "/registries", "/meta", "/nothing"] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
            let response = airlock.request(method.clone(), path, &[]).await;
            assert_eq!(
                (response.status().as_u16(), &response.headers()["allow"]),
                (405, &"GET, HEAD".parse().unwrap()),
                "{method} {path}"
            );
        }
    }
}

/// Sends raw bytes and returns all that comes until the server closes.
async fn raw(airlock: &Airlock, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(airlock.address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_paths_never_reach_the_disk() {
    let (scene, airlock, [(path, _), _]) = warm("").await;
    let secret = "the secret of this test";
    fs_err::write(scene.folder.path().join("secret"), secret).unwrap();
    fs_err::write(scene.cache().join("secret"), secret).unwrap();
    let tree = path.rsplit('/').next().unwrap();
    for target in [
        "/secret".to_owned(),
        "/../secret".to_owned(),
        "/artifact/../secret".to_owned(),
        "/artifact/%2e%2e/secret".to_owned(),
        "/artifact/..%2fsecret".to_owned(),
        "//secret".to_owned(),
        "/.airlock/format".to_owned(),
        format!("/artifact/{}", tree.to_uppercase()),
        format!("/artifact/{tree}/"),
        format!("/artifact/{tree}%00"),
        format!("/artifact/{tree}/../../secret"),
        format!("/artifact%2f{tree}"),
        format!("/ARTIFACT/{tree}"),
        "/registries/".to_owned(),
        "/registries.unknown".to_owned(),
        format!("/{}", "a/".repeat(2000)),
        "/meta/../.airlock/format".to_owned(),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = raw(&airlock, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{target}: {answer}");
        assert!(!answer.contains(secret) && !answer.to_ascii_lowercase().contains("location:"), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_gets_no_answer_worth_having() {
    let (_scene, airlock, [(path, _), _]) = warm("").await;
    let flood = format!("GET {path} HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(5000));
    for request in
        [b"\x16\x03\x01\x02\x00\x01".as_slice(), b"GET\r\n\r\n", b"\r\n\r\n\0\0\0\0", flood.as_bytes(), many.as_bytes()]
    {
        let answer = raw(&airlock, &[request, b"\r\n\r\n"].concat()).await;
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(refused, "{:?} got {answer}", String::from_utf8_lossy(&request[..request.len().min(40)]));
    }
    assert_eq!(airlock.get(&path).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_cut_before_and_between_requests() {
    let (_scene, airlock, [(path, _), _]) = warm("[server]\nheader-timeout = '300ms'\n").await;
    // Each of these returns only because the server closes the connection.
    raw(&airlock, b"").await;
    raw(&airlock, b"GET / HTTP/1.1\r\nHost:").await;
    let answer = raw(&airlock, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_cut() {
    let (site, large) = big_site(64 << 20);
    let scene = Scene::with(site).await;
    let airlock = Airlock::quiet(&scene.configured("[server]\nstall-timeout = '300ms'\n")).await;
    airlock.mirror.fetch(&large, airlock::mirror::Patience::prewarm(1)).await.unwrap();
    let mut stream = TcpStream::connect(airlock.address).await.unwrap();
    stream.write_all(format!("GET {large} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    // The server gives up on its own: only then can it stop at once.
    tokio::time::timeout(LONG, airlock.stop()).await.unwrap();
    let mut got = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        got += read;
    }
    assert!(got < 64 << 20, "it took everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_download_is_finished_before_the_server_stops() {
    let (site, large) = big_site(1 << 20);
    let scene = Scene::with(site).await;
    let (path, gate) = (large.to_string(), Gate::new());
    scene.upstream.fail(&path, Body::gated(500_000, &gate));
    let airlock = Airlock::quiet(&scene.online()).await;
    let mut response = airlock.get(&path).await;
    let mut body = response.chunk().await.unwrap().unwrap().to_vec();
    let address = airlock.address;
    let stopped = tokio::spawn(airlock.stop());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.open();
    while let Some(bytes) = response.chunk().await.unwrap() {
        body.extend_from_slice(&bytes);
    }
    assert!(body == scene.upstream.body(&path).unwrap());
    tokio::time::timeout(LONG, stopped).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_keeps_its_prefix_is_served_too() {
    let (_scene, airlock, [(path, body), _]) = warm("[server]\nprefix = '/julia/pkg/'\n").await;
    for path in [path.clone(), format!("/julia/pkg{path}")] {
        assert!(airlock.get(&path).await.bytes().await.unwrap() == body, "{path}");
    }
    assert_eq!(airlock.get("/julia/pkg/health").await.status(), 200);
    assert_eq!(airlock.get("/julia/pkg/artifact/x").await.status(), 404);
    // What is handed out leads back through that proxy.
    assert_eq!(json(&airlock, "/julia/pkg/meta").await["pkgserver_url"], airlock.url("/julia/pkg"));
}

async fn json(airlock: &Airlock, path: &str) -> serde_json::Value {
    serde_json::from_slice(&airlock.get(path).await.bytes().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_page_and_meta_tell_the_state() {
    let (_scene, airlock, [(path, _), _]) = warm("").await;
    let hostile = "/artifact/00000000000000000000000000000000000000aa";
    let agent = [("julia-version", "<script>alert(1)</script>"), ("julia-system", "x86_64-linux-gnu")];
    assert_eq!(airlock.request(Method::GET, hostile, &agent).await.status(), 404);
    let page = airlock.get("/").await.text().await.unwrap();
    assert!(page.contains(&format!("export JULIA_PKG_SERVER={}", airlock.url(""))), "{page}");
    assert!(page.contains(hostile) && !page.contains("<script>"), "{page}");

    let meta: serde_json::Value = json(&airlock, "/meta").await;
    assert_eq!((&meta["mode"], &meta["version"]), (&"online".into(), &env!("CARGO_PKG_VERSION").into()));
    let stats: serde_json::Value = json(&airlock, "/meta/stats").await;
    assert_eq!(
        (&stats["artifacts_cached"], &stats["fetch_hits"], &stats["total_misses"]),
        (&2.into(), &2.into(), &1.into())
    );
    let misses: serde_json::Value = json(&airlock, "/meta/misses").await;
    let miss = &misses["misses"][0];
    assert_eq!(
        (&miss["resource"], &miss["reason"], &miss["count"]),
        (&hostile.into(), &"not-found-upstream".into(), &1.into())
    );
    assert_eq!(airlock.get("/health").await.text().await.unwrap(), "ok\n");
    assert_eq!(airlock.get("/robots.txt").await.text().await.unwrap(), "User-agent: *\nDisallow: /\n");

    let made = airlock.get(&format!("{path}/Some_name")).await;
    assert_eq!(made.headers()["content-type"], "application/toml");
    let made = airlock::julia::ArtifactsToml::parse(&made.text().await.unwrap()).unwrap();
    let [only] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!(format!("/artifact/{}", only.tree), path);
    assert_eq!(only.downloads[0].url, airlock.url(&path));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_upstream_gives_nothing_to_list() {
    let scene = Scene::with(Site::empty()).await;
    let airlock = Airlock::start(&scene.online()).await;
    let registries = airlock.get("/registries").await;
    assert_eq!(registries.status(), 503, "an empty 200 would send clients to GitHub");
    let resource = Resource::Artifact { tree: airlock::protocol::TreeHash::EMPTY };
    assert_eq!(airlock.get(&resource.to_string()).await.status(), 404);
    airlock.stop().await;
    let inside = Airlock::start(&scene.offline()).await.get("/registries").await;
    assert_eq!(inside.status(), 503);
    assert!(inside.text().await.unwrap().contains("airlock bundle import"), "there is no upstream to wait for");
}
