//! `airlock gc`: nothing that a root may need ever goes.

use crate::binary::{Serving, command, run, said, stdout};
use crate::check::{DEMO, GREETING, Inside, LANTERN, PEBBLE, artifact, entry, package, tree_of};
use airlock::gc::{self, Report, Request};
use airlock::protocol::{Flavor, GENERAL, Kind, RegistryTree, Resource, TreeHash};
use airlock::store::{Generation, Store};
use airlock::tree::Limits;
use fs_err as fs;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

const VERSIONS: [(&str, &str, &str); 11] = [
    ("Greeting", GREETING, "0.9.0"),
    ("Greeting", GREETING, "1.0.0"),
    ("Greeting", GREETING, "1.1.0"),
    ("Greeting", GREETING, "1.2.0"),
    ("Lantern", LANTERN, "0.1.0"),
    ("Lantern", LANTERN, "0.2.0"),
    ("Lantern", LANTERN, "0.3.0"),
    ("Pebble", PEBBLE, "1.0.0"),
    ("Pebble", PEBBLE, "1.1.0"),
    ("Pebble", PEBBLE, "1.2.0"),
    ("Pebble", PEBBLE, "2.0.0"),
];

fn request(paths: &[&Path]) -> Request {
    Request {
        paths: paths.iter().map(|path| path.to_path_buf()).collect(),
        keep_generations: 1,
        quarantine: false,
        no_local_artifacts: false,
        jobs: 2,
    }
}

/// Removes, and says what went.
fn collect(inside: &Inside, request: &Request) -> Report {
    let store = Store::open_alone(&inside.cache()).unwrap();
    let plan = gc::plan(&store, &Limits::default(), request, &|_| {}).unwrap();
    if plan.report().refused.is_empty() { gc::remove(&store, plan).unwrap() } else { plan.report().clone() }
}

fn resources(inside: &Inside, kind: Kind) -> Vec<Resource> {
    let store = Store::open(&inside.cache()).unwrap();
    store.resources(kind).collect::<Result<_, _>>().unwrap()
}

fn count(inside: &Inside) -> [usize; 3] {
    Kind::ALL.map(|kind| resources(inside, kind).len())
}

fn manifest(inside: &Inside, name: &str, (package, uuid, version): (&str, &str, &str)) -> PathBuf {
    let tree = tree_of(&format!("{package}/{version}"));
    inside.file(&format!("{name}/Manifest.toml"), entry(package, uuid, version, tree))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn after_a_gc_every_root_is_as_complete_as_before(chosen in prop::sample::subsequence(&VERSIONS[..], 1..=5)) {
        let inside = Inside::new();
        let roots: Vec<_> =
            chosen.iter().enumerate().map(|(index, version)| manifest(&inside, &index.to_string(), *version)).collect();
        let roots: Vec<_> = roots.iter().map(PathBuf::as_path).collect();
        let report = collect(&inside, &request(&roots));
        prop_assert!(report.removed && report.doubts.is_empty());
        let after = inside.check(&roots, "all", true);
        prop_assert!(after.complete, "{after:?}");
        // And nothing else is left.
        prop_assert_eq!(after.resources.len(), count(&inside).iter().sum::<usize>());
        prop_assert_eq!(after.resources.len(), report.kept.files);
        prop_assert!(collect(&inside, &request(&roots)).resources.is_empty());
    }
}

#[test]
fn without_roots_packages_and_artifacts_stay() {
    let inside = Inside::new();
    inside.put("/.airlock/quarantine/a", b"123");
    let before = count(&inside);
    let report = collect(&inside, &request(&[]));
    assert_eq!((count(&inside), report.totals.files, report.quarantined.files), (before, 0, 0));
    let report = collect(&inside, &Request { quarantine: true, ..request(&[]) });
    assert_eq!((report.quarantined.files, report.quarantined.bytes), (1, 3));
    assert_eq!(fs::read_dir(inside.cache().join(".airlock/quarantine")).unwrap().count(), 0);
}

