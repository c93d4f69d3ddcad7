//! What the server counts of itself, and `/metrics`.
//!
//! Counting is part of every hit, so there is nothing here but atomics, and every series is found
//! by its place in an array. A scrape reads them (`exposition.rs`).

mod exposition;
mod process;

pub(super) use exposition::metrics;
pub(super) use process::Process;

use crate::protocol::RequestId;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The targets of requests that `PkgServer` tells apart (`metrics.jl`); the last is all others.
const TARGETS: [&str; 8] = ["/", "/meta", "/registry", "/package", "/artifact", "/registries", "/metrics", "<other>"];

/// Upper bounds of the buckets, in seconds: those of `PkgServer` (`DEFAULT_BUCKETS` of Prometheus.jl).
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Classes of status codes.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What the server counts.
#[derive(Debug)]
pub(super) struct Metrics {
    durations: [Durations; TARGETS.len()],
    responses: [AtomicU64; CLASSES.len()],
    /// Requests that have begun and not ended.
    pub(super) in_progress: AtomicU64,
    /// Bytes of bodies that were given to connections.
    pub(super) transmitted: AtomicU64,
    next_id: AtomicU64,
}

/// A histogram of durations.
#[derive(Debug, Default)]
struct Durations {
    /// One for each bound, and one for what is above all.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Metrics {
    pub(super) fn new() -> Self {
        Self {
            durations: Default::default(),
            responses: Default::default(),
            in_progress: AtomicU64::default(),
            transmitted: AtomicU64::default(),
            // Two processes must not make the same ids.
            next_id: AtomicU64::new(RandomState::new().build_hasher().finish()),
        }
    }

    /// A request to `target` (see [`target`]) took so long.
    pub(super) fn took(&self, target: usize, time: Duration) {
        if let Some(durations) = self.durations.get(target) {
            durations.add(time);
        }
    }

    /// An answer had this status.
    pub(super) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).checked_sub(1);
        if let Some(responses) = class.and_then(|class| self.responses.get(class)) {
            responses.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many answers had a status of each class.
    pub(super) fn by_class(&self) -> [u64; CLASSES.len()] {
        self.responses.each_ref().map(|responses| responses.load(Ordering::Relaxed))
    }

    /// An id that no other request has. Who has two of them can tell how many requests were between; nothing
    /// else is in it.
    pub(super) fn new_id(&self) -> RequestId {
        // SplitMix64: every number once, in an order that looks like chance.
        let mut number = self.next_id.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        RequestId::from_number(number ^ (number >> 31))
    }
}

impl Durations {
    fn add(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The sum in seconds, and each bound with how many are in its bucket alone.
    fn read(&self) -> (f64, Vec<(f64, u64)>) {
        let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let sum = Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64();
        (sum, bounds.zip(counts).collect())
    }
}

/// The place of a path among [`TARGETS`], as `PkgServer`'s expression for it says (`RequestLabels`).
pub(super) fn target(path: &str) -> usize {
    let below = path.strip_prefix('/').map(|rest| rest.split_once('/'));
    let target = match below {
        Some(Some((first @ ("meta" | "registry" | "package" | "artifact"), _))) => first,
        Some(None) => match path {
            "/" => "",
            "/meta" => "meta",
            "/registries" => "registries",
            "/metrics" => "metrics",
            _ => "<other>",
        },
        _ => "<other>",
    };
    TARGETS.iter().position(|one| one.strip_prefix('/').unwrap_or(one) == target).unwrap_or(TARGETS.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_those_of_pkgserver() {
        for (path, expected) in [
            ("/", "/"),
            ("/meta", "/meta"),
            ("/meta/stats", "/meta"),
            ("/metal", "<other>"),
            ("/registry/a/b", "/registry"),
            ("/registry", "<other>"),
            ("/package/", "/package"),
            ("/artifact/x", "/artifact"),
            ("/registries", "/registries"),
            ("/registries/", "<other>"),
            ("/registries.eager", "<other>"),
            ("/metrics", "/metrics"),
            ("/metrics/x", "<other>"),
            ("//meta", "<other>"),
            ("*", "<other>"),
            ("", "<other>"),
        ] {
            assert_eq!(TARGETS[target(path)], expected, "{path}");
        }
    }

    #[test]
    fn a_duration_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        let durations = Durations::default();
        for milliseconds in [0, 5, 6, 10_000, 10_001] {
            durations.add(Duration::from_millis(milliseconds));
        }
        let (sum, buckets) = durations.read();
        let counts: Vec<_> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert!((sum - 20.012).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn ids_are_never_made_twice() {
        let metrics = Metrics::new();
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| metrics.new_id()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
