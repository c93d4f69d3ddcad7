//! The life of a request that is not on disk: one fetch for all, nothing wrong ever completed.

use crate::support::{Airlock, LONG, Scene, curl};
use airlock::mirror::HOLD_BACK;
use airlock::protocol::Resource;
use airlock::sample::{Body, Fault, Gate, Site, Then};
use airlock::tree::TarEntry;
use futures_util::StreamExt as _;

/// An artifact that gzip cannot make small, so that its body is about this many bytes long.
pub(crate) fn big_site(bytes: usize) -> (Site, Resource) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = (0..bytes / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let mut site = Site::sample().unwrap();
    let artifact = site.add_artifact([TarEntry::file("noise", noise.collect::<Vec<_>>(), false)]).unwrap();
    (site, artifact)
}

async fn big_scene() -> (Scene, Resource) {
    let (site, artifact) = big_site(1 << 20);
    (Scene::with(site).await, artifact)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_cold_clients_cost_one_fetch_and_get_bytes_before_it_ends() {
    let (scene, artifact) = big_scene().await;
    let path = artifact.to_string();
    let whole = scene.upstream.body(&path).unwrap();
    let gate = Gate::new();
    scene.upstream.fail(&path, Body::gated(whole.len() / 2, &gate));
    let airlock = Airlock::quiet(&scene.online()).await;

    let clients = (0..100).map(|_| async {
        let response = airlock.get(&path).await;
        assert_eq!(response.content_length(), Some(whole.len() as u64));
        let mut body = response.bytes_stream();
        let first = body.next().await.unwrap().unwrap();
        (first, body)
    });
    // All of them have their first bytes while the upstream still holds back its second half.
    let begun = tokio::time::timeout(LONG, futures_util::future::join_all(clients)).await.unwrap();
    gate.open();
    for (first, mut rest) in begun {
        let mut body = first.to_vec();
        while let Some(bytes) = rest.next().await {
            body.extend_from_slice(&bytes.unwrap());
        }
        assert!(body == whole, "a body differs");
    }
    assert_eq!(scene.upstream.gets(&path), 1);
    assert!(airlock.mirror.store().has(&artifact));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_is_held_back_until_the_end_is_here() {
    let (scene, artifact) = big_scene().await;
    let path = artifact.to_string();
    let whole = scene.upstream.body(&path).unwrap();
    let gate = Gate::new();
    scene.upstream.fail(&path, Body::gated(whole.len() - 1, &gate));
    let airlock = Airlock::quiet(&scene.online()).await;
    let mut body = airlock.get(&path).await.bytes_stream();
    let mut got = 0;
    while got < whole.len() - 1 - usize::try_from(HOLD_BACK).unwrap() {
        got += body.next().await.unwrap().unwrap().len();
    }
    assert_eq!(got, whole.len() - 1 - usize::try_from(HOLD_BACK).unwrap());
    gate.open();
    while let Some(bytes) = body.next().await {
        got += bytes.unwrap().len();
    }
    assert_eq!(got, whole.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_does_not_stop_the_flight() {
    let (scene, artifact) = big_scene().await;
    let path = artifact.to_string();
    let gate = Gate::new();
    scene.upstream.fail(&path, Body::gated(500_000, &gate));
    let airlock = Airlock::quiet(&scene.online()).await;
    let mut response = airlock.get(&path).await;
    response.chunk().await.unwrap().unwrap();
    drop(response);
    gate.open();
    let again = airlock.get(&path).await.bytes().await.unwrap();
    assert_eq!(again, scene.upstream.body(&path).unwrap());
    assert_eq!(scene.upstream.gets(&path), 1);
}

/// What an upstream does wrong with a body of these bytes.
fn misdeeds(whole: &[u8]) -> Vec<(&'static str, Fault)> {
    let length = whole.len();
    let corrupt = |at: usize| {
        let mut body = whole.to_vec();
        body[at] ^= 0x40;
        Fault::Replace(body)
    };
    let send = |chunked, after, then| Fault::Send(Body { chunked, no_etag: true, after, then, rate: None });
    let mut long = whole.to_vec();
    long.extend_from_slice(b"trailing");
    vec![
        ("corrupt early", corrupt(300)),
        ("corrupt late", corrupt(length - 5)),
        ("corrupt in the middle", corrupt(length / 2)),
        ("another resource", Fault::Replace(other_tarball())),
        ("too long", Fault::Replace(long)),
        ("short, with its length", Fault::Replace(whole[..length - 10].to_vec())),
        ("cut with a length", send(false, length - 10, Then::Close)),
        ("cut early with a length", send(false, 10, Then::Close)),
        ("reset", send(false, length / 2, Then::Reset)),
        ("chunked and cut", send(true, length / 2, Then::Close)),
        ("chunked and cut at the very end", send(true, length, Then::Close)),
        ("stalled", send(false, length / 2, Then::Stall)),
        ("chunked and stalled", send(true, length / 2, Then::Stall)),
        ("HTML", Fault::Replace(b"<html>404 not found</html>".to_vec())),
        ("much HTML", Fault::Replace(b"<p>sorry</p>".repeat(30_000))),
        ("empty", Fault::Replace(Vec::new())),
        ("zstd", Fault::Replace(b"\x28\xb5\x2f\xfd and so on".repeat(20_000))),
        ("plain tar", Fault::Replace(vec![0; 300_000])),
        ("500", Fault::Status(500, None)),
        ("404", Fault::Status(404, None)),
        ("403", Fault::Status(403, None)),
        ("429", Fault::Status(429, Some(3600))),
        ("dropped", Fault::Drop),
        ("silent", Fault::Silence),
        ("a redirect to nowhere", Fault::Redirect("http://127.0.0.1:1/".to_owned())),
    ]
}

fn other_tarball() -> Vec<u8> {
    let mut body = Vec::new();
    let noise: Vec<u8> = (0..400_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    airlock::tree::write_tar_gz([TarEntry::file("other", noise, false)], &mut body, 1).unwrap();
    body
}

/// Short enough that stalls are noticed soon; long enough for a busy machine.
const HASTY: &str = "[mirror]\nfirst-byte-timeout = '700ms'\nidle-timeout = '700ms'\nsilence = '3s'\n";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_upstream_does_wrong_no_client_completes_it_and_nothing_is_stored() {
    let (scene, artifact) = big_scene().await;
    let path = artifact.to_string();
    let whole = scene.upstream.body(&path).unwrap();
    let airlock = Airlock::quiet(&scene.configured(HASTY)).await;
    for version in ["--http1.0", "--http1.1"] {
        for (name, fault) in misdeeds(&whole) {
            // Far more often than a flight asks, resumes included.
            (0..100).for_each(|_| scene.upstream.fail(&path, fault.clone()));
            let output = curl(&[version, "--fail", &airlock.url(&path)]).await;
            // A download that broke before a client had a byte of it may have been resumed.
            let broke = ["cut with a length", "cut early with a length", "reset", "stalled"].contains(&name);
            if !(broke && output.status.success() && output.stdout == whole) {
                assert!(!output.status.success(), "{name} {version}: completed {} bytes", output.stdout.len());
                assert!(output.stdout != whole, "{name} {version}: all bytes went out");
                assert!(!airlock.mirror.store().has(&artifact), "{name} {version}: stored");
            }

            scene.upstream.heal();
            airlock.mirror.rescan().await;
            let healed = curl(&[version, "--fail", &airlock.url(&path)]).await;
            assert!(healed.status.success(), "{name} {version}: not healed");
            assert!(healed.stdout == whole, "{name} {version}: wrong bytes after healing");
            fs_err::remove_file(airlock.mirror.store().path(&artifact)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_a_length_is_spooled_for_http_1_0_and_streamed_for_1_1() {
    let (scene, artifact) = big_scene().await;
    let path = artifact.to_string();
    let gate = Gate::new();
    let half = Body { chunked: true, after: 500_000, then: Then::Wait(gate.clone()), ..Body::default() };
    scene.upstream.fail(&path, Fault::Send(half));
    let airlock = Airlock::quiet(&scene.online()).await;
    let url = airlock.url(&path);
    let old = tokio::spawn(async move { curl(&["--http1.0", "--fail", &url]).await });
    let mut new = airlock.get(&path).await;
    assert_eq!(new.content_length(), None);
    assert!(new.chunk().await.unwrap().is_some());
    assert!(!old.is_finished());
    gate.open();
    let whole = scene.upstream.body(&path).unwrap();
    let old = old.await.unwrap();
    assert!(old.status.success() && old.stdout == whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_download_goes_on_where_it_broke() {
    let (scene, artifact) = big_scene().await;
    let path = artifact.to_string();
    let whole = scene.upstream.body(&path).unwrap();
    scene.upstream.fail(&path, Body::reset(400_000));
    scene.upstream.fail(&path, Body::short(700_000));
    let airlock = Airlock::quiet(&scene.online()).await;
    let body = airlock.get(&path).await.bytes().await.unwrap();
    assert!(body == whole);
    let requests = scene.upstream.requests();
    let ranges: Vec<_> = requests.iter().map(|request| request.headers.get("range").cloned()).collect();
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    assert!(ranges[0].is_none() && ranges[1].is_some() && ranges[2].is_some(), "{ranges:?}");
    assert!(requests[1].headers.contains_key("if-range"));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_byte_the_next_source_is_tried_and_after_it_none() {
    let (site, artifact) = big_site(1 << 20);
    let (scene, second) = (Scene::with(site.clone()).await, Scene::with(site).await);
    let path = artifact.to_string();
    let whole = scene.upstream.body(&path).unwrap();
    let upstreams = [scene.upstream.url(), second.upstream.url()];
    let config = crate::support::config(&scene.cache(), &upstreams, HASTY);
    let airlock = Airlock::quiet(&config).await;

    scene.upstream.fail(&path, Fault::Status(404, None));
    assert!(airlock.get(&path).await.bytes().await.unwrap() == whole);
    assert_eq!((scene.upstream.gets(&path), second.upstream.gets(&path)), (1, 1));
    fs_err::remove_file(airlock.mirror.store().path(&artifact)).unwrap();
    airlock.mirror.rescan().await;

    scene.upstream.fail(&path, Body::without_etag(Body::gated(900_000, &Gate::new())));
    let mut response = airlock.get(&path).await;
    response.chunk().await.unwrap().unwrap();
    // The client has bytes, and now their source is gone.
    drop(scene.upstream);
    while let Ok(chunk) = response.chunk().await {
        assert!(chunk.is_some(), "it was completed");
    }
    assert_eq!(second.upstream.gets(&path), 1, "other bytes may not follow");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_and_the_name_comes_from_the_request() {
    let scene = Scene::new().await;
    let site = Site::sample().unwrap();
    let [first, second] = [0, 1].map(|index| {
        site.resources().filter(|resource| matches!(resource, Resource::Package { .. })).nth(index).unwrap()
    });
    let to = |resource: &Resource| Fault::Redirect(format!("{}{resource}", scene.upstream.url()));
    let airlock = Airlock::quiet(&scene.online()).await;

    scene.upstream.put("/cdn", scene.upstream.body(&first.to_string()).unwrap());
    scene.upstream.fail(&first.to_string(), Fault::Redirect(format!("{}/cdn", scene.upstream.url())));
    assert_eq!(airlock.get(&first.to_string()).await.status(), 200);
    // Where it leads to is another package: good bytes under the wrong name.
    scene.upstream.fail(&second.to_string(), to(&first));
    assert_eq!(airlock.get(&second.to_string()).await.status(), 502);
    assert!(!airlock.mirror.store().has(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_headers_are_not_passed_on() {
    let scene = Scene::new().await;
    let path = Site::sample().unwrap().resources().next().unwrap().to_string();
    let airlock = Airlock::quiet(&scene.online()).await;
    let secrets = [("authorization", "Bearer secret"), ("cookie", "a=b"), ("julia-version", "1.10.2"), ("x-own", "1")];
    let response = airlock.request(reqwest::Method::GET, &path, &secrets).await;
    assert_eq!(response.status(), 200);
    let asked = &scene.upstream.requests()[0].headers;
    for (name, _) in secrets {
        assert!(!asked.contains_key(name), "{name} was passed on");
    }
    assert_eq!(asked["accept-encoding"], "gzip");
    assert!(asked["user-agent"].starts_with("airlock/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_remembered_for_one_resource_until_something_new_may_be_there() {
    let scene = Scene::new().await;
    let path = Site::sample().unwrap().resources().next().unwrap().to_string();
    scene.upstream.fail(&path, Fault::Status(404, None));
    let airlock = Airlock::quiet(&scene.online()).await;
    assert_eq!(airlock.get(&path).await.status(), 404);
    assert_eq!(airlock.get(&path).await.status(), 404);
    assert_eq!(scene.upstream.gets(&path), 1);
    airlock.mirror.rescan().await;
    assert_eq!(airlock.get(&path).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_of_a_cold_key_tells_the_length_and_fetches() {
    let (scene, artifact) = big_scene().await;
    let path = artifact.to_string();
    let whole = scene.upstream.body(&path).unwrap();
    let airlock = Airlock::quiet(&scene.online()).await;
    let head = airlock.request(reqwest::Method::HEAD, &path, &[]).await;
    assert_eq!(head.headers()["content-length"], whole.len().to_string());
    assert!(airlock.get(&path).await.bytes().await.unwrap() == whole);
    assert_eq!(scene.upstream.gets(&path), 1);
}
