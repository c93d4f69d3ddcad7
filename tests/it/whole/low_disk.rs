//! A disk that runs low: nothing new is kept, everything is served.

use super::{filled, of_kind};
use crate::binary::{Serving, run, said, stdout, wrapped};
use crate::flights::big_site;
use crate::support::{Airlock, LONG, Scene, curl, skip};
use airlock::mirror::{Patience, Refusal};
use airlock::protocol::Kind;
use airlock::sample::{Body, Fault, Gate, Site};
use fs_err as fs;

/// More than any disk has.
const ABSURD: &str = "[disk]\nmin-free = '1EiB'";

fn staged(scene: &Scene) -> usize {
    let folders = fs::read_dir(scene.cache().join(".airlock/tmp")).unwrap();
    let folders = folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    folders.map(|folder| fs::read_dir(folder).unwrap().count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_of_what_is_not_kept_still_cost_one_fetch() {
    let (site, large) = big_site(1 << 20);
    let scene = Scene::with(site).await;
    let (path, gate) = (large.to_string(), Gate::new());
    let whole = scene.upstream.body(&path).unwrap();
    scene.upstream.fail(&path, Body::gated(whole.len() / 2, &gate));
    // A busy machine may take long to connect them all; the upstream must not be given up meanwhile.
    let airlock = Airlock::quiet(&scene.configured(&format!("{ABSURD}\n[mirror]\nidle-timeout = '60s'"))).await;
    let clients = futures_util::future::join_all((0..100).map(|_| airlock.get(&path))).await;
    gate.open();
    for client in clients {
        assert!(client.bytes().await.unwrap() == whole);
    }
    assert_eq!(scene.upstream.gets(&path), 1);
    let spooled = curl(&["--http1.0", "--fail", &airlock.url(&path)]).await;
    assert!(spooled.status.success() && spooled.stdout == whole);
    assert_eq!(scene.upstream.gets(&path), 2, "it was not kept");
    assert!(!airlock.mirror.store().has(&large));
    assert_eq!(staged(&scene), 0, "nor is anything left of it");
    assert_eq!(airlock.mirror.disk_status().unwrap().uncached, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_wrong_is_completed_on_a_low_disk_either() {
    let (site, large) = big_site(1 << 20);
    let scene = Scene::with(site).await;
    let path = large.to_string();
    let whole = scene.upstream.body(&path).unwrap();
    let airlock = Airlock::quiet(&scene.configured(ABSURD)).await;
    for at in [300, whole.len() / 2, whole.len() - 5] {
        let mut wrong = whole.to_vec();
        wrong[at] ^= 0x40;
        (0..20).for_each(|_| scene.upstream.fail(&path, Fault::Replace(wrong.clone())));
        for version in ["--http1.0", "--http1.1"] {
            let output = curl(&[version, "--fail", &airlock.url(&path)]).await;
            assert!(!output.status.success() && output.stdout.len() < whole.len(), "{at} {version}");
        }
        scene.upstream.heal();
        airlock.mirror.rescan().await;
    }
    assert!(airlock.get(&path).await.bytes().await.unwrap() == whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_said_and_is_over_when_there_is_room() {
    let scene = filled().await;
    let here = of_kind(Kind::Package);
    let airlock = Airlock::quiet(&scene.configured(ABSURD)).await;
    fs::remove_file(scene.cache().join(of_kind(Kind::Artifact).relative_path())).unwrap();
    let wanted = of_kind(Kind::Artifact);
    let health = airlock.get("/health").await;
    assert_eq!(health.status(), 200, "what is here is served");
    assert_eq!(health.text().await.unwrap(), "ok, but low disk: nothing new is cached\n");
    let meta = airlock.get("/meta").await.bytes().await.unwrap();
    let meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
    assert!(meta["disk"]["low_since"].is_string(), "{meta:#}");
    assert_eq!(airlock.get(&here.to_string()).await.status(), 200);
    assert_eq!(airlock.get("/registries").await.status(), 200);
    // Whoever needs it here is told, and nobody is asked.
    let asked = scene.upstream.requests().len();
    let refused = airlock.mirror.fetch(&wanted, Patience::prewarm(1)).await.unwrap_err();
    assert!(matches!(&refused, Refusal::Low(why) if why.contains("min-free")), "{refused}");
    assert_eq!(airlock.get(&format!("{wanted}/name")).await.status(), 507);
    assert_eq!(scene.upstream.requests().len(), asked);
    assert!(airlock.get(&wanted.to_string()).await.bytes().await.is_ok_and(|body| body.len() > 100));
    assert!(!airlock.mirror.store().has(&wanted));
    airlock.mirror.store().keep_free(Some(1));
    assert_eq!(airlock.get("/health").await.text().await.unwrap(), "ok\n");
    assert!(airlock.get(&wanted.to_string()).await.bytes().await.is_ok_and(|body| body.len() > 100));
    assert!(airlock.mirror.store().has(&wanted), "it is kept again");
    assert_eq!(airlock.mirror.disk_status().unwrap().low_since, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn prewarm_import_and_adoption_stop_before_they_fill_it() {
    let scene = filled().await;
    let folder = scene.folder.path();
    let lost = of_kind(Kind::Artifact);
    assert!(run(folder, &["bundle", "export", "."]).await.status.success());
    fs::remove_file(scene.cache().join(lost.relative_path())).unwrap();
    fs::write(folder.join("airlock.toml"), ABSURD).unwrap();
    fs::write(folder.join("list"), format!("# airlock misses\n{lost}\n")).unwrap();
    let files = || run(folder, &["status", "--json"]);
    let before = serde_json::from_str::<serde_json::Value>(&stdout(&files().await)).unwrap()["totals"].clone();
    let carried = crate::adopt::Carried::demo();
    let depot = carried.folder.path().join("depot").display().to_string();
    let url = scene.upstream.url();
    for command in [
        &["prewarm", "--upstream", &url, "list"][..],
        &["bundle", "import", "airlock-all-000001.tar"],
        &["adopt", &depot],
    ] {
        let output = run(folder, command).await;
        let told = stdout(&output) + &said(&output).1;
        assert_eq!(output.status.code(), Some(1), "{command:?}: {told}");
        assert!(told.contains("min-free keeps 1.0 EiB"), "{command:?}: {told}");
    }
    let after = serde_json::from_str::<serde_json::Value>(&stdout(&files().await)).unwrap()["totals"].clone();
    assert_eq!(before, after, "what was here stays, and nothing came");
    assert!(run(folder, &["verify"]).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_disk_runs_low_and_recovers_by_itself() {
    let (site, large) = big_site(1 << 20);
    let scene = Scene::with(site.clone()).await;
    let small = Site::sample().unwrap().resources().next().unwrap();
    fs::create_dir_all(scene.cache()).unwrap();
    fs::write(scene.folder.path().join("airlock.toml"), "[disk]\nmin-free = '4MiB'\n").unwrap();
    let script = "mount -t tmpfs -o size=8m tmpfs cache || exit 77; exec \"$0\" \"$@\"";
    let wrapper = ["unshare", "-m", "sh", "-c"];
    let probe = wrapped(scene.folder.path(), &[&wrapper[..], &["mount -t tmpfs tmpfs cache"]].concat()).output().await;
    if !probe.unwrap().status.success() {
        return skip("namespaces: a disk that runs low");
    }
    let mut serve = wrapped(scene.folder.path(), &[&wrapper[..], &[script]].concat());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--upstream", &scene.upstream.url()]);
    let mut serving = Serving::start(serve).await;
    let cache = format!("/proc/{}/root{}", serving.child.id().unwrap(), scene.cache().display());
    let cache = std::path::Path::new(&cache);
    let get = |path: String| {
        let url = format!("{}{path}", serving.url);
        async move { tokio::time::timeout(LONG, curl(&["--fail", &url])).await.unwrap() }
    };
    // Only seen from within its namespace.
    fs::write(cache.join("filler"), vec![1; 5 << 20]).unwrap();
    let body = site.body(&large.to_string()).unwrap();
    for _ in 0..2 {
        let output = get(large.to_string()).await;
        assert!(output.status.success() && output.stdout == *body);
        assert!(!cache.join(large.relative_path()).exists());
    }
    fs::remove_file(cache.join("filler")).unwrap();
    assert!(get(large.to_string()).await.status.success());
    assert!(cache.join(large.relative_path()).exists(), "it is kept again");
    assert!(get(small.to_string()).await.status.success());
    let lines = serving.hears_up_to("the disk has room again").await;
    assert_eq!(lines.iter().filter(|line| line.contains("low disk: ")).count(), 1, "{lines:#?}");
    assert!(serving.stop(rustix::process::Signal::TERM).await.success());
}
