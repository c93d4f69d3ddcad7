//! The artifacts that packages here name: what they are called, and by whom.
//!
//! A large cache has hundreds of thousands of them, so each costs its own name and a number; the
//! packages are kept once.

use crate::protocol::{Resource, TreeHash};
use crate::store::HeldArtifact;
use std::collections::HashMap;

/// The artifacts that packages here name.
#[derive(Debug, Default)]
pub(super) struct Artifacts {
    named: HashMap<TreeHash, Named>,
    /// More packages that name one: other packages, not other versions of the same, of which the one
    /// that was learned last speaks for all.
    shared: HashMap<TreeHash, Vec<u32>>,
    packages: Vec<Resource>,
    positions: HashMap<Resource, u32>,
}

#[derive(Debug)]
struct Named {
    name: Box<str>,
    /// A position in `packages`; [`NOBODY`] if what names it is no package.
    package: u32,
}

const NOBODY: u32 = u32::MAX;

impl Artifacts {
    /// Learns what a resource names.
    pub(super) fn learn(&mut self, resource: &Resource, held: &[HeldArtifact]) {
        if held.is_empty() {
            return;
        }
        let package = self.position(resource);
        for artifact in held {
            let known = self.named.insert(artifact.tree, Named { name: artifact.name.as_str().into(), package });
            let before = known.map_or(NOBODY, |known| known.package);
            if before != NOBODY && before != package {
                self.share(artifact.tree, before, package);
            }
        }
    }

    /// What an artifact is called, and the package that calls it so.
    pub(super) fn name(&self, tree: TreeHash) -> Option<(&str, Option<Resource>)> {
        let named = self.named.get(&tree)?;
        Some((&named.name, self.package(named.package)))
    }

    /// The packages that name an artifact: of each, one version.
    pub(super) fn packages(&self, tree: TreeHash) -> Vec<Resource> {
        let named = self.named.get(&tree).map(|named| named.package);
        let shared = self.shared.get(&tree).into_iter().flatten().copied();
        named.into_iter().chain(shared).filter_map(|position| self.package(position)).collect()
    }

    fn share(&mut self, tree: TreeHash, before: u32, now: u32) {
        let mut others = self.shared.remove(&tree).unwrap_or_default();
        let uuid = |position| self.package(position).and_then(|package| package.uuid());
        let (before_uuid, now_uuid) = (uuid(before), uuid(now));
        others.retain(|&other| ![before_uuid, now_uuid].contains(&uuid(other)));
        others.extend((before_uuid != now_uuid).then_some(before));
        if !others.is_empty() {
            self.shared.insert(tree, others);
        }
    }

    fn package(&self, position: u32) -> Option<Resource> {
        self.packages.get(position as usize).copied()
    }

    fn position(&mut self, resource: &Resource) -> u32 {
        if !matches!(resource, Resource::Package { .. }) {
            return NOBODY;
        }
        let next = u32::try_from(self.packages.len()).unwrap_or(NOBODY);
        let position = *self.positions.entry(*resource).or_insert(next);
        if position == next && next != NOBODY {
            self.packages.push(*resource);
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::GENERAL;

    fn tree(digit: u8) -> TreeHash {
        TreeHash::from_bytes([digit; 20])
    }

    fn package(uuid: &str, digit: u8) -> Resource {
        Resource::Package { uuid: uuid.parse().unwrap(), tree: tree(digit) }
    }

    fn held(name: &str, digit: u8) -> HeldArtifact {
        HeldArtifact { name: name.into(), tree: tree(digit), lazy: false, deferred: false, platform: None }
    }

    #[test]
    fn of_each_package_the_version_that_was_learned_last_counts() {
        let other = "7876af07-990d-54b4-ab0e-23690620f79a";
        let general = GENERAL.to_string();
        let mut artifacts = Artifacts::default();
        for digit in [1, 2, 1] {
            artifacts.learn(&package(&general, digit), &[held("data", 9), held("own", digit)]);
        }
        assert_eq!(artifacts.packages(tree(9)), [package(&general, 1)]);
        artifacts.learn(&package(other, 3), &[held("theirs", 9)]);
        assert_eq!(artifacts.packages(tree(9)), [package(other, 3), package(&general, 1)]);
        artifacts.learn(&package(&general, 2), &[held("data", 9)]);
        assert_eq!(artifacts.packages(tree(9)), [package(&general, 2), package(other, 3)]);
        assert_eq!(artifacts.name(tree(9)), Some(("data", Some(package(&general, 2)))));
        assert_eq!((artifacts.packages.len(), artifacts.packages(tree(8)).len()), (3, 0));
    }

    #[test]
    fn what_no_package_names_has_a_name_and_no_package() {
        let mut artifacts = Artifacts::default();
        artifacts.learn(&Resource::Artifact { tree: tree(1) }, &[held("inner", 2)]);
        assert_eq!(artifacts.name(tree(2)), Some(("inner", None)));
        assert!(artifacts.packages(tree(2)).is_empty());
    }
}
