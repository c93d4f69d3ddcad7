//! How a flight comes in: verify what lies here, else lock, ask the sources in order, receive,
//! verify, publish.

use super::flight::{Flight, Landed};
use super::judge::{Damage, describe, hash, held_artifacts, judge, verify_file};
use super::refusal::Refusal;
use super::{Mirror, blocking, lock};
use crate::config;
use crate::fault;
use crate::protocol::Resource;
use crate::source::{Answer, Fault, Resume, Source};
use crate::store::{Lock, Lookup, OpenFile, Staged, Stamp, StoreError};
use crate::tree::{Contents, TreeError};
use bytes::Bytes;
use futures_util::stream::StreamExt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bytes that may wait for the disk before the source has to.
const QUEUE: usize = 1 << 20;
/// How often another process's fetch of the same resource is looked at.
const LOCK_POLL: Duration = Duration::from_millis(50);
/// Longest pause that a source may ask for: one that wants to be left alone for longer has failed.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How often one download may be resumed without coming to its end.
const RESUMES: u32 = 20;

/// How hard a flight tries.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Rounds over all sources.
    attempts: u32,
    /// Longest time without a byte before somebody who waits leaves.
    silence: Option<Duration>,
    /// How long another process may fetch the same before it is fetched here too.
    lock_wait: Duration,
    /// Longest pause between rounds.
    longest_pause: Duration,
    /// Whether sources are asked although they failed a moment ago.
    insists: bool,
}

impl Patience {
    /// For a client that leaves after 20 s of silence.
    pub fn client(bounds: &config::Mirror) -> Self {
        Self {
            attempts: 3,
            silence: Some(bounds.silence),
            lock_wait: Duration::from_secs(5),
            longest_pause: Duration::from_secs(2),
            insists: false,
        }
    }

    /// For a run that has time.
    pub const fn prewarm(attempts: u32) -> Self {
        Self {
            attempts,
            silence: None,
            lock_wait: Duration::from_secs(600),
            longest_pause: Duration::from_secs(60),
            insists: true,
        }
    }

    fn deadline(&self, from: Instant) -> Option<Instant> {
        self.silence.map(|silence| from + silence)
    }

    /// The pause before a source is asked for its listing again, if it should be.
    pub(super) fn pause_before_listing(&self, round: u32, fault: &Fault) -> Option<Duration> {
        let pause = self.pause(round, fault.retry_after());
        let again = self.insists && fault.is_passing() && round < self.attempts && pause <= LONGEST_WAIT;
        again.then_some(pause)
    }

    /// Exponential, with jitter so that many do not come back at once.
    fn pause(&self, round: u32, asked: Option<Duration>) -> Duration {
        let base = Duration::from_millis(250).saturating_mul(1 << round.min(16)).min(self.longest_pause);
        let jitter = jiff::Timestamp::now().subsec_nanosecond().unsigned_abs() % 1000;
        let pause = base.mul_f64(0.5 + f64::from(jitter) / 1000.0);
        pause.max(asked.unwrap_or_default())
    }
}

/// Ends the flight and takes it off the board, however its task ends.
struct Landing {
    mirror: Arc<Mirror>,
    flight: Arc<Flight>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flight.end(Err(Refusal::Closing));
        lock(&self.mirror.flights).remove(&self.flight.resource);
    }
}

/// What one attempt at one source came to.
enum Failed {
    Source(Fault),
    Here(Refusal),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Source(fault)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Here(error.into())
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Here(error.into())
    }
}

