//! Import of bundles: complete or said by name, whatever the volumes are, and never a step back.
#![expect(clippy::unwrap_used, reason = "helpers that cannot do their part must fail the test")]

mod hostile;
pub(crate) mod pack;
mod sequences;

use crate::binary::{run, said, stdout};
use airlock::bundle::{KeyPair, SigningKey};
use airlock::protocol::{Flavor, Kind, Resource};
use airlock::sample::Site;
use airlock::store::Store;
use fs_err as fs;
use pack::{Packing, sha256};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The closed side: a cache that is filled by bundles only.
struct Inside {
    folder: TempDir,
}

/// What a command came to.
struct Came {
    code: Option<i32>,
    /// Standard output, where it is JSON.
    report: Value,
    /// Standard error.
    said: String,
}

impl Inside {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn import(&self, files: &[PathBuf], flags: &[&str]) -> Came {
        self.bundle("import", files, flags).await
    }

    async fn bundle(&self, action: &str, files: &[PathBuf], flags: &[&str]) -> Came {
        let files = files.iter().map(|file| file.to_str().unwrap());
        let arguments: Vec<_> =
            ["bundle", action, "--json"].into_iter().chain(flags.iter().copied()).chain(files).collect();
        let output = run(self.path(), &arguments).await;
        let (code, said) = said(&output);
        Came { code, report: serde_json::from_str(&stdout(&output)).unwrap_or_default(), said }
    }

    fn store(&self) -> Store {
        Store::open(&self.path().join("cache")).unwrap()
    }

    fn listed(&self) -> String {
        fs::read_to_string(self.path().join("cache/registries")).unwrap_or_default()
    }

    /// Which of these are here and verified.
    fn here(&self, site: &Site) -> Vec<Resource> {
        let store = self.store();
        site.resources().filter(|resource| store.fact(resource).unwrap().is_some()).collect()
    }

    /// Everything outside `.airlock`, as it looks from outside.
    fn visible(&self) -> BTreeMap<PathBuf, (u64, i64, i64)> {
        fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, (u64, i64, i64)>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::metadata(&path).unwrap();
                if metadata.is_dir() && path.file_name().unwrap() != ".airlock" {
                    walk(&path, found);
                }
                if metadata.is_file() {
                    found.insert(path, (metadata.ino(), metadata.ctime(), metadata.ctime_nsec()));
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(&self.path().join("cache"), &mut found);
        found
    }
}

impl Came {
    fn bundle(&self) -> &Value {
        &self.report["bundles"][0]
    }

    fn problems(&self) -> Vec<(&str, &str)> {
        let problems = self.bundle()["problems"].as_array().unwrap();
        problems
            .iter()
            .map(|problem| (problem["kind"].as_str().unwrap(), problem["resource"].as_str().unwrap()))
            .collect()
    }

