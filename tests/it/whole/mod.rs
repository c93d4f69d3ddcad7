//! What was whole stays whole: rot is found though facts say otherwise, set aside, and brought back;
//! a disk that runs low, a layout of another version and what killed processes left harm nothing.

mod layout;
mod low_disk;
mod repair;
mod scrub;
mod serving;

use crate::support::{Scene, mirror};
use airlock::mirror::Patience;
use airlock::protocol::{Kind, Resource};
use airlock::sample::Site;
use airlock::store::{Fact, Stamp, Store};
use fs_err as fs;
use std::path::Path;

const ONCE: Patience = Patience::prewarm(1);

/// The sample upstream, and a cache that has all of it, verified.
async fn filled() -> Scene {
    filled_with(Site::sample().unwrap()).await
}

async fn filled_with(site: Site) -> Scene {
    let scene = Scene::with(site.clone()).await;
    let mirror = mirror(&scene.online());
    for resource in site.resources() {
        mirror.fetch(&resource, ONCE).await.unwrap();
    }
    assert_eq!(mirror.refresh_registries(ONCE).await, []);
    scene
}

fn of_kind(kind: Kind) -> Resource {
    Site::sample().unwrap().resources().find(|resource| resource.kind() == kind).unwrap()
}

/// Turns a bit of a file in the way of a disk: what was verified of it goes on being believed.
fn rot(cache: &Path, resource: &Resource) {
    rot_at(&Store::open(cache).unwrap(), resource, |length| length / 2);
}

fn rot_at(store: &Store, resource: &Resource, place: impl Fn(usize) -> usize) {
    let (path, fact) = (store.path(resource), store.fact(resource).unwrap().unwrap());
    let mut body = fs::read(&path).unwrap();
    let at = place(body.len());
    body[at] ^= 0x10;
    fs::write(&path, body).unwrap();
    // The one thing that a test cannot do as a disk does is to leave the times alone.
    store.remember(Fact { stamp: Stamp::of(&fs::metadata(&path).unwrap()), ..fact });
    assert!(store.fact(resource).unwrap().is_some());
}

/// Puts something in the place of a file that no disk gives: it opens, and every read of it fails.
fn make_unreadable(cache: &Path, resource: &Resource) {
    let path = cache.join(resource.relative_path());
    fs::remove_file(&path).unwrap();
    fs::os::unix::fs::symlink("/proc/self/mem", &path).unwrap();
}

fn in_quarantine(cache: &Path) -> usize {
    fs::read_dir(cache.join(".airlock/quarantine")).unwrap().count()
}
