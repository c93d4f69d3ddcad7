//! Derived registries: what the view `available` shows instead of the full ones.
//!
//! Laid out below `.airlock/view` as the root is, so that nothing of it crosses with a copy and
//! nobody takes it for upstream's: tarballs, the listings that name them, and a record of what each
//! was derived from. All of it can be made again.

use super::lines::read_lines;
use super::listings::read_listing;
use super::{Fact, Lock, Staged, Stamp, Store, StoreError, is_absent, publish};
use crate::protocol::{Flavor, Listing, RegistryTree, Resource, TreeHash, Uuid};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many derived trees of a registry stay servable: clients hold older listings.
const KEPT: usize = 8;
/// However many there are, one stays for so long.
const YOUNG: Duration = Duration::from_mins(10);

/// A registry that lists only what is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derived {
    /// When it was derived.
    pub time: jiff::Timestamp,
    /// Which registry.
    pub uuid: Uuid,
    /// Its own tree.
    pub tree: TreeHash,
    /// The tree of the full registry.
    pub from: TreeHash,
    /// How many packages have a version in it.
    pub packages: usize,
    /// How many versions it lists.
    pub versions: usize,
}

impl Derived {
    fn registry(&self) -> RegistryTree {
        RegistryTree { uuid: self.uuid, tree: self.tree }
    }
}

impl Store {
    /// The lock on the view; waits for it. One process derives at a time.
    pub fn lock_view(&self) -> Result<Lock, StoreError> {
        Ok(Lock::acquire(&self.root.join(".airlock/locks/view"))?)
    }

    /// What was derived and is still kept, oldest first.
    pub fn derived(&self) -> Result<Vec<Derived>, StoreError> {
        read_lines(&self.view("derived.jsonl"))
    }

    /// The listing of the view, without what is not here. In place of a derived registry that is
    /// gone it names the last one that is not.
    pub fn view_listing(&self, flavor: Flavor) -> Result<Listing, StoreError> {
        let mut listing = read_listing(&self.view(flavor.file_name()))?.unwrap_or_default();
        let gone: Vec<_> = listing.iter().filter(|registry| !self.serves(&(*registry).into())).collect();
        if gone.is_empty() {
            return Ok(listing);
        }
        let derived = self.derived()?;
        for registry in &gone {
            let others = derived.iter().rev().filter(|other| other.uuid == registry.uuid).map(Derived::registry);
            if let Some(other) = others.into_iter().find(|other| self.serves(&(*other).into())) {
                listing.set(other);
            }
        }
        listing.retain(|registry| self.serves(&registry.into()));
        Ok(listing)
    }

    /// All derived registries whose tarballs are here, listed or not, in no order.
    pub fn derived_here(&self) -> impl Iterator<Item = Result<Resource, StoreError>> + use<> {
        super::walk::resources(&self.view(""), crate::protocol::Kind::Registry)
    }

