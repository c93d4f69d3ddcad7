//! The search for the versions that Pkg would choose.
//!
//! `PubGrub` decides in the order in which packages are named, so each gets its newest version that
//! goes with those before it. Where packages compete, Pkg weighs: the sum of all versions of what was
//! asked for is the greatest, and then that of the rest, major numbers before minor ones
//! (`Resolve/fieldvalues.jl` and `versionweights.jl`). So a package is made newer at the cost of
//! others as long as that raises the sum.
//!
//! Pkg does not always find what it looks for: it passes messages between packages until they agree
//! (`Resolve/maxsum.jl`), and says itself that this is an approximation. `tests/it/resolve_data.rs`
//! has the cases in which the two differ.

use super::conflict::{Conflict, explain, take_apart};
use super::greedy::is_greedy;
use super::provider::{Node, Provider};
use super::set::{ABSENT, Position, Set};
use super::universe::Universe;
use crate::protocol::Uuid;
use pubgrub::{PubGrubError, VersionSet as _};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Steps until a search is given up. The largest packages of General need less than a hundredth.
const STEPS: u64 = 200_000;

/// Steps of one attempt to do better.
const STEPS_OF_AN_ATTEMPT: u64 = 10_000;

/// How often a solution is replaced by a better one. What is better is not always better than what was
/// before that, so this need not end by itself.
const CHANGES: usize = 50;

/// The positions of the versions that are chosen.
pub(super) type Positions = BTreeMap<Uuid, Position>;

pub(super) fn best(universe: &Universe<'_>) -> Result<Positions, Conflict> {
    let roots: BTreeSet<Uuid> = universe.question.roots.iter().map(|root| root.uuid).collect();
    let left = Cell::new(STEPS);
    let mut best = match attempt(universe, &[], &left) {
        // What was read once it was over does not count.
        Ok(positions) if !universe.is_over() => positions,
        Err(PubGrubError::NoSolution(tree)) if !universe.is_over() => return Err(explain(universe, tree)),
        Err(PubGrubError::NoSolution(tree)) => {
            take_apart(Arc::new(tree));
            return Err(given_up(universe));
        }
        Ok(_) | Err(_) => return Err(given_up(universe)),
    };
    if is_greedy(universe, &best, &Cell::new(STEPS)).unwrap_or(true) {
        return Ok(best);
    }
    let mut untried = tries(&best, &roots);
    let mut changes = 0;
    while let Some(uuid) = untried.pop().filter(|_| changes < CHANGES && !universe.is_over()) {
        let Some(&position) = best.get(&uuid) else { continue };
        let newer = Set::of(position as usize..universe.package(uuid).count());
        if newer == Set::empty() {
            continue;
        }
        // What was asked for may get older for the sake of what was asked for, and of nothing else.
        let fixed = roots.iter().filter(|_| !roots.contains(&uuid));
        let fixed = fixed.filter_map(|root| Some((*root, Set::singleton(*best.get(root)?))));
        let demands: Vec<_> = fixed.chain([(uuid, newer)]).collect();
        let budget = Cell::new(STEPS_OF_AN_ATTEMPT.min(left.get()));
        let before = budget.get();
        let attempted = attempt(universe, &demands, &budget);
        left.set(left.get().saturating_sub(before - budget.get()));
        match attempted {
            Ok(other) if !universe.is_over() && is_better(universe, &roots, &other, &best) => {
                best = other;
                changes += 1;
                untried = tries(&best, &roots);
            }
            Err(PubGrubError::NoSolution(tree)) => take_apart(Arc::new(tree)),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(best)
}

fn given_up(universe: &Universe<'_>) -> Conflict {
    if (universe.question.stopped)() { Conflict::Stopped } else { Conflict::TooLong }
}

/// What to try a newer version of, last first: what was asked for before the rest.
fn tries(best: &Positions, roots: &BTreeSet<Uuid>) -> Vec<Uuid> {
    best.keys().filter(|uuid| !roots.contains(uuid)).chain(roots).copied().collect()
}

/// What was asked for weighs more than all the rest.
fn is_better(universe: &Universe<'_>, roots: &BTreeSet<Uuid>, one: &Positions, other: &Positions) -> bool {
    let weigh = |positions: &Positions, than: &Positions| {
        let common = |uuid: &Uuid| than.contains_key(uuid);
        let of_roots = sum(universe, positions, |uuid| roots.contains(uuid));
        (of_roots, sum(universe, positions, |uuid| !roots.contains(uuid) && common(uuid)))
    };
    weigh(one, other) > weigh(other, one)
}

fn attempt<'u, 'q>(
    universe: &'u Universe<'q>,
    demands: &'u [(Uuid, Set)],
    left: &'u Cell<u64>,
) -> Result<Positions, PubGrubError<Provider<'u, 'q>>> {
    let chosen = pubgrub::resolve(&Provider::new(universe, demands, left), Node::Question, 1u32)?;
    let present = chosen.into_iter().filter_map(|(node, position)| match node {
        Node::Package(uuid) if position != ABSENT => Some((uuid, position)),
        _ => None,
    });
    Ok(needed(universe, &present.collect()))
}

/// What is needed of what was chosen: a demand may have brought what nothing needs then.
fn needed(universe: &Universe<'_>, chosen: &Positions) -> Positions {
    let mut needed = Positions::new();
    let mut staged: Vec<Uuid> = universe.question.roots.iter().map(|root| root.uuid).collect();
    while let Some(uuid) = staged.pop() {
        let Some(&position) = chosen.get(&uuid).filter(|_| !needed.contains_key(&uuid)) else { continue };
        needed.insert(uuid, position);
        let constraints = universe.constraints(uuid, position);
        staged.extend(constraints.iter().filter(|(_, set)| !set.allows_absence()).map(|(uuid, _)| *uuid));
    }
    needed
}

/// The sums of the major, minor and patch numbers of some packages.
fn sum(universe: &Universe<'_>, positions: &Positions, counts: impl Fn(&Uuid) -> bool) -> [u64; 3] {
    let mut sums = [0u64; 3];
    for (&uuid, &position) in positions.iter().filter(|(uuid, _)| counts(uuid)) {
        if let Some(version) = universe.package(uuid).version(position) {
            let numbers = [version.major, version.minor, version.patch];
            sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += u64::from(number));
        }
    }
    sums
}
