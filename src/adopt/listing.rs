//! The registries that came in, in the listings: only where none of theirs is listed yet. Tree
//! hashes have no order, and a depot does not say how old its registries are.

use super::report::{Listed, ListedStatus};
use crate::protocol::{Flavor, RegistryTree};
use crate::store::{Generation, Store, StoreError};
use std::path::Path;

/// A registry to be listed.
pub(super) struct Offer<'o> {
    pub(super) registry: RegistryTree,
    pub(super) name: &'o str,
    pub(super) depot: &'o Path,
}

/// Lists what may be listed; in a dry run, only says what would be.
pub(super) fn list(store: &Store, offers: &[Offer<'_>], dry_run: bool) -> Result<Vec<Listed>, StoreError> {
    let _lock = if dry_run { None } else { Some(store.lock_listings()?) };
    let mut all = Vec::new();
    for offer in offers {
        let RegistryTree { uuid, tree } = offer.registry;
        let earlier = all.iter().find_map(|listed: &Listed| match listed.status {
            ListedStatus::Listed { .. } if listed.uuid == uuid => Some(listed.tree),
            _ => None,
        });
        let status = match earlier {
            Some(listed) if listed == tree => continue,
            Some(listed) => ListedStatus::Other { listed },
            None => list_one(store, offer, dry_run)?,
        };
        let listed = Listed { uuid, name: offer.name.to_owned(), tree, status };
        if !all.contains(&listed) {
            all.push(listed);
        }
    }
    Ok(all)
}

fn list_one(store: &Store, offer: &Offer<'_>, dry_run: bool) -> Result<ListedStatus, StoreError> {
    let RegistryTree { uuid, tree } = offer.registry;
    let mut others = None;
    for flavor in Flavor::ALL {
        match store.wanted_listing(flavor)?.tree(uuid) {
            Some(listed) if listed == tree => return Ok(ListedStatus::Already),
            listed => others = others.or(listed),
        }
    }
    if let Some(listed) = others {
        return Ok(ListedStatus::Other { listed });
    }
    if let Some(pinned) = store.pins()?.tree(uuid).filter(|&pinned| pinned != tree) {
        return Ok(ListedStatus::Pinned { pinned });
    }
    let mut flavors = Vec::new();
    for flavor in Flavor::ALL {
        let published = store.published_listing(flavor)?;
        // Who asks for another flavor than there is gets the plain one; where there is that flavor,
        // it must have all registries.
        if flavor != Flavor::Plain && published.is_none() {
            continue;
        }
        flavors.push(flavor);
        if !dry_run {
            publish(store, offer, flavor)?;
        }
    }
    Ok(ListedStatus::Listed { flavors })
}

fn publish(store: &Store, offer: &Offer<'_>, flavor: Flavor) -> Result<(), StoreError> {
    let RegistryTree { uuid, tree } = offer.registry;
    let source = format!("adopt:{}", offer.depot.display());
    let mut listing = store.published_listing(flavor)?.unwrap_or_default();
    listing.set(offer.registry);
    // The log first: a crash in between lists it again, the other way round it would never be logged.
    store.append_generation(&Generation { time: jiff::Timestamp::now(), flavor, uuid, tree, source })?;
    store.publish_listing(flavor, &listing)
}
