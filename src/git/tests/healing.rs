//! A clone that is damaged, or that was half made, is made again.

use super::{Scene, packed, packs};
use crate::git::GitError;
use fs_err as fs;
use std::path::PathBuf;

fn for_each_pack(scene: &Scene, harm: impl Fn(&PathBuf)) {
    for pack in packs(&scene.clone()) {
        harm(&pack);
    }
}

fn write_over(path: &PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    // Packs are read-only.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

type Harm = fn(&Scene);

const HARMS: &[(&str, Harm)] = &[
    ("packs gone", |scene| for_each_pack(scene, |pack| fs::remove_file(pack).unwrap())),
    ("packs cut", |scene| {
        for_each_pack(scene, |pack| write_over(pack, |bytes| bytes.truncate(bytes.len() / 2)));
    }),
    ("packs with an index that is gone", |scene| {
        for_each_pack(scene, |pack| fs::remove_file(pack.with_extension("idx")).unwrap());
    }),
    ("all objects gone", |scene| fs::remove_dir_all(scene.clone().folder().join("objects")).unwrap()),
    ("no HEAD", |scene| fs::remove_file(scene.clone().folder().join("HEAD")).unwrap()),
    ("an empty configuration", |scene| fs::write(scene.clone().folder().join("config"), "").unwrap()),
    ("a configuration that makes no sense", |scene| {
        fs::write(scene.clone().folder().join("config"), "[core\n").unwrap();
    }),
    ("a lock that was left", |scene| fs::write(scene.clone().folder().join("packed-refs.lock"), "").unwrap()),
    ("an empty folder", |scene| {
        fs::remove_dir_all(scene.clone().folder()).unwrap();
        fs::create_dir_all(scene.clone().folder()).unwrap();
    }),
    ("half of another", |scene| {
        let new = scene.clone().folder().with_extension("new");
        fs::create_dir_all(new.join("objects")).unwrap();
        fs::write(new.join("HEAD"), "x").unwrap();
    }),
];

#[test]
fn what_a_killed_git_left_is_swept_and_what_may_still_be_written_is_not() {
    let scene = Scene::new();
    scene.write("a", "one");
    let old = scene.commit();
    scene.clone().ensure_tree(old, None).unwrap();
    let folder = scene.clone().folder().to_owned();
    let (left, young) = (folder.join("objects/pack/tmp_pack_x1"), folder.join("objects/pack/tmp_pack_x2"));
    for file in [&left, &young] {
        fs::write(file, "half a pack").unwrap();
    }
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(2);
    fs::File::options().write(true).open(&left).unwrap().set_modified(long_ago).unwrap();
    fs::create_dir_all(folder.with_extension("new")).unwrap();
    scene.write("a", "two");
    let new = scene.commit();
    scene.clone().ensure_tree(new, None).unwrap();
    assert!(!left.exists() && young.exists() && !folder.with_extension("new").exists());
}

#[test]
fn whatever_is_wrong_with_a_clone_the_next_tree_is_found() {
    for (what, harm) in HARMS {
        let scene = Scene::new();
        scene.write("a", "one");
        let old = scene.commit();
        scene.clone().ensure_tree(old, None).unwrap();
        packed(&scene.clone(), old);
        harm(&scene);
        scene.write("a", "two");
        let new = scene.commit();
        scene.clone().ensure_tree(new, None).unwrap_or_else(|error| panic!("{what}: {error}"));
        packed(&scene.clone(), new);
        scene.clone().ensure_tree(old, None).unwrap_or_else(|error| panic!("{what}: {error}"));
        packed(&scene.clone(), old);
    }
}

#[test]
fn bytes_that_changed_inside_a_pack_are_found_and_healed() {
    let scene = Scene::new();
    let noise = (0..4000).map(|number: u32| number.wrapping_mul(2_654_435_761).to_string()).collect::<String>();
    scene.write("a", &noise);
    let tree = scene.commit();
    scene.clone().ensure_tree(tree, None).unwrap();
    packed(&scene.clone(), tree);
    let largest = packs(&scene.clone()).into_iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    write_over(&largest, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
    });
    let broken = scene.clone().pack(tree, std::io::sink(), 6).unwrap_err();
    assert!(matches!(broken, GitError::Broken { .. }), "{broken}");
    scene.clone().ensure_tree(tree, None).unwrap();
    packed(&scene.clone(), tree);
}

#[test]
fn a_folder_below_a_tree_that_is_gone_is_healed() {
    let scene = Scene::new();
    scene.write("a/b", "x");
    let tree = scene.commit();
    let clone = scene.clone();
    clone.ensure_tree(tree, None).unwrap();
    // Only the root tree is left, as a loose object.
    let body = super::git(&scene.work(), &["rev-parse", "HEAD^{tree}:a"]);
    let line = format!("040000 tree {}\ta\n", body.trim());
    for pack in packs(&scene.clone()) {
        fs::remove_file(pack).unwrap();
    }
    let mut made = std::process::Command::new("git");
    made.args(["mktree", "--missing"]).current_dir(clone.folder()).stdin(std::process::Stdio::piped());
    let mut made = made.stdout(std::process::Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut made.stdin.take().unwrap(), line.as_bytes()).unwrap();
    assert!(made.wait().unwrap().success());
    assert!(clone.has_tree(tree));
    packed(&clone, tree);
}

#[test]
fn what_was_fetched_stays_when_the_repository_is_gone() {
    let scene = Scene::new();
    scene.write("a", "x");
    let tree = scene.commit();
    let clone = scene.clone();
    clone.ensure_tree(tree, None).unwrap();
    packed(&clone, tree);
    fs::remove_dir_all(scene.work()).unwrap();
    assert!(matches!(clone.fetch(super::Refs::Heads), Err(GitError::NoRepository { .. })));
    packed(&clone, tree);
}

#[test]
fn many_packs_are_put_together_and_nothing_is_lost() {
    for filter in ["true", "false"] {
        let scene = Scene::new();
        scene.git(&["config", "uploadpack.allowFilter", filter]);
        scene.write("a", "pushed over");
        let over = scene.commit();
        scene.clone().ensure_tree(over, None).unwrap();
        packed(&scene.clone(), over);
        scene.git(&["checkout", "--quiet", "--orphan", "new"]);
        scene.git(&["branch", "-D", "main"]);
        scene.git(&["branch", "-m", "main"]);
        let mut most = 0;
        let mut tree = over;
        for round in 0..60 {
            scene.write("a", &round.to_string());
            tree = scene.commit();
            scene.clone().fetch(crate::git::Refs::Heads).unwrap();
            packed(&scene.clone(), tree);
            most = most.max(packs(&scene.clone()).len());
        }
        assert!((20..60).contains(&most) && packs(&scene.clone()).len() < 55, "{filter}: {most}");
        for tree in [over, tree] {
            packed(&scene.clone(), tree);
        }
        assert_eq!(super::blobs(&scene.clone()), 61, "{filter}");
        // As a git that was killed over it would leave it.
        let folder = scene.clone().folder().join("objects/pack");
        let left = folder.join(".tmp-77-pack-0000000000000000000000000000000000000000.idx");
        fs::write(&left, "half an index").unwrap();
        scene.clone().fetch(crate::git::Refs::Heads).unwrap();
        packed(&scene.clone(), over);
        assert!(left.exists(), "it may be at work");
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(2);
        fs::File::options().write(true).open(&left).unwrap().set_modified(long_ago).unwrap();
        scene.clone().fetch(crate::git::Refs::Heads).unwrap();
        assert!(!left.exists());
    }
}
