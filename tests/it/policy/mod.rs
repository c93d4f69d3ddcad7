//! The policy: what must not leak, and what must not come in.

mod age;
mod claims;
mod lists;
mod privacy;
mod random;

use crate::support::{config, parts};
use airlock::config::Config;
use airlock::mirror::{Mirror, Patience};
use airlock::prewarm::{self, Report, Request};
use airlock::protocol::{Flavor, GENERAL, Kind, Listing, Resource, TreeHash, Uuid};
use airlock::sample::{SampleUpstream, Site};
use airlock::source::{Answer, Claim, Fault, Rank, Resume, Source, Wanted};
use airlock::store::Store;
use airlock::tree::TarEntry;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

const ACME_REGISTRY: &str = "ac3e0000-0000-4000-8000-000000000000";
const ACME_TOOLS: &str = "ac3e0000-0000-4000-8000-000000000001";
const ACME_DATA: &str = "ac3e0000-0000-4000-8000-000000000002";

fn uuid(text: &str) -> Uuid {
    text.parse().unwrap()
}

/// What the company Acme has: a registry, two packages and an artifact that one of them names.
struct Acme {
    site: Site,
    registry: Resource,
    tools: Resource,
    data: Resource,
    artifact: Resource,
}

impl Acme {
    fn new() -> Self {
        Self::having(&["AcmeData", "AcmeTools"])
    }

    /// With only these packages in its registry.
    fn having(registered: &[&str]) -> Self {
        let (mut site, mut all) = (Site::empty(), Site::empty());
        let file = |path: &str, text: String| TarEntry::file(path, text, false);
        let artifact = site.add_artifact([file("measured.csv", "1,2,3\n".to_owned())]).unwrap();
        let project = |name, uuid| file("Project.toml", format!("name = \"{name}\"\nuuid = \"{uuid}\"\n"));
        let download = "[[measured.download]]\nurl = \"https://artifacts.acme.invalid/measured.tar.gz\"\n";
        let artifacts =
            format!("[measured]\ngit-tree-sha1 = \"{}\"\n{download}sha256 = \"{:064}\"\n", artifact.tree(), 0);
        let tools = all.add_package(uuid(ACME_TOOLS), [project("AcmeTools", ACME_TOOLS)]).unwrap();
        let data = [file("Artifacts.toml", artifacts), project("AcmeData", ACME_DATA)];
        let data = all.add_package(uuid(ACME_DATA), data).unwrap();
        let packages = [("AcmeData", ACME_DATA, data), ("AcmeTools", ACME_TOOLS, tools)];
        let mut registry = format!("name = \"AcmeRegistry\"\nuuid = \"{ACME_REGISTRY}\"\n[packages]\n");
        let mut files = Vec::new();
        for (name, uuid, package) in packages.into_iter().filter(|(name, ..)| registered.contains(name)) {
            site.put(&package.to_string(), all.body(&package.to_string()).unwrap().clone());
            writeln!(registry, "{uuid} = {{ name = \"{name}\", path = \"A/{name}\" }}").unwrap();
            let repo =
                format!("name = \"{name}\"\nuuid = \"{uuid}\"\nrepo = \"https://git.acme.invalid/{name}.git\"\n");
            files.push(file(&format!("A/{name}/Package.toml"), repo));
            let version = format!("[\"1.0.0\"]\ngit-tree-sha1 = \"{}\"\n", package.tree());
            files.push(file(&format!("A/{name}/Versions.toml"), version));
        }
        files.push(file("Registry.toml", registry));
        let registry = site.add_registry(uuid(ACME_REGISTRY), files).unwrap();
        Self { site, registry, tools, data, artifact }
    }

    fn all(&self) -> [Resource; 4] {
        [self.registry, self.tools, self.data, self.artifact]
    }

    /// Whether a path says anything of it.
    fn is_named(&self, path: &str) -> bool {
        let words = [ACME_REGISTRY, ACME_TOOLS, ACME_DATA].map(str::to_owned).into_iter();
        let mut words = words.chain(self.all().map(|resource| resource.tree().to_string()));
        words.any(|word| path.contains(&word))
    }

    fn manifest(&self) -> String {
        let entry = |name: &str, package: &Resource| {
            let (uuid, tree) = (package.uuid().unwrap(), package.tree());
            format!("[[{name}]]\nuuid = \"{uuid}\"\nversion = \"1.0.0\"\ngit-tree-sha1 = \"{tree}\"\n")
        };
        let greeting = crate::view::resource("Greeting/1.1.0");
        entry("AcmeData", &self.data) + &entry("AcmeTools", &self.tools) + &entry("Greeting", &greeting)
    }

    fn misses(&self) -> String {
        format!("# airlock misses\n{} AcmeTools 1.0.0\n{}\n{}\n", self.tools, self.data, self.artifact)
    }

    fn artifacts(&self) -> String {
        format!("[measured]\ngit-tree-sha1 = \"{}\"\n", self.artifact.tree())
    }

    /// As a private registry from git is to the mirror.
    fn source(&self) -> Arc<Private> {
        let (is_read, is_away) = (AtomicBool::new(true), AtomicBool::new(false));
        Arc::new(Private { site: self.site.clone(), is_read, is_away, packages_only: AtomicBool::new(false) })
    }
}

/// A private registry.
#[derive(Debug)]
struct Private {
    site: Site,
    is_read: AtomicBool,
    /// What was read before is known, and its repository cannot be reached.
    is_away: AtomicBool,
    /// As one from git is.
    packages_only: AtomicBool,
}

