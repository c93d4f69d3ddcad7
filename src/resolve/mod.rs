//! Which versions Pkg would choose.
//!
//! `PubGrub` finds versions that fit; what makes them those of Pkg is the order in which they are
//! tried, and a step at the end that weighs what competes (`search`). Pure: registries come in as
//! [`Catalogue`]s, answers go out. However a registry is made, a search ends after so many steps, and
//! sooner if nobody waits for it any more.

mod catalogue;
mod conflict;
mod greedy;
mod provider;
mod search;
mod set;
mod universe;

pub use catalogue::{Catalogue, CatalogueBuilder};
pub use conflict::Conflict;

use crate::julia::{JuliaTarget, RegisteredVersion, Version, VersionRange};
use crate::protocol::{TreeHash, Uuid};
use set::Position;
use std::collections::BTreeMap;
use std::sync::Arc;
use universe::{Kind, Universe};

/// What is asked.
pub struct Question<'q> {
    /// For which Julia.
    pub julia: JuliaTarget,
    /// What must be there. In which order they are named makes no difference.
    pub roots: Vec<Root>,
    /// Packages that are there already, in a version that no registry decides: the project itself and
    /// the folders that belong to it. They are no part of the solution.
    pub fixed: BTreeMap<Uuid, Version>,
    /// A policy: why a version may not be chosen.
    pub forbids: &'q dyn Fn(Uuid, &RegisteredVersion<'_>) -> Option<String>,
    /// Whether nobody waits for the answer any more. Asked often.
    pub stopped: &'q dyn Fn() -> bool,
}

impl Question<'_> {
    /// What must be there for a Julia; nothing is fixed, no version forbidden.
    pub fn new(julia: JuliaTarget, roots: Vec<Root>) -> Self {
        Self { julia, roots, fixed: BTreeMap::new(), forbids: &|_, _| None, stopped: &|| false }
    }
}

/// A package that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The package. Several roots may name it: then all of them count.
    pub uuid: Uuid,
    /// The versions that will do: those in any of these ranges. Empty where any will.
    pub ranges: Vec<VersionRange>,
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Solution {
    /// Every package that is needed, the standard libraries included.
    pub packages: BTreeMap<Uuid, Chosen>,
}

/// A package that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// The version as the registry writes it; of a standard library its own, if it has one.
    pub version: Option<String>,
    /// The tree of the version; `None` for what this Julia ships.
    pub tree: Option<TreeHash>,
    /// What it needs, by the names that it uses for them.
    pub deps: BTreeMap<String, Uuid>,
    /// What it works with, whether or not that is there.
    pub weak_deps: BTreeMap<String, Uuid>,
    /// It was asked for.
    pub is_root: bool,
}

/// The versions that Pkg would choose.
pub fn solve(catalogues: &[Arc<Catalogue>], question: &Question<'_>) -> Result<Solution, Conflict> {
    let universe = Universe::new(catalogues, question);
    let positions = search::best(&universe)?;
    solution(&universe, &positions)
}

fn solution(universe: &Universe<'_>, positions: &BTreeMap<Uuid, Position>) -> Result<Solution, Conflict> {
    let mut packages = BTreeMap::new();
    for (&uuid, &position) in positions {
        let package = universe.package(uuid);
        let (mut deps, mut weak_deps) = (BTreeMap::new(), BTreeMap::new());
        for need in universe.needs(&package, position) {
            let named = if need.weak { &mut weak_deps } else { &mut deps };
            named.insert(need.name.to_owned(), need.uuid);
        }
        let (version, tree) = match &package.kind {
            Kind::Shipped { shown, .. } => (shown.map(str::to_owned), None),
            Kind::Fixed { .. } => continue,
            _ => match package.candidate(position) {
                Some(candidate) => {
                    if let Some(conflict) = universe.ambiguity(candidate) {
                        return Err(conflict);
                    }
                    (Some(candidate.entry.version.to_owned()), Some(candidate.entry.tree))
                }
                None => (None, None),
            },
        };
        let is_root = universe.question.roots.iter().any(|root| root.uuid == uuid);
        let chosen = Chosen { name: package.name.clone(), version, tree, deps, weak_deps, is_root };
        packages.insert(uuid, chosen);
    }
    Ok(Solution { packages })
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
