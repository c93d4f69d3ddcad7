//! The quarantine: files that are not what their name says, out of sight and kept to be looked at.

use super::{Stamp, Store, StoreError, is_absent};
use crate::protocol::Resource;
use fs_err as fs;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FOLDER: &str = ".airlock/quarantine";

impl Store {
    /// Takes a file that is not what its name says out of sight, and says where it went. `None` if
    /// the file that was found wrong is no longer there: what took its place, or goes on being
    /// written, may be good.
    pub fn quarantine(&self, resource: &Resource, wrong: Stamp) -> Result<Option<PathBuf>, StoreError> {
        let path = self.path(resource);
        let is_derived = path != self.root_path(resource);
        match fs::metadata(&path) {
            Ok(there) if Stamp::of(&there) == wrong => {}
            Ok(_) => return Ok(None),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let name = resource.relative_path().replace('/', "-");
        let time = jiff::Timestamp::now().as_nanosecond();
        let to = self.root().join(FOLDER).join(format!("{name}-{time}"));
        match fs::rename(path, &to) {
            Ok(()) => {
                self.count_quarantined(resource, wrong, !is_derived);
                Ok(Some(to))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The resources of which a damaged file is kept, whether a good one is here again or not.
    /// Files with other names are passed over.
    pub fn quarantined(&self) -> Result<BTreeSet<Resource>, StoreError> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(self.root().join(FOLDER))? {
            found.extend(entry?.file_name().to_str().and_then(quarantined));
        }
        Ok(found)
    }
}

/// How many files are in quarantine.
pub(super) fn count(root: &Path) -> Result<u64, StoreError> {
    Ok(fs::read_dir(root.join(FOLDER))?.map(|entry| entry.map(|_| 1)).sum::<Result<_, _>>()?)
}

/// The resource that a file in quarantine was: `package-<uuid>-<tree>-<nanoseconds>`.
fn quarantined(file_name: &str) -> Option<Resource> {
    let (name, time) = file_name.rsplit_once('-')?;
    let _: u128 = time.parse().ok()?;
    let (rest, tree) = name.rsplit_once('-')?;
    match rest.split_once('-') {
        Some((kind, uuid)) => format!("/{kind}/{uuid}/{tree}").parse().ok(),
        None => format!("/{rest}/{tree}").parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{GENERAL, TreeHash};

    #[test]
    fn what_was_set_aside_is_known_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let tree = TreeHash::EMPTY;
        let all = [
            Resource::Registry { uuid: GENERAL, tree },
            Resource::Package { uuid: GENERAL, tree },
            Resource::Artifact { tree },
        ];
        for resource in all.iter().chain(&all) {
            let path = store.path(resource);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "damaged").unwrap();
            let stamp = Stamp::of(&fs::metadata(&path).unwrap());
            assert!(store.quarantine(resource, stamp).unwrap().is_some());
        }
        for other in [
            "notes",
            "artifact-x-1",
            "artifact-",
            "-",
            "package-1-2-3",
            "artifact-4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        ] {
            fs::write(folder.path().join(FOLDER).join(other), "").unwrap();
        }
        assert_eq!(store.quarantined().unwrap(), all.into());
    }
}
