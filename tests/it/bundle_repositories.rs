//! Git bundles of repositories in bundles: from a real repository outside into a cache inside, what is
//! left out because it is there, and that nothing that is there gets lost.

use crate::binary::{command, run, said, stdout};
use crate::bundle_export::unpack;
use crate::bundle_import::pack::Packing;
use crate::git_packages::{FILE, Outside, URL, git};
use crate::support::LONG;
use airlock::exchange::{BundleIndex, Request};
use airlock::protocol::{RepositoryFile, TreeHash};
use airlock::sample::Site;
use airlock::store::Store;
use fs_err as fs;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The closed side.
struct Inside {
    folder: TempDir,
}

impl Inside {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn run(&self, arguments: &[&str]) -> (Option<i32>, Value, String) {
        let output = run(self.folder.path(), arguments).await;
        let (code, said) = said(&output);
        (code, serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
    }

    /// Imports one file; the exit code, what came of the bundle, and what was said.
    async fn import(&self, file: &Path) -> (Option<i32>, Value, String) {
        let (code, report, said) = self.run(&["bundle", "import", "--json", file.to_str().unwrap()]).await;
        (code, report["bundles"][0].clone(), said)
    }

    fn bundle(&self) -> PathBuf {
        self.path("cache").join(FILE)
    }

    /// Whether a plain `git clone` of the file has a tree.
    fn clone_has(&self, tree: &str) -> bool {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["clone", "-q", "--bare", self.bundle().to_str().unwrap(), "clone"]);
        let mut find = std::process::Command::new("git");
        find.args(["cat-file", "-e", &format!("{tree}^{{tree}}")]).current_dir(folder.path().join("clone"));
        find.output().unwrap().status.success()
    }

    fn store(&self) -> Store {
        Store::open(&self.path("cache")).unwrap()
    }
}

impl Outside {
    /// An outside with the repository mirrored for its manifest.
    async fn mirrored() -> Self {
        let outside = Self::new().await;
        outside.mirror(&outside.tree()).await;
        outside
    }

    /// Mirrors the repository as a manifest wants it.
    async fn mirror(&self, tree: &str) {
        self.manifest(URL, tree);
        let (code, report) = self.prewarm(&["--git"]).await;
        assert_eq!(code, Some(0), "{report}");
    }

    /// Exports, and expects all to be well.
    async fn export(&self, file: &str, more: &[&str]) -> (PathBuf, Value) {
        let arguments = [&["bundle", "export", "--json", "--no-fetch", file], more].concat();
        let output = self.run(&arguments).await;
        assert_eq!(output.status.code(), Some(0), "{more:?}: {:?} {}", said(&output), stdout(&output));
        (self.path(file), serde_json::from_slice(&output.stdout).unwrap())
    }

    fn index(&self, file: &str) -> BundleIndex {
        BundleIndex::parse(&fs::read(unpack(&self.scene, &[file]).join("bundle.json")).unwrap()).unwrap()
    }
}

fn tree(text: &str) -> TreeHash {
    text.parse().unwrap()
}

