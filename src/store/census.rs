//! How much is here: counted when the cache directory is walked, and kept right in between by
//! what this process publishes and sets aside. So nobody has to walk it to say a number.

use super::quarantine;
use super::{Stamp, Store, StoreError};
use crate::protocol::{Kind, Resource};
use std::sync::PoisonError;

/// Files and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many.
    pub files: u64,
    /// How much.
    pub bytes: u64,
}

/// What is in a cache directory under names of resources, verified or not. What is only derived is
/// not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Registries.
    pub registries: Counted,
    /// Packages.
    pub packages: Counted,
    /// Artifacts.
    pub artifacts: Counted,
    /// Files in quarantine.
    pub quarantined: u64,
}

impl Census {
    /// Those of one kind.
    pub const fn of(&self, kind: Kind) -> Counted {
        match kind {
            Kind::Registry => self.registries,
            Kind::Package => self.packages,
            Kind::Artifact => self.artifacts,
        }
    }

    const fn of_mut(&mut self, kind: Kind) -> &mut Counted {
        match kind {
            Kind::Registry => &mut self.registries,
            Kind::Package => &mut self.packages,
            Kind::Artifact => &mut self.artifacts,
        }
    }

    fn add(&mut self, kind: Kind, bytes: u64) {
        let counted = self.of_mut(kind);
        counted.files += 1;
        counted.bytes = counted.bytes.saturating_add(bytes);
    }
}

impl Store {
    /// The last census; `None` before the first.
    pub fn census(&self) -> Option<Census> {
        *self.census.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Walks the cache directory, shows every file under the name of a resource to `visit`, and
    /// counts. What this process publishes meanwhile may be counted twice, or not; the next walk is right.
    pub fn take_census(
        &self,
        mut visit: impl FnMut(Resource, Stamp) -> Result<(), StoreError>,
    ) -> Result<Census, StoreError> {
        let mut census = Census { quarantined: quarantine::count(self.root())?, ..Census::default() };
        for resource in Kind::ALL.into_iter().flat_map(|kind| self.resources(kind)) {
            let resource = resource?;
            if let Some(stamp) = self.stamp(&resource)? {
                census.add(resource.kind(), stamp.size);
                visit(resource, stamp)?;
            }
        }
        *self.census.lock().unwrap_or_else(PoisonError::into_inner) = Some(census);
        Ok(census)
    }

    /// One more file is here.
    pub(super) fn count_published(&self, resource: &Resource, stamp: Stamp) {
        self.count(|census| census.add(resource.kind(), stamp.size));
    }

    /// A file was damaged: one of those that are counted, or a derived one or a git bundle.
    pub(super) fn count_quarantined(&self, counted: Option<(&Resource, Stamp)>) {
        self.count(|census| {
            census.quarantined += 1;
            if let Some((resource, stamp)) = counted {
                let counted = census.of_mut(resource.kind());
                counted.files = counted.files.saturating_sub(1);
                counted.bytes = counted.bytes.saturating_sub(stamp.size);
            }
        });
    }

    fn count(&self, change: impl FnOnce(&mut Census)) {
        if let Some(census) = &mut *self.census.lock().unwrap_or_else(PoisonError::into_inner) {
            change(census);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{GENERAL, TreeHash};
    use fs_err as fs;
    use std::io::Write as _;

    #[test]
    fn what_is_published_and_what_is_set_aside_is_counted_as_a_walk_would() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let walk = || store.take_census(|_, _| Ok(())).unwrap();
        assert_eq!((store.census(), walk()), (None, Census::default()));
        let package = Resource::Package { uuid: GENERAL, tree: TreeHash::EMPTY };
        let publish = || {
            let staged = store.stage().unwrap();
            staged.file().write_all(b"12345").unwrap();
            store.publish(staged, &package, TreeHash::from_bytes([1; 20]), &[]).unwrap();
        };
        publish();
        // Under two names, for its strict hash is another; a second time it is there already.
        publish();
        let both = Counted { files: 2, bytes: 10 };
        assert_eq!(store.census().unwrap(), Census { packages: both, ..Census::default() });
        assert_eq!(store.census().unwrap(), walk());
        let stamp = Stamp::of(&fs::metadata(store.path(&package)).unwrap());
        store.quarantine(&package, stamp).unwrap().unwrap();
        let one = Census { packages: Counted { files: 1, bytes: 5 }, quarantined: 1, ..Census::default() };
        assert_eq!((store.census().unwrap(), walk()), (one, one));
    }
}
