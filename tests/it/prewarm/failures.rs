//! What goes wrong, and how it is said.

use super::{
    DEMO_PACKAGES, How, LINUX, Outside, PLAIN, artifacts, demo, package_path, packages, set, statuses, tree_of,
};
use airlock::prewarm::{Request, RequestError, Status, run};
use airlock::protocol::GENERAL;
use airlock::sample::{Fault, Site};
use std::collections::BTreeSet;

#[tokio::test]
async fn a_broken_input_stops_only_itself() {
    let outside = Outside::new().await;
    let broken = outside.file("Manifest.toml", "manifest_format = '2.0'\n[[deps.A]]\nuuid = 'x'\n");
    let missing = outside.folder.path().join("gone.toml");
    let report = outside.prewarm(&[&broken, &demo(), &missing], PLAIN).await;
    assert_eq!((packages(&report).as_slice(), report.totals.failed), (&DEMO_PACKAGES.map(str::to_owned)[..], 0));
    assert_eq!(report.exit_code(), 1);
    let errors: Vec<_> = report.inputs.iter().map(|input| input.error.clone()).collect();
    assert_eq!(
        errors,
        [
            Some(format!("{}: line 3: \"x\" is not a uuid", broken.display())),
            None,
            None,
            Some(format!("{}: no such file or folder", missing.display()))
        ]
    );
}

#[tokio::test]
async fn a_newer_format_is_read_with_a_warning() {
    let outside = Outside::new().await;
    let text = fs_err::read_to_string(demo().join("Manifest.toml")).unwrap();
    let newer = outside.file("Manifest.toml", text.replace("manifest_format = \"2.0\"", "manifest_format = \"9.0\""));
    let report = outside.prewarm(&[&newer], PLAIN).await;
    assert_eq!((packages(&report).len(), report.exit_code()), (4, 0));
    assert_eq!((report.inputs[0].warnings.len(), report.inputs[0].error.as_deref()), (1, None));
}

#[tokio::test]
async fn a_failure_is_said_by_the_name_of_its_owner() {
    let outside = Outside::new().await;
    outside.upstream.remove(&format!("/artifact/{}", tree_of("lantern-testdata")));
    let report = outside.prewarm(&[&demo()], PLAIN).await;
    let failed: Vec<_> = report.artifacts.iter().filter(|artifact| artifact.status == Status::Failed).collect();
    let [failed] = failed.as_slice() else { panic!("{failed:?}") };
    assert_eq!((failed.package.as_deref(), failed.names.as_slice()), (Some("Lantern"), &["testdata".to_owned()][..]));
    assert_eq!((failed.reason.as_deref(), failed.bytes), (Some("no upstream has it"), None));
    assert_eq!((report.totals.failed, report.totals.fetched, report.exit_code()), (1, 9, 1));
}

#[tokio::test]
async fn an_absent_package_is_not_opened_and_fails_the_run() {
    let outside = Outside::new().await;
    outside.upstream.remove(&package_path("Lantern/0.2.0"));
    let report = outside.prewarm(&[&demo()], PLAIN).await;
    assert_eq!((report.totals.failed, report.unopened_packages, report.exit_code()), (1, 1, 1));
    assert_eq!(artifacts(&report), set(["greeting-text-1"]));
}

#[tokio::test]
async fn an_upstream_that_is_busy_for_a_moment_is_asked_again() {
    let outside = Outside::new().await;
    let artifact = format!("/artifact/{}", tree_of("lantern-atlas"));
    outside.upstream.fail("/registries.eager", Fault::Status(429, Some(0)));
    outside.upstream.fail(&package_path("Pebble/1.1.0"), Fault::Status(429, Some(0)));
    outside.upstream.fail(&artifact, Fault::Status(500, None));
    outside.upstream.fail(&artifact, Fault::Drop);
    let report = outside.prewarm(&[&demo()], How { attempts: 3, ..PLAIN }).await;
    assert_eq!((report.totals.fetched, report.exit_code()), (10, 0), "{report:#?}");
    assert_eq!((outside.upstream.gets(&artifact), outside.upstream.gets(&package_path("Pebble/1.1.0"))), (3, 2));
}

