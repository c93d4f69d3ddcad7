//! Registries: follow what the sources list, publish only forward, answer `/registries` at once.

use super::private::FIRST_CLAIMS;
use super::{Mirror, Patience, Refusal, blocking, lock};
use crate::policy::Act;
use crate::protocol::{Flavor, Listing, RegistryTree, Uuid};
use crate::source::{Fault, Rank, Source};
use crate::store::{DISK, Generation, Store, StoreError, is_rolled_back, is_superseded};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// How long a request for a listing waits on a cache that never had one.
const FIRST_LISTING: Duration = Duration::from_secs(10);

/// How far the tasks are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Whether package servers have been followed once.
    followed: bool,
    /// Whether private registries have said once what is theirs.
    claimed: bool,
    /// Whether that has been published.
    offered: bool,
    /// How many generations were published.
    published: u64,
}

impl Progress {
    /// Other sources, of which none was asked yet.
    pub(super) fn begin(&mut self) {
        *self = Self { published: self.published, ..Self::default() };
    }
}

/// The answer to a request for a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListingAnswer {
    /// This one.
    Listing(Listing),
    /// No such flavor here, though there is another.
    NoFlavor,
    /// No registry here at all.
    Nothing,
}

/// What could not be had of a source's registries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RegistryProblem {
    /// The registry; `None` when it is the listing itself.
    pub registry: Option<RegistryTree>,
    /// The source.
    pub source: String,
    /// Why.
    pub reason: String,
    /// Whether the cache directory failed, and not the source.
    pub is_ours: bool,
}

impl RegistryProblem {
    pub(super) fn new(source: &str, registry: Option<RegistryTree>, reason: &dyn fmt::Display) -> Self {
        Self { registry, source: source.to_owned(), reason: reason.to_string(), is_ours: false }
    }
}

impl fmt::Display for RegistryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.registry {
            Some(registry) => write!(f, "{} of {}: {}", registry.uuid, self.source, self.reason),
            None => write!(f, "the listing of {}: {}", self.source, self.reason),
        }
    }
}

/// Who offers a registry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer<'a> {
    /// For which listing.
    pub(super) flavor: Flavor,
    /// The source.
    pub(super) source: &'a str,
    /// Whether what it says now is true whatever it said before.
    pub(super) is_truth: bool,
}

impl Mirror {
    /// The listing to serve: from disk, at once. On a cache that has none yet it waits for the
    /// first: a client that got an empty answer would go to GitHub. No longer than `wait`, though.
    pub async fn listing(
        self: &Arc<Self>,
        flavors: &[Flavor],
        wait: Option<Duration>,
    ) -> Result<ListingAnswer, Refusal> {
        if !self.policy.is_silent(Act::Serve) {
            self.know().await;
        }
        let answer = self.listing_now(flavors).await?;
        if answer != ListingAnswer::Nothing || self.sources.is_empty() {
            return Ok(answer);
        }
        let mut progress = self.listings.subscribe();
        // Woken by the first listing, not by the last: the other flavors and sources take longer.
        let first = progress.wait_for(|it| (it.followed && it.offered) || it.published > 0);
        let _ = tokio::time::timeout(FIRST_LISTING.min(wait.unwrap_or(FIRST_LISTING)), first).await;
        self.listing_now(flavors).await
    }

    async fn listing_now(self: &Arc<Self>, flavors: &[Flavor]) -> Result<ListingAnswer, Refusal> {
        let (mirror, flavors) = (Arc::clone(self), flavors.to_vec());
        let answer = blocking(move || {
            for flavor in &flavors {
                if let Some(listing) = mirror.served_listing(*flavor)? {
                    return Ok(ListingAnswer::Listing(listing));
                }
            }
            let mut others = Flavor::ALL.iter().map(|flavor| mirror.served_listing(*flavor));
            let any = others.find_map(Result::transpose).transpose()?;
            Ok(any.map_or(ListingAnswer::Nothing, |_| ListingAnswer::NoFlavor))
        });
        answer.await?.map_err(|error: StoreError| error.into())
    }

    pub(super) fn spawn_registries(self: &Arc<Self>) {
        // A task each: General is followed also while the git server of a private registry is slow.
        let mirror = Arc::clone(self);
        self.spawn_until_rest(async move {
            loop {
                if mirror.has_unread() {
                    mirror.wait_for(Some(FIRST_CLAIMS), |progress| progress.claimed).await;
                }
                let problems = mirror.follow_servers(Patience::client(&mirror.bounds)).await;
                mirror.listings.send_modify(|progress| progress.followed = true);
                mirror.note_problems(Rank::Server, problems);
                tokio::time::sleep(mirror.bounds.registries_interval).await;
            }
        });
        let mirror = Arc::clone(self);
        self.spawn_until_rest(async move {
            loop {
                let patience = Patience::client(&mirror.bounds);
                let private = mirror.ask_private(patience).await;
                mirror.listings.send_modify(|progress| progress.claimed = true);
                // They are published beside what the servers list.
                mirror.wait_for(None, |progress| progress.followed).await;
                let problems = mirror.offer_private(private, patience).await;
                mirror.listings.send_modify(|progress| progress.offered = true);
                mirror.note_problems(Rank::Private, problems);
                tokio::time::sleep(mirror.bounds.registries_interval).await;
            }
        });
    }

