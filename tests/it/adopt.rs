//! `airlock adopt`: what a depot holds and is what its name says comes in; what is not is named.

use crate::binary::{Serving, command, run, said, stdout, wrapped};
use crate::check::{GREETING, LANTERN, PEBBLE, artifact, package, tree_of};
use crate::julia_client::{INSTANTIATE, julia, lay_out_project, pkg, succeeds};
use crate::support::{Scene, skip};
use crate::tree_props::{Repository, sample};
use airlock::adopt::{Adoption, Item, ListedStatus, Report, Status};
use airlock::julia::version_slug;
use airlock::policy::Policy;
use airlock::protocol::{Flavor, GENERAL, Kind, RegistryTree, Resource, TreeHash, Uuid};
use airlock::store::{Lookup, Store};
use airlock::tree::{Limits, TarEntry, hash_tar_gz, write_tar_gz};
use fs_err as fs;
use fs_err::os::unix::fs::symlink;
use proptest::prelude::*;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample");
const OLD_DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/demo/julia-1.5");

/// A depot and an empty cache beside it.
pub(crate) struct Carried {
    pub(crate) folder: TempDir,
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn hash(text: &str) -> TreeHash {
    text.parse().unwrap()
}

/// What git calls the files in a folder.
fn git_tree(folder: &Path) -> TreeHash {
    let git_dir = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(arguments).current_dir(folder).env("GIT_DIR", git_dir.path()).env("GIT_WORK_TREE", folder);
        let output = git.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", git_dir.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "-q"]);
    git(&["add", "-f", "-A", "."]);
    hash(git(&["write-tree"]).trim())
}

impl Carried {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With the packages and artifacts that the demo's manifest for Julia 1.5 needs, and the
    /// registry as an old Pkg unpacks it.
    pub(crate) fn demo() -> Self {
        let carried = Self::new();
        carried.registry_folder();
        for (name, uuid, version) in
            [("Greeting", GREETING, "1.1.0"), ("Pebble", PEBBLE, "1.1.0"), ("Lantern", LANTERN, "0.2.0")]
        {
            carried.package(name, uuid, version, 5);
        }
        for label in fs::read_dir(format!("{SAMPLE}/artifacts")).unwrap() {
            carried.artifact(label.unwrap().file_name().to_str().unwrap());
        }
        carried
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join("depot").join(path)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
    }

    /// Installs a package of the sample; returns its folder.
    fn package(&self, name: &str, uuid: &str, version: &str, letters: usize) -> PathBuf {
        let tree = hash(tree_of(&format!("{name}/{version}")));
        let folder = self.at(format!("packages/{name}/{}", version_slug(uuid.parse().unwrap(), tree, letters)));
        copy(&Path::new(SAMPLE).join("packages").join(name).join(version), &folder);
        folder
    }

    fn artifact(&self, label: &str) -> PathBuf {
        let folder = self.at(format!("artifacts/{}", tree_of(label)));
        copy(&Path::new(SAMPLE).join("artifacts").join(label), &folder);
        folder
    }

    /// An artifact named by what git calls it.
    fn made_artifact(&self, make: impl FnOnce(&Path)) -> PathBuf {
        let folder = self.at("artifacts/new");
        fs::create_dir_all(&folder).unwrap();
        make(&folder);
        let named = self.at(format!("artifacts/{}", git_tree(&folder)));
        fs::rename(folder, &named).unwrap();
        named
    }

    fn registry_folder(&self) {
        copy(&Path::new(SAMPLE).join("registry"), &self.at("registries/General"));
        self.write("registries/General/.tree_info.toml", format!("git-tree-sha1 = \"{}\"\n", tree_of("General")));
    }

    fn adoption(&self, only: &[Kind], dry_run: bool) -> Report {
        let store = Store::open(&self.cache()).unwrap();
        let (depots, limits) = ([self.at("")], Limits::default());
        let policy = Policy::default();
        let adoption = Adoption { depots: &depots, only, limits: &limits, policy: &policy, dry_run, jobs: 2 };
        adoption.run(&store, &|_| {}).unwrap()
    }

    fn adopt(&self) -> Report {
        self.adoption(&Kind::ALL, false)
    }

    /// Whether a resource is here and known to be what its name says.
    fn has(&self, resource: &Resource) -> bool {
        let store = Store::open(&self.cache()).unwrap();
        matches!(store.look_up(resource).unwrap(), Lookup::Verified(..))
    }

    /// Adopts one thing, which is to be taken.
    fn takes_one(&self) -> Item {
        let report = self.adopt();
        let [item] = &report.items[..] else { panic!("{report:#?}") };
        assert_eq!((item.status, &item.reason), (Status::Adopted, &None));
        let resource = match item.kind {
            Kind::Package => Resource::Package { uuid: item.uuid.unwrap(), tree: item.tree.unwrap() },
            Kind::Artifact => Resource::Artifact { tree: item.tree.unwrap() },
            Kind::Registry => RegistryTree { uuid: item.uuid.unwrap(), tree: item.tree.unwrap() }.into(),
        };
        assert!(self.has(&resource), "{resource}");
        item.clone()
    }

