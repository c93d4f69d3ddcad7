//! Chance that can be had again: `AIRLOCK_SEED=<number>` repeats a run, `AIRLOCK_EXHAUSTIVE=1` leaves
//! nothing to it.

use std::io::Write as _;

/// Numbers that follow from a seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

/// Whether everything is to be tried instead of a sample.
pub(crate) fn is_exhaustive() -> bool {
    std::env::var_os("AIRLOCK_EXHAUSTIVE").is_some_and(|value| value == "1")
}

impl Dice {
    /// With the seed of this run, which is said.
    pub(crate) fn new(what: &str) -> Self {
        let given = std::env::var_os("AIRLOCK_SEED");
        let seed = given.map_or_else(rand_seed, |seed| seed.to_str().unwrap().parse().unwrap());
        let _ = writeln!(std::io::stderr(), "{what}: AIRLOCK_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    /// So many of them, or all if everything is to be tried, in order.
    pub(crate) fn sample<T: Copy + Ord>(&mut self, all: &[T], most: usize) -> Vec<T> {
        let mut left = all.to_vec();
        while left.len() > most && !is_exhaustive() {
            left.swap_remove(self.below(left.len()));
        }
        left.sort_unstable();
        left
    }
}

fn rand_seed() -> u64 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).unwrap();
    u32::from_ne_bytes(bytes).into()
}