#[tokio::test]
async fn an_upstream_that_wants_to_be_left_alone_for_years_has_failed() {
    let outside = Outside::new().await;
    let path = package_path("Pebble/1.1.0");
    outside.upstream.fail(&path, Fault::Status(429, Some(u64::MAX)));
    let report = outside.prewarm(&[&demo()], How { attempts: 5, ..PLAIN }).await;
    assert_eq!((report.totals.failed, outside.upstream.gets(&path)), (1, 1));
    let pebble = report.packages.iter().find(|package| package.status == Status::Failed).unwrap();
    assert_eq!(pebble.reason.as_deref(), Some("upstream failed: answered 429"));
}

#[tokio::test]
async fn wrong_content_never_counts_as_here() {
    let outside = Outside::new().await;
    let path = package_path("Pebble/1.1.0");
    let other = outside.upstream.body(&package_path("Pebble/1.0.0")).unwrap();
    outside.upstream.put(&path, other);
    let report = outside.prewarm(&[&demo()], PLAIN).await;
    let pebble = report.packages.iter().find(|package| package.status == Status::Failed).unwrap();
    assert!(pebble.reason.as_deref().unwrap().starts_with("wrong content: "), "{pebble:?}");
    assert!(!outside.folder.path().join("cache").join(&path[1..]).exists());
}

#[tokio::test]
async fn an_upstream_out_of_reach_is_said_for_everything() {
    let outside = Outside::new().await;
    let (how, request) = (PLAIN, outside.request(&[&demo()], PLAIN));
    let mirror = outside.mirror(how);
    drop(outside.upstream);
    let report = run(mirror, request, &()).await;
    assert_eq!(statuses(&report), BTreeSet::from([Status::Failed]));
    assert_eq!((report.registries.len(), report.packages.len(), report.exit_code()), (1, 4, 1));
    assert_eq!((report.registries[0].uuid, report.registries[0].tree), (GENERAL, None));
    let reasons = report.packages.iter().filter_map(|package| package.reason.as_deref());
    assert!(reasons.clone().count() == 4 && reasons.into_iter().all(|reason| reason.contains("cannot connect")));
}

#[tokio::test]
async fn a_registry_that_fails_does_not_stop_the_packages() {
    let outside = Outside::new().await;
    let path = format!("/registry/{GENERAL}/{}", tree_of("General"));
    outside.upstream.remove(&path);
    let report = outside.prewarm(&[&demo()], PLAIN).await;
    let [registry] = report.registries.as_slice() else { panic!("{:?}", report.registries) };
    assert_eq!((registry.status, registry.reason.as_deref()), (Status::Failed, Some("no upstream has it")));
    assert_eq!(registry.tree.unwrap().to_string(), tree_of("General"));
    assert_eq!((packages(&report).len(), report.totals.failed, report.exit_code()), (4, 1, 1));
}

#[tokio::test]
async fn an_upstream_without_any_registry_is_a_failure() {
    let outside = Outside::with(Site::empty()).await;
    let empty = outside.file("Manifest.toml", "");
    let report = outside.prewarm(&[&empty], PLAIN).await;
    assert_eq!((report.registries[0].status, report.exit_code()), (Status::Failed, 1));
    assert_eq!(report.registries[0].reason.as_deref(), Some("no upstream lists a registry"));
}

#[tokio::test]
async fn an_unknown_platform_is_wrong_usage_and_the_known_are_named() {
    let outside = Outside::new().await;
    let config = outside.config(How { platform: "pdp11-unix", ..PLAIN });
    let error = Request::new(vec![demo()], &config).unwrap_err();
    assert!(matches!(&error, RequestError::Platform(_)) && error.to_string().contains(LINUX), "{error}");
    assert_eq!(Request::new(Vec::new(), &outside.config(PLAIN)).unwrap_err(), RequestError::NoPaths);
}
