//! The scrub: while it serves, a mirror reads everything that is here again, slowly, and sets aside
//! what is not what it was.
//!
//! A fact says what a file was when it was verified; rot changes neither its size nor its times. So
//! the scrub goes by no fact, and has the kernel forget what it holds of a file before it is read, or
//! the page cache would be verified and not the disk. It forgets it after that too, so that a pass
//! does not push out what clients ask for.
//!
//! One file at a time, so many bytes a second, in the order of their names: where it is survives a
//! restart. While all places for verification are taken by what clients wait for, it waits too. One
//! mirror at a time scrubs a cache: a lock between processes, which also keeps the mirrors before and
//! after a reload apart.

use super::heal::{Examined, examine};
use super::{Mirror, Patience, blocking, lock};
use crate::config;
use crate::protocol::{Kind, Resource};
use crate::store::{Action, Lock, ScrubPass, ScrubRecord, Store, StoreError};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// How often it is written down how far it is; it is also when something was found.
const RECORD: Duration = Duration::from_secs(10);
/// How long it waits for a cache that another mirror scrubs, and after it could not go on.
const AGAIN: Duration = Duration::from_secs(10);
/// Most bytes that are read at once.
const STEP: usize = 256 << 10;
/// After so many files in a row that the disk does not give, it is the disk, and moving files would
/// make it worse.
const UNREADABLE: u64 = 3;
/// Rounds over the sources for what was damaged.
const ATTEMPTS: u32 = 2;

/// What the scrub needs to know.
#[derive(Debug)]
pub(super) struct Scrub {
    settings: config::Scrub,
    status: Arc<Mutex<ScrubStatus>>,
    /// When the next byte may be read.
    next: Mutex<Option<Instant>>,
}

/// What the scrub of this process has done. Counts are since it began, so they only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ScrubStatus {
    /// Whether one is configured.
    pub enabled: bool,
    /// Whether it is at work, here and not in another process.
    pub running: bool,
    /// The pass under way.
    pub pass: Option<ScrubPass>,
    /// The last pass that went through.
    pub last: Option<ScrubPass>,
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were not what their name says.
    pub damaged: u64,
    /// Files that the disk did not give.
    pub unreadable: u64,
    /// How many of these are here again.
    pub repaired: u64,
}

/// How a scrub ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScrubEnd {
    /// Everything was read.
    Through(ScrubPass),
    /// Another mirror is at it.
    Elsewhere,
    /// The mirror is closing; the next one goes on.
    Stopped,
    /// The disk gives nothing any more.
    DiskFails,
}

impl Scrub {
    pub(super) fn new(settings: config::Scrub) -> Self {
        let status = ScrubStatus { enabled: settings.every.is_some(), ..ScrubStatus::default() };
        Self { settings, status: Arc::new(Mutex::new(status)), next: Mutex::default() }
    }

    /// Goes on where that of the mirror before is.
    pub(super) fn inherit(&mut self, before: &Self) {
        self.status = Arc::clone(&before.status);
        lock(&self.status).enabled = self.settings.every.is_some();
    }
}

impl Mirror {
    /// What the scrub has done.
    pub fn scrub_status(&self) -> ScrubStatus {
        lock(&self.scrub.status).clone()
    }

