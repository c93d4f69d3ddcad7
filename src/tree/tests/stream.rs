//! Whole and broken gzip streams, good and failing readers.

use super::*;

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
    for garbage in [&b"\0"[..], b"some garbage", &[0; 512], &[0x1f], &[0x1f, 0x8b], &gzip(b"x")[..12]] {
        let error = hash(&[&whole, garbage].concat()).unwrap_err();
        assert!(matches!(error, TreeError::Gzip { .. }), "{garbage:?}: {error}");
        if garbage.len() > 10 && garbage[0] != 0x1f {
            let TreeError::Gzip { source, .. } = error else { unreachable!() };
            assert_eq!(source.to_string(), "bytes after the end", "what pads a tape");
        }
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
