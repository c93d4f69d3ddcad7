//! Packages that a manifest takes from a git repository: mirrored as git bundles outside, counted,
//! carried, and installed inside by a real client from a repository that was made of the bundle.

use crate::binary::{command, said, stdout};
use crate::julia_client::{julia, pkg, text};
use crate::support::{LONG, Scene, skip};
use fs_err as fs;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// What the manifest has, and `https` servers of these tests: no such host exists, and git rewrites
/// their addresses to folders.
const HOST: &str = "https://git.example.invalid/";
pub(crate) const URL: &str = "https://git.example.invalid/Acme/Own.jl.git";
pub(crate) const FILE: &str = "git/git.example.invalid/!acme/!own.jl.git.bundle";
pub(crate) const UUID: &str = "11111111-2222-4333-8444-555555555555";

/// An outside with a repository.
pub(crate) struct Outside {
    pub(crate) scene: Scene,
}

impl Outside {
    pub(crate) async fn new() -> Self {
        let outside = Self { scene: Scene::new().await };
        fs::create_dir_all(outside.repository()).unwrap();
        git(&outside.repository(), &["init", "-q", "-b", "main"]);
        outside.commit("1");
        fs::write(outside.path("gitconfig"), rewrites(&outside.path("origin"))).unwrap();
        outside
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scene.folder.path().join(name)
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.path("origin/Acme/Own.jl.git")
    }

    /// A new version of the package; returns its tree.
    pub(crate) fn commit(&self, version: &str) -> String {
        let repository = self.repository();
        fs::create_dir_all(repository.join("src")).unwrap();
        let project = format!("name = \"Own\"\nuuid = \"{UUID}\"\nversion = \"0.{version}.0\"\n");
        fs::write(repository.join("Project.toml"), project).unwrap();
        fs::write(repository.join("src/Own.jl"), format!("module Own\nversion() = {version}\nend\n")).unwrap();
        // Of what a checkout makes of it nothing depends.
        fs::write(repository.join(".gitattributes"), "* export-ignore\n").unwrap();
        git(&repository, &["add", "."]);
        git(&repository, &["commit", "-qm", version]);
        self.tree()
    }

    pub(crate) fn tree(&self) -> String {
        git(&self.repository(), &["rev-parse", "HEAD^{tree}"])
    }

    /// A manifest that names a tree of the repository.
    pub(crate) fn manifest(&self, url: &str, tree: &str) -> PathBuf {
        let path = self.path("project/Manifest.toml");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, manifest(url, tree)).unwrap();
        path
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[]).await
    }

    async fn run_with(&self, arguments: &[&str], environment: &[(&str, &Path)]) -> Output {
        let mut airlock = command(self.scene.folder.path());
        airlock.args(arguments).env("GIT_CONFIG_GLOBAL", self.path("gitconfig")).env("GIT_CONFIG_SYSTEM", "/dev/null");
        airlock.envs(environment.iter().copied());
        tokio::time::timeout(LONG, airlock.output()).await.unwrap().unwrap()
    }

    pub(crate) async fn prewarm(&self, more: &[&str]) -> (Option<i32>, Value) {
        let upstream = self.scene.upstream.url();
        let arguments = [&["prewarm", "--json", "--upstream", &upstream, "project"], more].concat();
        let output = self.run(&arguments).await;
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{:?}", said(&output)));
        (output.status.code(), report)
    }

    async fn check(&self) -> (Option<i32>, Value) {
        let output = self.run(&["check", "--json", "project"]).await;
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.path("cache").join(FILE)
    }
}

pub(crate) fn manifest(url: &str, tree: &str) -> String {
    format!(
        "[[Own]]\ngit-tree-sha1 = \"{tree}\"\nrepo-rev = \"main\"\nrepo-url = \"{url}\"\nuuid = \"{UUID}\"\n\
         version = \"0.1.0\"\n"
    )
}

