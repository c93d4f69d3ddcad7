//! Nobody waits in silence: every request has an answer within the bound, and the answer is true.

use crate::flights::big_site;
use crate::support::{Airlock, LONG, Scene, config};
use airlock::mirror::{Ask, Patience, Refusal};
use airlock::protocol::{Flavor, GENERAL, Kind, RegistryTree, Resource};
use airlock::sample::{Body, Fault, SampleUpstream, Site, Then};
use airlock::tree::TarEntry;
use reqwest::Method;

fn package() -> Resource {
    Site::sample().unwrap().resources().find(|resource| resource.kind() == Kind::Package).unwrap()
}

/// An upstream may be silent for as long as it likes; no client waits for that.
const SILENT: &str = "[mirror]\nfirst-byte-timeout = '2m'\nidle-timeout = '2m'\nsilence = '400ms'\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_sends_a_head_and_no_body_keeps_nobody_waiting() {
    let scene = Scene::new().await;
    let path = package().to_string();
    scene.upstream.fail(&path, Body::stall(0));
    let airlock = Airlock::quiet(&scene.configured(SILENT)).await;
    assert_eq!(airlock.get(&path).await.status(), 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_patient_flight_is_not_made_to_share_its_patience() {
    let scene = Scene::new().await;
    let package = package();
    scene.upstream.fail(&package.to_string(), Fault::Silence);
    let airlock = Airlock::quiet(&scene.configured(SILENT)).await;
    let mirror = std::sync::Arc::clone(&airlock.mirror);
    let prewarm = tokio::spawn(async move { mirror.fetch(&package, Patience::prewarm(5)).await });
    while scene.upstream.gets(&package.to_string()) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(airlock.get(&package.to_string()).await.status(), 504);
    let head = airlock.request(Method::HEAD, &package.to_string(), &[]).await;
    assert_eq!(head.status(), 504, "nobody knows whether it exists");
    assert!(!prewarm.is_finished());
    prewarm.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_does_not_make_up_a_length() {
    let (site, large) = big_site(1 << 20);
    let scene = Scene::with(site).await;
    let half = Body { chunked: true, after: 500_000, then: Then::Stall, ..Body::default() };
    scene.upstream.fail(&large.to_string(), Fault::Send(half));
    let airlock = Airlock::quiet(&scene.online()).await;
    let head = airlock.request(Method::HEAD, &large.to_string(), &[]).await;
    assert_eq!((head.status().as_u16(), head.headers().get("content-length")), (200, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_change_has_no_length_of_its_own() {
    let scene = Scene::new().await;
    let package = package();
    let airlock = Airlock::quiet(&scene.online()).await;
    assert_eq!(airlock.get(&package.to_string()).await.status(), 200);
    let etag = format!("\"{}\"", package.tree());
    let same = airlock.request(Method::GET, &package.to_string(), &[("if-none-match", &etag)]).await;
    assert_eq!(same.status(), 304);
    assert_eq!(same.headers()["etag"], etag);
    assert!(same.headers().contains_key("cache-control"));
    // RFC 9110, 8.6: it would have to be the length of the body that was not sent.
    assert_eq!(same.headers().get("content-length"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_file_that_cannot_be_made_is_a_miss_and_nobody_waits_for_it() {
    let scene = Scene::new().await;
    let airlock = Airlock::quiet(&scene.configured(SILENT)).await;
    let absent = Resource::Artifact { tree: airlock::protocol::TreeHash::EMPTY };
    assert_eq!(airlock.get(&format!("{absent}/Name")).await.status(), 404);
    let misses = airlock.mirror.all_misses().await.unwrap();
    assert_eq!(misses.iter().map(|miss| miss.resource).collect::<Vec<_>>(), [absent]);
    let silent = Site::sample().unwrap().resources().find(|resource| resource.kind() == Kind::Artifact).unwrap();
    scene.upstream.fail(&silent.to_string(), Body::stall(10));
    assert_eq!(airlock.get(&format!("{silent}/Name")).await.status(), 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_listing_is_given_when_it_is_there_and_not_when_all_are() {
    let mut site = Site::empty();
    let toml = format!("name = \"General\"\nuuid = \"{GENERAL}\"\nrepo = \"\"\n[packages]\n");
    let added = site.add_registry(GENERAL, [TarEntry::file("Registry.toml", toml, false)]).unwrap();
    let listed = RegistryTree { uuid: GENERAL, tree: added.tree() };
    let scene = Scene::with(site).await;
    scene.upstream.fail(&format!("/{}", Flavor::Eager.file_name()), Fault::Silence);
    let airlock = Airlock::quiet(&scene.configured("[mirror]\nfirst-byte-timeout = '2m'\n")).await;
    let mirror = std::sync::Arc::clone(&airlock.mirror);
    let waiting = tokio::spawn(async move { mirror.listing(&[Flavor::Conservative, Flavor::Plain], None).await });
    let mirror = std::sync::Arc::clone(&airlock.mirror);
    let refresh = tokio::spawn(async move { mirror.refresh_registries(Patience::prewarm(1)).await });
    while airlock.mirror.store().listing(Flavor::Plain).unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    // Well below the bound of the wait, 10 s: it must be woken.
    let answer = tokio::time::timeout(LONG / 12, waiting).await.unwrap().unwrap().unwrap();
    let airlock::mirror::ListingAnswer::Listing(listing) = answer else { panic!("{answer:?}") };
    assert_eq!(listing.tree(GENERAL), Some(listed.tree));
    refresh.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_upstream_failed_half_way_the_next_one_serves_whoever_comes_then() {
    let (site, large) = big_site(1 << 20);
    let (scene, second) = (Scene::with(site.clone()).await, SampleUpstream::start(site).await.unwrap());
    let path = large.to_string();
    scene.upstream.fail(&path, Body::without_etag(Body::short(300_000)));
    second.fail(&path, Fault::Silence);
    let upstreams = [scene.upstream.url(), second.url()];
    let bounds = "[mirror]\nfirst-byte-timeout = '1s'\nsilence = '14s'\n";
    let airlock = Airlock::quiet(&config(&scene.cache(), &upstreams, bounds)).await;
    let mirror = std::sync::Arc::clone(&airlock.mirror);
    let prewarm = tokio::spawn(async move { mirror.fetch(&large, Patience::prewarm(3)).await });
    while second.gets(&path) == 0 {
        tokio::task::yield_now().await;
    }
    let found = airlock.mirror.get(&large, &Ask::default()).await;
    assert!(found.is_ok(), "{:?}", found.err().map(|refusal: Refusal| refusal.to_string()));
    let body = airlock.get(&path).await.bytes().await.unwrap();
    assert!(body == second.body(&path).unwrap());
    prewarm.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_not_blamed_for_the_time_that_others_took() {
    let (scene, healthy) = (Scene::new().await, SampleUpstream::start(Site::sample().unwrap()).await.unwrap());
    let package = package();
    scene.upstream.fail(&package.to_string(), Fault::Silence);
    healthy.set_latency(LONG);
    let upstreams = [scene.upstream.url(), healthy.url()];
    let bounds = "[mirror]\nfirst-byte-timeout = '700ms'\nsilence = '1s'\n";
    let airlock = Airlock::quiet(&config(&scene.cache(), &upstreams, bounds)).await;
    let bounds = config(&scene.cache(), &upstreams, bounds).mirror;
    let fetched = airlock.mirror.fetch(&package, Patience::client(&bounds)).await;
    assert!(matches!(fetched, Err(Refusal::Slow(_))), "{fetched:?}");
    let blamed: Vec<_> = airlock.mirror.sources().into_iter().map(|(_, health)| health.unreachable).collect();
    assert_eq!(blamed, [1, 0]);
}
