//! Hostile and odd archives, built block by block.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::header::{BLOCK, checksum};
use super::{Contents, Limits, TarEntry, TreeError, hash_tar_gz, read_file, visit_files, write_tar_gz};
use crate::protocol::TreeHash;

/// An archive under construction.
#[derive(Default, Clone)]
struct Raw(Vec<u8>);

impl Raw {
    fn new() -> Self {
        Self::default()
    }

    /// A header block with correct checksum after `change`, then `content` with padding.
    fn with(mut self, flag: u8, path: &[u8], content: &[u8], change: impl FnOnce(&mut [u8; BLOCK])) -> Self {
        let mut block = [0; BLOCK];
        block[..path.len()].copy_from_slice(path);
        block[100..108].copy_from_slice(b"0000644\0");
        block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        block[156] = flag;
        block[257..265].copy_from_slice(b"ustar\x0000");
        change(&mut block);
        let sum = checksum(&block);
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.with(b'0', path.as_bytes(), content.as_bytes(), |_| {})
    }

    fn directory(self, path: &str) -> Self {
        self.with(b'5', path.as_bytes(), b"", |_| {})
    }

    fn link(self, flag: u8, path: &str, target: &str) -> Self {
        self.with(flag, path.as_bytes(), b"", |block| block[157..157 + target.len()].copy_from_slice(target.as_bytes()))
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.link(b'2', path, target)
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.link(b'1', path, target)
    }

    fn pax(self, flag: u8, records: &str) -> Self {
        self.with(flag, b"pax", records.as_bytes(), |_| {})
    }

    fn long(self, flag: u8, text: &[u8]) -> Self {
        self.with(flag, b"././@LongLink", text, |_| {})
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 2 * BLOCK]);
        gzip(&self.0)
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn is_toml(path: &str) -> bool {
    path.ends_with(".toml")
}

fn hash(tarball: &[u8]) -> Result<Contents, TreeError> {
    hash_tar_gz(tarball, &Limits::default(), is_toml)
}

fn strict(tarball: &[u8]) -> TreeHash {
    hash(tarball).unwrap().strict
}

/// The hash our writer gives for the same tree.
fn written(entries: impl IntoIterator<Item = TarEntry>) -> TreeHash {
    write_tar_gz(entries, io::sink(), 1).unwrap()
}

#[track_caller]
fn refused(raw: Raw, reason: &str) {
    let error = hash(&raw.end()).unwrap_err();
    assert!(error.is_content_fault());
    assert!(error.to_string().contains(reason), "{error} does not say {reason:?}");
}

fn one(path: &str, content: &str) -> TreeHash {
    written([TarEntry::file(path, content, false)])
}

#[test]
fn unsafe_paths_are_refused() {
    refused(Raw::new().file("/etc/x", ""), "absolute");
    refused(Raw::new().file("a/../../x", ""), "..");
    refused(Raw::new().directory(".."), "..");
    refused(Raw::new().file("", ""), "empty path");
    refused(Raw::new().pax(b'x', "12 path=a\0b\n").file("x", ""), "NUL");
    refused(Raw::new().file("a/", ""), "path of a directory");
    refused(Raw::new().with(0, b"a/", b"", |_| {}), "path of a directory");
    refused(Raw::new().file(".", ""), "path of a directory");
    refused(Raw::new().symlink("a/.", "b"), "path of a directory");
}

#[test]
fn names_that_only_look_unsafe_are_fine() {
    let raw = Raw::new().file("..a/b../...", "x");
    assert_eq!(strict(&raw.end()), one("..a/b../...", "x"));
}

#[test]
fn entries_that_contradict_their_type_are_refused() {
    let with_link = |block: &mut [u8; BLOCK]| block[157] = b'x';
    refused(Raw::new().with(b'0', b"a", b"", with_link), "target on what is no link");
    refused(Raw::new().with(b'5', b"a", b"", with_link), "target on what is no link");
    refused(Raw::new().symlink("a", ""), "without a target");
    refused(Raw::new().pax(b'x', "16 linkpath=a\0b\n").symlink("a", "b"), "NUL in the link");
    refused(Raw::new().with(b'5', b"a", b"data", |_| {}), "content on what is no file");
    refused(Raw::new().with(b'2', b"a", b"data", with_link), "content on what is no file");
    refused(Raw::new().file("x", "").with(b'1', b"a", b"data", with_link), "content on what is no file");
}

#[test]
fn other_types_are_refused() {
    for (flag, reason) in [(b'3', "device"), (b'4', "device"), (b'6', "fifo"), (b'7', "unknown"), (b'S', "unknown")] {
        refused(Raw::new().with(flag, b"a", b"", |_| {}), reason);
    }
    refused(Raw::new().with(0xff, b"a", b"", |_| {}), "unknown");
    refused(Raw::new().with(b'L', b"not the magic name", b"a\0", |_| {}), "unknown");
}

