//! The disk is the truth: files that came another way, other processes, damage, offline misses.

use crate::flights::big_site;
use crate::support::{Airlock, Scene, config, mirror, parts};
use airlock::mirror::Patience;
use airlock::protocol::{Kind, Resource};
use airlock::sample::{Body, Gate, Site};
use airlock::store::Reason;
use airlock::tree::{TarEntry, write_tar_gz};
use fs_err as fs;
use std::path::Path;

/// Writes a site as another tool's storage server leaves it: files only.
fn lay_out(site: &Site, cache: &Path) {
    for resource in site.resources() {
        let file = cache.join(resource.relative_path());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, site.body(&resource.to_string()).unwrap()).unwrap();
    }
    fs::write(cache.join("registries"), site.body("/registries").unwrap()).unwrap();
}

fn of_kind(site: &Site, kind: Kind) -> Resource {
    site.resources().find(|resource| resource.kind() == kind).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_filled_by_another_tool_is_adopted_in_place() {
    let (site, folder) = (Site::sample().unwrap(), tempfile::tempdir().unwrap());
    lay_out(&site, folder.path());
    let airlock = Airlock::quiet(&config(folder.path(), &[], "")).await;
    assert_eq!(airlock.get("/registries").await.text().await.unwrap().as_bytes(), site.body("/registries").unwrap());
    for resource in site.resources() {
        let body = airlock.get(&resource.to_string()).await.bytes().await.unwrap();
        assert!(body == site.body(&resource.to_string()).unwrap(), "{resource}");
        assert!(airlock.mirror.store().fact(&resource).unwrap().is_some(), "{resource} was not verified");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_what_its_name_says_is_never_completed_and_set_aside() {
    let (site, large) = big_site(1 << 20);
    let folder = tempfile::tempdir().unwrap();
    lay_out(&site, folder.path());
    let small = of_kind(&site, Kind::Package);
    for resource in [small, large] {
        let file = folder.path().join(resource.relative_path());
        let mut body = fs::read(&file).unwrap();
        let middle = body.len() / 2;
        body[middle] ^= 1;
        fs::write(&file, body).unwrap();
    }
    let airlock = Airlock::quiet(&config(folder.path(), &[], "")).await;
    for resource in [small, large] {
        let output = crate::support::curl(&["--fail", &airlock.url(&resource.to_string())]).await;
        assert!(!output.status.success(), "{resource}");
        assert!(!airlock.mirror.store().has(&resource));
        assert_eq!(airlock.get(&resource.to_string()).await.status(), 404);
    }
    assert_eq!(fs::read_dir(folder.path().join(".airlock/quarantine")).unwrap().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn online_a_damaged_file_is_fetched_again() {
    let scene = Scene::new().await;
    let site = Site::sample().unwrap();
    let package = of_kind(&site, Kind::Package);
    lay_out(&site, &scene.cache());
    fs::write(scene.cache().join(package.relative_path()), "damaged").unwrap();
    let airlock = Airlock::quiet(&scene.online()).await;
    let body = airlock.get(&package.to_string()).await.bytes().await.unwrap();
    assert!(body == site.body(&package.to_string()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_after_it_was_verified_is_verified_again() {
    let scene = Scene::new().await;
    let (_, large) = big_site(1 << 20);
    let (site, _) = big_site(1 << 20);
    lay_out(&site, &scene.cache());
    let airlock = Airlock::quiet(&scene.offline()).await;
    assert_eq!(
        airlock.get(&large.to_string()).await.bytes().await.unwrap().len(),
        site.body(&large.to_string()).unwrap().len()
    );
    fs::write(scene.cache().join(large.relative_path()), "something else").unwrap();
    assert_eq!(airlock.get(&large.to_string()).await.status(), 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_our_own_state_loses_no_content() {
    let scene = Scene::new().await;
    let site = Site::sample().unwrap();
    let warm = mirror(&scene.online());
    for resource in site.resources() {
        warm.fetch(&resource, Patience::prewarm(1)).await.unwrap();
    }
    warm.refresh_registries(Patience::prewarm(1)).await;
    drop(warm);
    fs::remove_dir_all(scene.cache().join(".airlock")).unwrap();
    let airlock = Airlock::quiet(&scene.offline()).await;
    assert_eq!(airlock.get("/registries").await.status(), 200);
    for resource in site.resources() {
        assert_eq!(airlock.get(&resource.to_string()).await.status(), 200, "{resource}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescan_finds_what_rsync_brought_and_sets_damage_aside() {
    let (site, folder) = (Site::sample().unwrap(), tempfile::tempdir().unwrap());
    let mirror = mirror(&config(folder.path(), &[], ""));
    let count = site.resources().count();
    lay_out(&site, folder.path());
    let package = folder.path().join(of_kind(&site, Kind::Package).relative_path());
    fs::write(&package, "damaged").unwrap();
    fs::write(package.with_file_name(".rsync.XyZ"), "half of a file").unwrap();
    assert_eq!(mirror.rescan().await, (count - 1, 1));
    assert_eq!(mirror.rescan().await, (0, 0), "nothing is verified twice");
    assert!(!package.exists() && package.with_file_name(".rsync.XyZ").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_cache_fetch_a_resource_once() {
    let (site, large) = big_site(1 << 20);
    let scene = Scene::with(site).await;
    let (path, gate) = (large.to_string(), Gate::new());
    scene.upstream.fail(&path, Body::gated(100_000, &gate));
    // Two stores on one directory share nothing in memory, as two processes do.
    let first = mirror(&scene.online());
    let second = mirror(&scene.online());
    let fetch = |mirror: std::sync::Arc<airlock::mirror::Mirror>| async move {
        mirror.fetch(&large, Patience::prewarm(1)).await.unwrap()
    };
    let first = tokio::spawn(fetch(first));
    while scene.upstream.gets(&path) == 0 {
        tokio::task::yield_now().await;
    }
    let second = tokio::spawn(fetch(second));
    gate.open();
    let bytes = first.await.unwrap().0;
    assert_eq!(second.await.unwrap().0, bytes);
    assert_eq!(scene.upstream.gets(&path), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_verified_is_not_verified_again() {
    let scene = Scene::new().await;
    let package = of_kind(&Site::sample().unwrap(), Kind::Package);
    let (serving, _) = parts(&scene.offline());
    mirror(&scene.online()).fetch(&package, Patience::prewarm(1)).await.unwrap();
    assert!(serving.fact(&package).unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_an_error_and_no_miss() {
    let scene = Scene::new().await;
    let package = of_kind(&Site::sample().unwrap(), Kind::Package);
    let file = scene.cache().join(package.relative_path());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    // A link to itself cannot be opened, whoever asks.
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let airlock = Airlock::quiet(&scene.offline()).await;
    assert_eq!(airlock.get(&package.to_string()).await.status(), 500);
    assert!(airlock.mirror.all_misses().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_keeps_nobody_waiting() {
    let scene = Scene::new().await;
    let site = Site::sample().unwrap();
    let paths: Vec<_> = site.resources().take(2).map(|resource| resource.relative_path()).collect();
    for path in &paths {
        fs::create_dir_all(scene.cache().join(path).parent().unwrap()).unwrap();
    }
    let pipe = scene.cache().join(&paths[0]);
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    fs::create_dir(scene.cache().join(&paths[1])).unwrap();
    let airlock = Airlock::quiet(&scene.offline()).await;
    for path in &paths {
        assert_eq!(airlock.get(&format!("/{path}")).await.status(), 404, "{path}");
    }
    assert_eq!(airlock.mirror.rescan().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_a_miss_is_refused_by_name_and_written_down() {
    let scene = Scene::new().await;
    let warm = mirror(&scene.online());
    warm.refresh_registries(Patience::prewarm(1)).await;
    let index = warm.registries().remove(0);
    let (uuid, _) = index.packages().find(|(_, name)| *name == "Faraway").unwrap();
    let tree = index.lookup(uuid, "1.0.0").unwrap();
    let airlock = Airlock::quiet(&scene.offline()).await;
    airlock.mirror.load_names().await;
    let asked = scene.upstream.requests().len();
    let path = Resource::Package { uuid, tree }.to_string();
    for _ in 0..3 {
        let headers = [("julia-version", "1.10.2"), ("julia-system", "x86_64-linux-gnu-libgfortran5")];
        let response = airlock.request(reqwest::Method::GET, &path, &headers).await;
        assert_eq!(response.status(), 404);
        let line = response.text().await.unwrap();
        assert!(
            line.starts_with("Faraway 1.0.0 (/package/") && line.ends_with('\n') && line.lines().count() == 1,
            "{line}"
        );
    }
    let misses = airlock.mirror.all_misses().await.unwrap();
    let [miss] = misses.as_slice() else { panic!("{misses:?}") };
    assert_eq!((miss.name.as_deref(), miss.version.as_deref(), miss.count), (Some("Faraway"), Some("1.0.0"), 3));
    assert_eq!((miss.reason, miss.client.julia.as_deref()), (Reason::Offline, Some("1.10.2")));
    assert_eq!(scene.upstream.requests().len(), asked, "offline asks nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_named_by_its_lenient_hash_is_published_under_both() {
    let entries = [TarEntry::file("a", "a", false), TarEntry::directory("empty")];
    let mut body = Vec::new();
    let strict = Resource::Artifact { tree: write_tar_gz(entries.clone(), &mut body, 6).unwrap() };
    let lenient = Resource::Artifact { tree: write_tar_gz(entries.into_iter().take(1), Vec::new(), 6).unwrap() };
    assert_ne!(strict, lenient);
    let scene = Scene::new().await;
    scene.upstream.put(&lenient.to_string(), body.clone());
    let airlock = Airlock::quiet(&scene.online()).await;
    for resource in [lenient, strict] {
        assert!(airlock.get(&resource.to_string()).await.bytes().await.unwrap() == body, "{resource}");
    }
    assert_eq!(scene.upstream.gets(&strict.to_string()), 0);
}
