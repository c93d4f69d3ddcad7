//! What failed lately, remembered where it belongs: a missing or wrong resource cools that
//! resource at that source; only a source that cannot be reached at all is cooled as a whole.
//!
//! A hit never looks here.

use crate::protocol::Resource;
use crate::source::Fault;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Connect failures or stalls in a row before a source is cooled as a whole.
const UNREACHABLE_AFTER: u32 = 5;
/// The same before even a prewarm stops to try again: the line is down.
const CUT_OFF_AFTER: u32 = 100;
/// First and longest time for which a source is cooled as a whole.
const SOURCE_COOLDOWN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(5));
/// Longest time for which a resource is cooled at a source.
const LONGEST: Duration = Duration::from_hours(1);
/// Most resources that are remembered.
const CAPACITY: usize = 100_000;

/// The memory of one mirror. Sources go by their place in its order; fall-backs come after those that
/// have a health.
#[derive(Debug)]
pub(super) struct Memory {
    names: Vec<String>,
    cooldown: Duration,
    resources: Mutex<HashMap<(usize, Resource), Cooled>>,
    sources: Mutex<Vec<Health>>,
}

#[derive(Debug)]
struct Cooled {
    until: Instant,
    times: u32,
    fault: Fault,
}

/// The health of a source, for people. The times are this machine's.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Connect failures or stalls in a row.
    pub unreachable: u32,
    /// What went wrong last, and when; that it does not have something is nothing wrong.
    pub last_error: Option<(Timestamp, String)>,
    /// When it last gave what it was asked for.
    pub last_success: Option<Timestamp>,
    /// When it last said which registries it has.
    pub last_listing: Option<Timestamp>,
    /// Left alone until then, unless that is over.
    pub cooled_until: Option<Instant>,
    /// Whether it was asked at all.
    asked: bool,
    /// How often it was left alone since it was last reached.
    cooldowns: u32,
    /// Whether one request is finding out whether the source is back.
    probing: bool,
}

impl Health {
    /// Whether it failed when it was last asked for something.
    pub fn failed_last(&self) -> bool {
        self.last_error.as_ref().is_some_and(|(time, _)| self.last_success.is_none_or(|success| success < *time))
    }

    /// Whether it is left alone now.
    pub fn is_cooling(&self) -> bool {
        self.cooled_until.is_some_and(|until| until > Instant::now())
    }

    /// In one word or two: left alone, it failed when it was last asked for something, all is well, or nothing was
    /// asked of it yet.
    pub fn state(&self) -> &'static str {
        match (self.cooled_until, self.asked) {
            (Some(_), _) => "cooling down",
            (None, true) if self.failed_last() => "failing",
            (None, true) => "up",
            (None, false) => "never asked",
        }
    }
}

/// Whether a source may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Not now.
    Refused,
    /// By anybody.
    Free,
    /// By this one request; `probed` must follow.
    Probe,
}

impl Memory {
    /// For sources of these names.
    pub(super) fn new(names: Vec<String>, cooldown: Duration) -> Self {
        let sources = names.iter().map(|_| Health::default()).collect();
        Self { names, cooldown, resources: Mutex::default(), sources: Mutex::new(sources) }
    }

    /// Goes on with what another knows of the sources that both have. Who was left alone may be tried
    /// again at once: what was wrong may just have been put right.
    pub(super) fn inherit(&self, other: &Self) {
        let theirs = other.health();
        for (name, health) in self.names.iter().zip(lock(&self.sources).iter_mut()) {
            let known = other.names.iter().position(|it| it == name).and_then(|place| theirs.get(place));
            let Some(known) = known else { continue };
            let cooled_until = known.cooled_until.map(|until| until.min(Instant::now()));
            *health = Health { cooled_until, probing: false, ..known.clone() };
        }
    }

    /// The fault for which this resource is not asked of this source now.
    pub(super) fn cooled(&self, source: usize, resource: &Resource) -> Option<Fault> {
        let resources = lock(&self.resources);
        resources.get(&(source, *resource)).filter(|cooled| cooled.until > Instant::now()).map(|c| c.fault.clone())
    }

    /// Whether a source may be asked at all. While it is cooled nobody may; after that one at a
    /// time, until one succeeds.
    pub(super) fn admits(&self, source: usize) -> Admission {
        let mut sources = lock(&self.sources);
        let Some(health) = sources.get_mut(source) else { return Admission::Refused };
        match health.cooled_until {
            None => Admission::Free,
            Some(until) if until > Instant::now() || health.probing => Admission::Refused,
            Some(_) => {
                health.probing = true;
                Admission::Probe
            }
        }
    }

