//! The registries that are listed here with all that a solution needs to know of them, and the
//! packages in them by name.

use crate::julia::{RegisteredVersion, stdlib};
use crate::mirror::{LoadError, near_names};
use crate::protocol::{Flavor, RegistryTree, Resource, Uuid};
use crate::resolve::{Catalogue, CatalogueBuilder};
use crate::store::{Lookup, Store, StoreError};
use crate::tree::{Limits, visit_files};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The registries that are listed here.
#[derive(Debug, Default)]
pub struct Registries {
    /// One of each uuid.
    pub catalogues: Vec<Arc<Catalogue>>,
    /// Those that could not be read, and why, a line each.
    pub problems: Vec<String>,
}

/// A name that stands for no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No registry has it, and no Julia ships it.
    #[error("no registry here has a package {name}{}", suggestion(.similar))]
    Unknown {
        /// The name.
        name: String,
        /// What may have been meant, nearest first.
        similar: Vec<String>,
    },
    /// There is nothing to look it up in.
    #[error("no registry is here yet to look up {0} in")]
    NoRegistry(String),
    /// Several packages have it.
    #[error("several packages are called {name}: {}", choices(.name, .packages))]
    Ambiguous {
        /// The name.
        name: String,
        /// Each with the registries that have it.
        packages: Vec<(Uuid, String)>,
    },
    /// No registry has this uuid.
    #[error("no registry here has a package {name} with the uuid {uuid}")]
    Uuid {
        /// The name.
        name: String,
        /// The uuid.
        uuid: Uuid,
    },
}

impl Registries {
    /// Reads the registries that are listed here, of one that is listed at two trees the plain
    /// flavor's. They must have been verified. Blocks: a large one takes about half a second.
    pub fn load(store: &Store, limits: &Limits) -> Result<Self, StoreError> {
        let mut listed: BTreeMap<Uuid, RegistryTree> = BTreeMap::new();
        for flavor in Flavor::ALL {
            for registry in store.listing(flavor)?.unwrap_or_default().iter() {
                listed.entry(registry.uuid).or_insert(registry);
            }
        }
        let mut registries = Self::default();
        for registry in listed.into_values() {
            match load(store, limits, &registry.into()) {
                Ok(catalogue) => registries.catalogues.push(Arc::new(catalogue)),
                Err(error) => registries.problems.push(format!("registry {}: {error}", registry.uuid)),
            }
        }
        Ok(registries)
    }

    /// The package that a name stands for: in the registries, else a standard library of some Julia.
    pub fn find(&self, name: &str, uuid: Option<Uuid>) -> Result<Uuid, NameError> {
        let mut found: BTreeMap<Uuid, Vec<&str>> = BTreeMap::new();
        for catalogue in &self.catalogues {
            let index = catalogue.index();
            for (package, _) in index.packages().filter(|(_, known)| *known == name) {
                found.entry(package).or_default().push(index.registry_name());
            }
        }
        if let Some(uuid) = uuid {
            let is_known = found.contains_key(&uuid) || stdlib::name(uuid) == Some(name);
            return is_known.then_some(uuid).ok_or_else(|| NameError::Uuid { name: name.to_owned(), uuid });
        }
        let mut uuids = found.keys();
        match (uuids.next(), uuids.next()) {
            (Some(only), None) => Ok(*only),
            (None, _) => stdlib::of_name(name).ok_or_else(|| self.unknown(name)),
            _ => Err(NameError::Ambiguous {
                name: name.to_owned(),
                packages: found.into_iter().map(|(uuid, registries)| (uuid, registries.join(" and "))).collect(),
            }),
        }
    }

    /// The name of a package.
    pub fn name(&self, uuid: Uuid) -> Option<&str> {
        self.catalogues.iter().find_map(|catalogue| catalogue.index().name(uuid)).or_else(|| stdlib::name(uuid))
    }

    /// Whether a registry has a package.
    pub fn has(&self, uuid: Uuid) -> bool {
        self.catalogues.iter().any(|catalogue| catalogue.index().name(uuid).is_some())
    }

