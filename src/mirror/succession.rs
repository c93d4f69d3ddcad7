//! Another configuration put into force while clients are served: a second mirror over the same cache
//! directory takes the place of the first, and nobody notices.
//!
//! Both share what belongs to the process and not to a configuration: the flights and their places, so that there is
//! still one for each resource whichever mirror is asked; the misses that are not written yet; the
//! counters; whether the disk runs low; the names that were read. What is judged by the configuration (policy, view, sources, what
//! failed lately) is each mirror's own.

use super::{Mirror, blocking, registries};
use crate::config::Config;
use crate::source::Source;
use std::sync::Arc;
use std::time::Duration;

/// How often a mirror that was replaced is asked whether somebody still uses it.
const USE_POLL: Duration = Duration::from_millis(100);

impl Mirror {
    /// A mirror that is to take the place of this one. Its tasks begin with [`Mirror::run`].
    ///
    /// From here on the tasks of this one rest, so that they do not work against the other's; its
    /// flights go on.
    pub async fn succeed(&self, sources: Vec<Arc<dyn Source>>, config: &Config) -> Arc<Self> {
        let mut new = Self::new(Arc::clone(&self.store), sources, config);
        new.flights = Arc::clone(&self.flights);
        new.misses = Arc::clone(&self.misses);
        new.counters = Arc::clone(&self.counters);
        new.disk = Arc::clone(&self.disk);
        new.fetches = Arc::clone(&self.fetches);
        new.verifications = Arc::clone(&self.verifications);
        new.names = Arc::clone(&self.names);
        new.listings = Arc::clone(&self.listings);
        new.memory.inherit(&self.memory);
        let new = Arc::new(new);
        self.resting.cancel();
        new.prepare().await;
        new
    }

    /// Starts the tasks of a server: following registries, looking for new files, writing misses.
    pub fn run(self: &Arc<Self>) {
        // A cache without a registry waits for what these sources list.
        self.listings.send_modify(registries::Progress::begin);
        self.spawn_tasks();
    }

    /// Waits until nobody else uses this mirror: no request, and no flight.
    pub async fn unused(self: &Arc<Self>) {
        while Arc::strong_count(self) > 1 {
            tokio::time::sleep(USE_POLL).await;
        }
    }

    /// Learns what requests would otherwise have to wait for, and makes the view that fits, so that
    /// no client sees the view of one configuration under the policy of another for long.
    async fn prepare(self: &Arc<Self>) {
        if self.policy().rules().min_age.is_some() {
            let mirror = Arc::clone(self);
            // The other read these registries, and may not have wanted to know how old versions are.
            let _ = blocking(move || mirror.registries().iter().for_each(|index| mirror.see(index))).await;
        }
        self.know().await;
        self.refresh_view().await;
    }
}
