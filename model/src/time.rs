//! A clock that the model moves, each execution its own.

use shuttle::future::block_on;
use std::cell::RefCell;
use std::ops::Add;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
pub(crate) use std::time::Duration;

// All tasks of an execution run on one thread.
thread_local! {
    static CLOCK: RefCell<Clock> = RefCell::default();
}

#[derive(Default)]
struct Clock {
    now: Duration,
    sleepers: Vec<Waker>,
}

/// A time of this clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(CLOCK.with_borrow(|clock| clock.now))
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

/// Waits until the clock was moved far enough.
pub(crate) struct Sleep(Instant);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.0 {
            return Poll::Ready(());
        }
        CLOCK.with_borrow_mut(|clock| clock.sleepers.push(context.waker().clone()));
        Poll::Pending
    }
}

pub(crate) fn sleep(duration: Duration) -> Sleep {
    Sleep(Instant::now() + duration)
}

pub(crate) fn sleep_until(at: Instant) -> Sleep {
    Sleep(at)
}

/// Sets the clock to its start and forgets who slept in the execution before.
pub(crate) fn reset() {
    drop(CLOCK.take());
}

/// Moves the clock and wakes everybody who sleeps.
pub(crate) fn advance(duration: Duration) {
    let sleepers = CLOCK.with_borrow_mut(|clock| {
        clock.now += duration;
        std::mem::take(&mut clock.sleepers)
    });
    sleepers.into_iter().for_each(Waker::wake);
}

/// A sleeper wakes when the clock was moved far enough and not before.
pub(crate) fn check() {
    let second = Duration::from_secs(1);
    let slept = move || {
        reset();
        let sleeper = shuttle::future::spawn(sleep(second * 2));
        for _ in 0..2 {
            assert!(!sleeper.is_finished());
            advance(second);
        }
        block_on(sleeper).unwrap();
    };
    shuttle::check_random(slept, 100);
}
