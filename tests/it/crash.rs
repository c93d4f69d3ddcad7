//! kill -9 at every named fault point, and a full disk: nothing published is harmed, nothing half
//! is visible, the next run goes on.

use crate::binary::{Serving, command, run, said, wrapped};
use crate::bundle_import::pack::Packing;
use crate::flights::big_site;
use crate::support::{LONG, Scene, client, curl, skip};
use airlock::fault::POINTS;
use airlock::protocol::Flavor;
use airlock::store::Store;
use airlock::tree::Limits;
use airlock::verify::verify;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo");

/// Everything that can be seen in a cache is right.
fn assert_whole(cache: &Path, when: &str) {
    let store = Arc::new(Store::open(cache).unwrap());
    let report = verify(&store, &Limits::default(), 2, &|_, _| {}).unwrap();
    assert!(report.is_clean(), "{when}: {report:?}");
    for flavor in Flavor::ALL {
        let Ok(text) = fs_err::read_to_string(cache.join(flavor.file_name())) else { continue };
        let listing = airlock::protocol::Listing::parse(&text).unwrap_or_else(|error| panic!("{when}: {error}"));
        assert!(listing.iter().all(|registry| store.has(&registry.into())), "{when}: lists what is not here");
    }
    drop(store);
    let left = fs_err::read_dir(cache.join(".airlock/tmp")).unwrap().count();
    assert_eq!(left, 0, "{when}: what the dead left behind was not swept");
}

/// Runs prewarm on the demo's manifests.
async fn prewarm(scene: &Scene, fault: Option<&str>) -> Output {
    let mut prewarm = command(scene.folder.path());
    prewarm.args(["prewarm", "--platform", "all", "--upstream", &scene.upstream.url(), DEMO]);
    prewarm.envs(fault.map(|point| ("AIRLOCK_FAULT", point)));
    tokio::time::timeout(LONG, prewarm.output()).await.unwrap().unwrap()
}

