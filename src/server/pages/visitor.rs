//! Who looks at a page, and what of the mirror they get to see. Every page has its data from here, so
//! that what somebody may not see is left out in one place.
//!
//! A registry that the policy does not serve is not shown, nor what is in it.

use crate::config::Config;
use crate::exchange::Wish;
use crate::mirror::{Catalogue, Health, Mirror, Refusal, blocking};
use crate::protocol::Kind;
use crate::server::access::Caller;
use crate::server::meta::{RegistryStatus, misses_for, registry_status};
use crate::server::routes::App;
use crate::server::wishes::{Answer, asked_before, packages_for, sees_registry};
use crate::source::Source;
use crate::store::{Counted, Miss, RecordedWish, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Somebody who looks at one page.
#[derive(Clone)]
pub(super) struct Visitor {
    app: App,
    mirror: Arc<Mirror>,
    config: Arc<Config>,
    caller: Caller,
}

/// What the disk of the cache has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    /// Registries, packages, artifacts: in the order of [`Kind::ALL`].
    pub(super) held: [Counted; 3],
    /// Bytes that may still be written.
    pub(super) free: u64,
    /// Since when nothing new is cached for want of room, if so.
    pub(super) low_since: Option<jiff::Timestamp>,
}

/// Requests since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) hits: u64,
    pub(super) fetched: u64,
    pub(super) misses: u64,
    /// Bytes received from sources.
    pub(super) received: u64,
}

impl Visitor {
    pub(super) fn new(app: &App, caller: Caller) -> Self {
        Self { app: app.clone(), mirror: app.mirror(), config: app.config(), caller }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn is_offline(&self) -> bool {
        self.mirror.is_offline()
    }

    pub(super) fn started(&self) -> jiff::Timestamp {
        self.app.started()
    }

    /// The registries that clients get.
    pub(super) async fn registries(&self) -> Result<Vec<RegistryStatus>, Refusal> {
        registry_status(&self.app, &self.caller).await
    }

    /// What is here.
    pub(super) async fn disk(&self) -> Result<Disk, Refusal> {
        let (census, mirror) = (self.mirror.census().await?, Arc::clone(&self.mirror));
        let status = blocking(move || mirror.disk_status()).await??;
        Ok(Disk { held: Kind::ALL.map(|kind| census.of(kind)), free: status.free, low_since: status.low_since })
    }

    pub(super) fn traffic(&self) -> Traffic {
        let counters = self.mirror.counters();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            hits: counters.hits(),
            fetched: get(&counters.fetched),
            misses: counters.misses.sum(),
            received: get(&counters.received),
        }
    }

    /// The sources with their health, in order. The address of a private registry is for those who
    /// may see all, and so is what an error names.
    pub(super) fn sources(&self) -> Vec<(&dyn Source, Health)> {
        let mut sources = self.mirror.sources();
        if !self.caller.sight(&self.config).is_full() {
            sources.retain(|(source, _)| source.is_public());
            for (_, health) in &mut sources {
                health.last_error = None;
            }
        }
        sources
    }

    /// The misses that are still missing, the last seen first.
    pub(super) async fn misses(&self) -> Result<Vec<Miss>, Refusal> {
        misses_for(&self.app, &self.caller, self.mirror.still_missing().await?).await
    }

    /// A wish that is said to have been recorded, if it is one, and the open wishes.
    pub(super) async fn wishes(
        &self,
        asked: Option<String>,
        most: usize,
    ) -> Result<(Option<Answer>, Vec<RecordedWish>), Refusal> {
        let (mirror, config, caller) = (Arc::clone(&self.mirror), Arc::clone(&self.config), self.caller.clone());
        let wishes = blocking(move || {
            let sight = caller.sight(&config);
            let packages = packages_for(&mirror, &sight)?;
            let asked = asked.map(|asked| asked_before(&mirror, &packages, &sight, &asked)).transpose()?.flatten();
            // Who wished for what nobody may know of wished for something private, perhaps.
            let shown = |wish: &Wish| sight.is_full() || packages.has(&wish.name);
            Ok::<_, StoreError>((asked, mirror.open_wishes_in(&packages, shown, most)?))
        });
        Ok(wishes.await??)
    }

    /// Looks something up in the registries, away from the async threads.
    pub(super) async fn look_up<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Catalogue<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.mirror.know_names().await;
        let (mirror, config, caller) = (Arc::clone(&self.mirror), Arc::clone(&self.config), self.caller.clone());
        let looked_up = blocking(move || {
            let sight = caller.sight(&config);
            work(&mirror.catalogue(|registry| sees_registry(&mirror, &sight, registry), sight.is_full())?)
        });
        Ok(looked_up.await??)
    }
}
