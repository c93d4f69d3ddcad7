//! `/metrics`: every name, and that each number goes up by what was done.

use super::Samples;
use crate::flights::big_site;
use crate::support::{Airlock, LONG, Scene};
use airlock::protocol::{Kind, Resource, TreeHash};
use airlock::sample::{Body, Fault, Gate, Site};
use fs_err as fs;
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A resource of each kind, and a large artifact.
fn site() -> (Site, Resource, Resource, Resource) {
    let (site, large) = big_site(1 << 20);
    let find = |kind| site.resources().find(|resource| resource.kind() == kind && *resource != large).unwrap();
    let (package, artifact) = (find(Kind::Package), find(Kind::Artifact));
    (site, package, artifact, large)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_of_pkgserver_is_there_from_the_first_search_on() {
    let scene = Scene::new().await;
    let airlock = Airlock::quiet(&scene.online()).await;
    let samples = Samples::scrape(&airlock).await;
    assert!(!samples.names().any(|name| name.starts_with("pkgserver_cached")), "nobody knows yet");
    airlock.mirror.rescan().await;
    airlock.get("/registries").await;
    let samples = Samples::scrape(&airlock).await;
    for name in [
        "pkgserver_http_requests_inprogress",
        "pkgserver_registry_updates_total",
        "pkgserver_received_bytes_total",
        "pkgserver_transmitted_bytes_total",
        "process_start_time_seconds",
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        samples.get(name);
    }
    assert!(samples.names().any(|name| name == "process_cpu_seconds_total"));
    for kind in ["registry", "package", "artifact"] {
        assert_eq!(samples.get(&format!("pkgserver_cached_resource_files{{resource_type=\"{kind}\"}}")), 0);
        assert_eq!(samples.get(&format!("pkgserver_cached_resource_bytes{{resource_type=\"{kind}\"}}")), 0);
    }
    let histogram = "pkgserver_http_request_duration_seconds";
    for target in ["/", "/meta", "/registry", "/package", "/artifact", "/registries", "/metrics", "<other>"] {
        for bound in ["0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75"] {
            samples.get(&format!("{histogram}_bucket{{le=\"{bound}\",target=\"{target}\"}}"));
        }
        for bound in ["1.0", "2.5", "5.0", "7.5", "10.0", "+Inf"] {
            samples.get(&format!("{histogram}_bucket{{le=\"{bound}\",target=\"{target}\"}}"));
        }
        let sum = format!("{histogram}_sum{{target=\"{target}\"}}");
        assert!(samples.series().any(|series| series == sum), "{sum}");
    }
    // This scrape is under way, the one before is over.
    assert_eq!(samples.get("pkgserver_http_requests_inprogress"), 1);
    assert_eq!(samples.get(&format!("{histogram}_count{{target=\"/metrics\"}}")), 1);
    assert_eq!(samples.get(&format!("airlock_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_go_up_by_exactly_what_was_done() {
    let (sample, package, artifact, large) = site();
    let scene = Scene::with(sample).await;
    let airlock = Airlock::quiet(&scene.online()).await;
    airlock.mirror.rescan().await;
    let before = Samples::scrape(&airlock).await;
    let size = |resource: &Resource| scene.upstream.body(&resource.to_string()).unwrap().len() as u64;
    let bytes = async |response: reqwest::Response| response.bytes().await.unwrap().len() as u64;

    // Three fetches, hits from memory and from disk, ranges, a HEAD, a 304, and misses.
    let mut sent = 0;
    for resource in [package, artifact, large] {
        sent += bytes(airlock.get(&resource.to_string()).await).await;
    }
    let part = ("range", "bytes=10-19");
    let etag = format!("\"{}\"", large.tree());
    for (path, header) in [(&package, None), (&package, Some(part)), (&large, None), (&large, Some(part))] {
        let headers: Vec<_> = header.into_iter().collect();
        sent += bytes(airlock.request(Method::GET, &path.to_string(), &headers).await).await;
    }
    assert_eq!(airlock.request(Method::HEAD, &large.to_string(), &[]).await.status(), 200);
    let conditional = [("if-none-match", etag.as_str())];
    assert_eq!(airlock.request(Method::GET, &large.to_string(), &conditional).await.status(), 304);
    let absent = Resource::Artifact { tree: TreeHash::EMPTY }.to_string();
    sent += bytes(airlock.get(&absent).await).await;
    let wrong = Resource::Artifact { tree: TreeHash::from_bytes([7; 20]) }.to_string();
    scene.upstream.put(&wrong, scene.upstream.body(&artifact.to_string()).unwrap());
    sent += bytes(airlock.get(&wrong).await).await;

    let after = Samples::scrape(&airlock).await;
    let since = |series: &str| after.since(&before, series);
    assert_eq!(since("airlock_fetched_total"), 3);
    // What is fetched is not in memory yet: the first hit of the package is read from disk.
    assert_eq!(since("airlock_hits_total{from=\"memory\"}"), 2);
    assert_eq!(since("airlock_hits_total{from=\"disk\"}"), 4);
    let misses = |reason: &str| since(&format!("airlock_misses_total{{reason=\"{reason}\"}}"));
    let reasons = ["offline", "not-found-upstream", "upstream-error", "hash-mismatch", "denied", "own-fault"];
    assert_eq!(reasons.map(misses), [0, 1, 0, 1, 0, 0]);
    let flights = |outcome: &str| since(&format!("airlock_flights_total{{outcome=\"{outcome}\"}}"));
    assert_eq!(["fetched", "found", "not-found-upstream", "hash-mismatch"].map(flights), [3, 0, 1, 1]);
    assert_eq!(after.get("airlock_flights_running"), 0);
    let received = size(&package) + 2 * size(&artifact) + size(&large);
    assert_eq!(since("pkgserver_received_bytes_total"), received);
    // The first scrape was sent too, in full.
    let scraped = since("pkgserver_transmitted_bytes_total") - sent;
    assert!(scraped > 10_000 && scraped < 60_000, "{scraped}");
    let target = |target: &str| since(&format!("pkgserver_http_request_duration_seconds_count{{target=\"{target}\"}}"));
    assert_eq!(["/package", "/artifact", "/metrics", "<other>"].map(target), [3, 8, 1, 0]);
    let class = |class: &str| since(&format!("airlock_http_responses_total{{class=\"{class}\"}}"));
    assert_eq!(["2xx", "3xx", "4xx", "5xx"].map(class), [9, 1, 1, 1]);

    let files = |kind: &str| after.get(&format!("pkgserver_cached_resource_files{{resource_type=\"{kind}\"}}"));
    assert_eq!(["registry", "package", "artifact"].map(files), [0, 1, 2], "counted as they were published");
    let bytes = |kind: &str| after.get(&format!("pkgserver_cached_resource_bytes{{resource_type=\"{kind}\"}}"));
    assert_eq!(["package", "artifact"].map(bytes), [size(&package), size(&artifact) + size(&large)]);
    assert!(after.get("airlock_hot_memory_bytes") > size(&package));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_download_that_was_cut_what_went_out_is_counted() {
    let (site, .., large) = site();
    let scene = Scene::with(site).await;
    let airlock = Airlock::quiet(&scene.online()).await;
    scene.upstream.fail(&large.to_string(), Body::without_etag(Body::short(500_000)));
    for _ in 0..9 {
        scene.upstream.fail(&large.to_string(), Fault::Status(500, None));
    }
    let before = Samples::scrape(&airlock).await;
    let mut response = airlock.get(&large.to_string()).await;
    let mut got = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        got += chunk.len() as u64;
    }
    let after = Samples::scrape(&airlock).await;
    let sent = after.since(&before, "pkgserver_transmitted_bytes_total");
    assert!(got > 0 && sent >= got && sent < 560_000, "{got} of {sent}");
    assert_eq!(after.since(&before, "airlock_flights_total{outcome=\"upstream-error\"}"), 1);
    assert_eq!(after.get("pkgserver_http_requests_inprogress"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_seen_and_goes_away() {
    let (site, .., large) = site();
    let scene = Scene::with(site).await;
    let airlock = Airlock::quiet(&scene.online()).await;
    let gate = Gate::new();
    scene.upstream.fail(&large.to_string(), Body::gated(500_000, &gate));
    let mut response = airlock.get(&large.to_string()).await;
    response.chunk().await.unwrap().unwrap();
    let during = Samples::scrape(&airlock).await;
    assert_eq!((during.get("airlock_flights_running"), during.get("pkgserver_http_requests_inprogress")), (1, 2));
    assert_eq!(during.get("airlock_http_connections"), 2);
    // A client that leaves ends its request, not the flight.
    drop(response);
    let gone = async {
        while Samples::scrape(&airlock).await.get("pkgserver_http_requests_inprogress") > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, gone).await.unwrap();
    gate.open();
    airlock.mirror.fetch(&large, airlock::mirror::Patience::prewarm(1)).await.unwrap();
    let after = Samples::scrape(&airlock).await;
    assert_eq!(after.get("airlock_flights_total{outcome=\"fetched\"}"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_registries_and_the_view_are_seen() {
    let scene = Scene::new().await;
    let airlock = Airlock::quiet(&scene.configured("[view]\nshow = 'available'")).await;
    let name = scene.upstream.url();
    let (up, cooling) =
        (format!("airlock_source_up{{source=\"{name}\"}}"), format!("airlock_source_cooling{{source=\"{name}\"}}"));
    let samples = Samples::scrape(&airlock).await;
    assert_eq!((samples.get(&up), samples.get(&cooling), samples.get("airlock_offline")), (1, 0, 0));
    let listing = format!("airlock_source_last_listing_timestamp_seconds{{source=\"{name}\"}}");
    assert!(!samples.series().any(|series| series == listing), "it was never asked");
    assert_eq!(airlock.mirror.refresh_registries(crate::registries::PATIENCE).await, []);
    airlock.mirror.rescan().await;
    let samples = Samples::scrape(&airlock).await;
    let now = jiff::Timestamp::now().as_second().unsigned_abs();
    let times = [
        listing,
        format!("airlock_source_last_success_timestamp_seconds{{source=\"{name}\"}}"),
        "airlock_registry_published_timestamp_seconds{registry=\"General\"}".to_owned(),
        "airlock_registry_derived_timestamp_seconds{registry=\"General\"}".to_owned(),
        "process_start_time_seconds".to_owned(),
    ];
    for time in times {
        assert!(now.abs_diff(samples.get(&time)) < 3600, "{time}");
    }
    assert_eq!(samples.get("airlock_registry_listed_versions{registry=\"General\"}"), 0);
    assert!(samples.get("pkgserver_registry_updates_total") >= 1);
    assert_eq!((samples.get("airlock_misses_distinct"), samples.get("airlock_wishes_open")), (0, 0));

    for _ in 0..9 {
        for flavor in airlock::protocol::Flavor::ALL {
            scene.upstream.fail(&format!("/{}", flavor.file_name()), Fault::Drop);
        }
    }
    drop(scene.upstream);
    airlock.mirror.store().add_wishes(&["Nothing".parse().unwrap()]).unwrap();
    for _ in 0..6 {
        airlock.mirror.refresh_registries(airlock::mirror::Patience::prewarm(1)).await;
    }
    let absent = Resource::Artifact { tree: TreeHash::EMPTY }.to_string();
    airlock.get(&absent).await;
    airlock.get("/meta/misses").await;
    airlock.mirror.rescan().await;
    let samples = Samples::scrape(&airlock).await;
    assert_eq!((samples.get(&up), samples.get(&cooling)), (0, 1));
    assert_eq!((samples.get("airlock_misses_distinct"), samples.get("airlock_wishes_open")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_counted_where_it_is_found() {
    let (site, package, ..) = site();
    let scene = Scene::with(site).await;
    let airlock = Airlock::quiet(&scene.online()).await;
    let path = scene.cache().join(package.relative_path());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "damaged").unwrap();
    airlock.mirror.rescan().await;
    let samples = Samples::scrape(&airlock).await;
    assert_eq!((samples.get("airlock_damaged_files_total"), samples.get("airlock_quarantine_files")), (1, 1));
    assert_eq!(samples.get("airlock_verifications_pending"), 0);
    let files = |samples: &Samples| samples.get("pkgserver_cached_resource_files{resource_type=\"package\"}");
    // The upstream is asked for a good one at once.
    assert_eq!(files(&samples), 1);
    airlock.mirror.rescan().await;
    assert_eq!(files(&Samples::scrape(&airlock).await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_word_of_a_client_gets_into_a_label() {
    let scene = Scene::new().await;
    let airlock = Airlock::quiet(&scene.online()).await;
    let headers =
        [("julia-version", "canary"), ("x-request-id", "canary"), ("user-agent", "canary"), ("host", "canary")];
    for path in ["/canary", "/package/canary/canary", "/meta/canary?canary", "/registries.canary"] {
        airlock.request(Method::GET, path, &headers).await;
    }
    let mut raw = tokio::net::TcpStream::connect(airlock.address).await.unwrap();
    raw.write_all(b"CANARY /canary HTTP/1.1\r\nHost: canary\r\nConnection: close\r\n\r\n").await.unwrap();
    raw.read_to_end(&mut Vec::new()).await.unwrap();
    let text = airlock.get("/metrics").await.text().await.unwrap();
    assert!(!text.to_lowercase().contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_wrong() {
    let scene = Scene::new().await;
    let airlock = Airlock::quiet(&scene.online()).await;
    airlock.mirror.refresh_registries(crate::registries::PATIENCE).await;
    airlock.mirror.rescan().await;
    let text = airlock.get("/metrics").await.text().await.unwrap();
    super::alerts::promtool(&["check", "metrics"], &text);
}
