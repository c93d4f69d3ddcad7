//! How a flight comes in: verify what lies here, else lock, ask the sources in order, receive,
//! verify, publish.

use super::counters::Gauge;
use super::flight::{Flight, Landed};
use super::judge::{Damage, verify_file};
use super::memory::Admission;
use super::patience::{LONGEST_WAIT, Patience};
use super::policy::Askable;
use super::receive::Failed;
use super::refusal::Refusal;
use super::{Mirror, blocking};
use crate::fault;
use crate::protocol::Resource;
use crate::source::{Fault, Rank, Wanted};
use crate::store::{Lock, Lookup, OpenFile, Stamp, StoreError};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument as _;

/// How long a source whose places are all taken keeps the next one from being asked.
const PLACE_WAIT: Duration = Duration::from_millis(500);
/// How often another process's fetch of the same resource is looked at.
const LOCK_POLL: Duration = Duration::from_millis(50);

impl Mirror {
    /// The flight of this resource: the one under way, or a new one. It goes on without whoever
    /// asked for it.
    pub(super) fn fly(self: &Arc<Self>, resource: &Resource, patience: Patience) -> Arc<Flight> {
        let (flight, landing) = self.flights.join(resource);
        if let Some(landing) = landing {
            let (mirror, closing) = (Arc::clone(self), self.closing.clone());
            let task = async move {
                fault::point("flight.started");
                let obtained = mirror.obtain(&landing.flight, patience);
                if let Some(outcome) = closing.run_until_cancelled(obtained).await {
                    // Counted before anybody is told: who was answered may look at the counters.
                    mirror.counters.flew(&outcome);
                    landing.flight.end(outcome);
                }
            };
            // What it logs bears the id of the request that started it.
            self.tasks.spawn(task.in_current_span());
        }
        flight
    }

    async fn obtain(self: &Arc<Self>, flight: &Flight, patience: Patience) -> Result<Landed, Refusal> {
        if let Some(landed) = self.land_from_disk(flight).await? {
            return Ok(landed);
        }
        if self.sources.is_empty() {
            return Err(Refusal::Offline);
        }
        let askable = self.askable(&flight.resource).await?;
        let place = self.fetches.acquire();
        let _place = within(patience.deadline(flight.started), place).await.ok_or_else(busy)?;
        let _lock = match self.lock_or_landed(flight, patience).await? {
            Ok(landed) => return Ok(landed),
            Err(lock) => lock,
        };
        let asked = self.ask_sources(flight, &askable, patience).await;
        asked.map_err(|refusal| askable.explain(refusal))
    }

