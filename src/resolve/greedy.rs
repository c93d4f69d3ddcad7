//! Whether Pkg would find a solution without weighing anything.
//!
//! Before it weighs versions, Pkg tries to give each package the newest version that all who need it
//! would choose by themselves, and is content if that works (`greedysolver` in `Resolve.jl`). Then
//! nothing is made newer at the cost of others, whatever the sum of the versions.

use super::search::Positions;
use super::set::{ABSENT, Position, Set};
use super::universe::Universe;
use crate::protocol::Uuid;
use pubgrub::VersionSet as _;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

/// The versions that each package of a solution may still have, as far as Pkg narrows them down.
struct Masks<'u, 'q> {
    universe: &'u Universe<'q>,
    allowed: BTreeMap<Uuid, Set>,
    /// Who has a dependency on a package, in any version.
    dependents: BTreeMap<Uuid, BTreeSet<Uuid>>,
    left: &'u Cell<u64>,
}

/// Whether Pkg would come to this solution by taking the newest everywhere. Only the packages of the
/// solution are looked at: others may narrow down nothing that counts.
///
/// `None` if that takes more than the steps that are left.
pub(super) fn is_greedy(universe: &Universe<'_>, solution: &Positions, left: &Cell<u64>) -> Option<bool> {
    let mut masks = Masks::new(universe, solution, left)?;
    if !masks.narrow(masks.required())? {
        return Some(false);
    }
    let required = masks.required();
    let decided = masks.decided();
    for uuid in &required {
        let newest = masks.newest(*uuid);
        if newest.is_none() || newest != solution.get(uuid).copied() {
            return Some(false);
        }
        masks.allowed.insert(*uuid, Set::singleton(newest?));
    }
    if !masks.narrow(required)? {
        return Some(false);
    }
    // What was decided before has left the graph (`prune_graph!`).
    let pairs = masks.dependents.iter().flat_map(|(on, by)| by.iter().map(|by| (*on, *by)));
    let mut pairs = pairs.filter(|(on, by)| !decided.contains(on) && !decided.contains(by));
    let agrees = pairs.try_fold(true, |agrees, (on, by)| {
        Some(agrees && masks.would_choose(solution, by, on)? && masks.would_choose(solution, on, by)?)
    });
    if universe.is_over() { None } else { agrees }
}

impl<'u, 'q> Masks<'u, 'q> {
    fn new(universe: &'u Universe<'q>, solution: &Positions, left: &'u Cell<u64>) -> Option<Self> {
        let roots = &universe.question.roots;
        let allowed = solution.keys().map(|&uuid| (uuid, Set::full())).collect();
        let mut masks = Self { universe, allowed, dependents: BTreeMap::new(), left };
        for root in roots {
            masks.allowed.entry(root.uuid).and_modify(|set| *set = set.intersection(&universe.allowed(root)));
        }
        for &uuid in solution.keys() {
            for position in masks.positions(uuid, &Set::full())? {
                if universe.is_over() {
                    return None;
                }
                for (dependency, _) in universe.constraints(uuid, position).iter() {
                    masks.dependents.entry(*dependency).or_default().insert(uuid);
                }
            }
        }
        Some(masks)
    }

    /// What must be there.
    fn required(&self) -> BTreeSet<Uuid> {
        let must = self.allowed.iter().filter(|(_, set)| !set.allows_absence());
        must.map(|(uuid, _)| *uuid).collect()
    }

    /// What may have one version only.
    fn decided(&self) -> BTreeSet<Uuid> {
        let is_single = |(uuid, set): &(&Uuid, &Set)| {
            let mut indexes = set.indexes(self.universe.package(**uuid).count());
            let only = indexes.next().is_some_and(|range| range.len() == 1) && indexes.next().is_none();
            only && !set.allows_absence()
        };
        self.allowed.iter().filter(is_single).map(|(uuid, _)| *uuid).collect()
    }

