//! `airlock bundle export` and `keygen`: what is in a bundle, read by `tar`, `sha256sum` and
//! `minisign`; what is left out; and that nothing is written that is not right.

use crate::binary::{command, run, said, stdout};
use crate::support::{LONG, Scene, mirror, skip};
use airlock::bundle::{ExportError, Order, Step, Watch, export};
use airlock::exchange::{Base, BundleIndex, Damaged, Missed, REQUEST_FORMAT, Request, UncarriedKind};
use airlock::julia::Platforms;
use airlock::prewarm::{Event, Progress};
use airlock::protocol::{Kind, Resource};
use airlock::store::Store;
use fs_err as fs;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo");
const TREE_HASHES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/sample/tree-hashes.txt"));

/// The connected side, with the demo's closure in its cache.
pub(crate) async fn outside() -> Scene {
    let scene = Scene::new().await;
    let prewarmed = run(scene.folder.path(), &["prewarm", "--upstream", &scene.upstream.url(), DEMO]).await;
    assert!(prewarmed.status.success(), "{:?}", said(&prewarmed));
    scene
}

async fn exported(scene: &Scene, arguments: &[&str]) -> Output {
    run(scene.folder.path(), &[&["bundle", "export"], arguments].concat()).await
}

/// Exports and expects all to be well.
async fn good(scene: &Scene, arguments: &[&str]) {
    let output = exported(scene, arguments).await;
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output).1);
}

/// Unpacks volumes into one folder with the real tar, and has `sha256sum` check all there is.
pub(crate) fn unpack(scene: &Scene, files: &[&str]) -> PathBuf {
    let folder = tempfile::tempdir_in(scene.folder.path()).unwrap().keep();
    for file in files {
        let mut tar = std::process::Command::new("tar");
        tar.arg("-xf").arg(scene.folder.path().join(file)).arg("-C").arg(&folder);
        assert!(tar.status().unwrap().success(), "{file}");
    }
    let mut sums = std::process::Command::new("sha256sum");
    let checked = sums.args(["-c", "--strict", "SHA256SUMS"]).current_dir(&folder).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    folder
}

fn index(folder: &Path) -> BundleIndex {
    BundleIndex::parse(&fs::read(folder.join("bundle.json")).unwrap()).unwrap()
}

/// What is in a bundle, by name and version.
fn names(index: &BundleIndex) -> Vec<String> {
    let name = |entry: &airlock::exchange::Entry| {
        let name = entry.name.clone().unwrap();
        entry.version.as_ref().map_or(name.clone(), |version| format!("{name} {version}"))
    };
    index.resources.iter().map(name).collect()
}

fn listed(file: &Path, verbose: &str) -> String {
    let tar = std::process::Command::new("tar").arg(verbose).arg(file).output().unwrap();
    assert!(tar.status.success());
    stdout(&tar)
}

fn tree_of(label: &str) -> String {
    let line = TREE_HASHES.lines().find(|line| line.split(' ').nth(1) == Some(label));
    line.and_then(|line| line.split(' ').nth(2)).unwrap().to_owned()
}

fn resource_of(label: &str) -> Resource {
    let resources: Vec<_> = airlock::sample::Site::sample().unwrap().resources().collect();
    resources.into_iter().find(|resource| resource.tree().to_string() == tree_of(label)).unwrap()
}

/// Everything that is in a cache.
fn inventory(scene: &Scene) -> BTreeSet<Resource> {
    let store = Store::open(&scene.cache()).unwrap();
    Kind::ALL.into_iter().flat_map(|kind| store.resources(kind)).map(Result::unwrap).collect()
}

fn request(inventory: BTreeSet<Resource>) -> Request {
    Request {
        airlock_request: REQUEST_FORMAT,
        created: "2026-11-01T00:00:00Z".parse().unwrap(),
        site: airlock::protocol::GENERAL,
        name: "site-b".into(),
        platforms: vec!["x86_64-linux-gnu".into()],
        julia: Vec::new(),
        registries: BTreeSet::new(),
        inventory,
        repositories: BTreeMap::new(),
        misses: Vec::new(),
        wishes: Vec::new(),
        damaged: Vec::new(),
        received: Vec::new(),
    }
}

