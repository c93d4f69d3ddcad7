//! Clones of repositories that the real `git` makes on this machine.

mod healing;
mod refusals;
mod trees;

use super::{BareClone, Bounds, Clones, Refs, Trust};
use crate::protocol::TreeHash;
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A repository with a work tree, and a folder of clones.
struct Scene {
    folder: TempDir,
    clones: Clones,
}

impl Scene {
    fn new() -> Self {
        Self::with(Bounds::default())
    }

    fn with(bounds: Bounds) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clones = Clones::new(folder.path().join("clones"), bounds);
        let scene = Self { folder, clones };
        fs::create_dir_all(scene.work()).unwrap();
        scene.git(&["init", "--quiet", "-b", "main"]);
        // As the public servers do.
        scene.git(&["config", "uploadpack.allowFilter", "true"]);
        scene
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("Work.jl")
    }

    fn url(&self) -> String {
        format!("file://{}", self.work().display())
    }

    fn clone(&self) -> BareClone {
        self.clones.open(&self.url(), Trust::Configured).unwrap()
    }

    fn git(&self, arguments: &[&str]) -> String {
        git(&self.work(), arguments)
    }

    fn write(&self, path: &str, content: &str) {
        let file = self.work().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    /// Commits all there is and returns its tree.
    fn commit(&self) -> TreeHash {
        self.git(&["add", "--all", "--force", "."]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "x"]);
        self.tree("HEAD^{tree}")
    }

    fn tree(&self, name: &str) -> TreeHash {
        self.git(&["rev-parse", name]).trim().parse().unwrap()
    }
}

/// Runs git as nobody in particular.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "core.autocrlf=false", "-c", "core.quotePath=false"]).args(arguments).current_dir(folder);
    for (name, value) in [("NAME", "a"), ("EMAIL", "a@example.org"), ("DATE", "2020-01-01T00:00:00Z")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null").stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn packed(clone: &BareClone, tree: TreeHash) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(clone.pack(tree, &mut out, 6).unwrap().strict, tree);
    out
}

fn packs(clone: &BareClone) -> Vec<PathBuf> {
    let files = fs::read_dir(clone.folder().join("objects/pack")).unwrap();
    files.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "pack")).collect()
}

/// Blobs that are in the clone.
fn blobs(clone: &BareClone) -> usize {
    let all = git(clone.folder(), &["cat-file", "--batch-check=%(objecttype)", "--batch-all-objects"]);
    all.lines().filter(|line| *line == "blob").count()
}

#[test]
fn a_clone_is_blobless_and_gets_the_files_of_one_tree_at_once() {
    let scene = Scene::new();
    scene.write("src/A.jl", "one");
    scene.write("README", "one");
    let old = scene.commit();
    scene.write("src/A.jl", "two");
    let new = scene.commit();
    let clone = scene.clone();
    assert!(!clone.has_tree(new) && !clone.folder().exists(), "nothing happens before it must");
    clone.ensure_tree(new, None).unwrap();
    assert!(clone.has_tree(old) && clone.has_tree(new));
    assert_eq!(blobs(&clone), 0);
    assert_eq!(packs(&clone).len(), 1);
    packed(&clone, new);
    assert_eq!(blobs(&clone), 2, "of the other tree none");
    assert_eq!(packs(&clone).len(), 2, "in one request");
    assert_eq!(clone.read_file(new, "src/A.jl").unwrap().as_deref(), Some(b"two".as_slice()));
    assert_eq!(clone.read_file(new, "src/B.jl").unwrap(), None);
    assert_eq!(clone.read_file(new, "src").unwrap(), None);
}

#[test]
fn a_server_without_filters_gives_all() {
    let scene = Scene::new();
    scene.git(&["config", "uploadpack.allowFilter", "false"]);
    scene.write("a", "x");
    let tree = scene.commit();
    let clone = scene.clone();
    clone.ensure_tree(tree, None).unwrap();
    assert_eq!(blobs(&clone), 1);
    packed(&clone, tree);
}

#[test]
fn a_server_that_gives_no_object_by_name_gives_all_of_them() {
    let scene = Scene::new();
    // The old protocol knows filters, but only what a reference names may be asked for.
    scene.write("a", "x");
    let tree = scene.commit();
    let clone = scene.clone();
    clone.ensure_tree(tree, None).unwrap();
    assert_eq!(blobs(&clone), 0);
    git(clone.folder(), &["config", "protocol.version", "0"]);
    packed(&clone, tree);
    assert!(clone.is_full());
}