    /// Adopts one thing, which is to be refused; why.
    fn refuses_one(&self) -> String {
        let report = self.adopt();
        let refused: Vec<_> = report.items.iter().filter(|item| item.status != Status::Here).collect();
        let [item] = &refused[..] else { panic!("{report:#?}") };
        assert_eq!((item.status, report.totals.refused, report.is_complete()), (Status::Refused, 1, false));
        item.reason.clone().unwrap()
    }

    fn listed(&self, flavor: Flavor) -> Option<TreeHash> {
        Store::open(&self.cache()).unwrap().listing(flavor).unwrap()?.tree(GENERAL)
    }
}

/// Everything below a folder, as it is on disk.
fn snapshot(folder: &Path) -> Vec<(PathBuf, u32, u64, i64)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        all.push((entry.path(), metadata.mode(), metadata.len(), metadata.mtime_nsec()));
        if metadata.is_dir() {
            all.extend(snapshot(&entry.path()));
        }
    }
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_depot_comes_in_is_not_touched_and_satisfies_its_manifest() {
    let carried = Carried::demo();
    let before = snapshot(&carried.at(""));
    let first = run(carried.folder.path(), &["adopt", "depot"]).await;
    assert_eq!(said(&first).0, Some(0), "{} {}", stdout(&first), said(&first).1);
    assert!(stdout(&first).contains("adopted  package   Greeting       1.1.0"), "{}", stdout(&first));
    assert!(said(&first).1.contains("registry General is listed at"), "{}", said(&first).1);
    let check = run(carried.folder.path(), &["check", "--platform", "x86_64-linux-gnu", OLD_DEMO]).await;
    assert_eq!(said(&check).0, Some(0), "{}", stdout(&check));
    let verify = run(carried.folder.path(), &["verify"]).await;
    assert_eq!(said(&verify).0, Some(0), "{}", stdout(&verify));

    let again = run(carried.folder.path(), &["adopt", "--json", "depot", "depot"]).await;
    assert_eq!(said(&again).0, Some(0));
    let report: serde_json::Value = serde_json::from_str(&stdout(&again)).unwrap();
    assert_eq!((&report["totals"]["adopted"], &report["totals"]["refused"]), (&0.into(), &0.into()), "{report:#}");
    assert_eq!(report["registries"][0]["status"], "already");
    assert_eq!(before, snapshot(&carried.at("")), "the depot was written to");
    let store = Store::open(&carried.cache()).unwrap();
    let log = store.generations().unwrap();
    let source = format!("adopt:{}", fs::canonicalize(carried.at("")).unwrap().display());
    assert_eq!(log.iter().map(|it| &it.source).collect::<Vec<_>>(), [&source]);
    let activities = store.activities().unwrap();
    let adoptions: Vec<_> = activities.iter().filter(|it| it.what == airlock::store::Action::Adopt).collect();
    assert_eq!(adoptions.len(), 2);
}

#[test]
fn the_artifacts_that_an_adopted_package_names_are_known() {
    let carried = Carried::demo();
    assert!(carried.adopt().is_complete());
    let store = Store::open(&carried.cache()).unwrap();
    let fact = store.fact(&package(LANTERN, "Lantern/0.2.0")).unwrap().unwrap();
    assert!(fact.artifacts.iter().any(|artifact| artifact.name == "wick"), "{fact:?}");
}

#[test]
fn a_dry_run_says_the_same_and_writes_nothing() {
    let carried = Carried::demo();
    fs::write(carried.at(format!("artifacts/{}/more", tree_of("greeting-text-1"))), "").unwrap();
    drop(Store::open(&carried.cache()).unwrap());
    let before = snapshot(&carried.cache());
    let dry = carried.adoption(&Kind::ALL, true);
    assert_eq!(before.len(), snapshot(&carried.cache()).len());
    assert!(Store::open(&carried.cache()).unwrap().activities().unwrap().is_empty());
    let real = carried.adopt();
    let seen = |report: &Report| -> Vec<_> {
        report
            .items
            .iter()
            .map(|it| (it.path.clone(), it.status, it.tree, it.version.clone(), it.reason.clone()))
            .collect()
    };
    assert_eq!((seen(&dry), &dry.registries), (seen(&real), &real.registries));
    assert_eq!(real.totals.refused, 1);
}

