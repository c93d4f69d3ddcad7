//! What is said of the health of sources: in `/meta`, and once in the log.

use super::hosts::table;
use super::{nowhere, packages};
use crate::binary::{Serving, command};
use crate::support::{Airlock, Scene, client, config};
use airlock::mirror::Patience;
use airlock::sample::{Fault, SampleUpstream, Site};
use serde_json::Value;

async fn sources(airlock: &Airlock) -> Vec<Value> {
    let meta: Value = serde_json::from_str(&airlock.get("/meta").await.text().await.unwrap()).unwrap();
    meta["sources"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_source_is_listed_with_how_it_is() {
    let scene = Scene::new().await;
    let lines = table(&scene.upstream.url(), &[]) + "public = false\n" + &table(&format!("http://{}", nowhere()), &[]);
    let airlock = Airlock::quiet(&config(&scene.cache(), &[], &lines)).await;
    let before = sources(&airlock).await;
    assert_eq!(before.iter().map(|source| &source["state"]).collect::<Vec<_>>(), ["never asked"; 2]);
    assert_eq!((&before[0]["public"], &before[1]["public"]), (&false.into(), &true.into()));
    assert_eq!((&before[0]["kind"], &before[0]["name"]), (&"package server".into(), &scene.upstream.url().into()));

    let all = packages();
    assert_eq!(airlock.get(&all[0].to_string()).await.status(), 200);
    scene.upstream.fail(&all[1].to_string(), Fault::Status(500, None));
    scene.upstream.fail(&all[1].to_string(), Fault::Status(404, None));
    assert_eq!(airlock.get(&all[1].to_string()).await.status(), 502, "the other is dead");
    let after = sources(&airlock).await;
    assert_eq!((&after[0]["state"], &after[0]["last_error"]), (&"failing".into(), &"answered 500".into()));
    assert!(after[0]["last_success"].is_string() && after[0]["last_error_time"].is_string(), "{after:?}");
    assert_eq!(after[0]["cooling_down_until"], Value::Null);

    for _ in 0..5 {
        airlock.mirror.refresh_registries(Patience::prewarm(1)).await;
    }
    assert_eq!(sources(&airlock).await[0]["state"], "up", "it gave what it was asked for since");
    let dead = &sources(&airlock).await[1];
    assert_eq!((&dead["state"], &dead["last_success"]), (&"cooling down".into(), &Value::Null));
    assert!(dead["cooling_down_until"].is_string() && dead["last_error"].is_string(), "{dead}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_logged_when_it_begins_and_when_it_ends_and_not_in_between() {
    let (folder, address) = (tempfile::tempdir().unwrap(), nowhere());
    let lines = "[mirror]\nregistries-interval = '50ms'\n".to_owned() + &table(&format!("http://{address}"), &[]);
    fs_err::write(folder.path().join("airlock.toml"), lines).unwrap();
    let mut serve = command(folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut serving = Serving::start(serve).await;
    let mut lines = serving.hears_up_to("left alone").await;
    for package in packages() {
        client().get(format!("{}{package}", serving.url)).send().await.unwrap();
    }
    let _upstream = SampleUpstream::start_at(Site::sample().unwrap(), address).await.unwrap();
    lines.extend(serving.hears_up_to("is back").await);
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("left alone"), count("is back")), (1, 1), "{lines:#?}");
    assert_eq!(count("registries: the listing"), 1, "{lines:#?}");
}
