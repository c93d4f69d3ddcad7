//! The server over TLS: whom it lets in, which certificate it shows as files change, and what it
//! says of files that it cannot use.

mod julia;

use crate::authority::Authority;
use crate::binary::{Serving, command, run, said};
use crate::support::{Airlock, LONG, Scene, config};
use airlock::doctor::{Environment, Options, examine};
use airlock::server::{App, Tls};
use rcgen::date_time_ymd;
use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A client that trusts this authority alone.
pub(crate) fn client(authority: &Authority, identity: Option<&str>) -> reqwest::Client {
    let pem = |file: &str| fs_err::read(authority.file(file)).unwrap();
    let roots = reqwest::Certificate::from_pem_bundle(&pem("ca.pem")).unwrap();
    let mut builder = reqwest::Client::builder().tls_certs_only(roots).pool_max_idle_per_host(0).no_proxy();
    if let Some(stem) = identity {
        let both = [pem(&format!("{stem}.pem")), pem(&format!("{stem}.key"))].concat();
        builder = builder.identity(reqwest::Identity::from_pem(&both).unwrap());
    }
    builder.build().unwrap()
}

pub(crate) async fn get(client: &reqwest::Client, airlock: &Airlock, path: &str) -> Result<String, reqwest::Error> {
    client.get(format!("https://{}{path}", airlock.address)).send().await?.error_for_status()?.text().await
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_served_and_nothing_else_and_pages_say_https() {
    let (authority, scene) = (Authority::new(), Scene::new().await);
    authority.issue("server", |_| {});
    let airlock = Airlock::quiet(&scene.configured(&authority.section("server", ""))).await;
    let client = client(&authority, None);
    let page = get(&client, &airlock, "/").await.unwrap();
    assert!(page.contains(&format!("export JULIA_PKG_SERVER=https://{}", airlock.address)), "{page}");
    let package = airlock::sample::Site::sample().unwrap().resources().next().unwrap().to_string();
    let body = client.get(format!("https://{}{package}", airlock.address)).send().await.unwrap();
    assert!(body.bytes().await.unwrap() == scene.upstream.body(&package).unwrap());
    assert!(crate::support::client().get(airlock.url("/health")).send().await.is_err(), "it answered in plain text");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_asks_the_server_of_this_machine_as_it_speaks() {
    let authority = Authority::new();
    authority.issue("server", |_| {});
    let folder = authority.folder.path();
    fs_err::write(folder.join("airlock.toml"), authority.section("server", "")).unwrap();
    let mut serve = command(folder);
    serve.args(["serve", "--offline", "--listen", "127.0.0.1:0"]);
    let serving = Serving::start(serve).await;
    let listen = serving.url.rsplit('/').next().unwrap().to_owned();
    let healthy = run(folder, &["health", "--listen", &listen]).await;
    assert!(healthy.status.success(), "{:?}", said(&healthy));
    let elsewhere = run(folder, &["health", &serving.url.replace("http:", "https:")]).await;
    assert_eq!(elsewhere.status.code(), Some(1), "whoever is named must be who it says: {:?}", said(&elsewhere));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_a_certificate_as_it_is_demanded() {
    let (authority, strangers, scene) = (Authority::new(), Authority::new(), Scene::new().await);
    authority.issue("server", |_| {});
    // The same file of roots as ours, but a certificate that is not signed by ours.
    for kind in ["pem", "key"] {
        let file = format!("client.{kind}");
        fs_err::copy(strangers.file(&file), authority.file(&format!("stranger.{kind}"))).unwrap();
    }
    let ca = format!("client-ca = '{}'\n", authority.file("ca.pem").display());
    for (demand, nobody, stranger) in [("", false, false), ("required", false, false), ("optional", true, false)] {
        let demand = if demand.is_empty() { String::new() } else { format!("client-certificate = '{demand}'") };
        let section = authority.section("server", &format!("{ca}{demand}"));
        let airlock = Airlock::quiet(&scene.configured(&section)).await;
        for (identity, let_in) in [(Some("client"), true), (None, nobody), (Some("stranger"), stranger)] {
            let answer = get(&client(&authority, identity), &airlock, "/health").await;
            assert_eq!(answer.is_ok(), let_in, "{demand} {identity:?}: {answer:?}");
        }
    }
}

/// Shakes hands, and says which certificate was shown.
async fn shown(authority: &Authority, address: SocketAddr) -> CertificateDer<'static> {
    let mut config = ClientConfig::builder().with_root_certificates(authority.roots()).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (_, session) = stream.get_ref();
    assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
    session.peer_certificates().unwrap()[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_files_are_taken_up_and_broken_ones_are_not() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let first = authority.issue("server", |_| {});
    fs_err::write(folder.path().join("airlock.toml"), authority.section("server", "")).unwrap();
    let mut serve = command(folder.path());
    serve.args(["serve", "--offline", "--listen", "127.0.0.1:0"]);
    let mut serving = Serving::start(serve).await;
    assert!(serving.url.starts_with("https://"), "{}", serving.url);
    let address = serving.url.rsplit('/').next().unwrap().parse().unwrap();
    assert_eq!(shown(&authority, address).await, first);

    // Nobody tells it.
    let second = authority.issue("server", |_| {});
    serving.hears("the TLS certificate was read again").await;
    assert_eq!(shown(&authority, address).await, second);

    let pid = Pid::from_raw(i32::try_from(serving.child.id().unwrap()).unwrap()).unwrap();
    let hangup = || kill_process(pid, Signal::HUP);
    let key = fs_err::read(authority.file("server.key")).unwrap();
    let other = fs_err::read(authority.file("other.key")).unwrap();
    for (bad, says) in [(other.as_slice(), "is not that of the certificate in"), (b"half a ", "has no private key")] {
        fs_err::write(authority.file("server.key"), bad).unwrap();
        hangup().unwrap();
        // Whether the signal or the change is seen first, it is said.
        loop {
            let line = serving.hears("the certificate of before stays in use").await;
            if line.contains(says) {
                break;
            }
        }
        assert_eq!(shown(&authority, address).await, second);
    }
    fs_err::write(authority.file("server.key"), key).unwrap();
    let third = authority.issue("server", |_| {});
    hangup().unwrap();
    serving.hears("the TLS certificate was read again").await;
    assert_eq!(shown(&authority, address).await, third);
    assert!(serving.stop(Signal::TERM).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn days_left_and_the_last_error_are_known() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.issue("server", |params| params.not_after = date_time_ymd(2150, 1, 1));
    let config = config(folder.path(), &[], &authority.section("server", ""));
    let tls = Tls::load(&config).await.unwrap().unwrap();
    let app = App::new(crate::support::mirror(&config), config).with_tls(Some(Arc::clone(&tls)));
    let good = tls.status();
    assert_eq!((good.expires.to_string().as_str(), &good.last_error), ("2150-01-01T00:00:00Z", &None));
    assert!(good.days_left > 365, "{good:?}");
    // One that is over does not replace one that is not.
    authority.issue("server", |params| params.not_after = date_time_ymd(2001, 1, 1));
    app.reload_tls().await;
    let bad = tls.status();
    assert!(bad.last_error.as_ref().is_some_and(|error| error.contains("which is not now")), "{bad:?}");
    assert_eq!(bad.expires, good.expires);
    fs_err::remove_file(authority.file("server.pem")).unwrap();
    app.reload_tls().await;
    assert!(tls.status().last_error.unwrap().contains("server.pem"));
    authority.issue("server", |params| params.not_after = date_time_ymd(2140, 1, 1));
    app.reload_tls().await;
    assert_eq!((tls.status().expires.to_string().as_str(), tls.status().last_error), ("2140-01-01T00:00:00Z", None));
    // A server whose clock is wrong, as clocks inside are, must start all the same.
    authority.issue("server", |params| params.not_after = date_time_ymd(2001, 1, 1));
    let config = crate::support::config(folder.path(), &[], &authority.section("server", ""));
    assert!(Tls::load(&config).await.unwrap().unwrap().status().days_left < -9000);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_used_are_refused_before_anything_is_served() {
    let authority = Authority::new();
    let folder = authority.folder.path();
    authority.issue("server", |_| {});
    fs_err::write(folder.join("empty"), "\n").unwrap();
    fs_err::write(folder.join("binary"), [0xff; 64]).unwrap();
    fs_err::write(folder.join("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    fs_err::write(folder.join("locked.key"), locked).unwrap();
    let good = "certificate = 'server.pem'\nkey = 'server.key'\n";
    for (lines, says) in [
        ("certificate = 'nothere.pem'\nkey = 'server.key'", "nothere.pem"),
        ("certificate = 'server.pem'\nkey = 'nothere.key'", "nothere.key"),
        ("certificate = '.'\nkey = 'server.key'", "Is a directory"),
        ("certificate = 'server.pem'", "server.pem has no private key in PEM form"),
        ("certificate = 'server.key'\nkey = 'server.key'", "server.key has no certificate in PEM form"),
        ("certificate = 'empty'\nkey = 'server.key'", "empty has no certificate in PEM form"),
        ("certificate = 'binary'\nkey = 'server.key'", "binary has no certificate in PEM form"),
        ("certificate = 'broken.pem'\nkey = 'server.key'", "broken.pem"),
        ("certificate = 'server.pem'\nkey = 'locked.key'", "an encrypted one cannot be used"),
        ("certificate = 'server.pem'\nkey = 'other.key'", "other.key is not that of the certificate in server.pem"),
        (&format!("{good}client-ca = 'nothere.pem'"), "nothere.pem"),
        (&format!("{good}client-ca = 'server.key'"), "server.key has no certificate in PEM form"),
        (&format!("{good}client-ca = 'broken.pem'"), "broken.pem has a certificate that cannot be used"),
        (&format!("{good}client-certificate = 'required'"), "needs a tls.client-ca"),
        ("key = 'server.key'", "need a tls.certificate"),
    ] {
        fs_err::write(folder.join("airlock.toml"), format!("[tls]\n{lines}\n")).unwrap();
        let (code, text) = said(&run(folder, &["serve", "--offline", "--listen", "127.0.0.1:0"]).await);
        assert!(code == Some(2) && text.contains(says) && !text.contains("serving at"), "{lines}: {code:?} {text}");
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    }
    // Flags and the environment say the same.
    fs_err::write(folder.join("airlock.toml"), "").unwrap();
    let mut serve = command(folder);
    serve.env("AIRLOCK_TLS_KEY", "server.key");
    serve.args(["serve", "--offline", "--listen", "127.0.0.1:0", "--tls-certificate", "server.pem"]);
    assert!(Serving::start(serve).await.url.starts_with("https://"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_without_an_end_is_cut_and_keeps_nobody() {
    let (authority, scene) = (Authority::new(), Scene::new().await);
    authority.issue("server", |_| {});
    let with = |more: &str| scene.configured(&format!("{}{more}", authority.section("server", "")));
    let airlock = Airlock::quiet(&with("[server]\nheader-timeout = '500ms'\n")).await;
    let mut silent = Vec::new();
    for bytes in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"] {
        let mut stream = TcpStream::connect(airlock.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        silent.push(stream);
    }
    assert_eq!(get(&client(&authority, None), &airlock, "/health").await.unwrap(), "ok\n", "others wait for them");
    for stream in &mut silent {
        let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut Vec::new())).await.expect("it is never cut");
    }
    // And a server that stops does not wait for one.
    let airlock = Airlock::quiet(&with("[server]\nheader-timeout = '10m'\nshutdown-timeout = '10m'\n")).await;
    let _silent = TcpStream::connect(airlock.address).await.unwrap();
    get(&client(&authority, None), &airlock, "/health").await.unwrap();
    tokio::time::timeout(LONG, airlock.stop()).await.expect("it waits for a handshake");
}

/// What the doctor says of the listing, and what to do.
async fn doctor(url: String, ca: Option<&Path>) -> (String, String) {
    let ca_roots_path = ca.map(|file| file.display().to_string());
    let environment = Environment { pkg_server: Some(url), ca_roots_path, ..Environment::default() };
    let report = examine(Options { environment, ..Options::default() }).await;
    let listing = report.checks.into_iter().find(|check| check.name == "listing").unwrap();
    (listing.detail, listing.remedy.join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_the_remedy_for_an_authority_that_nobody_knows() {
    let (authority, scene) = (Authority::new(), Scene::new().await);
    authority.issue("server", |_| {});
    let section = authority.section("server", "");
    let airlock = Airlock::quiet(&scene.configured(&section)).await;
    airlock.mirror.refresh_registries(airlock::mirror::Patience::prewarm(1)).await;
    let url = format!("https://localhost:{}", airlock.address.port());
    let (detail, remedy) = doctor(url.clone(), None).await;
    assert!(detail.contains("does not trust the server's certificate"), "{detail}");
    assert!(remedy.contains("export JULIA_SSL_CA_ROOTS_PATH=") && remedy.contains("export SSL_CERT_FILE="), "{remedy}");
    let (detail, _) = doctor(url, Some(&authority.file("ca.pem"))).await;
    assert!(detail.contains("names one registry"), "{detail}");
    // No Julia has a certificate to show.
    let section = authority.section("server", &format!("client-ca = '{}'", authority.file("ca.pem").display()));
    let airlock = Airlock::quiet(&scene.configured(&section)).await;
    let url = format!("https://localhost:{}", airlock.address.port());
    let (detail, remedy) = doctor(url, Some(&authority.file("ca.pem"))).await;
    assert!(detail.contains("wants a client certificate"), "{detail}");
    assert!(remedy.contains("client-certificate") && !remedy.contains("CA_ROOTS"), "{remedy}");
}
