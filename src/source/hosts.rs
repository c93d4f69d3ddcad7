//! The hosts of repositories and downloads: few jobs at each, and one that could not be reached is
//! left alone for a while. Packages name hosts by the hundred, and one that is silent must cost its
//! time-out once and not once for each package.

use super::Fault;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Jobs at one time at one host.
const JOBS: usize = 8;
/// Failures in a row before a host is left alone.
const UNREACHABLE_AFTER: u32 = 3;
/// For how long.
const PAUSE: Duration = Duration::from_mins(1);

/// All hosts that were ever asked. As many as registries and packages here name, which are in memory
/// too, so none is forgotten.
#[derive(Debug, Default)]
pub(super) struct Hosts(Mutex<HashMap<String, Arc<Host>>>);

/// One of them.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) places: Arc<Semaphore>,
    pub(super) reach: Reach,
}

impl Hosts {
    /// The host of this name, with its port.
    pub(super) fn of(&self, name: &str) -> Arc<Host> {
        let mut hosts = lock(&self.0);
        let new = || Host { places: Arc::new(Semaphore::new(JOBS)), reach: Reach::new(name, UNREACHABLE_AFTER) };
        Arc::clone(hosts.entry(name.to_owned()).or_insert_with(|| Arc::new(new())))
    }
}

/// Whether somebody could be reached lately.
#[derive(Debug)]
pub(super) struct Reach {
    name: String,
    enough: u32,
    failed: Mutex<Failed>,
}

#[derive(Debug, Default)]
struct Failed {
    in_a_row: u32,
    last: Option<(Instant, String)>,
}

impl Reach {
    /// Of somebody who is left alone after so many failures in a row.
    pub(super) fn new(name: &str, enough: u32) -> Self {
        Self { name: name.to_owned(), enough, failed: Mutex::default() }
    }

    /// A fault while it is left alone.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let failed = lock(&self.failed);
        match &failed.last {
            Some((time, words)) if failed.in_a_row >= self.enough && time.elapsed() < PAUSE => {
                Err(Fault::LeftAlone(format!("{} is left alone for a minute: {words}", self.name)))
            }
            _ => Ok(()),
        }
    }

    /// It answered, whatever it said.
    pub(super) fn reached(&self) {
        *lock(&self.failed) = Failed::default();
    }

    /// It did not.
    pub(super) fn unreached(&self, words: String) {
        let mut failed = lock(&self.failed);
        failed.in_a_row = failed.in_a_row.saturating_add(1);
        failed.last = Some((Instant::now(), words));
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_left_alone_after_some_failures_in_a_row_and_for_a_while() {
        let hosts = Hosts::default();
        let (one, other) = (hosts.of("one:1"), hosts.of("one:2"));
        for _ in 1..UNREACHABLE_AFTER {
            one.reach.unreached("refused".to_owned());
        }
        assert_eq!(one.reach.check(), Ok(()));
        one.reach.reached();
        for _ in 0..UNREACHABLE_AFTER {
            assert_eq!(one.reach.check(), Ok(()), "the row was broken");
            one.reach.unreached("refused".to_owned());
        }
        let fault = hosts.of("one:1").reach.check().unwrap_err();
        assert_eq!(fault.to_string(), "one:1 is left alone for a minute: refused");
        assert!(!fault.is_passing() && !fault.is_unreachable(), "it is neither asked again nor held against others");
        assert_eq!(other.reach.check(), Ok(()), "another port is another host");
        lock(&one.reach.failed).last = Instant::now().checked_sub(PAUSE).map(|then| (then, String::new()));
        assert_eq!(one.reach.check(), Ok(()));
        one.reach.unreached("refused".to_owned());
        assert!(one.reach.check().is_err(), "it is still in the same row");
    }
}