    /// The source answered, and well.
    pub(super) fn succeeded(&self, source: usize, resource: &Resource) {
        lock(&self.resources).remove(&(source, *resource));
        self.reached(source, None);
    }

    /// The one request that was admitted as a probe has ended, whatever it found out.
    pub(super) fn probed(&self, source: usize) {
        if let Some(health) = lock(&self.sources).get_mut(source) {
            health.probing = false;
        }
    }

    /// The source failed for this resource.
    pub(super) fn failed(&self, source: usize, resource: &Resource, fault: &Fault) {
        match fault {
            Fault::Busy(_) => {}
            fault if fault.is_unreachable() => self.unreached(source, fault),
            fault => {
                self.reached(source, Some(fault));
                self.cool(source, resource, fault);
            }
        }
    }

    /// What a listing came to.
    pub(super) fn listed(&self, source: usize, fault: Option<&Fault>) {
        match fault {
            Some(Fault::Busy(_)) => {}
            Some(fault) if fault.is_unreachable() => self.unreached(source, fault),
            fault => {
                self.reached(source, fault);
                if let (None, Some(health)) = (fault, lock(&self.sources).get_mut(source)) {
                    health.last_listing = health.last_success;
                }
            }
        }
    }

    /// The source was reached, whatever it said.
    fn reached(&self, source: usize, fault: Option<&Fault>) {
        let mut sources = lock(&self.sources);
        let Some(health) = sources.get_mut(source) else { return };
        let now = Timestamp::now();
        let (last_error, last_success) = match fault {
            None => (health.last_error.take(), Some(now)),
            Some(Fault::NotFound) => (health.last_error.take(), health.last_success),
            Some(fault) => (Some((now, fault.to_string())), health.last_success),
        };
        let was_down = health.cooldowns > 0;
        let last_listing = health.last_listing;
        *health = Health { last_error, last_success, last_listing, asked: true, ..Health::default() };
        drop(sources);
        if was_down {
            tracing::info!(source = self.name(source), "is back");
        }
    }

    /// The source could not be reached.
    fn unreached(&self, source: usize, fault: &Fault) {
        let mut sources = lock(&self.sources);
        let Some(health) = sources.get_mut(source) else { return };
        health.unreachable += 1;
        health.asked = true;
        health.last_error = Some((Timestamp::now(), fault.to_string()));
        // Whatever was under way when the source was cooled fails with it: that is one outage, not
        // a hundred, and must not make the next pause longer.
        let now = Instant::now();
        let cooling = health.cooled_until.is_some_and(|until| until > now);
        if health.unreachable >= UNREACHABLE_AFTER && !cooling {
            let (first, longest) = SOURCE_COOLDOWN;
            health.cooled_until = Some(now + doubled(first, health.cooldowns, longest));
            health.cooldowns += 1;
            let is_news = health.cooldowns == 1;
            drop(sources);
            // Said once: that it stays away is no news.
            if is_news {
                tracing::warn!(source = self.name(source), "out of reach, left alone for a while: {fault}");
            }
        }
    }

    fn name(&self, source: usize) -> &str {
        self.names.get(source).map_or("", String::as_str)
    }

    /// Leaves this resource alone at this source for a while.
    pub(super) fn cool(&self, source: usize, resource: &Resource, fault: &Fault) {
        let mut resources = lock(&self.resources);
        let now = Instant::now();
        if resources.len() >= CAPACITY {
            resources.retain(|_, cooled| cooled.until > now);
        }
        if resources.len() >= CAPACITY {
            resources.clear();
        }
        // What is wrong with a token is put right by somebody, and then counts for everything at once.
        let again = |cooled: &Cooled| if fault.is_refused() { 0 } else { cooled.times + 1 };
        let times = resources.get(&(source, *resource)).map_or(0, again);
        let pause = doubled(self.cooldown, times, LONGEST).max(fault.retry_after().unwrap_or_default().min(LONGEST));
        resources.insert((source, *resource), Cooled { until: now + pause, times, fault: fault.clone() });
    }

    /// Forgets about resources: something new may be there.
    pub(super) fn forget(&self) {
        lock(&self.resources).clear();
    }

