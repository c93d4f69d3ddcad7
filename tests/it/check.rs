//! `airlock check`: what a manifest needs and is not here, and what no package server can give.

use crate::binary::{run, said, stdout};
use airlock::check::{FindingKind, Report, Request, Status, check};
use airlock::closure::Selection;
use airlock::protocol::{Flavor, GENERAL, Resource};
use airlock::sample::Site;
use airlock::store::Store;
use airlock::tree::{Limits, TarEntry};
use fs_err as fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Lines `KIND LABEL TREE`.
const TREE_HASHES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/sample/tree-hashes.txt"));
pub(crate) const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo");
pub(crate) const PEBBLE: &str = "354e2ac8-8ada-4e21-9862-af9efd059799";
pub(crate) const GREETING: &str = "1b86959a-5d86-4eaa-ae42-da2cc0f6ffa9";
pub(crate) const LANTERN: &str = "fff2ffb6-205e-47fd-a027-2d5bb7e8028c";
const NOBODY: &str = "99999999-9999-9999-9999-999999999999";
const LINUX: &str = "x86_64-linux-gnu";

pub(crate) fn tree_of(label: &str) -> &'static str {
    let mut lines = TREE_HASHES.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.find(|words| words.get(1) == Some(&label)).unwrap()[2]
}

pub(crate) fn package(uuid: &str, label: &str) -> Resource {
    format!("/package/{uuid}/{}", tree_of(label)).parse().unwrap()
}

pub(crate) fn artifact(label: &str) -> Resource {
    format!("/artifact/{}", tree_of(label)).parse().unwrap()
}

/// An entry of a manifest of format 1.0.
pub(crate) fn entry(name: &str, uuid: &str, version: &str, tree: &str) -> String {
    format!("[[{name}]]\nuuid='{uuid}'\nversion='{version}'\ngit-tree-sha1='{tree}'\n")
}

/// The closed side: a cache with the whole sample, as rsync leaves it.
pub(crate) struct Inside {
    pub(crate) folder: TempDir,
}

impl Inside {
    pub(crate) fn new() -> Self {
        let inside = Self { folder: tempfile::tempdir().unwrap() };
        inside.put_all(&Site::sample().unwrap());
        inside
    }

    fn put_all(&self, site: &Site) {
        let listings = Flavor::ALL.map(|flavor| format!("/{}", flavor.file_name()));
        for path in site.resources().map(|resource| resource.to_string()).chain(listings) {
            self.put(&path, site.body(&path).unwrap());
        }
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    pub(crate) fn put(&self, path: &str, body: &[u8]) {
        let path = self.cache().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, body).unwrap();
    }

    pub(crate) fn lose(&self, resource: &Resource) {
        fs::remove_file(self.cache().join(resource.relative_path())).unwrap();
    }

    /// Writes a file that names resources.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join("files").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn check(&self, paths: &[&Path], platform: &str, lazy: bool) -> Report {
        let request = Request {
            julias: Vec::new(),
            tests: false,
            paths: paths.iter().map(|path| path.to_path_buf()).collect(),
            selection: Selection { platforms: platform.parse().unwrap(), lazy },
            allow_unmirrorable: false,
            jobs: 2,
        };
        check(&Store::open(&self.cache()).unwrap(), &Limits::default(), &request, None, &|_| {}).unwrap()
    }

    fn check_demo(&self) -> Report {
        self.check(&[Path::new(DEMO)], LINUX, true)
    }
}

/// What is not fine, as `STATUS NAME VERSION`.
fn not_here(report: &Report) -> Vec<String> {
    let bad = report.resources.iter().filter(|resource| resource.status != Status::Present);
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    bad.map(|it| format!("{:?} {} {}", it.status, text(&it.name), text(&it.version)).trim_end().to_owned()).collect()
}

fn problems(report: &Report) -> Vec<(FindingKind, &str)> {
    report.problems.iter().map(|it| (it.kind, it.name.as_deref().unwrap_or_default())).collect()
}

#[test]
fn what_is_all_here_is_complete() {
    let inside = Inside::new();
    let report = inside.check_demo();
    assert!(report.complete && report.inputs.iter().all(|input| input.complete), "{report:?}");
    assert_eq!((report.totals.present, report.totals.missing, report.unopened_packages), (10, 0, 0));
    assert!(report.problems.is_empty() && report.notes.is_empty());
    assert_eq!(inside.check_demo(), report, "also when nothing has to be verified");
}

