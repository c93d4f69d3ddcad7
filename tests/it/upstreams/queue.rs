//! An upstream that may be sent only so many requests at one time: who waits for it, and who does not.

use super::hosts::table;
use super::packages;
use crate::support::{Airlock, Scene, config, mirror};
use airlock::mirror::{Patience, Refusal};
use airlock::sample::{Body, Fault, Gate, SampleUpstream, Site, Then};
use std::sync::Arc;

const ONE: &str = "concurrency = 1\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_upstream_keeps_nobody_from_the_next_one_and_is_come_back_to() {
    let (site, large) = crate::flights::big_site(1 << 20);
    let (busy, next) = (Scene::with(site).await, SampleUpstream::start(Site::sample().unwrap()).await.unwrap());
    let gate = Gate::new();
    busy.upstream.fail(&large.to_string(), Body::gated(1000, &gate));
    let file = table(&busy.upstream.url(), &[]) + ONE + &table(&next.url(), &[]);
    let airlock = Airlock::quiet(&config(&busy.cache(), &[], &file)).await;
    let holder = Arc::clone(&airlock.mirror);
    let download = tokio::spawn(async move { holder.fetch(&large, Patience::prewarm(1)).await });
    while busy.upstream.gets(&large.to_string()) == 0 {
        tokio::task::yield_now().await;
    }
    let [both, one, ..] = packages()[..] else { panic!("the sample is too small") };
    assert_eq!(airlock.get(&both.to_string()).await.status(), 200);
    assert_eq!((busy.upstream.gets(&both.to_string()), next.gets(&both.to_string())), (0, 1));
    // What the next one does not have.
    next.remove(&one.to_string());
    let mirror = Arc::clone(&airlock.mirror);
    let waiting = tokio::spawn(async move { mirror.fetch(&one, Patience::prewarm(1)).await });
    while next.gets(&one.to_string()) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(busy.upstream.gets(&one.to_string()), 0);
    gate.open();
    waiting.await.unwrap().unwrap();
    download.await.unwrap().unwrap();
    assert_eq!(airlock.mirror.sources()[0].1.last_error, None, "it did nothing wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_place_to_go_on_blames_nobody() {
    let (site, large) = crate::flights::big_site(1 << 20);
    let scene = Scene::with(site).await;
    let gate = Gate::new();
    // The body stops, which frees its place, and the next in the line takes that and keeps it.
    let stalled = Body { after: 500_000, then: Then::Stall, ..Body::default() };
    scene.upstream.fail(&large.to_string(), Fault::Send(stalled));
    let package = packages()[0];
    scene.upstream.fail(&package.to_string(), Body::gated(0, &gate));
    let file = table(&scene.upstream.url(), &[]) + ONE + "idle-timeout = '3s'\n[mirror]\nsilence = '1s'\n";
    let config = config(&scene.cache(), &[], &file);
    let mirror = mirror(&config);
    let (one, client) = (Arc::clone(&mirror), Patience::client(&config.mirror));
    let broken = tokio::spawn(async move { one.fetch(&large, client).await });
    while scene.upstream.gets(&large.to_string()) == 0 {
        tokio::task::yield_now().await;
    }
    let other = Arc::clone(&mirror);
    let holder = tokio::spawn(async move { other.fetch(&package, Patience::prewarm(1)).await });
    let refused = broken.await.unwrap();
    assert!(matches!(refused, Err(Refusal::Slow(_))), "{refused:?}");
    let health = mirror.sources()[0].1.clone();
    assert_eq!((health.unreachable, health.last_error), (0, None));
    assert_eq!(scene.upstream.gets(&package.to_string()), 1);
    gate.open();
    // It was silent for long.
    let _ = holder.await.unwrap();
}
