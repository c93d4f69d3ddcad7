//! Named points at which a test may kill the process, as a power cut or `kill -9` would.
//!
//! Compiled into debug builds only. `AIRLOCK_FAULT=<name>` arms one point, `AIRLOCK_FAULT_LOG=<file>`
//! gets the name of every point that is passed: the tests hold to both, for each command, which points
//! it passes.

/// Every point: those of a fetch in the order in which it passes them, then what the store writes, then
/// those of each command.
pub const POINTS: &[&str] = &[
    "flight.started",
    "flight.staged",
    "flight.received",
    "publish.verified",
    "publish.synced",
    "publish.renamed",
    "publish.done",
    "facts.appended",
    "ledger.appended",
    "ledger.synced",
    "generations.appended",
    "listing.staged",
    "listing.renamed",
    "state.staged",
    "state.renamed",
    "misses.appended",
    "misses.staged",
    "view.published",
    "view.recorded",
    "view.listed",
    "wishes.appended",
    "quarantine.moved",
    "activity.noted",
    "outside.staged",
    "outside.renamed",
    "clone.made",
    "clone.moved",
    "clone.renamed",
    "repository.synced",
    "repository.renamed",
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
    "export.named",
    "export.renamed",
    "gc.planned",
    "gc.removed",
    "scrub.recorded",
    "gc.emptied",
    "gc.done",
];

/// Kills the process if this point is armed.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    debug_assert!(POINTS.contains(&name), "{name} is not in POINTS");
    #[expect(clippy::disallowed_methods, reason = "a switch for tests only, absent from release builds")]
    let switch = |name: &str| std::env::var(name).ok();
    if let Some(log) = switch("AIRLOCK_FAULT_LOG") {
        use std::io::Write as _;
        let file = fs_err::OpenOptions::new().create(true).append(true).open(log);
        let _ = file.and_then(|mut file| file.write_all(format!("{name}\n").as_bytes()));
    }
    if switch("AIRLOCK_FAULT").as_deref() == Some(name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Nothing, in release builds.
#[cfg(not(debug_assertions))]
pub const fn point(_name: &str) {}