#[test]
fn what_is_missing_is_named_and_which_manifest_lacks_it() {
    let inside = Inside::new();
    let tree = "8bd85681f39e00a4548601dfaea7d8d089b08897";
    inside.lose(&format!("/package/8bb1440f-4735-579b-a4ab-409b98df4dab/{tree}").parse().unwrap());
    let report = inside.check_demo();
    assert_eq!(not_here(&report), ["Missing DelimitedFiles 1.9.1"]);
    let by_input: Vec<_> = report.inputs.iter().map(|it| (it.complete, it.missing)).collect();
    assert_eq!((by_input, report.complete), (vec![(false, 1), (true, 0)], false), "Julia 1.5 ships it");
    assert_eq!(report.unopened_packages, 1);
}

#[test]
fn artifacts_count_by_platform_and_laziness() {
    let inside = Inside::new();
    let check = |platform, lazy| inside.check(&[Path::new(DEMO)], platform, lazy);
    inside.lose(&artifact("lantern-wick-aarch64-apple-darwin"));
    assert!(check(LINUX, true).complete);
    assert_eq!(not_here(&check("all", true)), ["Missing wick"]);
    assert_eq!(not_here(&check("aarch64-apple-darwin", false)), ["Missing wick"]);
    inside.lose(&artifact("lantern-atlas"));
    let report = check(LINUX, true);
    assert_eq!((not_here(&report), report.complete), (vec!["Missing atlas".to_owned()], false));
    let atlas = report.resources.iter().find(|it| it.name.as_deref() == Some("atlas")).unwrap();
    assert_eq!((atlas.lazy, atlas.package.as_deref()), (true, Some("Lantern")));
    assert!(check(LINUX, false).complete);
}

#[test]
fn damage_is_not_presence_and_stays_where_it_is() {
    let inside = Inside::new();
    let pebble = package(PEBBLE, "Pebble/1.1.0");
    inside.put(&pebble.to_string(), b"not a tarball");
    let report = inside.check_demo();
    assert_eq!((not_here(&report), report.totals.damaged), (vec!["Damaged Pebble 1.1.0".to_owned()], 1));
    assert!(report.resources.iter().any(|it| it.reason.is_some()) && !report.complete);
    assert!(inside.cache().join(pebble.relative_path()).exists());
}

#[test]
fn what_no_package_server_gives_is_said_with_a_remedy() {
    let inside = Inside::new();
    let tree = tree_of("Pebble/1.0.0");
    let text = format!(
        "[[Forge]]\nuuid='{NOBODY}'\nrepo-url='https://forge.example.invalid/F.git'\ngit-tree-sha1='{tree}'\n\
         [[Lost]]\nuuid='{PEBBLE}'\nversion='7.0.0'\n[[Found]]\nuuid='{PEBBLE}'\nversion='1.2.0'\n\
         [[Local]]\nuuid='{NOBODY}'\npath='../Local'\n{}{}",
        entry("Stranger", NOBODY, "1.0.0", tree),
        entry("Pebble", PEBBLE, "1.0.1", tree_of("Lantern/0.1.0")),
    );
    inside.put(
        &format!("/package/{NOBODY}/{tree}"),
        &fs::read(inside.cache().join(package(PEBBLE, "Pebble/1.0.0").relative_path())).unwrap(),
    );
    let body = fs::read(inside.cache().join(package(LANTERN, "Lantern/0.1.0").relative_path())).unwrap();
    inside.put(&package(PEBBLE, "Lantern/0.1.0").to_string(), &body);
    let report = inside.check(&[&inside.file("Manifest.toml", text)], LINUX, true);
    assert_eq!(not_here(&report), Vec::<String>::new(), "every file is here");
    let expected =
        [(FindingKind::Git, "Forge"), (FindingKind::Unhashed, "Lost"), (FindingKind::Unregistered, "Stranger")];
    assert_eq!((problems(&report).as_slice(), report.complete), (&expected[..], false));
    assert!(report.problems.iter().all(|it| !it.why.is_empty() && !it.remedy.is_empty()));
    let notes: Vec<_> = report.notes.iter().map(|it| (it.kind, it.version.as_deref())).collect();
    assert_eq!((notes, report.local_paths), (vec![(FindingKind::VersionNotListed, Some("1.0.1"))], 1));
}

#[test]
fn a_standard_library_needs_no_registry() {
    let inside = Inside::new();
    let statistics = "10745b16-79ce-11e8-11f9-7d13ad32a3b2";
    let tree = tree_of("Pebble/1.0.0");
    let report =
        inside.check(&[&inside.file("Manifest.toml", entry("Statistics", statistics, "1.11.1", tree))], LINUX, true);
    assert_eq!((problems(&report), not_here(&report)), (vec![], vec!["Missing Statistics 1.11.1".to_owned()]));
}

