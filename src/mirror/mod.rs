//! The mirror: the only place where the cache directory and the sources meet.
//!
//! [`Mirror::get`] answers for the HTTP server, [`Mirror::fetch`] for prewarm. Below them there is
//! one flight per resource (`flight.rs`, `flights.rs`, driven by `fetch.rs`), which ends with the places that
//! registries and packages name (`fallback.rs`, `origins.rs`), a memory of what failed lately
//! (`memory.rs`), the task that follows the registries (`registries.rs`, `private.rs`), the names of
//! things for people (`names.rs`, `catalogue.rs`), whose they are (`belonging.rs`), the registries that list only
//! what is here (`view.rs`), the ledger of misses (`misses.rs`), what becomes of wishes (`wishes.rs`), of damage
//! (`heal.rs`, `scrub.rs`) and of a disk that runs low (`disk.rs`), and what is counted for whoever looks on
//! (`counters.rs`, `summary.rs`). `succession.rs` puts another configuration into force while clients are served.

mod artifacts;
mod belonging;
mod body;
mod catalogue;
mod counters;
mod disk;
mod fallback;
mod fetch;
mod flight;
mod flights;
mod heal;
mod judge;
mod memory;
mod misses;
mod names;
mod origins;
mod patience;
mod policy;
mod private;
mod receive;
mod refusal;
mod registries;
mod rescan;
mod scrub;
mod steer;
mod succession;
mod summary;
mod view;
mod wishes;
mod writer;

pub use body::read;
pub use catalogue::{Catalogue, CataloguedPackage, CataloguedVersion, FirstOf, PackageSummary, VersionState};
pub use counters::{ByReason, Counters};
pub use disk::DiskStatus;
pub use flight::{HOLD_BACK, Landed};
pub use heal::{Examined, Healed, examine, whole};
pub use judge::{Damage, hold, is_here, verify_file, verify_reader};
pub use memory::Health;
pub use names::{LoadError, Name, load_registry};
pub use patience::Patience;
pub use policy::Standing;
pub use refusal::Refusal;
pub use registries::{ListingAnswer, RegistryProblem};
pub use scrub::{ScrubEnd, ScrubStatus};
pub use steer::SteerError;
pub use summary::{MissSummary, Open};
pub use view::Served;
pub use wishes::{PackagesByName, WishState, WishStatus, near_names};

use crate::config::Config;
use crate::git::Bounds;
use crate::policy::{Act, Policy};
use crate::protocol::{RequestId, Resource};
use crate::source::{Rank, Source};
use crate::store::{Client, Lookup, OpenFile, Stamp, StepBack, Store};
use crate::tree::Limits;
use bytes::Bytes;
use flight::Head;
use futures_util::stream::{BoxStream, StreamExt};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bodies up to this many bytes are held in memory once they were asked for.
const SMALL: u64 = 128 << 10;

/// Flights that fetch at one time. Each may block a thread for its verification, so this must stay
/// well below the number of blocking threads, or no thread is left to write what they wait for.
const FETCHES: usize = 128;

/// A cache directory and its sources.
#[derive(Debug)]
pub struct Mirror {
    store: Arc<Store>,
    sources: Vec<Arc<dyn Source>>,
    bounds: crate::config::Mirror,
    git: Bounds,
    limits: Limits,
    memory: memory::Memory,
    flights: Arc<flights::Flights>,
    fetches: Arc<Semaphore>,
    verifications: Arc<Semaphore>,
    hot: quick_cache::sync::Cache<Resource, Bytes, Weight>,
    names: Arc<names::Names>,
    policy: Policy,
    known: policy::Known,
    belonging: belonging::Belonging,
    origins: origins::Known,
    fallback: crate::config::Fallback,
    misses: Arc<misses::Pending>,
    listings: Arc<watch::Sender<registries::Progress>>,
    said: private::Said,
    /// What could not be had of the registries when they were last asked for.
    problems: Mutex<BTreeMap<Rank, Vec<RegistryProblem>>>,
    view: view::View,
    /// One search of the cache directory at a time.
    searching: tokio::sync::Mutex<()>,
    disk: Arc<disk::Disk>,
    scrub: scrub::Scrub,
    /// What is being looked at because it could not be read.
    suspects: Mutex<HashSet<Resource>>,
    /// The registries that were said not to be shown as they are published.
    stepped_back: Mutex<Vec<StepBack>>,
    counters: Arc<Counters>,
    summary: summary::Summary,
    tasks: TaskTracker,
    closing: CancellationToken,
    /// Ends the tasks of a server, and no flight.
    resting: CancellationToken,
}

