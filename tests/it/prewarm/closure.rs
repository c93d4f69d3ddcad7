//! What is fetched: exactly the closure.

use super::{DEMO_PACKAGES, How, LINUX, LINUX_ARTIFACTS, Outside, PLAIN, artifacts, demo, package_path, packages, set};
use super::{statuses, tree_of};
use airlock::julia::Platform;
use airlock::mirror::{Ask, Found};
use airlock::prewarm::{Report, Status};
use airlock::protocol::{GENERAL, Resource};
use airlock::sample::Site;
use airlock::tree::TarEntry;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[tokio::test]
async fn the_demos_closure_is_exactly_this() {
    let outside = Outside::new().await;
    let report = outside.prewarm(&[&demo()], PLAIN).await;
    assert_eq!(packages(&report), DEMO_PACKAGES);
    assert_eq!(artifacts(&report), set(LINUX_ARTIFACTS));
    assert_eq!(statuses(&report), BTreeSet::from([Status::Fetched]));
    assert_eq!((report.registries.len(), report.registries[0].uuid), (1, GENERAL));
    assert_eq!((report.totals.fetched, report.unopened_packages, report.exit_code()), (10, 0, 0));
    assert_eq!((report.unmirrorable.len(), report.local_paths), (0, 0));
}

#[tokio::test]
async fn what_a_closure_names_can_be_served_without_any_upstream() {
    let outside = Outside::new().await;
    let report = outside.prewarm(&[&demo()], PLAIN).await;
    let mirror = outside.mirror(How { offline: true, ..PLAIN });
    for artifact in &report.artifacts {
        let found = mirror.get(&Resource::Artifact { tree: artifact.tree }, &Ask::default()).await.unwrap();
        let Found::Memory(body) = found else { panic!("{artifact:?}") };
        assert_eq!(Some(body.len() as u64), artifact.bytes);
    }
    let again = outside.prewarm(&[&demo()], How { offline: true, ..PLAIN }).await;
    assert_eq!((again.totals.cached, again.exit_code()), (10, 0));
}

#[tokio::test]
async fn platforms_choose_among_artifacts() {
    let all = set([
        "greeting-text-1",
        "lantern-atlas",
        "lantern-testdata",
        "lantern-wick-aarch64-apple-darwin",
        "lantern-wick-aarch64-linux-gnu",
        "lantern-wick-x86_64-apple-darwin",
        "lantern-wick-x86_64-linux-gnu-libgfortran4",
        "lantern-wick-x86_64-linux-gnu-libgfortran5",
        "lantern-wick-x86_64-linux-musl",
        "lantern-wick-x86_64-w64-mingw32",
    ]);
    let mac = set(["greeting-text-1", "lantern-atlas", "lantern-testdata", "lantern-wick-aarch64-apple-darwin"]);
    let of_host = {
        let outside = Outside::new().await;
        artifacts(&outside.prewarm(&[&demo()], How { platform: &Platform::host().unwrap().to_string(), ..PLAIN }).await)
    };
    for (platform, expected) in [("all", all), ("aarch64-apple-darwin", mac), ("host", of_host)] {
        let outside = Outside::new().await;
        let report = outside.prewarm(&[&demo()], How { platform, ..PLAIN }).await;
        assert_eq!((artifacts(&report), report.exit_code()), (expected, 0), "{platform}");
    }
}

#[tokio::test]
async fn lazy_artifacts_can_be_left_out() {
    let outside = Outside::new().await;
    let report = outside.prewarm(&[&demo()], How { no_lazy: true, ..PLAIN }).await;
    let eager = LINUX_ARTIFACTS.into_iter().filter(|label| *label != "lantern-atlas");
    assert_eq!(artifacts(&report), set(eager));
}

#[tokio::test]
async fn a_shared_artifact_is_fetched_once_and_says_whose_it_is() {
    let outside = Outside::new().await;
    let report = outside.prewarm(&[&demo()], PLAIN).await;
    assert!(outside.resource_gets().values().all(|&gets| gets == 1), "{:?}", outside.resource_gets());
    let of = |label: &str| {
        let artifact = report.artifacts.iter().find(|artifact| artifact.tree.to_string() == tree_of(label)).unwrap();
        json!([artifact.names, artifact.package, artifact.platforms, artifact.lazy])
    };
    assert_eq!(of("greeting-text-1"), json!([["greeting_text"], "Greeting", [], false]));
    assert_eq!(of("lantern-atlas"), json!([["atlas"], "Lantern", [], true]));
    assert_eq!(of("lantern-wick-x86_64-linux-gnu-libgfortran5"), json!([["wick"], "Lantern", [LINUX], false]));
}