impl Mirror {
    /// The flight of this resource: the one under way, or a new one. It goes on without whoever
    /// asked for it.
    pub(super) fn fly(self: &Arc<Self>, resource: &Resource, patience: Patience) -> Arc<Flight> {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(resource) {
            return Arc::clone(flight);
        }
        let flight = Arc::new(Flight::new(*resource));
        flights.insert(*resource, Arc::clone(&flight));
        let landing = Landing { mirror: Arc::clone(self), flight: Arc::clone(&flight) };
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            fault::point("flight.started");
            let obtained = landing.mirror.obtain(&landing.flight, patience);
            if let Some(outcome) = closing.run_until_cancelled(obtained).await {
                landing.flight.end(outcome);
            }
        });
        flight
    }

    async fn obtain(&self, flight: &Flight, patience: Patience) -> Result<Landed, Refusal> {
        if let Some(landed) = self.from_disk(flight).await? {
            return Ok(landed);
        }
        if self.sources.is_empty() {
            return Err(Refusal::Offline);
        }
        let place = self.fetches.acquire();
        let _place = within(patience.deadline(flight.started), place).await.ok_or_else(busy)?;
        let _lock = match self.lock_or_landed(flight, patience).await? {
            Ok(landed) => return Ok(landed),
            Err(lock) => lock,
        };
        self.from_sources(flight, patience).await
    }

    /// What lies here under this name, verified now if it was not yet. What turns out to be wrong
    /// is taken out of sight.
    async fn from_disk(&self, flight: &Flight) -> Result<Option<Landed>, Refusal> {
        let open = match self.look_up(&flight.resource).await? {
            Lookup::Absent => return Ok(None),
            Lookup::Verified(open, _) => return Ok(Some(landed(open))),
            Lookup::Unverified(open) => open,
        };
        let (file, stamp) = (Arc::new(open.file), open.stamp);
        flight.begin(Arc::clone(&file), Some(stamp.size), stamp.size);
        let _place = self.verifications.acquire().await.map_err(|_| Refusal::Closing)?;
        let Some(damage) = self.verify_here(flight.resource, &file, stamp).await? else {
            return Ok(Some(Landed { file, size: stamp.size }));
        };
        let (store, resource) = (Arc::clone(&self.store), flight.resource);
        let to = blocking(move || store.quarantine(&resource)).await??;
        tracing::error!(resource = %resource, quarantine = %to.display(), "damaged in the cache: {damage}");
        if flight.is_committed() || self.sources.is_empty() { Err(Refusal::Content(damage)) } else { Ok(None) }
    }

    async fn verify_here(&self, resource: Resource, file: &Arc<File>, stamp: Stamp) -> Result<Option<String>, Refusal> {
        let (store, limits, file) = (Arc::clone(&self.store), self.limits.clone(), Arc::clone(file));
        match blocking(move || verify_file(&resource, &file, stamp, &limits)).await? {
            Ok(fact) => {
                self.names.learn_artifacts(&resource, &fact.artifacts);
                blocking(move || store.remember(fact)).await??;
                Ok(None)
            }
            Err(Damage::Unreadable(error)) => Err(error.into()),
            Err(Damage::Wrong(damage)) => Ok(Some(damage)),
        }
    }

    /// Waits while another process fetches the same; what it brought is a hit.
    async fn lock_or_landed(
        &self,
        flight: &Flight,
        patience: Patience,
    ) -> Result<Result<Landed, Option<Lock>>, Refusal> {
        let give_up = flight.started + patience.lock_wait;
        loop {
            let (store, resource) = (Arc::clone(&self.store), flight.resource);
            let lock = blocking(move || store.try_lock(&resource)).await??;
            if let Lookup::Verified(open, _) = self.look_up(&flight.resource).await? {
                return Ok(Ok(landed(open)));
            }
            if lock.is_some() || Instant::now() >= give_up {
                return Ok(Err(lock));
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    /// Asks the sources in order, and again after a pause while that may help.
    async fn from_sources(&self, flight: &Flight, patience: Patience) -> Result<Landed, Refusal> {
        let asked = |source: &usize| patience.insists || self.memory.cooled(*source, &flight.resource).is_none();
        let sources: Vec<_> = (0..self.sources.len()).filter(asked).collect();
        let skipped = (0..self.sources.len()).filter_map(|source| self.memory.cooled(source, &flight.resource));
        let skipped: Vec<_> = skipped.collect();
        for round in 1.. {
            let mut faults = skipped.clone();
            for &source in &sources {
                match self.from_source(flight, source, patience).await {
                    Ok(landed) => return Ok(landed),
                    Err(Failed::Here(refusal)) => return Err(refusal),
                    Err(Failed::Source(fault)) if flight.is_committed() => return Err(Refusal::from_faults(&[fault])),
                    Err(Failed::Source(fault)) => faults.push(fault),
                }
            }
            let helps = |fault: &&Fault| fault.is_passing() && (patience.insists || !fault.is_unreachable());
            let again = faults.iter().find(helps);
            let pause = patience.pause(round, again.and_then(Fault::retry_after));
            let leaves = |deadline: Instant| deadline.saturating_duration_since(Instant::now()) <= pause;
            let late = pause > LONGEST_WAIT || patience.deadline(flight.started).is_some_and(leaves);
            if again.is_none() || round >= patience.attempts || late {
                return Err(Refusal::from_faults(&faults));
            }
            tokio::time::sleep(pause).await;
        }
        Err(Refusal::Closing)
    }

    async fn from_source(&self, flight: &Flight, index: usize, patience: Patience) -> Result<Landed, Failed> {
        let Some(source) = self.sources.get(index) else { return Err(Fault::NotFound.into()) };
        if !patience.insists && !self.memory.admits(index) {
            return Err(Fault::Connect("this upstream was out of reach a moment ago".to_owned()).into());
        }
        let _probe = Probe(self, index);
        let result = self.attempt(flight, source.as_ref(), patience).await;
        match &result {
            Ok(_) => self.memory.succeeded(index, &flight.resource),
            Err(Failed::Here(_)) => {}
            Err(Failed::Source(fault)) => {
                tracing::warn!(resource = %flight.resource, source = source.name(), "{fault}");
                self.memory.failed(index, &flight.resource, fault);
            }
        }
        result
    }

    async fn attempt(&self, flight: &Flight, source: &dyn Source, patience: Patience) -> Result<Landed, Failed> {
        let answer = source.fetch(&flight.resource, None);
        let answer = within(patience.deadline(flight.started), answer).await.ok_or_else(|| too_late(patience))??;
        let store = Arc::clone(&self.store);
        let staged = blocking(move || store.stage()).await??;
        fault::point("flight.staged");
        if !flight.begin(staged.file(), answer.length, 0) {
            return Err(Fault::Broken("clients already have bytes of another answer".to_owned()).into());
        }
        let received = self.receive(flight, source, answer, Writer::new(staged), patience).await;
        if received.is_err() {
            flight.abandon();
        }
        let (staged, contents) = received?;
        judge(&flight.resource, &contents).map_err(Fault::Content)?;
        self.publish(flight.resource, staged, contents).await
    }

    /// Receives the body while it is being verified behind.
    async fn receive(
        &self,
        flight: &Flight,
        source: &dyn Source,
        mut answer: Answer,
        mut writer: Writer,
        patience: Patience,
    ) -> Result<(Staged, Contents), Failed> {
        let behind = flight.reader().ok_or_else(|| io::Error::other("no file"))?;
        let limits = self.limits.clone();
        let mut verification = Verification(tokio::task::spawn_blocking(move || hash(behind, &limits)));
        let (length, etag) = (answer.length, answer.etag.clone());
        for resumes in 0.. {
            let before = flight.written();
            let broken = match self.copy(flight, answer, &mut writer, &mut verification).await {
                Ok(()) => break,
                Err(Failed::Source(fault @ (Fault::Broken(_) | Fault::Stalled(_)))) => fault,
                Err(failed) => return Err(failed),
            };
            writer.settle(flight).await?;
            let written = flight.written();
            let resumable = length.is_some() && (etag.is_some() || !flight.is_committed());
            if !resumable || written == before || resumes >= RESUMES {
                return Err(broken.into());
            }
            let resume = Resume { at: written, etag: etag.clone() };
            let asked = source.fetch(&flight.resource, Some(&resume));
            let resumed = within(patience.deadline(Instant::now()), asked).await.ok_or_else(|| too_late(patience))?;
            answer = match resumed {
                Ok(answer) if (answer.start, answer.length, &answer.etag) == (written, length, &etag) => answer,
                _ => return Err(broken.into()),
            };
            tracing::info!(resource = %flight.resource, source = source.name(), at = written, "resumed");
        }
        fault::point("flight.received");
        flight.complete();
        let contents = verification.verdict().await?;
        Ok((writer.into_staged()?, contents))
    }

    /// Copies one answer to the file: the source, the disk and the verification each at their own
    /// pace, with a bounded queue between.
    async fn copy(
        &self,
        flight: &Flight,
        mut answer: Answer,
        writer: &mut Writer,
        verification: &mut Verification,
    ) -> Result<(), Failed> {
        let mut ended = false;
        while !ended || !writer.is_idle() {
            tokio::select! {
                chunk = answer.body.next(), if !ended && writer.queued < QUEUE => match chunk {
                    Some(Ok(chunk)) => {
                        self.counters.received.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                        writer.push(chunk);
                    }
                    Some(Err(fault)) => return Err(fault.into()),
                    None => ended = true,
                },
                written = writer.written(), if writer.is_busy() => flight.advance(written?),
                // It cannot be done before the end, so this is a fault.
                early = &mut verification.0 => return Err(early_fault(early)),
            }
            writer.begin();
        }
        match answer.length {
            Some(length) if flight.written() != length => {
                Err(Fault::Broken(format!("{} of {length} bytes came", flight.written())).into())
            }
            _ => Ok(()),
        }
    }

    async fn publish(&self, resource: Resource, staged: Staged, contents: Contents) -> Result<Landed, Failed> {
        let store = Arc::clone(&self.store);
        let artifacts = held_artifacts(&resource, &contents);
        let file = staged.file();
        let size = file.metadata()?.len();
        self.names.learn_artifacts(&resource, &artifacts);
        blocking(move || store.publish(staged, &resource, contents.strict, artifacts)).await??;
        Ok(Landed { file, size })
    }
}

/// Lets the next probe of a cooled source begin when this one was dropped half-way.
struct Probe<'m>(&'m Mirror, usize);

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.0.memory.given_up(self.1);
    }
}