    /// Whether no source has been reached for so long that trying harder is a waste of time.
    pub(super) fn is_cut_off(&self) -> bool {
        lock(&self.sources).iter().all(|health| health.unreachable >= CUT_OFF_AFTER)
    }

    /// The health of every source, in order.
    pub(super) fn health(&self) -> Vec<Health> {
        lock(&self.sources).clone()
    }
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(sources: usize) -> Memory {
        Memory::new(vec![String::new(); sources], Duration::from_mins(1))
    }

    fn resource(digit: u8) -> Resource {
        Resource::Artifact { tree: crate::protocol::TreeHash::from_bytes([digit; 20]) }
    }

    #[test]
    fn a_404_cools_one_resource_at_one_source() {
        let memory = memory(2);
        memory.failed(0, &resource(1), &Fault::NotFound);
        assert_eq!(memory.cooled(0, &resource(1)), Some(Fault::NotFound));
        assert_eq!((memory.cooled(1, &resource(1)), memory.cooled(0, &resource(2))), (None, None));
        assert_eq!(memory.admits(0), Admission::Free);
        memory.forget();
        assert_eq!(memory.cooled(0, &resource(1)), None);
    }

    #[test]
    fn only_repeated_silence_cools_a_source_and_any_answer_ends_it() {
        let memory = memory(1);
        let dead = Fault::Connect("refused".into());
        for _ in 0..UNREACHABLE_AFTER {
            assert_eq!(memory.admits(0), Admission::Free);
            memory.failed(0, &resource(1), &dead);
        }
        assert_eq!((memory.admits(0), memory.cooled(0, &resource(1))), (Admission::Refused, None));
        let pause_ends = || lock(&memory.sources)[0].cooled_until = Some(Instant::now());
        pause_ends();
        assert_eq!([memory.admits(0), memory.admits(0)], [Admission::Probe, Admission::Refused], "one at a time");
        // An old request that fails only now must not let in a second probe.
        memory.failed(0, &resource(2), &dead);
        pause_ends();
        assert_eq!(memory.admits(0), Admission::Refused);
        memory.probed(0);
        assert_eq!(memory.admits(0), Admission::Probe);
        memory.failed(0, &resource(1), &Fault::NotFound);
        assert_eq!([memory.admits(0), memory.admits(0)], [Admission::Free; 2]);
    }

    #[test]
    fn what_is_known_of_a_source_goes_with_its_name() {
        let of = |names: &[&str]| Memory::new(names.iter().map(ToString::to_string).collect(), Duration::from_mins(1));
        let (old, new) = (of(&["one", "two"]), of(&["new", "two"]));
        (0..9).for_each(|_| old.failed(1, &resource(1), &Fault::Connect("refused".into())));
        old.failed(0, &resource(1), &Fault::Connect("refused".into()));
        new.inherit(&old);
        let health = new.health();
        assert_eq!([health[0].unreachable, health[1].unreachable], [0, 9]);
        assert!(health[1].last_error.is_some() && health[0].last_error.is_none());
        assert_eq!([new.admits(0), new.admits(1)], [Admission::Free, Admission::Probe]);
    }

    #[test]
    fn many_requests_that_fail_together_are_one_outage() {
        let memory = memory(1);
        let dead = Fault::Connect("refused".into());
        (0..50).for_each(|_| memory.failed(0, &resource(1), &dead));
        let until = memory.health()[0].cooled_until.unwrap();
        assert!(until <= Instant::now() + SOURCE_COOLDOWN.0);
        lock(&memory.sources)[0].cooled_until = Some(Instant::now());
        memory.failed(0, &resource(1), &dead);
        assert!(memory.health()[0].cooled_until.unwrap() > until, "the next one is longer");
    }

    #[test]
    fn a_line_that_is_down_is_noticed_and_forgotten_when_it_is_up() {
        let memory = memory(1);
        for _ in 0..CUT_OFF_AFTER {
            assert!(!memory.is_cut_off());
            memory.failed(0, &resource(1), &Fault::Stalled(Duration::ZERO));
        }
        assert!(memory.is_cut_off());
        memory.succeeded(0, &resource(1));
        assert!(!memory.is_cut_off());
    }

    #[test]
    fn the_memory_grows_and_is_bounded() {
        assert_eq!(doubled(Duration::from_mins(1), 1, LONGEST), Duration::from_mins(2));
        assert_eq!(doubled(Duration::from_mins(1), 99, LONGEST), LONGEST);
    }
}
