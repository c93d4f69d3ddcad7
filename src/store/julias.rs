//! The versions of Julia that clients here run: what is fetched for a wish must suit one of them.
//!
//! A text file, one version on a line. It says nothing about who runs them.

use super::{Lock, Store, StoreError, is_absent};
use crate::julia::Version;
use fs_err as fs;
use std::collections::BTreeMap;

const FILE: &str = ".airlock/julia-versions";
/// Most minor versions that are kept: a client may call itself anything.
const KEPT: usize = 100;

impl Store {
    /// The versions of Julia that were seen, of each minor version the last, oldest first.
    pub fn julia_versions(&self) -> Result<Vec<Version>, StoreError> {
        match fs::read_to_string(self.root.join(FILE)) {
            Ok(text) => Ok(last_of_each(text.lines().filter_map(|line| line.trim().parse().ok()))),
            Err(error) if is_absent(&error) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Adds versions of Julia.
    pub fn remember_julia_versions(&self, seen: impl IntoIterator<Item = Version>) -> Result<(), StoreError> {
        let _lock = Lock::acquire(&self.root.join(".airlock/locks/julia-versions"))?;
        let known = self.julia_versions()?;
        let all = last_of_each(known.iter().cloned().chain(seen));
        if all == known || all.len() > KEPT {
            return Ok(());
        }
        let lines: Vec<_> = all.iter().map(ToString::to_string).collect();
        self.replace(&self.root.join(FILE), (lines.join("\n") + "\n").as_bytes())
    }
}

fn last_of_each(versions: impl Iterator<Item = Version>) -> Vec<Version> {
    let mut last = BTreeMap::new();
    for version in versions.filter(|version| !version.is_prerelease()) {
        let kept = last.entry((version.major, version.minor)).or_insert_with(|| version.clone());
        *kept = version.max(kept.clone());
    }
    last.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_each_minor_version_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let remember = |versions: &[&str]| {
            store.remember_julia_versions(versions.iter().map(|version| version.parse().unwrap())).unwrap();
            store.julia_versions().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(remember(&[]), Vec::<String>::new());
        assert_eq!(remember(&["1.10.2", "1.5.3", "1.14.0-DEV.5"]), ["1.5.3", "1.10.2"]);
        assert_eq!(remember(&["1.10.1", "1.10.4"]), ["1.5.3", "1.10.4"]);
        fs::write(folder.path().join(FILE), "x\n1.6.0\n").unwrap();
        assert_eq!(remember(&[]), ["1.6.0"]);
        let many: Vec<_> = (0..200).map(|minor| format!("7.{minor}.0")).collect();
        assert_eq!(remember(&many.iter().map(String::as_str).collect::<Vec<_>>()), ["1.6.0"]);
    }
}
