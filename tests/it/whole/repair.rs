//! `airlock verify --repair`: what is damaged comes back, or is among the misses.

use super::{ONCE, filled, filled_with, in_quarantine, make_unreadable, of_kind, rot, rot_at};
use crate::acme::Acme;
use crate::binary::{run, said, stdout};
use crate::support::{Scene, config, mirror};
use airlock::mirror::{Examined, Healed, examine, whole};
use airlock::protocol::{Flavor, GENERAL, Kind, Resource};
use airlock::repair::{RepairReport, RepairStatus, repair};
use airlock::sample::{Fault, Site};
use airlock::store::Store;
use airlock::tree::{Limits, TarEntry, write_tar_gz};
use airlock::verify::{Scope, verify_scope};
use fs_err as fs;
use serde_json::Value;
use std::io::Read as _;

/// Runs it; the exit code, and the report by resource.
async fn repairs(scene: &Scene, flags: &[&str]) -> (Option<i32>, Value, String) {
    let arguments: Vec<_> = ["verify", "--repair", "--json"].iter().chain(flags).copied().collect();
    let output = run(scene.folder.path(), &arguments).await;
    let (code, said) = said(&output);
    (code, serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{said}")), said)
}

fn status_of<'r>(report: &'r Value, resource: &Resource) -> &'r Value {
    let repairs = report["repairs"].as_array().unwrap();
    repairs.iter().find(|repair| repair["resource"] == resource.to_string()).unwrap()
}

/// The same within this process.
async fn repaired(mirror: &std::sync::Arc<airlock::mirror::Mirror>) -> RepairReport {
    let scope = Scope { parts: Vec::new(), moves: true };
    let found = verify_scope(mirror.store(), &Limits::default(), 2, &scope, &|_, _| {}).unwrap();
    repair(mirror, found, &scope, ONCE, 4, &|_| {}).await.unwrap()
}

