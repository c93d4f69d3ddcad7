//! The upstream of `scripts/bench.sh`: the sample upstream with generated artifacts besides its own.
//!
//! `bench_upstream [--latency MS] [--rate BYTES] [--list FILE] [--cache DIR] [--noise]
//! COUNTxBYTES...` makes COUNT artifacts of about BYTES packed bytes each, prints its URL and serves
//! until standard input ends, at BYTES in a second if a rate is given. FILE gets a miss list of them, DIR the same tarballs laid out as a cache directory. They hold
//! text that packs 3 to 1, as code does, or with `--noise` bytes that do not pack.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use airlock::julia::{MissList, MissListEntry};
use airlock::protocol::Resource;
use airlock::sample::{SampleUpstream, Site};
use airlock::tree::{TarEntry, write_tar_gz};
use anyhow::Context as _;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes in one file of a tarball.
const FILE: usize = 8 << 20;

#[derive(Default)]
struct Wanted {
    latency: Duration,
    /// Bytes in a second.
    rate: Option<u32>,
    list: Option<PathBuf>,
    cache: Option<PathBuf>,
    noise: bool,
    /// How many of how many bytes.
    artifacts: Vec<(usize, usize)>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let wanted = parse(std::env::args().skip(1))?;
    let (site, resources) = site(&wanted)?;
    if let Some(cache) = &wanted.cache {
        resources.iter().try_for_each(|resource| lay_out(cache, resource, &site))?;
    }
    if let Some(list) = &wanted.list {
        let entry = |resource: &Resource| MissListEntry { resource: *resource, name: None, version: None };
        fs_err::write(list, MissList { entries: resources.iter().map(entry).collect() }.to_string())?;
    }
    let upstream = SampleUpstream::start(site).await?;
    upstream.set_latency(wanted.latency);
    wanted.rate.into_iter().for_each(|rate| upstream.set_rate(rate));
    println!("{}", upstream.url());
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Wanted> {
    let mut wanted = Wanted::default();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--latency" => wanted.latency = Duration::from_millis(value()?.parse()?),
            "--rate" => wanted.rate = Some(value()?.parse()?),
            "--list" => wanted.list = Some(value()?.into()),
            "--cache" => wanted.cache = Some(value()?.into()),
            "--noise" => wanted.noise = true,
            sizes => {
                let (count, bytes) = sizes.split_once('x').context("artifacts are given as COUNTxBYTES")?;
                wanted.artifacts.push((count.parse()?, bytes.parse()?));
            }
        }
    }
    Ok(wanted)
}

fn site(wanted: &Wanted) -> anyhow::Result<(Site, Vec<Resource>)> {
    let fill = if wanted.noise { noise } else { text };
    let mut sample = Vec::new();
    write_tar_gz([TarEntry::file("sample", fill(0, 1 << 20), false)], &mut sample, 1)?;
    let (mut site, mut resources, mut seed) = (Site::sample()?, Vec::new(), 0);
    for &(count, bytes) in &wanted.artifacts {
        for _ in 0..count {
            let length = (bytes << 20) / sample.len();
            let starts = (0..length).step_by(FILE);
            let entries = starts.map(|start| {
                seed += 1;
                TarEntry::file(format!("share/file-{seed}"), fill(seed, FILE.min(length - start)), false)
            });
            let mut body = Vec::new();
            let tree = write_tar_gz(entries, &mut body, 1)?;
            let resource = Resource::Artifact { tree };
            site.put(&resource.to_string(), body);
            resources.push(resource);
        }
    }
    Ok((site, resources))
}

fn lay_out(cache: &Path, resource: &Resource, site: &Site) -> anyhow::Result<()> {
    let path = cache.join(resource.relative_path());
    fs_err::create_dir_all(path.parent().context("a resource lies in a folder")?)?;
    fs_err::write(path, site.body(&resource.to_string()).context("it was just put there")?)?;
    Ok(())
}

/// Knuth's constants for a 64-bit linear congruential generator.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 32
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| random(&mut state).to_le_bytes()).take(length.div_ceil(4));
    let mut bytes: Vec<u8> = words.flat_map(|[a, b, c, d, ..]| [a, b, c, d]).collect();
    bytes.truncate(length);
    bytes
}

fn text(seed: u64, length: usize) -> Vec<u8> {
    const WORDS: [&str; 8] = ["function ", "return ", "end\n", "version = ", "using ", "struct ", "module ", "::Int, "];
    let mut state = seed;
    let mut text = String::with_capacity(length + 32);
    while text.len() < length {
        let number = random(&mut state);
        text.push_str(
            WORDS.get(usize::try_from(number % WORDS.len() as u64).unwrap_or_default()).copied().unwrap_or_default(),
        );
        let _ = write!(text, "{:x} ", number >> 20);
    }
    text.truncate(length);
    text.into_bytes()
}