    /// Whether every registry that the view names is here, as it was made.
    pub fn is_view_whole(&self) -> Result<bool, StoreError> {
        for flavor in Flavor::ALL {
            let listing = read_listing(&self.view(flavor.file_name()))?.unwrap_or_default();
            for registry in listing.iter() {
                if self.fact(&registry.into())?.is_none() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Publishes the tarball of a derived registry, whose strict tree hash is the registry's tree,
    /// in place of one that may be damaged: the same tree always has the same bytes.
    pub fn publish_derived(&self, staged: &Staged, registry: RegistryTree) -> Result<(), StoreError> {
        let (resource, file) = (Resource::from(registry), staged.file());
        publish::make_folders(&self.view(&format!("registry/{}", registry.uuid)))?;
        publish::replace(staged, &self.view(&resource.relative_path()))?;
        let stamp = Stamp::of(&file.metadata()?);
        self.facts.remember(Fact { resource, stamp, strict: registry.tree, artifacts: Vec::new() });
        crate::fault::point("view.published");
        Ok(())
    }

    /// Publishes the view: what was derived now, and the listings that name it or what stays from
    /// before. Then removes what nobody can be expected to ask for any more. Hold
    /// [`Store::lock_view`].
    pub fn publish_view(&self, new: &[Derived], listings: &[(Flavor, Listing)]) -> Result<(), StoreError> {
        let is_new = |old: &Derived| new.iter().any(|new| new.registry() == old.registry());
        let mut derived: Vec<_> = self.derived()?.into_iter().filter(|old| !is_new(old)).collect();
        derived.extend_from_slice(new);
        // The record first: a registry that is listed can always be said to be derived.
        self.replace(&self.view("derived.jsonl"), &lines(&derived)?)?;
        crate::fault::point("view.recorded");
        for (flavor, listing) in listings {
            let path = self.view(flavor.file_name());
            if !listing.is_empty() {
                self.replace(&path, listing.to_string().as_bytes())?;
            } else if path.exists() {
                fs::remove_file(path)?;
            }
        }
        crate::fault::point("view.listed");
        let listed: BTreeSet<_> = listings.iter().flat_map(|(_, listing)| listing.iter()).collect();
        self.remove_old_derived(derived, &listed)
    }

    fn remove_old_derived(&self, derived: Vec<Derived>, listed: &BTreeSet<RegistryTree>) -> Result<(), StoreError> {
        let now = jiff::Timestamp::now();
        let mut counts = std::collections::BTreeMap::<Uuid, usize>::new();
        let (mut kept, before) = (BTreeSet::new(), derived.len());
        let mut staying: Vec<_> = derived
            .into_iter()
            .rev()
            .filter(|derived| {
                let count = counts.entry(derived.uuid).or_default();
                *count += 1;
                let is_young = now.duration_since(derived.time).unsigned_abs() < YOUNG;
                let stays = *count <= KEPT || is_young || listed.contains(&derived.registry());
                stays && kept.insert(derived.registry())
            })
            .collect();
        staying.reverse();
        for resource in super::walk::resources(&self.view(""), crate::protocol::Kind::Registry) {
            let Resource::Registry { uuid, tree } = resource? else { continue };
            let path = self.view(&format!("registry/{uuid}/{tree}"));
            if !kept.contains(&RegistryTree { uuid, tree }) && !listed.contains(&RegistryTree { uuid, tree }) {
                remove(&path)?;
            }
        }
        if staying.len() < before {
            self.replace(&self.view("derived.jsonl"), &lines(&staying)?)?;
        }
        Ok(())
    }

    /// Replaces a small file of our own, durably.
    pub(super) fn replace(&self, path: &Path, contents: &[u8]) -> Result<(), StoreError> {
        let mut staged = self.stage()?;
        staged.write_all(contents)?;
        crate::fault::point("state.staged");
        publish::replace(&staged, path)?;
        crate::fault::point("state.renamed");
        Ok(())
    }

    pub(super) fn view(&self, name: &str) -> PathBuf {
        self.root.join(".airlock/view").join(name)
    }
}

fn lines(derived: &[Derived]) -> Result<Vec<u8>, StoreError> {
    let mut lines = Vec::new();
    for derived in derived {
        serde_json::to_writer(&mut lines, derived).map_err(io::Error::from)?;
        lines.write_all(b"\n")?;
    }
    Ok(lines)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if !is_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::GENERAL;

    fn tree(number: u8) -> TreeHash {
        TreeHash::from_bytes([number; 20])
    }

    fn publish(store: &Store, number: u8, age: Duration) {
        let registry = RegistryTree { uuid: GENERAL, tree: tree(number) };
        let mut staged = store.stage().unwrap();
        staged.write_all(&[number]).unwrap();
        store.publish_derived(&staged, registry).unwrap();
        let time = jiff::Timestamp::now() - jiff::SignedDuration::try_from(age).unwrap();
        let derived = Derived { time, uuid: GENERAL, tree: tree(number), from: tree(0), packages: 1, versions: 2 };
        let listing: Listing = [registry].into_iter().collect();
        store.publish_view(&[derived], &[(Flavor::Plain, listing)]).unwrap();
    }

    fn here(store: &Store) -> Vec<u8> {
        let has = |number: &u8| store.serves(&Resource::Registry { uuid: GENERAL, tree: tree(*number) });
        (1..30).filter(has).collect()
    }

    #[test]
    fn the_last_few_and_the_young_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let old = YOUNG * 2;
        for number in 1..=10 {
            publish(&store, number, old);
        }
        assert_eq!(here(&store), (3..=10).collect::<Vec<_>>());
        for number in 11..=20 {
            publish(&store, number, Duration::ZERO);
        }
        assert_eq!(here(&store), (11..=20).collect::<Vec<_>>(), "the young ones are more than eight");
        publish(&store, 15, Duration::ZERO);
        assert_eq!(store.derived().unwrap().last().unwrap().tree, tree(15), "derived again is derived last");
        assert_eq!(store.derived().unwrap().len(), 10);
        let fact = store.fact(&Resource::Registry { uuid: GENERAL, tree: tree(15) }).unwrap();
        assert_eq!(fact.unwrap().strict, tree(15));
        assert_eq!(store.resources(crate::protocol::Kind::Registry).count(), 0, "the walk is of upstream's files");
    }

    #[test]
    fn what_is_listed_stays_with_its_record_however_old() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        publish(&store, 1, YOUNG * 2);
        let listing = |number: u8| Listing::from_iter([RegistryTree { uuid: GENERAL, tree: tree(number) }]);
        for number in 2..=20 {
            let time = jiff::Timestamp::UNIX_EPOCH;
            let derived = Derived { time, uuid: GENERAL, tree: tree(number), from: tree(0), packages: 1, versions: 2 };
            let listings = [(Flavor::Plain, listing(1)), (Flavor::Eager, listing(number))];
            store.publish_view(&[derived], &listings).unwrap();
        }
        assert_eq!(here(&store), [1]);
        assert!(
            store.derived().unwrap().iter().any(|derived| derived.tree == tree(1)),
            "or it would pass for upstream's"
        );
    }

    #[test]
    fn in_place_of_one_that_is_gone_the_last_other_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        publish(&store, 1, Duration::ZERO);
        publish(&store, 2, Duration::ZERO);
        assert!(store.is_view_whole().unwrap());
        fs::remove_file(store.path(&Resource::Registry { uuid: GENERAL, tree: tree(2) })).unwrap();
        assert!(!store.is_view_whole().unwrap());
        assert_eq!(store.view_listing(Flavor::Plain).unwrap().tree(GENERAL), Some(tree(1)));
        fs::remove_file(store.path(&Resource::Registry { uuid: GENERAL, tree: tree(1) })).unwrap();
        assert!(store.view_listing(Flavor::Plain).unwrap().is_empty());
    }
}