#[test]
fn nothing_is_written_through_a_symlink() {
    refused(Raw::new().symlink("s", "/etc").file("s/passwd", "x"), "beneath a symbolic link");
    refused(Raw::new().symlink("s", ".").directory("s/d/e"), "beneath a symbolic link");
    refused(Raw::new().symlink("a/s", "b").hard_link("a/s/x", "f"), "hard link");
    // Also when the parent was a directory a moment ago.
    let replaced = Raw::new().file("d/a", "").symlink("d", "/etc").file("d/b", "");
    refused(replaced, "beneath a symbolic link");
}

#[test]
fn a_symlink_may_be_replaced() {
    let raw = Raw::new().symlink("s", "/etc").directory("s").file("s/a", "x");
    assert_eq!(strict(&raw.end()), one("s/a", "x"));
}

#[test]
fn hard_links_name_earlier_regular_files() {
    for target in ["missing", "d", ".", "d/../f", "/f", "s", "s/f", "later"] {
        let raw = Raw::new().file("f", "x").directory("d").symlink("s", "f").hard_link("h", target).file("later", "");
        refused(raw, "hard link");
    }
    refused(Raw::new().file("f", "").hard_link("h", "f").hard_link("i", "h"), "hard link");
    refused(Raw::new().file("d/f", "").file("d", "").hard_link("h", "d/f"), "hard link");
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
fn malformed_extended_headers_are_refused() {
    refused(Raw::new().pax(b'x', "99 path=a\n").file("a", ""), "malformed extended header");
    refused(Raw::new().long(b'L', b"no final nul").file("a", ""), "final NUL");
    refused(Raw::new().long(b'L', b"").file("a", ""), "final NUL");
    refused(Raw::new().long(b'L', b"\0").file("a", ""), "empty path");
    refused(Raw::new().long(b'L', b"a\0b\0").file("a", ""), "NUL in the path");
    refused(Raw::new().pax(b'x', "10 path=a\n"), "cut short");
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

#[test]
fn damaged_headers_are_refused() {
    let mut raw = Raw::new().file("a", "x");
    raw.0[0] = b'b';
    refused(raw, "checksum");
    refused(Raw::new().with(b'0', b"a", b"", |block| block[263..265].copy_from_slice(b"99")), "version");
    refused(Raw::new().with(b'0', b"a", b"", |block| block[100..108].fill(b' ')), "mode");
    refused(Raw::new().with(b'0', b"a", b"", |block| block[100..108].copy_from_slice(b"7777777\0")), "mode too large");
    refused(Raw(vec![b'x'; 2 * BLOCK]), "not a tar archive");
}

#[test]
fn the_first_zero_block_ends_the_archive() {
    let mut raw = Raw::new().file("a", "x");
    raw.0.extend_from_slice(&[0; BLOCK]);
    let raw = raw.file("../ignored", "y");
    let mut tarball = raw.clone().0;
    tarball.extend_from_slice(b"not even a block");
    assert_eq!(strict(&gzip(&tarball)), one("a", "x"));
    assert_eq!(strict(&gzip(&Raw::new().file("a", "x").0)), one("a", "x"), "it may be missing");
}

#[test]
fn what_follows_the_end_is_still_checked() {
    let mut tarball = Raw::new().file("a", "x").end();
    let crc = tarball.len() - 8;
    tarball[crc] ^= 1;
    assert!(matches!(hash(&tarball), Err(TreeError::Gzip { .. })));
}

#[test]
fn members_are_one_stream_and_garbage_is_refused() {
    let raw = Raw::new().file("a", "x");
    let (head, tail) = raw.0.split_at(700);
    let whole = [gzip(head), gzip(b""), gzip(tail)].concat();
    assert_eq!(strict(&whole), one("a", "x"));
    for garbage in [&b"\0"[..], b"garbage", &[0; 512], &[0x1f], &[0x1f, 0x8b], &gzip(b"x")[..12]] {
        let error = hash(&[&whole, garbage].concat()).unwrap_err();
        assert!(matches!(error, TreeError::Gzip { .. }), "{garbage:?}: {error}");
    }
}

#[test]
fn other_formats_are_named() {
    let tar = Raw::new().file("a", "").0;
    for (body, found) in [
        (&b""[..], "empty"),
        (&[0x28, 0xb5, 0x2f, 0xfd, 0, 0], "zstd"),
        (b"\n<!DOCTYPE html><html>", "HTML or XML"),
        (b"{\"message\": \"no\"}", "JSON"),
        (b"BZh9", "bzip2"),
        (b"404 not found", "unknown bytes"),
        (&tar, "plain tar"),
    ] {
        let error = hash(body).unwrap_err();
        assert_eq!(error.to_string(), format!("{found}, not gzip"));
        assert!(error.is_content_fault());
    }
}

#[test]
fn every_truncation_is_a_content_fault() {
    let tarball = Raw::new().file("a", &"some text ".repeat(99)).symlink("s", "a").end();
    for length in 0..tarball.len() {
        let error = hash(&tarball[..length]).unwrap_err();
        assert!(error.is_content_fault(), "{length}");
    }
    let plain = Raw::new().file("a", "x").0;
    for length in (1..plain.len()).filter(|length| length % BLOCK != 0) {
        assert!(matches!(hash(&gzip(&plain[..length])), Err(TreeError::Cut { .. })), "{length}");
    }
    assert!(matches!(hash(&gzip(&plain[..BLOCK])), Err(TreeError::Cut { .. })));
}

/// Fails once its bytes are used up.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            count => Ok(count),
        }
    }
}