/// A repository and a manifest that takes a package from it, below a folder.
pub(crate) fn lay_out(folder: &Path) {
    let repository = folder.join("origin/Acme/Own.jl.git");
    fs::create_dir_all(repository.join("src")).unwrap();
    git(&repository, &["init", "-q", "-b", "main"]);
    let project = format!("name = \"Own\"\nuuid = \"{UUID}\"\nversion = \"0.1.0\"\n");
    fs::write(repository.join("Project.toml"), project).unwrap();
    fs::write(repository.join("src/Own.jl"), "module Own\nend\n").unwrap();
    git(&repository, &["add", "."]);
    git(&repository, &["commit", "-qm", "1"]);
    fs::create_dir_all(folder.join("project")).unwrap();
    let tree = git(&repository, &["rev-parse", "HEAD^{tree}"]);
    fs::write(folder.join("project/Manifest.toml"), manifest(URL, &tree)).unwrap();
}

/// The bytes of a git bundle of such a repository.
pub(crate) fn git_bundle() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    lay_out(folder.path());
    git(&folder.path().join("origin/Acme/Own.jl.git"), &["bundle", "create", "-q", "x.bundle", "main"]);
    fs::read(folder.path().join("origin/Acme/Own.jl.git/x.bundle")).unwrap()
}

/// The lines of an admin: the addresses of the host lead to a folder.
pub(crate) fn rewrites(folder: &Path) -> String {
    format!("[url \"file://{}/\"]\n\tinsteadOf = {HOST}\n", folder.display())
}

pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new("git");
    command.args(["-c", "user.name=n", "-c", "user.email=e"]).args(arguments).current_dir(folder);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_package_is_asked_for_at_hosts_that_may_know_of_it_only() {
    let outside = Outside::new().await;
    outside.manifest(URL, &outside.tree());
    let refused = "[policy]\nprivate = ['Own']\n";
    let registry = "[[registry]]\ngit = 'https://git.example.invalid/Acme/Registry.git'\n";
    let own = "[[upstream]]\nurl = 'https://git.example.invalid'\npublic = false\n";
    let named = "private-hosts = ['GIT.example.invalid']\n";
    let other = "private-hosts = ['example.invalid']\n";
    let public = format!("[[upstream]]\nurl = '{}'\n", outside.scene.upstream.url());
    for (more, may) in [("", false), (other, false), (registry, true), (own, true), (named, true)] {
        // Without --upstream, which would take the place of the tables.
        fs::write(outside.path("airlock.toml"), format!("{refused}{more}{public}")).unwrap();
        let output = outside.run(&["prewarm", "--json", "project", "--git", "--attempts", "1"]).await;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{:?}", said(&output)));
        let repository = &report["repositories"][0];
        assert_eq!(outside.bundle().exists(), may, "{more}: {repository:#}");
        if may {
            fs::remove_file(outside.bundle()).unwrap();
        } else {
            assert_eq!(repository["status"], "denied", "{repository:#}");
            let why = repository["reason"].as_str().unwrap();
            assert!(why.contains("its repository is at \"git.example.invalid\""), "{why}");
            assert!(!outside.path("cache/.airlock/clones").exists(), "nobody was asked");
        }
    }
}

#[tokio::test]
async fn a_repository_is_mirrored_when_it_is_asked_for_and_then_counts() {
    let outside = Outside::new().await;
    let tree = outside.tree();
    outside.manifest(URL, &tree);
    let (code, report) = outside.prewarm(&[]).await;
    assert_eq!((code, report["unmirrorable"].as_array().map(Vec::len)), (Some(1), Some(1)));
    assert!(!outside.bundle().exists() && report["repositories"].as_array().unwrap().is_empty());
    let (code, report) = outside.prewarm(&["--git", "--dry-run"]).await;
    assert_eq!((code, &report["repositories"][0]["status"]), (Some(0), &"planned".into()));
    assert!(!outside.bundle().exists());

    let (code, report) = outside.prewarm(&["--git"]).await;
    let [repository] = &report["repositories"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!((code, &repository["status"]), (Some(0), &"fetched".into()), "{report}");
    let mut keys: Vec<_> = repository.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["bytes", "file", "missing", "packages", "reason", "status", "trees", "url"]);
    assert_eq!((&repository["url"], &repository["file"]), (&URL.into(), &FILE.into()));
    assert_eq!((&repository["trees"][0], &repository["packages"][0]), (&tree.as_str().into(), &"Own".into()));
    assert_eq!(repository["bytes"], fs::metadata(outside.bundle()).unwrap().len());
    assert!(report["unmirrorable"].as_array().unwrap().is_empty());
    git(&outside.path("cache"), &["clone", "-q", "--bare", FILE, "verified"]);

    let (code, report) = outside.prewarm(&[]).await;
    assert_eq!((code, &report["repositories"][0]["status"]), (Some(0), &"cached".into()), "it is here all the same");
}

