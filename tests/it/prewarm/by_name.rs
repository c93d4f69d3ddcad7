//! Packages by name: what is chosen for each Julia, what of it is fetched, and what is said where
//! nothing can be chosen.

use super::{Outside, PLAIN, artifacts, packages, set};
use airlock::closure::{Many, Whole};
use airlock::mirror::Mirror;
use airlock::prewarm::{ByName, Estimate, Event, Progress, Report, Request, Status, run};
use airlock::protocol::{GENERAL, Resource, Uuid};
use airlock::sample::Site;
use airlock::tree::TarEntry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What is asked for by name, for these versions of Julia.
pub(super) fn by_name(add: &[&str], julias: &[&str]) -> ByName {
    ByName {
        add: add.iter().map(|name| name.parse().unwrap()).collect(),
        julias: julias.iter().map(|julia| julia.parse().unwrap()).collect(),
        ..ByName::default()
    }
}

impl Outside {
    pub(super) fn asking(&self, paths: &[&Path], by_name: ByName, how: super::How<'_>) -> Request {
        let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
        let julias = by_name.julias.clone();
        let mut request = Request::by_name(paths, by_name, &self.config(how)).unwrap();
        request.by_name.julias = julias;
        request
    }

    pub(super) async fn ask(&self, by_name: ByName) -> Report {
        self.ask_with(&[], by_name, super::How { platform: "x86_64-linux-gnu", ..PLAIN }).await
    }

    pub(super) async fn ask_with(&self, paths: &[&Path], by_name: ByName, how: super::How<'_>) -> Report {
        let mirror: Arc<Mirror> = self.mirror(how);
        let report = run(Arc::clone(&mirror), self.asking(paths, by_name, how), &()).await;
        mirror.close().await;
        report
    }
}

/// `JULIA: Name Version, …` of what is not part of Julia.
pub(super) fn chosen(report: &Report) -> Vec<String> {
    let line = |solved: &airlock::prewarm::SolvedReport| {
        let fetched = solved.packages.iter().filter(|package| package.tree.is_some());
        let names: Vec<_> = fetched.map(|it| format!("{} {}", it.name, it.version.as_deref().unwrap())).collect();
        format!("{}{}: {}", solved.julia, if solved.tests { " tests" } else { "" }, names.join(", "))
    };
    report.solved.iter().map(line).collect()
}

pub(super) fn conflicts(report: &Report) -> Vec<String> {
    let julia = |julia: &Option<String>| julia.as_ref().map(|julia| format!(" {julia}")).unwrap_or_default();
    report.conflicts.iter().map(|it| format!("{}{}: {}", it.input, julia(&it.julia), it.why)).collect()
}

#[tokio::test]
async fn the_newest_that_fits_each_julia_comes_with_its_artifacts() {
    let outside = Outside::new().await;
    let report = outside.ask(by_name(&["Lantern"], &["1.5.3", "1.10"])).await;
    assert_eq!(
        chosen(&report),
        [
            "1.5.3: Faraway 1.0.0, Greeting 1.2.0, Lantern 0.3.0, Pebble 2.0.0",
            "1.10: DelimitedFiles 1.10.0, Faraway 1.0.0, Greeting 1.2.0, Lantern 0.3.0, Pebble 2.0.0"
        ],
        "DelimitedFiles is part of 1.5 only"
    );
    let all = ["DelimitedFiles 1.10.0", "Faraway 1.0.0", "Greeting 1.2.0", "Lantern 0.3.0", "Pebble 2.0.0"];
    assert_eq!((packages(&report), report.exit_code()), (all.map(str::to_owned).to_vec(), 0));
    assert!(artifacts(&report).contains("lantern-atlas"), "{:?}", artifacts(&report));
    assert!(report.packages.iter().all(|package| package.status == Status::Fetched));
    let [five, ten] = &report.solved[..] else { panic!("{:?}", report.solved) };
    assert_eq!(five.roots.keys().collect::<Vec<_>>(), ["Lantern"]);
    assert!(ten.packages.iter().any(|package| package.name == "Dates" && package.tree.is_none()));
}

#[tokio::test]
async fn names_are_chosen_together_and_a_range_holds() {
    let outside = Outside::new().await;
    let report = outside.ask(by_name(&["Greeting", "Pebble@1"], &["1.10"])).await;
    let [together] = <[String; 1]>::try_from(chosen(&report)).unwrap();
    assert!(together.contains("Pebble 1.1.0"), "1.2.0 is yanked: {together}");
    let exact = outside.ask(by_name(&["Greeting@1.0"], &["1.10"])).await;
    assert!(chosen(&exact)[0].contains("Greeting 1.0.0"), "{:?}", chosen(&exact));
}