#[test]
fn branches_tags_and_folders_have_trees() {
    let scene = Scene::new();
    scene.write("lib/A/a", "x");
    let tree = scene.commit();
    scene.git(&["tag", "-a", "-m", "x", "v1.0.0"]);
    scene.git(&["checkout", "--quiet", "-b", "other/one"]);
    scene.write("b", "x");
    let other = scene.commit();
    scene.git(&["checkout", "--quiet", "main"]);
    let clone = scene.clone();
    clone.fetch(Refs::Heads).unwrap();
    assert_eq!(clone.head_tree(None).unwrap(), tree);
    assert_eq!(clone.head_tree(Some("other/one")).unwrap(), other);
    assert!(clone.head_tree(Some("none")).unwrap_err().to_string().contains("has no branch \"none\""));
    assert!(clone.head_tree(Some("a..b^{x}")).is_err());
    assert_eq!(clone.tag_tree("v1.0.0", None).unwrap(), Some(tree));
    assert_eq!(clone.tag_tree("v1.0.0", Some("lib/A")).unwrap(), Some(scene.tree("HEAD:lib/A")));
    assert_eq!(clone.tag_tree("v1.0.0", Some("lib/B")).unwrap(), None);
    assert_eq!(clone.tag_tree("v2", None).unwrap(), None);
    // A branch that becomes a folder of branches, and another that the repository points to.
    scene.git(&["checkout", "--quiet", "other/one"]);
    scene.git(&["branch", "-D", "main"]);
    scene.git(&["branch", "main/two"]);
    clone.fetch(Refs::Heads).unwrap();
    assert_eq!((clone.head_tree(None).unwrap(), clone.head_tree(Some("main/two")).unwrap()), (other, other));
    assert!(clone.head_tree(Some("main")).is_err());
}

#[test]
fn a_tree_that_only_a_pull_request_has_is_found() {
    let scene = Scene::new();
    scene.write("a", "x");
    scene.commit();
    scene.git(&["checkout", "--quiet", "--detach"]);
    scene.write("a", "y");
    let tree = scene.commit();
    scene.git(&["update-ref", "refs/pull/1/head", "HEAD"]);
    scene.git(&["checkout", "--quiet", "main"]);
    let clone = scene.clone();
    clone.ensure_tree(tree, None).unwrap();
    packed(&clone, tree);
}

#[test]
fn a_tree_that_was_seen_survives_a_forced_push() {
    let scene = Scene::new();
    scene.write("a", "x");
    let old = scene.commit();
    let clone = scene.clone();
    clone.ensure_tree(old, None).unwrap();
    packed(&clone, old);
    scene.write("a", "y");
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "--amend", "-m", "y"]);
    scene.git(&["reflog", "expire", "--expire=now", "--all"]);
    scene.git(&["gc", "--quiet", "--prune=now"]);
    clone.fetch(Refs::Heads).unwrap();
    assert_eq!(clone.head_tree(None).unwrap(), scene.tree("HEAD^{tree}"));
    packed(&clone, old);
    clone.bundle(&scene.folder.path().join("bundle")).unwrap();
    packed(&clone, old);
}

#[test]
fn a_bundle_can_be_cloned_and_has_everything() {
    let scene = Scene::new();
    for content in ["one", "two"] {
        scene.write("a", content);
        scene.commit();
        scene.git(&["tag", content]);
    }
    scene.git(&["branch", "side", "HEAD~1"]);
    let bundle = scene.folder.path().join("Work.bundle");
    scene.clone().bundle(&bundle).unwrap();
    git(scene.folder.path(), &["clone", "--quiet", "Work.bundle", "back"]);
    let back = scene.folder.path().join("back");
    assert_eq!(fs::read_to_string(back.join("a")).unwrap(), "two");
    git(&back, &["checkout", "--quiet", "one"]);
    git(&back, &["fsck", "--full", "--strict"]);
    assert_eq!(git(&back, &["rev-parse", "origin/side"]), scene.git(&["rev-parse", "HEAD~1"]));
}

#[test]
fn many_at_once_make_one_clone() {
    let scene = Scene::new();
    scene.write("a", "x");
    let tree = scene.commit();
    let all = std::thread::scope(|scope| {
        let pack = || {
            let clone = scene.clone();
            clone.ensure_tree(tree, None).unwrap();
            packed(&clone, tree)
        };
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(pack)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(packs(&scene.clone()).len(), 2, "one of the trees, one of the files");
}