fn file() -> RepositoryFile {
    FILE.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_git_bundle_crosses_in_a_signed_bundle_and_is_cloned_inside() {
    let (outside, inside) = (Outside::mirrored().await, Inside::new());
    let made = outside.run(&["bundle", "keygen", "--no-password", "k"]).await;
    assert!(made.status.success(), "{:?}", said(&made));
    let (_, planned) = outside.export("p.tar", &["--dry-run", "project"]).await;
    assert_eq!(planned["repositories"], serde_json::json!([FILE]));
    let (volume, exported) = outside.export("b.tar", &["--sign", "k.key", "project"]).await;
    assert_eq!(
        (&exported["repositories"], &exported["uncarried"]),
        (&serde_json::json!([FILE]), &Value::from([""; 0]))
    );

    // Without airlock: tar, sha256sum, and a cache.
    let folder = unpack(&outside.scene, &["b.tar"]);
    assert!(fs::read(folder.join(FILE)).unwrap() == fs::read(outside.bundle()).unwrap());
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    assert!(sums.contains(&format!("  {FILE}\n")), "{sums}");
    let sbom: Value = serde_json::from_slice(&fs::read(folder.join("sbom.cdx.json")).unwrap()).unwrap();
    let component = sbom["components"].as_array().unwrap().iter().find(|it| it["name"] == FILE).unwrap();
    assert_eq!((&component["externalReferences"][0]["url"], &component["type"]), (&URL.into(), &"file".into()));
    fs::create_dir_all(folder.join("project")).unwrap();
    fs::copy(outside.path("project/Manifest.toml"), folder.join("project/Manifest.toml")).unwrap();
    let plain = run(&folder, &["check", "--json", "--cache", ".", "project"]).await;
    let plain: Value = serde_json::from_slice(&plain.stdout).unwrap();
    assert_eq!(plain["notes"][0]["kind"], "needs-git", "{plain}");

    // What people see before they let it in.
    let volume_text = volume.to_str().unwrap();
    let (code, inspected, _) = inside.run(&["bundle", "inspect", "--verify", "--json", volume_text]).await;
    let repository = &inspected["bundles"][0]["repositories"][0];
    assert_eq!((code, &repository["file"], &repository["packages"][0]), (Some(0), &FILE.into(), &"Own".into()));
    let shown = stdout(&run(inside.folder.path(), &["bundle", "inspect", volume_text]).await);
    assert!(shown.contains(&format!("has {FILE}, for Own")) && shown.contains("1 git bundles"), "{shown}");
    let sheet = stdout(&run(inside.folder.path(), &["bundle", "report", volume_text]).await);
    assert!(sheet.contains("## Git bundles of repositories") && sheet.contains(&outside.tree()), "{sheet}");
    let html = run(inside.folder.path(), &["bundle", "report", "--html", "sheet.html", volume_text]).await;
    assert!(html.status.success() && fs::read_to_string(inside.path("sheet.html")).unwrap().contains(FILE));

    let key = fs::read_to_string(outside.path("k.pub")).unwrap().lines().last().unwrap().to_owned();
    fs::write(inside.path("airlock.toml"), format!("[bundle]\ntrusted-keys = ['{key}']\n")).unwrap();
    let (code, came, said) = inside.import(&volume).await;
    assert_eq!((code, &came["signature"]["status"]), (Some(0), &"trusted".into()), "{came} {said}");
    assert_eq!((&came["repositories"], &came["imported"]), (&1.into(), &came["resources"]));
    assert!(inside.clone_has(&outside.tree()));
    fs::create_dir_all(inside.path("project")).unwrap();
    fs::copy(outside.path("project/Manifest.toml"), inside.path("project/Manifest.toml")).unwrap();
    let (code, report, _) = inside.run(&["check", "--json", "project"]).await;
    assert_eq!((code, &report["notes"][0]["kind"]), (Some(0), &"needs-git".into()), "{report}");

    let before = fs::metadata(inside.bundle()).unwrap().modified().unwrap();
    let (code, came, _) = inside.import(&volume).await;
    assert_eq!((code, &came["here"]), (Some(0), &came["resources"]), "{came}");
    assert_eq!(fs::metadata(inside.bundle()).unwrap().modified().unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_names_what_is_not_mirrored_and_takes_all_that_is_without_a_manifest() {
    let outside = Outside::new().await;
    outside.manifest(URL, &outside.tree());
    outside.prewarm(&[]).await;
    let export = async || {
        let output = outside.run(&["bundle", "export", "--json", "--no-fetch", "x.tar", "--force", "project"]).await;
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let (code, report) = export().await;
    assert_eq!((code, &report["uncarried"][0]["kind"]), (Some(1), &"git".into()), "{report}");
    assert!(report["uncarried"][0]["why"].as_str().unwrap().contains("not mirrored here"), "{report}");
    outside.mirror(&outside.tree()).await;
    let newer = outside.commit("2");
    outside.manifest(URL, &newer);
    let (code, report) = export().await;
    let why = report["uncarried"][0]["why"].as_str().unwrap_or_default();
    assert!(code == Some(1) && why.contains("lacks what is wanted"), "{report}");
    assert_eq!(report["repositories"], serde_json::json!([FILE]), "it has what another manifest may want");
    outside.export("all.tar", &[]).await;
    let entry = &outside.index("all.tar").repositories[0];
    assert_eq!((entry.file.clone(), entry.url.clone(), entry.trees.len()), (file(), None, 1));
    fs::write(outside.bundle(), "damaged").unwrap();
    let (code, report) = export().await;
    let why = report["uncarried"][0]["why"].as_str().unwrap_or_default();
    assert!(code == Some(1) && why.contains("is damaged here"), "{report}");
    assert_eq!(report["repositories"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_has_no_room_in_a_header_crosses_all_the_same() {
    let (outside, inside) = (Outside::mirrored().await, Inside::new());
    let long = format!("git/h/{}/{}.bundle", "!a".repeat(100), "b".repeat(240));
    let to = outside.path("cache").join(&long);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(outside.bundle(), &to).unwrap();
    let (volume, exported) = outside.export("b.tar", &[]).await;
    assert_eq!(exported["repositories"].as_array().map(Vec::len), Some(2));
    assert!(unpack(&outside.scene, &["b.tar"]).join(&long).exists());
    let (code, came, said) = inside.import(&volume).await;
    assert_eq!(code, Some(0), "{came} {said}");
    assert!(fs::read(inside.path("cache").join(&long)).unwrap() == fs::read(outside.bundle()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_has_no_room_for_a_git_bundle_is_refused_with_the_size_that_has() {
    let outside = Outside::new().await;
    let mut state = 1_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let noise: Vec<u8> = (0..200_000).flat_map(|_| noise()).collect();
    fs::write(outside.repository().join("noise"), noise).unwrap();
    git(&outside.repository(), &["add", "."]);
    git(&outside.repository(), &["commit", "-qm", "noise"]);
    outside.mirror(&outside.tree()).await;
    let export = async |size: &str| {
        outside.run(&["bundle", "export", "--no-fetch", "--volume-size", size, "x.tar", "project"]).await
    };
    let (code, text) = said(&export("300000").await);
    assert!(code == Some(2) && text.contains(FILE) && text.contains("--volume-size must be at least"), "{text}");
    let least = text.rsplit_once("at least ").unwrap().1.trim().to_owned();
    let output = export(&least).await;
    assert_eq!(output.status.code(), Some(0), "{least}: {:?}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_side_has_is_left_out_and_what_is_new_comes_in_its_place() {
    let (outside, inside) = (Outside::mirrored().await, Inside::new());
    let first = outside.tree();
    let (old, _) = outside.export("1.tar", &["project"]).await;
    assert_eq!(inside.import(&old).await.0, Some(0));
    let request = async || {
        let (code, summary, said) = inside.run(&["request", "export", "--json", "request.json"]).await;
        assert_eq!((code, &summary["inventory"]["repositories"]), (Some(0), &1.into()), "{said}");
        Request::parse(&fs::read(inside.path("request.json")).unwrap()).unwrap()
    };
    assert_eq!(request().await.repositories, [(file(), [tree(&first)].into())].into());
    let asked = inside.path("request.json");
    let asked = asked.to_str().unwrap();
    let (left, report) = outside.export("2.tar", &["--for", asked, "project"]).await;
    assert_eq!((&report["repositories"], &report["complete"]), (&serde_json::json!([]), &true.into()), "{report}");
    let index = outside.index("2.tar");
    assert_eq!(index.builds_on.repositories, [(file(), [tree(&first)].into())].into());
    assert_eq!(inside.import(&left).await.0, Some(0));
    // Where it is not, the bundle says what it builds on.
    let other = Inside::new();
    let (code, came, said) = other.import(&left).await;
    assert!(code == Some(1) && came["base_missing"].as_array().unwrap().contains(&FILE.into()), "{came} {said}");

    let second = outside.commit("2");
    outside.mirror(&second).await;
    let (new, report) = outside.export("3.tar", &["--for", asked, "project"]).await;
    assert_eq!(report["repositories"], serde_json::json!([FILE]), "a tree is new");
    let (code, came, said) = inside.import(&new).await;
    assert_eq!((code, &came["imported"]), (Some(0), &1.into()), "{came} {said}");
    assert!(inside.clone_has(&first) && inside.clone_has(&second));
    assert_eq!(request().await.repositories, [(file(), [tree(&first), tree(&second)].into())].into());
    let before = fs::read(inside.bundle()).unwrap();
    let (code, came, _) = inside.import(&old).await;
    assert_eq!((code, &came["imported"]), (Some(0), &0.into()), "an earlier one has nothing new: {came}");
    assert!(fs::read(inside.bundle()).unwrap() == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_commits_come_in_without_a_new_tree_and_an_older_file_takes_none_back() {
    let (outside, inside) = (Outside::mirrored().await, Inside::new());
    let first = outside.tree();
    let (old, _) = outside.export("1.tar", &["project"]).await;
    assert_eq!(inside.import(&old).await.0, Some(0));
    // The manifest is as it was; the branch has moved.
    let second = outside.commit("2");
    outside.mirror(&first).await;
    let (new, _) = outside.export("2.tar", &["project"]).await;
    let (code, came, said) = inside.import(&new).await;
    assert_eq!((code, &came["imported"]), (Some(0), &1.into()), "{came} {said}");
    assert!(inside.clone_has(&second));
    let (code, came, said) = inside.import(&old).await;
    assert_eq!((code, &came["imported"]), (Some(0), &0.into()), "{came} {said}");
    assert!(inside.clone_has(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_inside_that_has_what_another_lacks_stays_and_that_is_said() {
    let (outside, inside) = (Outside::mirrored().await, Inside::new());
    let first = outside.tree();
    let (one, _) = outside.export("1.tar", &["project"]).await;
    assert_eq!(inside.import(&one).await.0, Some(0));
    let before = fs::read(inside.bundle()).unwrap();
    // The history is pushed over, and the mirror begins anew.
    let repository = outside.repository();
    git(&repository, &["checkout", "-q", "--orphan", "other"]);
    git(&repository, &["branch", "-qD", "main"]);
    git(&repository, &["checkout", "-q", "-b", "main"]);
    let second = outside.commit("2");
    fs::remove_dir_all(outside.path("cache/git")).unwrap();
    fs::remove_dir_all(outside.path("cache/.airlock/clones")).unwrap();
    outside.mirror(&second).await;
    let (two, _) = outside.export("2.tar", &["project"]).await;
    for _ in 0..2 {
        let (code, came, said) = inside.import(&two).await;
        let why = came["kept"][0]["why"].as_str().unwrap_or_default();
        assert!(code == Some(1) && why.contains(&first) && why.contains(&second), "{came} {said}");
        assert_eq!((&came["kept"][0]["file"], &came["complete"]), (&FILE.into(), &false.into()));
        assert!(said.contains(FILE) && said.contains("Move it away"), "{said}");
        assert!(fs::read(inside.bundle()).unwrap() == before);
    }
    fs::remove_file(inside.bundle()).unwrap();
    assert_eq!(inside.import(&two).await.0, Some(0));
    assert!(inside.clone_has(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_inside_gives_way() {
    let (outside, inside) = (Outside::mirrored().await, Inside::new());
    let (one, _) = outside.export("1.tar", &["project"]).await;
    assert_eq!(inside.import(&one).await.0, Some(0));
    let mut bytes = fs::read(inside.bundle()).unwrap();
    let middle = bytes.len() - 40;
    bytes[middle] ^= 1;
    fs::write(inside.bundle(), bytes).unwrap();
    let (code, came, said) = inside.import(&one).await;
    assert_eq!((code, &came["imported"]), (Some(0), &1.into()), "{came} {said}");
    assert!(inside.clone_has(&outside.tree()));
}

#[tokio::test(flavor = "multi_thread")]
async fn since_and_overlap_hold_for_git_bundles_too() {
    let outside = Outside::mirrored().await;
    let (_, report) = outside.export("1.tar", &["--since", "2101-01-01", "project"]).await;
    assert_eq!(report["repositories"], serde_json::json!([]));
    assert!(outside.index("1.tar").builds_on.repositories.contains_key(&file()));
    outside.export("2.tar", &["project"]).await;
    let (_, report) = outside.export("3.tar", &["--since", "2101-01-01", "--overlap", "1", "project"]).await;
    assert_eq!((&report["repositories"], &report["repeats"]), (&serde_json::json!([FILE]), &serde_json::json!([2])));
    let index = outside.index("3.tar");
    assert!(index.builds_on.repositories.is_empty() && index.repositories[0].packages.contains("Own"));
    fs::remove_file(outside.bundle()).unwrap();
    let arguments = ["bundle", "export", "--json", "--no-fetch", "--overlap", "1", "4.tar"];
    let report: Value = serde_json::from_slice(&outside.run(&arguments).await.stdout).unwrap();
    assert_eq!((&report["repeats"], &report["uncarried"][0]["what"]), (&serde_json::json!([]), &FILE.into()));
}

/// A bundle of the sample with a git bundle in its last volume.
async fn packed(volumes: u32) -> (Outside, Packing) {
    let outside = Outside::mirrored().await;
    let bytes = fs::read(outside.bundle()).unwrap();
    let packing = Packing::of(&Site::sample().unwrap(), volumes).with(FILE, &bytes, &[tree(&outside.tree())]);
    (outside, packing)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_costs_the_git_bundle_which_is_named() {
    let (outside, packing) = packed(2).await;
    let at = packing.offset_of_repository(FILE);
    for (at, verified) in [(at + 100, true), (at - 500, true), (at - 512 + 124, true)] {
        let inside = Inside::new();
        let files = packing.write(inside.folder.path());
        let mut bytes = fs::read(&files[1]).unwrap();
        bytes[at] ^= 1;
        fs::write(&files[1], &bytes).unwrap();
        let both = [files[0].to_str().unwrap(), files[1].to_str().unwrap()];
        let import = async || inside.run(&[&["bundle", "import", "--json"][..], &both].concat()).await;
        let (code, report, said) = import().await;
        let bundle = &report["bundles"][0];
        assert_eq!((code, bundle["problems"].as_array().map(Vec::len)), (Some(1), Some(1)), "{report} {said}");
        let problem = &bundle["problems"][0];
        assert_eq!((&problem["kind"], &problem["resource"]), (&"damaged".into(), &FILE.into()));
        assert_eq!((&problem["name"], &bundle["registries"][0]["status"]), (&"Own".into(), &"held-back".into()));
        assert!(said.contains("carry that volume again") && !inside.path("cache/git").exists(), "{said}");
        let inspected = inside.run(&[&["bundle", "inspect", "--verify", "--json"][..], &both].concat()).await;
        assert_eq!((inspected.0 == Some(1), verified), (true, true));
        bytes[at] ^= 1;
        fs::write(&files[1], &bytes).unwrap();
        let (code, report, said) = import().await;
        assert_eq!(code, Some(0), "{report} {said}");
        assert!(inside.clone_has(&outside.tree()));
        assert_eq!(fs::read_dir(inside.path("cache/.airlock/tmp")).unwrap().count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_volume_is_named_and_the_next_run_with_it_completes() {
    let (outside, packing) = packed(2).await;
    let inside = Inside::new();
    let files = packing.write(inside.folder.path());
    let (code, came, said) = inside.import(&files[0]).await;
    let lacking = came["problems"].as_array().unwrap().iter().find(|it| it["resource"] == FILE).unwrap();
    assert_eq!((code, &lacking["kind"]), (Some(1), &"lacking".into()), "{came} {said}");
    let (code, came, said) = inside.import(&files[1]).await;
    assert_eq!((code, &came["complete"]), (Some(0), &true.into()), "{came} {said}");
    let (code, came, _) = inside.import(&files[0]).await;
    assert_eq!((code, &came["here"]), (Some(0), &came["resources"]), "without its volume it is known to be here");
    assert!(inside.clone_has(&outside.tree()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_packed_as_it_is_and_is_no_good_git_bundle_is_refused() {
    let (outside, _) = packed(1).await;
    let good = fs::read(outside.bundle()).unwrap();
    let mut rotten = good.clone();
    let middle = rotten.len() - 40;
    rotten[middle] ^= 1;
    let absent = TreeHash::from_bytes([7; 20]);
    let builds_on = [b"# v2 git bundle\n-", "a".repeat(40).as_bytes(), b" x\n\n", &good[..]].concat();
    for (bytes, trees, says) in [
        (&b"no git bundle"[..], &[][..], "ends in its head"),
        (b"", &[], "ends in its head"),
        (&good[..good.len() / 2], &[], "not a git bundle that can be used"),
        (&rotten, &[], "not a git bundle that can be used"),
        (&builds_on, &[], "builds on commits"),
        (&good, &[absent], "which bundle.json names, is not in it"),
    ] {
        let inside = Inside::new();
        let packing = Packing::of(&Site::sample().unwrap(), 1).with(FILE, bytes, trees);
        let (code, came, said) = inside.import(&packing.write(inside.folder.path())[0]).await;
        let problem = &came["problems"][0];
        assert_eq!((code, &problem["kind"], &problem["resource"]), (Some(1), &"wrong".into(), &FILE.into()), "{came}");
        assert!(problem["why"].as_str().unwrap().contains(says), "{problem}");
        assert!(said.contains("were packed as they are"), "{said}");
        assert!(!inside.bundle().exists());
        assert_eq!(inside.store().repositories().unwrap().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_side_by_side_lose_nothing() {
    let outside = Outside::mirrored().await;
    let (one, _) = outside.export("1.tar", &["project"]).await;
    let second = outside.commit("2");
    outside.mirror(&second).await;
    let (two, _) = outside.export("2.tar", &["project"]).await;
    for (first, other) in [(&one, &two), (&two, &one)] {
        let inside = Inside::new();
        let start = |file: &Path| {
            let mut import = command(inside.folder.path());
            import.args(["bundle", "import"]).arg(file);
            import.spawn().unwrap()
        };
        let (a, b) = (start(first), start(other));
        let both = async { (a.wait_with_output().await.unwrap(), b.wait_with_output().await.unwrap()) };
        let (a, b) = tokio::time::timeout(LONG, both).await.unwrap();
        assert!(a.status.code().is_some() && b.status.code().is_some());
        assert!(inside.clone_has(&second), "{:?} {:?}", said(&a), said(&b));
        let store = inside.store();
        let stamp = store.repository_stamp(&file()).unwrap().unwrap();
        assert!(store.repository_finding(&file(), stamp).unwrap().trees.contains(&tree(&second)));
    }
}
