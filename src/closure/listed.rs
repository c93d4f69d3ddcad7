//! The registries that are listed here, read without any upstream.

use super::survey::look_at;
use super::{State, one_line};
use crate::julia::RegistryIndex;
use crate::mirror::load_registry;
use crate::protocol::{Flavor, RegistryTree, Resource, TreeHash, Uuid};
use crate::store::{Store, StoreError};
use crate::tree::Limits;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The registries that are listed here, in any flavor.
#[derive(Debug, Default)]
pub struct Listed {
    /// Each with what lies under its name.
    pub states: BTreeMap<RegistryTree, State>,
    /// Those that could be read.
    pub indexes: Vec<Arc<RegistryIndex>>,
}

impl Listed {
    /// Whether each could be read: only then is a package that none of them has in none.
    pub fn is_readable(&self) -> bool {
        self.states.len() == self.indexes.len()
    }

    /// Whether a registry is listed.
    pub fn has(&self, registry: Uuid) -> bool {
        self.states.keys().any(|listed| listed.uuid == registry)
    }

    /// Whether one of them has a package, in any version.
    pub fn knows(&self, package: Uuid) -> bool {
        self.indexes.iter().any(|index| index.name(package).is_some())
    }

    /// Whether one of them has a package at this tree, yanked or not.
    pub fn knows_at(&self, package: Uuid, tree: TreeHash) -> bool {
        self.indexes.iter().any(|index| index.version_at(package, tree).is_some())
    }

    /// A registry's name, if it could be read.
    pub fn registry_name(&self, uuid: Uuid) -> Option<&str> {
        let index = self.indexes.iter().find(|index| index.registry_uuid() == uuid)?;
        Some(index.registry_name())
    }

    /// A package's name, and its version at a tree.
    pub fn package_name(&self, uuid: Uuid, tree: TreeHash) -> Option<(&str, Option<&str>)> {
        let version = self.indexes.iter().find_map(|index| index.version_at(uuid, tree));
        version.map(|version| (version.name, Some(version.version))).or_else(|| {
            let name = self.indexes.iter().find_map(|index| index.name(uuid))?;
            Some((name, None))
        })
    }
}

/// Reads the registries that are listed here; those that nobody verified yet are verified now.
/// Blocks.
pub fn listed_registries(store: &Store, limits: &Limits) -> Result<Listed, StoreError> {
    let mut listed = Listed::default();
    for flavor in Flavor::ALL {
        for registry in store.listing(flavor)?.unwrap_or_default().iter() {
            if listed.states.contains_key(&registry) {
                continue;
            }
            let resource = Resource::from(registry);
            let (mut state, _) = look_at(store, limits, &resource);
            if matches!(state, State::Here { .. }) {
                match load_registry(store, &resource, limits) {
                    Ok(index) => listed.indexes.push(Arc::new(index)),
                    Err(error) => state = State::Bad(one_line(&format!("it cannot be read: {error}"))),
                }
            }
            listed.states.insert(registry, state);
        }
    }
    Ok(listed)
}
