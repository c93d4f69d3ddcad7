//! Any bytes, as a volume of a bundle and as the index in one: no panic, and no place outside the
//! file. `cargo +nightly fuzz run bundle`.
#![no_main]

use airlock::bundle::{Layout, ReadAt as _};
use airlock::exchange::BundleIndex;
use libfuzzer_sys::fuzz_target;

const HEADER: usize = 512;
const CHECKSUM: std::ops::Range<usize> = 148..156;

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

fn read(volume: &[u8]) {
    let Ok(layout) = Layout::read(volume, volume.len() as u64) else { return };
    for (entry, offset) in layout.entries() {
        let Some(offset) = offset else { continue };
        let mut body = vec![0; usize::try_from(entry.size).expect("it is in the file")];
        volume.read_exact_at(&mut body, offset).expect("it is in the file");
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(index) = BundleIndex::parse(bytes) {
        assert_eq!(BundleIndex::parse(&index.to_json()), Ok(index));
    }
    read(bytes);
    read(&with_checksums(bytes));
});
