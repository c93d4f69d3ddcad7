//! Prewarm against the sample upstream: the closure of the demo's manifests, and everything that
//! can go wrong on the way.

use airlock::config::{Config, PrewarmSettings, Settings};
use airlock::julia::Platform;
use airlock::mirror::{Ask, Found, Mirror};
use airlock::prewarm::{Event, Progress, Report, Request, RequestError, Status, run};
use airlock::protocol::{GENERAL, Resource};
use airlock::sample::{Body, Fault, Gate, SampleUpstream, Site};
use airlock::source::{PackageServer, Source};
use airlock::store::Store;
use airlock::tree::TarEntry;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const LINUX: &str = "x86_64-linux-gnu";
const DEMO_PACKAGES: [&str; 4] = ["DelimitedFiles 1.9.1", "Greeting 1.1.0", "Lantern 0.2.0", "Pebble 1.1.0"];
const LINUX_ARTIFACTS: [&str; 5] = [
    "greeting-text-1",
    "lantern-atlas",
    "lantern-testdata",
    "lantern-wick-x86_64-linux-gnu-libgfortran4",
    "lantern-wick-x86_64-linux-gnu-libgfortran5",
];

/// The connected side: an upstream, a cache, and files to prewarm.
struct Outside {
    upstream: SampleUpstream,
    folder: TempDir,
}

/// How to prewarm.
#[derive(Clone, Copy)]
struct How<'h> {
    platform: &'h str,
    no_lazy: bool,
    dry_run: bool,
    attempts: u32,
    offline: bool,
    allow_unmirrorable: bool,
}

const PLAIN: How<'static> =
    How { platform: LINUX, no_lazy: false, dry_run: false, attempts: 1, offline: false, allow_unmirrorable: false };

impl Outside {
    async fn new() -> Self {
        Self::with(Site::sample().unwrap()).await
    }

    async fn with(site: Site) -> Self {
        let upstream = SampleUpstream::start(site).await.unwrap();
        Self { upstream, folder: tempfile::tempdir().unwrap() }
    }

    /// Writes a file to prewarm.
    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join("files").join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, text).unwrap();
        path
    }

    fn config(&self, how: How<'_>) -> Config {
        let prewarm = PrewarmSettings {
            platform: Some(vec![how.platform.to_owned()]),
            no_lazy: Some(how.no_lazy),
            dry_run: Some(how.dry_run),
            allow_unmirrorable: Some(how.allow_unmirrorable),
            attempts: Some(how.attempts),
        };
        let settings = Settings {
            cache: Some(self.folder.path().join("cache")),
            upstream: Some(vec![self.upstream.url()]),
            offline: Some(how.offline),
            prewarm,
            ..Settings::default()
        };
        Config::new(settings, Settings::default()).unwrap()
    }

    /// A mirror as a process of its own would have it.
    fn mirror(&self, how: How<'_>) -> Arc<Mirror> {
        let config = self.config(how);
        let sources = PackageServer::all(&config.upstreams, &config.mirror).unwrap();
        let sources = sources.into_iter().map(|source| Arc::new(source) as Arc<dyn Source>).collect();
        Arc::new(Mirror::new(Arc::new(Store::open(&config.cache).unwrap()), sources, &config))
    }

    fn request(&self, paths: &[&Path], how: How<'_>) -> Request {
        Request::new(paths.iter().map(|path| path.to_path_buf()).collect(), &self.config(how)).unwrap()
    }

    async fn prewarm(&self, paths: &[&Path], how: How<'_>) -> Report {
        let mirror = self.mirror(how);
        let report = run(Arc::clone(&mirror), self.request(paths, how), &()).await;
        mirror.close().await;
        report
    }

    /// How often each resource was fetched.
    fn resource_gets(&self) -> BTreeMap<String, usize> {
        let mut gets = BTreeMap::new();
        for request in self.upstream.requests() {
            if request.path.parse::<Resource>().is_ok() {
                *gets.entry(request.path).or_default() += 1;
            }
        }
        gets
    }
}

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/demo")
}

/// The trees of the sample by their labels: `package Greeting/1.1.0`.
fn label_of(kind: &str, tree: &str) -> String {
    let listed = include_str!("../../sample/tree-hashes.txt").lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let found = listed.filter(|words| words[0] == kind).find(|words| words[2] == tree);
    found.unwrap_or_else(|| panic!("{tree} is not in the sample"))[1].to_owned()
}

fn tree_of(label: &str) -> String {
    let line = include_str!("../../sample/tree-hashes.txt").lines().find(|line| line.split(' ').nth(1) == Some(label));
    line.and_then(|line| line.split(' ').nth(2)).unwrap().to_owned()
}

fn packages(report: &Report) -> Vec<String> {
    let label = |p: &airlock::prewarm::PackageReport| {
        let label = label_of("package", &p.tree.to_string()).replace('/', " ");
        assert_eq!(label, format!("{} {}", p.name.as_deref().unwrap(), p.version.as_deref().unwrap()));
        label
    };
    report.packages.iter().map(label).collect()
}