#[test]
fn only_what_was_asked_for_is_taken() {
    let carried = Carried::demo();
    assert!(carried.adoption(&[Kind::Package], false).items.iter().all(|item| item.kind == Kind::Package));
    assert!(carried.has(&package(PEBBLE, "Pebble/1.1.0")) && !carried.has(&artifact("greeting-text-1")));
    assert_eq!(carried.listed(Flavor::Plain), None);
    assert_eq!(carried.adoption(&[Kind::Artifact, Kind::Registry], false).totals.here, 0);
    assert_eq!(carried.listed(Flavor::Plain), Some(hash(tree_of("General"))));
}

#[test]
fn a_folder_with_the_four_letters_of_an_old_julia_is_taken() {
    let carried = Carried::new();
    let folder = carried.package("Pebble", PEBBLE, "1.1.0", 4);
    assert_eq!(folder.file_name().unwrap().len(), 4);
    assert_eq!(carried.takes_one().version.as_deref(), Some("1.1.0"));
}

#[test]
fn a_folder_of_another_name_is_refused() {
    let carried = Carried::new();
    let folder = carried.package("Pebble", PEBBLE, "1.1.0", 5);
    fs::rename(&folder, folder.with_file_name("AAAAA")).unwrap();
    assert!(carried.refuses_one().contains("for which the folder would have another name"));
    fs::rename(folder.with_file_name("AAAAA"), folder.with_file_name("a-copy")).unwrap();
    assert!(carried.refuses_one().contains("not named as Julia names a version"));
}

#[test]
fn a_changed_package_is_refused_and_its_version_named() {
    let carried = Carried::new();
    carried.registry_folder();
    let folder = carried.package("Pebble", PEBBLE, "1.1.0", 5);
    fs::write(folder.join("src/Pebble.jl"), "module Pebble end").unwrap();
    let report = carried.adopt();
    let reason = report.items.iter().find_map(|item| item.reason.clone()).unwrap();
    assert!(
        reason.contains("(version 1.1.0), so it was changed") && reason.contains(tree_of("Pebble/1.1.0")),
        "{reason}"
    );
    assert!(!carried.has(&package(PEBBLE, "Pebble/1.1.0")));
}

#[test]
fn what_a_build_left_behind_is_left_out_and_said() {
    let carried = Carried::new();
    let folder = carried.package("Pebble", PEBBLE, "1.1.0", 5);
    fs::create_dir_all(folder.join("deps/usr/lib")).unwrap();
    fs::write(folder.join("deps/build.log"), "built").unwrap();
    assert_eq!(carried.takes_one().left_out, ["deps/build.log"]);

    let carried = Carried::new();
    let folder = carried.package("Pebble", PEBBLE, "1.1.0", 5);
    fs::create_dir_all(folder.join("deps/usr/lib")).unwrap();
    for file in ["deps/build.log", "deps/deps.jl", "deps/usr/lib/libpebble.so.1", "src/Pebble.ji"] {
        fs::write(folder.join(file), "built").unwrap();
    }
    assert_eq!(carried.takes_one().left_out, ["deps/build.log", "deps/deps.jl", "deps/usr/", "src/Pebble.ji"]);
    let body = fs::File::open(Store::open(&carried.cache()).unwrap().path(&package(PEBBLE, "Pebble/1.1.0"))).unwrap();
    assert_eq!(hash_tar_gz(body, &Limits::default(), |_| false).unwrap().strict, hash(tree_of("Pebble/1.1.0")));

    let carried = Carried::new();
    let folder = carried.package("Pebble", PEBBLE, "1.1.0", 5);
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    fs::create_dir(folder.join("deps")).unwrap();
    fs::write(folder.join("deps/build.log"), "built").unwrap();
    assert!(carried.refuses_one().contains("its tree hash is"));
}

/// A package as before `Project.toml`: its uuid is known to others only.
fn old_package(carried: &Carried) -> (Uuid, TreeHash) {
    let (uuid, folder): (Uuid, _) = (PEBBLE.parse().unwrap(), carried.at("packages/Pebble/new"));
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("REQUIRE"), "julia 0.7\n").unwrap();
    fs::write(folder.join("src/Pebble.jl"), "module Pebble end\n").unwrap();
    let tree = git_tree(&folder);
    fs::rename(&folder, folder.with_file_name(version_slug(uuid, tree, 5))).unwrap();
    (uuid, tree)
}