    pub(super) fn spawn_scrub(self: &Arc<Self>) {
        let Some(every) = self.scrub.settings.every else { return };
        let mirror = Arc::clone(self);
        self.tasks.spawn(async move {
            loop {
                let pause = match mirror.until_due(every).await {
                    Ok(pause) if pause.is_zero() => match mirror.scrub().await {
                        Ok(ScrubEnd::Through(_)) => Duration::ZERO,
                        Ok(ScrubEnd::Elsewhere | ScrubEnd::Stopped) => AGAIN,
                        // Somebody must look at it first.
                        Ok(ScrubEnd::DiskFails) => every.max(Duration::from_hours(1)),
                        Err(error) => {
                            tracing::error!("the scrub cannot go on: {error}");
                            AGAIN
                        }
                    },
                    // Another process may have begun or ended one since.
                    Ok(pause) => pause.min(Duration::from_mins(1)),
                    Err(error) => {
                        tracing::error!("it cannot be told when the next scrub is due: {error}");
                        AGAIN
                    }
                };
                // What it does stops by itself: dropped in the middle it could not say where it was.
                if mirror.resting.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                    return;
                }
            }
        });
    }

    /// How long it is until the next pass begins, or the one under way goes on.
    async fn until_due(&self, every: Duration) -> Result<Duration, StoreError> {
        let store = Arc::clone(&self.store);
        let ScrubRecord { pass, last, .. } = blocking(move || store.scrub_record()).await??;
        lock(&self.scrub.status).last.clone_from(&last);
        let Some(last) = last.filter(|_| pass.is_none()) else { return Ok(Duration::ZERO) };
        // Counted from when it began. A clock that was put back must not hold it up for years.
        let since = jiff::Timestamp::now().duration_since(last.started).unsigned_abs();
        Ok(every.saturating_sub(since))
    }

    /// Reads everything that is here, or what the pass that was cut has not yet come to. What is
    /// damaged is set aside and brought here again.
    pub async fn scrub(self: &Arc<Self>) -> Result<ScrubEnd, StoreError> {
        let store = Arc::clone(&self.store);
        let begun = blocking(move || begin(&store)).await??;
        let Some(mut run) = begun else { return Ok(ScrubEnd::Elsewhere) };
        {
            let mut status = lock(&self.scrub.status);
            (status.running, status.pass) = (true, Some(run.pass.clone()));
        }
        let ended = self.scrub_on(&mut run).await;
        let recorded = self.record(&mut run, ended == ScrubEnd::Stopped || ended == ScrubEnd::DiskFails).await;
        let mut status = lock(&self.scrub.status);
        status.running = false;
        if let ScrubEnd::Through(pass) = &ended {
            (status.pass, status.last) = (None, Some(pass.clone()));
        }
        drop(status);
        recorded.map(|()| ended)
    }

    async fn scrub_on(self: &Arc<Self>, run: &mut Run) -> ScrubEnd {
        let mut in_a_row = 0;
        let mut recorded = Instant::now();
        for resource in std::mem::take(&mut run.left) {
            if self.resting.is_cancelled() {
                return ScrubEnd::Stopped;
            }
            let before = run.pass.damaged + run.pass.unreadable;
            match self.scrub_one(resource, &mut run.pass, &mut in_a_row).await {
                Some(ScrubEnd::DiskFails) => {
                    tracing::error!(%resource, "the disk does not give file after file: the scrub stops, nothing is moved");
                    return ScrubEnd::DiskFails;
                }
                Some(end) => return end,
                None => {}
            }
            run.after = Some(resource);
            lock(&self.scrub.status).pass = Some(run.pass.clone());
            if run.pass.damaged + run.pass.unreadable > before || recorded.elapsed() >= RECORD {
                recorded = Instant::now();
                if let Err(error) = self.record(run, true).await {
                    tracing::warn!("it cannot be written down how far the scrub is: {error}");
                }
            }
        }
        run.pass.ended = Some(jiff::Timestamp::now());
        let ScrubPass { files, bytes, damaged, unreadable, repaired, .. } = run.pass;
        let bad = damaged + unreadable;
        tracing::info!(files, bytes, damaged, unreadable, repaired, "the scrub is through");
        let size = bytesize::ByteSize(bytes).display().iec();
        let summary = format!("{files} files read, {size}: {bad} damaged or unreadable, {repaired} of them here again");
        let (store, is_clean) = (Arc::clone(&self.store), run.pass.is_clean());
        let _ = blocking(move || store.note(Action::Scrub, is_clean, summary)).await;
        ScrubEnd::Through(run.pass.clone())
    }

    /// Examines one file; how the scrub must end, if it must.
    async fn scrub_one(
        self: &Arc<Self>,
        resource: Resource,
        pass: &mut ScrubPass,
        in_a_row: &mut u64,
    ) -> Option<ScrubEnd> {
        let mirror = Arc::clone(self);
        let examined = blocking(move || {
            let reader = |file, size| Paced { mirror: &mirror, file, size, at: 0, handle: Handle::current() };
            examine(&mirror.store, &mirror.limits, &resource, true, reader)
        });
        let Ok(examined) = examined.await else { return Some(ScrubEnd::Stopped) };
        // What was cut says nothing about the file; what was set aside must not be forgotten.
        let was_cut = matches!(examined, Examined::Unreadable { .. } | Examined::Unsure { .. });
        if was_cut && self.resting.is_cancelled() {
            return Some(ScrubEnd::Stopped);
        }
        let mut is_out = false;
        let (bytes, damaged, unreadable) = match examined {
            Examined::Gone => return None,
            Examined::Whole { bytes } => (bytes, 0, 0),
            Examined::Damaged { bytes, why, quarantine } => {
                is_out = quarantine.is_some();
                let to = quarantine.map(|to| to.display().to_string()).unwrap_or_default();
                tracing::error!(%resource, quarantine = to, "damaged in the cache: {why}");
                (bytes, 1, 0)
            }
            Examined::Unreadable { why } => {
                tracing::error!(%resource, "cannot be read: {why}");
                *in_a_row += 1;
                if *in_a_row >= UNREADABLE {
                    return Some(ScrubEnd::DiskFails);
                }
                let store = Arc::clone(&self.store);
                let moved = blocking(move || store.quarantine_unreadable(&resource)).await;
                is_out = matches!(moved, Ok(Ok(Some(_))));
                if !is_out {
                    tracing::error!(%resource, "cannot be set aside");
                }
                (0, 0, 1)
            }
            Examined::Unsure { why } => {
                tracing::error!(%resource, "cannot be looked at: {why}");
                (0, 0, 1)
            }
        };
        *in_a_row = if unreadable == 0 { 0 } else { *in_a_row };
        // What still has its name can neither be replaced nor be asked for outside.
        let repaired = u64::from(is_out && self.heal(&resource, Patience::prewarm(ATTEMPTS)).await.is_ok());
        let mut status = lock(&self.scrub.status);
        let status = &mut *status;
        for (sum, new) in [
            (&mut pass.files, 1),
            (&mut pass.bytes, bytes),
            (&mut pass.damaged, damaged),
            (&mut pass.unreadable, unreadable),
            (&mut pass.repaired, repaired),
            (&mut status.files, 1),
            (&mut status.bytes, bytes),
            (&mut status.damaged, damaged),
            (&mut status.unreadable, unreadable),
            (&mut status.repaired, repaired),
        ] {
            *sum = sum.saturating_add(new);
        }
        None
    }

    async fn record(&self, run: &mut Run, under_way: bool) -> Result<(), StoreError> {
        let record = if under_way {
            ScrubRecord { pass: Some(run.pass.clone()), after: run.after, last: run.last.clone() }
        } else {
            ScrubRecord { pass: None, after: None, last: Some(run.pass.clone()) }
        };
        let store = Arc::clone(&self.store);
        blocking(move || store.set_scrub_record(&record)).await?
    }

    /// Waits until so many bytes may be read; an error if the mirror closes meanwhile. Blocks.
    fn pace(&self, bytes: u64, handle: &Handle) -> io::Result<()> {
        let rate = self.scrub.settings.rate.max(1);
        let now = Instant::now();
        let at = {
            let mut next = lock(&self.scrub.next);
            let at = next.unwrap_or(now).max(now);
            *next = Some(at + Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate));
            at
        };
        let wait = async {
            tokio::time::sleep_until(at).await;
            // Taken and given back: whoever waits for a verification goes first.
            let _ = self.verifications.acquire().await;
        };
        let waited = handle.block_on(self.resting.run_until_cancelled(wait));
        waited.ok_or_else(|| io::Error::other("the mirror is closing"))
    }
}

