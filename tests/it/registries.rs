//! Registries: flavors, only forward, from disk whatever the upstream does.

use crate::support::{Airlock, Scene, config, mirror};
use airlock::mirror::Patience;
use airlock::protocol::{Flavor, GENERAL, Listing, RegistryTree, Resource};
use airlock::sample::{Fault, SampleUpstream, Site};
use airlock::tree::TarEntry;
use reqwest::Method;

pub(crate) const PATIENCE: Patience = Patience::prewarm(1);

/// Another state of the registry "General".
fn registry(site: &mut Site, text: &str) -> RegistryTree {
    let toml = format!("name = \"General\"\nuuid = \"{GENERAL}\"\nrepo = \"{text}\"\n[packages]\n");
    let added = site.add_registry(GENERAL, [TarEntry::file("Registry.toml", toml, false)]).unwrap();
    RegistryTree { uuid: GENERAL, tree: added.tree() }
}

pub(crate) fn list(upstream: &SampleUpstream, flavor: Flavor, registry: RegistryTree) {
    let listing: Listing = [registry].into_iter().collect();
    upstream.put(&format!("/{}", flavor.file_name()), listing.to_string());
}

/// An upstream with three states of one registry, none listed.
pub(crate) async fn three() -> (Scene, [RegistryTree; 3]) {
    let mut site = Site::empty();
    let states = ["one", "two", "three"].map(|text| registry(&mut site, text));
    let scene = Scene::with(site).await;
    for flavor in Flavor::ALL {
        scene.upstream.remove(&format!("/{}", flavor.file_name()));
    }
    (scene, states)
}

pub(crate) fn published(store: &airlock::store::Store, flavor: Flavor) -> Option<airlock::protocol::TreeHash> {
    store.listing(flavor).unwrap()?.tree(GENERAL)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_waits_for_the_first_listing() {
    let scene = Scene::new().await;
    let airlock = Airlock::start(&scene.online()).await;
    let response = airlock.get("/registries").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"text/plain".parse().unwrap())
    );
    let text = response.text().await.unwrap();
    assert_eq!(text, String::from_utf8(scene.upstream.body("/registries").unwrap().to_vec()).unwrap());
    assert_eq!(airlock.get(text.trim_end()).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flavor_is_chosen_as_pkgserver_does() {
    let (scene, [old, new, _]) = three().await;
    list(&scene.upstream, Flavor::Conservative, old);
    list(&scene.upstream, Flavor::Eager, new);
    let airlock = Airlock::quiet(&scene.online()).await;
    assert_eq!(airlock.mirror.refresh_registries(PATIENCE).await, []);
    for (path, headers, expected) in [
        ("/registries", vec![], old),
        ("/registries", vec![("julia-registry-preference", "eager")], new),
        ("/registries", vec![("julia-registry-preference", "conservative"), ("julia-ci-variables", "CI=t")], old),
        ("/registries", vec![("julia-ci-variables", "APPVEYOR=n;CI=t;TF_BUILD=n")], new),
        ("/registries", vec![("julia-ci-variables", "APPVEYOR=n;CI=f")], old),
        ("/registries.eager", vec![], new),
        ("/registries.conservative", vec![], old),
    ] {
        let response = airlock.request(Method::GET, path, &headers).await;
        assert_eq!(response.status(), 200, "{path} {headers:?}: no redirect");
        assert_eq!(response.text().await.unwrap(), format!("{}\n", Resource::from(expected)), "{path} {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_flavors_upstream_there_are_none_here() {
    let (scene, [only, ..]) = three().await;
    list(&scene.upstream, Flavor::Plain, only);
    let airlock = Airlock::quiet(&scene.online()).await;
    airlock.mirror.refresh_registries(PATIENCE).await;
    assert_eq!(airlock.request(Method::GET, "/registries", &[("julia-ci-variables", "CI=t")]).await.status(), 200);
    assert_eq!(airlock.get("/registries.eager").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_go_only_forward_and_a_tarball_comes_before_its_listing() {
    let (scene, [one, two, three]) = three().await;
    let mirror = mirror(&scene.online());
    for (listed, expected) in [(one, one), (two, two), (one, two), (three, three), (two, three), (one, three)] {
        list(&scene.upstream, Flavor::Eager, listed);
        mirror.refresh_registries(PATIENCE).await;
        assert_eq!(published(mirror.store(), Flavor::Eager), Some(expected.tree));
    }
    assert_eq!(mirror.store().generations().unwrap().len(), 3);

    let missing = RegistryTree { uuid: GENERAL, tree: airlock::protocol::TreeHash::EMPTY };
    list(&scene.upstream, Flavor::Eager, missing);
    assert_eq!(mirror.refresh_registries(PATIENCE).await.len(), 1);
    assert_eq!(published(mirror.store(), Flavor::Eager), Some(three.tree));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_upstream_stops_listing_stays() {
    let scene = Scene::new().await;
    let mirror = mirror(&scene.online());
    mirror.refresh_registries(PATIENCE).await;
    let before = published(mirror.store(), Flavor::Eager);
    for gone in
        ["/registry/00000000-0000-0000-0000-000000000000/4b825dc642cb6eb9a060e54bf8d69288fbee4904\n", "", "<html>"]
    {
        scene.upstream.put("/registries.eager", gone);
        mirror.refresh_registries(PATIENCE).await;
        assert_eq!(published(mirror.store(), Flavor::Eager), before);
    }
    assert!(before.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_named_by_its_lenient_hash_is_refused() {
    let mut site = Site::empty();
    let entries = [TarEntry::file("Registry.toml", "name = \"General\"\n", false), TarEntry::directory("empty")];
    let strict = site.add_registry(GENERAL, entries.clone()).unwrap();
    let lenient = Site::empty().add_registry(GENERAL, entries.into_iter().take(1)).unwrap();
    site.put(&lenient.to_string(), site.body(&strict.to_string()).unwrap().clone());
    let scene = Scene::with(site).await;
    let airlock = Airlock::quiet(&scene.online()).await;
    assert_eq!(airlock.get(&lenient.to_string()).await.status(), 502);
    assert_eq!(airlock.get(&strict.to_string()).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listing_comes_from_disk_when_every_upstream_is_dead() {
    let scene = Scene::new().await;
    mirror(&scene.online()).refresh_registries(PATIENCE).await;
    let dead = ["http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned()];
    let airlock = Airlock::start(&config(&scene.cache(), &dead, "")).await;
    let response = airlock.get("/registries").await;
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_upstream_fills_in_for_the_first() {
    let (scene, [one, two, _]) = three().await;
    let mut site = Site::empty();
    registry(&mut site, "one");
    registry(&mut site, "two");
    let second = SampleUpstream::start(site).await.unwrap();
    list(&scene.upstream, Flavor::Plain, two);
    list(&second, Flavor::Plain, one);
    let mirror = mirror(&config(&scene.cache(), &[scene.upstream.url(), second.url()], ""));
    scene.upstream.fail("/registries", Fault::Status(500, None));
    mirror.refresh_registries(PATIENCE).await;
    assert_eq!(published(mirror.store(), Flavor::Plain), Some(one.tree));
    mirror.refresh_registries(PATIENCE).await;
    assert_eq!(published(mirror.store(), Flavor::Plain), Some(two.tree));
    scene.upstream.fail("/registries", Fault::Drop);
    mirror.refresh_registries(PATIENCE).await;
    assert_eq!(published(mirror.store(), Flavor::Plain), Some(two.tree), "one was seen before two");
}
