//! Hostile and odd archives, built block by block.

mod limits;
mod reading;
mod refusals;
mod repack;
mod semantics;
mod stream;

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
    path.strip_suffix(".toml").is_some()
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