#[tokio::test]
async fn a_dry_run_asks_nobody_and_chooses_from_what_is_here() {
    let outside = Outside::new().await;
    let dry = super::How { dry_run: true, ..PLAIN };
    let empty = outside.ask_with(&[], by_name(&["Greeting"], &["1.10"]), dry).await;
    assert_eq!((conflicts(&empty).len(), empty.exit_code()), (1, 1), "no registry is here yet");
    assert_eq!(outside.upstream.requests().len(), 0);
    outside.ask(by_name(&["Pebble@1.0"], &["1.10"])).await;
    let before = outside.upstream.requests().len();
    let report = outside.ask_with(&[], by_name(&["Greeting"], &["1.10"]), dry).await;
    assert_eq!(chosen(&report), ["1.10: Greeting 1.2.0, Pebble 2.0.0"]);
    assert_eq!((report.totals.planned, report.exit_code()), (2, 0));
    assert_eq!(outside.upstream.requests().len(), before);
}

#[tokio::test]
async fn what_cannot_be_chosen_is_said_and_the_rest_goes_on() {
    let outside = Outside::new().await;
    let manifest = super::demo().join("Manifest.toml");
    let report = outside.ask_with(&[&manifest], by_name(&["Greetin", "Pebble"], &["1.10"]), PLAIN).await;
    assert_eq!(conflicts(&report), ["--add: no registry here has a package Greetin; did you mean Greeting?"]);
    assert_eq!((packages(&report).len(), report.exit_code()), (4, 1), "the manifest's came, and nothing for --add");
    let report = outside.ask(by_name(&["Greeting@7"], &["1.5.3", "1.10"])).await;
    assert_eq!((report.solved.len(), report.conflicts.len(), report.exit_code()), (0, 2, 1));
    assert!(conflicts(&report)[0].starts_with("--add 1.5.3: ") && conflicts(&report)[0].contains("Greeting"));
    assert_eq!(report.packages, []);
}

#[tokio::test]
async fn what_julia_ships_is_said_and_not_fetched() {
    let outside = Outside::new().await;
    let report = outside.ask(by_name(&["Dates", "DelimitedFiles"], &["1.5.3", "1.10"])).await;
    assert_eq!(chosen(&report), ["1.5.3: ", "1.10: DelimitedFiles 1.10.0"]);
    let said = [
        "Julia 1.10 ships Dates: nothing is fetched for it",
        "Julia 1.5.3 ships Dates: nothing is fetched for it",
        "Julia 1.5.3 ships DelimitedFiles: nothing is fetched for it",
    ];
    assert_eq!((&report.inputs[0].warnings[..], report.exit_code()), (&said.map(str::to_owned)[..], 0));
    let report = outside.ask(by_name(&["TOML"], &["1.5.3"])).await;
    let why = "--add 1.5.3: TOML cannot be had: Julia 1.5.3 does not ship it and no registry here has it";
    assert_eq!(conflicts(&report), [why]);
}

/// A second registry, with a package that General has too under another uuid.
fn with_a_second_registry() -> (Site, Uuid) {
    let mut site = Site::sample().unwrap();
    let (registry, pebble): (Uuid, Uuid) = (
        "99999999-1111-4111-8111-111111111111".parse().unwrap(),
        "99999999-2222-4222-8222-222222222222".parse().unwrap(),
    );
    let Resource::Package { tree, .. } =
        site.add_package(pebble, [TarEntry::file("src/Pebble.jl", "module Pebble end", false)]).unwrap()
    else {
        panic!("not a package")
    };
    let toml = format!("name='Acme'\nuuid='{registry}'\nrepo='x'\n[packages]\n{pebble}={{name='Pebble',path='P'}}\n");
    let package = format!("name='Pebble'\nuuid='{pebble}'\nrepo='x'\n");
    let versions = format!("['3.0.0']\ngit-tree-sha1='{tree}'\n");
    let entries = [
        TarEntry::file("Registry.toml", toml, false),
        TarEntry::file("P/Package.toml", package, false),
        TarEntry::file("P/Versions.toml", versions, false),
    ];
    site.add_registry(registry, entries).unwrap();
    (site, pebble)
}

#[tokio::test]
async fn of_two_packages_of_one_name_the_uuid_decides() {
    let (site, acme) = with_a_second_registry();
    let outside = Outside::with(site).await;
    let report = outside.ask(by_name(&["Pebble"], &["1.10"])).await;
    let [why] = <[String; 1]>::try_from(conflicts(&report)).unwrap();
    assert!(
        why.contains("several packages are called Pebble") && why.contains(&format!("Pebble={acme} of Acme")),
        "{why}"
    );
    let report = outside.ask(by_name(&[&format!("Pebble={acme}")], &["1.10"])).await;
    assert_eq!((chosen(&report), report.exit_code()), (vec!["1.10: Pebble 3.0.0".to_owned()], 0));
}

/// Remembers what was said before anything large began.
#[derive(Default)]
struct Estimates(Mutex<Vec<Estimate>>);

impl Progress for Estimates {
    fn event(&self, event: &Event<'_>) {
        if let Event::Estimated(estimate) = event {
            self.0.lock().unwrap().push((*estimate).clone());
        }
    }
}

async fn many(outside: &Outside, many: Many, yes: bool) -> (Report, Vec<Estimate>) {
    let asked = ByName { many, yes, ..by_name(&[], &["1.10"]) };
    let (mirror, estimates) = (outside.mirror(PLAIN), Estimates::default());
    let report = run(Arc::clone(&mirror), outside.asking(&[], asked, PLAIN), &estimates).await;
    mirror.close().await;
    (report, estimates.0.into_inner().unwrap())
}

