//! The load of `scripts/load.sh`: many clients at once on a real `airlock serve`, before an upstream
//! that misbehaves.
//!
//! `load mixed AIRLOCK [CLIENTS] [SECONDS] [SEED]` asks for hits, ranges, cold misses and what nobody
//! has, and takes files out of the cache all the while so that there are always misses. Every byte is
//! compared with the upstream's. `load idle AIRLOCK [CONNECTIONS]` holds connections open that ask
//! nothing. Both fail on a wrong byte, a client that waits for ever, and on memory or descriptors that
//! grow; both print what they saw.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use airlock::protocol::Resource;
use airlock::sample::{Body, Fault, SampleUpstream, Site};
use airlock::tree::{TarEntry, write_tar_gz};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How many resources of how many unpacked bytes.
const SITE: [(u64, usize); 4] = [(1_500, 3_000), (300, 100_000), (60, 2_000_000), (3, 20_000_000)];
/// A client that waits for longer waits for ever.
const FOR_EVER: Duration = Duration::from_mins(1);
/// How often memory and descriptors are looked at.
const LOOK: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let airlock = arguments.get(1).context("usage: load mixed|idle AIRLOCK [NUMBER]...")?;
    let number = |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |text| text.parse());
    match arguments.first().map(String::as_str) {
        Some("mixed") => mixed(airlock, number(2, 1_000)?, number(3, 600)?, number(4, 1)?).await,
        Some("idle") => idle(airlock, number(2, 10_000)?).await,
        other => anyhow::bail!("no such load: {other:?}"),
    }
}