#[tokio::test]
async fn an_upgradable_standard_library_is_fetched_where_the_manifest_has_its_hash() {
    let outside = Outside::new().await;
    let old = outside.prewarm(&[&demo().join("julia-1.5/Manifest.toml")], PLAIN).await;
    assert_eq!(packages(&old), DEMO_PACKAGES[1..]);
    assert_eq!((old.inputs[0].manifest_format.as_deref(), old.inputs[0].julia_version.as_deref()), (Some("1.0"), None));
    let new = outside.prewarm(&[&demo().join("Manifest.toml")], PLAIN).await;
    assert_eq!(packages(&new), DEMO_PACKAGES);
    assert_eq!(new.inputs[0].julia_version.as_deref(), Some("1.10.10"));
    assert!(old.standard_libraries > 0 && new.standard_libraries > 0);
}

#[tokio::test]
async fn a_list_of_misses_brings_what_it_names() {
    let outside = Outside::new().await;
    let registry = format!("/registry/{GENERAL}/{}", tree_of("General"));
    let wick = format!("/artifact/{}", tree_of("lantern-wick-x86_64-w64-mingw32"));
    let text = format!("# airlock misses\n{registry}\n{} Lantern 0.3.0\n{wick} wick\n", package_path("Lantern/0.3.0"));
    let list = outside.file("list.txt", text);
    let report = outside.prewarm(&[list.parent().unwrap()], PLAIN).await;
    assert_eq!((packages(&report), report.registries.len()), (vec!["Lantern 0.3.0".to_owned()], 1));
    let mut expected = set(LINUX_ARTIFACTS);
    expected.remove("greeting-text-1");
    expected.extend(set(["greeting-text-2", "lantern-wick-x86_64-w64-mingw32"]));
    assert_eq!((artifacts(&report), report.exit_code()), (expected, 0));
}

#[tokio::test]
async fn what_has_no_hash_is_looked_up_and_what_cannot_be_had_is_named() {
    let outside = Outside::new().await;
    let pebble = "354e2ac8-8ada-4e21-9862-af9efd059799";
    let manifest = outside.file(
        "Manifest.toml",
        format!(
            "[[Pebble]]\nuuid='{pebble}'\nversion='1.2.0'\n[[Lost]]\nuuid='{pebble}'\nversion='7.0.0'\n\
             [[Forge]]\nuuid='{pebble}'\nrepo-url='https://forge.example.invalid/F.git'\ngit-tree-sha1='{}'\n\
             [[Local]]\nuuid='{pebble}'\npath='../Local'\n",
            tree_of("Pebble/1.0.0")
        ),
    );
    let report = outside.prewarm(&[&manifest], PLAIN).await;
    assert_eq!((packages(&report), report.totals.failed), (vec!["Pebble 1.2.0".to_owned()], 0));
    let unmirrorable = serde_json::to_value(&report.unmirrorable).unwrap();
    assert_eq!(
        unmirrorable,
        json!([
            { "name": "Forge", "uuid": pebble, "version": null, "kind": "git", "repo_url": "https://forge.example.invalid/F.git" },
            { "name": "Lost", "uuid": pebble, "version": "7.0.0", "kind": "unhashed", "repo_url": null },
        ])
    );
    assert_eq!((report.local_paths, report.exit_code()), (1, 1));
    let allowed = outside.prewarm(&[&manifest], How { allow_unmirrorable: true, ..PLAIN }).await;
    assert_eq!(allowed.exit_code(), 0);
}

#[tokio::test]
async fn a_broken_artifacts_file_in_a_package_leaves_its_other_entries() {
    let mut site = Site::sample().unwrap();
    let artifacts = format!("[bad]\nlazy = true\n[good]\ngit-tree-sha1 = '{}'\n", tree_of("lantern-atlas"));
    let entries = [TarEntry::file("lib/JuliaArtifacts.toml", artifacts, false)];
    let package = site.add_package(GENERAL, entries).unwrap();
    let outside = Outside::with(site).await;
    let list = outside.file("list.txt", format!("# airlock misses\n{package} Odd\n"));
    let report = outside.prewarm(&[&list], PLAIN).await;
    assert_eq!((artifacts_names(&report), report.exit_code()), (vec!["good"], 0));
}

#[test]
fn the_demo_is_passed_over_when_all_manifests_are_prewarmed() {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let below_demo = |paths: &[PathBuf]| {
        let inputs = airlock::closure::read_inputs(paths);
        inputs.iter().filter(|input| input.content.is_ok() && input.path.starts_with(demo())).count()
    };
    assert_eq!((below_demo(&[manifests]), below_demo(&[demo()])), (0, 2));
}

fn artifacts_names(report: &Report) -> Vec<&str> {
    report.artifacts.iter().flat_map(|artifact| artifact.names.iter().map(String::as_str)).collect()
}
