//! Each upstream has time-outs of its own, and nobody waits for another.

use super::hosts::table;
use super::{nowhere, packages};
use crate::binary::{Serving, command};
use crate::support::{Airlock, LONG, Scene, client, config, mirror};
use airlock::mirror::Patience;
use airlock::protocol::Flavor;
use airlock::sample::{Fault, SampleUpstream, Site};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_upstreams_each_is_left_after_its_own_time() {
    let (one, other) = (Scene::new().await, SampleUpstream::start(Site::sample().unwrap()).await.unwrap());
    let [first, second, ..] = packages()[..] else { panic!("the sample is too small") };
    let bounds = |name: &str| format!("first-byte-timeout = '{name}'\n");
    let file = table(&one.upstream.url(), &[]) + &bounds("210ms") + &table(&other.url(), &[]) + &bounds("320ms");
    let airlock = Airlock::quiet(&config(&one.cache(), &[], &file)).await;
    for upstream in [&one.upstream, &other] {
        for _ in 0..9 {
            upstream.fail(&first.to_string(), Fault::Silence);
        }
    }
    assert_eq!(airlock.get(&first.to_string()).await.status(), 504);
    let said: Vec<_> = airlock.mirror.sources().into_iter().map(|(_, health)| health.last_error.unwrap().1).collect();
    assert_eq!(said, ["no byte for 210ms", "no byte for 320ms"]);
    assert_eq!(airlock.get(&second.to_string()).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_has_its_own_time_to_be_connected_to() {
    // Who listens and accepts nobody lets a few wait, and then nobody in.
    let full = tokio::net::TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(500)) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "everybody is let in");
    }
    let scene = Scene::new().await;
    let quick = "connect-timeout = '250ms'\nfirst-byte-timeout = '2m'\n";
    let file = "[mirror]\nconnect-timeout = '2m'\n".to_owned()
        + &table(&format!("http://{address}"), &[])
        + quick
        + &table(&scene.upstream.url(), &[]);
    let airlock = Airlock::quiet(&config(&scene.cache(), &[], &file)).await;
    // With the time of [mirror] nobody would come to the second one before the client had left.
    assert_eq!(airlock.get(&packages()[0].to_string()).await.status(), 200);
    assert_eq!(airlock.mirror.sources()[0].1.unreachable, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_upstream_keeps_no_other_from_being_asked_for_its_listings() {
    let (silent, other) = (Scene::new().await, SampleUpstream::start(Site::sample().unwrap()).await.unwrap());
    let paths = Flavor::ALL.map(|flavor| format!("/{}", flavor.file_name()));
    for path in &paths {
        silent.upstream.fail(path, Fault::Silence);
    }
    let bounds = "[mirror]\nfirst-byte-timeout = '2m'\n";
    let mirror = mirror(&config(&silent.cache(), &[silent.upstream.url(), other.url()], bounds));
    let asking = Arc::clone(&mirror);
    let refresh = tokio::spawn(async move { asking.refresh_registries(Patience::prewarm(1)).await });
    // All flavors of both, while none of the first has come.
    let asked = async {
        while ![&silent.upstream, &other].iter().all(|it| paths.iter().all(|path| it.gets(path) == 1)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, asked).await.unwrap();
    refresh.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_goes_by_the_order_and_not_by_who_is_quicker() {
    let mut newer = Site::sample().unwrap();
    let entries = [airlock::tree::TarEntry::file(
        "Registry.toml",
        format!("name='General'\nuuid='{}'\n[packages]\n", airlock::protocol::GENERAL),
        false,
    )];
    let first = newer.add_registry(airlock::protocol::GENERAL, entries).unwrap();
    let (slow, quick) = (Scene::with(newer).await, SampleUpstream::start(Site::sample().unwrap()).await.unwrap());
    slow.upstream.set_latency(std::time::Duration::from_millis(300));
    let mirror = mirror(&config(&slow.cache(), &[slow.upstream.url(), quick.url()], ""));
    assert_eq!(mirror.refresh_registries(Patience::prewarm(1)).await, []);
    let log = mirror.store().generations().unwrap();
    assert!(log.iter().all(|it| it.tree == first.tree() && it.source == slow.upstream.url()), "{log:?}");
    assert_eq!(log.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_reach_for_all_flavors_is_one_failure() {
    let scene = Scene::new().await;
    let mirror = mirror(&config(&scene.cache(), &[format!("http://{}", nowhere())], ""));
    let problems = mirror.refresh_registries(Patience::prewarm(1)).await;
    assert_eq!((problems.len(), mirror.sources()[0].1.unreachable), (1, 1), "{problems:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_goes_over_https_or_stays_on_this_host() {
    let (scene, folder) = (Scene::new().await, tempfile::tempdir().unwrap());
    let proxy = super::hosts::ProxyServer::start(scene.upstream.address()).await;
    let file = table("http://me:hidden@dmz.invalid", &[])
        + &format!("proxy = 'http://{}'\n", proxy.address)
        + "[[registry]]\ngit = 'http://me:hidden@git.invalid/R.git'\n";
    fs_err::write(folder.path().join("airlock.toml"), file).unwrap();
    let mut serve = command(folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let serving = Serving::start(serve).await;
    let warned = serving.heard.matches("its user and password are not sent").count();
    assert!(warned == 2 && !serving.heard.contains("hidden"), "{}", serving.heard);
    // It may be private: the registry was never read.
    let _ = client().get(format!("{}{}", serving.url, packages()[0])).send().await.unwrap();
    let mut heads = proxy.heads();
    while heads.is_empty() {
        tokio::task::yield_now().await;
        heads = proxy.heads();
    }
    assert!(heads.iter().all(|head| !head.contains("authorization")), "{heads:?}");
    let here = scene.upstream.url().replace("http://", "http://me:hidden@");
    let airlock = Airlock::quiet(&config(&scene.cache(), &[here], "")).await;
    assert_eq!(airlock.get(&packages()[0].to_string()).await.status(), 200);
    assert!(scene.upstream.requests().iter().any(|it| it.headers.contains_key("authorization")));
}