/// A running server.
struct Server {
    child: Child,
    url: String,
    cache: PathBuf,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start(airlock: &str, upstream: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let cache = folder.path().join("cache");
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let file = folder.path().join("airlock.toml");
        fs_err::write(
            &file,
            "log-level = 'error'\n[server]\nmax-connections-per-client = 0\n[mirror]\ncooldown = '1s'\nrescan-interval = '5s'\n",
        )?;
        let log = fs_err::File::create(folder.path().join("log"))?.into_parts().0;
        let child = Command::new(airlock)
            .args(["serve", "--upstream", upstream, "--listen", &format!("127.0.0.1:{port}")])
            .arg("--config")
            .arg(&file)
            .arg("--cache")
            .arg(&cache)
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()?;
        let server = Self { child, url: format!("http://127.0.0.1:{port}"), cache, _folder: folder };
        let begun = Instant::now();
        while reqwest::get(format!("{}/health", server.url)).await.is_err() {
            ensure!(begun.elapsed() < FOR_EVER, "airlock does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    /// Resident memory in bytes, and open descriptors.
    fn size(&self) -> anyhow::Result<(u64, usize)> {
        let of = |name: &str| format!("/proc/{}/{name}", self.child.id());
        let status = fs_err::read_to_string(of("status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse()?;
        Ok((kilobytes * 1024, fs_err::read_dir(of("fd"))?.count()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the clients share.
struct Load {
    upstream: SampleUpstream,
    server: Server,
    resources: Vec<(Resource, Bytes)>,
    client: reqwest::Client,
    ended: AtomicBool,
    hits: Mutex<Vec<Duration>>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    whole: AtomicU64,
    ranges: AtomicU64,
    fetched: AtomicU64,
    cut: AtomicU64,
    refused: AtomicU64,
    absent: AtomicU64,
    bytes: AtomicU64,
}

async fn mixed(airlock: &str, clients: u64, seconds: u64, seed: u64) -> anyhow::Result<()> {
    let (site, resources) = site()?;
    let upstream = SampleUpstream::start(site).await?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Server::start(airlock, &upstream.url()).await?;
    let client = reqwest::Client::builder().timeout(FOR_EVER).no_proxy().build()?;
    let load = Arc::new(Load {
        upstream,
        server,
        resources,
        client,
        ended: AtomicBool::new(false),
        hits: Mutex::default(),
        counts: Counts::default(),
    });
    let mut random = seed;
    let all: Vec<_> = (0..clients).map(|_| tokio::spawn(one_client(Arc::clone(&load), next(&mut random)))).collect();
    let janitor = tokio::spawn(take_away(Arc::clone(&load), next(&mut random)));
    let (begun, mut looks) = (Instant::now(), Vec::new());
    while begun.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(LOOK).await;
        looks.push(load.server.size()?);
        ensure!(!all.iter().any(tokio::task::JoinHandle::is_finished), "a client ended early");
    }
    load.ended.store(true, Ordering::SeqCst);
    let mut wrong = None;
    for client in all {
        // The first that saw something wrong says what.
        wrong = wrong.or(client.await?.err());
    }
    janitor.await??;
    report(&load, &looks, begun.elapsed())?;
    wrong.map_or(Ok(()), Err)
}

fn report(load: &Load, looks: &[(u64, usize)], took: Duration) -> anyhow::Result<()> {
    let mut hits = load.hits.lock().unwrap_or_else(PoisonError::into_inner).clone();
    hits.sort_unstable();
    let at = |part: f64| {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a list"
        )]
        let place = (hits.len() as f64 * part) as usize;
        hits.get(place.min(hits.len().saturating_sub(1))).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let counts = &load.counts;
    println!("{:.0} s, {} MB received by clients", took.as_secs_f64(), get(&counts.bytes) / 1_000_000);
    println!("whole hits {}, ranges {}, fetched {}", get(&counts.whole), get(&counts.ranges), get(&counts.fetched));
    println!("cut short {}, refused {}, absent {}", get(&counts.cut), get(&counts.refused), get(&counts.absent));
    println!("hits: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms", at(0.5), at(0.99), at(1.0));
    let third = looks.len() / 3;
    let median = |part: &[(u64, usize)]| {
        let (mut memory, mut open): (Vec<_>, Vec<_>) = part.iter().copied().unzip();
        memory.sort_unstable();
        open.sort_unstable();
        (memory.get(memory.len() / 2).copied().unwrap_or(0), open.get(open.len() / 2).copied().unwrap_or(0))
    };
    let (before, after) =
        (median(looks.get(third..2 * third).unwrap_or(looks)), median(looks.get(2 * third..).unwrap_or(looks)));
    println!("memory {} MB, then {} MB; descriptors {}, then {}", before.0 >> 20, after.0 >> 20, before.1, after.1);
    ensure!(get(&counts.fetched) > 0 && get(&counts.cut) > 0, "there were no misses, or no faults");
    ensure!(after.0 < before.0 + before.0 / 5 + (8 << 20), "memory grows");
    ensure!(after.1 < before.1 + before.1 / 5 + 100, "descriptors grow");
    Ok(())
}

async fn one_client(load: Arc<Load>, mut random: u64) -> anyhow::Result<()> {
    while !load.ended.load(Ordering::SeqCst) {
        let chance = next(&mut random) % 100;
        if chance < 3 {
            let tree: String = [(); 5].map(|()| format!("{:08x}", next(&mut random) >> 32)).concat();
            let status = load.client.get(format!("{}/artifact/{tree}", load.server.url)).send().await?.status();
            // 502 and 504 while the upstream is taken for down.
            ensure!([404, 502, 504].contains(&status.as_u16()), "what nobody has: {status}");
            load.counts.absent.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        // Small ones most of the time, as packages are.
        let place = next(&mut random) % if chance < 90 { 1_500 } else { load.resources.len() as u64 };
        let Some((resource, body)) = usize::try_from(place).ok().and_then(|place| load.resources.get(place)) else {
            continue;
        };
        let range = (chance < 20).then(|| {
            let start = next(&mut random) % body.len() as u64;
            (start, start + next(&mut random) % (body.len() as u64 - start))
        });
        let asked = tokio::time::timeout(FOR_EVER, ask(&load, resource, body, range)).await;
        asked.with_context(|| format!("{resource}: no end"))??;
    }
    Ok(())
}

/// Asks for a resource and compares what came.
async fn ask(load: &Load, resource: &Resource, body: &Bytes, range: Option<(u64, u64)>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut request = load.client.get(format!("{}{resource}", load.server.url));
    if let Some((start, end)) = range {
        request = request.header("range", format!("bytes={start}-{end}"));
    }
    let response = request.send().await?;
    let (status, missed) = (response.status().as_u16(), response.headers().contains_key("x-cache-miss"));
    let wanted = match (status, range) {
        (200, _) => body.clone(),
        (206, Some((start, end))) => body.slice(usize::try_from(start)?..=usize::try_from(end)?),
        (404 | 502 | 504, _) => {
            load.counts.refused.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        other => anyhow::bail!("{resource}: {other:?}"),
    };
    let Ok(got) = response.bytes().await else {
        // A body that fails is closed short, and the client sees it.
        ensure!(missed, "{resource}: a hit was cut short");
        load.counts.cut.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    };
    ensure!(got == wanted, "{resource}: WRONG BYTES with status {status}");
    load.counts.bytes.fetch_add(got.len() as u64, Ordering::Relaxed);
    let count = match (missed, status) {
        (true, _) => &load.counts.fetched,
        (false, 206) => &load.counts.ranges,
        (false, _) => &load.counts.whole,
    };
    count.fetch_add(1, Ordering::Relaxed);
    if !missed && body.len() <= 100_000 {
        load.hits.lock().unwrap_or_else(PoisonError::into_inner).push(begun.elapsed());
    }
    Ok(())
}

/// Takes files out of the cache, and lets the upstream do something wrong with some of them.
async fn take_away(load: Arc<Load>, mut random: u64) -> anyhow::Result<()> {
    while !load.ended.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let place = usize::try_from(next(&mut random) % load.resources.len() as u64)?;
        let Some((resource, body)) = load.resources.get(place) else { continue };
        let half = body.len() / 2;
        let fault = match next(&mut random) % 12 {
            0 => Some(Fault::Status(500, None)),
            1 => Some(Body::short(half)),
            2 => Some(Body::reset(half)),
            3 => Some(Fault::Replace(damaged(body))),
            4 => Some(Fault::Drop),
            5 if body.len() > 1_000_000 => Some(Body::stall(half)),
            _ => None,
        };
        if let Some(fault) = fault {
            load.upstream.fail(&resource.to_string(), fault);
        }
        let _ = fs_err::remove_file(load.server.cache.join(resource.relative_path()));
    }
    load.upstream.heal();
    Ok(())
}

async fn idle(airlock: &str, connections: u64) -> anyhow::Result<()> {
    let (site, resources) = site()?;
    let upstream = SampleUpstream::start(site).await?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Server::start(airlock, &upstream.url()).await?;
    let address = server.url.trim_start_matches("http://").to_owned();
    let (resource, body) = resources.first().context("the site is empty")?;
    let url = format!("{}{resource}", server.url);
    ensure!(reqwest::get(&url).await?.bytes().await? == *body, "a wrong body");
    let before = server.size()?;
    let mut held = Vec::new();
    for at in 0..connections {
        let mut stream = TcpStream::connect(&address).await.with_context(|| format!("connection {at}"))?;
        // Half of them have asked once and were kept alive.
        if at % 2 == 0 {
            stream.write_all(b"GET /health HTTP/1.1\r\nhost: load\r\n\r\n").await?;
            let mut answer = [0; 16];
            stream.read_exact(&mut answer).await?;
            ensure!(answer.starts_with(b"HTTP/1.1 200"), "connection {at} was refused");
        }
        held.push(stream);
    }
    let (begun, during) = (Instant::now(), server.size()?);
    ensure!(reqwest::get(&url).await?.bytes().await? == *body, "a wrong body");
    println!(
        "{connections} idle connections: memory {} MB, before {} MB; descriptors {}; a hit took {:.1} ms",
        during.0 >> 20,
        before.0 >> 20,
        during.1,
        begun.elapsed().as_secs_f64() * 1000.0
    );
    ensure!(during.1 as u64 >= connections, "they are not held");
    drop(held);
    let begun = Instant::now();
    while server.size()?.1 > before.1 + 20 {
        ensure!(begun.elapsed() < FOR_EVER, "descriptors are not given back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("after they left: descriptors {}", server.size()?.1);
    Ok(())
}

fn site() -> anyhow::Result<(Site, Vec<(Resource, Bytes)>)> {
    let (mut site, mut resources, mut random) = (Site::sample()?, Vec::new(), 7);
    for (count, size) in SITE {
        for _ in 0..count {
            let content: Vec<u8> =
                std::iter::repeat_with(|| next(&mut random).to_be_bytes()).take(size / 8).flatten().collect();
            let mut body = Vec::new();
            let tree = write_tar_gz([TarEntry::file("content", content, false)], &mut body, 1)?;
            let (resource, body) = (Resource::Artifact { tree }, Bytes::from(body));
            site.put(&resource.to_string(), body.clone());
            resources.push((resource, body));
        }
    }
    Ok((site, resources))
}

fn damaged(body: &Bytes) -> Vec<u8> {
    let mut damaged = body.to_vec();
    if let Some(byte) = damaged.get_mut(body.len() / 2) {
        *byte ^= 0x10;
    }
    damaged
}

/// Splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