/// A verification under way on a blocking thread.
struct Verification(JoinHandle<Result<Contents, TreeError>>);

impl Verification {
    async fn verdict(&mut self) -> Result<Contents, Failed> {
        (&mut self.0).await.map_err(io::Error::other)?.map_err(|error| tree_fault(&error))
    }
}

fn early_fault(early: Result<Result<Contents, TreeError>, tokio::task::JoinError>) -> Failed {
    match early {
        Ok(Ok(_)) => Fault::Content("bytes after the end".to_owned()).into(),
        Ok(Err(error)) => tree_fault(&error),
        Err(error) => io::Error::other(error).into(),
    }
}

fn tree_fault(error: &TreeError) -> Failed {
    match error {
        TreeError::Read(error) => Failed::Here(Refusal::Store(error.to_string())),
        error => Fault::Content(describe(error)).into(),
    }
}

/// The staged file and what waits to be written to it. While one write is under way on a blocking
/// thread, the next chunks gather.
struct Writer {
    idle: Option<Staged>,
    busy: Option<JoinHandle<io::Result<(Staged, u64)>>>,
    queue: Vec<Bytes>,
    queued: usize,
}

impl Writer {
    fn new(staged: Staged) -> Self {
        Self { idle: Some(staged), busy: None, queue: Vec::new(), queued: 0 }
    }

