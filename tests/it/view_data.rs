//! The derived registry of the real General with a random thousand of its versions present, where
//! the test data is at hand; and what a real Julia makes of it.

use crate::julia_client::{julia, pkg, text};
use crate::support::{Airlock, LONG, config, skip};
use airlock::julia::{RegistryIndex, RegistryToml, parse_versions};
use airlock::mirror::{Mirror, load_registry};
use airlock::protocol::{Flavor, GENERAL, RegistryTree, Resource, TreeHash, Uuid};
use airlock::store::{Fact, HeldArtifact, Stamp, Store};
use airlock::tree::{Limits, hash_tar_gz, visit_files};
use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Versions that are present.
const PRESENT: usize = 1000;

/// A file or folder of the test data, or `None` after saying so.
pub(crate) fn test_data(name: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data"));
    let path = std::env::var_os("AIRLOCK_TEST_DATA").map_or(beside, PathBuf::from).join(name);
    if path.exists() {
        return Some(path);
    }
    skip(&format!("data: {} is not there", path.display()));
    None
}

/// Numbers that look random, the same for the same seed (`SplitMix64`).
struct Random(u64);

impl Random {
    /// `AIRLOCK_SEED`, else another one each time; said, so that a failure can be had again.
    fn new() -> Self {
        let given = std::env::var_os("AIRLOCK_SEED").and_then(|seed| seed.to_str()?.parse().ok());
        let now = || u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap();
        let seed = given.unwrap_or_else(now);
        let _ = writeln!(std::io::stderr(), "AIRLOCK_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((word ^ (word >> 31)) % bound as u64).unwrap()
    }
}

/// A version of the registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    uuid: Uuid,
    name: String,
    version: String,
    tree: TreeHash,
}

/// An offline cache with a registry and a random choice of its versions, of which every tenth lacks
/// an artifact. The files are dummies: nobody can make up a tarball that has a given hash, so facts
/// say that they were verified.
struct World {
    folder: TempDir,
    random: Random,
    general: RegistryTree,
    all: Vec<Entry>,
    present: BTreeSet<Entry>,
}

impl World {
    async fn new(data: &Path, tree: &str) -> Self {
        let (folder, mut random) = (tempfile::tempdir().unwrap(), Random::new());
        let general = RegistryTree { uuid: GENERAL, tree: tree.parse().unwrap() };
        let registry = Resource::from(general);
        let file = folder.path().join(registry.relative_path());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::copy(data, file).unwrap();
        fs::write(folder.path().join("registries"), format!("{registry}\n")).unwrap();
        let mirror = crate::support::mirror(&config(folder.path(), &[], "[view]\nshow = 'full'"));
        mirror.rescan().await;
        let index = load_registry(mirror.store(), &registry, &Limits::default()).unwrap();
        let all = entries(&index);
        let mut present = BTreeSet::new();
        while present.len() < PRESENT {
            let entry = all[random.below(all.len())].clone();
            let needs = if random.below(10) == 0 { vec![missing_artifact()] } else { Vec::new() };
            put(mirror.store(), Resource::Package { uuid: entry.uuid, tree: entry.tree }, needs);
            present.insert(entry);
        }
        Self { folder, random, general, all, present }
    }

    fn mirror(&self) -> Arc<Mirror> {
        crate::support::mirror(&config(self.folder.path(), &[], ""))
    }
}

fn entries(index: &RegistryIndex) -> Vec<Entry> {
    let versions = index.packages().flat_map(|(uuid, _)| index.versions(uuid).collect::<Vec<_>>());
    let entry = |it: airlock::julia::RegisteredVersion<'_>| Entry {
        uuid: it.uuid,
        name: it.name.to_owned(),
        version: it.version.to_owned(),
        tree: it.tree,
    };
    versions.map(entry).collect()
}

fn missing_artifact() -> HeldArtifact {
    HeldArtifact { name: "missing".into(), tree: TreeHash::EMPTY, lazy: false, deferred: false, platform: None }
}

fn put(store: &Store, resource: Resource, artifacts: Vec<HeldArtifact>) {
    let file = store.root().join(resource.relative_path());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "a dummy").unwrap();
    let stamp = Stamp::of(&fs::metadata(&file).unwrap());
    store.remember(Fact { resource, stamp, strict: resource.tree(), artifacts });
}

/// Derives the view, and returns the tree that is served now.
async fn derive(mirror: &Arc<Mirror>) -> RegistryTree {
    mirror.refresh_view().await;
    mirror.served(Flavor::Plain).unwrap().first().unwrap().registry
}

