//! The audit log: complete, private, and in nobody's way.

use super::Samples;
use crate::flights::big_site;
use crate::support::{Airlock, LONG, Scene, client};
use airlock::protocol::{Kind, Resource, TreeHash};
use airlock::sample::{Body, Gate};
use fs_err as fs;
use reqwest::Method;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const ON: &str = "[audit]\nenabled = true\n";

fn lines(folder: &Path) -> Vec<Value> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fetched_what_is_written_down() {
    let (sample, large) = big_site(1 << 20);
    let package = crate::view::resource("Pebble/1.0.0");
    let scene = Scene::with(sample).await;
    let airlock = Airlock::quiet(&scene.configured(ON)).await;
    airlock.mirror.refresh_registries(crate::registries::PATIENCE).await;
    airlock.mirror.load_names().await;
    let size = scene.upstream.body(&package.to_string()).unwrap().len();
    let id = |id: &'static str| [("x-request-id", id)];
    airlock.request(Method::GET, &package.to_string(), &id("fetch")).await.bytes().await.unwrap();
    airlock.request(Method::HEAD, &package.to_string(), &id("head")).await;
    let range = [("x-request-id", "range"), ("range", "bytes=1-3")];
    airlock.request(Method::GET, &package.to_string(), &range).await.bytes().await.unwrap();
    let absent = Resource::Artifact { tree: TreeHash::EMPTY };
    airlock.request(Method::GET, &absent.to_string(), &id("absent")).await.bytes().await.unwrap();
    scene.upstream.fail(&large.to_string(), Body::without_etag(Body::short(500_000)));
    for _ in 0..9 {
        scene.upstream.fail(&large.to_string(), airlock::sample::Fault::Status(500, None));
    }
    let cut = client().get(airlock.url(&large.to_string())).header("x-request-id", "cut").send();
    // The connection may be closed before the head is out.
    if let Ok(cut) = tokio::time::timeout(LONG, cut).await.unwrap() {
        assert!(cut.bytes().await.is_err());
    }
    for path in ["/", "/meta", "/metrics", "/registries", "/nothing"] {
        airlock.request(Method::GET, path, &id("other")).await;
    }
    airlock.stop().await;

    let folder = scene.cache().join(".airlock/audit");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert!(fs::read_dir(&folder).unwrap().all(|file| mode(&file.unwrap().path()) == 0o600));
    let lines = lines(&folder);
    let keys = ["id", "method", "status", "cache", "whole"];
    let short: Vec<_> = lines.iter().map(|line| keys.map(|key| line[key].to_string().replace('"', ""))).collect();
    let expected = [
        ["fetch", "GET", "200", "fetched", "true"],
        ["head", "HEAD", "200", "hit", "true"],
        ["range", "GET", "206", "hit", "true"],
        ["absent", "GET", "404", "miss", "true"],
        ["cut", "GET", "200", "fetched", "false"],
    ];
    assert_eq!(short, expected);
    assert_eq!([0, 1, 2].map(|line: usize| lines[line]["bytes"].clone()), [size, 0, 3]);
    let sent = lines[4]["bytes"].as_u64().unwrap();
    assert!(sent > 0 && sent < 500_000, "{sent}");
    let now = jiff::Timestamp::now().as_second();
    for line in &lines {
        assert_eq!(line.as_object().unwrap().len(), 12, "{line}");
        assert_eq!((&line["client"], &line["token"]), (&"127.0.0.1".into(), &Value::Null));
        let time: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
        assert!((now - time.as_second()).abs() < 3600);
    }
    assert_eq!(lines[0]["resource"], package.to_string());
    assert_eq!((&lines[0]["name"], &lines[0]["version"]), (&"Pebble".into(), &"1.0.0".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_the_end_of_the_server_cuts_is_written_down() {
    let (sample, large) = big_site(1 << 20);
    let scene = Scene::with(sample).await;
    let gate = Gate::new();
    scene.upstream.fail(&large.to_string(), Body::gated(500_000, &gate));
    let airlock = Airlock::quiet(&scene.configured(&format!("{ON}[server]\nshutdown-timeout = '0s'\n"))).await;
    let mut response = airlock.get(&large.to_string()).await;
    response.chunk().await.unwrap().unwrap();
    airlock.stop().await;
    while let Ok(Some(_)) = response.chunk().await {}
    let lines = lines(&scene.cache().join(".airlock/audit"));
    let short: Vec<_> = lines.iter().map(|line| (&line["resource"], &line["status"], &line["whole"])).collect();
    assert_eq!(short, [(&large.to_string().into(), &200.into(), &false.into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_off_unless_somebody_turns_it_on() {
    let scene = Scene::new().await;
    let airlock = Airlock::quiet(&scene.online()).await;
    airlock.get(&crate::view::resource("Pebble/1.0.0").to_string()).await;
    let samples = Samples::scrape(&airlock).await;
    assert_eq!(samples.get("airlock_audit_lines_written_total"), 0);
    airlock.stop().await;
    assert!(!scene.cache().join(".airlock/audit").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_is_in_nobodys_way_and_is_seen() {
    let scene = Scene::new().await;
    let place = scene.folder.path().join("place");
    fs::write(&place, "no folder").unwrap();
    let file = format!("{ON}folder = '{}'\n", place.display());
    let airlock = Airlock::quiet(&scene.configured(&file)).await;
    let site = airlock::sample::Site::sample().unwrap();
    let paths: Vec<_> = site.resources().filter(|resource| resource.kind() == Kind::Package).take(3).collect();
    for path in &paths {
        assert_eq!(airlock.get(&path.to_string()).await.status(), 200);
    }
    let (dropped, written) = ("airlock_audit_lines_dropped_total", "airlock_audit_lines_written_total");
    let all_lost = async {
        while Samples::scrape(&airlock).await.get(dropped) < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::LONG, all_lost).await.unwrap();
    // The disk is put right, and it goes on.
    fs::remove_file(&place).unwrap();
    assert_eq!(airlock.get(&paths[0].to_string()).await.status(), 200);
    let goes_on = async {
        while Samples::scrape(&airlock).await.get(written) < 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::LONG, goes_on).await.unwrap();
    assert_eq!(Samples::scrape(&airlock).await.get(dropped), 3);
    airlock.stop().await;
    assert_eq!(lines(&place).len(), 1);
}
