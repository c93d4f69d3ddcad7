//! What the registries here say of a wish: whether they know it, and whether it is here already.
//!
//! It is looked up in the registries as upstream published them, not in what clients see of them:
//! what is not here yet is just what people wish for.

use super::Mirror;
use crate::exchange::Wish;
use crate::julia::{Platforms, RegistryIndex, Version, stdlib};
use crate::protocol::{Resource, TreeHash, Uuid};
use crate::store::{RecordedWish, StoreError};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

/// Most names that are suggested for one that nobody knows.
const SUGGESTED: usize = 3;

/// The packages of the registries here, by name.
#[derive(Debug)]
pub struct PackagesByName<'m> {
    mirror: &'m Mirror,
    /// Those that are served.
    platforms: Platforms,
    registries: Vec<Arc<RegistryIndex>>,
    /// Positions in `registries` and uuids; different packages may share a name.
    packages: HashMap<Box<str>, Vec<(usize, Uuid)>>,
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WishStatus {
    /// In a word.
    pub state: WishState,
    /// The first registry here that has the package.
    pub registry: Option<String>,
    /// The newest version that is wished for, as far as it is registered and not yanked.
    pub newest: Option<String>,
    /// The newest of those that are here.
    pub here: Option<String>,
}

/// What became of a wish, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WishState {
    /// A version that is wished for is here, with the artifacts that are installed with it.
    Here,
    /// It is registered, and not here, or not whole.
    Known,
    /// No registry here has such a package, or no such version of it. A newer one may.
    Unknown,
    /// Part of Julia, and in no registry here: there is nothing to bring.
    Julia,
}

impl fmt::Display for WishState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here => "here",
            Self::Known => "known",
            Self::Unknown => "unknown",
            Self::Julia => "julia",
        })
    }
}

impl Mirror {
    /// The packages of the registries that are loaded by now.
    pub fn packages_by_name(&self) -> Result<PackagesByName<'_>, StoreError> {
        self.packages_by_name_in(|_| true)
    }

    /// The same, of those registries only that `shown` accepts: as if there were no others.
    pub fn packages_by_name_in(&self, shown: impl Fn(Uuid) -> bool) -> Result<PackagesByName<'_>, StoreError> {
        let mut registries = self.registries();
        registries.retain(|registry| shown(registry.registry_uuid()));
        let mut packages = HashMap::<Box<str>, Vec<_>>::new();
        for (position, registry) in registries.iter().enumerate() {
            for (uuid, name) in registry.packages() {
                packages.entry(name.into()).or_default().push((position, uuid));
            }
        }
        let platforms = self.served_platforms()?;
        Ok(PackagesByName { mirror: self, platforms, registries, packages })
    }

    /// The wishes that are not fulfilled, at most `most`, the one asked for last first. Blocks.
    pub fn open_wishes(&self, most: usize) -> Result<Vec<RecordedWish>, StoreError> {
        self.open_wishes_in(&self.packages_by_name()?, |_| true, most)
    }

    /// The same, of those wishes only that `shown` accepts, looked up among some packages.
    pub fn open_wishes_in(
        &self,
        packages: &PackagesByName<'_>,
        shown: impl Fn(&Wish) -> bool,
        most: usize,
    ) -> Result<Vec<RecordedWish>, StoreError> {
        let is_open =
            |known: &RecordedWish| matches!(packages.status(&known.wish).state, WishState::Known | WishState::Unknown);
        let shown = |known: &RecordedWish| shown(&known.wish) && is_open(known);
        Ok(self.store.wishes()?.into_iter().filter(shown).take(most).collect())
    }
}