fn artifacts(report: &Report) -> BTreeSet<String> {
    let labels = report.artifacts.iter().map(|artifact| label_of("artifact", &artifact.tree.to_string()));
    let set: BTreeSet<_> = labels.collect();
    assert_eq!(set.len(), report.artifacts.len(), "each once");
    set
}

fn set<'s>(labels: impl IntoIterator<Item = &'s str>) -> BTreeSet<String> {
    labels.into_iter().map(str::to_owned).collect()
}

fn statuses(report: &Report) -> BTreeSet<Status> {
    let packages = report.packages.iter().map(|package| package.status);
    let artifacts = report.artifacts.iter().map(|artifact| artifact.status);
    report.registries.iter().map(|registry| registry.status).chain(packages).chain(artifacts).collect()
}

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
    let lantern = outside.upstream.requests();
    assert!(lantern.is_empty());
    outside.upstream.remove(&package_path("Lantern/0.2.0"));
    let report = outside.prewarm(&[&demo()], PLAIN).await;
    assert_eq!((report.totals.failed, report.unopened_packages, report.exit_code()), (1, 1, 1));
    assert_eq!(artifacts(&report), set(["greeting-text-1"]));
}

fn package_path(label: &str) -> String {
    let resources: Vec<_> = Site::sample().unwrap().resources().map(|resource| resource.to_string()).collect();
    resources.into_iter().find(|path| path.ends_with(&tree_of(label))).unwrap()
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

fn artifacts_names(report: &Report) -> Vec<&str> {
    report.artifacts.iter().flat_map(|artifact| artifact.names.iter().map(String::as_str)).collect()
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
            Event::Done { name, outcome, .. } => format!("done {name} {:?}", outcome.status),
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

#[tokio::test]
async fn the_document_has_exactly_these_keys() {
    let outside = Outside::new().await;
    let git =
        "[[Forge]]\nuuid='354e2ac8-8ada-4e21-9862-af9efd059799'\nrepo-url='https://forge.example.invalid/F.git'\n";
    let manifest = outside.file("Manifest.toml", git);
    for how in [PLAIN, How { dry_run: true, ..PLAIN }, How { offline: true, ..PLAIN }] {
        let report = outside.prewarm(&[&demo(), &manifest, Path::new("/gone")], how).await;
        let document = serde_json::to_value(&report).unwrap();
        assert_eq!(keys(&document), TOP_KEYS);
        for (list, expected) in LIST_KEYS {
            let items = document[list].as_array().unwrap();
            assert!(!items.is_empty(), "{list}");
            items.iter().for_each(|item| assert_eq!(&keys(item), expected, "{list}"));
        }
        assert_eq!(keys(&document["totals"]), ["bytes", "cached", "failed", "fetched", "planned"]);
    }
}

const TOP_KEYS: [&str; 9] = [
    "artifacts",
    "inputs",
    "local_paths",
    "packages",
    "registries",
    "standard_libraries",
    "totals",
    "unmirrorable",
    "unopened_packages",
];

const LIST_KEYS: [(&str, &[&str]); 5] = [
    ("inputs", &["error", "julia_version", "kind", "manifest_format", "path", "warnings"]),
    ("registries", &["bytes", "reason", "status", "tree", "uuid"]),
    ("packages", &["bytes", "name", "reason", "status", "tree", "uuid", "version"]),
    ("artifacts", &["bytes", "lazy", "names", "package", "platforms", "reason", "status", "tree"]),
    ("unmirrorable", &["kind", "name", "repo_url", "uuid", "version"]),
];

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn the_same_cache_gives_the_same_document() {
    let outside = Outside::new().await;
    outside.prewarm(&[&demo()], PLAIN).await;
    let document = async || serde_json::to_string(&outside.prewarm(&[&demo()], PLAIN).await).unwrap();
    assert_eq!(document().await, document().await);
}

#[tokio::test]
async fn an_unknown_platform_is_wrong_usage_and_the_known_are_named() {
    let outside = Outside::new().await;
    let config = outside.config(How { platform: "pdp11-unix", ..PLAIN });
    let error = Request::new(vec![demo()], &config).unwrap_err();
    assert!(matches!(&error, RequestError::Platform(_)) && error.to_string().contains(LINUX), "{error}");
    assert_eq!(Request::new(Vec::new(), &outside.config(PLAIN)).unwrap_err(), RequestError::NoPaths);
}

#[test]
fn the_demo_is_passed_over_when_all_manifests_are_prewarmed() {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let below_demo = |paths: &[PathBuf]| {
        let inputs = airlock::prewarm::read_inputs(paths);
        inputs.iter().filter(|input| input.content.is_ok() && input.path.starts_with(demo())).count()
    };
    assert_eq!((below_demo(&[manifests]), below_demo(&[demo()])), (0, 2));
}