#[test]
fn misses_and_artifacts_are_roots_too() {
    let inside = Inside::new();
    let wick = artifact("lantern-wick-x86_64-w64-mingw32");
    let misses = inside.file("misses.txt", format!("# airlock misses\n{}\n{wick}\n", package(PEBBLE, "Pebble/2.0.0")));
    let toml = format!("[atlas]\nlazy = true\ngit-tree-sha1 = '{}'\n", tree_of("lantern-atlas"));
    let artifacts = inside.file("Artifacts.toml", toml);
    collect(&inside, &request(&[&misses, &artifacts]));
    assert_eq!(resources(&inside, Kind::Package), [package(PEBBLE, "Pebble/2.0.0")]);
    let mut left = resources(&inside, Kind::Artifact);
    left.sort_unstable();
    let mut expected = [wick, artifact("lantern-atlas")];
    expected.sort_unstable();
    assert_eq!(left, expected);
}

#[test]
fn what_cannot_be_told_removes_nothing() {
    let inside = Inside::new();
    let before = count(&inside);
    let good = manifest(&inside, "good", VERSIONS[0]);
    let broken = inside.file("broken/Manifest.toml", "[[A]]\nuuid='x'");
    let unhashed = inside.file("lost/Manifest.toml", format!("[[Lost]]\nuuid='{PEBBLE}'\nversion='7.0.0'\n"));
    for (bad, word) in [(broken.as_path(), "line 2"), (&unhashed, "Lost 7.0.0"), (Path::new("/gone"), "/gone")] {
        let report = collect(&inside, &request(&[&good, bad]));
        assert!(!report.removed && report.refused.len() == 1 && report.refused[0].contains(word), "{report:?}");
        assert_eq!((count(&inside), report.resources.len()), (before, 0));
    }
}

#[test]
fn an_unhashed_entry_that_a_registry_knows_is_kept() {
    let inside = Inside::new();
    let root = inside.file("Manifest.toml", format!("[[Pebble]]\nuuid='{PEBBLE}'\nversion='1.2.0'\n"));
    collect(&inside, &request(&[&root]));
    assert_eq!(resources(&inside, Kind::Package), [package(PEBBLE, "Pebble/1.2.0")]);
}

#[test]
fn while_it_is_not_known_which_artifacts_a_root_needs_all_stay() {
    let local = format!("[[Local]]\nuuid='{GREETING}'\npath='../Local'\n");
    let git = format!("[[Forge]]\nuuid='{GREETING}'\nrepo-url='https://h/F.git'\n");
    let absent = entry("Greeting", GREETING, "7.0.0", tree_of("lantern-atlas"));
    let damaged = entry("Greeting", GREETING, "1.1.0", tree_of("Greeting/1.1.0"));
    for (text, word) in [(&local, "Local"), (&git, "Forge"), (&absent, "Greeting 7.0.0"), (&damaged, "damaged")] {
        let inside = Inside::new();
        inside.put(&package(GREETING, "Greeting/1.1.0").to_string(), b"not a tarball");
        let artifacts = resources(&inside, Kind::Artifact).len();
        let root = inside.file("Manifest.toml", text);
        let report = collect(&inside, &request(&[&root]));
        assert!(report.removed && report.doubts[0].contains(word), "{report:?}");
        assert_eq!(resources(&inside, Kind::Artifact).len(), artifacts);
        assert_eq!(resources(&inside, Kind::Package).len(), usize::from(text == &damaged));
    }
    let inside = Inside::new();
    let root = inside.file("Manifest.toml", local + &git);
    let report = collect(&inside, &Request { no_local_artifacts: true, ..request(&[&root]) });
    assert!(report.doubts.is_empty() && resources(&inside, Kind::Artifact).is_empty());
}

/// A cache with earlier states of General, the oldest first, of which some are on record.
fn generations(inside: &Inside) -> Vec<Resource> {
    let trees = [1, 2, 3, 4].map(|digit| TreeHash::from_bytes([digit; 20]));
    let registries = trees.map(|tree| Resource::Registry { uuid: GENERAL, tree });
    for (age, registry) in registries.iter().enumerate() {
        inside.put(&registry.to_string(), b"earlier");
        let file = fs::File::options().write(true).open(inside.cache().join(registry.relative_path())).unwrap();
        let mtime = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + age as u64);
        file.into_file().set_modified(mtime).unwrap();
    }
    registries.to_vec()
}

