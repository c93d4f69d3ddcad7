//! Numbers, origins and pins: registries go only forward, and what never arrived is named.

use super::pack::Packing;
use super::{Came, Inside};
use airlock::protocol::{GENERAL, Listing, RegistryTree, Resource, TreeHash};
use airlock::sample::Site;
use airlock::tree::TarEntry;

/// A site with the registry General in one of its states.
fn state(number: u8) -> (Site, TreeHash) {
    let mut site = Site::empty();
    let text = format!("name = \"General\"\nuuid = \"{GENERAL}\"\n# {number}\n");
    let registry = site.add_registry(GENERAL, [TarEntry::file("Registry.toml", text, false)]).unwrap();
    (site, registry.tree())
}

impl Inside {
    /// Imports a state of the registry as a bundle.
    async fn take(&self, number: u8, change: impl FnOnce(Packing) -> Packing, flags: &[&str]) -> Came {
        let packing = change(Packing::of(&state(number).0, 1));
        self.import(&packing.write(self.path()), flags).await
    }

    fn is_at(&self, number: u8) -> bool {
        self.store().listing(airlock::protocol::Flavor::Plain).unwrap().unwrap().tree(GENERAL) == Some(state(number).1)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_bundle_moves_no_registry_unless_it_may() {
    let inside = Inside::new();
    for number in [1, 3] {
        assert_eq!(inside.take(number, |it| it.numbered(number.into()), &[]).await.code, Some((number == 3).into()));
    }
    assert!(inside.is_at(3));
    let older = inside.take(2, |it| it.numbered(2), &[]).await;
    assert_eq!((older.code, older.status()), (Some(0), "older"), "{}", older.said);
    assert!(inside.is_at(3) && older.said.contains("--allow-rollback"), "{}", older.said);
    let again = inside.take(1, |it| it.numbered(1), &[]).await;
    assert_eq!(again.status(), "older");
    let back = inside.take(2, |it| it.numbered(2), &["--allow-rollback"]).await;
    assert_eq!((back.code, back.status()), (Some(0), "published"), "{}", back.said);
    assert!(inside.is_at(2) && back.said.contains("moved back"), "{}", back.said);
    assert_eq!(inside.take(4, |it| it.numbered(4), &[]).await.status(), "published");
}

#[tokio::test(flavor = "multi_thread")]
async fn between_origins_and_destinations_the_log_and_the_clock_decide() {
    let inside = Inside::new();
    assert_eq!(inside.take(1, |it| it.numbered(1), &[]).await.status(), "published");
    assert_eq!(inside.take(2, |it| it.numbered(2), &[]).await.status(), "published");
    assert_eq!(inside.take(1, |it| it.numbered(9).of_origin(7), &[]).await.status(), "older");
    assert_eq!(inside.take(3, |it| it.numbered(1).of_origin(8), &[]).await.status(), "older", "made before the second");
    assert_eq!(inside.take(3, |it| it.numbered(4).of_origin(8), &[]).await.status(), "published");
    assert_eq!(inside.take(2, |it| it.numbered(3), &[]).await.status(), "older");
    let elsewhere = |mut it: Packing| {
        it.index.destination = "elsewhere".to_owned();
        it.index.id = airlock::protocol::Uuid::from_random([9; 16]);
        it
    };
    assert_eq!(inside.take(4, |it| elsewhere(it.numbered(1)), &[]).await.status(), "older", "made before the third");
    assert_eq!(inside.take(4, |it| elsewhere(it.numbered(20)), &[]).await.status(), "published");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_imports_at_once_the_older_moves_nothing_back() {
    let locks = || fs_err::read_to_string("/proc/locks").unwrap_or_default();
    let inside = Inside::new();
    assert_eq!(inside.take(1, |it| it.numbered(1), &[]).await.status(), "published");
    let store = inside.store();
    let lock = store.lock_listings().unwrap();
    if locks().is_empty() {
        return crate::support::skip("/proc/locks: of_two_imports_at_once_the_older_moves_nothing_back");
    }
    let older = inside.take(2, |it| it.numbered(2), &[]);
    let meanwhile = async {
        // The older one has looked at everything and waits to publish.
        while !locks().lines().any(|line| line.contains("->") && line.contains("FLOCK")) {
            tokio::task::yield_now().await;
        }
        let last = store.received_bundles().unwrap().pop().unwrap();
        let newer = airlock::store::ReceivedBundle { sequence: 3, id: GENERAL, ..last };
        store.append_received_bundle(&newer).unwrap();
        drop(lock);
    };
    let (older, ()) = tokio::join!(older, meanwhile);
    assert_eq!(older.status(), "older", "{}", older.said);
    assert!(inside.is_at(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_whose_tarball_is_gone_stays_listed_when_another_comes() {
    let inside = Inside::new();
    for number in [1, 2] {
        assert_eq!(inside.take(number, |it| it.numbered(number.into()), &[]).await.status(), "published");
    }
    let newest = RegistryTree { uuid: GENERAL, tree: state(2).1 };
    fs_err::remove_file(inside.store().path(&newest.into())).unwrap();
    let (mut own, uuid) = (Site::empty(), airlock::protocol::Uuid::from_random([77; 16]));
    let text = format!("name = \"Own\"\nuuid = \"{uuid}\"\n");
    own.add_registry(uuid, [TarEntry::file("Registry.toml", text, false)]).unwrap();
    let files = Packing::of(&own, 1).of_origin(7).write(inside.path());
    assert_eq!(inside.import(&files, &[]).await.status(), "published");
    assert!(inside.is_at(1), "the one before, rather than none");
    assert_eq!(inside.store().listing(airlock::protocol::Flavor::Plain).unwrap().unwrap().iter().count(), 2);
}

/// Puts a state of the registry where the view has what it derived.
fn derive(inside: &Inside, number: u8) -> RegistryTree {
    let (site, tree) = state(number);
    let registry = RegistryTree { uuid: GENERAL, tree };
    let store = inside.store();
    let mut staged = store.stage().unwrap();
    staged.write_all(site.body(&Resource::from(registry).to_string()).unwrap()).unwrap();
    store.publish_derived(&staged, registry).unwrap();
    registry
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_was_derived_here_does_not_count_as_here() {
    let inside = Inside::new();
    let resource = Resource::from(derive(&inside, 2));
    let upstreams = inside.path().join("cache").join(resource.relative_path());
    assert!(inside.store().serves(&resource) && !inside.store().has(&resource));
    let based = |mut it: Packing| {
        it.index.builds_on.resources = it.index.resources.drain(..).map(|entry| entry.resource).collect();
        it
    };
    let lacking = inside.take(2, |it| based(it.numbered(1)), &[]).await;
    assert_eq!((lacking.code, lacking.status()), (Some(1), "absent"), "{}", lacking.said);
    let came = inside.take(2, |it| it.numbered(2), &[]).await;
    assert_eq!((came.code, &came.bundle()["imported"]), (Some(0), &serde_json::Value::from(1)), "{}", came.said);
    assert!(upstreams.is_file() && inside.is_at(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_names_what_was_derived_here_is_not_taken_for_upstreams() {
    let inside = Inside::new();
    assert_eq!(inside.take(1, |it| it.numbered(1), &[]).await.status(), "published");
    let derived = derive(&inside, 2);
    for flavor in airlock::protocol::Flavor::ALL {
        inside.store().publish_listing(flavor, &Listing::from_iter([derived])).unwrap();
    }
    inside.store().set_pins(&Listing::from_iter([derived])).unwrap();
    assert!(inside.is_at(1), "or it would be exported and asked for");
    let mirror = crate::support::mirror(&crate::support::config(&inside.path().join("cache"), &[], ""));
    let steered = mirror.roll_back(derived).await;
    assert!(matches!(steered, Err(airlock::mirror::SteerError::Absent { registry, .. }) if registry == derived));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_registry_stays_and_that_is_said() {
    let inside = Inside::new();
    assert_eq!(inside.take(1, |it| it.numbered(1), &[]).await.status(), "published");
    let pin = RegistryTree { uuid: GENERAL, tree: state(1).1 };
    inside.store().set_pins(&Listing::from_iter([pin])).unwrap();
    let came = inside.take(2, |it| it.numbered(2), &[]).await;
    assert_eq!((came.code, came.status()), (Some(0), "pinned"), "{}", came.said);
    assert!(inside.is_at(1));
    inside.store().set_pins(&Listing::default()).unwrap();
    assert_eq!(inside.take(2, |it| it.numbered(2), &[]).await.status(), "published", "the same once more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_never_arrived_is_named_until_it_comes_or_is_repeated() {
    let inside = Inside::new();
    assert_eq!(inside.take(1, |it| it.numbered(40), &[]).await.code, Some(0), "the first opens the count");
    let gap = inside.take(2, |it| it.numbered(42), &[]).await;
    assert_eq!((gap.code, gap.status()), (Some(1), "published"));
    assert!(gap.said.contains("bundle 41 never arrived"), "{}", gap.said);
    assert!(gap.said.contains("--to inside --overlap 2"), "{}", gap.said);
    assert_eq!(gap.bundle()["gaps"], serde_json::json!([41]));
    let repeats = |mut it: Packing| {
        it.index.repeats = [41, 42].into();
        it
    };
    assert_eq!(inside.take(3, |it| repeats(it.numbered(43)), &[]).await.code, Some(0));
    assert_eq!(inside.take(4, |it| it.numbered(44), &[]).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_bundles_come_in_in_their_order() {
    let inside = Inside::new();
    let pack = |number: u8| Packing::of(&state(number).0, 1).numbered(number.into()).write(inside.path());
    let files: Vec<_> = [3, 1, 2].into_iter().flat_map(pack).collect();
    let came = inside.import(&files, &[]).await;
    assert_eq!(came.code, Some(0), "{}", came.said);
    let order: Vec<_> = came.report["bundles"].as_array().unwrap().iter().map(|it| it["sequence"].as_u64()).collect();
    assert_eq!(order, [Some(1), Some(2), Some(3)]);
    assert!(inside.is_at(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bundle_builds_on_and_is_not_here_is_named_and_the_rest_comes() {
    let inside = Inside::new();
    let absent = Resource::Artifact { tree: state(9).1 };
    let based = |mut it: Packing| {
        it.index.builds_on.resources = vec![absent];
        it
    };
    let came = inside.take(1, based, &[]).await;
    assert_eq!((came.code, came.status()), (Some(1), "published"), "{}", came.said);
    assert!(came.said.contains(&absent.to_string()) && came.said.contains("airlock request export"), "{}", came.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_bundle_publishes_the_registry_that_a_newer_one_could_not() {
    // The newer one leaves the registry out, for it was in the one that is late.
    let without = |mut it: Packing| {
        it.index.builds_on.resources = it.index.resources.drain(..).map(|entry| entry.resource).collect();
        it
    };
    for begun in [false, true] {
        let inside = Inside::new();
        if begun {
            assert_eq!(inside.take(1, |it| it.numbered(1), &[]).await.status(), "published");
        }
        let newer = inside.take(2, |it| without(it.numbered(3)), &[]).await;
        assert_eq!((newer.code, newer.status()), (Some(1), "absent"), "{}", newer.said);
        let late = inside.take(2, |it| it.numbered(2), &[]).await;
        assert_eq!((late.code, late.status()), (Some(0), "published"), "{}", late.said);
        assert!(inside.is_at(2));
    }
}
