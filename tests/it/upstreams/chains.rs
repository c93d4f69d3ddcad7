//! Airlocks in a row: outside, DMZ, inside, each the upstream of the next.

use super::packages;
use crate::support::{Airlock, LONG, Scene, config};
use airlock::mirror::Patience;
use airlock::protocol::{Flavor, GENERAL, Kind, Resource, TreeHash};
use airlock::sample::{Fault, Site};
use std::path::Path;
use std::time::{Duration, Instant};

/// The sample upstream and three airlocks behind it, the last one furthest inside.
struct Chain {
    scene: Scene,
    hops: Vec<Airlock>,
}

impl Chain {
    async fn new(bounds: &str) -> Self {
        let scene = Scene::new().await;
        let (mut upstream, mut hops) = (scene.upstream.url(), Vec::new());
        for name in ["outside", "dmz", "inside"] {
            let hop = Airlock::quiet(&hop(&scene.folder.path().join(name), &upstream, bounds)).await;
            upstream = hop.url("");
            hops.push(hop);
        }
        Self { scene, hops }
    }

    fn inside(&self) -> &Airlock {
        &self.hops[2]
    }

    /// Whether each hop has it.
    fn has(&self, resource: &Resource) -> Vec<bool> {
        self.hops.iter().map(|hop| hop.mirror.store().root().join(resource.relative_path()).exists()).collect()
    }
}

fn hop(cache: &Path, upstream: &str, bounds: &str) -> airlock::config::Config {
    config(cache, &[], &format!("[[upstream]]\nurl = '{upstream}'\npublic = false\n{bounds}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_flow_down_and_what_is_asked_for_comes_through_every_hop() {
    let chain = Chain::new("").await;
    for hop in &chain.hops {
        assert_eq!(hop.mirror.refresh_registries(Patience::prewarm(1)).await, []);
    }
    let listed = chain.inside().mirror.store().listing(Flavor::Eager).unwrap().unwrap().tree(GENERAL).unwrap();
    let registry = Resource::Registry { uuid: GENERAL, tree: listed };
    let site = Site::sample().unwrap();
    let artifact = site.resources().find(|resource| resource.kind() == Kind::Artifact).unwrap();
    for resource in [registry, packages()[0], artifact] {
        let body = chain.inside().get(&resource.to_string()).await.bytes().await.unwrap();
        assert!(Some(&body) == site.body(&resource.to_string()));
        assert_eq!(chain.has(&resource), [true; 3]);
    }
    assert_eq!(chain.scene.upstream.gets(&packages()[0].to_string()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_is_refused_at_the_bottom_at_once() {
    let chain = Chain::new("").await;
    let absent = Resource::Artifact { tree: TreeHash::EMPTY };
    let begun = Instant::now();
    assert_eq!(chain.inside().get(&absent.to_string()).await.status(), 404);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    for hop in &chain.hops {
        let misses = hop.mirror.all_misses().await.unwrap();
        assert_eq!(misses.iter().map(|miss| miss.resource).collect::<Vec<_>>(), [absent]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_body_gets_past_no_hop() {
    let chain = Chain::new("").await;
    let [first, second, ..] = packages()[..] else { panic!("the sample is too small") };
    let wrong = chain.scene.upstream.body(&second.to_string()).unwrap().to_vec();
    for _ in 0..9 {
        chain.scene.upstream.fail(&first.to_string(), Fault::Replace(wrong.clone()));
    }
    assert_eq!(chain.inside().get(&first.to_string()).await.status(), 502);
    assert_eq!(chain.has(&first), [false; 3]);
    // The same from a hop in the middle, whose own copy has gone bad since it looked at it.
    let cache = chain.scene.folder.path().join("last");
    let tampered = Scene::new().await;
    tampered.upstream.put(&first.to_string(), wrong);
    let last = Airlock::quiet(&hop(&cache, &tampered.upstream.url(), "")).await;
    let behind = Airlock::quiet(&hop(&chain.scene.folder.path().join("behind"), &last.url(""), "")).await;
    assert_eq!(behind.get(&first.to_string()).await.status(), 502);
    assert!(!cache.join(first.relative_path()).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_middle_harms_nothing_that_is_here() {
    let mut chain = Chain::new("").await;
    let [here, absent, ..] = packages()[..] else { panic!("the sample is too small") };
    assert_eq!(chain.inside().get(&here.to_string()).await.status(), 200);
    chain.hops.remove(1).stop().await;
    let inside = &chain.hops[1];
    assert_eq!(inside.get(&here.to_string()).await.status(), 200);
    let begun = Instant::now();
    let refused = inside.get(&absent.to_string()).await;
    assert_eq!(refused.status(), 502, "not 404: nobody said that it does not exist");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_top_is_told_at_the_bottom_in_time_and_blamed_on_no_hop() {
    // Equal bounds everywhere, so that without its wait each hop would give up on the one above
    // just before that one answers.
    let chain = Chain::new("first-byte-timeout = '4s'\n[mirror]\nsilence = '5s'\n").await;
    let package = packages()[0].to_string();
    for _ in 0..9 {
        chain.scene.upstream.fail(&package, Fault::Silence);
    }
    let begun = Instant::now();
    let answer = tokio::time::timeout(LONG, chain.inside().get(&package)).await.unwrap();
    // The hop above said so, or this one's own time ended while it asked again.
    assert!([502, 504].contains(&answer.status().as_u16()), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let blamed: Vec<_> = chain.hops.iter().map(|hop| hop.mirror.sources()[0].1.unreachable).collect();
    assert_eq!(blamed[1..], [0, 0], "they answered: {blamed:?}");
}
