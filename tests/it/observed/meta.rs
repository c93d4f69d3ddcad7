//! `/meta` and what is below it, in the form that `PkgServer` has.

use crate::support::{Airlock, Scene, config};
use airlock::protocol::{Kind, Resource, TreeHash};
use airlock::sample::Site;
use reqwest::Method;
use serde_json::{Value, json};

async fn get(airlock: &Airlock, path: &str) -> Value {
    let response = airlock.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    assert_eq!(response.headers()["content-type"], "application/json", "{path}");
    let length = response.headers()["content-length"].clone();
    let text = response.text().await.unwrap();
    assert_eq!(length, text.len().to_string());
    let head = airlock.request(Method::HEAD, path, &[]).await;
    assert_eq!((head.status().as_u16(), head.headers().contains_key("content-type")), (200, true));
    serde_json::from_str(&text).unwrap()
}

/// A time as Julia's `string(now())` writes it and `DateTime(…)` reads it.
fn is_julia_time(value: &Value) -> bool {
    let text = value.as_str().unwrap();
    text.len() == 23 && text.parse::<jiff::civil::DateTime>().is_ok() && !text.ends_with('Z')
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_says_what_pkgserver_says() {
    let scene = Scene::new().await;
    let airlock = Airlock::quiet(&scene.online()).await;
    let meta = get(&airlock, "/meta").await;
    assert_eq!(meta["last_registry_update"], Value::Null);
    airlock.mirror.refresh_registries(crate::registries::PATIENCE).await;
    let meta = get(&airlock, "/meta").await;
    assert!(is_julia_time(&meta["start_time"]) && is_julia_time(&meta["last_registry_update"]), "{meta}");
    assert!(meta["pkgserver_version"].as_str().unwrap().starts_with("airlock "));
    assert_eq!(meta["pkgserver_url"], airlock.url(""));
    assert_eq!(
        (&meta["registry_update_task"], &meta["registry_watchdog_task"]),
        (&"started".into(), &"not-started".into())
    );
    assert!(meta["live_tasks"].as_str().unwrap().parse::<u32>().unwrap() > 0);
    assert!(meta["maxrss"].as_u64().unwrap() > 1 << 20);
    assert_eq!(meta.get("julia_version"), Some(&Value::Null), "no Julia runs here");
    let inside = Airlock::quiet(&scene.offline()).await;
    assert_eq!(get(&inside, "/meta").await["registry_update_task"], "not-started");
}

#[tokio::test(flavor = "multi_thread")]
async fn relatives_are_lists_of_addresses_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = "[[upstream]]\nurl = 'https://user:word@one.example.org/p'\n[[upstream]]\nurl = 'two.example.org'\n";
    let airlock = Airlock::quiet(&config(folder.path(), &[], file)).await;
    let parents = get(&airlock, "/meta/parents").await;
    assert_eq!(parents, json!(["https://one.example.org/p", "https://two.example.org"]));
    for path in ["/meta/siblings", "/meta/children"] {
        assert_eq!(get(&airlock, path).await, json!([]), "{path}");
    }
    for path in ["/meta/", "/meta/uncles", "/meta/parents/"] {
        assert_eq!(airlock.get(path).await.status(), 404, "{path}");
    }
    let inside = Airlock::quiet(&config(folder.path(), &[], "")).await;
    assert_eq!(get(&inside, "/meta/parents").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_are_counted_without_a_walk() {
    let scene = Scene::new().await;
    let airlock = Airlock::quiet(&scene.online()).await;
    let before = get(&airlock, "/meta/stats").await;
    let counts =
        |stats: &Value| ["registries", "packages", "artifacts"].map(|kind| stats[format!("{kind}_cached")].clone());
    assert_eq!(counts(&before), [0, 0, 0]);
    let site = Site::sample().unwrap();
    let mut bytes = 0;
    for kind in Kind::ALL {
        let path = site.resources().find(|resource| resource.kind() == kind).unwrap().to_string();
        bytes += airlock.get(&path).await.bytes().await.unwrap().len() as u64;
        bytes += airlock.get(&path).await.bytes().await.unwrap().len() as u64;
    }
    let absent = Resource::Artifact { tree: TreeHash::EMPTY }.to_string();
    bytes += airlock.get(&absent).await.bytes().await.unwrap().len() as u64;
    let stats = get(&airlock, "/meta/stats").await;
    assert_eq!(counts(&stats), [1, 1, 1]);
    let numbers = ["total_hits", "cached_hits", "fetch_hits", "total_misses"].map(|key| stats[key].clone());
    assert_eq!(numbers, [6, 3, 3, 1]);
    assert!(stats["lru"].is_object() && stats["payload_bytes_received"].as_u64().unwrap() > 0);
    assert!(stats["payload_bytes_transmitted"].as_u64().unwrap() >= bytes);
    // Another tool's file is seen by the next search, not by a request.
    let path = scene.cache().join("artifact/00000000000000000000000000000000000000aa");
    fs_err::write(&path, "x").unwrap();
    assert_eq!(counts(&get(&airlock, "/meta/stats").await), [1, 1, 1]);
    airlock.mirror.store().take_census(|_, _| Ok(())).unwrap();
    assert_eq!(counts(&get(&airlock, "/meta/stats").await), [1, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_misses_the_last_thousand_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let airlock = Airlock::quiet(&config(folder.path(), &[], "")).await;
    let miss = |number: u16| {
        let mut tree = [0; 20];
        tree[..2].copy_from_slice(&number.to_be_bytes());
        Resource::Artifact { tree: TreeHash::from_bytes(tree) }
    };
    for number in 0..1005 {
        let refused = airlock.mirror.get(&miss(number), &airlock::mirror::Ask::default()).await;
        assert!(refused.is_err());
    }
    let misses = get(&airlock, "/meta/misses").await;
    assert_eq!((misses["misses"].as_array().unwrap().len(), &misses["distinct"]), (1000, &1005.into()));
    // One more is seen at once.
    airlock.get(&Resource::Artifact { tree: TreeHash::EMPTY }.to_string()).await;
    let misses = get(&airlock, "/meta/misses").await;
    assert_eq!(misses["misses"][0]["resource"], Resource::Artifact { tree: TreeHash::EMPTY }.to_string());
    assert_eq!(misses["distinct"], 1006);
}
