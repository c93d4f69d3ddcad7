//! Entries that no client unpacks.

use super::*;

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
fn hard_links_name_earlier_regular_files() {
    for target in ["missing", "d", ".", "d/../f", "/f", "s", "s/f", "later"] {
        let raw = Raw::new().file("f", "x").directory("d").symlink("s", "f").hard_link("h", target).file("later", "");
        refused(raw, "hard link");
    }
    refused(Raw::new().file("f", "").hard_link("h", "f").hard_link("i", "h"), "hard link");
    refused(Raw::new().file("d/f", "").file("d", "").hard_link("h", "d/f"), "hard link");
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
fn damaged_headers_are_refused() {
    let mut raw = Raw::new().file("a", "x");
    raw.0[0] = b'b';
    refused(raw, "checksum");
    refused(Raw::new().with(b'0', b"a", b"", |block| block[263..265].copy_from_slice(b"99")), "version");
    refused(Raw::new().with(b'0', b"a", b"", |block| block[100..108].fill(b' ')), "mode");
    refused(Raw::new().with(b'0', b"a", b"", |block| block[100..108].copy_from_slice(b"7777777\0")), "mode too large");
    refused(Raw(vec![b'x'; 2 * BLOCK]), "not a tar archive");
}