/// A request for a resource.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Who asks.
    pub client: Client,
    /// The client cannot see a body that ends short, so it must not get one that may.
    pub spool: bool,
    /// Only the length is wanted.
    pub head: bool,
    /// The client leaves after this long without a byte, and would rather have a refusal before.
    pub wait: Option<Duration>,
    /// What the request is called.
    pub id: Option<RequestId>,
}

/// A resource that is here now.
#[derive(Clone, Debug)]
pub struct Brought {
    /// Its size.
    pub bytes: u64,
    /// Whether it was here already.
    pub was_here: bool,
    /// Which source it came from, if this process fetched it: the name of a server, or the address
    /// of a fall-back.
    pub from: Option<Arc<str>>,
}

/// A resource that can be given.
pub enum Found {
    /// From memory.
    Memory(Bytes),
    /// From disk, verified.
    File(Landed),
    /// On its way in: the length if the source announced it, and the bytes.
    Streaming(Option<u64>, BoxStream<'static, io::Result<Bytes>>),
    /// On its way in, and only the length was wanted.
    Length(Option<u64>),
}

#[derive(Clone, Debug)]
struct Weight;

impl quick_cache::Weighter<Resource, Bytes> for Weight {
    fn weight(&self, _: &Resource, body: &Bytes) -> u64 {
        // The entry itself costs something too.
        body.len() as u64 + 128
    }
}

impl Mirror {
    /// Opens a mirror and starts its tasks. Without sources it is offline.
    pub fn start(store: Arc<Store>, sources: Vec<Arc<dyn Source>>, config: &Config) -> Arc<Self> {
        let mirror = Arc::new(Self::new(store, sources, config));
        mirror.spawn_tasks();
        mirror
    }