#[tokio::test(flavor = "multi_thread")]
async fn of_general_each_version_that_is_listed_is_here() {
    let Some(data) = test_data("General-2024-04-04.tar.gz") else { return };
    let world = World::new(&data, "ff7de6d04928785426b131bad7b2b1d785f2a8d7").await;
    let mirror = world.mirror();
    let derived = derive(&mirror).await;
    assert_ne!(derived, world.general);
    let path = mirror.store().path(&derived.into());
    let contents = hash_tar_gz(fs::File::open(&path).unwrap(), &Limits::default(), |_| false).unwrap();
    assert_eq!(contents.strict, derived.tree);
    let mut files = BTreeMap::new();
    let mut add = |path: &str, bytes| _ = files.insert(path.to_owned(), String::from_utf8(bytes).unwrap());
    visit_files(fs::File::open(&path).unwrap(), &Limits::default(), &mut add).unwrap();

    let mut listed = BTreeSet::new();
    let (mut yanked, mut empty) = (0, 0);
    for (uuid, package) in RegistryToml::parse(&files["Registry.toml"]).unwrap().packages {
        let mut versions = parse_versions(&files[&format!("{}/Versions.toml", package.path)]).unwrap();
        let (count, nowhere) = (versions.len(), crate::view::nowhere(&files, &package.path));
        versions.retain(|it| Some(&it.version) != nowhere.as_ref());
        assert_eq!(versions.iter().any(|it| !it.yanked), nowhere.is_none(), "{}: {count}", package.name);
        empty += usize::from(versions.is_empty());
        for it in versions {
            yanked += usize::from(it.yanked);
            listed.insert(Entry { uuid, name: package.name.clone(), version: it.version, tree: it.tree });
        }
    }
    // Two versions may share a tree, and then both are here.
    let trees: BTreeSet<_> = world.present.iter().map(|entry| (entry.uuid, entry.tree)).collect();
    let expected: BTreeSet<_> =
        world.all.iter().filter(|entry| trees.contains(&(entry.uuid, entry.tree))).cloned().collect();
    assert_eq!(listed, expected);
    assert!(yanked > 50 && empty > 300, "{yanked} yanked, {empty} without versions");

    fs::remove_dir_all(mirror.store().root().join(".airlock/view")).unwrap();
    assert_eq!(derive(&world.mirror()).await, derived, "the same cache gives the same tree");
}

/// `Pkg.add` of each package in `NAMES`, each into a new project, all in one Julia: the registry
/// comes from the server, and names, versions and the manifest are Pkg's own work. Only the two
/// steps that would fetch tarballs are replaced, since there can be none with the right hash; what
/// they would have fetched is printed. (Julia 1.5's functions: others are named otherwise.)
const ADD_EACH: &str = r#"
    using Pkg
    @eval Pkg.Operations function download_source(ctx::Context, pkgs::Vector{PackageSpec}; readonly=true)
        for pkg in filter(tracking_registered_version, pkgs)
            println("GET /package/", pkg.uuid, "/", pkg.tree_hash)
        end
        return PackageSpec[]
    end
    @eval Pkg.Operations download_artifacts(ctx::Context, pkgs::Vector{PackageSpec}; platform=nothing, verbose=false) = nothing
    for name in split(ENV["NAMES"])
        Pkg.activate(mktempdir())
        try
            Pkg.add(String(name))
            println("ADDED ", name)
        catch error
            println("FAILED ", name, " ", typeof(error), " ", first(split(sprint(showerror, error), '\n')))
        end
    end
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_real_julia_adds_what_is_listed_or_says_that_it_is_unsatisfiable() {
    let Some(data) = test_data("General-2020-11-24.tar.gz") else { return };
    let Some(julia) = julia("add listed packages of General") else { return };
    let version = std::process::Command::new(&julia).arg("--version").output().unwrap().stdout;
    if !String::from_utf8(version).unwrap().contains("version 1.5") {
        skip("julia 1.5: add listed packages of General");
        return;
    }
    let mut world = World::new(&data, "b7c2af50b7a9d6c140f55a7be127067e02aa9488").await;
    derive(&world.mirror()).await;
    let present: Vec<_> = world.present.iter().cloned().collect();
    let mut names = BTreeSet::new();
    while names.len() < 30 {
        names.insert(present[world.random.below(present.len())].name.clone());
    }
    let airlock = Airlock::quiet(&config(world.folder.path(), &[], "")).await;
    let mut adding = pkg(&julia, world.folder.path(), "depot", &airlock.url(""), ADD_EACH);
    adding.env("NAMES", names.iter().cloned().collect::<Vec<_>>().join(" "));
    let output = tokio::time::timeout(LONG * 10, adding.output()).await.unwrap().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");

    let of = |word: &'static str| said.lines().filter_map(move |line| line.strip_prefix(word));
    let (added, failed) = (of("ADDED ").count(), of("FAILED ").collect::<Vec<_>>());
    assert_eq!(added + failed.len(), names.len(), "{said}");
    let is_unsatisfiable = |line: &&str| line.contains("ResolverError") && line.contains("Unsatisfiable requirements");
    let other: Vec<_> = failed.iter().filter(|line| !is_unsatisfiable(line)).collect();
    assert!(other.is_empty(), "{other:#?}");
    assert!(added > 0, "{said}");
    let _ = writeln!(std::io::stderr(), "{added} of {} packages were added", names.len());
    for wanted in of("GET ").map(|path| path.parse::<Resource>().unwrap()) {
        assert!(airlock.mirror.store().has(&wanted), "{wanted} was chosen, but is not here");
    }
}
