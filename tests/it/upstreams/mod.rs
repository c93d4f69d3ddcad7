//! Package servers as sites have them: with a certificate authority of their own, a token, a proxy
//! in between, a limit; what is said of their health; and airlocks in a row.

mod chains;
mod health;
mod hosts;
mod queue;
mod tokens;
mod waits;

use crate::authority::Authority;
use crate::binary::{command, run, said};
use crate::support::{Airlock, Scene, client, config, mirror};
use airlock::mirror::{Ask, ListingAnswer, Patience, Refusal};
use airlock::protocol::{Flavor, Kind, Resource};
use airlock::sample::{Body, Fault, Gate, SampleUpstream, Site};
use hosts::{Guard, ProxyServer, Tls, table};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

fn packages() -> Vec<Resource> {
    let site = Site::sample().unwrap();
    site.resources().filter(|resource| resource.kind() == Kind::Package).collect()
}

async fn status(file: &str) -> u16 {
    let folder = tempfile::tempdir().unwrap();
    let airlock = Airlock::quiet(&config(folder.path(), &[], file)).await;
    airlock.get(&packages()[0].to_string()).await.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_may_have_its_own_authority_and_want_a_certificate() {
    let (authority, scene) = (Authority::new(), Scene::new().await);
    let tls = Tls::start(&authority, scene.upstream.address()).await;
    let (ca, certificate, key) = (authority.file("ca.pem"), authority.file("client.pem"), authority.file("client.key"));
    let all: [(&str, &Path); 3] = [("ca-file", &ca), ("client-certificate", &certificate), ("client-key", &key)];
    assert_eq!(status(&table(&tls.url(), &all)).await, 200);
    assert_eq!(status(&table(&tls.url(), &all[..1])).await, 502, "without a certificate");
    assert_eq!(status(&table(&tls.url(), &all[1..])).await, 502, "of an authority that nobody knows");
    let both = authority.file("both.pem");
    let text = [&certificate, &key].map(|file| fs_err::read_to_string(file).unwrap()).concat();
    fs_err::write(&both, text).unwrap();
    assert_eq!(status(&table(&tls.url(), &[("ca-file", &ca), ("client-certificate", &both)])).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_said_before_anything_is_served() {
    let authority = Authority::new();
    let folder = authority.folder.path();
    fs_err::write(folder.join("empty"), " \n").unwrap();
    fs_err::write(folder.join("two"), "not-a-secret another\n").unwrap();
    fs_err::write(folder.join("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    for (lines, says) in [
        ("token-file = 'nothere.token'", "nothere.token"),
        ("token-file = 'empty'", "there is no token in empty"),
        ("token-file = 'two'", "two has more than a token in it"),
        ("token-env = 'NO_SUCH_TOKEN'", "the environment variable NO_SUCH_TOKEN is not set"),
        ("ca-file = 'nothere.pem'", "nothere.pem"),
        ("ca-file = 'client.key'", "client.key has no certificate in PEM form"),
        ("ca-file = 'broken.pem'", "broken.pem has a certificate that cannot be used"),
        ("client-certificate = 'client.pem'", "client.pem has no private key in PEM form"),
        (
            "client-certificate = 'client.pem'\nclient-key = 'other.key'",
            "the key in other.key is not that of the certificate in client.pem",
        ),
        ("client-certificate = 'empty'\nclient-key = 'client.key'", "empty has no certificate in PEM form"),
        ("proxy = 'socks5://u:not-a-secret@p:1'", "\"p:1\" is not the address of an HTTP proxy"),
    ] {
        fs_err::write(folder.join("airlock.toml"), format!("[[upstream]]\nurl = 'https://dmz.invalid'\n{lines}\n"))
            .unwrap();
        let output = run(folder, &["serve", "--listen", "127.0.0.1:0"]).await;
        let (code, text) = said(&output);
        assert!(code == Some(2) && text.contains(says) && !text.contains("not-a-secret"), "{lines}: {code:?} {text}");
    }
    let offline = "offline = true\n[[upstream]]\nurl = 'https://dmz.invalid'\ntoken-file = 'nothere.token'\n";
    fs_err::write(folder.join("airlock.toml"), offline).unwrap();
    let (code, text) = said(&run(folder, &["misses"]).await);
    assert_ne!(code, Some(2), "what is never asked needs no token: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_gone_through_with_its_own_password() {
    let (authority, scene) = (Authority::new(), Scene::new().await);
    let tls = Tls::start(&authority, scene.upstream.address()).await;
    let proxy = ProxyServer::start(tls.address).await;
    let (ca, certificate, key) = (authority.file("ca.pem"), authority.file("client.pem"), authority.file("client.key"));
    let files: [(&str, &Path); 3] = [("ca-file", &ca), ("client-certificate", &certificate), ("client-key", &key)];
    let through = |name: &str| table(name, &files) + &format!("proxy = 'http://me:word@{}'\n", proxy.address);
    assert_eq!(status(&through("https://localhost:9")).await, 200);
    let heads = proxy.heads();
    assert!(heads[0].starts_with("connect localhost:9 "), "{heads:?}");
    assert!(heads[0].contains("proxy-authorization: basic bwu6d29yza=="), "{heads:?}");
    let requests = scene.upstream.requests();
    assert!(requests.iter().all(|request| !request.headers.contains_key("proxy-authorization")), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_names_a_proxy_unless_the_upstream_says_otherwise() {
    let scene = Scene::new().await;
    let proxy = ProxyServer::start(scene.upstream.address()).await;
    let path = packages()[0].to_string();
    let get = async |url: &str, lines: &str| {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("airlock.toml"), format!("[[upstream]]\nurl = '{url}'\n{lines}")).unwrap();
        let mut serve = command(folder.path());
        serve.args(["serve", "--listen", "127.0.0.1:0"]).env("HTTP_PROXY", format!("http://{}", proxy.address));
        serve.env("http_proxy", format!("http://{}", proxy.address));
        let serving = crate::binary::Serving::start(serve).await;
        let status = client().get(format!("{}{path}", serving.url)).send().await.unwrap().status().as_u16();
        (status, proxy.heads().len())
    };
    let (status, asked) = get("http://pkg.invalid", "").await;
    assert!(status == 200 && asked > 0, "{status} {asked}");
    assert!(proxy.heads()[0].starts_with("get http://pkg.invalid/"), "{:?}", proxy.heads());
    assert_eq!(get("http://pkg.invalid", "proxy = 'none'\n").await, (502, asked));
    assert_eq!(get(&scene.upstream.url(), "").await, (200, asked), "this host needs none");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_are_under_way_than_an_upstream_wants() {
    let gate = Gate::new();
    let guard = Guard::start(SampleUpstream::start(Site::sample().unwrap()).await.unwrap(), None, Some(gate.clone()));
    let guard = guard.await;
    let folder = tempfile::tempdir().unwrap();
    let mirror = mirror(&config(folder.path(), &[], &format!("{}concurrency = 2\n", table(&guard.url(), &[]))));
    let fetches: Vec<_> = packages()
        .into_iter()
        .map(|package| {
            let mirror = Arc::clone(&mirror);
            tokio::spawn(async move { mirror.fetch(&package, Patience::prewarm(1)).await })
        })
        .collect();
    assert!(fetches.len() > 3);
    while guard.under_way().0 < 2 {
        tokio::task::yield_now().await;
    }
    gate.open();
    for fetch in fetches {
        fetch.await.unwrap().unwrap();
    }
    assert_eq!(guard.under_way(), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_on_its_way_keeps_its_place_and_who_waits_blames_nobody() {
    let (site, large) = crate::flights::big_site(1 << 20);
    let scene = Scene::with(site).await;
    let gate = Gate::new();
    scene.upstream.fail(&large.to_string(), Body::gated(1000, &gate));
    let file = format!("{}concurrency = 1\n[mirror]\nsilence = '300ms'\n", table(&scene.upstream.url(), &[]));
    let airlock = Airlock::quiet(&config(&scene.cache(), &[], &file)).await;
    let mirror = Arc::clone(&airlock.mirror);
    let first = tokio::spawn(async move { mirror.fetch(&large, Patience::prewarm(1)).await });
    while scene.upstream.gets(&large.to_string()) == 0 {
        tokio::task::yield_now().await;
    }
    let package = packages()[0];
    let refused = airlock.mirror.get(&package, &Ask::default()).await.err();
    assert!(matches!(refused, Some(Refusal::Slow(_))), "{refused:?}");
    assert_eq!(scene.upstream.gets(&package.to_string()), 0);
    let health = airlock.mirror.sources()[0].1.clone();
    assert_eq!((health.unreachable, health.last_error), (0, None));
    gate.open();
    first.await.unwrap().unwrap();
    assert_eq!(airlock.get(&package.to_string()).await.status(), 200, "its place is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_gets_no_place_is_no_outage_and_keeps_no_other_waiting() {
    let (site, large) = crate::flights::big_site(1 << 20);
    let (scene, second) = (Scene::with(site).await, SampleUpstream::start(Site::sample().unwrap()).await.unwrap());
    let slow = Body { rate: Some(100_000), ..Body::default() };
    scene.upstream.fail(&large.to_string(), Fault::Send(slow));
    let bounds = "concurrency = 1\nfirst-byte-timeout = '100ms'\nidle-timeout = '1s'\n";
    let file = table(&scene.upstream.url(), &[]) + bounds + &table(&second.url(), &[]);
    let mirror = mirror(&config(&scene.cache(), &[], &file));
    let holder = Arc::clone(&mirror);
    let download = tokio::spawn(async move { holder.fetch(&large, Patience::prewarm(1)).await });
    while scene.upstream.gets(&large.to_string()) == 0 {
        tokio::task::yield_now().await;
    }
    let problems = mirror.refresh_registries(Patience::prewarm(1)).await;
    assert!(problems.len() == 1 && problems[0].reason.contains("all 1 requests"), "{problems:?}");
    assert!(mirror.listing(&[Flavor::Conservative], None).await.is_ok_and(|it| it != ListingAnswer::Nothing));
    assert_eq!(mirror.sources()[0].1.unreachable, 0);
    download.abort();
}

/// Where nobody listens: each time another address of the loopback network, so that no other test
/// is given the port meanwhile.
fn nowhere() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let host = Ipv4Addr::new(127, 77, 77, NEXT.fetch_add(1, Ordering::Relaxed));
    std::net::TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}
