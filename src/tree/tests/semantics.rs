//! What odd but legal archives mean.

use super::*;

#[test]
fn names_that_only_look_unsafe_are_fine() {
    let raw = Raw::new().file("..a/b../...", "x");
    assert_eq!(strict(&raw.end()), one("..a/b../...", "x"));
}

#[test]
fn a_symlink_may_be_replaced() {
    let raw = Raw::new().symlink("s", "/etc").directory("s").file("s/a", "x");
    assert_eq!(strict(&raw.end()), one("s/a", "x"));
}

#[test]
fn a_hard_link_has_its_own_mode() {
    let raw = Raw::new().file("d/f", "x").with(b'1', b"h", b"", |block| {
        block[100..108].copy_from_slice(b"0000755\0");
        block[157..163].copy_from_slice(b"./d//f");
    });
    let expected = written([TarEntry::file("d/f", "x", false), TarEntry::file("h", "x", true)]);
    assert_eq!(strict(&raw.end()), expected);
}

#[test]
fn later_entries_replace_earlier_ones() {
    let raw = Raw::new().file("a", "1").file("./a", "2");
    assert_eq!(strict(&raw.end()), one("a", "2"));
    let raw = Raw::new().file("a", "1").file("a/b", "2");
    assert_eq!(strict(&raw.end()), one("a/b", "2"), "a file becomes a directory");
    let raw = Raw::new().file("a/b/c", "1").file("a", "2");
    assert_eq!(strict(&raw.end()), one("a", "2"), "a directory becomes a file");
    let raw = Raw::new().file("a/b/c", "1").file("a", "2").file("a/b/d", "3");
    assert_eq!(strict(&raw.end()), one("a/b/d", "3"), "and what was in it stays gone");
    let raw = Raw::new().file("a/b", "1").directory("a").directory("./a/.");
    assert_eq!(strict(&raw.end()), one("a/b", "1"), "a directory that is there stays");
}

#[test]
fn root_entries_and_odd_slashes_are_ignored() {
    let raw = Raw::new().directory("./").directory(".").file("././a//b", "x").directory("a///");
    assert_eq!(strict(&raw.end()), one("a/b", "x"));
}

#[test]
fn an_archive_without_entries_is_the_empty_tree() {
    let contents = hash(&Raw::new().end()).unwrap();
    assert_eq!((contents.strict, contents.lenient), (TreeHash::EMPTY, TreeHash::EMPTY));
    assert_eq!(strict(&gzip(b"")), TreeHash::EMPTY);
}

#[test]
fn the_lenient_hash_leaves_out_what_pkg_leaves_out() {
    let raw = Raw::new()
        .file("a/f", "x")
        .file("a/.git", "gitdir: elsewhere")
        .file(".git/HEAD", "ref")
        .symlink("s/.git", "t")
        .file("s/f", "y")
        .directory("empty/in/empty")
        .directory("a/empty");
    let contents = hash(&raw.end()).unwrap();
    let expected = written([TarEntry::file("a/f", "x", false), TarEntry::file("s/f", "y", false)]);
    assert_eq!(contents.lenient, expected);
    assert_ne!(contents.strict, expected);
}

#[test]
fn a_directory_with_only_git_in_it_is_an_empty_tree_to_pkg() {
    let contents = hash(&Raw::new().file("a/.git/HEAD", "ref").end()).unwrap();
    assert_eq!(contents.lenient, written([TarEntry::directory("a")]));
}

#[test]
fn pax_headers_override_and_global_ones_last() {
    let raw = Raw::new()
        .pax(b'g', "14 comment=xx\n")
        .pax(b'x', "11 path=é\n")
        .file("short", "1")
        .file("next", "2")
        .pax(b'x', "14 linkpath=t\n")
        .symlink("s", "other");
    let expected = [TarEntry::file("é", "1", false), TarEntry::file("next", "2", false), TarEntry::symlink("s", "t")];
    assert_eq!(strict(&raw.end()), written(expected));
    let raw = Raw::new().pax(b'g', "10 path=p\n").file("a", "1").file("b", "2");
    assert_eq!(strict(&raw.end()), one("p", "2"), "a global path holds for all");
    let raw = Raw::new().pax(b'g', "10 path=p\n").pax(b'x', "10 path=q\n").file("a", "1");
    assert_eq!(strict(&raw.end()), one("q", "1"), "a local one wins");
}

#[test]
fn a_pax_size_counts() {
    let change = |block: &mut [u8; BLOCK]| block[124..136].copy_from_slice(b"00000000000\0");
    let raw = Raw::new().pax(b'x', "9 size=3\n").with(b'0', b"a", b"abc", change).file("b", "");
    let expected = written([TarEntry::file("a", "abc", false), TarEntry::file("b", "", false)]);
    assert_eq!(strict(&raw.end()), expected);
    for bad in ["10 size=-1\n", "10 size= 3\n", "8 size=\n", "28 size=99999999999999999999\n"] {
        refused(Raw::new().pax(b'x', bad).file("a", ""), "malformed");
    }
    refused(Raw::new().pax(b'x', "28 size=18446744073709551615\n").file("a", ""), "malformed");
    refused(Raw::new().pax(b'x', "29 size=18446744073709551615\n").file("a", ""), "limit");
}

#[test]
fn gnu_long_names() {
    let name = "n".repeat(300);
    let target = "t".repeat(300);
    let raw = Raw::new()
        .long(b'K', format!("{target}\0").as_bytes())
        .long(b'L', format!("{name}\0").as_bytes())
        .symlink("n", "t");
    assert_eq!(strict(&raw.end()), written([TarEntry::symlink(name, target)]));
}

#[test]
fn the_prefix_counts_whatever_the_magic() {
    let raw = Raw::new().with(b'0', b"name", b"x", |block| {
        block[345..351].copy_from_slice(b"prefix");
        block[257..265].fill(0);
    });
    assert_eq!(strict(&raw.end()), one("prefix/name", "x"));
}

#[test]
fn base_256_sizes() {
    let change = |block: &mut [u8; BLOCK]| {
        block[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    };
    assert_eq!(strict(&Raw::new().with(b'0', b"a", b"abc", change).end()), one("a", "abc"));
    let negative = |block: &mut [u8; BLOCK]| block[124..136].fill(0xff);
    refused(Raw::new().with(b'0', b"a", b"abc", negative), "size");
}