    fn push(&mut self, chunk: Bytes) {
        self.queued += chunk.len();
        self.queue.push(chunk);
    }

    fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    fn is_idle(&self) -> bool {
        self.busy.is_none() && self.queue.is_empty()
    }

    /// Starts to write what has gathered, unless a write is under way.
    fn begin(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let Some(mut staged) = self.idle.take() else { return };
        let chunks = std::mem::take(&mut self.queue);
        let bytes = std::mem::take(&mut self.queued) as u64;
        self.busy = Some(tokio::task::spawn_blocking(move || {
            chunks.iter().try_for_each(|chunk| staged.write_all(chunk))?;
            Ok((staged, bytes))
        }));
    }

    /// Waits for the write under way; cancel-safe.
    async fn written(&mut self) -> io::Result<u64> {
        let Some(busy) = &mut self.busy else { return Ok(0) };
        let (staged, bytes) = busy.await.map_err(io::Error::other)??;
        self.busy = None;
        self.idle = Some(staged);
        Ok(bytes)
    }

    /// Writes everything that has gathered.
    async fn settle(&mut self, flight: &Flight) -> io::Result<()> {
        self.begin();
        while self.is_busy() {
            flight.advance(self.written().await?);
            self.begin();
        }
        Ok(())
    }

    fn into_staged(self) -> io::Result<Staged> {
        self.idle.ok_or_else(|| io::Error::other("a write is still under way"))
    }
}

fn landed(open: OpenFile) -> Landed {
    Landed { file: Arc::new(open.file), size: open.stamp.size }
}

fn busy() -> Refusal {
    Refusal::Slow("too many fetches at one time".to_owned())
}

fn too_late(patience: Patience) -> Fault {
    Fault::Stalled(patience.silence.unwrap_or_default())
}

async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}
