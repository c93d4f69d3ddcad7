//! Misses on their way to the ledger: gathered in memory, written within a second.

use super::{Mirror, Refusal, blocking, lock};
use crate::julia::Version;
use crate::protocol::Resource;
use crate::store::{Client, Miss, StoreError};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often gathered misses are written.
const FLUSH: Duration = Duration::from_millis(500);
/// Most distinct misses that are gathered between two writes: a client that asks for random hashes
/// must not fill the memory.
const GATHERED: usize = 100_000;

/// What is not written yet: misses, and the versions of Julia that were seen, `None` once written.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<HashMap<Resource, Miss>>, Mutex<HashMap<String, Option<Version>>>);

impl Mirror {
    /// Writes a refusal down as a miss, if it is one.
    pub(super) fn refused(&self, resource: &Resource, refusal: &Refusal, client: &Client) {
        self.counters.misses.add(refusal.reason());
        self.missed(resource, refusal, client);
    }

    /// The same for what no client asked for.
    pub(super) fn missed(&self, resource: &Resource, refusal: &Refusal, client: &Client) {
        let Some(reason) = refusal.reason() else { return };
        let (first, name) = (jiff::Timestamp::now(), self.names.name(resource));
        let (name, version) = name.map_or((None, None), |name| (Some(name.name), name.version));
        tracing::info!(%resource, name, version, %reason, "miss: {refusal}");
        let miss = Miss {
            resource: *resource,
            name,
            version,
            reason,
            detail: refusal.detail(),
            first,
            last: first,
            count: 1,
            client: client.clone(),
        };
        let mut pending = lock(&self.misses.0);
        let room = pending.len() < GATHERED;
        match pending.entry(*resource) {
            Entry::Occupied(mut known) => known.get_mut().add(miss),
            Entry::Vacant(free) if room => drop(free.insert(miss)),
            Entry::Vacant(_) => {}
        }
    }

    /// Remembers which Julia a client runs.
    pub fn saw_julia(&self, version: &str) {
        let Ok(version) = version.parse::<Version>() else { return };
        let mut seen = lock(&self.misses.1);
        // Once written it need not be looked at again; a client may call itself anything.
        if seen.len() < 1000 {
            seen.entry(version.to_string()).or_insert(Some(version));
        }
    }

    async fn flush_julia_versions(&self) {
        let new: Vec<_> = lock(&self.misses.1).values_mut().filter_map(Option::take).collect();
        if new.is_empty() {
            return;
        }
        let store = Arc::clone(&self.store);
        let written = blocking(move || store.remember_julia_versions(new)).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(error.into())) {
            tracing::warn!("cannot write down which versions of Julia were seen: {error}");
        }
    }

    /// All misses, those not written yet too, the last seen first.
    pub async fn all_misses(&self) -> Result<Vec<Miss>, Refusal> {
        self.flush_misses().await;
        let ledger = self.store.misses();
        Ok(blocking(move || ledger.read()).await??)
    }

    /// What [`Mirror::missing`] says once all misses are written.
    pub async fn still_missing(self: &Arc<Self>) -> Result<Vec<Miss>, Refusal> {
        self.flush_misses().await;
        let mirror = Arc::clone(self);
        Ok(blocking(move || mirror.missing()).await??)
    }

    /// The written misses that are still missing, named as far as a registry that is loaded knows
    /// them by now. Blocks.
    pub fn missing(&self) -> Result<Vec<Miss>, StoreError> {
        let mut misses = self.store.misses().read()?;
        misses.retain(|miss| !self.store.serves(&miss.resource));
        for miss in misses.iter_mut().filter(|miss| miss.name.is_none()) {
            if let Some(name) = self.names.name(&miss.resource) {
                (miss.name, miss.version) = (Some(name.name), name.version);
            }
        }
        Ok(misses)
    }

    /// Writes what has gathered. What cannot be written is kept for the next time.
    pub(super) async fn flush_misses(&self) {
        self.flush_julia_versions().await;
        let gathered: Vec<_> = std::mem::take(&mut *lock(&self.misses.0)).into_values().collect();
        if gathered.is_empty() {
            return;
        }
        let (ledger, increments) = (self.store.misses(), gathered.clone());
        let written = blocking(move || ledger.append(&increments)).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(error.into())) {
            tracing::error!("cannot write the ledger of misses: {error}");
            let mut pending = lock(&self.misses.0);
            for miss in gathered {
                let newer = pending.remove(&miss.resource);
                let mut sum = miss;
                if let Some(newer) = newer {
                    sum.add(newer);
                }
                pending.insert(sum.resource, sum);
            }
        }
    }

    pub(super) fn spawn_misses(self: &Arc<Self>) {
        let mirror = Arc::clone(self);
        let resting = self.resting.clone();
        self.tasks.spawn(async move {
            while resting.run_until_cancelled(tokio::time::sleep(FLUSH)).await.is_some() {
                mirror.flush_misses().await;
            }
        });
    }
}