#[tokio::test]
async fn a_repository_of_a_denied_package_is_not_fetched() {
    let outside = Outside::new().await;
    outside.manifest(URL, &outside.tree());
    for rule in ["Own".to_owned(), format!("uuid:{UUID}")] {
        fs::write(outside.path("airlock.toml"), format!("policy.fetch.deny = ['{rule}']\n")).unwrap();
        for more in [&["--git", "--dry-run"][..], &["--git"]] {
            let (_, report) = outside.prewarm(more).await;
            let repository = &report["repositories"][0];
            assert_eq!(repository["status"], "denied", "{report}");
            assert!(repository["reason"].as_str().unwrap().contains(&rule), "{report}");
        }
    }
    assert!(!outside.bundle().exists() && !outside.path("cache/.airlock/clones").exists());
}

#[tokio::test]
async fn a_file_is_made_again_only_for_what_it_lacks() {
    let outside = Outside::new().await;
    outside.manifest(URL, &outside.tree());
    let status = async || outside.prewarm(&["--git"]).await.1["repositories"][0]["status"].clone();
    assert_eq!(status().await, "fetched");
    let made = fs::metadata(outside.bundle()).unwrap().modified().unwrap();
    assert_eq!(status().await, "cached");
    assert_eq!(fs::metadata(outside.bundle()).unwrap().modified().unwrap(), made);
    let newer = outside.commit("2");
    assert_eq!(status().await, "fetched", "a newer commit on its branch");
    outside.manifest(URL, &newer);
    assert_eq!(status().await, "cached", "it has that tree already");
    git(&outside.repository(), &["branch", "release", "HEAD~1"]);
    assert_eq!([status().await, status().await], ["fetched", "cached"]);
    git(&outside.repository(), &["symbolic-ref", "HEAD", "refs/heads/release"]);
    assert_eq!([status().await, status().await], ["fetched", "cached"], "another branch is the default one");
    let copy = outside.path("copy");
    git(
        &outside.path("project"),
        &["clone", "-q", &outside.bundle().display().to_string(), &copy.display().to_string()],
    );
    assert_eq!(git(&copy, &["symbolic-ref", "--short", "HEAD"]), "release");
    git(&outside.repository(), &["checkout", "-q", "--detach", "main"]);
    assert_eq!([status().await, status().await], ["fetched", "cached"], "it is on no branch");
    git(&outside.repository(), &["checkout", "-q", "main"]);
    assert_eq!([status().await, status().await], ["cached", "cached"]);
    fs::rename(outside.repository(), outside.path("gone")).unwrap();
    let (code, report) = outside.prewarm(&["--git"]).await;
    let why = report["repositories"][0]["reason"].as_str().unwrap_or_default();
    assert!(code == Some(0) && why.contains("cannot be asked for anything newer"), "{report}");
    fs::write(outside.bundle(), "damaged").unwrap();
    fs::rename(outside.path("gone"), outside.repository()).unwrap();
    assert_eq!(status().await, "fetched");
}

#[tokio::test]
async fn what_was_pushed_over_is_a_failure_that_names_it_and_takes_nothing_away() {
    let outside = Outside::new().await;
    let gone = outside.tree();
    outside.manifest(URL, &gone);
    assert_eq!(outside.prewarm(&["--git"]).await.0, Some(0));
    let repository = outside.repository();
    git(&repository, &["checkout", "-q", "--orphan", "other"]);
    git(&repository, &["branch", "-qD", "main"]);
    git(&repository, &["checkout", "-q", "-b", "main"]);
    let now = outside.commit("2");
    let before = fs::read(outside.bundle()).unwrap();
    let (code, report) = outside.prewarm(&["--git"]).await;
    let why = report["repositories"][0]["reason"].as_str().unwrap_or_default();
    assert!(code == Some(1) && why.contains("pushed over") && why.contains(&gone), "{report}");
    assert!(fs::read(outside.bundle()).unwrap() == before);
    assert!(report["unmirrorable"].as_array().unwrap().is_empty(), "what the manifest wants is still here");

    // Another manifest may want what is there now: what this one needs does not go for it.
    outside.manifest(URL, &now);
    let (code, report) = outside.prewarm(&["--git"]).await;
    let why = report["repositories"][0]["reason"].as_str().unwrap_or_default();
    assert!(code == Some(1) && why.contains("no longer in the repository") && why.contains(&gone), "{report}");
    assert!(fs::read(outside.bundle()).unwrap() == before);

    outside.manifest(URL, &gone);
    fs::remove_dir_all(outside.path("cache/git")).unwrap();
    let (code, report) = outside.prewarm(&["--git"]).await;
    let why = report["repositories"][0]["reason"].as_str().unwrap_or_default();
    assert!(code == Some(1) && why.contains(&format!("tree {gone} is in no branch or tag")), "{report}");
    assert!(report["unmirrorable"][0]["repo_url"] == URL && !outside.bundle().exists());
    outside.manifest(URL, &now);
    assert_eq!(outside.prewarm(&["--git"]).await.0, Some(0));
}

