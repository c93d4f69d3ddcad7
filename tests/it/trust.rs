//! What a verification may be trusted for: this file, with these bytes, and no other.

use crate::flights::big_site;
use crate::support::{Airlock, LONG, Scene, mirror};
use airlock::mirror::Patience;
use airlock::protocol::{Kind, Resource};
use airlock::sample::Site;
use airlock::store::{Lookup, Stamp};
use airlock::tree::{TarEntry, write_tar_gz};
use fs_err as fs;
use std::path::{Path, PathBuf};

fn lay(cache: &Path, resource: &Resource, bytes: &[u8]) -> PathBuf {
    let file = cache.join(resource.relative_path());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, bytes).unwrap();
    file
}

fn of_kind(site: &Site, kind: Kind) -> Resource {
    site.resources().find(|resource| resource.kind() == kind).unwrap()
}

/// The same number of other bytes.
fn damaged(body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_under_the_second_name_is_not_vouched_for_by_the_first() {
    let entries = [TarEntry::file("a", "a", false), TarEntry::directory("empty")];
    let mut body = Vec::new();
    let strict = Resource::Artifact { tree: write_tar_gz(entries.clone(), &mut body, 6).unwrap() };
    let lenient = Resource::Artifact { tree: write_tar_gz(entries.into_iter().take(1), Vec::new(), 6).unwrap() };
    let scene = Scene::new().await;
    scene.upstream.put(&lenient.to_string(), body.clone());
    let airlock = Airlock::quiet(&scene.online()).await;
    lay(&scene.cache(), &strict, b"what some other tool put there");
    assert_eq!(airlock.get(&lenient.to_string()).await.status(), 200);
    assert!(airlock.mirror.store().fact(&strict).unwrap().is_none(), "nobody has verified it");
    let served = airlock.get(&strict.to_string()).await;
    assert_eq!(served.status(), 404, "upstream does not have it under this name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_came_between_is_not_vouched_for_by_what_was_fetched() {
    let scene = Scene::new().await;
    let package = of_kind(&Site::sample().unwrap(), Kind::Package);
    let whole = scene.upstream.body(&package.to_string()).unwrap();
    let store = airlock::store::Store::open(&scene.cache()).unwrap();
    let mut staged = store.stage().unwrap();
    staged.write_all(&whole).unwrap();
    lay(&scene.cache(), &package, &damaged(&whole));
    store.publish(staged, &package, package.tree(), &[]).unwrap();
    assert!(!matches!(store.look_up(&package).unwrap(), Lookup::Verified(..)), "what lies there is another file");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_written_over_a_verified_file_are_noticed_whatever_its_time_says() {
    let (site, large) = big_site(1 << 20);
    let scene = Scene::with(site).await;
    mirror(&scene.online()).fetch(&large, Patience::prewarm(1)).await.unwrap();
    let file = scene.cache().join(large.relative_path());
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let inode = Stamp::of(&fs::metadata(&file).unwrap()).inode;
    // As `cp -p` from a medium that lost a bit does: in place, the same size, the time put back.
    fs::write(&file, damaged(&fs::read(&file).unwrap())).unwrap();
    fs::File::options().write(true).open(&file).unwrap().file().set_modified(time).unwrap();
    assert_eq!(Stamp::of(&fs::metadata(&file).unwrap()).inode, inode);
    let airlock = Airlock::quiet(&scene.offline()).await;
    let output = crate::support::curl(&["--fail", &airlock.url(&large.to_string())]).await;
    assert!(!output.status.success(), "it completed wrong bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_after_damage_was_found_gets_none_of_it() {
    let (site, large) = big_site(1 << 20);
    let scene = Scene::with(site).await;
    let path = large.to_string();
    let whole = scene.upstream.body(&path).unwrap();
    let airlock = Airlock::quiet(&scene.online()).await;
    lay(&scene.cache(), &large, &damaged(&whole));
    // Another process fetches the same, so the flight has to wait once it knows of the damage.
    let other = airlock::store::Store::open(&scene.cache()).unwrap();
    let lock = other.try_lock(&large).unwrap().unwrap();
    let mirror = std::sync::Arc::clone(&airlock.mirror);
    let flight = tokio::spawn(async move { mirror.fetch(&large, Patience::prewarm(1)).await });
    while airlock.mirror.store().has(&large) {
        tokio::task::yield_now().await;
    }
    let url = airlock.url(&path);
    let mut client = tokio::spawn(async move { reqwest::get(url).await.unwrap() });
    // It must not be answered before there is something good; so much time is enough to do it wrong.
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), &mut client).await;
    let mut staged = other.stage().unwrap();
    staged.write_all(&whole).unwrap();
    other.publish(staged, &large, large.tree(), &[]).unwrap();
    drop(lock);
    flight.await.unwrap().unwrap();
    assert!(early.is_err(), "it was given bytes of the damaged file");
    let response = tokio::time::timeout(LONG, client).await.unwrap().unwrap();
    assert!(response.bytes().await.unwrap() == whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_file_that_took_the_place_of_a_damaged_one_is_not_set_aside() {
    let scene = Scene::new().await;
    let package = of_kind(&Site::sample().unwrap(), Kind::Package);
    let whole = scene.upstream.body(&package.to_string()).unwrap();
    let store = airlock::store::Store::open(&scene.cache()).unwrap();
    let file = lay(&scene.cache(), &package, b"damaged");
    let Lookup::Unverified(open) = store.look_up(&package).unwrap() else { panic!("nobody verified it") };
    // As rsync does, while the damaged one is being hashed.
    let fresh = file.with_file_name(".fresh");
    fs::write(&fresh, &whole).unwrap();
    fs::rename(fresh, &file).unwrap();
    assert_eq!(store.quarantine(&package, open.stamp).unwrap(), None);
    assert_eq!(fs::read(file).unwrap(), whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_nothing_that_is_here_from_being_served() {
    let scene = Scene::new().await;
    let site = Site::sample().unwrap();
    let airlock = Airlock::quiet(&scene.offline()).await;
    for byte in 0..=u8::MAX {
        let facts = scene.cache().join(format!(".airlock/facts/{byte:02x}.jsonl"));
        std::os::unix::fs::symlink("/dev/full", facts).unwrap();
    }
    for resource in site.resources() {
        let body = site.body(&resource.to_string()).unwrap();
        lay(&scene.cache(), &resource, body);
        for _ in 0..2 {
            let response = airlock.get(&resource.to_string()).await;
            assert_eq!(response.status(), 200, "{resource}");
            assert!(response.bytes().await.unwrap() == body, "{resource}");
        }
    }
}