    /// Whether one package would choose the version of another that is in the solution: the newest that
    /// goes with it. A package that needs this one is chosen for too, once it must be there.
    fn would_choose(&self, solution: &Positions, by: Uuid, chosen: Uuid) -> Option<bool> {
        let (Some(&position), Some(allowed)) = (solution.get(&by), self.allowed.get(&chosen)) else {
            return Some(true);
        };
        let constraints = self.universe.constraints(by, position);
        let needed = constraints.iter().find(|(uuid, _)| *uuid == chosen).map(|(_, set)| set);
        let mut suiting = needed.map_or_else(|| allowed.clone(), |set| set.intersection(allowed));
        let expected = solution.get(&chosen).copied();
        let newest = |set: &Set| set.newest(self.universe.package(chosen).count());
        if suiting.allows_absence() || newest(&suiting) == expected {
            return Some(true);
        }
        if self.dependents.get(&by).is_some_and(|dependents| dependents.contains(&chosen)) {
            suiting = suiting.intersection(&self.of_dependent(chosen, by, &Set::singleton(position))?);
        }
        Some(newest(&suiting) == expected)
    }

    fn newest(&self, uuid: Uuid) -> Option<Position> {
        self.allowed.get(&uuid)?.newest(self.universe.package(uuid).count())
    }

    /// The versions of a package in a set, which cost a step each.
    fn positions(&self, uuid: Uuid, set: &Set) -> Option<Vec<Position>> {
        let indexes = set.indexes(self.universe.package(uuid).count()).flatten();
        let positions: Vec<_> = indexes.filter_map(|index| Position::try_from(index + 1).ok()).collect();
        let left = self.left.get().checked_sub(u64::try_from(positions.len()).ok()?)?;
        self.left.set(left);
        Some(positions)
    }

    /// Takes away what goes with nothing that is allowed, from these packages on
    /// (`propagate_constraints!`). Whether something is left of each.
    fn narrow(&mut self, from: BTreeSet<Uuid>) -> Option<bool> {
        let mut queue = from;
        while let Some(uuid) = queue.pop_first() {
            let allowed = self.allowed.get(&uuid)?.clone();
            let mut narrowed = self.of_dependencies(uuid, &allowed)?;
            for dependent in self.dependents.get(&uuid).cloned().unwrap_or_default() {
                narrowed.push((dependent, self.of_dependent(dependent, uuid, &allowed)?));
            }
            for (neighbour, set) in narrowed {
                let Some(before) = self.allowed.get_mut(&neighbour) else { continue };
                let after = before.intersection(&set);
                if after == Set::empty() {
                    return Some(false);
                }
                if after != *before {
                    *before = after;
                    queue.insert(neighbour);
                }
            }
        }
        Some(true)
    }

    /// What the allowed versions of a package leave of what it needs.
    fn of_dependencies(&self, uuid: Uuid, allowed: &Set) -> Option<Vec<(Uuid, Set)>> {
        if allowed.allows_absence() {
            return Some(Vec::new());
        }
        let positions = self.positions(uuid, allowed)?;
        let mut left: BTreeMap<Uuid, (Set, usize)> = BTreeMap::new();
        for &position in &positions {
            for (dependency, set) in self.universe.constraints(uuid, position).iter() {
                let (union, count) = left.entry(*dependency).or_insert_with(|| (Set::empty(), 0));
                (*union, *count) = (union.union(set), *count + 1);
            }
        }
        // A version that does not need it leaves all.
        let all_need = |(uuid, (set, count))| (count == positions.len()).then_some((uuid, set));
        Some(left.into_iter().filter_map(all_need).collect())
    }

    /// The versions of a package, and its absence, that go with the allowed ones of another.
    fn of_dependent(&self, dependent: Uuid, uuid: Uuid, allowed: &Set) -> Option<Set> {
        let mut suiting = Set::singleton(ABSENT);
        for position in self.positions(dependent, self.allowed.get(&dependent)?)? {
            let constraints = self.universe.constraints(dependent, position);
            let goes = constraints.iter().all(|(on, set)| *on != uuid || !set.is_disjoint(allowed));
            if goes {
                suiting = suiting.union(&Set::singleton(position));
            }
        }
        Some(suiting)
    }
}
