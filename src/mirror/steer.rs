//! Registries by hand: put one back to an earlier tree, hold it at a tree, let it go again. The
//! explicit exceptions from "only forward", each of them logged as a generation.

use super::{Mirror, Patience, Refusal, blocking};
use crate::protocol::{Flavor, RegistryTree, TreeHash, Uuid};
use crate::store::{Action, Derived, Generation, PIN, ROLLBACK, Store, StoreError};
use std::sync::Arc;

/// Why a registry cannot be moved.
#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    /// No listing has it, so there is nothing to move.
    #[error("no registry {0} is published here")]
    Unlisted(Uuid),
    /// It is held.
    #[error("registry {} is pinned at {}: unpin it first, or pin it at another tree", .0.uuid, .0.tree)]
    Pinned(RegistryTree),
    /// It is not held.
    #[error("registry {0} is not pinned")]
    NotPinned(Uuid),
    /// The tree is one that this mirror made itself; in a listing of upstream's trees it would cross
    /// with them.
    #[error("{tree} is what this mirror shows of {from}: name that tree")]
    Derived {
        /// The derived tree.
        tree: TreeHash,
        /// What it was derived from.
        from: TreeHash,
    },
    /// The tree is not here and cannot be had, or is damaged.
    #[error("registry {} at {}: {refusal}", registry.uuid, registry.tree)]
    Absent {
        /// Which.
        registry: RegistryTree,
        /// Why.
        refusal: Refusal,
    },
    /// The cache directory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Mirror {
    /// Publishes an earlier tree of a registry again. What came after it is not published any more,
    /// whoever lists it; what is newer than that will be. Returns the listings that changed.
    pub async fn roll_back(self: &Arc<Self>, registry: RegistryTree) -> Result<Vec<Flavor>, SteerError> {
        self.bring(registry).await?;
        let moved = self.on_listings(move |store| {
            if let Some(tree) = store.pins()?.tree(registry.uuid).filter(|&tree| tree != registry.tree) {
                return Err(SteerError::Pinned(RegistryTree { tree, ..registry }));
            }
            let moved = publish(store, registry, ROLLBACK)?;
            let summary = format!("registry {} rolled back to {}", registry.uuid, registry.tree);
            store.note(Action::Registry, true, summary);
            Ok(moved)
        });
        let moved = moved.await?;
        tracing::warn!(registry = %registry.uuid, tree = %registry.tree, "rolled back");
        self.load_names().await;
        Ok(moved)
    }

    /// Holds a registry at a tree, the present one unless another is named, until it is unpinned.
    pub async fn pin(self: &Arc<Self>, uuid: Uuid, tree: Option<TreeHash>) -> Result<RegistryTree, SteerError> {
        let published = move |store: &Store| Ok(listed(store, uuid)?.first().map(|&(_, tree)| tree));
        let present = self.on_listings(published).await?;
        let tree = tree.or(present).ok_or(SteerError::Unlisted(uuid))?;
        let registry = RegistryTree { uuid, tree };
        self.bring(registry).await?;
        let pinned = self.on_listings(move |store| {
            publish(store, registry, PIN)?;
            let mut pins = store.pins()?;
            pins.set(registry);
            store.set_pins(&pins)?;
            store.note(Action::Registry, true, format!("registry {uuid} pinned at {tree}"));
            Ok(())
        });
        pinned.await?;
        tracing::warn!(registry = %uuid, %tree, "pinned");
        self.load_names().await;
        Ok(registry)
    }

    /// Lets a registry follow its sources again. It stays where it is until one has something newer.
    pub async fn unpin(self: &Arc<Self>, uuid: Uuid) -> Result<(), SteerError> {
        let unpinned = self.on_listings(move |store| {
            let mut pins = store.pins()?;
            if pins.tree(uuid).is_none() {
                return Err(SteerError::NotPinned(uuid));
            }
            pins.retain(|pin| pin.uuid != uuid);
            store.set_pins(&pins)?;
            store.note(Action::Registry, true, format!("registry {uuid} unpinned"));
            Ok(())
        });
        unpinned.await
    }

    /// A tree that is to be published must be upstream's, be here, and be what its name says.
    async fn bring(self: &Arc<Self>, registry: RegistryTree) -> Result<(), SteerError> {
        let store = Arc::clone(&self.store);
        let known = blocking(move || store.derived()).await.map_err(StoreError::from)??;
        // One that lists everything may be the same tree as what it was derived from.
        let is_it = |it: &&Derived| (it.uuid, it.tree) == (registry.uuid, registry.tree) && it.tree != it.from;
        if let Some(derived) = known.iter().find(is_it) {
            return Err(SteerError::Derived { tree: derived.tree, from: derived.from });
        }
        let brought = self.fetch(&registry.into(), Patience::client(&self.bounds)).await;
        brought.map_err(|refusal| SteerError::Absent { registry, refusal })?;
        let store = Arc::clone(&self.store);
        let is_here = blocking(move || store.has(&registry.into())).await.map_err(StoreError::from)?;
        if is_here { Ok(()) } else { Err(SteerError::Absent { registry, refusal: Refusal::NotFound }) }
    }

    async fn on_listings<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, SteerError> + Send + 'static,
    ) -> Result<T, SteerError> {
        let store = Arc::clone(&self.store);
        let done = blocking(move || {
            let _lock = store.lock_listings()?;
            work(&store)
        });
        done.await.map_err(StoreError::from)?
    }
}

/// The listings that have a registry, and at which tree.
fn listed(store: &Store, uuid: Uuid) -> Result<Vec<(Flavor, TreeHash)>, StoreError> {
    let mut listed = Vec::new();
    for flavor in Flavor::ALL {
        let tree = store.listing(flavor)?.and_then(|listing| listing.tree(uuid));
        listed.extend(tree.map(|tree| (flavor, tree)));
    }
    Ok(listed)
}

/// Puts a tree into every listing that has its registry. Logged also where nothing changes: that is
/// what makes an earlier rollback undone.
fn publish(store: &Store, registry: RegistryTree, source: &str) -> Result<Vec<Flavor>, SteerError> {
    let listed = listed(store, registry.uuid)?;
    if listed.is_empty() {
        return Err(SteerError::Unlisted(registry.uuid));
    }
    for &(flavor, _) in &listed {
        let RegistryTree { uuid, tree } = registry;
        let source = source.to_owned();
        store.append_generation(&Generation { time: jiff::Timestamp::now(), flavor, uuid, tree, source })?;
        let mut listing = store.listing(flavor)?.unwrap_or_default();
        listing.set(registry);
        store.publish_listing(flavor, &listing)?;
    }
    Ok(listed.into_iter().filter(|&(_, tree)| tree != registry.tree).map(|(flavor, _)| flavor).collect())
}
