//! Sets of the versions of one package, by their position.
//!
//! The versions of a package that may be chosen are numbered from 1, oldest first; 0 stands for a
//! package that is not there, as in Pkg's own solver (`Resolve/graphtype.jl`). So a weak dependency
//! is an ordinary one that allows 0.

use pubgrub::{Ranges, VersionSet};
use std::fmt;
use std::ops::{Bound, Range};

/// The position of a version among those of its package that may be chosen.
pub(super) type Position = u32;

/// The package is not there.
pub(super) const ABSENT: Position = 0;

/// A set of positions. Only half-open ranges are ever made, and those with 0 have no lower bound, so
/// equal sets are equal.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Set(Ranges<Position>);

impl Set {
    /// The versions at these indexes, counted from 0, of the versions of a package.
    pub(super) fn of(indexes: Range<usize>) -> Self {
        let position = |index: usize| Position::try_from(index.saturating_add(1)).unwrap_or(Position::MAX);
        let (start, end) = (position(indexes.start), position(indexes.end));
        if start < end { Self(Ranges::between(start, end)) } else { Self::empty() }
    }

    /// This, or not there at all.
    pub(super) fn or_absent(self) -> Self {
        self.union(&Self::singleton(ABSENT))
    }

    pub(super) fn allows_absence(&self) -> bool {
        self.0.contains(&ABSENT)
    }

    /// The newest of so many versions that is in the set.
    pub(super) fn newest(&self, count: usize) -> Option<Position> {
        self.indexes(count).next_back().map(|range| range.end).and_then(|end| Position::try_from(end).ok())
    }

    /// The ranges of indexes, counted from 0, of so many versions; none is empty.
    pub(super) fn indexes(&self, count: usize) -> impl DoubleEndedIterator<Item = Range<usize>> {
        let ranges: Vec<_> = self.0.iter().map(|(start, end)| (start_of(*start), end_of(*end))).collect();
        ranges.into_iter().filter_map(move |(start, end)| {
            let (start, end) = (start.max(1) - 1, end.saturating_sub(1).min(count));
            (start < end).then_some(start..end)
        })
    }
}

fn start_of(bound: Bound<Position>) -> usize {
    match bound {
        Bound::Included(position) => position as usize,
        Bound::Excluded(position) => position as usize + 1,
        Bound::Unbounded => 0,
    }
}

/// The position after the last.
fn end_of(bound: Bound<Position>) -> usize {
    match bound {
        Bound::Included(position) => position as usize + 1,
        Bound::Excluded(position) => position as usize,
        Bound::Unbounded => usize::MAX,
    }
}

impl VersionSet for Set {
    type V = Position;

    fn empty() -> Self {
        Self(Ranges::empty())
    }

    fn singleton(position: Position) -> Self {
        match position {
            ABSENT => Self(Ranges::strictly_lower_than(ABSENT + 1)),
            _ => Self(Ranges::between(position, position.saturating_add(1))),
        }
    }

    fn complement(&self) -> Self {
        Self(self.0.complement())
    }

    fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0))
    }

    fn contains(&self, position: &Position) -> bool {
        self.0.contains(position)
    }

    fn full() -> Self {
        Self(Ranges::full())
    }

    fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0))
    }

    fn is_disjoint(&self, other: &Self) -> bool {
        self.0.is_disjoint(&other.0)
    }

    fn subset_of(&self, other: &Self) -> bool {
        self.0.subset_of(&other.0)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