#[test]
fn the_uuid_of_a_package_without_a_project_comes_from_registries_and_manifests() {
    let unknown = Carried::new();
    old_package(&unknown);
    assert!(unknown.refuses_one().contains("its uuid is not known"));

    let by_name = Carried::new();
    by_name.registry_folder();
    let (uuid, tree) = old_package(&by_name);
    assert!(by_name.adopt().is_complete() && by_name.has(&Resource::Package { uuid, tree }));

    let here = Carried::demo();
    here.adopt();
    fs::remove_dir_all(here.at("")).unwrap();
    let (uuid, tree) = old_package(&here);
    assert!(
        here.adopt().is_complete() && here.has(&Resource::Package { uuid, tree }),
        "a registry of the cache knows it"
    );

    let manifest = |tree| format!("[[Other]]\nuuid = \"{PEBBLE}\"\nversion = \"0.1.0\"\ngit-tree-sha1 = \"{tree}\"\n");
    let in_environment = Carried::new();
    let (uuid, tree) = old_package(&in_environment);
    in_environment.write("environments/v1.5/Manifest.toml", manifest(tree));
    assert!(in_environment.adopt().is_complete() && in_environment.has(&Resource::Package { uuid, tree }));

    let used = Carried::new();
    let (uuid, tree) = old_package(&used);
    let path = used.folder.path().join("Manifest.toml");
    fs::write(&path, manifest(tree)).unwrap();
    used.write("logs/manifest_usage.toml", format!("[[\"{}\"]]\ntime = 2020-11-24T00:00:00.000Z\n", path.display()));
    assert!(used.adopt().is_complete() && used.has(&Resource::Package { uuid, tree }));
}

#[test]
fn the_exec_bit_of_the_owner_counts_and_no_other() {
    let carried = Carried::new();
    let make = |folder: &Path| {
        fs::write(folder.join("run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(folder.join("run"), PermissionsExt::from_mode(0o544)).unwrap();
        fs::write(folder.join("data"), "x").unwrap();
        fs::set_permissions(folder.join("data"), PermissionsExt::from_mode(0o455)).unwrap();
    };
    let folder = carried.made_artifact(make);
    assert!(carried.refuses_one_or_takes(&folder).is_none());
    fs::set_permissions(folder.join("run"), PermissionsExt::from_mode(0o644)).unwrap();
    fs::remove_dir_all(carried.cache()).unwrap();
    assert!(carried.refuses_one().starts_with("its tree hash is"));
}

/// Gives every file below a folder this mode, as a file system without modes does.
fn set_modes(folder: &Path, mode: u32) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            set_modes(&path, mode);
        } else {
            fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        }
    }
}

