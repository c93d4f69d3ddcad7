//! What a mirror has done since it started, counted where it is done. Only atomics: a hit must not
//! wait for somebody who reads them.

use super::{Landed, Refusal};
use crate::store::Reason;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a mirror has done since it started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests answered from memory.
    pub memory_hits: AtomicU64,
    /// Requests answered from disk.
    pub disk_hits: AtomicU64,
    /// Requests answered by a flight.
    pub fetched: AtomicU64,
    /// Requests that could not be answered.
    pub misses: ByReason,
    /// Bytes received from sources.
    pub received: AtomicU64,
    /// Flights that brought something from a source.
    pub flights_fetched: AtomicU64,
    /// Flights that found it here: it only had to be verified, or another process brought it.
    pub flights_found: AtomicU64,
    /// Flights that ended without it.
    pub flights_failed: ByReason,
    /// Generations of registries that were published.
    pub registry_updates: AtomicU64,
    /// Files that were here and not what their name says.
    pub damaged: AtomicU64,
    /// Files that wait to be verified or are being verified: this one goes down again.
    pub verifying: AtomicU64,
}

/// Refusals by the reason that the ledger of misses gives them; those that are this mirror's own
/// fault (its disk, its end) have none.
#[derive(Debug, Default)]
pub struct ByReason([AtomicU64; Reason::ALL.len()], AtomicU64);

impl ByReason {
    /// What the refusals without a reason are called.
    const OWN: &str = "own-fault";

    /// One more.
    pub fn add(&self, reason: Option<Reason>) {
        let of = |reason| self.0.get(Reason::ALL.iter().position(|one| *one == reason)?);
        reason.and_then(of).unwrap_or(&self.1).fetch_add(1, Ordering::Relaxed);
    }

    /// How many of each.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Reason::ALL.iter().map(|reason| reason.as_str()).chain([Self::OWN]);
        names.zip(self.all().map(|counter| counter.load(Ordering::Relaxed)))
    }

    /// How many together.
    pub fn sum(&self) -> u64 {
        self.each().map(|(_, count)| count).sum()
    }

    fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        self.0.iter().chain([&self.1])
    }
}

impl Counters {
    /// Requests answered from memory or disk.
    pub fn hits(&self) -> u64 {
        self.memory_hits.load(Ordering::Relaxed) + self.disk_hits.load(Ordering::Relaxed)
    }

    /// A flight has ended.
    pub(super) fn flew(&self, outcome: &Result<Landed, Refusal>) {
        match outcome {
            Ok(Landed { from: Some(_), .. }) => _ = self.flights_fetched.fetch_add(1, Ordering::Relaxed),
            Ok(_) => _ = self.flights_found.fetch_add(1, Ordering::Relaxed),
            Err(refusal) => self.flights_failed.add(refusal.reason()),
        }
    }
}

/// One more, until it is dropped.
#[derive(Debug)]
pub(super) struct Gauge<'c>(&'c AtomicU64);

impl<'c> Gauge<'c> {
    pub(super) fn up(counter: &'c AtomicU64) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_count() {
        let counters = Counters::default();
        for reason in Reason::ALL.into_iter().map(Some).chain([None, None]) {
            counters.misses.add(reason);
        }
        assert_eq!(counters.misses.each().map(|(_, count)| count).collect::<Vec<_>>(), [1, 1, 1, 1, 1, 2]);
        assert_eq!(counters.misses.sum(), 7);
    }
}
