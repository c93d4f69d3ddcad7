//! What packages are called, from registries and manifests. These are only hints: the slug of a
//! folder and the hash of its tree decide.

use crate::julia::{Manifest, Origin, RegistryIndex, SLUG_LENGTHS, version_slug};
use crate::policy::{Package, Registry};
use crate::protocol::{TreeHash, Uuid};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Hints<'h> {
    registries: Vec<Cow<'h, RegistryIndex>>,
    by_name: HashMap<String, BTreeSet<Uuid>>,
    /// From manifests: registries are asked.
    trees: HashMap<Uuid, BTreeSet<TreeHash>>,
}

impl<'h> Hints<'h> {
    pub(super) fn new(registries: Vec<Cow<'h, RegistryIndex>>, manifests: &[Manifest]) -> Self {
        let mut hints = Self { registries, ..Self::default() };
        for (uuid, name) in hints.registries.iter().flat_map(|index| index.packages()) {
            hints.by_name.entry(name.to_owned()).or_default().insert(uuid);
        }
        for entry in manifests.iter().flat_map(|manifest| &manifest.entries) {
            hints.by_name.entry(entry.name.clone()).or_default().insert(entry.uuid);
            let tree = match &entry.origin {
                Origin::Registered { tree } => Some(*tree),
                Origin::Git { tree, .. } | Origin::Path { tree, .. } => *tree,
                Origin::Unhashed => None,
            };
            hints.trees.entry(entry.uuid).or_default().extend(tree);
        }
        hints
    }

    /// The packages of a name, the one that `first` says before others.
    pub(super) fn uuids(&self, name: &str, first: Option<Uuid>) -> Vec<Uuid> {
        let known = self.by_name.get(name).into_iter().flatten().copied();
        first.into_iter().chain(known.filter(|&uuid| Some(uuid) != first)).collect()
    }

    /// The packages that have this tree.
    pub(super) fn uuids_at(&self, tree: TreeHash) -> Vec<Uuid> {
        let registered = self.registries.iter().flat_map(|index| index.at_tree(tree)).map(|version| version.uuid);
        let named = self.trees.iter().filter(|(_, trees)| trees.contains(&tree)).map(|(uuid, _)| *uuid);
        registered.chain(named).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The version of one of these packages for which a folder would be named so.
    pub(super) fn expected(&self, uuids: &[Uuid], slug: &str) -> Option<(Uuid, TreeHash)> {
        let trees = |uuid: Uuid| {
            let registered = self.registries.iter().flat_map(move |index| index.versions(uuid)).map(|it| it.tree);
            registered.chain(self.trees.get(&uuid).into_iter().flatten().copied())
        };
        let all = uuids.iter().flat_map(|&uuid| trees(uuid).map(move |tree| (uuid, tree)));
        all.into_iter().find(|&(uuid, tree)| is_named(slug, uuid, tree))
    }

    /// What is known of a package that the depot calls so, for rules.
    pub(super) fn package(&self, uuid: Uuid, said: Option<&str>) -> Package {
        let mut package = Package { said: said.into_iter().map(Into::into).collect(), ..Package::new(uuid) };
        for index in &self.registries {
            if let Some(name) = index.name(uuid) {
                package.names.insert(name.into());
                let (uuid, name) = (index.registry_uuid(), Some(index.registry_name().into()));
                package.registries.push(Registry { name, ..Registry::new(uuid) });
            }
        }
        package
    }

    /// The version that a tree is registered as.
    pub(super) fn version(&self, uuid: Uuid, tree: TreeHash) -> Option<String> {
        self.registries.iter().find_map(|index| Some(index.version_at(uuid, tree)?.version.to_owned()))
    }
}

/// Whether a folder of this name holds this version.
pub(super) fn is_named(slug: &str, uuid: Uuid, tree: TreeHash) -> bool {
    is_slug(slug) && version_slug(uuid, tree, slug.len()) == slug
}

/// Whether this may be the name of a folder of a package.
pub(super) fn is_slug(slug: &str) -> bool {
    SLUG_LENGTHS.contains(&slug.len()) && slug.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
