//! Named points at which a test may kill the process, as a power cut or `kill -9` would.
//!
//! Compiled into debug builds only. `AIRLOCK_FAULT=<name>` arms one point; the test that walks
//! [`POINTS`] fails when one of them is never reached.

/// Every point, in the order in which a fetch passes them.
pub const POINTS: &[&str] = &[
    "flight.started",
    "flight.staged",
    "flight.received",
    "publish.verified",
    "publish.synced",
    "publish.renamed",
    "publish.done",
    "facts.appended",
    "generations.appended",
    "listing.staged",
    "listing.renamed",
    "misses.appended",
    "view.published",
    "view.recorded",
    "view.listed",
    "wishes.appended",
    "request.staged",
    "prewarm.planned",
    "prewarm.package",
    "prewarm.done",
    "import.checked",
    "import.staged",
    "import.batch",
    "import.listed",
    "import.recorded",
    "adopt.staged",
    "adopt.published",
    "adopt.listed",
    "export.hashed",
    "export.packed",
    "export.recorded",
    "export.renamed",
    "gc.planned",
    "gc.removed",
    "scrub.recorded",
];

/// Kills the process if this point is armed.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    debug_assert!(POINTS.contains(&name), "{name} is not in POINTS");
    #[expect(clippy::disallowed_methods, reason = "a switch for tests only, absent from release builds")]
    let armed = std::env::var("AIRLOCK_FAULT");
    if armed.as_deref() == Ok(name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Nothing, in release builds.
#[cfg(not(debug_assertions))]
pub const fn point(_name: &str) {}