#[test]
fn a_failing_reader_is_not_the_contents_fault() {
    let tarball = big_tarball();
    for length in [0, 1, 9, 300, 600, tarball.len() / 2, tarball.len() - 1, tarball.len()] {
        let error = hash_tar_gz(Failing(&tarball[..length]), &Limits::default(), is_toml).unwrap_err();
        assert!(!error.is_content_fault(), "{length}: {error}");
    }
}

/// Large enough for a second thread, and hard to pack.
fn big_tarball() -> Vec<u8> {
    let mut out = Vec::new();
    let files = (0_u32..40).map(|n| TarEntry::file(format!("f{n}"), noise(n, 100_000), false));
    write_tar_gz(files, &mut out, 1).unwrap();
    out
}

fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(&mut next).take(length).collect()
}

#[test]
fn damage_far_into_a_large_tarball_is_found() {
    let mut tarball = big_tarball();
    assert!(hash(&tarball).is_ok());
    let middle = tarball.len() * 3 / 4;
    // More than a bit: deflate has spare bits, between blocks for example, that change nothing.
    tarball[middle..middle + 8].iter_mut().for_each(|byte| *byte ^= 0xff);
    assert!(hash(&tarball).unwrap_err().is_content_fault());
    assert!(hash(&tarball[..middle]).unwrap_err().is_content_fault());
}

#[test]
fn a_refusal_early_in_a_large_tarball_ends_the_second_thread() {
    let raw = Raw::new().file("a", &"x".repeat(2 << 20)).file("/absolute", &"x".repeat(64 << 20));
    refused(raw, "absolute");
}

#[test]
fn kept_files_are_those_of_the_final_tree() {
    let raw = Raw::new()
        .file("Z.toml", "z")
        .file("a/Artifacts.toml", "old")
        .file("gone/x.toml", "g")
        .file("b.toml", "b")
        .file("c.toml", "c")
        .file("a/Artifacts.toml", "new")
        .file("gone", "")
        .directory("b.toml")
        .symlink("c.toml", "Z.toml")
        .hard_link("hard.toml", "Z.toml")
        .file("other.txt", "o");
    let kept = hash(&raw.end()).unwrap().kept;
    let kept: Vec<_> = kept.iter().map(|file| (file.path.as_str(), file.contents.as_slice())).collect();
    assert_eq!(kept, [("Z.toml", &b"z"[..]), ("a/Artifacts.toml", b"new"), ("hard.toml", b"z")]);
}

#[test]
fn one_file_can_be_read() {
    let tarball = Raw::new().file("a", "1").directory("d").file("./a", "2").end();
    let read = |path| read_file(&tarball[..], &Limits::default(), path).unwrap();
    assert_eq!(read("a"), Some(b"2".to_vec()));
    assert_eq!(read("d"), None);
    assert_eq!(read("b"), None);
}

fn visited(raw: Raw) -> Result<Vec<(String, Vec<u8>)>, TreeError> {
    let mut seen = Vec::new();
    visit_files(&raw.end()[..], &Limits::default(), &mut |path, contents| seen.push((path.to_owned(), contents)))?;
    Ok(seen)
}

#[test]
fn visits_every_file_once_or_fails() {
    let seen = visited(Raw::new().directory("d").file("./d/b", "1").symlink("s", "d").file("a", "2")).unwrap();
    assert_eq!(seen, [("d/b".to_owned(), b"1".to_vec()), ("a".to_owned(), b"2".to_vec())]);
    for twice in [
        Raw::new().file("a", "1").file("a", "2"),
        Raw::new().file("a/b", "1").symlink("a", "x"),
        Raw::new().file("a", "1").file("a/b", "2"),
        Raw::new().file("a", "1").directory("a"),
    ] {
        assert!(visited(twice).unwrap_err().to_string().contains("replaces"));
    }
    assert!(visited(Raw::new().file("a", "1").hard_link("b", "a")).is_err());
}

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
