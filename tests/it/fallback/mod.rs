//! What no server has, from where it comes in the first place: a file server and a git server of the
//! test's own.

mod downloads;
mod order;
mod repositories;

use crate::support::{config, mirror};
use airlock::config::Config;
use airlock::julia::ArtifactsToml;
use airlock::mirror::{Mirror, Patience, Refusal};
use airlock::protocol::{Resource, TreeHash};
use airlock::sample::{SampleUpstream, Site};
use airlock::tree::{TarEntry, write_tar_gz};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// An upstream, a server of files, and a cache.
struct World {
    upstream: SampleUpstream,
    files: SampleUpstream,
    folder: TempDir,
}

impl World {
    async fn new(site: Site) -> Self {
        let upstream = SampleUpstream::start(site).await.unwrap();
        let files = SampleUpstream::start(Site::empty()).await.unwrap();
        Self { upstream, files, folder: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn config(&self, more: &str) -> Config {
        config(&self.cache(), &[self.upstream.url()], more)
    }

    fn mirror(&self, more: &str) -> Arc<Mirror> {
        mirror(&self.config(more))
    }

    /// Puts a file on the server of files and returns its address.
    fn file(&self, path: &str, bytes: &[u8]) -> String {
        self.files.put(path, bytes.to_vec());
        format!("{}{path}", self.files.url())
    }
}

/// What a prewarm does, without its pauses.
async fn prewarm(mirror: &Arc<Mirror>, resource: &Resource) -> Result<Option<String>, Refusal> {
    let brought = mirror.fetch_from(resource, Patience::prewarm(1)).await?;
    Ok(brought.from.map(|from| from.to_string()))
}

/// An artifact as a plain tar archive, with its tree. `noise` bytes of it cannot be made small.
fn artifact(noise: usize) -> (TreeHash, Vec<u8>) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes = (0..noise / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let entries =
        [TarEntry::file("bin/tool", "#!/bin/sh\n", true), TarEntry::file("noise", bytes.collect::<Vec<_>>(), false)];
    let mut packed = Vec::new();
    let tree = write_tar_gz(entries, &mut packed, 6).unwrap();
    (tree, gunzip(&packed))
}

fn gunzip(packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut plain).unwrap();
    plain
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(plain: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn xz(plain: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 3);
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// An `Artifacts.toml` that names one artifact with these addresses and sums.
fn artifacts_toml(tree: TreeHash, downloads: &[(&str, &str)]) -> String {
    let mut text = format!("[tool]\ngit-tree-sha1 = \"{tree}\"\n");
    for (url, sum) in downloads {
        write!(text, "[[tool.download]]\nurl = \"{url}\"\nsha256 = \"{sum}\"\n").unwrap();
    }
    text
}

fn learn(mirror: &Mirror, tree: TreeHash, downloads: &[(&str, &str)]) -> Resource {
    mirror.learn_downloads(&ArtifactsToml::parse(&artifacts_toml(tree, downloads)).unwrap());
    Resource::Artifact { tree }
}