impl PackagesByName<'_> {
    /// Whether there is no registry to look anything up in.
    pub fn is_empty(&self) -> bool {
        self.registries.is_empty()
    }

    /// Whether a registry has a package of this name.
    pub fn has(&self, name: &str) -> bool {
        self.packages.contains_key(name)
    }

    /// Looks a wish up. Looks into the cache directory too, so it blocks.
    pub fn status(&self, wish: &Wish) -> WishStatus {
        let packages = self.packages.get(wish.name.as_str()).map(Vec::as_slice).unwrap_or_default();
        let registries = packages.iter().filter_map(|&(position, uuid)| Some((self.registries.get(position)?, uuid)));
        let registry = registries.clone().next().map(|(registry, _)| registry.registry_name().to_owned());
        let mut versions: Vec<_> = registries.flat_map(|(registry, uuid)| wished_for(wish, registry, uuid)).collect();
        versions.sort_by(|a, b| b.0.cmp(&a.0));
        // What cannot be looked at is as good as absent: asking for it does no harm.
        let is_here = |(_, package): &&(Version, Resource)| {
            let missing = self.mirror.missing_artifacts(package, &self.platforms);
            matches!(missing, Ok(Some(0))) && self.mirror.shows(package)
        };
        let here = versions.iter().find(is_here).map(|(version, _)| version.to_string());
        let newest = versions.first().map(|(version, _)| version.to_string());
        let state = match (&here, &newest) {
            (Some(_), _) => WishState::Here,
            (None, Some(_)) => WishState::Known,
            (None, None) if registry.is_none() && stdlib::is_name(&wish.name) => WishState::Julia,
            (None, None) => WishState::Unknown,
        };
        WishStatus { state, registry, newest, here }
    }

    /// What there is to say of a wish and its status, in one or two sentences.
    pub fn explain(&self, wish: &Wish, status: &WishStatus) -> String {
        let name = &wish.name;
        let (here, newest) = (status.here.as_deref().unwrap_or_default(), status.newest.as_deref().unwrap_or_default());
        match (status.state, &status.registry) {
            (WishState::Here, _) if here == newest => format!("{name} {here} is here: ] add {name}@{here}"),
            (WishState::Here, _) => format!(
                "{name} {here} is here: ] add {name}@{here}. The newest that is registered is {newest}: ask for {name}@{newest} if it must be that one."
            ),
            (WishState::Known, Some(registry)) => {
                format!("{registry} has it, {newest} is the newest; no version that is asked for is here yet.")
            }
            (WishState::Julia, _) => format!("{name} is part of Julia, there is nothing to bring: using {name}"),
            (_, Some(registry)) => {
                format!("{registry} has {name}, but no such version; a newer registry outside may have it.")
            }
            (_, None) if self.is_empty() => "There is no registry here to look it up in.".to_owned(),
            (_, None) => {
                let near = self.near(name);
                let meant =
                    if near.is_empty() { String::new() } else { format!(" Did you mean {}?", near.join(" or ")) };
                format!("No registry here knows it; a newer one outside may.{meant}")
            }
        }
    }

    /// Names that may have been meant by one that no registry here has, the likeliest first.
    pub fn near(&self, name: &str) -> Vec<String> {
        near_names(name, self.packages.keys().map(|known| &**known))
    }
}

/// Names that may have been meant by one, the likeliest first.
pub fn near_names<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Vec<String> {
    let wanted: Vec<char> = name.to_lowercase().chars().collect();
    let bound = (wanted.len() / 3).clamp(1, 3);
    let distances = known.filter_map(|known| {
        let known_chars: Vec<char> = known.to_lowercase().chars().collect();
        let close = known_chars.len().abs_diff(wanted.len()) <= bound;
        let distance = close.then(|| distance(&wanted, &known_chars)).filter(|&distance| distance <= bound)?;
        Some((distance, known))
    });
    let near: BTreeSet<_> = distances.collect();
    near.into_iter().take(SUGGESTED).map(|(_, known)| known.to_owned()).collect()
}

/// The registered versions of a package that a wish admits. What is yanked no resolver takes.
fn wished_for(wish: &Wish, registry: &RegistryIndex, uuid: Uuid) -> Vec<(Version, Resource)> {
    let package = |tree: TreeHash| Resource::Package { uuid, tree };
    let registered = registry.versions(uuid).filter(|version| !version.yanked);
    let parsed = registered.filter_map(|it| Some((it.version.parse::<Version>().ok()?, package(it.tree))));
    parsed.filter(|(version, _)| wish.admits(version)).collect()
}

/// How many letters must be put in, left out or exchanged to make one word of another
/// (Levenshtein's distance).
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.iter().enumerate() {
        let (mut diagonal, mut left) = (above, above + 1);
        let mut next = vec![left];
        for (at, other_letter) in row.iter().skip(1).zip(other) {
            let exchanged = diagonal + usize::from(letter != other_letter);
            left = exchanged.min(left + 1).min(at + 1);
            diagonal = *at;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(one: &str, other: &str) -> usize {
        distance(&one.chars().collect::<Vec<_>>(), &other.chars().collect::<Vec<_>>())
    }

    #[test]
    fn distances_are_levenshteins() {
        for (one, other, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("Größe", "Grösse", 2),
            ("a", "b", 1),
        ] {
            assert_eq!((of(one, other), of(other, one)), (expected, expected), "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn a_distance_is_one(a in "[ab]{0,6}", b in "[ab]{0,6}", c in "[ab]{0,6}") {
            prop_assert_eq!(of(&a, &a), 0);
            prop_assert_eq!(of(&a, &b), of(&b, &a));
            prop_assert!(of(&a, &c) <= of(&a, &b) + of(&b, &c));
        }
    }
}
