//! `airlock status`: what is in a cache.

use crate::binary::{Serving, command, run, said, stdout};
use crate::check::{DEMO, Inside};
use airlock::protocol::{GENERAL, RegistryTree};
use airlock::status::status;
use airlock::store::{Action, Store};

#[test]
fn everything_is_counted_once() {
    let inside = Inside::new();
    inside.put("/package/.rsync-partial", b"x");
    inside.put("/.airlock/quarantine/a", b"123");
    inside.put("/.airlock/platforms", b"# asked for\nx86_64-linux-gnu\n\nall # of them\n");
    inside.put("/registry/23338594-aafe-5451-b93e-139f81909106/0000000000000000000000000000000000000000", b"earlier");
    let store = Store::open(&inside.cache()).unwrap();
    let listed: RegistryTree = store.named_registries().unwrap().into_iter().next().unwrap();
    store.set_pins(&[listed].into_iter().collect()).unwrap();
    for (what, summary) in [(Action::Gc, "one"), (Action::Verify, "two"), (Action::Gc, "three")] {
        store.note(what, true, summary.to_owned());
    }
    let found = status(&store).unwrap();
    let files: Vec<_> = found.kinds.iter().map(|kind| kind.totals.files).collect();
    assert_eq!(files, [2, 17, 11], "registries, packages, artifacts");
    assert!(found.kinds.iter().all(|kind| kind.unverified == kind.totals.files));
    assert_eq!(found.totals.files, 30);
    assert_eq!((found.generations.files, found.generations.bytes), (1, 7));
    assert_eq!((found.quarantine.files, found.quarantine.bytes), (1, 3));
    assert_eq!(found.platforms, ["all", "x86_64-linux-gnu"]);
    let registry = &found.registries[0];
    assert_eq!((found.registries.len(), registry.uuid, registry.pinned, registry.flavors.len()), (1, GENERAL, true, 3));
    let summaries: Vec<_> = found.activities.iter().map(|activity| activity.summary.as_str()).collect();
    assert_eq!(summaries, ["three", "two"]);
    assert!(found.disk.free <= found.disk.size && found.disk.size > 0);
    assert_eq!((found.misses, found.wishes, found.used_by.len()), (0, 0, 0));
    store.add_wishes(&["Faraway".parse().unwrap()]).unwrap();
    assert_eq!(status(&store).unwrap().wishes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_who_uses_the_cache_and_what_was_done() {
    let inside = Inside::new();
    let folder = inside.folder.path();
    assert!(run(folder, &["verify"]).await.status.success());
    let mut serve = command(folder);
    serve.args(["serve", "--offline", "--listen", "127.0.0.1:0"]);
    let serving = Serving::start(serve).await;
    let output = run(folder, &["status"]).await;
    assert!(output.status.success(), "{:?}", said(&output));
    let text = stdout(&output);
    for line in [format!("process {}", serving.child.id().unwrap()), "General".into(), "29 files checked".into()] {
        assert!(text.contains(&line), "{line}: {text}");
    }
    let output = run(folder, &["status", "--json"]).await;
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["kinds"][1]["unverified"], 0);
    assert_eq!(document["platforms"], serde_json::json!([]));
    assert!(serving.stop(rustix::process::Signal::TERM).await.success());
    assert_eq!(run(folder, &["status", "--cache", "typo"]).await.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prewarm_is_on_record_and_a_dry_run_is_not() {
    let scene = crate::support::Scene::new().await;
    let folder = scene.folder.path();
    let upstream = scene.upstream.url();
    let actions = || Store::open(&scene.cache()).unwrap().activities().unwrap();
    run(folder, &["prewarm", "--dry-run", "--upstream", &upstream, DEMO]).await;
    assert_eq!(actions().len(), 0);
    assert!(run(folder, &["prewarm", "--upstream", &upstream, DEMO]).await.status.success());
    let [prewarm] = <[_; 1]>::try_from(actions()).unwrap();
    assert_eq!((prewarm.what, prewarm.complete), (Action::Prewarm, true));
    assert!(prewarm.summary.contains("fetched"), "{prewarm:?}");
}