fn write_request(scene: &Scene, request: &Request) -> String {
    let path = scene.folder.path().join("request.json");
    fs::write(&path, request.to_json()).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_a_plain_tar_that_proves_itself_without_airlock() {
    let scene = outside().await;
    let keys = run(scene.folder.path(), &["bundle", "keygen", "--no-password", "k"]).await;
    assert!(keys.status.success(), "{:?}", said(&keys));
    good(&scene, &["--sign", "k.key", "--to", "site-a", "b.tar"]).await;
    let folder = unpack(&scene, &["b.tar"]);
    let index = index(&folder);
    assert_eq!((index.destination.as_str(), index.sequence, &index.builds_on), ("site-a", 1, &Base::default()));
    assert_eq!(index.resources.iter().map(|entry| entry.resource).collect::<BTreeSet<_>>(), inventory(&scene));
    assert_eq!((index.registries.len(), index.registries[0].flavors.len()), (1, 3));
    assert_eq!(names(&index)[..3], ["General", "DelimitedFiles 1.9.1", "Greeting 1.1.0"]);
    let greeting = &index.resources[2];
    assert_eq!(greeting.repository.as_deref(), Some("https://git.example.invalid/Greeting.jl.git"));

    let lines = listed(&scene.folder.path().join("b.tar"), "-tvf");
    let good_line = |line: &str| line.starts_with("-rw-r--r-- 0/0 ");
    assert!(lines.lines().all(good_line), "{lines}");
    let entries = listed(&scene.folder.path().join("b.tar"), "-tf");
    let resources: Vec<_> = index.resources.iter().map(|entry| entry.resource.relative_path()).collect();
    let first = ["bundle.json", "bundle.json.minisig", "SHA256SUMS", "sbom.cdx.json"].map(str::to_owned);
    assert_eq!(entries.lines().collect::<Vec<_>>(), [&first[..], &resources].concat());
    let sbom_line = fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    assert!(sbom_line.starts_with(&format!("{}  sbom.cdx.json\n", index.sbom_sha256)));

    let mut minisign = std::process::Command::new("minisign");
    minisign.args(["-V", "-p", "../k.pub", "-m", "bundle.json"]).current_dir(&folder);
    match minisign.output() {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(_) => skip("minisign: a signature read by minisign itself"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sbom_names_packages_by_purl_and_artifacts_by_owner() {
    let scene = outside().await;
    good(&scene, &["b.tar"]).await;
    let folder = unpack(&scene, &["b.tar"]);
    let (index, sbom) = (index(&folder), fs::read(folder.join("sbom.cdx.json")).unwrap());
    let sbom: Value = serde_json::from_slice(&sbom).unwrap();
    assert_eq!(sbom["specVersion"], "1.6");
    assert_eq!(sbom["serialNumber"], format!("urn:uuid:{}", index.id));
    let components = sbom["components"].as_array().unwrap();
    assert_eq!(components.len(), index.resources.len());
    let purl = "pkg:julia/Greeting@1.1.0?uuid=1b86959a-5d86-4eaa-ae42-da2cc0f6ffa9";
    let greeting = components.iter().find(|component| component["purl"] == purl).unwrap();
    assert_eq!(greeting["type"], "library");
    assert_eq!(greeting["hashes"][0]["content"], index.resources[2].sha256.to_string());
    let wick: Vec<_> = components.iter().filter(|component| component["name"] == "wick of Lantern").collect();
    assert_eq!(wick.len(), 2);
    let lantern = resource_of("Lantern/0.2.0").to_string();
    let needs = sbom["dependencies"].as_array().unwrap().iter().find(|it| it["ref"] == lantern.as_str()).unwrap();
    assert_eq!(needs["dependsOn"].as_array().unwrap().len(), 5, "{needs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn for_a_request_only_the_difference_crosses_and_misses_are_fetched() {
    let scene = outside().await;
    let all = inventory(&scene);
    let mut asked = request(all.clone());
    let damaged = resource_of("Pebble/1.1.0");
    asked.damaged.push(Damaged { resource: damaged });
    let missed = resource_of("Greeting/1.2.0");
    asked.misses.push(Missed { resource: missed, name: None, version: None, count: 3 });
    asked.wishes.extend(["Faraway@0.1".parse().unwrap(), "Nowhere".parse().unwrap()]);
    let file = write_request(&scene, &asked);
    let upstream = scene.upstream.url();
    let output = exported(&scene, &["--json", "--for", &file, "--upstream", &upstream, "b.tar"]).await;
    assert_eq!(output.status.code(), Some(1), "a wish came to nothing: {}", said(&output).1);
    assert!(said(&output).1.contains("not carried: Nowhere: "), "{}", said(&output).1);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["complete"], &document["sequence"]), (&Value::Bool(false), &1.into()));

    let index = index(&unpack(&scene, &["b.tar"]));
    assert_eq!(index.destination, "site-b");
    let names = names(&index);
    for name in ["Pebble 1.1.0", "Greeting 1.2.0", "Faraway 0.1.0"] {
        assert!(names.contains(&name.to_owned()), "{name}: {names:?}");
    }
    assert!(index.resources.iter().all(|entry| !all.contains(&entry.resource) || entry.resource == damaged));
    assert!(index.resources.iter().any(|entry| entry.resource.tree().to_string() == tree_of("greeting-text-2")));
    let left: BTreeSet<_> = index.builds_on.resources.iter().copied().collect();
    assert_eq!(left, &all - &BTreeSet::from([damaged]));
    assert_eq!(index.builds_on.request, Some(asked.created));
    let replaces = |name: &str| {
        let entry = index.resources.iter().find(|entry| entry.name.as_deref() == Some(name)).unwrap();
        entry.replaces.clone().unwrap().0
    };
    assert_eq!((replaces("Greeting"), replaces("Faraway")), (vec!["1.1.0".to_owned()], vec![]));
    assert_eq!(index.uncarried.iter().map(|it| it.kind).collect::<Vec<_>>(), [UncarriedKind::Unknown]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_fetching_what_is_not_here_is_named_and_nobody_is_asked() {
    let scene = outside().await;
    let mut asked = request(BTreeSet::new());
    let missed = resource_of("Greeting/1.2.0");
    asked.misses.push(Missed { resource: missed, name: None, version: None, count: 1 });
    let file = write_request(&scene, &asked);
    let before = scene.upstream.requests().len();
    let output = exported(&scene, &["--no-fetch", "--for", &file, "b.tar", DEMO]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).1.contains("not carried: Greeting 1.2.0: it is not here"), "{}", said(&output).1);
    assert_eq!(scene.upstream.requests().len(), before);
    let index = index(&unpack(&scene, &["b.tar"]));
    assert_eq!((index.resources.len(), index.uncarried[0].kind), (10, UncarriedKind::Missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_is_packed_for_its_platforms_and_what_cannot_cross_is_named() {
    let scene = outside().await;
    let uuid = "7876af07-990d-54b4-ab0e-23690620f79a";
    let pebble = format!(
        "[[Pebble]]\nuuid='354e2ac8-8ada-4e21-9862-af9efd059799'\nversion='1.1.0'\ngit-tree-sha1='{}'\n\
         [[Own]]\nuuid='{uuid}'\nversion='0.1.0'\nrepo-url='https://me:secret@git.invalid/Own.jl'\n",
        tree_of("Pebble/1.1.0")
    );
    fs::write(scene.folder.path().join("Manifest.toml"), pebble).unwrap();
    let output = exported(&scene, &["a.tar", "Manifest.toml"]).await;
    let (code, text) = said(&output);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("not carried: Own 0.1.0: ") && !text.contains("secret"), "{text}");
    good(&scene, &["--allow-unmirrorable", "b.tar", "Manifest.toml"]).await;
    let index = index(&unpack(&scene, &["b.tar"]));
    assert_eq!(names(&index), ["General", "Pebble 1.1.0"]);
    assert_eq!((index.sequence, index.uncarried[0].kind), (2, UncarriedKind::Git));
}

#[tokio::test(flavor = "multi_thread")]
async fn since_a_time_or_a_generation_only_what_came_later() {
    let scene = outside().await;
    let store = Store::open(&scene.cache()).unwrap();
    let tree = store.generations().unwrap()[0].tree.to_string();
    drop(store);
    good(&scene, &["--since", "2001-01-01", "all.tar"]).await;
    assert_eq!(index(&unpack(&scene, &["all.tar"])).resources.len(), 10);
    good(&scene, &["--since", "2101-01-01T00:00:00Z", "none.tar"]).await;
    let none = index(&unpack(&scene, &["none.tar"]));
    assert_eq!((none.resources.len(), none.builds_on.resources.len(), none.registries.len()), (0, 10, 1));
    // The registry itself came when its generation did: sent once too often rather than never.
    good(&scene, &["--since", &tree[..8], "later.tar"]).await;
    let later = index(&unpack(&scene, &["later.tar"]));
    assert_eq!((later.count(Kind::Registry), later.count(Kind::Package)), (1, 4));
    for (since, words) in [("yesterday", "neither a date"), ("deadbeef", "0 registry trees")] {
        let output = exported(&scene, &["--since", since, "x.tar"]).await;
        let (code, text) = said(&output);
        assert!(code == Some(2) && text.contains(words), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_was_copied_here_names_what_it_packs() {
    let scene = outside().await;
    // rsync leaves it behind: it is another machine's.
    fs::remove_dir_all(scene.cache().join(".airlock")).unwrap();
    good(&scene, &["copied.tar"]).await;
    let index = index(&unpack(&scene, &["copied.tar"]));
    let named =
        |kind| index.resources.iter().filter(move |entry| entry.resource.kind() == kind && entry.name.is_some());
    assert_eq!((named(Kind::Registry).count(), named(Kind::Package).count()), (1, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overlap_repeats_the_last_bundles_and_says_which() {
    let scene = outside().await;
    good(&scene, &["--to", "a", "1.tar"]).await;
    good(&scene, &["--to", "a", "--since", "2101-01-01", "2.tar"]).await;
    good(&scene, &["--to", "a", "--since", "2101-01-01", "--overlap", "1", "3.tar"]).await;
    let third = index(&unpack(&scene, &["3.tar"]));
    assert_eq!((third.repeats, third.resources.len()), (BTreeSet::from([2]), 0));
    good(&scene, &["--to", "a", "--since", "2101-01-01", "--overlap", "9", "4.tar"]).await;
    let fourth = index(&unpack(&scene, &["4.tar"]));
    assert_eq!((fourth.repeats, fourth.resources.len()), (BTreeSet::from([1, 2, 3]), 10));
    assert!(fourth.builds_on.resources.is_empty());
    fs::remove_file(scene.cache().join(resource_of("Pebble/1.1.0").relative_path())).unwrap();
    let output = exported(&scene, &["--to", "a", "--since", "2101-01-01", "--overlap", "9", "5.tar"]).await;
    assert_eq!(output.status.code(), Some(1));
    let fifth = index(&unpack(&scene, &["5.tar"]));
    assert_eq!(fifth.repeats, BTreeSet::from([2, 3]), "1 and 4 are not whole any more");
    assert!(fifth.uncarried.iter().all(|it| it.what == "Pebble 1.1.0"), "{:?}", fifth.uncarried);
    good(&scene, &["--to", "b", "6.tar"]).await;
    assert_eq!(index(&unpack(&scene, &["6.tar"])).sequence, 1, "each destination counts for itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_which_something_is_damaged_now_is_not_repeated() {
    let scene = outside().await;
    good(&scene, &["1.tar"]).await;
    fs::write(scene.cache().join(resource_of("Pebble/1.1.0").relative_path()), "damaged").unwrap();
    let output = exported(&scene, &["--since", "2101-01-01", "--overlap", "1", "2.tar"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output).1);
    let second = index(&unpack(&scene, &["2.tar"]));
    assert_eq!((second.repeats, second.uncarried.len()), (BTreeSet::new(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_have_their_size_and_make_one_whole() {
    let scene = outside().await;
    good(&scene, &["whole.tar"]).await;
    let sum = index(&unpack(&scene, &["whole.tar"])).bytes();
    let out = scene.folder.path().join("out");
    fs::create_dir(&out).unwrap();
    good(&scene, &["--volume-size", "20480B", "--to", "fat", "out"]).await;
    let mut files: Vec<_> =
        fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let count = files.len();
    assert!(count > 1 && files[0] == format!("airlock-fat-000001.1of{count}.tar"), "{files:?}");
    for file in &files {
        assert!(fs::metadata(out.join(file)).unwrap().len() <= 20480, "{file}");
    }
    let files: Vec<_> = files.iter().map(|file| format!("out/{file}")).collect();
    let folder = unpack(&scene, &files.iter().map(String::as_str).collect::<Vec<_>>());
    let index = index(&folder);
    assert_eq!((index.volumes.len(), index.bytes()), (count, sum));
    assert_eq!(index.volumes.iter().map(|volume| volume.bytes).sum::<u64>(), sum);
    let first = |file: &String| {
        let path = scene.folder.path().join(file);
        let bytes = std::process::Command::new("tar").arg("-xOf").arg(path).arg("bundle.json").output().unwrap();
        bytes.stdout
    };
    assert!(files.iter().all(|file| first(file) == fs::read(folder.join("bundle.json")).unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_no_volume_is_named_before_anything_is_written() {
    let scene = outside().await;
    for (size, words) in
        [("1KiB", "index and the checksums"), ("15000B", "Lantern 0.2.0 has 1867 bytes and fits no volume")]
    {
        let output = exported(&scene, &["--volume-size", size, "b.tar"]).await;
        let (code, text) = said(&output);
        assert!(code == Some(2) && text.contains(words), "{text}");
    }
    let files = fs::read_dir(scene.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(files.collect::<Vec<_>>(), ["cache"]);
    assert_eq!(Store::open(&scene.cache()).unwrap().sent("all").unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_set_aside_and_not_carried() {
    let scene = outside().await;
    let damaged = resource_of("Pebble/1.1.0");
    let path = scene.cache().join(damaged.relative_path());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let output = exported(&scene, &["b.tar"]).await;
    let (code, text) = said(&output);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("not carried: Pebble 1.1.0: it is damaged here"), "{text}");
    assert!(!path.exists());
    let index = index(&unpack(&scene, &["b.tar"]));
    assert_eq!((index.resources.len(), index.uncarried.len()), (9, 1));
}

/// Rewrites a file when the second pass begins.
struct Meddler(PathBuf);

impl Progress for Meddler {
    fn event(&self, _: &Event<'_>) {}
}

impl Watch for Meddler {
    fn step(&self, step: Step) {
        if matches!(step, Step::Packing { .. }) {
            let bytes = fs::read(&self.0).unwrap();
            fs::write(&self.0, bytes).unwrap();
        }
    }
}

fn order(out: PathBuf) -> Order {
    Order {
        julias: Vec::new(),
        out,
        paths: Vec::new(),
        request: None,
        since: None,
        overlap: 0,
        destination: None,
        platforms: Platforms::All,
        lazy: true,
        volume_size: None,
        fetch: false,
        force: false,
        dry_run: false,
        allow_unmirrorable: false,
        jobs: 1,
        attempts: 1,
        key: None,
        cancel: CancellationToken::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_between_the_passes_fails_the_export_and_leaves_nothing() {
    let scene = outside().await;
    let out = scene.folder.path().join("b.tar");
    let pebble = scene.cache().join(resource_of("Pebble/1.1.0").relative_path());
    let mirror = mirror(&scene.offline());
    let failed = export(Arc::clone(&mirror), order(out.clone()), Arc::new(Meddler(pebble))).await.unwrap_err();
    assert!(matches!(&failed, ExportError::Changed { name, .. } if name == "Pebble 1.1.0"), "{failed}");
    assert!(!out.exists() && !out.with_extension("tar.part").exists());
    assert_eq!(mirror.store().sent("all").unwrap().len(), 0);
    let good = export(Arc::clone(&mirror), order(out), Arc::new(())).await.unwrap();
    assert_eq!((good.sequence, good.complete), (1, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_it_leaves_nothing() {
    let scene = outside().await;
    let mirror = mirror(&scene.offline());
    let order = order(scene.folder.path().join("b.tar"));
    order.cancel.cancel();
    let failed = export(mirror, order, Arc::new(())).await.unwrap_err();
    assert!(matches!(failed, ExportError::Stopped), "{failed}");
    assert!(!scene.folder.path().join("b.tar").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_writes_nothing_and_asks_nobody() {
    let scene = outside().await;
    let before = scene.upstream.requests().len();
    let file = write_request(&scene, &request(BTreeSet::from([resource_of("Pebble/1.1.0")])));
    let upstream = scene.upstream.url();
    let arguments = ["--dry-run", "--json", "--upstream", &upstream, "--for", &file, "out/"];
    let output = exported(&scene, &arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output).1);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["packages"], &document["left_out"]), (&3.into(), &1.into()));
    assert_eq!(document["files"][0], "out/airlock-site-b-000001.tar");
    let names: Vec<_> = document["new_packages"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["DelimitedFiles", "Greeting", "Lantern"]);
    assert_eq!(scene.upstream.requests().len(), before);
    assert!(!scene.folder.path().join("out").exists() && !scene.cache().join(".airlock/bundles").exists());
    fs::create_dir(scene.folder.path().join("out")).unwrap();
    let real = exported(&scene, &["--json", "--no-fetch", "--for", &file, "out/"]).await;
    let real: Value = serde_json::from_slice(&real.stdout).unwrap();
    assert_eq!(real["bytes"], document["bytes"], "a dry run knows the size to the byte");
    let written = fs::metadata(scene.folder.path().join("out/airlock-site-b-000001.tar")).unwrap().len();
    assert_eq!(real["bytes"], written);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_kept_unless_forced() {
    let scene = outside().await;
    fs::write(scene.folder.path().join("b.tar"), "mine").unwrap();
    let output = exported(&scene, &["b.tar"]).await;
    let (code, text) = said(&output);
    assert!(code == Some(2) && text.contains("--force"), "{text}");
    assert_eq!(fs::read_to_string(scene.folder.path().join("b.tar")).unwrap(), "mine");
    good(&scene, &["--force", "b.tar"]).await;
    unpack(&scene, &["b.tar"]);
    let output = exported(&scene, &["none/b.tar"]).await;
    let (code, text) = said(&output);
    assert!(code == Some(2) && text.contains("none"), "{text}");
    for bad in ["my bundle.tar", ".b.tar", "b+1.tar", "b\u{fc}.tar"] {
        let (code, text) = said(&exported(&scene, &[bad]).await);
        assert!(code == Some(2) && text.contains("cannot be the name of a bundle"), "no import would read it: {text}");
    }
    for bad in [&["--to", "../x", "c.tar"][..], &["--for", "none.json", "c.tar"]] {
        assert_eq!(exported(&scene, bad).await.status.code(), Some(2), "{bad:?}");
    }
    assert_eq!(Store::open(&scene.cache()).unwrap().sent("all").unwrap(), BTreeSet::from([1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_cache_makes_no_bundle() {
    let scene = Scene::new().await;
    drop(Store::open(&scene.cache()).unwrap());
    let output = exported(&scene, &["b.tar"]).await;
    let (code, text) = said(&output);
    assert!(code == Some(2) && text.contains("nothing to pack"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_exports_at_once_never_take_one_number() {
    let scene = outside().await;
    let all: Vec<_> = (0..4).map(|number| format!("{number}.tar")).collect();
    let exports = all.iter().map(|file| async { good(&scene, &["--to", "a", file]).await });
    futures_util::future::join_all(exports).await;
    let numbers: BTreeSet<_> = all.iter().map(|file| index(&unpack(&scene, &[file])).sequence).collect();
    assert_eq!(numbers, BTreeSet::from([1, 2, 3, 4]));
    let store = Store::open(&scene.cache()).unwrap();
    assert_eq!(store.sent("a").unwrap(), numbers);
    assert_eq!(store.sent_index("a", 3).unwrap().unwrap().sequence, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_once_kept_private_and_can_have_a_password() {
    let scene = outside().await;
    let folder = scene.folder.path();
    fs::write(folder.join("word"), "lantern\n").unwrap();
    let made = run(folder, &["bundle", "keygen", "--sign-password-file", "word", "site.one"]).await;
    assert!(made.status.success(), "{:?}", said(&made));
    let bits = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((bits("site.one.key"), bits("site.one.pub")), (0o600, 0o644));
    let line = stdout(&made);
    let public = fs::read_to_string(folder.join("site.one.pub")).unwrap();
    assert_eq!(line.trim(), format!("trusted-keys = [\"{}\"]", public.lines().nth(1).unwrap()));
    let again = run(folder, &["bundle", "keygen", "--no-password", "site.one"]).await;
    assert_eq!(again.status.code(), Some(2));
    assert_eq!(fs::read_to_string(folder.join("site.one.pub")).unwrap(), public);

    let config = "[bundle]\nsign-key = 'site.one.key'\ndestination = 'c'\n";
    fs::write(folder.join("airlock.toml"), config).unwrap();
    let mut signed = command(folder);
    signed.args(["bundle", "export", "--json", "b.tar"]).env("AIRLOCK_SIGN_PASSWORD_FILE", "word");
    let output = tokio::time::timeout(LONG, signed.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{:?}", said(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = document["signed_by"].as_str().unwrap();
    assert!(public.contains(id) && document["destination"] == "c", "{document}");
    let unpacked = unpack(&scene, &["b.tar"]);
    let key = airlock::bundle::TrustedKey::from_file_text(&public).unwrap();
    let (bytes, signature) =
        (fs::read(unpacked.join("bundle.json")).unwrap(), fs::read(unpacked.join("bundle.json.minisig")).unwrap());
    let verdict = airlock::bundle::verify(&bytes, Some(&signature), std::slice::from_ref(&key));
    assert_eq!(verdict, airlock::bundle::Verdict::Trusted(key.id()));
    fs::write(folder.join("word"), "other\n").unwrap();
    let wrong = exported(&scene, &["--sign-password-file", "word", "c.tar"]).await;
    let (code, text) = said(&wrong);
    assert!(code == Some(2) && text.contains("not the password"), "{text}");
}
