//! Finding what came into the cache directory another way: rsync and other tools tell nobody. What
//! is here is counted on the same walk.

use super::{Mirror, Patience, blocking};
use crate::protocol::{Flavor, RegistryTree, Resource};
use crate::store::{Lookup, StoreError};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Mirror {
    pub(super) fn spawn_tasks(self: &Arc<Self>) {
        self.spawn_misses();
        self.spawn_rescan();
        self.spawn_disk();
        self.spawn_quarantine();
        self.spawn_scrub();
        if self.shows_available() {
            self.spawn_looks();
        }
        if self.is_offline() {
            return;
        }
        self.spawn_registries();
    }

    fn spawn_rescan(self: &Arc<Self>) {
        let mirror = Arc::clone(self);
        let resting = self.resting.clone();
        self.tasks.spawn(async move {
            let rescans = async {
                mirror.refresh_view().await;
                mirror.load_names().await;
                if mirror.is_offline() {
                    mirror.say_idle_rules();
                }
                loop {
                    mirror.rescan().await;
                    tokio::time::sleep(mirror.bounds.rescan_interval).await;
                }
            };
            resting.run_until_cancelled(rescans).await;
        });
    }

    /// Verifies every file that has no fact yet, forgets what failed lately, lists what is here, and
    /// loads new registries. Returns how many files were found good and how many damaged.
    pub async fn rescan(self: &Arc<Self>) -> (usize, usize) {
        let _only = self.searching.lock().await;
        // Before the search: what changes while it goes on is for the next.
        let looked = self.signature().await;
        self.memory.forget();
        self.log_found().await;
        let (mut good, mut damaged) = (0, 0);
        for resource in self.unverified().await {
            match self.fly(&resource, Patience::client(&self.bounds)).landed().await {
                Ok(_) => good += 1,
                Err(refusal) => {
                    damaged += 1;
                    tracing::warn!(%resource, "{refusal}");
                }
            }
        }
        if good + damaged > 0 {
            tracing::info!(good, damaged, "found new files in the cache directory");
        }
        self.refresh_view().await;
        self.say_stepped_back().await;
        self.view.saw(looked);
        self.load_names().await;
        self.sum_up().await;
        (good, damaged)
    }

    /// Verifies the registries that are listed, where they were not yet: what they name can only be
    /// shown then.
    pub(super) async fn verify_listed(self: &Arc<Self>) {
        let store = Arc::clone(&self.store);
        let listed = blocking(move || {
            let listings = Flavor::ALL
                .into_iter()
                .flat_map(|flavor| [store.listing(flavor), store.view_listing(flavor).map(Some)]);
            let listings = listings.filter_map(|listing| listing.ok().flatten());
            let listed = listings.flat_map(|listing| listing.iter().collect::<Vec<_>>()).collect::<BTreeSet<_>>();
            let is_unverified =
                |registry: &RegistryTree| matches!(store.look_up(&(*registry).into()), Ok(Lookup::Unverified(_)));
            listed.into_iter().filter(is_unverified).collect::<Vec<_>>()
        });
        for registry in listed.await.unwrap_or_default() {
            let landed = self.fly(&registry.into(), Patience::client(&self.bounds)).landed().await;
            if let Err(refusal) = landed {
                tracing::warn!(registry = %registry.uuid, "{refusal}");
            }
        }
    }

    async fn unverified(&self) -> Vec<Resource> {
        let store = Arc::clone(&self.store);
        let found = blocking(move || {
            let mut unverified = Vec::new();
            store.take_census(|resource, stamp| {
                if !store.is_verified(&resource, stamp)? {
                    unverified.push(resource);
                }
                Ok(())
            })?;
            Ok::<_, StoreError>(unverified)
        });
        match found.await {
            Ok(Ok(unverified)) => unverified,
            Ok(Err(error)) => {
                tracing::error!("cannot search the cache directory: {error}");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }
}
