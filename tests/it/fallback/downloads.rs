//! Artifacts from the addresses that packages name.

use super::{World, artifact, artifacts_toml, bzip2, gunzip, gzip, learn, prewarm, sha256, xz};
use crate::support::{Airlock, LONG, curl};
use airlock::mirror::{Mirror, Patience, Refusal};
use airlock::protocol::{GENERAL, Resource};
use airlock::sample::{Body, Fault, Site};
use airlock::tree::TarEntry;
use std::sync::Arc;

const ALWAYS: &str = "";
const NEVER: &str = "[fallback]\ndownload = 'never'\n";
const PREWARM: &str = "[fallback]\ndownload = 'prewarm'\n";

async fn client(mirror: &Arc<Mirror>, resource: &Resource) -> Result<(u64, bool), Refusal> {
    let bounds = World::new(Site::empty()).await.config("").mirror;
    mirror.fetch(resource, Patience::client(&bounds)).await
}

#[tokio::test]
async fn every_packing_is_stored_as_gzip() {
    let (tree, plain) = artifact(300_000);
    let packings = [
        ("/a.tar.gz", gzip(&plain)),
        ("/a.tar.bz2", bzip2(&plain)),
        ("/a.tar.xz", xz(&plain)),
        ("/a.tar.zst", zstd::encode_all(&plain[..], 3).unwrap()),
        ("/a.tar", plain.clone()),
    ];
    for (path, packed) in packings {
        let world = World::new(Site::empty()).await;
        let url = world.file(path, &packed);
        let mirror = world.mirror(ALWAYS);
        let artifact = learn(&mirror, tree, &[(&url, &sha256(&packed))]);
        assert_eq!(prewarm(&mirror, &artifact).await.unwrap(), Some(url), "{path}");
        let stored = fs_err::read(mirror.store().path(&artifact)).unwrap();
        assert!(gunzip(&stored) == plain, "{path}");
        assert!(path != "/a.tar.gz" || stored == packed, "gzip was touched");
        assert_eq!(world.upstream.gets(&artifact.to_string()), 1, "the server is asked first");
    }
}

#[tokio::test]
async fn a_server_that_has_it_is_enough() {
    let (tree, plain) = artifact(10);
    let packed = gzip(&plain);
    let world = World::new(Site::empty()).await;
    let url = world.file("/a.tar.gz", &packed);
    let mirror = world.mirror(ALWAYS);
    let artifact = learn(&mirror, tree, &[(&url, &sha256(&packed))]);
    world.upstream.put(&artifact.to_string(), packed);
    assert_eq!(prewarm(&mirror, &artifact).await.unwrap(), Some(world.upstream.url()));
    assert!(world.files.requests().is_empty());
}

#[tokio::test]
async fn a_server_that_is_down_or_wrong_does_not_keep_it_away() {
    let (tree, plain) = artifact(10);
    let packed = xz(&plain);
    for fault in [Fault::Status(403, None), Fault::Drop, Fault::Replace(b"<html>".to_vec())] {
        let world = World::new(Site::empty()).await;
        let url = world.file("/a.tar.xz", &packed);
        let mirror = world.mirror(ALWAYS);
        let artifact = learn(&mirror, tree, &[(&url, &sha256(&packed))]);
        (0..9).for_each(|_| world.upstream.fail(&artifact.to_string(), fault.clone()));
        client(&mirror, &artifact).await.unwrap_or_else(|refusal| panic!("{fault:?}: {refusal}"));
    }
    let World { upstream, files, folder } = World::new(Site::empty()).await;
    files.put("/a.tar.xz", packed.clone());
    let mirror = crate::support::mirror(&crate::support::config(folder.path(), &[upstream.url()], ALWAYS));
    let artifact = learn(&mirror, tree, &[(&format!("{}/a.tar.xz", files.url()), &sha256(&packed))]);
    drop(upstream);
    client(&mirror, &artifact).await.unwrap();
}

#[tokio::test]
async fn a_wrong_sum_is_said_with_both_sums_and_nothing_of_it_stays() {
    let (tree, plain) = artifact(300_000);
    for packed in [gzip(&plain), bzip2(&plain)] {
        let world = World::new(Site::empty()).await;
        let url = world.file("/a?token=secret", &packed);
        let url = url.replace("http://", "http://user:word@");
        let mirror = world.mirror(ALWAYS);
        let other = sha256(b"other");
        let artifact = learn(&mirror, tree, &[(&url, &other)]);
        let refusal = prewarm(&mirror, &artifact).await.unwrap_err();
        let said = format!(
            "wrong content: download: {}/a: its SHA-256 is {}, and should be {other}",
            world.files.url(),
            sha256(&packed)
        );
        assert_eq!(refusal.to_string(), said);
        assert!(!mirror.store().has(&artifact));
    }
}

