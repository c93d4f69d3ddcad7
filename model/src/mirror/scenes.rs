//! Clients that come and go, a source that misbehaves, and a scheduler that decides who is next.
//!
//! Tasks wait for each other only through the code under test, and the clock moves only a few
//! times: whoever still waits at the end waits for ever, and shuttle calls that a deadlock.

#![expect(clippy::disallowed_methods, reason = "a tool for developers has no configuration to read")]

use super::flight::TRICKLE_AFTER;
use super::flying::{Got, Want, World, any_answer};
use super::lock;
use crate::time;
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, Runner};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Schedules of each scene unless `MODEL_SCHEDULES` says otherwise.
const SCHEDULES: usize = 1000;

const SCENES: [(&str, fn()); 2] = [("come-and-go", clients_come_and_go), ("vanish", pilots_vanish)];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn run(scheduler: impl Scheduler + 'static, scene: fn()) -> usize {
    let mut config = Config::new();
    config.stack_size = 0x4_0000;
    Runner::new(scheduler, config).run(scene)
}

/// Runs every scene, half of the schedules at random and half with few changes of priority (PCT),
/// which finds what needs one long pause of one task.
///
/// `MODEL_SCHEDULES` and `MODEL_SEED` say how many and which; `MODEL_SCENE` chooses one, and
/// `MODEL_REPLAY` has the schedule that a failure of it printed.
pub(crate) fn explore() {
    let schedules = number("MODEL_SCHEDULES").map_or(SCHEDULES, |number| usize::try_from(number).unwrap());
    let seed = number("MODEL_SEED").unwrap_or(1);
    let chosen = std::env::var("MODEL_SCENE").ok();
    for (name, scene) in SCENES.into_iter().filter(|(name, _)| chosen.as_ref().is_none_or(|it| it == name)) {
        if let Ok(schedule) = std::env::var("MODEL_REPLAY") {
            run(ReplayScheduler::new_from_encoded(&schedule), scene);
            continue;
        }
        println!("{name}: from seed {seed}");
        let done = run(RandomScheduler::new_from_seed(seed, schedules / 2), scene)
            + run(PctScheduler::new_from_seed(seed, 3, schedules - schedules / 2), scene);
        println!("{name}: {done} schedules were run");
    }
}

fn resource() -> crate::protocol::Resource {
    format!("/artifact/{}", "0".repeat(40)).parse().unwrap()
}

fn any_want() -> Want {
    match thread_rng().gen_range(0..8) {
        0 => Want::Landing,
        1 => Want::Length,
        2 => Want::Body { spool: true },
        _ => Want::Body { spool: false },
    }
}

async fn pause(longest: usize) {
    for _ in 0..thread_rng().gen_range(0..longest) {
        yield_now().await;
    }
}

/// Lets the clock stand still, or moves it on now and then.
async fn move_clock() {
    for _ in 0..thread_rng().gen_range(0..4) {
        pause(8).await;
        time::advance(TRICKLE_AFTER);
    }
}

/// When all have gone, nothing is left: no flight on the board, no reader behind a writer, no
/// memory.
async fn settle(world: &World) {
    let pilots = std::mem::take(&mut *lock(&world.pilots));
    for pilot in pilots {
        // One that was aborted has nothing to say.
        drop(pilot.await);
    }
    world.end_verifications().await;
    assert!(!world.flights.has(&world.resource), "a flight stayed on the board");
    assert!(lock(&world.pilots).is_empty(), "somebody flew after all had gone");
    assert!(lock(&world.flown).iter().all(|flight| flight.strong_count() == 0), "a flight was leaked");
    assert!(world.published.load(Ordering::SeqCst) <= 1, "published twice");
}

fn any_clients(world: &Arc<World>) -> Vec<JoinHandle<Got>> {
    (0..thread_rng().gen_range(2..5)).map(|_| spawn(Arc::clone(world).ask(any_want()))).collect()
}

/// Clients join, leave, and come again while the source does as it likes.
fn clients_come_and_go() {
    time::reset();
    block_on(async {
        let found = (thread_rng().gen_range(0..4) == 0).then(|| any_answer(b'z'));
        let world = World::new(resource(), found, (b'a'..=b'c').map(any_answer).collect());
        let clock = spawn(move_clock());
        let clients = any_clients(&world);
        let leave: Vec<_> = clients.iter().map(|_| thread_rng().gen_range(0..3) == 0).collect();
        for (client, _) in clients.iter().zip(&leave).filter(|(_, leaves)| **leaves) {
            pause(6).await;
            client.abort();
        }
        for (client, leaves) in clients.into_iter().zip(leave) {
            let got = client.await;
            assert!(leaves || got.is_ok(), "a client that stayed got no answer");
        }
        let published = lock(&world.disk).is_some();
        let last = Arc::clone(&world).ask(Want::Landing).await;
        assert!(!published || matches!(last, Got::Whole(_)), "what is published was not given");
        clock.await.unwrap();
        settle(&world).await;
    });
}

/// The task of a flight ends at any point without a word, as one that panics does, or one of a
/// mirror that shuts down.
fn pilots_vanish() {
    time::reset();
    block_on(async {
        let world = World::new(resource(), None, (b'a'..=b'd').map(any_answer).collect());
        let clock = spawn(move_clock());
        let clients = any_clients(&world);
        pause(12).await;
        lock(&world.pilots).iter().for_each(JoinHandle::abort);
        for client in clients {
            client.await.unwrap();
        }
        clock.await.unwrap();
        settle(&world).await;
    });
}
