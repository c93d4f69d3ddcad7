//! Random trees that git wrote: the same hash, the same bytes from every clone, the content
//! untouched by attributes.

use super::{Scene, packed};
use crate::git::Clones;
use crate::git::{Bounds, Trust};
use crate::tree::{Limits, hash_tar_gz};
use fs_err as fs;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};

#[derive(Clone, Debug)]
enum Node {
    File(Vec<u8>, bool),
    Symlink(String),
}

fn nodes() -> impl Strategy<Value = BTreeMap<String, Node>> {
    let name = prop_oneof![
        4 => "[ab]{1,2}",
        2 => "[ab][-.0+][ab]?",
        1 => "[a-z é日'\"*?;~#]{1,8}",
        1 => Just(".gitignore".to_owned()),
        1 => "[a-z]{90,130}",
    ];
    let content = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..600),
        2 => Just(b"one\r\ntwo\n$Id$ $Format:%H$\n".to_vec()),
    ];
    let node = prop_oneof![
        5 => (content, any::<bool>()).prop_map(|(content, executable)| Node::File(content, executable)),
        1 => "[a-z./é]{1,120}".prop_map(Node::Symlink),
    ];
    let path = proptest::collection::vec(name, 1..4).prop_map(|parts| parts.join("/"));
    proptest::collection::vec((path, node), 1..10).prop_map(|list| {
        let mut nodes = BTreeMap::<String, Node>::new();
        for (path, node) in list {
            let clash = |other: &String| {
                other == &path || path.starts_with(&format!("{other}/")) || other.starts_with(&format!("{path}/"))
            };
            if !nodes.keys().any(clash) {
                nodes.insert(path, node);
            }
        }
        nodes
    })
}

/// Everything that `git archive` and a checkout would change.
const ATTRIBUTES: &str = "* text eol=crlf ident export-subst\nb* export-ignore\na export-ignore\n*b -text\n";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_packed_tree_has_gits_hash_and_every_clone_packs_the_same_bytes(nodes in nodes(), attributes in any::<bool>()) {
        let scene = Scene::new();
        for (path, node) in &nodes {
            let file = scene.work().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            match node {
                Node::File(content, executable) => {
                    fs::write(&file, content).unwrap();
                    let mode = if *executable { 0o755 } else { 0o644 };
                    fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
                }
                Node::Symlink(target) => symlink(target, &file).unwrap(),
            }
        }
        if attributes {
            fs::write(scene.work().join(".gitattributes"), ATTRIBUTES).unwrap();
        }
        let tree = scene.commit();
        let clone = scene.clone();
        clone.ensure_tree(tree, None).unwrap();
        let bytes = packed(&clone, tree);
        let contents = hash_tar_gz(&bytes[..], &Limits::default(), |_| false).unwrap();
        prop_assert_eq!(contents.strict, tree);

        let others = Clones::new(scene.folder.path().join("others"), Bounds::default());
        let other = others.open(&scene.work().display().to_string(), Trust::Configured).unwrap();
        other.ensure_tree(tree, None).unwrap();
        prop_assert!(packed(&other, tree) == bytes);
    }
}

#[test]
fn a_folder_of_clones_is_where_this_process_says() {
    let clones = Clones::new("clones".into(), Bounds::default());
    let clone = clones.open("https://h.example/R.jl", Trust::Named).unwrap();
    assert!(clone.folder().starts_with(std::env::current_dir().unwrap().join("clones")));
}