    fn spawn_until_rest(&self, task: impl Future<Output = ()> + Send + 'static) {
        let resting = self.resting.clone();
        self.tasks.spawn(async move { resting.run_until_cancelled(task).await });
    }

    async fn wait_for(&self, bound: Option<Duration>, far_enough: impl FnMut(&Progress) -> bool) {
        let mut progress = self.listings.subscribe();
        let far_enough = progress.wait_for(far_enough);
        match bound {
            Some(bound) => drop(tokio::time::timeout(bound, far_enough).await),
            None => drop(far_enough.await),
        }
    }

    /// Asks every source for its listings once, and publishes what is new. Returns what could not
    /// be had.
    pub async fn refresh_registries(self: &Arc<Self>, patience: Patience) -> Vec<RegistryProblem> {
        let private = self.ask_private(patience);
        tokio::pin!(private);
        // A server must not be the first to say what a private registry is.
        let early = if self.has_unread() { tokio::time::timeout(FIRST_CLAIMS, &mut private).await.ok() } else { None };
        let (private, servers) = match early {
            Some(private) => (private, self.follow_servers(patience).await),
            None => futures_util::future::join(private, self.follow_servers(patience)).await,
        };
        let private = self.offer_private(private, patience).await;
        self.listings.send_modify(|it| (it.followed, it.claimed, it.offered) = (true, true, true));
        let mut problems = self.note_problems(Rank::Server, servers);
        problems.extend(self.note_problems(Rank::Private, private));
        problems.sort_unstable();
        problems
    }

    async fn follow_servers(self: &Arc<Self>, patience: Patience) -> Vec<RegistryProblem> {
        let mut problems = Vec::new();
        let servers = || self.sources.iter().enumerate().filter(|(_, source)| source.rank() == Rank::Server);
        // All at once: who is silent makes nobody else wait to be asked.
        let asked = Flavor::ALL.map(|flavor| {
            let asked = servers().map(|(index, source)| (source, self.spawn_asking(index, source, flavor, patience)));
            (flavor, asked.collect::<Vec<_>>())
        });
        for (flavor, asked) in asked {
            // A registry follows the first source that lists it; the others fill in.
            let mut settled = BTreeSet::new();
            for (source, listing) in asked {
                match listing.await.unwrap_or_else(|error| Err(Fault::Broken(error.to_string()))) {
                    Ok(listing) => {
                        let listing = self.admitted(source.as_ref(), listing).await;
                        let listing = self.without_claimed(source.name(), listing).await;
                        let offer = Offer { flavor, source: source.name(), is_truth: false };
                        problems.extend(self.offer_all(offer, &listing, &mut settled, patience).await);
                    }
                    Err(Fault::NotFound) => {}
                    Err(fault) => problems.push(RegistryProblem::new(source.name(), None, &fault)),
                }
            }
        }
        problems
    }

    fn spawn_asking(
        self: &Arc<Self>,
        index: usize,
        source: &Arc<dyn Source>,
        flavor: Flavor,
        patience: Patience,
    ) -> AbortOnDropHandle<Result<Listing, Fault>> {
        let (mirror, source) = (Arc::clone(self), Arc::clone(source));
        let asking = async move { mirror.ask_listing(index, source.as_ref(), flavor, patience).await };
        AbortOnDropHandle::new(tokio::spawn(asking))
    }

    /// Says what is wrong with the sources of a rank once, however often it is found again.
    fn note_problems(&self, rank: Rank, mut problems: Vec<RegistryProblem>) -> Vec<RegistryProblem> {
        problems.sort_unstable();
        problems.dedup();
        let before = lock(&self.problems).insert(rank, problems.clone()).unwrap_or_default();
        for problem in &problems {
            if before.contains(problem) {
                tracing::debug!("registries, still: {problem}");
            } else {
                tracing::warn!("registries: {problem}");
            }
        }
        problems
    }

    /// Asks again where that may help, unless clients wait.
    pub(super) async fn ask_listing(
        &self,
        index: usize,
        source: &dyn Source,
        flavor: Flavor,
        patience: Patience,
    ) -> Result<Listing, Fault> {
        let mut round = 1;
        loop {
            let listing = source.listing(flavor).await;
            // Out of reach it is for all flavors, which are asked side by side: that is one failure.
            if flavor == Flavor::Plain || !listing.as_ref().is_err_and(Fault::is_unreachable) {
                self.memory.listed(index, listing.as_ref().err());
            }
            let pause = listing.as_ref().err().and_then(|fault| patience.pause_before_listing(round, fault));
            let Some(pause) = pause else { return listing };
            tokio::time::sleep(pause).await;
            round += 1;
        }
    }

