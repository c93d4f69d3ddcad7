//! Which bundles arrived here: what tells a gap in their numbers, and an older one from a newer.

use super::lines::{append_lines, read_lines};
use super::{Store, StoreError, publish};
use crate::protocol::Uuid;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const BUNDLES: &str = ".airlock/bundles";
const RECEIVED: &str = ".airlock/bundles/received.jsonl";

/// A bundle that was imported, as far as it went. The same one may be here several times: again
/// when what had been lacking came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedBundle {
    /// When.
    pub time: jiff::Timestamp,
    /// Which.
    pub id: Uuid,
    /// The cache that it was made from.
    pub origin: Uuid,
    /// Whom it was for.
    pub destination: String,
    /// When it was made, by the clock over there.
    pub created: jiff::Timestamp,
    /// Its number, counted for one origin and one destination.
    pub sequence: u64,
    /// Earlier numbers of which it has everything again.
    pub repeats: BTreeSet<u64>,
    /// Whether all of its resources are here, and the registries that it publishes.
    pub complete: bool,
}

/// More numbers than anybody would ask for again.
const MOST_GAPS: usize = 1000;

/// The numbers before `sequence` that never arrived, judging by the `received` bundles of one
/// origin and one destination; `repeats` are those that the bundle at hand brings again. The first
/// bundle that arrives opens the count.
pub fn gaps(received: &[ReceivedBundle], sequence: u64, repeats: &BTreeSet<u64>) -> BTreeSet<u64> {
    let Some(first) = received.iter().map(|bundle| bundle.sequence).min() else { return BTreeSet::new() };
    let arrived: BTreeSet<u64> = received.iter().flat_map(ReceivedBundle::numbers).collect();
    let is_gap = |number: &u64| !arrived.contains(number) && !repeats.contains(number);
    (first..sequence).rev().filter(is_gap).take(MOST_GAPS).collect()
}

impl ReceivedBundle {
    /// The numbers that need not arrive any more.
    fn numbers(&self) -> impl Iterator<Item = u64> {
        let repeats = self.repeats.iter().copied().filter(|_| self.complete);
        std::iter::once(self.sequence).chain(repeats)
    }
}

impl Store {
    /// The bundles that arrived here, oldest first.
    pub fn received_bundles(&self) -> Result<Vec<ReceivedBundle>, StoreError> {
        read_lines(&self.root().join(RECEIVED))
    }

    /// Writes down that a bundle arrived.
    pub fn append_received_bundle(&self, bundle: &ReceivedBundle) -> Result<(), StoreError> {
        publish::make_folders(&self.root().join(BUNDLES))?;
        append_lines(&self.root().join(RECEIVED), std::slice::from_ref(bundle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::GENERAL;

    fn received(sequence: u64, repeats: &[u64], complete: bool) -> ReceivedBundle {
        ReceivedBundle {
            time: jiff::Timestamp::UNIX_EPOCH,
            id: GENERAL,
            origin: GENERAL,
            destination: "inside".to_owned(),
            created: jiff::Timestamp::UNIX_EPOCH,
            sequence,
            repeats: repeats.iter().copied().collect(),
            complete,
        }
    }

    #[test]
    fn a_number_is_a_gap_until_it_or_one_that_repeats_it_comes() {
        let gaps = |log: &[ReceivedBundle], sequence, repeats: &[u64]| {
            gaps(log, sequence, &repeats.iter().copied().collect()).into_iter().collect::<Vec<u64>>()
        };
        assert!(gaps(&[], 7, &[]).is_empty(), "the first one opens the count");
        let log = [received(3, &[], true), received(5, &[], false)];
        assert_eq!(gaps(&log, 7, &[]), [4, 6]);
        assert_eq!(gaps(&log, 7, &[5, 6]), [4]);
        assert!(gaps(&log, 4, &[]).is_empty());
        assert_eq!(gaps(&log, 5, &[]), [4], "the same again");
        let healed = [received(3, &[], true), received(6, &[4, 5], true)];
        assert!(gaps(&healed, 7, &[]).is_empty());
        let half = [received(3, &[], true), received(6, &[4, 5], false)];
        assert_eq!(gaps(&half, 7, &[]), [4, 5], "what was to repeat them is not all here");
        assert_eq!(gaps(&[received(1, &[], true)], u64::MAX, &[]).len(), 1000, "a number out of nowhere");
    }
}
