//! kill -9 at every named fault point of every command that writes, and a full disk: nothing published
//! is harmed, nothing half is visible, the next run goes on and ends as if nothing had been.

use crate::binary::{Serving, command, run, said, wrapped};
use crate::bundle_import::pack::Packing;
use crate::commands::{Look, Place, Scenario, assert_whole};
use crate::flights::big_site;
use crate::scenarios::{self, ALL};
use crate::support::{LONG, Scene, curl, skip};
use airlock::fault::POINTS;
use airlock::protocol::Flavor;
use airlock::store::Store;
use airlock::tree::Limits;
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo");

#[test]
fn every_fault_point_is_passed_by_some_command() {
    // The scrub of a server runs when it is due: `whole::scrub` kills it there.
    let passed = ALL.iter().flat_map(|scenario| scenario.points).copied().chain(["scrub.recorded"]);
    let passed: BTreeSet<_> = passed.collect();
    assert_eq!(POINTS.iter().copied().collect::<BTreeSet<_>>(), passed);
}

/// Kills a command at each point that it passes, and runs it again.
async fn kill_at_every_point(scenario: Scenario) {
    let place = Place::new(scenario.start).await;
    let undisturbed = place.copy();
    let log = undisturbed.path().join("points");
    let ran = place.run(&scenario, undisturbed.path(), &[("AIRLOCK_FAULT_LOG", log.to_str().unwrap())], None).await;
    assert_eq!(ran.status.code(), Some(scenario.code), "{}: {}", scenario.name, ran.said);
    let passed = fs_err::read_to_string(&log).unwrap();
    fs_err::remove_file(log).unwrap();
    let passed: BTreeSet<_> = passed.lines().collect();
    let passed: Vec<_> = POINTS.iter().copied().filter(|point| passed.contains(point)).collect();
    assert_eq!(passed, scenario.points, "{}: other points than are listed", scenario.name);
    let expected = Look::at(undisturbed.path());
    for point in scenario.points {
        let folder = place.copy();
        let when = format!("{} killed at {point}", scenario.name);
        let killed = place.run(&scenario, folder.path(), &[("AIRLOCK_FAULT", point)], None).await;
        assert!(killed.was_killed(), "{when}: {killed:?}");
        if !scenario.name.starts_with("verify") {
            assert_whole(&folder.path().join("cache"), &when);
        }
        let again = place.run(&scenario, folder.path(), &[], None).await;
        assert!(scenario.may_end_again(&again), "{when}, then: {}", again.said);
        scenario.assert_same(&Look::at(folder.path()), &expected, &when);
        assert_whole(&folder.path().join("cache"), &when);
    }
}

macro_rules! killed_at_every_point {
    ($($test:ident: $scenario:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            kill_at_every_point(scenarios::$scenario).await;
        }
    )*};
}

killed_at_every_point! {
    killed_a_server_goes_on: SERVE,
    killed_a_closed_server_goes_on: SERVE_OFFLINE,
    killed_a_prewarm_goes_on: PREWARM,
    killed_a_prewarm_by_name_goes_on: PREWARM_BY_NAME,
    killed_a_prewarm_of_repositories_goes_on: PREWARM_GIT,
    killed_an_adoption_goes_on: ADOPT,
    killed_an_import_goes_on: IMPORT,
    killed_an_export_goes_on: EXPORT,
    killed_a_keygen_goes_on: KEYGEN,
    killed_a_wish_goes_on: REQUEST_ADD,
    killed_a_taking_back_goes_on: REQUEST_REMOVE,
    killed_a_request_goes_on: REQUEST_EXPORT,
    killed_a_list_of_misses_goes_on: MISSES_EXPORT,
    killed_a_clearing_goes_on: MISSES_CLEAR,
    killed_an_update_goes_on: UPDATE,
    killed_a_rollback_goes_on: ROLLBACK,
    killed_a_pin_goes_on: PIN,
    killed_a_baseline_goes_on: BASELINE,
    killed_a_gc_goes_on: GC,
    killed_a_verify_goes_on: VERIFY,
    killed_a_repair_goes_on: REPAIR,
}

/// Runs an import of these volumes.
async fn import(folder: &Path, files: &[PathBuf], fault: Option<&str>) -> Output {
    let mut import = command(folder);
    import.args(["bundle", "import"]).args(files).envs(fault.map(|point| ("AIRLOCK_FAULT", point)));
    tokio::time::timeout(LONG, import.output()).await.unwrap().unwrap()
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
async fn killed_at_any_point_gc_takes_nothing_that_a_root_needs() {
    for point in POINTS.iter().filter(|point| point.starts_with("gc.")) {
        let inside = crate::check::Inside::new();
        let mut gc = command(inside.folder.path());
        gc.args(["gc", "--yes", DEMO]).env("AIRLOCK_FAULT", point);
        let killed = tokio::time::timeout(LONG, gc.output()).await.unwrap().unwrap();
        assert_eq!(killed.status.signal(), Some(9), "{point} was never reached: {:?}", said(&killed));
        assert!(inside.check(&[Path::new(DEMO)], "all", true).complete, "{point}");
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
        assert!(before.is_empty() || matches!(*point, "export.named" | "export.renamed"), "{point}: {before:?}");
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
        let recorded = usize::from(matches!(*point, "export.recorded" | "export.named" | "export.renamed"));
        assert_eq!(store.sent("all").unwrap().len(), recorded + 1, "{point}");
        let last = format!("out/airlock-all-{:06}.tar", recorded + 1);
        crate::bundle_export::unpack(&scene, &[&last]);
    }
}