/// A pass, as far as it is.
struct Run {
    pass: ScrubPass,
    /// What was done last.
    after: Option<Resource>,
    /// What is to be done.
    left: Vec<Resource>,
    /// The pass before.
    last: Option<ScrubPass>,
    _lock: Lock,
}

/// `None` if another mirror is at it.
fn begin(store: &Store) -> Result<Option<Run>, StoreError> {
    let Some(lock) = store.try_lock_scrub()? else { return Ok(None) };
    let ScrubRecord { pass, after, last } = store.scrub_record()?;
    let all = Kind::ALL.into_iter().flat_map(|kind| store.resources(kind)).chain(store.derived_here());
    let readable = |one: Result<Resource, StoreError>| {
        one.inspect_err(|error| tracing::error!("the scrub passes over a folder that cannot be read: {error}")).ok()
    };
    let mut left: Vec<_> = all.filter_map(readable).collect();
    left.sort_unstable();
    left.dedup();
    let after = after.filter(|_| pass.is_some());
    left.retain(|resource| after.is_none_or(|after| *resource > after));
    let begins = if pass.is_some() { "the scrub goes on" } else { "a scrub begins" };
    tracing::info!(left = left.len(), "{begins}");
    Ok(Some(Run { pass: pass.unwrap_or_else(ScrubPass::begin), after, left, last, _lock: lock }))
}

/// A file that is read from the disk at the pace of the scrub.
struct Paced<'m> {
    mirror: &'m Mirror,
    file: Arc<File>,
    size: u64,
    at: u64,
    handle: Handle,
}

impl Read for Paced<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == 0 {
            forget(&self.file);
        }
        let most = buffer.len().min(STEP);
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        self.mirror.pace(most.min(left) as u64, &self.handle)?;
        let read = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Drop for Paced<'_> {
    fn drop(&mut self) {
        forget(&self.file);
    }
}

/// Has the kernel drop what it holds of a file, as far as that is on the disk. Only a hint.
#[cfg(target_os = "linux")]
fn forget(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn forget(_: &File) {}