#[tokio::test]
async fn the_right_bytes_of_another_tree_are_refused() {
    let (tree, _) = artifact(8);
    let (other_tree, other) = artifact(16);
    let packed = gzip(&other);
    let world = World::new(Site::empty()).await;
    let url = world.file("/a.tar.gz", &packed);
    let mirror = world.mirror(ALWAYS);
    let artifact = learn(&mirror, tree, &[(&url, &sha256(&packed))]);
    let refusal = prewarm(&mirror, &artifact).await.unwrap_err();
    assert_eq!(refusal.to_string(), format!("wrong content: download: {url}: its tree hash is {other_tree}"));
    assert!(!mirror.store().has(&artifact));
}

#[tokio::test]
async fn what_is_wrong_with_one_address_leads_to_the_next() {
    let (tree, plain) = artifact(300_000);
    let right = gzip(&plain);
    let mut corrupt = right.clone();
    corrupt[200_000] ^= 1;
    let other_tree = gzip(&artifact(16).1);
    let (right_sum, corrupt_sum) = (sha256(&right), sha256(&corrupt));
    for (first, sum) in [
        (corrupt.as_slice(), &right_sum),
        (&corrupt, &corrupt_sum),
        (&other_tree, &right_sum),
        (&other_tree, &sha256(&other_tree)),
        (b"<html>Please log in</html>", &right_sum),
        (b"", &right_sum),
        (&right[..right.len() / 2], &right_sum),
    ] {
        let world = World::new(Site::empty()).await;
        let first = world.file("/first", first);
        let second = world.file("/second", &right);
        let mirror = world.mirror(ALWAYS);
        let artifact = learn(&mirror, tree, &[(&first, sum), (&second, &right_sum)]);
        assert_eq!(prewarm(&mirror, &artifact).await.unwrap(), Some(second));
        assert_eq!(world.files.gets("/first"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_first_address_costs_the_clients_of_one_flight_and_no_more() {
    let (tree, plain) = artifact(300_000);
    let (right, mut corrupt) = (gzip(&plain), gzip(&plain));
    corrupt[250_000] ^= 1;
    let world = World::new(Site::empty()).await;
    let first = world.file("/first", &corrupt);
    let second = world.file("/second", &right);
    let gate = airlock::sample::Gate::new();
    world.files.fail("/first", Body::gated(200_000, &gate));
    let airlock = Airlock::quiet(&world.config(ALWAYS)).await;
    let artifact = learn(&airlock.mirror, tree, &[(&first, &sha256(&right)), (&second, &sha256(&right))]);
    let mut waiting = airlock.get(&artifact.to_string()).await;
    waiting.chunk().await.unwrap().unwrap();
    gate.open();
    while let Ok(chunk) = waiting.chunk().await {
        assert!(chunk.is_some(), "it was completed");
    }
    for _ in 0..2 {
        let answer = airlock.get(&artifact.to_string()).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.bytes().await.unwrap() == right);
    }
    assert_eq!((world.files.gets("/first"), world.files.gets("/second")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_all_wrong_are_left_alone_when_each_was_tried() {
    let (tree, plain) = artifact(300_000);
    let sum = sha256(b"other");
    let world = World::new(Site::empty()).await;
    let urls = ["/one", "/other"].map(|path| world.file(path, &gzip(&plain)));
    let airlock = Airlock::quiet(&world.config(ALWAYS)).await;
    let artifact = learn(&airlock.mirror, tree, &[(&urls[0], &sum), (&urls[1], &sum)]);
    for _ in 0..4 {
        let gates = [airlock::sample::Gate::new(), airlock::sample::Gate::new()];
        world.files.heal();
        world.files.fail("/one", Body::gated(200_000, &gates[0]));
        world.files.fail("/other", Body::gated(200_000, &gates[1]));
        let mut answer = airlock.get(&artifact.to_string()).await;
        if answer.status() == 200 {
            answer.chunk().await.unwrap().unwrap();
            gates.iter().for_each(airlock::sample::Gate::open);
            while let Ok(chunk) = answer.chunk().await {
                assert!(chunk.is_some(), "it was completed");
            }
        }
    }
    assert_eq!((world.files.gets("/one"), world.files.gets("/other")), (1, 1));
}

#[tokio::test]
async fn what_is_gone_or_wrong_is_not_asked_again_because_another_address_may_recover() {
    let (tree, plain) = artifact(300_000);
    let right = gzip(&plain);
    let world = World::new(Site::empty()).await;
    let gone = format!("{}/gone", world.files.url());
    let wrong = world.file("/wrong", &gzip(&artifact(8).1));
    let busy = world.file("/busy", &right);
    world.files.fail("/busy", Fault::Status(503, None));
    let mirror = world.mirror(ALWAYS);
    let sum = sha256(&right);
    let artifact = learn(&mirror, tree, &[(&gone, &sum), (&wrong, &sum), (&busy, &sum)]);
    let brought = mirror.fetch_from(&artifact, Patience::prewarm(2)).await.unwrap();
    assert_eq!(brought.from.as_deref(), Some(&*busy));
    let gets = ["/gone", "/wrong", "/busy"].map(|path| world.files.gets(path));
    assert_eq!(gets, [1, 1, 2]);
}

#[tokio::test]
async fn a_dead_address_and_a_broken_line_lead_to_the_next() {
    let (tree, plain) = artifact(300_000);
    let (packed, sum) = (bzip2(&plain), sha256(&bzip2(&plain)));
    let dead = {
        let gone = World::new(Site::empty()).await;
        gone.file("/gone", b"")
    };
    let world = World::new(Site::empty()).await;
    let broken = world.file("/broken", &packed);
    world.files.fail("/broken", Body::reset(100_000));
    let stalled = world.file("/stalled", &packed);
    world.files.fail("/stalled", Body::stall(100_000));
    let right = world.file("/right", &packed);
    let mirror = world.mirror("[mirror]\nidle-timeout = '200ms'\n");
    let downloads = [&dead, "ftp://files.example/a", "not an address", &broken, &stalled, &right];
    let artifact = learn(&mirror, tree, &downloads.map(|url| (url, sum.as_str())));
    assert_eq!(prewarm(&mirror, &artifact).await.unwrap(), Some(right));
}

#[tokio::test]
async fn every_address_that_was_tried_is_named() {
    let (tree, _) = artifact(8);
    let world = World::new(Site::empty()).await;
    let sum = sha256(b"");
    let (one, other) = (format!("{}/one", world.files.url()), format!("{}/other", world.files.url()));
    let airlock = Airlock::quiet(&world.config(ALWAYS)).await;
    let artifact = learn(&airlock.mirror, tree, &[(&one, &sum), (&other, &sum), ("ftp://h/a", &sum)]);
    let said = format!(
        "no upstream has it; download: {one}: not found; {other}: not found; ftp://h/a: ftp is not spoken, only http and https are"
    );
    for _ in 0..2 {
        let response = airlock.get(&artifact.to_string()).await;
        assert_eq!(response.status(), 404);
        assert!(!response.text().await.unwrap().contains("download"), "clients read a fixed sentence");
    }
    assert_eq!(world.files.gets("/one"), 1, "it is left alone for a while");
    let misses = airlock.mirror.all_misses().await.unwrap();
    assert_eq!(
        (misses[0].detail.as_deref(), misses[0].reason.to_string()),
        (Some(&*said), "not-found-upstream".into())
    );
    let shown = airlock.get("/meta/misses").await.text().await.unwrap();
    assert!(shown.contains(&tree.to_string()) && !shown.contains("/one"), "{shown}");
}

#[tokio::test]
async fn a_server_that_fails_is_said_beside_what_was_tried() {
    let (tree, _) = artifact(8);
    let world = World::new(Site::empty()).await;
    let url = format!("{}/a", world.files.url());
    let mirror = world.mirror(ALWAYS);
    let artifact = learn(&mirror, tree, &[(&url, &sha256(b""))]);
    world.upstream.fail(&artifact.to_string(), Fault::Status(503, None));
    let refusal = prewarm(&mirror, &artifact).await.unwrap_err();
    assert_eq!(refusal.to_string(), format!("upstream failed: answered 503; download: {url}: not found"));
}

#[tokio::test]
async fn what_fails_for_one_artifact_is_asked_for_another() {
    let (tree, plain) = artifact(8);
    let packed = gzip(&plain);
    let world = World::new(Site::empty()).await;
    let dead = World::new(Site::empty()).await.file("/gone", b"");
    let mirror = world.mirror(ALWAYS);
    for digit in 0..20 {
        let absent = learn(&mirror, airlock::protocol::TreeHash::from_bytes([digit; 20]), &[(&dead, &sha256(b""))]);
        client(&mirror, &absent).await.unwrap_err();
    }
    let url = world.file("/a", &packed);
    let artifact = learn(&mirror, tree, &[(&url, &sha256(&packed))]);
    client(&mirror, &artifact).await.unwrap();
    assert!(mirror.sources().iter().all(|(_, health)| health.unreachable == 0 && health.last_error.is_none()));
}

#[tokio::test]
async fn a_host_of_downloads_that_is_silent_is_waited_for_a_few_times_and_not_for_each_artifact() {
    let world = World::new(Site::empty()).await;
    let mirror = world.mirror("[mirror]\nfirst-byte-timeout = '200ms'\n");
    let mut last = String::new();
    for digit in 0..9 {
        let url = world.file(&format!("/{digit}"), b"");
        world.files.fail(&format!("/{digit}"), Fault::Silence);
        let absent = learn(&mirror, airlock::protocol::TreeHash::from_bytes([digit; 20]), &[(&url, &sha256(b""))]);
        last = prewarm(&mirror, &absent).await.unwrap_err().to_string();
    }
    assert_eq!(world.files.requests().len(), 3, "{last}");
    let host = world.files.address();
    assert!(last.ends_with(&format!("{host} is left alone for a minute: no byte for 200ms")), "{last}");
}

#[tokio::test]
async fn the_switch_says_who_may_have_it() {
    let (tree, plain) = artifact(8);
    let packed = gzip(&plain);
    for (switch, in_prewarm, for_client) in [(ALWAYS, true, true), (PREWARM, true, false), (NEVER, false, false)] {
        for (is_client, expected) in [(false, in_prewarm), (true, for_client)] {
            let world = World::new(Site::empty()).await;
            let url = world.file("/a", &packed);
            let mirror = world.mirror(switch);
            let artifact = learn(&mirror, tree, &[(&url, &sha256(&packed))]);
            let had = if is_client {
                client(&mirror, &artifact).await.map(drop)
            } else {
                prewarm(&mirror, &artifact).await.map(drop)
            };
            let refused = if expected { None } else { Some(Refusal::NotFound) };
            assert_eq!((had.err(), world.files.gets("/a")), (refused, usize::from(expected)), "{switch}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_wrong_is_ever_completed() {
    let (tree, plain) = artifact(600_000);
    for (packed, has_length) in [(gzip(&plain), true), (bzip2(&plain), false)] {
        let world = World::new(Site::empty()).await;
        let url = world.file("/a", &packed);
        let airlock = Airlock::quiet(&world.config(ALWAYS)).await;
        let artifact = learn(&airlock.mirror, tree, &[(&url, &sha256(b"other"))]);
        let at = airlock.url(&artifact.to_string());
        for version in ["--http1.0", "--http1.1"] {
            let out = curl(&[version, "--output", "/dev/null", "--fail", &at]).await;
            assert!(!out.status.success(), "{version}, length: {has_length}");
        }
        assert!(!airlock.mirror.store().has(&artifact));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_it_while_it_comes() {
    let (tree, plain) = artifact(600_000);
    let packed = gzip(&plain);
    let world = World::new(Site::empty()).await;
    let url = world.file("/a", &packed);
    let gate = airlock::sample::Gate::new();
    world.files.fail("/a", Body::gated(packed.len() - 1000, &gate));
    let airlock = Airlock::quiet(&world.config(ALWAYS)).await;
    let artifact = learn(&airlock.mirror, tree, &[(&url, &sha256(&packed))]);
    let mut response = airlock.get(&artifact.to_string()).await;
    assert_eq!(response.content_length(), Some(packed.len() as u64));
    let first = tokio::time::timeout(LONG, response.chunk()).await.unwrap().unwrap().unwrap();
    gate.open();
    let mut body = first.to_vec();
    while let Some(chunk) = response.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    assert!(body == packed, "the bytes differ");
}

#[tokio::test]
async fn redirects_are_followed() {
    let (tree, plain) = artifact(8);
    let packed = gzip(&plain);
    let world = World::new(Site::empty()).await;
    let real = world.file("/real", &packed);
    world.files.fail("/a", Fault::Redirect(real));
    let mirror = world.mirror(ALWAYS);
    let artifact = learn(&mirror, tree, &[(&format!("{}/a", world.files.url()), &sha256(&packed))]);
    prewarm(&mirror, &artifact).await.unwrap();
    let agent = world.files.requests()[0].headers["user-agent"].clone();
    assert!(agent.starts_with("airlock/"), "{agent}");
}

#[tokio::test]
async fn the_packages_here_say_where_it_is() {
    let (tree, plain) = artifact(8);
    let packed = xz(&plain);
    let world = World::new(Site::empty()).await;
    let url = world.file("/a", &packed);
    let toml = artifacts_toml(tree, &[(&url, "not a sum"), (&url, &sha256(&packed))]);
    let mut site = Site::empty();
    let package = site.add_package(GENERAL, [TarEntry::file("deps/Artifacts.toml", toml, false)]).unwrap();
    world.upstream.put(&package.to_string(), site.body(&package.to_string()).unwrap().clone());
    let artifact = Resource::Artifact { tree };
    let mirror = world.mirror(ALWAYS);
    assert_eq!(prewarm(&mirror, &artifact).await.unwrap_err(), Refusal::NotFound, "nobody names it");
    // Another process brings the package; this one has forgotten that nobody knew the artifact.
    prewarm(&world.mirror(ALWAYS), &package).await.unwrap();
    assert_eq!(prewarm(&mirror, &artifact).await.unwrap(), Some(url));
}
