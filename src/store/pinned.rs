//! Versions that a manifest named: they are shown however young they are.
//!
//! A text file, the path of a package on a line and then its name and version for people, `#`
//! before a comment, so that it can be read and mended by hand.

use super::lines::append_text;
use super::{Lock, Store, StoreError, is_absent};
use crate::protocol::Resource;
use fs_err as fs;
use std::collections::BTreeSet;

/// The file.
pub(super) const FILE: &str = ".airlock/pinned-versions";
const HEADER: &str = "# Versions that manifests named when they were fetched: shown however young they are.\n";

impl Store {
    /// The versions that manifests named. A line that is none is passed over.
    pub fn pinned_versions(&self) -> Result<BTreeSet<Resource>, StoreError> {
        let text = match fs::read(self.root.join(FILE)) {
            Ok(text) => text,
            Err(error) if is_absent(&error) => return Ok(BTreeSet::new()),
            Err(error) => return Err(error.into()),
        };
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect())
    }

    /// Remembers versions that a manifest names, each with what it is called.
    pub fn remember_pinned_versions(&self, versions: &[(Resource, String)]) -> Result<(), StoreError> {
        let _lock = Lock::acquire(&self.root.join(".airlock/locks/pinned-versions"))?;
        let known = self.pinned_versions()?;
        let new = versions.iter().filter(|(version, _)| !known.contains(version));
        // What a manifest calls something must not become a line of its own.
        let plain = |name: &str| name.split_whitespace().collect::<Vec<_>>().join(" ").replace(char::is_control, "");
        let lines = new.map(|(version, name)| format!("{version} {}\n", plain(name))).collect::<Vec<_>>().concat();
        if lines.is_empty() {
            return Ok(());
        }
        let header = if self.root.join(FILE).exists() { "" } else { HEADER };
        append_text(&self.root.join(FILE), &(header.to_owned() + &lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{GENERAL, TreeHash};

    #[test]
    fn pinned_versions_add_up_and_names_are_only_for_people() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let version = |digit| Resource::Package { uuid: GENERAL, tree: TreeHash::from_bytes([digit; 20]) };
        assert_eq!(store.pinned_versions().unwrap(), BTreeSet::new());
        store.remember_pinned_versions(&[(version(1), format!("a\n{}", version(3)))]).unwrap();
        store.remember_pinned_versions(&[(version(1), "again".into()), (version(2), "b 1.0".into())]).unwrap();
        assert_eq!(store.pinned_versions().unwrap(), BTreeSet::from([version(1), version(2)]));
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap().lines().count(), 3);
    }
}
