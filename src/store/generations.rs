//! The log of registry generations: which trees were published here, when, and from which source.

use super::StoreError;
use super::facts::{append_lines, whole_lines};
use crate::protocol::{Flavor, RegistryTree, TreeHash, Uuid};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::io::{self, BufReader};
use std::path::Path;

/// One published state of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// When it was published here.
    pub time: jiff::Timestamp,
    /// In which listing.
    pub flavor: Flavor,
    /// Which registry.
    pub uuid: Uuid,
    /// At which tree.
    pub tree: TreeHash,
    /// Which source listed it.
    pub source: String,
}

/// Whether a tree that `source` lists is older than what it, or the tree published now, has
/// already replaced. Tree hashes have no order, so the log is the only judge of what is newer.
pub fn is_superseded(
    log: &[Generation],
    (flavor, source): (Flavor, &str),
    listed: RegistryTree,
    published: Option<TreeHash>,
) -> bool {
    let of_registry = || log.iter().filter(|entry| entry.uuid == listed.uuid && entry.flavor == flavor);
    let replaced_by = |source: &str, newer: Option<TreeHash>| {
        let mut from_source = of_registry().filter(|entry| entry.source == source);
        let last = from_source.clone().last().map(|entry| entry.tree);
        last != Some(listed.tree)
            && from_source.any(|entry| entry.tree == listed.tree)
            && newer.is_none_or(|newer| last == Some(newer))
    };
    replaced_by(source, None)
        || published.is_some_and(|published| of_registry().any(|entry| replaced_by(&entry.source, Some(published))))
}

pub(super) fn read(path: &Path) -> Result<Vec<Generation>, StoreError> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut log = Vec::new();
    for line in whole_lines(BufReader::new(file)) {
        log.extend(serde_json::from_slice::<Generation>(&line?));
    }
    Ok(log)
}

pub(super) fn append(path: &Path, generation: &Generation) -> Result<(), StoreError> {
    append_lines(path, std::slice::from_ref(generation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::GENERAL;

    fn tree(digit: u8) -> TreeHash {
        TreeHash::from_bytes([digit; 20])
    }

    fn log(entries: &[(&str, u8)]) -> Vec<Generation> {
        entries
            .iter()
            .map(|&(source, digit)| Generation {
                time: jiff::Timestamp::UNIX_EPOCH,
                flavor: Flavor::Eager,
                uuid: GENERAL,
                tree: tree(digit),
                source: source.to_owned(),
            })
            .collect()
    }

    fn superseded(entries: &[(&str, u8)], source: &str, listed: u8, published: u8) -> bool {
        let listed = RegistryTree { uuid: GENERAL, tree: tree(listed) };
        is_superseded(&log(entries), (Flavor::Eager, source), listed, Some(tree(published)))
    }

    #[test]
    fn only_forward() {
        assert!(!superseded(&[], "a", 1, 1));
        assert!(!superseded(&[("a", 1)], "a", 2, 1));
        assert!(superseded(&[("a", 1), ("a", 2)], "a", 1, 2), "a stale answer of the same source");
        assert!(superseded(&[("a", 1), ("a", 2)], "b", 1, 2), "a source that lags behind");
        assert!(!superseded(&[("a", 1), ("a", 2)], "a", 3, 2));
        assert!(!superseded(&[("a", 1), ("a", 2), ("b", 3)], "a", 2, 3), "the first source is back");
        assert!(superseded(&[("a", 1), ("a", 2), ("b", 3)], "a", 1, 3), "and stale");
    }
}
