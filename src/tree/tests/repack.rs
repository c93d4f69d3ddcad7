//! Every packing becomes gzip, and nothing broken does.

use super::super::{Packing, RepackError, repack};
use super::*;
use std::process::{Command, Stdio};

/// A tar archive that is no text alone, of some length.
fn tar() -> Vec<u8> {
    let noise: Vec<u8> = (0..100_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    Raw::new().file("hello", "world\n").with(b'0', b"noise", &noise, |_| {}).end_plain()
}

impl Raw {
    fn end_plain(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 2 * BLOCK]);
        self.0
    }
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::bufread::MultiGzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// The same bytes in every packing, made by the libraries.
fn packings(plain: &[u8]) -> Vec<(Packing, Vec<u8>)> {
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    bzip2.write_all(plain).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    xz.write_all(plain).unwrap();
    let mut zstd = zstd::Encoder::new(Vec::new(), 3).unwrap();
    zstd.include_checksum(true).unwrap();
    zstd.write_all(plain).unwrap();
    vec![
        (Packing::Gzip, gzip(plain)),
        (Packing::Bzip2, bzip2.finish().unwrap()),
        (Packing::Xz, xz.finish().unwrap()),
        (Packing::Zstd, zstd.finish().unwrap()),
        (Packing::Plain, plain.to_vec()),
    ]
}

fn repacked(bytes: &[u8]) -> Result<Vec<u8>, RepackError> {
    let mut out = Vec::new();
    repack(bytes, &Limits::default(), &mut out).map(|()| out)
}

#[test]
fn gzip_stays_as_it_is_and_the_others_become_the_same_gzip() {
    let plain = tar();
    let mut made = Vec::new();
    for (packing, bytes) in packings(&plain) {
        assert_eq!(Packing::of(&bytes[..BLOCK.min(bytes.len())]).unwrap(), packing);
        let out = repacked(&bytes).unwrap();
        if packing == Packing::Gzip {
            assert!(out == bytes, "gzip was touched");
        } else {
            assert!(gunzip(&out) == plain, "{packing:?}");
            assert_eq!(out[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], "no time, no name, no system");
            made.push(out);
        }
    }
    assert!(made.windows(2).all(|pair| pair[0] == pair[1]), "the same archive gave different bytes");
}

#[test]
fn what_the_tools_of_the_system_write_is_read() {
    let plain = tar();
    for command in [&["bzip2", "-9"][..], &["xz", "-9"], &["xz", "--check=sha256"], &["zstd", "-19"], &["gzip", "-n"]] {
        let spawned = Command::new(command[0]).args(&command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut tool) = spawned else { continue };
        let mut stdin = tool.stdin.take().unwrap();
        let input = plain.clone();
        let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
        let packed = tool.wait_with_output().unwrap().stdout;
        writer.join().unwrap();
        assert!(gunzip(&repacked(&packed).unwrap()) == plain, "{command:?}");
    }
}

#[test]
fn several_packed_streams_in_a_row_are_one() {
    let plain = tar();
    let (first, rest) = plain.split_at(3000);
    for ((packing, mut bytes), (_, more)) in packings(first).into_iter().zip(packings(rest)) {
        bytes.extend_from_slice(&more);
        assert!(packing == Packing::Gzip || gunzip(&repacked(&bytes).unwrap()) == plain, "{packing:?}");
    }
}

#[test]
fn zstd_may_begin_with_a_frame_to_be_skipped() {
    let plain = tar();
    let zstd = packings(&plain).remove(3).1;
    // As pzstd writes it: the size of the frame that follows.
    let skipped =
        [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], &u32::try_from(zstd.len()).unwrap().to_le_bytes()].concat();
    for first in [0x50, 0x5f] {
        let mut bytes = [&skipped[..], &zstd, &skipped, &zstd[..0]].concat();
        bytes[0] = first;
        assert!(gunzip(&repacked(&bytes).unwrap()) == plain);
    }
}