    /// What lies here under this name, verified now if it was not yet. What turns out to be wrong
    /// is taken out of sight.
    async fn land_from_disk(self: &Arc<Self>, flight: &Flight) -> Result<Option<Landed>, Refusal> {
        let open = match self.look_up(&flight.resource).await? {
            Lookup::Absent => return Ok(None),
            Lookup::Verified(open, _) => return Ok(Some(landed(open))),
            Lookup::Unverified(open) => open,
        };
        let (file, stamp) = (Arc::new(open.file), open.stamp);
        flight.begin(Arc::clone(&file), Some(stamp.size), stamp.size);
        let _counted = Gauge::up(&self.counters.verifying);
        let _place = self.verifications.acquire().await.map_err(|_| Refusal::Closing)?;
        let Some(damage) = self.verify_here(flight.resource, &file, stamp).await? else {
            return Ok(Some(Landed { file, size: stamp.size, from: None }));
        };
        let (store, resource) = (Arc::clone(&self.store), flight.resource);
        if let Some(to) = blocking(move || store.quarantine(&resource, stamp)).await?? {
            self.counters.damaged.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%resource, quarantine = %to.display(), "damaged in the cache: {damage}");
        } else {
            tracing::warn!(%resource, "changed while it was verified: {damage}");
        }
        // From here on nobody new may be given bytes of it.
        flight.abandon();
        if flight.is_committed() || self.sources.is_empty() { Err(Refusal::Content(damage)) } else { Ok(None) }
    }

    async fn verify_here(
        self: &Arc<Self>,
        resource: Resource,
        file: &Arc<File>,
        stamp: Stamp,
    ) -> Result<Option<String>, Refusal> {
        let (store, limits, file) = (Arc::clone(&self.store), self.limits.clone(), Arc::clone(file));
        match blocking(move || verify_file(&resource, &file, stamp, &limits)).await? {
            Ok(fact) => {
                self.names.learn_artifacts(&resource, &fact.artifacts);
                blocking(move || store.remember(fact)).await?;
                Ok(None)
            }
            Err(Damage::Unreadable(error)) => {
                self.suspect(resource, &error);
                Err(error.into())
            }
            Err(Damage::Wrong(damage) | Damage::Limit(damage)) => Ok(Some(damage)),
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
            let both =
                blocking(move || Ok::<_, StoreError>((store.try_lock(&resource)?, store.look_up_served(&resource)?)));
            let (lock, found) = both.await??;
            if let Lookup::Verified(open, _) = found {
                return Ok(Ok(landed(open)));
            }
            if lock.is_some() || Instant::now() >= give_up {
                return Ok(Err(lock));
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    /// Those of the sources that may be asked for a resource that can give it now, in order.
    pub(super) fn sources_for(&self, resource: &Resource, askable: &Askable, patience: &Patience) -> Vec<usize> {
        let gives = |index: &usize| {
            self.sources.get(*index).is_some_and(|source| self.may_ask(source.as_ref(), resource, patience))
        };
        askable.sources.iter().copied().filter(gives).collect()
    }

    /// What the faults of all sources come to. Where none could be asked, none has it.
    pub(super) fn verdict(&self, faults: &[Fault]) -> Refusal {
        if faults.is_empty() && !self.sources.is_empty() { Refusal::NotFound } else { Refusal::from_faults(faults) }
    }

    /// Asks the sources in order. A fall-back is asked when nothing more can be hoped for from the
    /// others: neither now nor, if there is time, a little later.
    async fn ask_sources(
        self: &Arc<Self>,
        flight: &Flight,
        askable: &Askable,
        patience: Patience,
    ) -> Result<Landed, Refusal> {
        let is_fallback = |index: &usize| self.sources.get(*index).is_some_and(|it| it.rank() == Rank::Fallback);
        let asked = self.sources_for(&flight.resource, askable, &patience).into_iter();
        let (fallbacks, servers) = asked.partition::<Vec<_>, _>(is_fallback);
        let mut faults = Vec::new();
        for sources in [servers, fallbacks] {
            match self.ask_in_rounds(flight, &sources, patience).await? {
                Ok(landed) => return Ok(landed),
                Err(theirs) => faults.extend(theirs),
            }
        }
        Err(self.verdict(&faults))
    }

    /// Asks some sources in order, and again after a pause while that may help.
    async fn ask_in_rounds(
        self: &Arc<Self>,
        flight: &Flight,
        sources: &[usize],
        patience: Patience,
    ) -> Result<Result<Landed, Vec<Fault>>, Refusal> {
        let cooled = |source: &usize| self.memory.cooled(*source, &flight.resource);
        let skipped: Vec<_> = sources.iter().filter_map(cooled).collect();
        let asked = |source: &&usize| patience.insists || cooled(source).is_none();
        let sources: Vec<_> = sources.iter().filter(asked).copied().collect();
        for round in 1.. {
            let mut faults = skipped.clone();
            // Those whose places are all taken are asked after the others, until they have one.
            let mut waiting = sources.clone();
            while !waiting.is_empty() {
                let place_wait = (waiting.len() > 1).then_some(PLACE_WAIT);
                for source in std::mem::take(&mut waiting) {
                    match self.ask_source(flight, source, patience, place_wait).await {
                        Ok(landed) => return Ok(Ok(landed)),
                        Err(Failed::Here(refusal)) => return Err(refusal),
                        Err(Failed::Source(fault)) if flight.is_committed() => {
                            return Err(Refusal::from_faults(&[fault]));
                        }
                        Err(Failed::Source(Fault::Busy(_))) => waiting.push(source),
                        Err(Failed::Source(fault)) => faults.push(fault),
                    }
                }
            }
            let insists = patience.insists && !self.memory.is_cut_off();
            let helps = |fault: &&Fault| fault.is_passing() && (insists || !fault.is_unreachable());
            let again = faults.iter().find(helps);
            let pause = patience.pause(round, again.and_then(Fault::retry_after));
            let leaves = |deadline: Instant| deadline.saturating_duration_since(Instant::now()) <= pause;
            let late = pause > LONGEST_WAIT || patience.deadline(flight.started).is_some_and(leaves);
            if again.is_none() || round >= patience.attempts || late {
                return Ok(Err(faults));
            }
            tokio::time::sleep(pause).await;
        }
        Err(Refusal::Closing)
    }

    async fn ask_source(
        self: &Arc<Self>,
        flight: &Flight,
        index: usize,
        patience: Patience,
        place_wait: Option<Duration>,
    ) -> Result<Landed, Failed> {
        let Some(source) = self.sources.get(index) else { return Err(Fault::NotFound.into()) };
        if source.rank() == Rank::Fallback {
            return self.ask_fallback(flight, index, patience).await;
        }
        let admission = if patience.insists { Admission::Free } else { self.memory.admits(index) };
        if admission == Admission::Refused {
            return Err(Fault::Connect("this upstream was out of reach a moment ago".to_owned()).into());
        }
        let _probe = (admission == Admission::Probe).then(|| Probe(self, index));
        let wanted = Wanted { request: patience.request, place_wait, ..Wanted::new(flight.resource) };
        let result = self.attempt(flight, source.as_ref(), &wanted, patience).await;
        match &result {
            Ok(_) => self.memory.succeeded(index, &flight.resource),
            Err(Failed::Here(_) | Failed::Source(Fault::Busy(_))) => {}
            Err(Failed::Source(fault)) => {
                tracing::info!(resource = %flight.resource, source = source.name(), "{fault}");
                self.memory.failed(index, &flight.resource, fault);
            }
        }
        result
    }
}

/// Lets the next probe of a cooled source begin, however this one ends.
struct Probe<'m>(&'m Mirror, usize);

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.0.memory.probed(self.1);
    }
}

fn landed(open: OpenFile) -> Landed {
    Landed { file: Arc::new(open.file), size: open.stamp.size, from: None }
}

fn busy() -> Refusal {
    Refusal::Slow("too many fetches at one time".to_owned())
}

pub(super) async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}
