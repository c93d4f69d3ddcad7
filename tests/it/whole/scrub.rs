//! The scrub: everything is read again while it serves, at its own pace, and no pass is lost.

use super::{filled, filled_with, in_quarantine, make_unreadable, of_kind, rot};
use crate::binary::{Serving, command};
use crate::support::{Airlock, LONG, Scene, config, mirror};
use airlock::config::Config;
use airlock::mirror::{Mirror, ScrubEnd};
use airlock::protocol::{Kind, Resource};
use airlock::sample::Site;
use airlock::store::{ScrubPass, Store};
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;

async fn through(mirror: &Arc<Mirror>) -> ScrubPass {
    match mirror.scrub().await.unwrap() {
        ScrubEnd::Through(pass) => pass,
        other => panic!("{other:?}"),
    }
}

fn fast(scene: &Scene, online: bool) -> Config {
    let upstreams = if online { vec![scene.upstream.url()] } else { Vec::new() };
    config(&scene.cache(), &upstreams, "[scrub]\nrate = '1GiB'\n[view]\nshow = 'full'")
}

fn all(store: &Store) -> Vec<Resource> {
    let mut all: Vec<_> = Kind::ALL.into_iter().flat_map(|kind| store.resources(kind)).map(Result::unwrap).collect();
    all.sort_unstable();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn rot_that_no_fact_knows_of_is_set_aside_and_fetched_again() {
    let scene = filled().await;
    let online = mirror(&fast(&scene, true));
    let count = all(online.store()).len() as u64;
    let pass = through(&online).await;
    assert_eq!((pass.files, pass.damaged, pass.is_clean()), (count, 0, true));
    for kind in Kind::ALL {
        rot(&scene.cache(), &of_kind(kind));
    }
    let pass = through(&online).await;
    assert_eq!((pass.files, pass.damaged, pass.unreadable, pass.repaired), (count, 3, 0, 3));
    assert!(pass.is_clean() && in_quarantine(&scene.cache()) == 3);
    let status = online.scrub_status();
    assert_eq!((status.files, status.damaged, status.repaired, status.running), (2 * count, 3, 3, false));
    assert_eq!((status.last, status.pass), (Some(pass), None));
    let other = online.succeed(Vec::new(), &fast(&scene, false)).await;
    assert_eq!(other.scrub_status().damaged, 3, "other settings make nothing undone");
    assert_eq!(through(&other).await.damaged, 0);
    let activities = online.store().activities().unwrap();
    assert_eq!(activities.iter().filter(|it| it.what == airlock::store::Action::Scrub).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_what_it_finds_is_a_miss_and_is_served_no_more() {
    let scene = filled().await;
    let airlock = Airlock::quiet(&fast(&scene, false)).await;
    let package = of_kind(Kind::Package);
    rot(&scene.cache(), &package);
    // It is in memory now as it is on disk: damaged, for the fact is believed.
    let path = package.to_string();
    assert_eq!(airlock.get(&path).await.status(), 200);
    assert!(airlock.get(&path).await.bytes().await.unwrap() != *scene.upstream.body(&path).unwrap());
    let pass = through(&airlock.mirror).await;
    assert_eq!((pass.damaged, pass.repaired, pass.is_clean()), (1, 0, false));
    let misses = airlock.mirror.all_misses().await.unwrap();
    assert_eq!(misses.iter().map(|miss| miss.resource).collect::<Vec<_>>(), [package]);
    assert_eq!(airlock.get(&path).await.status(), 404, "neither from the disk nor from memory");
    let meta = airlock.get("/meta").await.bytes().await.unwrap();
    let meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
    assert_eq!((&meta["scrub"]["damaged"], &meta["scrub"]["last"]["damaged"]), (&1.into(), &1.into()), "{meta:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_sets_aside_is_dropped_from_memory() {
    let scene = filled().await;
    let package = of_kind(Kind::Package);
    rot(&scene.cache(), &package);
    let airlock = Airlock::start(&fast(&scene, false)).await;
    assert_eq!(airlock.get(&package.to_string()).await.status(), 200);
    // Nothing but the directory is shared with this one.
    assert_eq!(through(&mirror(&fast(&scene, false))).await.damaged, 1);
    let gone = async {
        while airlock.get(&package.to_string()).await.status() != 404 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, gone).await.unwrap();
    airlock.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_a_pass_it_goes_on_where_it_was() {
    let scene = filled().await;
    let store = Store::open(&scene.cache()).unwrap();
    let all = all(&store);
    rot(&scene.cache(), &all[2]);
    let serve = |fault: Option<&'static str>| {
        let mut serve = command(scene.folder.path());
        serve.args(["serve", "--view", "full", "--listen", "127.0.0.1:0", "--upstream", &scene.upstream.url()]);
        serve.envs(fault.map(|point| ("AIRLOCK_FAULT", point)));
        serve
    };
    let toml = "[scrub]\nevery = '30d'\nrate = '1GiB'\n";
    fs_err::write(scene.folder.path().join("airlock.toml"), toml).unwrap();
    // Written down at once where something was found.
    let mut killed = serve(Some("scrub.recorded")).spawn().unwrap();
    let status = tokio::time::timeout(LONG, killed.wait()).await.unwrap().unwrap();
    assert_eq!(status.signal(), Some(9));
    let record = store.scrub_record().unwrap();
    assert_eq!((record.after, record.pass.as_ref().unwrap().files), (Some(all[2]), 3));
    assert!(record.last.is_none());
    let mut serving = Serving::start(serve(None)).await;
    let line = serving.hears("the scrub goes on").await;
    assert!(line.contains(&format!("left={}", all.len() - 3)), "{line}");
    let line = serving.hears("the scrub is through").await;
    assert!(line.contains(&format!("files={}", all.len())) && line.contains("repaired=1"), "{line}");
    assert!(serving.stop(rustix::process::Signal::TERM).await.success());
    let record = store.scrub_record().unwrap();
    let last = record.last.unwrap();
    assert_eq!((record.pass, last.files, last.damaged, last.repaired), (None, all.len() as u64, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_slow_as_it_was_told_keeps_nobody_waiting_and_stops_at_once() {
    let (site, large) = crate::flights::big_site(1 << 20);
    let scene = filled_with(site.clone()).await;
    // A pass would take weeks.
    let slow = config(&scene.cache(), &[], "[scrub]\nrate = '1B'\n[view]\nshow = 'full'");
    let airlock = Airlock::quiet(&slow).await;
    let scrubbing = tokio::spawn({
        let mirror = Arc::clone(&airlock.mirror);
        async move { mirror.scrub().await.unwrap() }
    });
    while !airlock.mirror.scrub_status().running {
        tokio::task::yield_now().await;
    }
    for resource in site.resources().chain([large]) {
        let body = airlock.get(&resource.to_string()).await.bytes().await.unwrap();
        assert!(body == *site.body(&resource.to_string()).unwrap(), "{resource}");
    }
    let other = mirror(&slow);
    assert_eq!(other.scrub().await.unwrap(), ScrubEnd::Elsewhere, "one mirror at a time");
    assert!(!scrubbing.is_finished());
    let store = Arc::clone(airlock.mirror.store());
    airlock.stop().await;
    assert_eq!(tokio::time::timeout(LONG, scrubbing).await.unwrap().unwrap(), ScrubEnd::Stopped);
    assert!(store.scrub_record().unwrap().pass.is_some(), "the next one goes on");
    let next = mirror(&fast(&scene, false));
    assert_eq!(through(&next).await.files, all(&store).len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_that_the_disk_does_not_give_is_set_aside_and_many_are_the_disk() {
    let scene = filled().await;
    let online = mirror(&fast(&scene, true));
    let all = all(online.store());
    make_unreadable(&scene.cache(), &all[1]);
    let pass = through(&online).await;
    assert_eq!((pass.unreadable, pass.damaged, pass.repaired), (1, 0, 1));
    for resource in &all[4..7] {
        make_unreadable(&scene.cache(), resource);
    }
    let offline = mirror(&fast(&scene, false));
    assert_eq!(offline.scrub().await.unwrap(), ScrubEnd::DiskFails);
    let is_there = |resource: &Resource| scene.cache().join(resource.relative_path()).is_symlink();
    assert!(is_there(&all[6]), "the one that made it stop is where it was");
    assert!(offline.store().scrub_record().unwrap().pass.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_off_unless_somebody_says_how_often() {
    let scene = filled().await;
    let airlock = Airlock::start(&scene.online()).await;
    assert!(!airlock.mirror.scrub_status().enabled);
    airlock.stop().await;
    let count = Site::sample().unwrap().resources().count() as u64;
    let on = scene.configured("[scrub]\nevery = '1h'\nrate = '1GiB'");
    let airlock = Airlock::start(&on).await;
    let done = async {
        while airlock.mirror.scrub_status().last.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, done).await.unwrap();
    assert_eq!(airlock.mirror.scrub_status().last.unwrap().files, count);
    airlock.stop().await;
    // The next is due in an hour, whoever serves then.
    let again = Airlock::start(&on).await;
    again.mirror.rescan().await;
    assert_eq!(again.mirror.scrub_status().files, 0);
    again.stop().await;
}