    /// Opens a mirror without the tasks of a server: nothing happens unless it is asked for.
    pub fn new(store: Arc<Store>, mut sources: Vec<Arc<dyn Source>>, config: &Config) -> Self {
        store.keep_free(config.disk.min_free);
        sources.sort_by_key(|source| source.rank());
        let with_health = sources.iter().filter(|source| source.rank() != Rank::Fallback).count();
        let hot = quick_cache::sync::Cache::with_weighter(
            usize::try_from(config.server.hot_memory / 4096).unwrap_or(1024).max(16),
            config.server.hot_memory,
            Weight,
        );
        let closing = CancellationToken::new();
        Self {
            memory: memory::Memory::new(
                names_of(sources.get(..with_health).unwrap_or_default()),
                config.mirror.cooldown,
            ),
            names: Arc::default(),
            policy: Policy::new(config.policy.clone()),
            known: policy::Known::default(),
            belonging: belonging::Belonging::default(),
            origins: origins::Known::default(),
            fallback: config.fallback,
            misses: Arc::default(),
            limits: limits(&config.limits),
            bounds: config.mirror.clone(),
            git: Bounds::new(config),
            flights: Arc::default(),
            fetches: Arc::new(Semaphore::new(FETCHES)),
            verifications: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from))),
            hot,
            listings: Arc::default(),
            said: private::Said::default(),
            problems: Mutex::default(),
            view: view::View::new(config),
            searching: tokio::sync::Mutex::default(),
            disk: Arc::default(),
            scrub: scrub::Scrub::new(config.scrub),
            suspects: Mutex::default(),
            stepped_back: Mutex::default(),
            counters: Arc::default(),
            summary: summary::Summary::default(),
            tasks: TaskTracker::new(),
            resting: closing.child_token(),
            closing,
            store,
            sources,
        }
    }

    /// The cache directory.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What one git repository may cost.
    pub fn git_bounds(&self) -> &Bounds {
        &self.git
    }

    /// What was done since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many flights are under way.
    pub fn flights_running(&self) -> usize {
        self.flights.count()
    }

    /// Bytes of small hot bodies in memory.
    pub fn hot_bytes(&self) -> u64 {
        self.hot.weight()
    }

    /// Whether there is no source at all.
    pub fn is_offline(&self) -> bool {
        self.sources.is_empty()
    }

    /// The sources with their health, in order; fall-backs are many places, so they have none.
    pub fn sources(&self) -> Vec<(&dyn Source, Health)> {
        self.sources.iter().map(AsRef::as_ref).zip(self.memory.health()).collect()
    }

    /// The limits for tarballs.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Gives a resource to a client: from memory, from disk, or from a flight. A refusal has been
    /// written down as a miss when it is one.
    pub async fn get(self: &Arc<Self>, resource: &Resource, ask: &Ask) -> Result<Found, Refusal> {
        let hit = match self.permits(Act::Serve, resource).await {
            Ok(()) => self.try_hit(resource).await,
            Err(denied) => Err(denied),
        };
        let found = match hit {
            Ok(Some(hit)) => {
                let from =
                    if matches!(hit, Found::Memory(_)) { &self.counters.memory_hits } else { &self.counters.disk_hits };
                from.fetch_add(1, Ordering::Relaxed);
                return Ok(hit);
            }
            Ok(None) => self.join_flight(resource, ask).await,
            Err(refusal) => Err(refusal),
        };
        match &found {
            Ok(_) => _ = self.counters.fetched.fetch_add(1, Ordering::Relaxed),
            Err(refusal) => self.refused(resource, refusal, &ask.client),
        }
        found
    }

    /// Brings a resource here. Returns its size and whether it was here already.
    pub async fn fetch(self: &Arc<Self>, resource: &Resource, patience: Patience) -> Result<(u64, bool), Refusal> {
        let Brought { bytes, was_here, .. } = self.fetch_from(resource, patience).await?;
        Ok((bytes, was_here))
    }

    /// The same, with where it came from.
    pub async fn fetch_from(self: &Arc<Self>, resource: &Resource, patience: Patience) -> Result<Brought, Refusal> {
        self.permits(Act::Fetch, resource).await?;
        let before = match self.look_up(resource).await? {
            Lookup::Verified(open, _) => return Ok(Brought { bytes: open.stamp.size, was_here: true, from: None }),
            Lookup::Unverified(open) => Some(open.stamp),
            // What nobody is asked for needs no room.
            Lookup::Absent if self.sources.is_empty() => None,
            Lookup::Absent => {
                self.ensure_room().await?;
                None
            }
        };
        let landed = self.fly(resource, patience).landed().await?;
        // Passed on to whoever was streaming it, and not kept.
        if landed.from.is_some() && matches!(self.look_up(resource).await?, Lookup::Absent) {
            return Err(Refusal::Low("the disk had no room to keep it".to_owned()));
        }
        // A file that only had to be verified was here; a damaged one was replaced.
        let was_here = before == Some(Stamp::of(&landed.file.metadata()?));
        Ok(Brought { bytes: landed.size, was_here, from: landed.from })
    }

    /// Stops the tasks and writes down what is not written yet. Flights end where they are.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.flush_misses().await;
    }

    async fn try_hit(self: &Arc<Self>, resource: &Resource) -> Result<Option<Found>, Refusal> {
        if let Some(body) = self.hot.get(resource) {
            return Ok(Some(Found::Memory(body)));
        }
        let Some(open) = self.look_up(resource).await?.verified() else { return Ok(None) };
        if open.stamp.size > SMALL {
            return Ok(Some(Found::File(Landed { file: Arc::new(open.file), size: open.stamp.size, from: None })));
        }
        let read = blocking(move || read_whole(&open)).await?;
        let Some(body) = read.inspect_err(|error| self.suspect(*resource, error))? else { return Ok(None) };
        self.hot.insert(*resource, body.clone());
        Ok(Some(Found::Memory(body)))
    }

    async fn look_up(&self, resource: &Resource) -> Result<Lookup, Refusal> {
        let (store, resource) = (Arc::clone(&self.store), *resource);
        Ok(blocking(move || store.look_up_served(&resource)).await??)
    }

    async fn join_flight(self: &Arc<Self>, resource: &Resource, ask: &Ask) -> Result<Found, Refusal> {
        if let Some(refusal) = self.refusal_at_once(resource) {
            return Err(refusal);
        }
        let flight = self.fly(resource, Patience::client(&self.bounds).on_behalf_of(ask.id));
        if ask.head {
            return self.in_time(ask.wait, flight.length()).await.map(Found::Length);
        }
        // To spool is to wait for the whole: the flight's own bounds see to it that bytes come.
        let head = if ask.spool { flight.head(true).await } else { self.in_time(ask.wait, flight.head(false)).await };
        Ok(match head? {
            Head::Landed(landed) => Found::File(landed),
            Head::Streaming(length) => Found::Streaming(length, body::follow(&flight).boxed()),
        })
    }

    /// No client is kept waiting for longer than this, whatever its flight waits for: a source may
    /// send a head and then nothing, and the flight may be one of a prewarm, which has time.
    async fn in_time<T>(
        &self,
        wait: Option<Duration>,
        waits: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let bound = self.bounds.silence.min(wait.unwrap_or(Duration::MAX));
        let late = |_| Err(Refusal::Slow(format!("no byte for {bound:?}")));
        tokio::time::timeout(bound, waits).await.unwrap_or_else(late)
    }

    /// Brings a resource here for a client that needs all of it before it can be answered.
    pub async fn get_whole(self: &Arc<Self>, resource: &Resource, ask: &Ask) -> Result<(), Refusal> {
        let permitted = self.permits(Act::Serve, resource).await;
        let fetched = match permitted {
            Ok(()) => {
                self.in_time(None, self.fetch(resource, Patience::client(&self.bounds).on_behalf_of(ask.id))).await
            }
            Err(denied) => Err(denied),
        };
        fetched.map(drop).inspect_err(|refusal| self.refused(resource, refusal, &ask.client))
    }

    /// What is known without a flight: offline and not here, or failed a moment ago everywhere.
    fn refusal_at_once(&self, resource: &Resource) -> Option<Refusal> {
        if self.flights.has(resource) || self.store.serves(resource) {
            return None;
        }
        let askable = match self.askable_now(resource)? {
            Ok(askable) => askable,
            Err(refusal) => return Some(refusal),
        };
        let asked = self.sources_for(resource, &askable, &Patience::client(&self.bounds));
        let faults = asked.into_iter().map(|source| self.memory.cooled(source, resource));
        let faults = faults.collect::<Option<Vec<_>>>()?;
        Some(askable.explain(self.verdict(&faults)))
    }
}

