//! Any bytes, as a gzip file and as a tar archive in one: no panic, no runaway, and only content
//! to blame. `cargo +nightly fuzz run tar_reader`.
#![no_main]

use std::io::Write;

use airlock::tree::{Limits, hash_tar_gz, visit_files};
use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;

const HEADER: usize = 512;
const CHECKSUM: std::ops::Range<usize> = 148..156;

fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

/// Makes every block's checksum right, or no mutation would get past the first header.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(HEADER).filter(|block| block.iter().any(|byte| *byte != 0)) {
        block[CHECKSUM].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

fn read(tarball: &[u8]) {
    let limits = Limits { unpacked_bytes: 64 << 20, kept_bytes: 1 << 20, tree_bytes: 16 << 20, ..Limits::default() };
    if let Err(error) = hash_tar_gz(tarball, &limits, |path| path.len() % 2 == 0) {
        assert!(error.is_content_fault());
    }
    let _ = visit_files(tarball, &limits, &mut |_, _| {});
}

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    read(&stored(bytes));
    read(&stored(&with_checksums(bytes)));
});