#[test]
fn registries_that_a_manifest_names_must_be_listed() {
    let inside = Inside::new();
    let registries = |uuid: &str| {
        format!("manifest_format='2.1'\n[registries.Some]\nuuid='{uuid}'\nurl='https://r.example.invalid/R.git'\n")
    };
    let general = inside.file("a/Manifest.toml", registries(&GENERAL.to_string()));
    let other = inside.file("b/Manifest.toml", registries(NOBODY));
    let report = inside.check(&[&general, &other], LINUX, true);
    assert_eq!(problems(&report), [(FindingKind::RegistryNotListed, "Some")]);
    assert_eq!(report.inputs.iter().map(|it| it.complete).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn without_a_registry_nothing_is_complete_and_the_packages_are_not_blamed() {
    let inside = Inside::new();
    for flavor in Flavor::ALL {
        fs::remove_file(inside.cache().join(flavor.file_name())).unwrap();
    }
    let report = inside.check_demo();
    assert_eq!((problems(&report), report.complete), (vec![(FindingKind::NoRegistry, "")], false));
}

#[test]
fn of_a_damaged_registry_nobody_knows_what_it_has() {
    let inside = Inside::new();
    inside.put(&format!("/registry/{GENERAL}/{}", tree_of("General")), b"not a tarball");
    let report = inside.check_demo();
    assert_eq!((problems(&report), report.totals.damaged, report.complete), (vec![], 1, false));
}

#[test]
fn a_mirror_without_general_is_complete_for_depots_that_have_a_registry() {
    let inside = Inside::new();
    let tree = tree_of("Pebble/1.0.0");
    let registry = format!("name='Own'\nuuid='{NOBODY}'\n[packages]\n{PEBBLE}={{name='Pebble',path='P'}}\n");
    let versions = format!("[\"1.0.0\"]\ngit-tree-sha1='{tree}'\n");
    let mut site = Site::empty();
    let files = [("Registry.toml", registry), ("P/Versions.toml", versions)];
    let files = files.map(|(path, text)| TarEntry::file(path, text, false));
    site.add_registry(NOBODY.parse().unwrap(), files).unwrap();
    inside.put_all(&site);
    let manifest = inside.file("Manifest.toml", entry("Pebble", PEBBLE, "1.0.0", tree));
    let report = inside.check(&[&manifest], LINUX, true);
    let notes: Vec<_> = report.notes.iter().map(|note| note.kind).collect();
    assert_eq!((report.complete, notes), (true, vec![FindingKind::GeneralNotListed]), "{report:?}");
}

#[test]
fn a_broken_input_is_incomplete_and_the_others_are_judged() {
    let inside = Inside::new();
    let broken = inside.file("Manifest.toml", "[[A]]\nuuid='x'");
    let report = inside.check(&[&broken, Path::new(DEMO), Path::new("/gone")], LINUX, true);
    assert_eq!(report.inputs.iter().map(|it| it.complete).collect::<Vec<_>>(), [false, true, true, false]);
    assert!(report.inputs[0].input.error.as_ref().unwrap().contains("line 2") && !report.complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_of_a_ci_run() {
    let inside = Inside::new();
    let folder = inside.folder.path();
    let output = run(folder, &["check", "--platform", LINUX, DEMO]).await;
    assert_eq!(said(&output).0, Some(0), "{:?}", said(&output));
    assert!(stdout(&output).contains("complete: 10 here, 34 standard libraries"), "{}", stdout(&output));
    inside.lose(&package(PEBBLE, "Pebble/1.1.0"));
    let output = run(folder, &["check", "--platform", LINUX, DEMO]).await;
    assert_eq!(said(&output).0, Some(1));
    assert!(stdout(&output).contains("missing  package  Pebble  1.1.0"), "{}", stdout(&output));
    let git = inside.file("Manifest.toml", format!("[[Forge]]\nuuid='{NOBODY}'\nrepo-url='https://h/F.git'\n"));
    let git = git.to_str().unwrap();
    assert_eq!(run(folder, &["check", git]).await.status.code(), Some(1));
    let output = run(folder, &["check", "--allow-unmirrorable", "--json", git]).await;
    assert_eq!(output.status.code(), Some(0));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["complete"], &document["problems"][0]["kind"]), (&true.into(), &"git".into()));
    assert_eq!((&document["inputs"][0]["path"], &document["inputs"][0]["complete"]), (&git.into(), &true.into()));
    assert_eq!(run(folder, &["check"]).await.status.code(), Some(2));
    assert_eq!(run(folder, &["check", "--platform", "z80-cpm", git]).await.status.code(), Some(2));
    assert_eq!(run(folder, &["check", "--cache", "typo", git]).await.status.code(), Some(2));
}