impl Lookup {
    fn verified(self) -> Option<OpenFile> {
        match self {
            Self::Verified(open, _) => Some(open),
            Self::Unverified(_) | Self::Absent => None,
        }
    }
}

/// The bytes that were verified; `None` if the file was written to meanwhile, for they would stay
/// in memory.
fn read_whole(open: &OpenFile) -> io::Result<Option<Bytes>> {
    let mut body = vec![0; usize::try_from(open.stamp.size).map_err(io::Error::other)?];
    let read = open.file.read_exact_at(&mut body, 0);
    if Stamp::of(&open.file.metadata()?) != open.stamp {
        return Ok(None);
    }
    read.map(|()| Some(body.into()))
}

/// The limits of the configuration, and the defaults of the rest.
pub fn limits(limits: &crate::config::Limits) -> Limits {
    Limits::from(limits)
}

/// Runs blocking work away from the async threads: the one way to do so.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

fn names_of(sources: &[Arc<dyn Source>]) -> Vec<String> {
    sources.iter().map(|source| source.name().to_owned()).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_changed_since_they_were_verified_do_not_get_into_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs_err::write(&path, "verified").unwrap();
        let open = || {
            let file = fs_err::File::open(&path).unwrap().into_file();
            OpenFile { stamp: Stamp::of(&file.metadata().unwrap()), file }
        };
        assert_eq!(read_whole(&open()).unwrap().as_deref(), Some(b"verified".as_slice()));
        for other in ["short", "much longer than before"] {
            let before = open();
            fs_err::write(&path, other).unwrap();
            assert_eq!(read_whole(&before).unwrap(), None, "{other}");
        }
    }
}