fn unpack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut unpacked).map(|_| unpacked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_turns_anywhere_in_a_file_is_found_though_facts_say_otherwise() {
    let scene = filled().await;
    let store = Store::open(&scene.cache()).unwrap();
    for kind in Kind::ALL {
        let resource = of_kind(kind);
        let path = store.path(&resource);
        let good = fs::read(&path).unwrap();
        let unpacked = unpack(&good).unwrap();
        for at in 0..good.len() {
            rot_at(&store, &resource, |_| at);
            let found = examine(&store, &Limits::default(), &resource, false, whole);
            // Some bits say nothing about the content: when it was packed, codes that are not used.
            let is_same = unpack(&fs::read(&path).unwrap()).is_ok_and(|bytes| bytes == unpacked);
            assert_eq!(matches!(found, Examined::Damaged { .. }), !is_same, "{resource} at {at}: {found:?}");
            fs::write(&path, &good).unwrap();
            assert!(matches!(examine(&store, &Limits::default(), &resource, false, whole), Examined::Whole { .. }));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_unreadable_or_was_set_aside_before_is_fetched_again() {
    let scene = filled().await;
    for kind in Kind::ALL {
        rot(&scene.cache(), &of_kind(kind));
    }
    let others: Vec<_> = Site::sample().unwrap().resources().filter(|it| it.kind() == Kind::Package).skip(1).collect();
    let (unreadable, before) = (others[0], others[1]);
    make_unreadable(&scene.cache(), &unreadable);
    let store = Store::open(&scene.cache()).unwrap();
    store.quarantine_unreadable(&before).unwrap().unwrap();
    drop(store);
    let (code, report, said) = repairs(&scene, &["--upstream", &scene.upstream.url()]).await;
    assert_eq!((code, &report["whole"]), (Some(0), &Value::Bool(true)), "{report:#}{said}");
    assert_eq!(report["repairs"].as_array().unwrap().len(), 5, "{report:#}");
    for resource in Kind::ALL.map(of_kind).into_iter().chain([unreadable, before]) {
        let repair = status_of(&report, &resource);
        assert_eq!(repair["status"], "repaired", "{repair:#}");
        assert!(repair["from"].as_str().unwrap().starts_with(&scene.upstream.url()), "{repair:#}");
        assert!(!repair["problem"].as_str().unwrap().is_empty() && repair["missed"] == false);
        assert_eq!(repair["bytes"], fs::metadata(scene.cache().join(resource.relative_path())).unwrap().len());
    }
    let (code, report, _) = repairs(&scene, &["--upstream", "http://127.0.0.1:1"]).await;
    assert_eq!((code, report["repairs"].as_array().unwrap().len()), (Some(0), 0), "nobody is asked for anything");
    assert_eq!(in_quarantine(&scene.cache()), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_what_is_damaged_goes_out_with_the_misses_and_comes_back_by_them() {
    let scene = filled().await;
    let (package, artifact) = (of_kind(Kind::Package), of_kind(Kind::Artifact));
    rot(&scene.cache(), &package);
    make_unreadable(&scene.cache(), &artifact);
    let (code, report, said) = repairs(&scene, &["--offline"]).await;
    assert_eq!((code, &report["offline"], &report["whole"]), (Some(1), &true.into(), &false.into()), "{report:#}");
    for resource in [package, artifact] {
        let repair = status_of(&report, &resource);
        assert_eq!((&repair["status"], &repair["missed"]), (&"failed".into(), &true.into()), "{repair:#}");
    }
    assert!(status_of(&report, &package)["name"].is_string(), "{report:#}");
    let text = run(scene.folder.path(), &["verify", "--repair", "--offline"]).await;
    let told = crate::binary::said(&text).1;
    assert!(told.contains("2 of these are on the list of misses now"), "{told}{said}");
    assert!(run(scene.folder.path(), &["misses", "export", "list"]).await.status.success());
    let list = fs::read_to_string(scene.folder.path().join("list")).unwrap();
    assert!(list.contains(&package.to_string()) && list.contains(&artifact.to_string()), "{list}");
    let url = scene.upstream.url();
    let prewarm = run(scene.folder.path(), &["prewarm", "--upstream", &url, "--platform", "all", "list"]).await;
    assert!(prewarm.status.success(), "{:?}", crate::binary::said(&prewarm));
    assert_eq!(repairs(&scene, &["--offline"]).await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_policy_denies_or_the_upstream_lost_stays_away_with_its_reason() {
    let scene = filled().await;
    let packages: Vec<_> = Site::sample().unwrap().resources().filter(|it| it.kind() == Kind::Package).collect();
    let named = |name: &str| {
        let mirror = mirror(&scene.offline());
        let packages = packages.clone();
        let name = name.to_owned();
        async move {
            mirror.load_names().await;
            packages.into_iter().find(|it| mirror.name(it).is_some_and(|known| known.name == name)).unwrap()
        }
    };
    let (denied, lost, broken) = (named("Greeting").await, named("Lantern").await, named("Pebble").await);
    let toml =
        "[policy]\ndeny = ['Greeting']\n[fallback]\ngit = 'never'\ndownload = 'never'\n[prewarm]\nattempts = 1\n";
    fs::write(scene.folder.path().join("airlock.toml"), toml).unwrap();
    for resource in [denied, lost, broken] {
        rot(&scene.cache(), &resource);
    }
    scene.upstream.remove(&lost.to_string());
    for _ in 0..20 {
        scene.upstream.fail(&broken.to_string(), Fault::Replace(b"not it".to_vec()));
    }
    let (code, report, _) = repairs(&scene, &["--upstream", &scene.upstream.url()]).await;
    assert_eq!(code, Some(1), "{report:#}");
    for (resource, why) in [(denied, "denied: "), (lost, "no upstream has it"), (broken, "wrong content")] {
        let repair = status_of(&report, &resource);
        assert_eq!((&repair["status"], &repair["missed"]), (&"failed".into(), &true.into()), "{repair:#}");
        assert!(repair["reason"].as_str().unwrap().contains(why), "{repair:#}");
        assert!(!scene.cache().join(resource.relative_path()).exists());
    }
    assert_eq!(scene.upstream.gets(&denied.to_string()), 1, "what is denied is asked of nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_moves_nothing_and_a_part_is_all_that_is_looked_at() {
    let scene = filled().await;
    let artifact = of_kind(Kind::Artifact);
    rot(&scene.cache(), &artifact);
    let (code, report, _) = repairs(&scene, &["--dry-run"]).await;
    assert_eq!((code, &report["repairs"][0]["status"]), (Some(1), &"planned".into()), "{report:#}");
    assert_eq!(in_quarantine(&scene.cache()), 0);
    let verify = |part: String| {
        let folder = scene.folder.path().to_owned();
        async move { run(&folder, &["verify", "--dry-run", "--offline", &part]).await }
    };
    let path = scene.cache().join(artifact.relative_path()).display().to_string();
    for (part, code) in [
        ("package".to_owned(), 0),
        ("artifact".to_owned(), 1),
        (artifact.to_string(), 1),
        (path, 1),
        ("Pebble".to_owned(), 0),
        ("NoSuchPackage".to_owned(), 2),
    ] {
        let output = verify(part.clone()).await;
        assert_eq!(output.status.code(), Some(code), "{part}: {:?}", said(&output));
    }
    let owner = stdout(&verify("Greeting".to_owned()).await);
    assert!(owner.contains(" files checked") && !owner.starts_with("0 "), "{owner}");
}

/// An artifact whose strict and lenient hashes differ, as upstream has it: under the lenient one.
fn twins() -> (Site, Resource, Resource) {
    let entries = [TarEntry::file("a", "a", false), TarEntry::directory("empty")];
    let mut body = Vec::new();
    let strict = Resource::Artifact { tree: write_tar_gz(entries.clone(), &mut body, 6).unwrap() };
    let lenient = Resource::Artifact { tree: write_tar_gz(entries.into_iter().take(1), Vec::new(), 6).unwrap() };
    let mut site = Site::sample().unwrap();
    site.put(&lenient.to_string(), body);
    (site, strict, lenient)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_comes_back_with_the_other_name_or_from_it() {
    let (site, strict, lenient) = twins();
    let scene = filled_with(site).await;
    mirror(&scene.online()).fetch(&lenient, ONCE).await.unwrap();
    let store = Store::open(&scene.cache()).unwrap();
    // One file under two names: both are damaged, and upstream knows one of them.
    rot(&scene.cache(), &lenient);
    let report = repaired(&mirror(&scene.online())).await;
    assert!(report.whole, "{report:#?}");
    assert_eq!(report.repairs.len(), 2, "{report:#?}");
    assert!(store.fact(&strict).unwrap().is_some() && store.fact(&lenient).unwrap().is_some());
    // Two files, as rsync leaves them: either is made of the other, offline.
    for (bad, good) in [(strict, lenient), (lenient, strict)] {
        let (path, bytes) = (store.path(&bad), fs::read(store.path(&good)).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let report = repaired(&mirror(&scene.offline())).await;
        assert!(report.whole, "{report:#?}");
        assert_eq!(report.repairs[0].from, Some(good.to_string()));
        assert!(fs::read(&path).unwrap() == bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_of_a_private_registry_comes_back_from_git() {
    let scene = Scene::new().await;
    let url = format!("file://{}/acme", scene.folder.path().display());
    let acme = Acme::new(scene.folder.path(), &url);
    let config = scene.configured(&Acme::config(&acme.file_url()));
    let online = mirror(&config);
    assert_eq!(online.refresh_registries(ONCE).await, []);
    online.fetch(&acme.greeter, ONCE).await.unwrap();
    for resource in [acme.greeter, acme.registry()] {
        rot(&scene.cache(), &resource);
    }
    let report = repaired(&mirror(&config)).await;
    assert!(report.whole && report.repairs.len() == 2, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_lists_what_is_here_is_derived_again() {
    let scene = filled().await;
    let offline = mirror(&scene.offline());
    offline.rescan().await;
    let derived = offline.store().view_listing(Flavor::Plain).unwrap().tree(GENERAL).unwrap();
    let derived = Resource::Registry { uuid: GENERAL, tree: derived };
    assert!(offline.store().path(&derived).starts_with(offline.store().root().join(".airlock/view")));
    rot(&scene.cache(), &derived);
    let found = examine(offline.store(), &Limits::default(), &derived, true, whole);
    assert!(matches!(found, Examined::Damaged { quarantine: Some(_), .. }), "{found:?}");
    assert!(matches!(offline.heal(&derived, ONCE).await.unwrap(), Healed::Derived));
    rot(&scene.cache(), &derived);
    let report = repaired(&offline).await;
    assert!(report.whole && report.repairs[0].resource == derived, "{report:#?}");
    assert!(offline.all_misses().await.unwrap().is_empty(), "nobody else can have it");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_place_of_a_registry_that_is_damaged_the_one_before_is_listed_and_that_is_said() {
    let (scene, states) = crate::registries::three().await;
    let online = mirror(&scene.online());
    for state in states {
        crate::registries::list(&scene.upstream, Flavor::Plain, state);
        assert_eq!(online.refresh_registries(ONCE).await, []);
    }
    drop(online);
    rot(&scene.cache(), &states[2].into());
    let (code, report, said) = repairs(&scene, &["--offline"]).await;
    assert_eq!((code, &report["stepped_back"][0]["shown"]), (Some(1), &states[1].tree.to_string().into()), "{said}");
    let offline = config(&scene.cache(), &[], "[view]\nshow = 'full'");
    let shown = || mirror(&offline).served(Flavor::Plain).unwrap()[0].registry;
    assert_eq!(shown(), states[1]);
    // Without any log what was written last is the best guess.
    let first = fs::OpenOptions::new().write(true).open(scene.cache().join(Resource::from(states[0]).relative_path()));
    first.unwrap().file().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    fs::remove_file(scene.cache().join(".airlock/generations/log.jsonl")).unwrap();
    assert_eq!(shown(), states[1]);
    let (code, report, _) = repairs(&scene, &["--upstream", &scene.upstream.url()]).await;
    assert_eq!((code, &report["stepped_back"]), (Some(0), &Value::Array(Vec::new())), "{report:#}");
    assert_eq!(shown(), states[2]);
    assert_eq!(report["repairs"][0]["status"], serde_json::to_value(RepairStatus::Repaired).unwrap());
}