    fn status(&self) -> &str {
        self.bundle()["registries"][0]["status"].as_str().unwrap()
    }
}

fn of_kind(site: &Site, kind: Kind) -> Resource {
    site.resources().find(|resource| resource.kind() == kind).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_in_any_order_come_in_and_the_second_time_nothing_changes() {
    let (inside, site) = (Inside::new(), Site::sample().unwrap());
    let mut files = Packing::of(&site, 3).write(inside.path());
    files.reverse();
    let first = inside.import(&files, &[]).await;
    assert_eq!((first.code, first.status()), (Some(0), "published"), "{}", first.said);
    assert_eq!(inside.here(&site).len(), site.resources().count());
    for flavor in Flavor::ALL {
        let listing = fs::read(inside.path().join("cache").join(flavor.file_name())).unwrap();
        assert_eq!(&listing[..], &site.body("/registries").unwrap()[..]);
    }
    assert_eq!(inside.store().served_platforms().unwrap(), ["all"]);
    let package = of_kind(&site, Kind::Package);
    assert_eq!(fs::read(inside.store().path(&package)).unwrap(), *site.body(&package.to_string()).unwrap());

    let before = (inside.visible(), inside.store().generations().unwrap(), inside.store().received_bundles().unwrap());
    let again = inside.import(&files, &[]).await;
    assert_eq!((again.code, again.status()), (Some(0), "already"), "{}", again.said);
    assert_eq!((&again.report["changed"], &again.bundle()["imported"]), (&Value::from(false), &Value::from(0)));
    let after = (inside.visible(), inside.store().generations().unwrap(), inside.store().received_bundles().unwrap());
    assert!(before == after);
    assert_eq!(inside.store().activities().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_volume_is_named_and_the_next_run_with_it_completes() {
    let (inside, site) = (Inside::new(), Site::sample().unwrap());
    let packing = Packing::of(&site, 3);
    let files = packing.write(inside.path());
    let without = inside.import(&[files[0].clone(), files[2].clone()], &[]).await;
    assert_eq!((without.code, without.status()), (Some(1), "held-back"));
    assert!(without.said.contains("volume 2, b.2.tar, was not given"), "{}", without.said);
    assert!(without.problems().iter().all(|(kind, _)| *kind == "lacking"));
    assert_eq!(without.problems().len(), packing.index.of_volume(2).count());
    assert_eq!(inside.listed(), "");
    assert!(!inside.store().received_bundles().unwrap()[0].complete);
    let with = inside.import(&files[1..2], &[]).await;
    assert_eq!((with.code, with.status()), (Some(0), "published"), "{}", with.said);
    assert_eq!(inside.here(&site).len(), site.resources().count());
    assert!(inside.store().received_bundles().unwrap()[1].complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_costs_one_resource_which_is_named() {
    let site = Site::sample().unwrap();
    for in_header in [false, true] {
        let inside = Inside::new();
        let packing = Packing::of(&site, 2);
        let files = packing.write(inside.path());
        let damaged = of_kind(&site, Kind::Package);
        let entry = packing.index.resources.iter().find(|entry| entry.resource == damaged).unwrap();
        let file = &files[entry.volume as usize - 1];
        let at = packing.offset(&damaged) - if in_header { 500 } else { 0 } + 10;
        let mut bytes = fs::read(file).unwrap();
        bytes[at] ^= 1;
        fs::write(file, &bytes).unwrap();
        let came = inside.import(&files, &[]).await;
        assert_eq!((came.code, came.status()), (Some(1), "held-back"), "{}", came.said);
        assert_eq!(came.problems(), [("damaged", &*damaged.to_string())]);
        assert_eq!(came.bundle()["problems"][0]["name"], "Example");
        assert!(came.said.contains("carry that volume again"), "{}", came.said);
        assert_eq!(inside.here(&site).len(), site.resources().count() - 1);
        assert!(!inside.store().has(&damaged) && inside.listed().is_empty());
        let inspected = inside.bundle("inspect", &files, &["--verify"]).await;
        assert_eq!((inspected.code, inspected.problems().len()), (Some(1), 1));

        bytes[at] ^= 1;
        fs::write(file, &bytes).unwrap();
        let came = inside.import(&files, &[]).await;
        assert_eq!((came.code, came.status()), (Some(0), "published"), "{}", came.said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn papers_that_are_not_of_the_index_are_said_before_anybody_signs() {
    let (inside, site) = (Inside::new(), Site::sample().unwrap());
    let packing = Packing::of(&site, 1);
    let sum = packing.index.resources[0].sha256.to_string();
    for (genuine, forged, says) in [(&*sum, "0".repeat(64), "SHA256SUMS"), ("{}", "[]".to_owned(), "sbom.cdx.json")] {
        let mut bytes = packing.volume(1);
        // The last place: the index, which comes first, has the same sum.
        let start = if genuine == "{}" { packing.index.to_json().len() + 512 } else { 0 };
        let found = bytes.windows(genuine.len()).enumerate().skip(start).filter(|(_, it)| *it == genuine.as_bytes());
        let places: Vec<_> = found.map(|(at, _)| at).collect();
        let at = if genuine == "{}" { places[0] } else { places[1] };
        bytes[at..at + genuine.len()].copy_from_slice(forged.as_bytes());
        let file = inside.path().join("b.tar");
        fs::write(&file, bytes).unwrap();
        let inspected = inside.bundle("inspect", std::slice::from_ref(&file), &["--verify"]).await;
        assert_eq!(inspected.code, Some(1), "{says}");
        let oddity = inspected.bundle()["volumes"][0]["oddity"].as_str().unwrap();
        assert!(oddity.contains(says), "{oddity}");
        let sheet = inside.bundle("report", std::slice::from_ref(&file), &[]).await;
        let problem = sheet.report["volumes"][0]["problem"].as_str().unwrap();
        assert!(sheet.code == Some(1) && problem.contains(says), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_packed_under_a_wrong_name_stays_out() {
    let (inside, site) = (Inside::new(), Site::sample().unwrap());
    let mut packing = Packing::of(&site, 1);
    let (wrong, other) = (of_kind(&site, Kind::Package), of_kind(&site, Kind::Artifact));
    let body = packing.bodies[&other].clone();
    let entry = packing.index.resources.iter_mut().find(|entry| entry.resource == wrong).unwrap();
    (entry.size, entry.sha256) = (body.len() as u64, sha256(&body));
    packing.bodies.insert(wrong, body);
    let files = packing.write(inside.path());
    let came = inside.import(&files, &[]).await;
    assert_eq!((came.code, came.problems()), (Some(1), vec![("wrong", &*wrong.to_string())]));
    assert!(!inside.store().has(&wrong));
    assert!(came.said.contains("airlock verify"), "{}", came.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_the_same_and_changes_nothing() {
    let (inside, site) = (Inside::new(), Site::sample().unwrap());
    let files = Packing::of(&site, 2).write(inside.path());
    let came = inside.import(&files, &["--dry-run"]).await;
    assert_eq!((came.code, &came.bundle()["imported"]), (Some(0), &Value::from(site.resources().count())));
    let part = inside.import(&files[1..], &["--dry-run"]).await;
    assert_eq!(part.code, Some(1));
    assert!(inside.visible().is_empty() && inside.store().received_bundles().unwrap().is_empty());
    let inspected = inside.bundle("inspect", &files[1..], &[]).await;
    assert_eq!((inspected.code, &inspected.bundle()["volumes"][0]["file"]), (Some(1), &Value::Null));
    assert_eq!(inside.bundle("inspect", &files, &["--verify"]).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rsync_left_in_the_cache_is_verified_and_what_is_damaged_is_replaced() {
    let (inside, site) = (Inside::new(), Site::sample().unwrap());
    let (good, bad) = (of_kind(&site, Kind::Package), of_kind(&site, Kind::Artifact));
    for (resource, body) in [(good, site.body(&good.to_string()).unwrap().to_vec()), (bad, b"damaged".to_vec())] {
        let path = inside.path().join("cache").join(resource.relative_path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, body).unwrap();
    }
    let came = inside.import(&Packing::of(&site, 1).write(inside.path()), &[]).await;
    assert_eq!((came.code, &came.bundle()["here"]), (Some(0), &Value::from(1)), "{}", came.said);
    assert_eq!(inside.here(&site).len(), site.resources().count());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_trusted_key_only_its_bundles_come_in() {
    let site = Site::sample().unwrap();
    let (ours, theirs) = (KeyPair::generate(None).unwrap(), KeyPair::generate(None).unwrap());
    let open = |pair: &KeyPair| SigningKey::open(&pair.secret, None).unwrap();
    let mut forged = Packing::of(&site, 2).signed(&open(&ours));
    forged.index.sequence = 7;
    let their_id = theirs.line.id().to_string();
    for (packing, code, says) in [
        (Packing::of(&site, 2), 1, "is not signed"),
        (Packing::of(&site, 2).signed(&open(&theirs)), 1, &*their_id),
        (forged, 1, "has a signature that is not of its bundle.json"),
        (Packing::of(&site, 2).signed(&open(&ours)), 0, ""),
    ] {
        let inside = Inside::new();
        fs::write(inside.path().join("airlock.toml"), format!("[bundle]\ntrusted-keys = ['{}']\n", ours.line)).unwrap();
        let came = inside.import(&packing.write(inside.path()), &[]).await;
        assert_eq!(came.code, Some(code), "{says}: {}", came.said);
        let stopped = came.report["stopped"].as_str().unwrap_or_default();
        assert!(stopped.contains(says) && (code == 0 || stopped.contains(&ours.line.id().to_string())), "{stopped}");
        assert_eq!(inside.visible().is_empty(), code == 1);
        assert!(!came.said.contains("Nobody's signature"));
    }
    let inside = Inside::new();
    let mut garbled = Packing::of(&site, 1);
    garbled.signature = Some("no signature".to_owned());
    let came = inside.import(&garbled.write(inside.path()), &[]).await;
    let stopped = came.report["stopped"].as_str().unwrap();
    assert!(came.code == Some(1) && stopped.ends_with("the signature was. Nothing was imported"), "{stopped}");
    let came = inside.import(&Packing::of(&site, 1).signed(&open(&theirs)).write(inside.path()), &[]).await;
    assert_eq!(came.code, Some(0));
    assert!(came.said.contains("Nobody's signature was checked"), "{}", came.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_the_exporter_comes_in() {
    let scene = crate::support::Scene::new().await;
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo");
    let upstream = scene.upstream.url();
    let outside = scene.folder.path();
    let prewarm = run(outside, &["prewarm", "--platform", "all", "--upstream", &upstream, demo]).await;
    assert!(prewarm.status.success(), "{:?}", said(&prewarm));
    let export = run(outside, &["bundle", "export", "b.tar"]).await;
    assert!(export.status.success(), "{:?}", said(&export));
    let inside = Inside::new();
    let came = inside.import(&[outside.join("b.tar")], &[]).await;
    assert_eq!((came.code, came.status()), (Some(0), "published"), "{}", came.said);
    assert_eq!(fs::read_to_string(outside.join("cache/registries")).unwrap(), inside.listed());
}