#[test]
fn the_newest_generations_the_listed_and_the_pinned_stay() {
    let left = |keep: usize, before: fn(&Store)| {
        let inside = Inside::new();
        let all = generations(&inside);
        before(&Store::open(&inside.cache()).unwrap());
        let report = collect(&inside, &Request { keep_generations: keep, ..request(&[]) });
        assert!(report.resources.iter().all(|it| it.kind == Kind::Registry && it.name.as_deref() == Some("General")));
        let left = resources(&inside, Kind::Registry);
        let listed = RegistryTree { uuid: GENERAL, tree: tree_of("General").parse().unwrap() };
        assert!(left.contains(&listed.into()), "the listed one");
        (0..all.len()).filter(|&index| left.contains(&all[index])).collect::<Vec<_>>()
    };
    let nothing: fn(&Store) = |_| {};
    assert_eq!(left(9, nothing), [0, 1, 2, 3]);
    assert_eq!(left(3, nothing), [2, 3], "the listed one is the newest file");
    assert_eq!(left(0, nothing), Vec::<usize>::new());
    let log: fn(&Store) = |store| {
        let (uuid, flavor, source) = (GENERAL, Flavor::Eager, "test".to_owned());
        let tree = TreeHash::from_bytes([1; 20]);
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
        store.append_generation(&Generation { time, flavor, uuid, tree, source }).unwrap();
    };
    assert_eq!(left(2, log), [0], "the log knows better than the file");
    let pin: fn(&Store) = |store| {
        let pin = RegistryTree { uuid: GENERAL, tree: TreeHash::from_bytes([2; 20]) };
        store.set_pins(&[pin].into_iter().collect()).unwrap();
    };
    assert_eq!(left(0, pin), [1], "the pinned, and the one that the listing names beside it");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_by_name_and_removes_only_when_told() {
    let inside = Inside::new();
    let folder = inside.folder.path();
    let before = count(&inside);
    // What a package calls its artifacts is known once it was verified.
    assert!(run(folder, &["verify"]).await.status.success());
    let output = run(folder, &["gc", DEMO]).await;
    let text = stdout(&output);
    assert!(output.status.success() && said(&output).1.contains("--yes"), "{:?}", said(&output));
    for words in [["package", "Faraway", "1.0.0"], ["package", "Pebble", "2.0.0"], ["artifact", "of Greeting", "-"]] {
        assert!(text.lines().any(|line| words.iter().all(|word| line.contains(word))), "{words:?}: {text}");
    }
    assert!(text.contains("14 would be removed") && count(&inside) == before, "{text}");
    let output = run(folder, &["gc", "--json", "--yes", DEMO]).await;
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["removed"], &document["totals"]["files"]), (&true.into(), &14.into()));
    assert!(inside.check(&[Path::new(DEMO)], "all", true).complete);
    let activities = Store::open(&inside.cache()).unwrap().activities().unwrap();
    assert!(activities[1].summary.contains("14 removed"), "{activities:?}");
    let (code, text) = said(&run(folder, &["gc", "--yes", "/gone"]).await);
    assert!(code == Some(1) && text.contains("/gone") && text.contains("nothing was removed"), "{text}");
    assert_eq!(run(folder, &["gc", "--cache", "typo"]).await.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_in_use_is_left_alone() {
    let inside = Inside::new();
    let before = count(&inside);
    let mut serve = command(inside.folder.path());
    serve.args(["serve", "--offline", "--listen", "127.0.0.1:0"]);
    let serving = Serving::start(serve).await;
    let (code, text) = said(&run(inside.folder.path(), &["gc", "--yes", DEMO]).await);
    assert!(
        code == Some(2) && text.contains("another airlock uses this cache") && !text.contains("writable"),
        "{text}"
    );
    assert_eq!(count(&inside), before);
    assert!(serving.stop(rustix::process::Signal::TERM).await.success());
    assert!(run(inside.folder.path(), &["gc", "--yes", DEMO]).await.status.success());
}