    /// The versions of a package that are not yanked, oldest first, each with a registry that has it.
    pub fn versions(&self, uuid: Uuid) -> impl Iterator<Item = (&Catalogue, RegisteredVersion<'_>)> {
        self.catalogues.iter().flat_map(move |catalogue| {
            let versions = catalogue.index().versions(uuid).filter(|version| !version.yanked);
            versions.map(move |version| (&**catalogue, version))
        })
    }

    fn unknown(&self, name: &str) -> NameError {
        if self.catalogues.is_empty() && self.problems.is_empty() {
            return NameError::NoRegistry(name.to_owned());
        }
        let packages = self.catalogues.iter().flat_map(|catalogue| catalogue.index().packages());
        let similar = near_names(name, packages.map(|(_, name)| name));
        NameError::Unknown { name: name.to_owned(), similar }
    }
}

fn load(store: &Store, limits: &Limits, registry: &Resource) -> Result<Catalogue, LoadError> {
    let Lookup::Verified(open, _) = store.look_up(registry)? else { return Err(LoadError::Unverified) };
    let mut builder = CatalogueBuilder::default();
    visit_files(open.file, limits, &mut |path, bytes| builder.file(path, bytes))?;
    Ok(builder.finish()?)
}

fn suggestion(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        similar => format!("; did you mean {}?", similar.join(" or ")),
    }
}

fn choices(name: &str, packages: &[(Uuid, String)]) -> String {
    let one = |(uuid, registries): &(Uuid, String)| format!("{name}={uuid} of {registries}");
    packages.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "11111111-1111-1111-1111-111111111111";
    const TWO: &str = "22222222-2222-2222-2222-222222222222";
    const THREE: &str = "33333333-3333-3333-3333-333333333333";
    const FOUR: &str = "44444444-4444-4444-4444-444444444444";
    const DATES: &str = "ade2ca70-3891-5945-98fb-dc099432e06a";

    fn registry(name: &str, packages: &[(&str, &str)]) -> Arc<Catalogue> {
        let listed: Vec<_> =
            packages.iter().map(|(name, uuid)| format!("{uuid}={{name='{name}',path='{name}'}}\n")).collect();
        let listed = listed.concat();
        let mut builder = CatalogueBuilder::default();
        builder.file("Registry.toml", format!("name='{name}'\nuuid='{ONE}'\n[packages]\n{listed}").into_bytes());
        Arc::new(builder.finish().unwrap())
    }

    fn found(name: &str, uuid: Option<&str>) -> String {
        let catalogues = vec![
            registry("General", &[("Example", ONE), ("Twice", THREE), ("DataFrames", FOUR), ("JSON", TWO)]),
            registry("Acme", &[("Twice", FOUR), ("Example", ONE)]),
        ];
        let registries = Registries { catalogues, problems: Vec::new() };
        let found = registries.find(name, uuid.map(|uuid| uuid.parse().unwrap()));
        found.map_or_else(|error| error.to_string(), |uuid| uuid.to_string())
    }

    #[test]
    fn a_name_is_one_package_or_an_error_that_helps() {
        assert_eq!(found("Example", None), ONE, "two registries may have one package");
        assert_eq!(found("Dates", None), DATES);
        assert_eq!(found("Dates", Some(DATES)), DATES);
        assert_eq!(found("Twice", Some(FOUR)), FOUR);
        assert_eq!(
            found("Twice", None),
            format!("several packages are called Twice: Twice={THREE} of General, Twice={FOUR} of Acme")
        );
        assert_eq!(found("Example", Some(TWO)), format!("no registry here has a package Example with the uuid {TWO}"));
        assert_eq!(found("Dataframe", None), "no registry here has a package Dataframe; did you mean DataFrames?");
        assert_eq!(found("json", None), "no registry here has a package json; did you mean JSON?");
        assert_eq!(found("Nope", None), "no registry here has a package Nope");
        let nothing = Registries::default().find("Example", None).unwrap_err().to_string();
        assert!(nothing.starts_with("no registry is here yet to look up Example in"), "{nothing}");
    }
}
