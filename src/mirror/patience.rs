//! How hard a flight tries: a client leaves after 20 s of silence, a prewarm has time.

use crate::config::{self, When};
use crate::protocol::RequestId;
use crate::source::Fault;
use std::time::Duration;
use tokio::time::Instant;

/// Longest pause that a source may ask for: one that wants to be left alone for longer has failed.
pub(super) const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// How hard a flight tries.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Rounds over all sources.
    pub(super) attempts: u32,
    /// Longest time without a byte before somebody who waits leaves.
    pub(super) silence: Option<Duration>,
    /// How long another process may fetch the same before it is fetched here too.
    pub(super) lock_wait: Duration,
    /// Longest pause between rounds.
    longest_pause: Duration,
    /// Whether sources are asked although they failed a moment ago.
    pub(super) insists: bool,
    /// The request that it is for, if one started it.
    pub(super) request: Option<RequestId>,
}

impl Patience {
    /// For a client that leaves after 20 s of silence.
    pub fn client(bounds: &config::Mirror) -> Self {
        Self {
            attempts: 3,
            silence: Some(bounds.silence),
            lock_wait: Duration::from_secs(5),
            longest_pause: Duration::from_secs(2),
            insists: false,
            request: None,
        }
    }

    /// For a run that has time.
    pub const fn prewarm(attempts: u32) -> Self {
        Self {
            attempts,
            silence: None,
            lock_wait: Duration::from_mins(10),
            longest_pause: Duration::from_mins(1),
            insists: true,
            request: None,
        }
    }

    /// The same, on behalf of a request.
    #[must_use]
    pub const fn on_behalf_of(self, request: Option<RequestId>) -> Self {
        Self { request, ..self }
    }

    pub(super) fn deadline(&self, from: Instant) -> Option<Instant> {
        self.silence.map(|silence| from + silence)
    }

    /// Whether a fall-back may be asked: only who insists has the time of a prewarm.
    pub(super) const fn allows(&self, when: When) -> bool {
        match when {
            When::Never => false,
            When::Prewarm => self.insists,
            When::Always => true,
        }
    }

    /// The pause before a source is asked for its listing again, if it should be.
    pub(super) fn pause_before_listing(&self, round: u32, fault: &Fault) -> Option<Duration> {
        let pause = self.pause(round, fault.retry_after());
        let again = self.insists && fault.is_passing() && round < self.attempts && pause <= LONGEST_WAIT;
        again.then_some(pause)
    }

    /// Exponential, with jitter so that many do not come back at once.
    pub(super) fn pause(&self, round: u32, asked: Option<Duration>) -> Duration {
        let base = Duration::from_millis(250).saturating_mul(1 << round.min(16)).min(self.longest_pause);
        let jitter = jiff::Timestamp::now().subsec_nanosecond().unsigned_abs() % 1000;
        let pause = base.mul_f64(0.5 + f64::from(jitter) / 1000.0);
        pause.max(asked.unwrap_or_default())
    }
}