#[tokio::test]
async fn a_repository_that_cannot_be_had_is_a_failure_without_its_password() {
    let outside = Outside::new().await;
    let url = "https://carrier:s3cret-word@git.example.invalid/Acme/Gone.jl.git";
    outside.manifest(url, &outside.tree());
    let output = outside.run(&["prewarm", "--git", "--upstream", &outside.scene.upstream.url(), "project"]).await;
    let (code, errors) = said(&output);
    let all = errors + &stdout(&output);
    assert!(code == Some(1) && all.contains("https://git.example.invalid/Acme/Gone.jl.git"), "{all}");
    assert!(!all.contains("s3cret-word"), "{all}");
    let report = outside.prewarm(&["--git"]).await.1.to_string() + &outside.check().await.1.to_string();
    assert!(!report.contains("s3cret-word") && !report.contains("carrier"), "{report}");
    for file in crate::secrets::files(&outside.path("cache")) {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        assert!(!(text + &file.to_string_lossy()).contains("s3cret-word"), "{}", file.display());
    }
}

#[tokio::test]
async fn a_manifest_cannot_have_a_folder_of_this_machine_carried_away() {
    let outside = Outside::new().await;
    for url in [outside.repository().display().to_string(), format!("file://{}", outside.repository().display())] {
        outside.manifest(&url, &outside.tree());
        let (code, report) = outside.prewarm(&["--git"]).await;
        assert_eq!((code, &report["repositories"][0]["status"]), (Some(1), &"failed".into()), "{report}");
        let why = report["repositories"][0]["reason"].as_str().unwrap();
        assert!(why.ends_with("a registry or a manifest must not name a folder of this machine"), "{why}");
        let (_, report) = outside.check().await;
        let remedy = report["problems"][0]["remedy"].as_str().unwrap();
        assert!(remedy.contains("put the repository on a git server") && !remedy.contains("prewarm"), "{report}");
    }
    assert!(!outside.path("cache/git").exists());
}

#[tokio::test]
async fn no_address_becomes_a_program_whatever_git_is_configured_to_do() {
    let outside = Outside::new().await;
    outside.manifest(URL, &outside.tree());
    let (program, ran) = (outside.path("program"), outside.path("ran"));
    fs::write(&program, format!("#!/bin/sh\ntouch {}\n", ran.display())).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let rewrites = format!("[protocol]\nallow = always\n[url \"ext::{} \"]\ninsteadOf = {HOST}\n", program.display());
    fs::write(outside.path("gitconfig"), rewrites).unwrap();
    let mut by_hand = std::process::Command::new("git");
    by_hand.args(["ls-remote", URL]).env("GIT_CONFIG_GLOBAL", outside.path("gitconfig"));
    assert!(!by_hand.output().unwrap().status.success() && ran.exists(), "git by itself would run it");
    fs::remove_file(&ran).unwrap();
    let (code, report) = outside.prewarm(&["--git"]).await;
    assert_eq!((code, report["repositories"][0]["status"].as_str()), (Some(1), Some("failed")), "{report:#}");
    assert!(!ran.exists());
}