#[test]
fn bytes_after_the_end_and_streams_that_are_cut_or_damaged_are_errors() {
    for (packing, bytes) in packings(&tar()) {
        if matches!(packing, Packing::Gzip | Packing::Plain) {
            continue;
        }
        let mut damaged = bytes.clone();
        let middle = bytes.len() / 2;
        damaged[middle] ^= 0x10;
        let cuts = [1, 4, 10, middle].map(|cut| bytes[..bytes.len() - cut].to_vec());
        let tails = [&b"x"[..], b"trailing", &[0]].map(|tail| [&bytes, tail].concat());
        for (at, wrong) in cuts.into_iter().chain(tails).chain([damaged]).enumerate() {
            let Err(error) = repacked(&wrong) else { panic!("{packing:?}: {at} was taken") };
            let RepackError::Tree(error @ TreeError::Packing { .. }) = error else { panic!("{packing:?}: {error:?}") };
            assert!(error.is_content_fault() && error.to_string().starts_with("broken "), "{packing:?}: {error}");
        }
    }
}

#[test]
fn what_is_no_tarball_is_named() {
    for (bytes, found) in [
        (&b""[..], "empty"),
        (b"<!DOCTYPE html><p>", "HTML or XML"),
        (b"{\"message\": \"Not Found\"}", "JSON"),
        (b"PK\x03\x04", "zip"),
        (b"BZh0", "bzip2"),
        (&[0; 1024], "unknown bytes"),
    ] {
        let error = repacked(bytes).unwrap_err();
        assert_eq!(error.to_string(), format!("{found}, not a tarball"));
    }
}

#[test]
fn an_old_tar_without_magic_is_known_by_its_checksum() {
    let old = Raw::new().with(b'0', b"a", b"x", |block| block[257..265].fill(0)).end_plain();
    assert_eq!(Packing::of(&old).unwrap(), Packing::Plain);
    assert!(gunzip(&repacked(&old).unwrap()) == old);
    let mut damaged = old;
    damaged[0] ^= 1;
    assert!(Packing::of(&damaged).is_err());
}

#[test]
fn bombs_are_cut_in_every_packing() {
    let bomb = Raw::new().with(b'0', b"zeros", &vec![0; 65 << 20], |_| {}).end_plain();
    for (packing, bytes) in packings(&bomb) {
        if matches!(packing, Packing::Gzip | Packing::Plain) {
            continue;
        }
        let error = repacked(&bytes).unwrap_err();
        assert!(error.to_string().contains("unpacked bytes per packed byte"), "{packing:?}: {error}");
        let limits = Limits { unpacked_bytes: 1 << 20, ..Limits::default() };
        let error = repack(&bytes[..], &limits, io::sink()).unwrap_err();
        assert!(error.to_string().ends_with("for unpacked bytes"), "{packing:?}: {error}");
    }
}

#[test]
fn what_wants_too_much_memory_is_refused() {
    let plain = tar();
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(28).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(&plain).unwrap();
    let zstd = encoder.finish().unwrap();
    // The encoder itself would need ten times as much: what the header says is what counts.
    let mut xz = packings(&plain).remove(2).1;
    // Block header: size, flags, filter id 0x21, size of its properties, the dictionary, padding.
    assert_eq!(xz[14..16], [0x21, 1]);
    xz[16] = 40;
    let crc = {
        let mut crc = flate2::Crc::new();
        crc.update(&xz[12..20]);
        crc.sum()
    };
    xz[20..24].copy_from_slice(&crc.to_le_bytes());
    for bytes in [zstd, xz] {
        let error = repacked(&bytes).unwrap_err();
        assert!(matches!(error, RepackError::Tree(TreeError::Packing { .. })), "{error:?}");
    }
}

#[test]
fn whose_fault_it_was_is_told() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the line is down"))
        }
    }
    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("nobody listens"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for (packing, bytes) in packings(&tar()) {
        let cut = bytes[..bytes.len() / 2].chain(Failing);
        let error = repack(cut, &Limits::default(), io::sink()).unwrap_err();
        assert!(matches!(error, RepackError::Tree(TreeError::Read(_))), "{packing:?}: {error:?}");
        let error = repack(&bytes[..], &Limits::default(), Failing).unwrap_err();
        assert!(matches!(error, RepackError::Write(_)), "{packing:?}: {error:?}");
    }
}
