//! The log of registry generations: which trees were published here, when, and from which source.

use crate::protocol::{Flavor, TreeHash, Uuid};
use serde::{Deserialize, Serialize};

/// The source of a generation that somebody put back with `airlock registries rollback`.
pub const ROLLBACK: &str = "rollback";
/// The source of a generation that somebody put in place with `airlock registries pin`.
pub const PIN: &str = "pin";
/// The source of a generation that another tool, such as rsync, put into a listing.
pub const DISK: &str = "disk";

/// One published state of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// When it was published here.
    pub time: jiff::Timestamp,
    /// In which listing.
    pub flavor: Flavor,
    /// Which registry.
    pub uuid: Uuid,
    /// At which tree.
    pub tree: TreeHash,
    /// Which source listed it: an upstream's address, `bundle:<origin>`, or one of [`ROLLBACK`],
    /// [`PIN`] and [`DISK`].
    pub source: String,
}

impl Generation {
    /// Whether a person put it in place. That says nothing about what is newer.
    fn is_by_hand(&self) -> bool {
        matches!(self.source.as_str(), ROLLBACK | PIN)
    }
}

/// Whether an offered tree is older than what is published now. Tree hashes have no order, so the
/// log is the only judge: an offer is old if its own source has gone on from it; if any source
/// went on from it to what is published; or if it was published here before what is published now
/// and comes from a source that the present one's `outranks`. (Without the rank, a first upstream
/// that comes back after a second filled in could never publish its own state again.) What somebody
/// rolled back from stays old, or the next look at the upstream would undo that.
pub fn is_superseded(
    log: &[Generation],
    offered: &Generation,
    published: Option<TreeHash>,
    outranks: impl Fn(&str) -> bool,
) -> bool {
    let of_registry = || log.iter().filter(|entry| entry.uuid == offered.uuid && entry.flavor == offered.flavor);
    let latest = |source: &str| of_registry().rfind(|entry| entry.source == source).map(|entry| entry.tree);
    let went_on = |source: &str| {
        latest(source) != Some(offered.tree)
            && of_registry().any(|entry| entry.source == source && entry.tree == offered.tree)
    };
    let present = published.and_then(|published| of_registry().rfind(|entry| entry.tree == published));
    let place = |tree| log.iter().rposition(|it| (it.uuid, it.flavor, it.tree) == (offered.uuid, offered.flavor, tree));
    // After it, if the process was killed between the log and the listing.
    let was_before = place(offered.tree).zip(published.and_then(place)).is_some_and(|(offered, now)| offered < now);
    is_rolled_back(log, offered)
        || went_on(&offered.source)
        || of_registry()
            .filter(|entry| !entry.is_by_hand())
            .any(|entry| latest(&entry.source) == published && went_on(&entry.source))
        || (was_before && present.is_some_and(|present| outranks(&present.source)))
}

/// Whether somebody rolled back from the offered tree since it was published.
pub fn is_rolled_back(log: &[Generation], offered: &Generation) -> bool {
    let of_registry = || log.iter().filter(|entry| entry.uuid == offered.uuid && entry.flavor == offered.flavor);
    let was_here = of_registry().any(|entry| entry.tree == offered.tree);
    let mut since_offered = of_registry().rev().take_while(|entry| entry.tree != offered.tree);
    was_here && since_offered.any(|entry| entry.source == ROLLBACK)
}

/// Whether somebody rolled back from a tree to one that was published before it. `log` is of one
/// registry in one listing.
pub(super) fn was_left_behind(log: &[&Generation], tree: TreeHash) -> bool {
    let first = |tree| log.iter().position(|entry| entry.tree == tree);
    let Some(last) = log.iter().rposition(|entry| entry.tree == tree) else { return false };
    let rollbacks = log.iter().enumerate().skip(last).filter(|(_, entry)| entry.source == ROLLBACK);
    rollbacks.into_iter().any(|(_, to)| to.tree != tree && first(to.tree).is_some_and(|first| first < last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::GENERAL;

    fn tree(digit: u8) -> TreeHash {
        TreeHash::from_bytes([digit; 20])
    }

    fn log(entries: &[(&str, u8)]) -> Vec<Generation> {
        entries
            .iter()
            .map(|&(source, digit)| Generation {
                time: jiff::Timestamp::UNIX_EPOCH,
                flavor: Flavor::Eager,
                uuid: GENERAL,
                tree: tree(digit),
                source: source.to_owned(),
            })
            .collect()
    }

    /// Sources go by their rank: "a" before "b".
    fn superseded(entries: &[(&str, u8)], source: &str, listed: u8, published: u8) -> bool {
        let offered = log(&[(source, listed)]).remove(0);
        is_superseded(&log(entries), &offered, Some(tree(published)), |present| present < source)
    }

    #[test]
    fn only_forward() {
        assert!(!superseded(&[], "a", 1, 1));
        assert!(!superseded(&[("a", 1)], "a", 2, 1));
        assert!(superseded(&[("a", 1), ("a", 2)], "a", 1, 2), "a stale answer of the same source");
        assert!(superseded(&[("a", 1), ("a", 2)], "b", 1, 2), "a source that lags behind");
        assert!(superseded(&[("b", 1), ("b", 2)], "a", 1, 2), "a first source that lags behind");
        assert!(!superseded(&[("a", 1), ("a", 2)], "a", 3, 2));
        assert!(superseded(&[("b", 1), ("a", 2)], "b", 1, 2), "what it filled in with is older");
        assert!(!superseded(&[("a", 2), ("b", 3)], "a", 2, 3), "the first source is back");
        assert!(superseded(&[("a", 1), ("a", 2), ("b", 3)], "a", 1, 3), "and stale");
    }

    #[test]
    fn what_was_rolled_back_from_stays_old_and_what_comes_later_does_not() {
        let log = [("a", 1), ("a", 2), (ROLLBACK, 1)];
        assert!(superseded(&log, "a", 2, 1));
        assert!(!superseded(&log, "a", 3, 1));
        assert!(!superseded(&[("a", 1), ("a", 2), (ROLLBACK, 1), (ROLLBACK, 2)], "a", 2, 1), "put back again");
        assert!(superseded(&[("a", 1), ("a", 2), (ROLLBACK, 1), ("a", 3)], "a", 2, 3));
    }

    #[test]
    fn what_somebody_left_behind_is_what_came_after_where_he_went() {
        let log = log(&[("a", 1), ("a", 2), ("a", 3), (ROLLBACK, 2), ("a", 4)]);
        let log: Vec<_> = log.iter().collect();
        let left = |digit| was_left_behind(&log, tree(digit));
        assert_eq!([1, 2, 3, 4, 5].map(left), [false, false, true, false, false]);
    }

    #[test]
    fn what_was_logged_and_never_listed_can_still_be_published() {
        assert!(!superseded(&[("a", 1), ("b", 2)], "b", 2, 1), "killed between the log and the listing");
    }

    #[test]
    fn a_pin_that_was_taken_away_holds_nothing_back() {
        assert!(!superseded(&[("a", 1), ("a", 2), (PIN, 1)], "a", 2, 1));
        assert!(!superseded(&[("a", 1), ("a", 2), (PIN, 2), (PIN, 1)], "a", 2, 1));
        assert!(!superseded(&[("a", 1), ("a", 2), (PIN, 1)], "a", 3, 1));
    }
}