#[tokio::test]
async fn a_repository_that_the_environment_points_to_is_left_alone() {
    let outside = Outside::new().await;
    outside.manifest(URL, &outside.tree());
    let other = outside.path("other.git");
    git(outside.scene.folder.path(), &["init", "-q", "--bare", "other.git"]);
    let upstream = outside.scene.upstream.url();
    let arguments = ["prewarm", "--json", "--git", "--upstream", &upstream, "project"];
    let environment = [("GIT_DIR", other.as_path()), ("GIT_OBJECT_DIRECTORY", other.as_path())];
    let output = outside.run_with(&arguments, &environment).await;
    assert_eq!(output.status.code(), Some(0), "{:?}", said(&output));
    assert!(outside.bundle().exists());
    assert_eq!(git(&other, &["count-objects"]), "0 objects, 0 kilobytes");
}

#[tokio::test]
async fn check_tells_what_needs_git_inside_from_what_is_missing() {
    let outside = Outside::new().await;
    outside.manifest(URL, &outside.tree());
    outside.prewarm(&[]).await;
    let (code, report) = outside.check().await;
    assert_eq!((code, &report["problems"][0]["kind"]), (Some(1), &"git".into()), "{report}");
    outside.prewarm(&["--git"]).await;
    let (code, report) = outside.check().await;
    assert_eq!((code, report["problems"].as_array().map(Vec::len)), (Some(0), Some(0)), "{report}");
    assert_eq!((&report["notes"][0]["kind"], &report["notes"][0]["file"]), (&"needs-git".into(), &FILE.into()));
    let shown = stdout(&outside.run(&["check", "project"]).await);
    assert!(shown.contains("it needs git inside") && shown.contains("1 need git inside"), "{shown}");
    let status: Value = serde_json::from_slice(&outside.run(&["status", "--json"]).await.stdout).unwrap();
    assert_eq!(status["repositories"]["files"], 1);

    // A copy that came by other means is looked into before it counts, and again when it changes.
    fs::remove_file(outside.path("cache/.airlock/repositories.jsonl")).unwrap();
    assert_eq!(outside.check().await.0, Some(0));
    let mut bytes = fs::read(outside.bundle()).unwrap();
    let middle = bytes.len() - 40;
    bytes[middle] ^= 1;
    fs::write(outside.bundle(), bytes).unwrap();
    assert_eq!(outside.check().await.0, Some(1));
}

#[tokio::test]
async fn gc_keeps_what_a_manifest_needs_and_offers_the_rest() {
    let outside = Outside::new().await;
    outside.manifest(URL, &outside.tree());
    outside.prewarm(&["--git"]).await;
    let other = outside.path("cache/git/other.example.org/x.bundle");
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::copy(outside.bundle(), &other).unwrap();
    let gc = async |arguments: &[&str]| outside.run(&[&["gc", "--json"], arguments].concat()).await;
    let all: Value = serde_json::from_slice(&gc(&["--yes"]).await.stdout).unwrap();
    assert_eq!(all["repositories"].as_array().map(Vec::len), Some(0), "without a manifest all stay");
    let report: Value = serde_json::from_slice(&gc(&["--yes", "project"]).await.stdout).unwrap();
    let gone: Vec<_> = report["repositories"].as_array().unwrap().iter().map(|it| &it["file"]).collect();
    assert_eq!(gone, ["git/other.example.org/x.bundle"], "{report}");
    assert!(outside.bundle().exists() && !other.parent().unwrap().exists());
}

