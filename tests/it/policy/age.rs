//! Versions must be known for a while before they are shown and chosen.

use super::{Scene, airlock, demo, greeting, store};
use crate::support::{config, mirror};
use crate::view::{CLOSURE, carry};
use airlock::mirror::{Ask, Mirror, Refusal};
use airlock::protocol::{Flavor, GENERAL};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const WEEK: &str = "policy.min-age = '7d'";

fn carried(file: &str) -> (TempDir, Arc<Mirror>) {
    let folder = tempfile::tempdir().unwrap();
    carry(folder.path(), &CLOSURE);
    let mirror = open(folder.path(), file);
    (folder, mirror)
}

fn open(cache: &Path, file: &str) -> Arc<Mirror> {
    mirror(&config(cache, &[], &format!("view.platform = ['x86_64-linux-gnu']\n{file}")))
}

/// How many versions the view offers.
async fn shown(mirror: &Arc<Mirror>) -> usize {
    mirror.rescan().await;
    let served = mirror.served(Flavor::Plain).unwrap();
    served.iter().filter_map(|served| served.derived.as_ref()).map(|derived| derived.versions).sum()
}

/// Makes everything that was seen so far as old as it would be if it had been seen then.
fn seen_at(cache: &Path, time: &str) {
    let file = cache.join(".airlock/first-seen").join(GENERAL.to_string());
    let text = fs_err::read_to_string(&file).unwrap();
    let aged = text.lines().map(|line| format!("{time} {}\n", line.split_once(' ').unwrap().1));
    let aged = aged.collect::<Vec<_>>().concat();
    fs_err::write(&file, aged + "# aged\n").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_mirror_shows_nothing_until_it_has_waited_or_somebody_says_so() {
    let (folder, mirror) = carried(WEEK);
    assert_eq!(shown(&mirror).await, 0);
    let (uuid, tree) = greeting("1.1.0");
    let why = mirror.forbids(uuid, tree).unwrap();
    assert!(why.starts_with("too young until ") && why.contains(", known since "), "{why}");
    let other = open(folder.path(), WEEK);
    assert_eq!(other.baseline().unwrap(), 0, "no registry was read yet");
    other.load_names().await;
    assert!(other.baseline().unwrap() > 5);
    assert!(mirror.look().await, "another process said so");
    assert_eq!(shown(&mirror).await, 4);
    assert_eq!(mirror.forbids(uuid, tree), None);
    let activities = store(&mirror).activities().unwrap();
    assert!(activities.iter().any(|activity| activity.summary.contains("old enough from now on")), "{activities:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_been_known_for_long_is_shown() {
    let (folder, mirror) = carried(WEEK);
    assert_eq!(shown(&mirror).await, 0);
    seen_at(folder.path(), "2020-01-01T00:00:00Z");
    assert_eq!(shown(&mirror).await, 4);
    let without = open(folder.path(), "");
    assert_eq!(shown(&without).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_manifest_named_is_shown_however_young_it_is() {
    let scene = Scene::new().await;
    let view = "view.show = 'available'\nview.platform = ['x86_64-linux-gnu']";
    let mirror = scene.mirror(&format!("{WEEK}\n{view}"), None);
    let (uuid, tree) = greeting("1.1.0");
    mirror.get(&crate::view::resource("Pebble/1.0.0"), &Ask::default()).await.map(drop).unwrap();
    let report = scene.prewarm(&mirror, &[demo()]).await;
    assert_eq!(report.exit_code(), 0, "{report:#?}");
    assert_eq!(shown(&mirror).await, 4, "and not what a client asked for");
    assert_eq!(mirror.forbids(uuid, tree), None);
    let text = fs_err::read_to_string(scene.cache().join(".airlock/pinned-versions")).unwrap();
    assert!(text.contains(&format!("/package/{uuid}/{tree} Greeting 1.1.0\n")), "{text}");
    let strict = scene.mirror(&format!("{WEEK}\npolicy.pins = false\n{view}"), None);
    assert_eq!(shown(&strict).await, 0, "unless pins are not allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_pins_are_not_allowed_a_young_version_is_denied_with_its_day() {
    let scene = Scene::new().await;
    let mirror = scene.mirror(&format!("{WEEK}\npolicy.pins = false"), None);
    let report = scene.prewarm(&mirror, &[demo()]).await;
    assert_eq!((report.totals.denied, report.packages.len(), report.exit_code()), (4, 4, 1), "{report:#?}");
    let why = report.packages[0].reason.as_deref().unwrap();
    assert!(why.starts_with("denied: policy.min-age, and policy.pins is false: too young until 20"), "{why}");
    assert!(!scene.cache().join(".airlock/pinned-versions").exists());
    let asked = mirror.get(&crate::view::resource("Greeting/1.1.0"), &Ask::default()).await;
    assert!(matches!(asked, Err(Refusal::Denied(_))));
    assert_eq!(scene.public.requests().iter().filter(|it| it.path.starts_with("/package")).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_private_may_be_young() {
    let scene = Scene::new().await;
    let mirror = scene.mirror(&format!("{WEEK}\npolicy.pins = false"), Some(&scene.acme.source()));
    let report = scene.prewarm(&mirror, &[scene.file("Manifest.toml", &scene.acme.manifest())]).await;
    assert_eq!(super::statuses(&report), ["AcmeData Fetched", "AcmeTools Fetched", "Greeting Denied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_recorded_also_where_nobody_asks_for_an_age() {
    let (folder, mirror) = carried("");
    shown(&mirror).await;
    let (uuid, tree) = greeting("1.1.0");
    assert!(store(&mirror).first_seen(GENERAL).unwrap().version(uuid, tree).is_some());
    seen_at(folder.path(), "2020-01-01T00:00:00Z");
    assert_eq!(shown(&open(folder.path(), WEEK)).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_young_is_chosen_by_whoever_chooses() {
    let scene = Scene::new().await;
    fs_err::create_dir(scene.cache()).unwrap();
    let file = format!("upstream = ['{}']\nprewarm.platform = ['x86_64-linux-gnu']\n{WEEK}\n", scene.public.url());
    let run = async |arguments: &[&str]| airlock(&scene.cache(), &file, arguments).await;
    let packages = || scene.public.requests().iter().filter(|it| it.path.starts_with("/package/")).count();
    let wishes = scene.file("request.json", &super::request(&[], &["Pebble"]));
    let add = ["prewarm", "--add", "Pebble", "--julia", "1.10"];
    let whole = [
        &add[..],
        &["prewarm", "--all-versions", "Pebble", "--yes"],
        &["prewarm", "--registry-all", "--yes"],
        &["bundle", "export", scene.folder.path().to_str().unwrap(), "--for", wishes.to_str().unwrap()],
    ];
    for arguments in whole {
        let (code, said, problem) = run(arguments).await;
        assert!(code != 2 && packages() == 0, "{arguments:?}: {code} {said} {problem}");
    }
    assert_eq!(run(&["policy", "baseline"]).await.0, 0);
    let (code, said, problem) = run(&add).await;
    assert!(code == 0 && packages() == 1, "the test would see it: {said} {problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_pins_are_not_allowed_explain_says_that_a_young_version_is_not_fetched() {
    let (folder, _) = carried("");
    for (pins, mark) in [("true", "held back"), ("false", "fetch denied")] {
        let file = format!("offline = true\npolicy.min-age = '7d'\npolicy.pins = {pins}\n");
        let (code, said, _) = airlock(folder.path(), &file, &["policy", "explain", "Pebble@1.0.0"]).await;
        assert!(code == 1 && said.lines().any(|line| line.contains("1.0.0") && line.contains(mark)), "{said}");
    }
}

#[tokio::test]
async fn the_baseline_is_a_command() {
    let (folder, _) = carried("");
    let file = "offline = true\npolicy.min-age = '7d'\n";
    let run = async |arguments: &[&str]| airlock(folder.path(), file, arguments).await;
    let (code, said, _) = run(&["policy", "explain", "Greeting@1.1"]).await;
    assert!(code == 1 && said.contains("too young until"), "{said}");
    assert_eq!(run(&["policy", "baseline"]).await.0, 0);
    let (code, said, _) = run(&["policy", "explain", "Greeting@1.1"]).await;
    assert!(code == 0 && said.contains("old enough"), "{said}");
}