#[tokio::test]
async fn nothing_large_starts_without_a_yes() {
    let outside = Outside::new().await;
    let whole = Many { whole: Some(Whole::Every), ..Many::default() };
    let (plan, said) = many(&outside, whole.clone(), false).await;
    let [estimate] = &said[..] else { panic!("{said:?}") };
    assert_eq!((estimate.packages, estimate.versions, estimate.started), (5, 16, false));
    assert!(estimate.bytes.is_some_and(|bytes| bytes > 0) && estimate.free.is_some(), "{estimate:?}");
    assert_eq!((plan.estimate.as_ref(), plan.exit_code()), (Some(estimate), 0));
    let fetched =
        |gets: std::collections::BTreeMap<String, usize>| gets.keys().filter(|it| it.starts_with("/package")).count();
    assert_eq!(fetched(outside.resource_gets()), 4, "a quarter, to tell how large they are");
    let (all, _) = many(&outside, whole, true).await;
    assert_eq!((all.totals.planned, all.exit_code(), fetched(outside.resource_gets())), (0, 0, 16));
    assert!(!packages(&all).contains(&"Pebble 1.2.0".to_owned()), "what is yanked is not wanted");
}

#[tokio::test]
async fn many_versions_can_be_bounded() {
    let outside = Outside::new().await;
    let name = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let pebbles = Many { names: name(&["Pebble"]), newest: Some(2), ..Many::default() };
    let (report, _) = many(&outside, pebbles, true).await;
    assert_eq!(packages(&report), ["Pebble 1.1.0", "Pebble 2.0.0"]);
    let newest = Many { whole: Some(Whole::One("General".to_owned())), newest: Some(1), ..Many::default() };
    let (report, _) = many(&outside, newest, true).await;
    let newest = ["DelimitedFiles 1.10.0", "Faraway 1.0.0", "Greeting 1.2.0", "Lantern 0.3.0", "Pebble 2.0.0"];
    assert_eq!(packages(&report), newest);
    let absent = Many { whole: Some(Whole::One("Acme".to_owned())), ..Many::default() };
    let (report, _) = many(&outside, absent, true).await;
    assert_eq!(conflicts(&report), ["--registry-all: no registry Acme is here, only General"]);
    assert_eq!(report.exit_code(), 1);
    let by_uuid = Many { whole: Some(Whole::One(GENERAL.to_string())), ..Many::default() };
    assert_eq!(many(&outside, by_uuid, false).await.1[0].versions, 16);
    let typing = Many { names: name(&["Pebbl"]), ..Many::default() };
    assert_eq!(conflicts(&many(&outside, typing, true).await.0).len(), 1);
}

#[tokio::test]
async fn whatever_may_be_resolved_to_comes_too() {
    let outside = Outside::new().await;
    let closed = |names: &str| Many { names: vec![names.parse().unwrap()], closed: true, ..Many::default() };
    let (report, _) = many(&outside, closed("Greeting@1.1"), true).await;
    assert_eq!(
        packages(&report),
        ["Greeting 1.1.0", "Pebble 1.0.0", "Pebble 1.1.0"],
        "not 2.0.0, and not what is yanked"
    );
    let (report, _) = many(&outside, closed("Lantern@0.2"), true).await;
    let all = set(packages(&report).iter().map(String::as_str));
    assert!(
        all.is_superset(&set(["Lantern 0.2.0", "Greeting 1.1.0", "Pebble 1.0.0", "DelimitedFiles 1.9.1"])),
        "{all:?}"
    );
    let old = ByName { many: closed("Lantern@0.2"), yes: true, ..by_name(&[], &["1.5.3"]) };
    let report = outside.ask(old).await;
    assert!(!packages(&report).iter().any(|it| it.starts_with("DelimitedFiles")), "that Julia ships it");
}

#[tokio::test]
async fn a_run_that_is_stopped_chooses_nothing() {
    let outside = Outside::new().await;
    assert_eq!(outside.ask(by_name(&["Pebble"], &["1.10"])).await.exit_code(), 0, "the registry is here now");
    let mirror = outside.mirror(PLAIN);
    let request = outside.asking(&[], by_name(&["Greeting"], &["1.10"]), PLAIN);
    request.cancel.cancel();
    let report = run(Arc::clone(&mirror), request, &()).await;
    mirror.close().await;
    assert_eq!(conflicts(&report), ["--add 1.10: it was stopped before a solution was found"]);
    assert_eq!(report.exit_code(), 1);
}

#[tokio::test]
async fn a_build_that_does_not_exist_is_not_another_one() {
    let outside = Outside::new().await;
    let report = outside.ask(by_name(&["Pebble@1.0.0+1"], &["1.10"])).await;
    let why =
        "--add 1.10: Pebble 1.0.0 was asked for, of which no version may be chosen: 1.0.0+1 was asked for (1.0.0)";
    assert_eq!((conflicts(&report), report.exit_code()), (vec![why.to_owned()], 1));
}
