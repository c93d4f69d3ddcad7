//! Which registries are published: the listings, the log of their generations, and the pins.

use super::generations::was_left_behind;
use super::lines::{append_lines, read_lines};
use super::{Generation, Lock, Stamp, Store, StoreError, is_absent, publish, walk};
use crate::protocol::{Flavor, Kind, Listing, RegistryTree, Resource, TreeHash, Uuid};
use fs_err as fs;
use serde::Serialize;
use std::path::Path;

/// Registries that stay at one tree.
pub(super) const PINS: &str = ".airlock/pins";
/// The generations.
const LOG: &str = ".airlock/generations/log.jsonl";

/// A registry that is not shown at the tree that is published, which is not here: damaged, or not
/// arrived yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct StepBack {
    /// Which registry.
    pub uuid: Uuid,
    /// In which listing.
    pub flavor: Flavor,
    /// The tree that is published.
    pub published: TreeHash,
    /// The tree that is listed in its place; `None` if there is none, and it is left out.
    pub shown: Option<TreeHash>,
}

impl Store {
    /// The lock on the listings and the generations log; waits for it.
    pub fn lock_listings(&self) -> Result<Lock, StoreError> {
        Ok(Lock::acquire(&self.root.join(".airlock/locks/listings"))?)
    }

    /// A published listing. Pinned registries are at their pins, also when another tool has
    /// replaced the file. A registry whose tarball is not here, because it was damaged or has not
    /// arrived yet, is at the last tree before that is here; without one it is left out.
    pub fn listing(&self, flavor: Flavor) -> Result<Option<Listing>, StoreError> {
        let Some(mut listing) = self.published_listing(flavor)? else { return Ok(None) };
        for pin in self.pins()?.iter() {
            if listing.tree(pin.uuid).is_some() && self.has(&pin.into()) {
                listing.set(pin);
            }
        }
        let absent: Vec<_> = listing.iter().filter(|&registry| !self.has(&registry.into())).collect();
        if !absent.is_empty() {
            let log = self.generations()?;
            for registry in absent {
                let of_it = |entry: &&Generation| (entry.uuid, entry.flavor) == (registry.uuid, flavor);
                let of_it: Vec<_> = log.iter().filter(of_it).collect();
                let earlier = of_it.iter().rev().filter(|entry| !was_left_behind(&of_it, entry.tree));
                let mut trees = earlier.map(|entry| RegistryTree { uuid: entry.uuid, tree: entry.tree });
                // Of what another tool brought there is no log; what was written last is the best guess.
                let guess = || self.last_registry(registry.uuid, |tree| !log.iter().any(|it| it.tree == tree));
                match trees.find(|&registry| self.has(&registry.into())).or_else(guess) {
                    Some(earlier) => listing.set(earlier),
                    None => listing.retain(|listed| listed != registry),
                }
            }
        }
        Ok(Some(listing).filter(|listing| !listing.is_empty()))
    }

    /// The tree of a registry that was written last, of those here that `may` be taken.
    fn last_registry(&self, uuid: Uuid, may: impl Fn(TreeHash) -> bool) -> Option<RegistryTree> {
        let trees = walk::resources(&self.root, Kind::Registry).filter_map(|resource| match resource {
            Ok(Resource::Registry { uuid: of, tree }) if of == uuid && may(tree) => Some(RegistryTree { uuid, tree }),
            _ => None,
        });
        let written = |registry: &RegistryTree| {
            let metadata = fs::metadata(self.root_path(&(*registry).into())).ok()?;
            metadata.is_file().then(|| metadata.modified().ok())?
        };
        trees.filter_map(|registry| Some((written(&registry)?, registry))).max().map(|(_, registry)| registry)
    }

    /// The registries that are not shown at the tree that is published, nor held at a pin.
    pub fn stepped_back(&self) -> Result<Vec<StepBack>, StoreError> {
        let mut stepped = Vec::new();
        for flavor in Flavor::ALL {
            let published = self.published_listing(flavor)?.unwrap_or_default();
            let shown = self.listing(flavor)?.unwrap_or_default();
            for RegistryTree { uuid, tree } in published.iter().filter(|&registry| !self.has(&registry.into())) {
                let shown = shown.tree(uuid);
                if shown.is_none() || self.pins()?.tree(uuid) != shown {
                    stepped.push(StepBack { uuid, flavor, published: tree, shown });
                }
            }
        }
        Ok(stepped)
    }

    /// The listing as it is to be shown: [`Store::listing`], and what that leaves out at the tree
    /// that is published, for something may still be known of it.
    pub fn wanted_listing(&self, flavor: Flavor) -> Result<Listing, StoreError> {
        let mut listing = self.published_listing(flavor)?.unwrap_or_default();
        self.listing(flavor)?.unwrap_or_default().iter().for_each(|registry| listing.set(registry));
        Ok(listing)
    }

    /// A published listing as it is, also where it names what is not here.
    pub fn published_listing(&self, flavor: Flavor) -> Result<Option<Listing>, StoreError> {
        read_listing(&self.root.join(flavor.file_name()))
    }

    /// Publishes a listing. Hold [`Store::lock_listings`] from reading the old one until then.
    pub fn publish_listing(&self, flavor: Flavor, listing: &Listing) -> Result<(), StoreError> {
        let mut staged = self.stage()?;
        staged.write_all(listing.to_string().as_bytes())?;
        crate::fault::point("listing.staged");
        publish::replace(&staged, &self.root.join(flavor.file_name()))?;
        crate::fault::point("listing.renamed");
        Ok(())
    }

    /// The log of registry generations.
    pub fn generations(&self) -> Result<Vec<Generation>, StoreError> {
        read_lines(&self.root.join(LOG))
    }

    /// Appends to the log of registry generations.
    pub fn append_generation(&self, generation: &Generation) -> Result<(), StoreError> {
        append_lines(&self.root.join(LOG), std::slice::from_ref(generation))?;
        crate::fault::point("generations.appended");
        Ok(())
    }

    /// What the log of registry generations looks like: as long as that stays, so does what it says.
    pub fn generations_stamp(&self) -> Option<Stamp> {
        fs::metadata(self.root.join(LOG)).ok().map(|log| Stamp::of(&log))
    }

    /// The registries that stay at one tree, whatever is published after it.
    pub fn pins(&self) -> Result<Listing, StoreError> {
        Ok(read_listing(&self.root.join(PINS))?.unwrap_or_default())
    }

    /// Replaces the pins. Hold [`Store::lock_listings`] from reading the old ones until then.
    pub fn set_pins(&self, pins: &Listing) -> Result<(), StoreError> {
        self.replace(&self.root.join(PINS), pins.to_string().as_bytes())
    }
}

pub(super) fn read_listing(path: &Path) -> Result<Option<Listing>, StoreError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(Listing::salvage(&String::from_utf8_lossy(&text)))),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