#[tokio::test]
async fn rsync_takes_them_along_and_nothing_else_of_their_folder() {
    let outside = Outside::new().await;
    outside.manifest(URL, &outside.tree());
    outside.prewarm(&["--git"]).await;
    let stray = [".hidden.bundle", "note.txt", "x.bundle.abc", "d.bundle/file.bundle"];
    for name in stray {
        let path = outside.path("cache/git/git.example.invalid").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/rsync-cache.sh");
    let copied = std::process::Command::new(script).args(["cache", "inside"]).current_dir(outside.path("")).output();
    let copied = copied.unwrap();
    if String::from_utf8_lossy(&copied.stderr).contains("no rsync") {
        return skip("rsync: git bundles cross");
    }
    assert!(copied.status.success(), "{copied:?}");
    assert!(fs::read(outside.path("inside").join(FILE)).unwrap() == fs::read(outside.bundle()).unwrap());
    for name in stray {
        assert!(!outside.path("inside/git/git.example.invalid").join(name).exists(), "{name}");
    }
    let check = outside.run(&["check", "--cache", "inside", "project"]).await;
    assert_eq!(check.status.code(), Some(0), "{}", stdout(&check));
}

const INSTANTIATE: &str = r#"
    using Pkg
    Pkg.activate("project")
    Pkg.instantiate()
    using Own
    println("OWN: ", Own.version())
"#;

/// What an admin inside does with the files, as the documentation has it.
fn serve_from_bundles(cache: &Path, to: &Path) {
    let script = r#"
        find git -name '*.bundle' | while read -r file; do
          path=$(printf %s "${file#git/}" | sed 's/\.bundle$//; s/!\(.\)/\u\1/g')
          git clone -q --mirror "$file" "$TO/$path"
        done
    "#;
    let mut shell = std::process::Command::new("sh");
    shell.args(["-ec", script]).current_dir(cache).env("TO", to);
    assert!(shell.status().unwrap().success());
}

#[tokio::test]
async fn a_real_client_inside_instantiates_from_a_repository_that_was_made_of_the_bundle() {
    let Some(julia) = julia("instantiate from a git bundle") else { return };
    let outside = Outside::new().await;
    outside.manifest(URL, &outside.tree());
    outside.commit("2");
    assert_eq!(outside.prewarm(&["--git"]).await.0, Some(0));
    let inside = TempDir::new().unwrap();
    serve_from_bundles(&outside.path("cache"), &inside.path().join("srv"));
    fs::remove_dir_all(outside.path("origin")).unwrap();
    fs::create_dir(inside.path().join("project")).unwrap();
    fs::copy(outside.path("project/Manifest.toml"), inside.path().join("project/Manifest.toml")).unwrap();
    let project = format!("[deps]\nOwn = \"{UUID}\"\n");
    fs::write(inside.path().join("project/Project.toml"), project).unwrap();
    let home = inside.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join(".gitconfig"), rewrites(&inside.path().join("srv/git.example.invalid"))).unwrap();
    let mut pkg = pkg(&julia, inside.path(), "depot", &outside.scene.upstream.url(), INSTANTIATE);
    pkg.env("HOME", &home).env("JULIA_PKG_USE_CLI_GIT", "true");
    let output = tokio::time::timeout(LONG * 5, pkg.output()).await.unwrap().unwrap();
    assert!(text(&output).contains("OWN: 1"), "{}", text(&output));
}

#[tokio::test]
async fn verify_sets_a_damaged_git_bundle_aside_and_repair_says_what_brings_it_back() {
    let outside = Outside::new().await;
    outside.manifest(URL, &outside.tree());
    outside.prewarm(&["--git"]).await;
    let verify = async |arguments: &[&str]| {
        let output = outside.run(&[&["verify", "--json"], arguments].concat()).await;
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap(), said(&output).1)
    };
    let (code, report, _) = verify(&["git"]).await;
    assert_eq!((code, &report["checked"]), (Some(0), &1.into()), "{report}");
    let mut bytes = fs::read(outside.bundle()).unwrap();
    let middle = bytes.len() - 40;
    bytes[middle] ^= 1;
    fs::write(outside.bundle(), &bytes).unwrap();
    let (code, report, _) = verify(&["--dry-run"]).await;
    assert_eq!((code, &report["repositories"][0]["quarantine"]), (Some(1), &Value::Null), "{report}");
    let (code, report, _) = verify(&["registry"]).await;
    assert_eq!((code, &report["repositories"]), (Some(0), &Value::Array(Vec::new())), "it is not of that part");
    let upstream = outside.scene.upstream.url();
    let output = outside.run(&["verify", "--repair", "--upstream", &upstream]).await;
    let (code, text) = said(&output);
    assert!(code == Some(1) && text.contains("airlock prewarm --git MANIFEST"), "{text}");
    assert!(stdout(&output).contains(&format!("damaged: {FILE}: ")), "{}", stdout(&output));
    assert!(!outside.bundle().exists());
    let quarantined = fs::read_dir(outside.path("cache/.airlock/quarantine")).unwrap().count();
    assert_eq!((quarantined, verify(&[]).await.0), (1, Some(0)));
    assert_eq!(outside.prewarm(&["--git"]).await.1["repositories"][0]["status"], "fetched");
}
