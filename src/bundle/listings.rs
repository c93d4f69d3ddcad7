//! The registries of a bundle: published last, and only forward.

use super::outcome::{Listed, ListedStatus};
use crate::exchange::{BundleIndex, Publication};
use crate::protocol::{Flavor, Listing, RegistryTree};
use crate::store::{Generation, ReceivedBundle, Store, StoreError, is_superseded};

/// What the source of a generation that a bundle brought starts with; its origin follows.
const ORIGIN: &str = "bundle:";

/// What decides about all registries of a bundle.
pub(super) struct Terms<'t> {
    /// Whether all of the bundle is here.
    pub(super) all_here: bool,
    /// Whether registries may go back.
    pub(super) allow_rollback: bool,
    /// Every bundle that arrived before.
    pub(super) received: &'t [ReceivedBundle],
}

/// Publishes the registries of a bundle. Hold [`Store::lock_listings`] from reading what was
/// received until this bundle is among it.
pub(super) fn publish(store: &Store, index: &BundleIndex, terms: &Terms<'_>) -> Result<Vec<Listed>, StoreError> {
    let (pins, log) = (store.pins()?, store.generations()?);
    let mut all = Vec::new();
    for flavor in Flavor::ALL {
        // Another registry whose tarball is not here just now stays, at the tree before.
        let mut listing = store.listing(flavor)?.unwrap_or_default();
        let mut moved = false;
        for publication in index.registries.iter().filter(|registry| registry.flavors.contains(&flavor)) {
            let offer = generation(index, publication, flavor);
            let pinned = pins.tree(publication.uuid);
            let (status, moved_back) = match judge(store, index, &offer, &listing, &log, terms) {
                ListedStatus::Published | ListedStatus::Older if pinned.is_some() => (ListedStatus::Pinned, false),
                ListedStatus::Older if terms.allow_rollback => (ListedStatus::Published, true),
                status => (status, false),
            };
            if status == ListedStatus::Published {
                // The log first: a crash in between publishes it again, the other way round it would
                // never be logged.
                store.append_generation(&offer)?;
                if moved_back {
                    tracing::warn!(registry = %offer.uuid, tree = %offer.tree, "moved back");
                }
                listing.set(RegistryTree { uuid: offer.uuid, tree: offer.tree });
                moved = true;
            }
            let (uuid, name, tree) = (offer.uuid, publication.name.clone(), offer.tree);
            all.push(Listed { uuid, name, tree, flavor, status, moved_back, pinned });
        }
        if moved {
            store.publish_listing(flavor, &listing)?;
        }
    }
    Ok(all)
}

fn generation(index: &BundleIndex, publication: &Publication, flavor: Flavor) -> Generation {
    Generation {
        time: jiff::Timestamp::now(),
        flavor,
        uuid: publication.uuid,
        tree: publication.tree,
        source: format!("{ORIGIN}{}", index.origin),
    }
}

fn judge(
    store: &Store,
    index: &BundleIndex,
    offer: &Generation,
    listing: &Listing,
    log: &[Generation],
    terms: &Terms<'_>,
) -> ListedStatus {
    let published = listing.tree(offer.uuid);
    if !store.has(&RegistryTree { uuid: offer.uuid, tree: offer.tree }.into()) {
        return ListedStatus::Absent;
    }
    if published == Some(offer.tree) {
        return ListedStatus::Already;
    }
    if !terms.all_here {
        return ListedStatus::HeldBack;
    }
    // What another source put in place of a tree is newer than that tree.
    let replaced = |present: &str| present != offer.source;
    let of_registry = || log.iter().filter(|it| (it.uuid, it.flavor) == (offer.uuid, offer.flavor));
    let present = published.and_then(|published| of_registry().rfind(|it| it.tree == published));
    let is_old = terms.received.iter().any(|bundle| is_newer(bundle, index))
        || present.is_some_and(|present| is_outdated(present, index, terms.received))
        || is_superseded(log, offer, published, replaced);
    if is_old { ListedStatus::Older } else { ListedStatus::Published }
}

/// Whether what is published came from elsewhere after the bundle was made. Between caches there are
/// only their clocks to tell: a bundle that lay about must not undo what a later one of another
/// origin, or an upstream, brought.
fn is_outdated(present: &Generation, index: &BundleIndex, received: &[ReceivedBundle]) -> bool {
    let Some(origin) = present.source.strip_prefix(ORIGIN) else {
        return present.source.contains("://") && present.time > index.created;
    };
    let is_later = |it: &ReceivedBundle| it.complete && it.origin.to_string() == origin && it.created > index.created;
    origin != index.origin.to_string() && received.iter().any(is_later)
}

/// Whether a newer bundle of the same origin is here with its registries. Those for one destination
/// are counted; those for others were made by the same clock.
fn is_newer(bundle: &ReceivedBundle, index: &BundleIndex) -> bool {
    let later = if bundle.destination == index.destination {
        (bundle.sequence, bundle.id) != (index.sequence, index.id) && bundle.sequence >= index.sequence
    } else {
        bundle.created > index.created
    };
    bundle.complete && bundle.origin == index.origin && later
}
