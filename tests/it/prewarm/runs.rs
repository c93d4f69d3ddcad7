//! Runs: again, dry, at once, stopped.

use super::{How, LINUX_ARTIFACTS, Outside, PLAIN, artifacts, demo, package_path, set, statuses};
use airlock::prewarm::{Event, Progress, Request, Status, run};
use airlock::protocol::GENERAL;
use airlock::sample::{Body, Fault, Gate};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn a_second_run_fetches_nothing() {
    let outside = Outside::new().await;
    let first = outside.prewarm(&[&demo()], PLAIN).await;
    let gets = outside.resource_gets();
    let second = outside.prewarm(&[&demo()], PLAIN).await;
    assert_eq!(outside.resource_gets(), gets);
    assert_eq!(statuses(&second), BTreeSet::from([Status::Cached]));
    assert_eq!((second.totals.bytes, second.exit_code()), (first.totals.bytes, 0));
    assert!(first.totals.bytes > 0);
}

#[tokio::test]
async fn files_that_came_another_way_are_verified_not_fetched() {
    let outside = Outside::new().await;
    outside.prewarm(&[&demo()], PLAIN).await;
    let gets = outside.resource_gets();
    fs_err::remove_dir_all(outside.folder.path().join("cache/.airlock")).unwrap();
    let dry = outside.prewarm(&[&demo()], How { dry_run: true, ..PLAIN }).await;
    assert_eq!((statuses(&dry), dry.unopened_packages), (BTreeSet::from([Status::Cached]), 0));
    let report = outside.prewarm(&[&demo()], PLAIN).await;
    assert_eq!((statuses(&report), artifacts(&report)), (BTreeSet::from([Status::Cached]), set(LINUX_ARTIFACTS)));
    assert_eq!(outside.resource_gets(), gets);
}

#[tokio::test]
async fn a_dry_run_asks_nobody_and_says_what_it_cannot_know() {
    let outside = Outside::new().await;
    let dry = How { dry_run: true, ..PLAIN };
    let report = outside.prewarm(&[&demo()], dry).await;
    assert_eq!(outside.upstream.requests().len(), 0);
    assert_eq!(statuses(&report), BTreeSet::from([Status::Planned]));
    assert_eq!((report.unopened_packages, report.artifacts.len(), report.exit_code()), (4, 0, 0));
    assert_eq!((report.registries[0].uuid, report.registries[0].tree), (GENERAL, None));
    outside.prewarm(&[&demo()], PLAIN).await;
    let asked = outside.upstream.requests().len();
    let report = outside.prewarm(&[&demo()], dry).await;
    assert_eq!((report.totals.cached, report.unopened_packages, artifacts(&report)), (10, 0, set(LINUX_ARTIFACTS)));
    assert_eq!(outside.upstream.requests().len(), asked);
    let missing = outside.prewarm(&[Path::new("/gone")], dry).await;
    assert_eq!(missing.exit_code(), 1);
}

#[tokio::test]
async fn two_runs_on_one_cache_fetch_each_resource_once() {
    let outside = Outside::new().await;
    let demo = demo();
    let paths = [demo.as_path()];
    let (one, two) = tokio::join!(outside.prewarm(&paths, PLAIN), outside.prewarm(&paths, PLAIN));
    assert_eq!((one.exit_code(), two.exit_code()), (0, 0), "{one:#?} {two:#?}");
    assert_eq!((artifacts(&one), artifacts(&two)), (set(LINUX_ARTIFACTS), set(LINUX_ARTIFACTS)));
    let gets = outside.resource_gets();
    assert!(gets.len() == 10 && gets.values().all(|&gets| gets == 1), "{gets:?}");
}

/// Remembers the events as lines, and cancels when a line is seen.
struct Lines(Mutex<Vec<String>>, Option<(&'static str, Request)>);

impl Progress for Lines {
    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::Registries => "registries".to_owned(),
            Event::Planned { resources } => format!("planned {resources}"),
            Event::Started { name, .. } => format!("started {name}"),
            Event::Estimated(_) => "estimated".to_owned(),
            Event::Done { name, outcome, .. } => format!("done {name} {:?}", outcome.status),
            Event::Repository { url } => format!("started {url}"),
            Event::RepositoryDone { url, outcome } => format!("done {url} {:?}", outcome.status),
        };
        if let Some((_, request)) = self.1.as_ref().filter(|(last, _)| *last == line) {
            request.cancel.cancel();
        }
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test]
async fn progress_names_everything_and_knows_how_much_there_is() {
    let outside = Outside::new().await;
    let lines = Lines(Mutex::default(), None);
    run(outside.mirror(PLAIN), outside.request(&[&demo()], PLAIN), &lines).await;
    let lines = lines.0.into_inner().unwrap();
    assert_eq!(lines[..2], ["registries", "planned 4"]);
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("started "), count("done "), count("started wick of Lantern")), (9, 9, 2));
    let last = lines.iter().rfind(|line| line.starts_with("planned ")).unwrap();
    assert_eq!(last, "planned 9");
    assert!(lines.contains(&"done Lantern 0.2.0 Fetched".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn a_run_that_is_stopped_says_what_is_left_and_goes_on_the_next_time() {
    let outside = Outside::new().await;
    let gate = Gate::new();
    outside.upstream.fail(&package_path("Lantern/0.2.0"), Body::gated(10, &gate));
    let mut request = outside.request(&[&demo()], PLAIN);
    request.jobs = 1;
    let lines = Lines(Mutex::default(), Some(("started Lantern 0.2.0", request.clone())));
    let mirror = outside.mirror(PLAIN);
    let report = run(Arc::clone(&mirror), request, &lines).await;
    mirror.close().await;
    assert!(report.totals.planned > 0 && report.totals.failed == 0 && !report.is_complete(), "{report:#?}");
    let lantern = report.packages.iter().find(|package| package.name.as_deref() == Some("Lantern")).unwrap();
    assert_eq!((lantern.status, lantern.reason.is_some()), (Status::Planned, true));
    gate.open();
    let next = outside.prewarm(&[&demo()], PLAIN).await;
    assert_eq!((next.totals.cached, next.exit_code()), (report.totals.fetched, 0));
}

#[tokio::test]
async fn a_run_that_is_stopped_while_it_asks_for_registries_is_not_complete() {
    let outside = Outside::new().await;
    outside.upstream.fail("/registries", Fault::Silence);
    let empty = outside.file("Manifest.toml", "");
    let request = outside.request(&[&empty], PLAIN);
    let lines = Lines(Mutex::default(), Some(("registries", request.clone())));
    let report = run(outside.mirror(PLAIN), request, &lines).await;
    assert_eq!((report.totals.planned, report.totals.failed, report.exit_code()), (1, 0, 1));
}

#[tokio::test]
async fn no_more_than_the_jobs_are_under_way() {
    let outside = Outside::new().await;
    let mut request = outside.request(&[&demo()], How { platform: "all", ..PLAIN });
    request.jobs = 2;
    let lines = Lines(Mutex::default(), None);
    run(outside.mirror(PLAIN), request, &lines).await;
    let (mut running, mut most) = (0_usize, 0);
    for line in lines.0.into_inner().unwrap() {
        running += usize::from(line.starts_with("started "));
        most = most.max(running);
        running -= usize::from(line.starts_with("done "));
    }
    assert_eq!((running, most), (0, 2));
}
