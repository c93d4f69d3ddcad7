//! Registries by hand: rollback, pin, unpin, and what the upstream says afterwards.

use crate::binary::{run, said, stdout};
use crate::registries::{PATIENCE, list, published, three};
use crate::support::{Scene, mirror};
use airlock::mirror::{Mirror, Served, SteerError};
use airlock::protocol::{Flavor, GENERAL, Listing, RegistryTree, TreeHash};
use airlock::store::{DISK, Store};
use std::sync::Arc;

const FLAVOR: Flavor = Flavor::Conservative;

/// Has the upstream list a state, and asks it.
async fn follow(scene: &Scene, mirror: &Arc<Mirror>, state: RegistryTree) -> Option<TreeHash> {
    list(&scene.upstream, FLAVOR, state);
    assert_eq!(mirror.refresh_registries(PATIENCE).await, []);
    published(mirror.store(), FLAVOR)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rolled_back_from_is_not_published_again_but_what_is_newer_is() {
    let (scene, [one, two, three]) = three().await;
    let mirror = mirror(&scene.online());
    follow(&scene, &mirror, one).await;
    assert_eq!(follow(&scene, &mirror, two).await, Some(two.tree));
    assert_eq!(mirror.roll_back(one).await.unwrap(), [FLAVOR]);
    assert_eq!(published(mirror.store(), FLAVOR), Some(one.tree));
    assert_eq!(follow(&scene, &mirror, two).await, Some(one.tree), "it would have been undone");
    assert_eq!(follow(&scene, &mirror, three).await, Some(three.tree));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_holds_against_upstream_and_other_tools_until_it_is_taken_away() {
    let (scene, [one, two, three]) = three().await;
    let mirror = mirror(&scene.online());
    follow(&scene, &mirror, one).await;
    follow(&scene, &mirror, two).await;
    assert_eq!(mirror.pin(GENERAL, Some(one.tree)).await.unwrap(), one);
    assert_eq!(follow(&scene, &mirror, three).await, Some(one.tree));
    assert!(matches!(mirror.roll_back(two).await, Err(SteerError::Pinned(held)) if held == one));
    // As rsync would.
    let listing: Listing = [two].into_iter().collect();
    fs_err::write(scene.cache().join(FLAVOR.file_name()), listing.to_string()).unwrap();
    assert_eq!(published(mirror.store(), FLAVOR), Some(one.tree));
    mirror.unpin(GENERAL).await.unwrap();
    assert_eq!(follow(&scene, &mirror, three).await, Some(three.tree));
    assert!(matches!(mirror.unpin(GENERAL).await, Err(SteerError::NotPinned(GENERAL))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_cannot_be_had_is_not_published() {
    let (scene, [one, two, _]) = three().await;
    let online = mirror(&scene.online());
    follow(&scene, &online, one).await;
    drop(online);
    let offline = mirror(&scene.offline());
    assert!(matches!(offline.roll_back(two).await, Err(SteerError::Absent { .. })));
    assert!(matches!(offline.pin(GENERAL, Some(two.tree)).await, Err(SteerError::Absent { .. })));
    let other = RegistryTree { uuid: "00000000-0000-0000-0000-000000000001".parse().unwrap(), ..one };
    assert!(matches!(offline.pin(other.uuid, None).await, Err(SteerError::Unlisted(_))));
    assert_eq!(published(offline.store(), FLAVOR), Some(one.tree));
    assert!(offline.store().pins().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_derived_tree_is_never_published_as_if_it_were_upstreams() {
    let (scene, [one, ..]) = three().await;
    let mirror = mirror(&scene.configured("[view]\nshow = 'available'"));
    follow(&scene, &mirror, one).await;
    let [shown] = <[Served; 1]>::try_from(mirror.served(FLAVOR).unwrap()).unwrap();
    assert_eq!(shown.derived.unwrap().from, one.tree);
    let derived = shown.registry;
    assert!(matches!(mirror.roll_back(derived).await, Err(SteerError::Derived { .. })));
    assert!(matches!(mirror.pin(GENERAL, Some(derived.tree)).await, Err(SteerError::Derived { .. })));
    assert_eq!(published(mirror.store(), FLAVOR), Some(one.tree));
    assert!(mirror.store().pins().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_whose_tarball_is_gone_is_at_the_one_before() {
    let (scene, [one, two, _]) = three().await;
    let mirror = mirror(&scene.online());
    follow(&scene, &mirror, one).await;
    follow(&scene, &mirror, two).await;
    fs_err::remove_file(mirror.store().path(&two.into())).unwrap();
    assert_eq!(published(mirror.store(), FLAVOR), Some(one.tree));
    fs_err::remove_file(mirror.store().path(&one.into())).unwrap();
    assert_eq!(published(mirror.store(), FLAVOR), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_another_tool_brought_becomes_a_generation_once() {
    let (scene, [one, ..]) = three().await;
    follow(&scene, &mirror(&scene.online()), one).await;
    let inside = tempfile::tempdir().unwrap();
    let tarball = airlock::protocol::Resource::from(one).relative_path();
    fs_err::create_dir_all(inside.path().join(&tarball).parent().unwrap()).unwrap();
    fs_err::copy(scene.cache().join(&tarball), inside.path().join(&tarball)).unwrap();
    fs_err::copy(scene.cache().join(FLAVOR.file_name()), inside.path().join(FLAVOR.file_name())).unwrap();
    let mirror = mirror(&crate::support::config(inside.path(), &[], ""));
    mirror.rescan().await;
    mirror.rescan().await;
    let log = mirror.store().generations().unwrap();
    assert_eq!(log.iter().map(|it| (it.tree, it.source.as_str())).collect::<Vec<_>>(), [(one.tree, DISK)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_shows_moves_and_says_what_it_did() {
    let (scene, [one, two, _]) = three().await;
    let folder = scene.folder.path();
    let upstream = scene.upstream.url();
    drop(Store::open(&scene.cache()).unwrap());
    for state in [one, two] {
        list(&scene.upstream, FLAVOR, state);
        let updated = run(folder, &["registries", "update", "--upstream", &upstream]).await;
        assert_eq!(said(&updated).0, Some(0), "{}", said(&updated).1);
    }
    let general = GENERAL.to_string();
    let moved = run(folder, &["registries", "--json", "rollback", &general, &one.tree.to_string()[..8]]).await;
    assert_eq!(said(&moved).0, Some(0), "{}", said(&moved).1);
    let document: serde_json::Value = serde_json::from_slice(&moved.stdout).unwrap();
    assert_eq!(document["registries"][0]["tree"], one.tree.to_string());
    assert_eq!(document["generations"][0]["source"], "rollback");
    assert_eq!(document["generations"].as_array().unwrap().len(), 2);

    assert_eq!(said(&run(folder, &["registries", "pin", &general]).await).0, Some(0));
    let table = stdout(&run(folder, &["registries"]).await);
    assert!(table.contains("General") && table.contains("yes") && table.contains("Generations of"), "{table}");
    let refused = run(folder, &["registries", "rollback", &general, &two.tree.to_string()]).await;
    assert!(said(&refused).1.contains("unpin it first") && said(&refused).0 == Some(2), "{}", said(&refused).1);
    assert_eq!(said(&run(folder, &["registries", "unpin", &general]).await).0, Some(0));
    for bad in ["zzzz", "ab"] {
        assert_eq!(said(&run(folder, &["registries", "rollback", &general, bad]).await).0, Some(2));
    }
    assert_eq!(said(&run(folder, &["registries", "update", "--cache", "nowhere"]).await).0, Some(2));
}
