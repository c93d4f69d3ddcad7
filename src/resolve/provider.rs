//! The registries as `PubGrub` asks for them.

use super::set::{ABSENT, Position, Set};
use super::universe::Universe;
use crate::protocol::Uuid;
use pubgrub::{Dependencies, DependencyConstraints, DependencyProvider, PackageResolutionStatistics, VersionSet};
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;

/// Who has dependencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Node {
    /// Who asks.
    Question,
    Package(Uuid),
}

/// It takes too long.
#[derive(Debug, thiserror::Error)]
#[error("too many steps")]
pub(super) struct TooLong;

pub(super) struct Provider<'u, 'q> {
    universe: &'u Universe<'q>,
    /// In which order packages were first named.
    order: RefCell<HashMap<Uuid, u32>>,
    /// What must hold besides.
    demands: &'u [(Uuid, Set)],
    left: &'u Cell<u64>,
    tried: Cell<usize>,
}

/// A step costs one more for each so many versions that were tried: `PubGrub` remembers of each what it
/// does not go with, and looks at all of that again.
const TRIED_PER_STEP: usize = 256;

impl<'u, 'q> Provider<'u, 'q> {
    /// `left` is how many steps may be taken; it is counted down.
    pub(super) fn new(universe: &'u Universe<'q>, demands: &'u [(Uuid, Set)], left: &'u Cell<u64>) -> Self {
        Self { universe, order: RefCell::default(), demands, left, tried: Cell::new(0) }
    }

    fn named(&self, uuid: Uuid) {
        let mut order = self.order.borrow_mut();
        let next = u32::try_from(order.len()).unwrap_or(u32::MAX);
        order.entry(uuid).or_insert(next);
    }

    fn work(&self, steps: usize) {
        self.left.set(self.left.get().saturating_sub(u64::try_from(steps).unwrap_or(u64::MAX)));
    }
}

impl DependencyProvider for Provider<'_, '_> {
    type P = Node;
    type V = Position;
    type VS = Set;
    type Priority = (bool, bool, Reverse<u32>);
    type M = String;
    type Err = TooLong;

    /// What must be there before what may be absent, what was asked for before what it needs, and
    /// then in the order of the naming: so what comes first gets its newest version, as in Pkg.
    fn prioritize(&self, node: &Node, range: &Set, _: &PackageResolutionStatistics) -> Self::Priority {
        match node {
            Node::Question => (true, true, Reverse(0)),
            Node::Package(uuid) => {
                let order = self.order.borrow().get(uuid).copied().unwrap_or(u32::MAX);
                let is_root = self.universe.question.roots.iter().any(|root| root.uuid == *uuid);
                (!range.allows_absence(), is_root, Reverse(order))
            }
        }
    }

    fn choose_version(&self, node: &Node, range: &Set) -> Result<Option<Position>, TooLong> {
        Ok(match node {
            Node::Question => range.contains(&1).then_some(1),
            Node::Package(_) if range.allows_absence() => Some(ABSENT),
            Node::Package(uuid) => range.newest(self.universe.package(*uuid).count()),
        })
    }

    fn get_dependencies(&self, node: &Node, position: &Position) -> Result<Dependencies<Node, Set, String>, TooLong> {
        let mut constraints = Vec::new();
        match node {
            Node::Question => {
                let mut roots: Vec<_> = self.universe.question.roots.iter().collect();
                roots.sort_by_key(|root| root.uuid);
                for root in roots {
                    self.named(root.uuid);
                    constraints.push((Node::Package(root.uuid), self.universe.allowed(root)));
                }
                for (uuid, set) in self.demands {
                    self.named(*uuid);
                    constraints.push((Node::Package(*uuid), set.clone()));
                }
            }
            Node::Package(_) if *position == ABSENT => {}
            Node::Package(uuid) => {
                for (need, set) in &*self.universe.constraints(*uuid, *position) {
                    self.named(*need);
                    if need != uuid {
                        constraints.push((Node::Package(*need), set.clone()));
                    } else if !set.contains(position) {
                        return Ok(Dependencies::Unavailable("needs another version of itself".to_owned()));
                    }
                }
            }
        }
        self.work(constraints.len());
        self.tried.set(self.tried.get() + 1);
        Ok(Dependencies::Available(constraints.into_iter().collect::<DependencyConstraints<_, _>>()))
    }

    fn should_cancel(&self) -> Result<(), TooLong> {
        self.work(1 + self.tried.get() / TRIED_PER_STEP);
        if self.left.get() == 0 || self.universe.is_over() { Err(TooLong) } else { Ok(()) }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Question => f.write_str("what was asked for"),
            Self::Package(uuid) => uuid.fmt(f),
        }
    }
}