    async fn offer_all(
        self: &Arc<Self>,
        from: Offer<'_>,
        listing: &Listing,
        settled: &mut BTreeSet<Uuid>,
        patience: Patience,
    ) -> Vec<RegistryProblem> {
        let mut problems = Vec::new();
        for registry in listing.iter() {
            if settled.contains(&registry.uuid) {
                continue;
            }
            match self.offer(from, registry, patience).await {
                Ok(()) => _ = settled.insert(registry.uuid),
                Err(refusal) => {
                    let is_ours = matches!(refusal, Refusal::Full | Refusal::Low(_) | Refusal::Store(_));
                    let problem = RegistryProblem::new(from.source, Some(registry), &refusal);
                    problems.push(RegistryProblem { is_ours, ..problem });
                }
            }
        }
        problems
    }

    /// Publishes a registry at a tree, if that is a step forward and the tarball can be had.
    pub(super) async fn offer(
        self: &Arc<Self>,
        Offer { flavor, source, is_truth }: Offer<'_>,
        registry: RegistryTree,
        patience: Patience,
    ) -> Result<(), Refusal> {
        let offered = Generation {
            time: jiff::Timestamp::now(),
            flavor,
            uuid: registry.uuid,
            tree: registry.tree,
            source: source.to_owned(),
        };
        if !self.is_forward(offered.clone(), is_truth).await? {
            return Ok(());
        }
        self.fetch(&registry.into(), patience).await?;
        let (store, sources) = (Arc::clone(&self.store), self.source_names());
        let published = blocking(move || {
            let _lock = store.lock_listings()?;
            let mut listing = store.listing(flavor)?.unwrap_or_default();
            let log = store.generations()?;
            if is_pinned(&store, &offered)? || !forward((&sources, is_truth), &log, &listing, &offered) {
                return Ok(false);
            }
            listing.set(registry);
            // The log first: a crash in between publishes it again, the other way round it would
            // never be logged.
            store.append_generation(&offered)?;
            store.publish_listing(flavor, &listing).map(|()| true)
        });
        if published.await?? {
            tracing::info!(registry = %registry.uuid, tree = %registry.tree, source, "published in /{}", flavor.file_name());
            self.counters.registry_updates.fetch_add(1, Ordering::Relaxed);
            self.memory.forget();
            self.listings.send_modify(|progress| progress.published += 1);
            self.refresh_view().await;
            self.load_names().await;
        }
        Ok(())
    }

    async fn is_forward(&self, offered: Generation, is_truth: bool) -> Result<bool, Refusal> {
        let (store, sources) = (Arc::clone(&self.store), self.source_names());
        let forward = blocking(move || {
            let listing = store.listing(offered.flavor)?.unwrap_or_default();
            let pinned = is_pinned(&store, &offered)?;
            Ok::<_, StoreError>(!pinned && forward((&sources, is_truth), &store.generations()?, &listing, &offered))
        });
        Ok(forward.await??)
    }

    /// Logs the published trees that another tool put into the listings, so that they have an age
    /// and can be gone back to.
    pub(super) async fn log_found(&self) {
        let store = Arc::clone(&self.store);
        let logged = blocking(move || {
            let _lock = store.lock_listings()?;
            let log = store.generations()?;
            for flavor in Flavor::ALL {
                for RegistryTree { uuid, tree } in store.listing(flavor)?.unwrap_or_default().iter() {
                    let is_it = |entry: &Generation| (entry.flavor, entry.uuid, entry.tree) == (flavor, uuid, tree);
                    if !log.iter().any(is_it) {
                        let (time, source) = (jiff::Timestamp::now(), DISK.to_owned());
                        store.append_generation(&Generation { time, flavor, uuid, tree, source })?;
                    }
                }
            }
            Ok::<_, StoreError>(())
        });
        if let Err(error) = logged.await.unwrap_or_else(|error| Err(error.into())) {
            tracing::warn!("cannot log the registries that were found: {error}");
        }
    }

    fn source_names(&self) -> Vec<String> {
        super::names_of(&self.sources)
    }
}

/// Whether a registry is held at some tree.
fn is_pinned(store: &Store, offered: &Generation) -> Result<bool, StoreError> {
    Ok(store.pins()?.tree(offered.uuid).is_some())
}

/// Whether publishing an offer is a step forward. `sources` are in their order of rank. Of a private
/// registry there is one branch, and what that says now is true, also after it was pushed over; only
/// what somebody rolled back from stays old.
fn forward(
    (sources, is_truth): (&[String], bool),
    log: &[Generation],
    listing: &Listing,
    offered: &Generation,
) -> bool {
    let rank = |name: &str| sources.iter().position(|source| source == name).unwrap_or(usize::MAX);
    let published = listing.tree(offered.uuid);
    let outranks = |present: &str| rank(present) < rank(&offered.source);
    let is_old = if is_truth { is_rolled_back(log, offered) } else { is_superseded(log, offered, published, outranks) };
    published != Some(offered.tree) && !is_old
}