impl Source for Private {
    fn name(&self) -> &'static str {
        "https://git.acme.invalid/AcmeRegistry.git"
    }

    fn rank(&self) -> Rank {
        Rank::Private
    }

    fn is_public(&self) -> bool {
        false
    }

    fn claims(&self, uuid: Uuid) -> Claim {
        match self.is_read.load(Ordering::Relaxed) {
            false => Claim::Unread,
            true if self.site.resources().any(|resource| resource.uuid() == Some(uuid)) => Claim::Yes,
            true => Claim::No,
        }
    }

    fn gives(&self, kind: Kind) -> bool {
        kind != Kind::Artifact || !self.packages_only.load(Ordering::Relaxed)
    }

    fn listing(&self, flavor: Flavor) -> BoxFuture<'_, Result<Listing, Fault>> {
        let listing = self.site.body(&format!("/{}", flavor.file_name()));
        let listing = listing.filter(|_| self.is_read.load(Ordering::Relaxed) && !self.is_away.load(Ordering::Relaxed));
        let listing = listing.map(|text| Listing::parse(&String::from_utf8_lossy(text)).unwrap());
        async move { listing.ok_or_else(|| Fault::Connect("no route".to_owned())) }.boxed()
    }

    fn fetch<'a>(&'a self, wanted: &'a Wanted, _: Option<&'a Resume>) -> BoxFuture<'a, Result<Answer, Fault>> {
        let body = self.site.body(&wanted.resource.to_string()).cloned();
        let body = body.filter(|_| self.is_read.load(Ordering::Relaxed));
        async move {
            let body = body.ok_or(Fault::NotFound)?;
            let length = Some(body.len() as u64);
            Ok(Answer { length, start: 0, etag: None, body: stream::iter([Ok(body)]).boxed() })
        }
        .boxed()
    }
}

/// A public upstream that would give everything, Acme's too, and a cache.
struct Scene {
    acme: Acme,
    public: SampleUpstream,
    folder: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let acme = Acme::new();
        let mut site = Site::sample().unwrap();
        for resource in acme.all() {
            site.put(&resource.to_string(), acme.site.body(&resource.to_string()).unwrap().clone());
        }
        Self { acme, public: SampleUpstream::start(site).await.unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn config(&self, file: &str) -> Config {
        let file = format!("mirror.cooldown = '1ms'\nprewarm.platform = ['x86_64-linux-gnu']\n{file}");
        config(&self.cache(), &[self.public.url()], &file)
    }

    /// A mirror with Acme's registry, if there is one, before what is configured.
    fn mirror(&self, file: &str, private: Option<&Arc<Private>>) -> Arc<Mirror> {
        let config = self.config(file);
        let (store, servers) = parts(&config);
        let private = private.map(|private| Arc::clone(private) as Arc<dyn Source>);
        Arc::new(Mirror::new(store, private.into_iter().chain(servers).collect(), &config))
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs_err::write(&path, text).unwrap();
        path
    }

    async fn prewarm(&self, mirror: &Arc<Mirror>, paths: &[PathBuf]) -> Report {
        let mut request = Request::new(paths.to_vec(), &self.config("")).unwrap();
        request.attempts = 1;
        prewarm::run(Arc::clone(mirror), request, &()).await
    }

    async fn refresh(&self, mirror: &Arc<Mirror>) {
        mirror.refresh_registries(Patience::prewarm(1)).await;
    }

    /// What the public upstream was asked that has to do with Acme.
    fn leaked(&self) -> BTreeSet<String> {
        let paths = self.public.requests().into_iter().map(|request| request.path);
        paths.filter(|path| self.acme.is_named(path)).collect()
    }
}

fn statuses(report: &Report) -> Vec<String> {
    let status =
        |package: &prewarm::PackageReport| format!("{} {:?}", package.name.as_deref().unwrap_or("?"), package.status);
    report.packages.iter().map(status).collect()
}

fn store(mirror: &Mirror) -> &Store {
    mirror.store()
}

fn general() -> Resource {
    crate::view::resource("General")
}

fn greeting(version: &str) -> (Uuid, TreeHash) {
    let resource = crate::view::resource(&format!("Greeting/{version}"));
    assert_ne!(resource.uuid(), Some(GENERAL));
    (resource.uuid().unwrap(), resource.tree())
}

/// Runs the binary on a cache, with a configuration: its exit code, and what it said.
async fn airlock(cache: &std::path::Path, file: &str, arguments: &[&str]) -> (i32, String, String) {
    let config = cache.join("airlock.toml");
    fs_err::write(&config, file).unwrap();
    let mut command = crate::binary::command(cache);
    command.args(arguments).env("AIRLOCK_CONFIG", &config).env("AIRLOCK_CACHE", cache);
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What a closed network asks for: resources with their names, and wishes.
fn request(missed: &[(Resource, &str)], wishes: &[&str]) -> String {
    let missed = missed.iter().map(|(resource, name)| airlock::exchange::Missed {
        resource: *resource,
        name: Some((*name).into()),
        version: None,
        count: 1,
    });
    let request = airlock::exchange::Request {
        airlock_request: airlock::exchange::REQUEST_FORMAT,
        created: "2026-11-01T00:00:00Z".parse().unwrap(),
        site: GENERAL,
        name: "inside".into(),
        platforms: vec!["x86_64-linux-gnu".into()],
        julia: vec!["1.10.2".into()],
        registries: BTreeSet::new(),
        inventory: BTreeSet::new(),
        repositories: BTreeMap::default(),
        misses: missed.collect(),
        wishes: wishes.iter().map(|wish| wish.parse().unwrap()).collect(),
        damaged: Vec::new(),
        received: Vec::new(),
    };
    String::from_utf8(request.to_json()).unwrap()
}

/// The manifests of the demo, from anywhere.
fn demo() -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/demo")
}