/// Has a server meet its end at a point, by asking for something that is not there.
async fn serve(scene: &Scene, point: &str, offline: bool) -> std::process::ExitStatus {
    let mut serve = command(scene.folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0"]).env("AIRLOCK_FAULT", point);
    let upstream = scene.upstream.url();
    serve.args(if offline { vec!["--offline"] } else { vec!["--upstream", &upstream] });
    let mut serving = Serving::start(serve).await;
    let resource = airlock::sample::Site::sample().unwrap().resources().last().unwrap();
    let _ = client().get(format!("{}{resource}", serving.url)).send().await;
    tokio::time::timeout(LONG, serving.child.wait()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_prewarm_harms_nothing_and_goes_on() {
    let areas = ["flight.", "publish.", "facts.", "generations.", "listing.", "prewarm."];
    for point in POINTS.iter().filter(|point| areas.iter().any(|area| point.starts_with(area))) {
        let scene = Scene::new().await;
        let killed = prewarm(&scene, Some(point)).await;
        assert_eq!(killed.status.signal(), Some(9), "{point} was never reached: {:?}", said(&killed));
        assert_whole(&scene.cache(), point);
        let again = prewarm(&scene, None).await;
        assert!(again.status.success(), "{point}: {:?}", said(&again));
        assert_whole(&scene.cache(), point);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_a_flight_of_a_server_harms_nothing() {
    let flights = ["flight.", "publish.", "facts."];
    for point in POINTS.iter().filter(|point| flights.iter().any(|flight| point.starts_with(flight))) {
        let scene = Scene::new().await;
        assert_eq!(serve(&scene, point, false).await.signal(), Some(9), "{point} was never reached");
        assert_whole(&scene.cache(), point);
        let again = prewarm(&scene, None).await;
        assert!(again.status.success(), "{point}: {:?}", said(&again));
    }
}

/// Runs an import of these volumes.
async fn import(folder: &Path, files: &[PathBuf], fault: Option<&str>) -> Output {
    let mut import = command(folder);
    import.args(["bundle", "import"]).args(files).envs(fault.map(|point| ("AIRLOCK_FAULT", point)));
    tokio::time::timeout(LONG, import.output()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_an_import_harms_nothing_and_goes_on() {
    let site = airlock::sample::Site::sample().unwrap();
    let passed = ["import.", "publish.", "facts.", "generations.", "listing."];
    for point in POINTS.iter().filter(|point| passed.iter().any(|passed| point.starts_with(passed))) {
        let folder = tempfile::tempdir().unwrap();
        let (cache, files) = (folder.path().join("cache"), Packing::of(&site, 2).write(folder.path()));
        let killed = import(folder.path(), &files, Some(point)).await;
        assert_eq!(killed.status.signal(), Some(9), "{point} was never reached: {:?}", said(&killed));
        assert_whole(&cache, point);
        let again = import(folder.path(), &files, None).await;
        assert!(again.status.success(), "{point}: {:?}", said(&again));
        assert_whole(&cache, point);
        let store = Store::open(&cache).unwrap();
        assert!(site.resources().all(|resource| store.fact(&resource).unwrap().is_some()), "{point}");
        assert_eq!(store.listing(Flavor::Plain).unwrap().unwrap().iter().count(), 1, "{point}");
        assert_eq!(store.received_bundles().unwrap().len(), 1, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_its_listing_an_import_over_what_rsync_brought_goes_on() {
    use airlock::protocol::{GENERAL, Listing, RegistryTree, TreeHash};
    let site = airlock::sample::Site::sample().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cache, files) = (folder.path().join("cache"), Packing::of(&site, 1).write(folder.path()));
    let brought = RegistryTree { uuid: GENERAL, tree: TreeHash::from_bytes([1; 20]) };
    let store = Store::open(&cache).unwrap();
    fs_err::create_dir_all(store.path(&brought.into()).parent().unwrap()).unwrap();
    fs_err::write(store.path(&brought.into()), "another").unwrap();
    for flavor in Flavor::ALL {
        let (time, source) = (jiff::Timestamp::now(), airlock::store::DISK.to_owned());
        let RegistryTree { uuid, tree } = brought;
        store.append_generation(&airlock::store::Generation { time, flavor, uuid, tree, source }).unwrap();
        store.publish_listing(flavor, &Listing::from_iter([brought])).unwrap();
    }
    drop(store);
    assert_eq!(import(folder.path(), &files, Some("generations.appended")).await.status.signal(), Some(9));
    assert!(import(folder.path(), &files, None).await.status.success());
    let listed = |flavor| Store::open(&cache).unwrap().listing(flavor).unwrap().unwrap().tree(GENERAL);
    let tree = site.resources().find(|resource| resource.kind() == airlock::protocol::Kind::Registry).unwrap().tree();
    assert_eq!(Flavor::ALL.map(listed), [Some(tree); 3], "it is not older than what it was to replace");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_writes_a_miss_a_server_loses_none() {
    let scene = Scene::new().await;
    assert_eq!(serve(&scene, "misses.appended", true).await.signal(), Some(9));
    let store = Store::open(&scene.cache()).unwrap();
    assert_eq!(store.misses().read().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_lists_what_is_here_a_server_lists_nothing_else() {
    for point in POINTS.iter().filter(|point| point.starts_with("view.")) {
        let scene = Scene::new().await;
        crate::view::carry(&scene.cache(), &crate::view::CLOSURE);
        let start = |fault: Option<&str>| {
            let mut serve = command(scene.folder.path());
            serve.args(["serve", "--offline", "--listen", "127.0.0.1:0"]);
            serve.envs(fault.map(|point| ("AIRLOCK_FAULT", point)));
            serve
        };
        let mut serving = start(Some(point)).spawn().unwrap();
        let killed = tokio::time::timeout(LONG, serving.wait()).await.unwrap().unwrap();
        assert_eq!(killed.signal(), Some(9), "{point} was never reached");
        assert_whole(&scene.cache(), point);
        let store = Store::open(&scene.cache()).unwrap();
        assert!(store.is_view_whole().unwrap(), "{point}: lists what is not here");
        drop(store);
        let mut serving = Serving::start(start(None)).await;
        serving.hears("lists only what is here now: 4 versions of 4 packages").await;
        assert!(serving.stop(rustix::process::Signal::TERM).await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_gc_takes_nothing_that_a_root_needs() {
    for point in POINTS.iter().filter(|point| point.starts_with("gc.")) {
        let inside = crate::check::Inside::new();
        let mut gc = command(inside.folder.path());
        gc.args(["gc", "--yes", DEMO]).env("AIRLOCK_FAULT", point);
        let killed = tokio::time::timeout(LONG, gc.output()).await.unwrap().unwrap();
        assert_eq!(killed.status.signal(), Some(9), "{point} was never reached: {:?}", said(&killed));
        assert_whole(&inside.cache(), point);
        assert!(inside.check(&[Path::new(DEMO)], "all", true).complete, "{point}");
        let again = run(inside.folder.path(), &["gc", "--yes", DEMO]).await;
        assert!(again.status.success(), "{point}: {:?}", said(&again));
        assert!(inside.check(&[Path::new(DEMO)], "all", true).complete, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_asks_or_exports_a_request_loses_nothing_and_leaves_no_half() {
    let scene = Scene::new().await;
    assert!(prewarm(&scene, None).await.status.success());
    let kill = |arguments: &'static [&'static str], point: &'static str| {
        let mut request = command(scene.folder.path());
        request.arg("request").args(arguments).env("AIRLOCK_FAULT", point);
        async move { tokio::time::timeout(LONG, request.output()).await.unwrap().unwrap().status.signal() }
    };
    assert_eq!(kill(&["add", "Faraway"], "wishes.appended").await, Some(9));
    assert_eq!(Store::open(&scene.cache()).unwrap().wishes().unwrap().len(), 1);
    let file = scene.folder.path().join("out.json");
    fs_err::write(&file, "the last one").unwrap();
    assert_eq!(kill(&["export", "out.json"], "request.staged").await, Some(9));
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "the last one");
    assert_whole(&scene.cache(), "request.staged");
    assert!(run(scene.folder.path(), &["request", "export", "out.json"]).await.status.success());
    assert_eq!(airlock::exchange::Request::parse(&fs_err::read(&file).unwrap()).unwrap().wishes.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_an_adoption_harms_nothing_and_goes_on() {
    let passed = ["adopt.", "publish.", "facts.", "generations.", "listing."];
    for point in POINTS.iter().filter(|point| passed.iter().any(|passed| point.starts_with(passed))) {
        let carried = crate::adopt::Carried::demo();
        let folder = carried.folder.path();
        let mut adopt = command(folder);
        adopt.args(["adopt", "depot"]).env("AIRLOCK_FAULT", point);
        let killed = tokio::time::timeout(LONG, adopt.output()).await.unwrap().unwrap();
        assert_eq!(killed.status.signal(), Some(9), "{point} was never reached: {:?}", said(&killed));
        assert_whole(&carried.cache(), point);
        let again = run(folder, &["adopt", "depot"]).await;
        assert!(again.status.success(), "{point}: {:?}", said(&again));
        assert_whole(&carried.cache(), point);
        let store = Store::open(&carried.cache()).unwrap();
        assert_eq!(store.listing(Flavor::Plain).unwrap().unwrap().iter().count(), 1, "{point}");
        let here: usize = airlock::protocol::Kind::ALL.into_iter().map(|kind| store.resources(kind).count()).sum();
        assert_eq!(here, 15, "{point}");
    }
}

/// Runs a script in a mount namespace of its own, with a small file system at `cache`.
async fn on_a_small_disk(scene: &Scene, script: &str) -> Option<Output> {
    fs_err::create_dir_all(scene.cache()).unwrap();
    let whole = format!("mount -t tmpfs -o size=600k tmpfs cache || exit 77\n{script}");
    let mut command = wrapped(scene.folder.path(), &["unshare", "-m", "sh", "-c", &whole]);
    command.env("UPSTREAM", scene.upstream.url()).env("DEMO", DEMO);
    let output = tokio::time::timeout(LONG, command.output()).await.unwrap().unwrap();
    let text = said(&output).1;
    if output.status.code() == Some(77) || text.contains("unshare failed") {
        skip("namespaces: a full disk");
        return None;
    }
    Some(output)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_a_prewarm_and_room_lets_it_go_on() {
    let (site, large) = big_site(1 << 20);
    let scene = Scene::with(site).await;
    fs_err::write(scene.folder.path().join("list"), format!("# airlock misses\n{large}\n")).unwrap();
    let script = r#"
        "$0" prewarm --upstream "$UPSTREAM" --attempts 1 "$DEMO" || exit 10
        "$0" prewarm --upstream "$UPSTREAM" --attempts 1 list; [ $? -eq 1 ] || exit 11
        "$0" verify || exit 12
        mount -o remount,size=64m cache || exit 77
        "$0" prewarm --upstream "$UPSTREAM" --attempts 1 list || exit 13
        "$0" verify || exit 14
    "#;
    let Some(output) = on_a_small_disk(&scene, script).await else { return };
    let (code, text) = said(&output);
    assert_eq!(code, Some(0), "{text}");
    let report = crate::binary::stdout(&output);
    assert!(report.contains("disk of the cache is full"), "{report}{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_an_import_and_room_lets_it_go_on() {
    let scene = Scene::new().await;
    let site = airlock::sample::Site::sample().unwrap();
    fs_err::rename(&Packing::of(&site, 1).write(scene.folder.path())[0], scene.folder.path().join("b.tar")).unwrap();
    // Without room for the bytes nothing is begun; without room for the names it ends in the middle.
    let script = r#"
        "$0" bundle import b.tar; [ $? -eq 1 ] || exit 10
        [ -e cache/package ] && exit 11
        mount -o remount,size=64m,nr_inodes=45 cache || exit 77
        "$0" bundle import b.tar; [ $? -eq 1 ] || exit 12
        [ -e cache/registries ] && exit 13
        mount -o remount,nr_inodes=1000 cache || exit 77
        "$0" verify || exit 14
        "$0" bundle import b.tar || exit 15
        "$0" verify || exit 16
        [ -e cache/registries ] || exit 17
    "#;
    let Some(output) = on_a_small_disk(&scene, script).await else { return };
    let (code, text) = said(&output);
    let report = crate::binary::stdout(&output);
    assert_eq!(code, Some(0), "{report}{text}");
    assert!(report.contains("are needed. Nothing was imported"), "{report}{text}");
    assert!(report.contains("the disk of the cache is full; what was imported so far stays"), "{report}{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_an_adoption_and_room_lets_it_go_on() {
    let scene = Scene::new().await;
    let carried = crate::adopt::Carried::demo();
    fs_err::rename(carried.at(""), scene.folder.path().join("depot")).unwrap();
    let (site, large) = big_site(1 << 20);
    let body = site.body(&large.to_string()).unwrap();
    let folder = scene.folder.path().join("depot/artifacts").join(large.tree().to_string());
    fs_err::create_dir(&folder).unwrap();
    for file in airlock::tree::read_files(&body[..], &Limits::default(), &|_| true).unwrap() {
        fs_err::write(folder.join(file.path), file.contents).unwrap();
    }
    let script = r#"
        "$0" adopt --jobs 1 depot; [ $? -eq 1 ] || exit 10
        [ -e cache/registries ] && exit 11
        "$0" verify || exit 12
        mount -o remount,size=64m cache || exit 77
        "$0" adopt depot || exit 13
        "$0" verify || exit 14
        [ -e cache/registries ] || exit 15
    "#;
    let Some(output) = on_a_small_disk(&scene, script).await else { return };
    let (code, text) = said(&output);
    let report = crate::binary::stdout(&output);
    assert_eq!(code, Some(0), "{report}{text}");
    assert!(report.contains("stopped: the disk of the cache is full; what was adopted so far stays"), "{report}{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_a_flight_ends_short_and_hits_are_served() {
    let (site, large) = big_site(1 << 20);
    let scene = Scene::with(site.clone()).await;
    let small = site.resources().find(|resource| *resource != large).unwrap();
    fs_err::create_dir_all(scene.cache()).unwrap();
    let script = "mount -t tmpfs -o size=600k tmpfs cache && exec \"$0\" \"$@\"";
    let mut serve = wrapped(scene.folder.path(), &["unshare", "-m", "sh", "-c", script]);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--upstream", &scene.upstream.url()]);
    let probe =
        wrapped(scene.folder.path(), &["unshare", "-m", "sh", "-c", "mount -t tmpfs tmpfs cache"]).output().await;
    if !probe.unwrap().status.success() {
        skip("namespaces: a flight on a full disk");
        return;
    }
    let serving = Serving::start(serve).await;
    let url = |resource: &airlock::protocol::Resource| format!("{}{resource}", serving.url);
    assert!(curl(&["--fail", &url(&small)]).await.status.success());
    let failed = curl(&["--fail", &url(&large)]).await;
    assert!(!failed.status.success() && failed.stdout.len() < 1 << 20);
    let hit = curl(&["--fail", &url(&small)]).await;
    assert!(hit.status.success() && hit.stdout == *site.body(&small.to_string()).unwrap());
    assert!(serving.stop(rustix::process::Signal::TERM).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_cannot_be_written_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody, not even root, can make folders in here.
    let output =
        run(folder.path(), &["serve", "--offline", "--listen", "127.0.0.1:0", "--cache", "/proc/airlock"]).await;
    let (code, text) = said(&output);
    assert_eq!((code, text.lines().count()), (Some(2), 1), "{text}");
    assert!(text.contains("/proc/airlock"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_an_export_leaves_nothing_half_and_the_next_one_completes() {
    for point in POINTS.iter().filter(|point| point.starts_with("export.")) {
        let scene = crate::bundle_export::outside().await;
        let out = scene.folder.path().join("out");
        fs_err::create_dir(&out).unwrap();
        let visible = || -> Vec<String> {
            let names = fs_err::read_dir(&out).unwrap().map(|name| name.unwrap().file_name().into_string().unwrap());
            names
                .filter(|name| Path::new(name).extension().is_none_or(|extension| extension != "part"))
                .map(|name| format!("out/{name}"))
                .collect()
        };
        let mut export = command(scene.folder.path());
        export.args(["bundle", "export", "out"]).env("AIRLOCK_FAULT", point);
        let killed = tokio::time::timeout(LONG, export.output()).await.unwrap().unwrap();
        assert_eq!(killed.status.signal(), Some(9), "{point} was never reached: {:?}", said(&killed));
        let before = visible();
        assert!(before.is_empty() || *point == "export.renamed", "{point}: {before:?}");
        for file in &before {
            crate::bundle_export::unpack(&scene, &[file]);
        }
        let again = run(scene.folder.path(), &["bundle", "export", "out"]).await;
        assert!(again.status.success(), "{point}: {:?}", said(&again));
        assert_whole(&scene.cache(), point);
        let after = visible();
        assert_eq!(after.len(), before.len() + 1, "{point}: {after:?}");
        assert_eq!(fs_err::read_dir(&out).unwrap().count(), after.len(), "{point}: parts are left");
        // A number that was recorded is not given again, whether or not its files got their names.
        let store = Store::open(&scene.cache()).unwrap();
        let recorded = usize::from(matches!(*point, "export.recorded" | "export.renamed"));
        assert_eq!(store.sent("all").unwrap().len(), recorded + 1, "{point}");
        let last = format!("out/airlock-all-{:06}.tar", recorded + 1);
        crate::bundle_export::unpack(&scene, &[&last]);
    }
}