#[test]
fn what_a_file_system_without_modes_made_executable_is_taken_if_nothing_in_it_was() {
    let carried = Carried::new();
    let folder = carried.package("Pebble", PEBBLE, "1.1.0", 5);
    set_modes(&folder, 0o755);
    assert_eq!(carried.takes_one().version.as_deref(), Some("1.1.0"));

    let carried = Carried::new();
    carried.artifact("greeting-text-1");
    set_modes(&carried.at("artifacts"), 0o755);
    assert_eq!(carried.takes_one().tree, Some(hash(tree_of("greeting-text-1"))));

    // The modes of these nobody here can know.
    for (mode, words) in
        [(0o755, "; all of its files are executable, so"), (0o644, "; none of its files is executable")]
    {
        let carried = Carried::new();
        let folder = carried.made_artifact(|folder| {
            fs::write(folder.join("run"), "#!/bin/sh\n").unwrap();
            fs::write(folder.join("data"), "x").unwrap();
            fs::set_permissions(folder.join("run"), PermissionsExt::from_mode(0o755)).unwrap();
        });
        assert_eq!(carried.refuses_one_or_takes(&folder), None);
        fs::remove_dir_all(carried.cache()).unwrap();
        set_modes(&folder, mode);
        let why = carried.refuses_one();
        assert!(why.starts_with("its tree hash is ") && why.contains(words), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_fetched_is_not_adopted() {
    let text = tree_of("greeting-text-1");
    for (rules, refused) in [
        ("deny = ['Pebble']", vec!["policy.fetch.deny has \"Pebble\""]),
        ("allow = ['Greeting', 'Lantern']", vec!["no rule of policy.fetch.allow fits"]),
        (&*format!("deny = ['artifact:{text}']"), vec!["policy.fetch.deny has \"artifact:"]),
        ("deny = ['registry:General']", vec!["policy.fetch.deny has \"registry:General\""; 4]),
    ] {
        let carried = Carried::demo();
        fs::write(carried.folder.path().join("airlock.toml"), format!("[policy.fetch]\n{rules}\n")).unwrap();
        let output = run(carried.folder.path(), &["adopt", "--json", "depot"]).await;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let items = report["items"].as_array().unwrap().iter().filter(|item| item["status"] == "refused");
        let why: Vec<_> = items.map(|item| item["reason"].as_str().unwrap().to_owned()).collect();
        assert_eq!((said(&output).0, why.len()), (Some(1), refused.len()), "{rules}: {report:#}");
        for (why, refused) in why.iter().zip(refused) {
            assert!(why.starts_with("denied: ") && why.contains(refused), "{why}");
        }
        let has_pebble = carried.has(&package(PEBBLE, "Pebble/1.1.0"));
        assert_eq!(has_pebble, rules.contains("artifact:"), "{rules}");
    }
}

impl Carried {
    /// Why the artifact in a folder was refused, if it was.
    fn refuses_one_or_takes(&self, folder: &Path) -> Option<String> {
        let report = self.adopt();
        let item = report.items.iter().find(|item| Path::new(&item.path).file_name() == folder.file_name()).unwrap();
        item.reason.clone()
    }
}

#[test]
fn an_artifact_is_packed_by_the_rule_that_named_it() {
    // By git's: no empty folders, no .git.
    let lenient = Carried::new();
    let folder = lenient.made_artifact(|folder| {
        fs::create_dir_all(folder.join("lib")).unwrap();
        fs::write(folder.join("lib/x"), "x").unwrap();
    });
    fs::create_dir_all(folder.join("empty/below")).unwrap();
    fs::create_dir_all(folder.join("lib/.git")).unwrap();
    fs::write(folder.join("lib/.git/HEAD"), "x").unwrap();
    let item = lenient.takes_one();
    let body = fs::read(Store::open(&lenient.cache()).unwrap().path(&Resource::Artifact { tree: item.tree.unwrap() }))
        .unwrap();
    let contents = hash_tar_gz(&body[..], &Limits::default(), |_| false).unwrap();
    assert_eq!((Some(contents.strict), contents.entries), (item.tree, 2));

    // By Tar.jl's: with them.
    let strict = Carried::new();
    let entries = [TarEntry::file("x", "x", false), TarEntry::directory("empty")];
    let tree = write_tar_gz(entries, std::io::sink(), 0).unwrap();
    let folder = strict.at(format!("artifacts/{tree}"));
    fs::create_dir_all(folder.join("empty")).unwrap();
    fs::write(folder.join("x"), "x").unwrap();
    assert_eq!(strict.takes_one().tree, Some(tree));
    fs::create_dir(folder.join("another")).unwrap();
    fs::remove_dir_all(strict.cache()).unwrap();
    assert!(strict.refuses_one().contains("without .git and empty folders"));
}

#[test]
fn a_package_comes_without_what_pkg_does_not_hash() {
    let carried = Carried::new();
    let folder = carried.package("Pebble", PEBBLE, "1.1.0", 5);
    fs::create_dir_all(folder.join("empty")).unwrap();
    fs::create_dir_all(folder.join(".git")).unwrap();
    fs::write(folder.join(".git/HEAD"), "x").unwrap();
    assert_eq!(carried.takes_one().left_out, [""; 0], "that is no build");
}

#[test]
fn links_are_packed_and_never_followed() {
    let carried = Carried::new();
    let folder = carried.made_artifact(|folder| {
        symlink("/etc", folder.join("out")).unwrap();
        symlink("../../..", folder.join("up")).unwrap();
        symlink(".", folder.join("loop")).unwrap();
        symlink("nowhere", folder.join("dangling")).unwrap();
    });
    let reason = carried.refuses_one_or_takes(&folder);
    assert_eq!(reason, None);
    // The folders of the depot itself may be links, as where it is spread over disks.
    let elsewhere = carried.folder.path().join("elsewhere");
    fs::rename(carried.at("artifacts"), &elsewhere).unwrap();
    symlink(&elsewhere, carried.at("artifacts")).unwrap();
    symlink("packages", carried.at("packages")).unwrap();
    fs::remove_dir_all(carried.cache()).unwrap();
    assert_eq!(carried.refuses_one_or_takes(&folder), None);
}

#[test]
fn names_of_any_bytes_are_taken_within_a_tree_and_refused_as_names_of_packages() {
    let carried = Carried::new();
    let folder = carried.made_artifact(|folder| fs::write(folder.join(OsStr::from_bytes(b"\xff\xfe")), "x").unwrap());
    assert_eq!(carried.refuses_one_or_takes(&folder), None);
    fs::create_dir_all(carried.at("packages").join(OsStr::from_bytes(b"\xff")).join("AAAAA")).unwrap();
    assert_eq!(carried.refuses_one(), "its name is not UTF-8");
    let report = serde_json::to_string(&carried.adopt()).unwrap();
    assert!(report.contains('\u{fffd}'));
}

#[test]
fn what_is_no_file_is_named_and_not_opened() {
    let carried = Carried::new();
    let folder = carried.artifact("greeting-text-1");
    let made = Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap();
    assert!(made.success());
    assert_eq!(carried.refuses_one(), "\"pipe\" is a named pipe, which no tree can hold");
    fs::remove_file(folder.join("pipe")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
    assert_eq!(carried.refuses_one(), "\"socket\" is a socket, which no tree can hold");
    // Nor where a description or a project should be.
    fs::remove_file(folder.join("socket")).unwrap();
    let package = carried.package("Pebble", PEBBLE, "1.1.0", 5);
    fs::remove_file(package.join("Project.toml")).unwrap();
    fs::create_dir_all(carried.at("registries")).unwrap();
    for pipe in [package.join("Project.toml"), carried.at("registries/General.toml")] {
        assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    }
    assert_eq!(carried.adopt().totals.refused, 2);
}

#[test]
fn a_file_larger_than_any_tarball_is_not_read() {
    let carried = Carried::new();
    let folder = carried.artifact("greeting-text-1");
    fs::File::create(folder.join("hole")).unwrap().set_len(1 << 42).unwrap();
    assert!(carried.refuses_one().contains("its files have more than "));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_reported_and_the_rest_comes_in() {
    let carried = Carried::demo();
    let artifact = carried.artifact("greeting-text-1");
    let file = fs::read_dir(artifact).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o0)).unwrap();
    fs::create_dir(carried.at("packages/Closed")).unwrap();
    fs::set_permissions(carried.at("packages/Closed"), PermissionsExt::from_mode(0o0)).unwrap();
    fs::set_permissions(carried.folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    // Root reads everything.
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let wrapper: &[&str] = if rustix::process::getuid().is_root() { &nobody } else { &[] };
    let probe = wrapped(carried.folder.path(), wrapper).arg("--version").output().await;
    if !probe.is_ok_and(|output| output.status.success()) {
        skip("setpriv: files that cannot be read");
        return;
    }
    let output = wrapped(carried.folder.path(), wrapper).args(["adopt", "--json", "depot"]).output().await.unwrap();
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{output:?}"));
    let items = report["items"].as_array().unwrap();
    let refused: Vec<_> = items.iter().filter(|item| item["status"] == "refused").collect();
    assert_eq!((said(&output).0, refused.len()), (Some(1), 2), "{refused:#?}");
    assert!(refused.iter().all(|item| item["reason"].as_str().unwrap().contains("cannot be read")), "{refused:#?}");
    assert_eq!(report["totals"]["adopted"], items.len() - 2);
}

#[test]
fn left_overs_of_killed_installs_are_named() {
    let carried = Carried::new();
    carried.write("artifacts/jl_aBcDe/lib/x", "x");
    carried.write("artifacts/Overrides.toml", "");
    assert_eq!(carried.refuses_one(), "its name is no tree hash");
    fs::remove_dir_all(carried.at("artifacts/jl_aBcDe")).unwrap();
    symlink("/nowhere/at/all", carried.at(format!("artifacts/{}", tree_of("greeting-text-1")))).unwrap();
    assert_eq!(carried.refuses_one(), "it is a link that leads nowhere");
    let notes = carried.adopt().notes;
    assert!(notes.len() == 1 && notes[0].contains("Overrides.toml is passed over"), "{notes:?}");
}

#[test]
fn what_two_depots_hold_is_taken_once() {
    let (one, other) = (Carried::demo(), Carried::demo());
    let store = Store::open(&one.cache()).unwrap();
    let (depots, limits) = ([one.at(""), other.at("")], Limits::default());
    let policy = Policy::default();
    let adoption =
        Adoption { depots: &depots, only: &Kind::ALL, limits: &limits, policy: &policy, dry_run: false, jobs: 4 };
    let report = adoption.run(&store, &|_| {}).unwrap();
    assert_eq!((report.totals.adopted, report.totals.adopted), (report.totals.here, report.items.len() / 2));
    assert_eq!(report.registries.len(), 1);
}

fn tarball() -> Vec<u8> {
    let site = airlock::sample::Site::sample().unwrap();
    site.body(&format!("/registry/{GENERAL}/{}", tree_of("General"))).unwrap().to_vec()
}

fn description(carried: &Carried, tree: &str, file: &str) {
    let text = format!("uuid = \"{GENERAL}\"\ngit-tree-sha1 = \"{tree}\"\npath = \"{file}\"\n");
    carried.write("registries/General.toml", text);
}

#[test]
fn a_packed_registry_is_taken_and_listed() {
    let carried = Carried::new();
    description(&carried, tree_of("General"), "General.tar.gz");
    carried.write("registries/General.tar.gz", tarball());
    let item = carried.takes_one();
    assert_eq!((item.name.as_deref(), item.uuid), (Some("General"), Some(GENERAL)));
    assert_eq!(carried.listed(Flavor::Plain), Some(hash(tree_of("General"))));
}

#[test]
fn a_registry_packed_with_zstd_is_packed_with_gzip() {
    let carried = Carried::new();
    description(&carried, tree_of("General"), "General.tar.zst");
    let mut tar = Vec::new();
    std::io::copy(&mut flate2::read::MultiGzDecoder::new(&tarball()[..]), &mut tar).unwrap();
    carried.write("registries/General.tar.zst", zstd::encode_all(&tar[..], 3).unwrap());
    let item = carried.takes_one();
    let path =
        Store::open(&carried.cache()).unwrap().path(&RegistryTree { uuid: GENERAL, tree: item.tree.unwrap() }.into());
    assert_eq!(fs::read(path).unwrap()[..2], [0x1f, 0x8b]);
}

/// What is said, of what.
type Case<'c> = (&'static str, &'c dyn Fn(&Carried));

#[test]
fn a_registry_that_is_not_what_is_said_of_it_is_refused() {
    let other = "1".repeat(40);
    let cases: [Case; 8] = [
        ("its tree hash is", &|carried| {
            description(carried, &other, "General.tar.gz");
            carried.write("registries/General.tar.gz", tarball());
        }),
        ("its Registry.toml 2333", &|carried| {
            description(carried, tree_of("General"), "General.tar.gz");
            let text = fs::read_to_string(carried.at("registries/General.toml")).unwrap();
            carried.write("registries/General.toml", text.replace(&GENERAL.to_string(), PEBBLE));
            carried.write("registries/General.tar.gz", tarball());
        }),
        ("is not beside its description", &|carried| description(carried, tree_of("General"), "../General.tar.gz")),
        ("cannot be read", &|carried| description(carried, tree_of("General"), "General.tar.gz")),
        ("missing field", &|carried| carried.write("registries/General.toml", "uuid = 'x'")),
        ("so it was changed", &|carried| {
            carried.registry_folder();
            carried.write("registries/General/P/Pebble/more", "");
        }),
        ("neither .git nor .tree_info.toml", &|carried| carried.write("registries/General/Registry.toml", "")),
        ("has no Registry.toml", &|carried| {
            carried.registry_folder();
            fs::remove_file(carried.at("registries/General/Registry.toml")).unwrap();
        }),
    ];
    for (why, make) in cases {
        let carried = Carried::new();
        make(&carried);
        let said = carried.refuses_one();
        assert!(said.contains(why) || why == "missing field" && said.contains("General.toml"), "{why}: {said}");
        assert_eq!(carried.listed(Flavor::Plain), None, "{why}");
    }
}

#[test]
fn a_cloned_registry_is_taken_if_its_files_are_those_of_its_commit() {
    let carried = Carried::new();
    let folder = carried.at("registries/General");
    copy(&Path::new(SAMPLE).join("registry"), &folder);
    let git = |arguments: &[&str]| {
        let config = ["-c", "user.name=x", "-c", "user.email=x@example.org"];
        let output = Command::new("git").args(config).args(arguments).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    git(&["init", "-q"]);
    fs::rename(folder.join(".git/HEAD"), folder.join(".git/HEAD-aside")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.join(".git/HEAD")).status().unwrap().success());
    assert!(carried.refuses_one().contains("HEAD"), "it would wait for ever");
    fs::rename(folder.join(".git/HEAD-aside"), folder.join(".git/HEAD")).unwrap();
    assert!(carried.refuses_one().contains(".git cannot be read"), "it has no commit");
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "x"]);
    fs::create_dir(folder.join("empty")).unwrap();
    // Whose it is does not matter: nothing in it is run.
    if rustix::process::getuid().is_root() {
        assert!(Command::new("chown").args(["-R", "12345"]).arg(&folder).status().unwrap().success());
    }
    assert_eq!(carried.takes_one().tree, Some(hash(tree_of("General"))));
    fs::remove_dir_all(carried.cache()).unwrap();
    fs::write(folder.join("P/Pebble/more"), "").unwrap();
    assert!(carried.refuses_one().contains("its files are not those of its commit"));
}

#[test]
fn of_two_trees_of_a_registry_the_one_that_is_listed_stays() {
    let carried = Carried::new();
    carried.registry_folder();
    assert!(carried.adopt().is_complete());
    let text = fs::read_to_string(carried.at("registries/General/Registry.toml")).unwrap();
    carried.write("registries/General/Registry.toml", text + "# newer or older, who knows\n");
    fs::remove_file(carried.at("registries/General/.tree_info.toml")).unwrap();
    let newer = git_tree(&carried.at("registries/General"));
    carried.write("registries/General/.tree_info.toml", format!("git-tree-sha1 = \"{newer}\""));
    let report = carried.adopt();
    let listed = hash(tree_of("General"));
    assert_eq!(report.registries[0].status, ListedStatus::Other { listed });
    assert!(report.is_complete() && carried.has(&RegistryTree { uuid: GENERAL, tree: newer }.into()));
    assert_eq!(carried.listed(Flavor::Plain), Some(listed));
}

#[test]
fn where_there_are_flavors_a_registry_is_listed_in_each() {
    let carried = Carried::new();
    let other = RegistryTree { uuid: PEBBLE.parse().unwrap(), tree: hash(&"1".repeat(40)) };
    let store = Store::open(&carried.cache()).unwrap();
    store.publish_listing(Flavor::Eager, &airlock::protocol::Listing::from_iter([other])).unwrap();
    drop(store);
    carried.registry_folder();
    let flavors = vec![Flavor::Plain, Flavor::Eager];
    assert_eq!(carried.adopt().registries[0].status, ListedStatus::Listed { flavors });
    let listed = Flavor::ALL.map(|flavor| carried.listed(flavor).is_some());
    assert_eq!(listed, [true, true, false]);
    // What another tool listed and has not brought yet is still named.
    let text = fs::read_to_string(carried.cache().join("registries.eager")).unwrap();
    assert!(text.contains(PEBBLE), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_it_refused_and_why() {
    let carried = Carried::demo();
    let pebble = carried.package("Pebble", PEBBLE, "1.0.0", 5);
    fs::write(pebble.join("src/Pebble.jl"), "changed\x1b[31m").unwrap();
    let output = run(carried.folder.path(), &["adopt", "depot"]).await;
    let table = stdout(&output);
    assert_eq!(said(&output).0, Some(1), "{table}");
    assert!(table.contains("refused") && table.contains("so it was changed"), "{table}");
    assert!(table.contains(&pebble.file_name().unwrap().to_string_lossy().into_owned()), "{table}");
    assert!(table.ends_with(" in all\n"), "{table}");

    for (arguments, why) in [
        (&["adopt", "nowhere"][..], "nowhere"),
        (&["adopt", "cache/.airlock"], "is no depot"),
        (&["adopt"], "DEPOT"),
        (&["adopt", "--only", "clones", "depot"], "clones"),
    ] {
        let output = run(carried.folder.path(), arguments).await;
        assert_eq!(said(&output).0, Some(2), "{arguments:?}");
        assert!(said(&output).1.contains(why), "{arguments:?}: {}", said(&output).1);
    }
    let dry = run(carried.folder.path(), &["adopt", "--dry-run", "--only", "packages,artifacts", "depot"]).await;
    assert_eq!(said(&dry).0, Some(1));
    assert!(stdout(&dry).contains("A dry run: nothing was written."), "{}", stdout(&dry));
}

#[test]
fn slugs_are_those_of_julia() {
    let Some(julia) = julia("slugs of random versions") else { return };
    let code = r#"
        import Random
        for _ in 1:200
            uuid, tree = Base.UUID(rand(Random.RandomDevice(), UInt128)), Base.SHA1(rand(Random.RandomDevice(), UInt8, 20))
            println(join((uuid, tree, Base.version_slug(uuid, tree), Base.version_slug(uuid, tree, 4)), " "))
        end
    "#;
    let output = Command::new(julia).args(["--startup-file=no", "-e", code]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 200, "{text}{}", String::from_utf8_lossy(&output.stderr));
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let tree = words[1].trim_start_matches("SHA1(\"").trim_end_matches("\")");
        for (slug, length) in [(words[2], 5), (words[3], 4)] {
            assert_eq!(version_slug(words[0].parse().unwrap(), hash(tree), length), slug, "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_julia_installed_is_adopted_and_another_julia_installs_it_offline() {
    let Some(julia) = julia("adopt a depot and install from it") else { return };
    let scene = Scene::new().await;
    let folder = scene.folder.path();
    lay_out_project(folder, &julia);
    let upstream = scene.upstream.url();
    succeeds(pkg(&julia, folder, "depot", &upstream, INSTANTIATE)).await;
    drop(scene.upstream);

    let adopted = run(folder, &["adopt", "depot"]).await;
    assert_eq!(said(&adopted).0, Some(0), "{} {}", stdout(&adopted), said(&adopted).1);
    // A depot has the artifacts that its Julia chose; what else the packages name is named.
    let check = stdout(&run(folder, &["check", "project"]).await);
    let missing: Vec<_> = check.lines().filter(|line| line.starts_with("missing")).collect();
    assert!(missing.iter().all(|line| line.contains("artifact")), "{check}");

    let mut serve = command(folder);
    serve.args(["serve", "--offline", "--listen", "127.0.0.1:0"]);
    let serving = Serving::start(serve).await;
    let said = succeeds(pkg(&julia, folder, "empty", &serving.url, INSTANTIATE)).await;
    assert!(said.contains("LANTERN: ") && said.contains("/empty/packages/Lantern/"), "{said}");
    assert!(serving.stop(rustix::process::Signal::TERM).await.success());
    assert_eq!(stdout(&run(folder, &["misses"]).await), "", "nothing was asked for that is not here");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_in_a_folder_its_tarball_is_what_git_calls_it(sample in sample()) {
        let repository = Repository::new(&sample);
        let tree = repository.write_tree();
        let carried = Carried::new();
        fs::create_dir_all(carried.at("artifacts")).unwrap();
        fs::rename(repository.work_tree(), carried.at(format!("artifacts/{tree}"))).unwrap();
        let report = carried.adopt();
        prop_assert!(report.is_complete(), "{:?}", report.items);
        let mut file = fs::File::open(Store::open(&carried.cache()).unwrap().path(&Resource::Artifact { tree })).unwrap();
        let contents = hash_tar_gz(&mut file, &Limits::default(), |_| false).unwrap();
        prop_assert_eq!(contents.strict, tree);
    }
}
