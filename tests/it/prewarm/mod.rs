//! Prewarm against the sample upstream: the closure of the demo's manifests, and everything that
//! can go wrong on the way.
#![expect(clippy::unwrap_used, reason = "helpers that cannot do their part must fail the test")]

mod by_name;
mod by_name_data;
mod closure;
mod document;
mod failures;
mod manifest;
mod projects;
mod runs;

use airlock::config::{Config, PrewarmSettings, Settings};
use airlock::mirror::Mirror;
use airlock::prewarm::{PackageReport, Report, Request, Status, run};
use airlock::protocol::Resource;
use airlock::sample::{SampleUpstream, Site};
use airlock::source::{PackageServer, Source};
use airlock::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Lines `KIND LABEL TREE`.
const TREE_HASHES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/sample/tree-hashes.txt"));
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
#[expect(clippy::struct_excessive_bools, reason = "the switches of the command line")]
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
            git: None,
            julia: None,
        };
        let settings = Settings {
            cache: Some(self.folder.path().join("cache")),
            upstream: Some(vec![self.upstream.url().into()]),
            offline: Some(how.offline),
            prewarm,
            ..Settings::default()
        };
        Config::new(settings, Settings::default()).unwrap()
    }

    /// A mirror as a process of its own would have it.
    fn mirror(&self, how: How<'_>) -> Arc<Mirror> {
        let config = self.config(how);
        let sources = PackageServer::all(&config.upstreams).unwrap();
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
    let listed = TREE_HASHES.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let found = listed.filter(|words| words[0] == kind).find(|words| words[2] == tree);
    found.unwrap_or_else(|| panic!("{tree} is not in the sample"))[1].to_owned()
}

fn tree_of(label: &str) -> String {
    let line = TREE_HASHES.lines().find(|line| line.split(' ').nth(1) == Some(label));
    line.and_then(|line| line.split(' ').nth(2)).unwrap().to_owned()
}

fn packages(report: &Report) -> Vec<String> {
    let label = |p: &PackageReport| {
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

fn package_path(label: &str) -> String {
    let resources: Vec<_> = Site::sample().unwrap().resources().map(|resource| resource.to_string()).collect();
    resources.into_iter().find(|path| path.ends_with(&tree_of(label))).unwrap()
}
