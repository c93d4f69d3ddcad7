//! Archives that are merely too much.

use super::*;

#[track_caller]
fn over(limits: &Limits, name: &str, raw: &Raw) {
    match hash_tar_gz(&raw.clone().end()[..], limits, is_toml) {
        Err(error @ TreeError::Limit { .. }) => assert!(error.to_string().contains(name), "{error}"),
        other => panic!("{name}: {other:?}"),
    }
    assert!(hash_tar_gz(&raw.clone().end()[..], &Limits::default(), is_toml).is_ok(), "{name}: refused by default");
}

#[test]
fn each_limit_holds() {
    let limits = Limits::default();
    let files = Raw::new().file("a.toml", "12345").file("b.toml", "67890");
    over(&Limits { entries: 1, ..limits.clone() }, "entries", &files);
    over(&Limits { path_bytes: 5, ..limits.clone() }, "bytes of a path", &files);
    over(&Limits { path_bytes: 5, ..limits.clone() }, "bytes of a path", &Raw::new().symlink("a", "sixsix"));
    over(&Limits { tree_bytes: 200, ..limits.clone() }, "memory of the tree", &files);
    over(&Limits { tree_bytes: 700, ..limits.clone() }, "memory of the tree", &Raw::new().directory("a/b"));
    over(&Limits { depth: 3, ..limits.clone() }, "components", &Raw::new().file("a/b/c/d", ""));
    over(&Limits { unpacked_bytes: 2000, ..limits.clone() }, "unpacked bytes", &files);
    over(&Limits { kept_bytes: 9, ..limits.clone() }, "kept files", &files);
}

#[test]
fn what_follows_the_end_is_bounded_too() {
    let mut raw = Raw::new().file("a", "");
    raw.0.resize(1 << 20, 0);
    let limits = Limits { unpacked_bytes: 1 << 19, ..Limits::default() };
    over(&limits, "unpacked bytes", &raw);
}

#[test]
fn a_bomb_is_refused() {
    let raw = Raw(vec![0; 80 << 20]);
    let limits = Limits { ratio: 100, ..Limits::default() };
    over(&limits, "per packed byte", &raw);
}

#[test]
fn a_header_that_promises_much_costs_nothing() {
    let change = |block: &mut [u8; BLOCK]| block[124..136].copy_from_slice(b"777777777777");
    let raw = Raw::new().with(b'0', b"a.toml", b"", change);
    refused(raw, "kept files");
    let raw = Raw::new().with(b'0', b"a", b"", change);
    refused(raw, "cut short");
    let raw = Raw::new().with(b'x', b"a", b"", change);
    refused(raw, "extended header");
}

#[test]
fn the_deepest_path_is_hashed_without_recursion() {
    let mut path = "d/".repeat(2000);
    path.push('f');
    let record = format!("{} path={path}\n", path.len() + 11);
    let raw = Raw::new().pax(b'x', &record).file("x", "");
    let limits = Limits { depth: usize::MAX, ..Limits::default() };
    let contents = hash_tar_gz(&raw.end()[..], &limits, is_toml).unwrap();
    assert_eq!(contents.strict, one(&path, ""));
}
