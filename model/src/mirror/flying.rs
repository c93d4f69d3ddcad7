//! How a flight is flown and used: the steps of `src/mirror/fetch.rs`, `receive.rs` and `mod.rs`,
//! in their order, with the disk and the source made up.

use super::body::follow;
use super::flight::{Flight, HOLD_BACK, Head, Landed};
use super::flights::{Flights, Landing};
use super::{Mutex, Refusal, lock};
use crate::protocol::Resource;
use futures_util::stream::StreamExt as _;
use rustix::fs::{MemfdFlags, memfd_create};
use shuttle::future::{JoinHandle, spawn, yield_now};
use shuttle::rand::{Rng as _, thread_rng};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// One answer of the source. Each has other bytes: two servers gzip one tree differently.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    letter: u8,
    size: u64,
    announced: bool,
    /// In how many pieces it comes.
    pieces: u64,
    fate: Fate,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Right,
    /// All bytes come, and their hash is wrong.
    Wrong,
    /// It breaks off before this piece and cannot be resumed.
    Breaks(u64),
}

/// What a client wants, as `Mirror::get`, `Mirror::fetch` and `HEAD` do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want {
    Body { spool: bool },
    Landing,
    Length,
}

/// What a client came away with.
#[derive(Debug)]
pub(super) enum Got {
    /// The body of the answer with this letter, to its end.
    Whole(u8),
    /// Its length.
    Told,
    Refused(Refusal),
    /// Its connection was closed short.
    Short,
}

type Verdict = shuttle_tokio::task::JoinHandle<bool>;

/// A mirror of one resource.
pub(super) struct World {
    pub(super) flights: Arc<Flights>,
    pub(super) resource: Resource,
    /// What is published.
    pub(super) disk: Mutex<Option<Landed>>,
    /// What lies on disk and was not verified yet.
    found: Mutex<Option<Answer>>,
    /// What the source answers, in order, then nothing.
    answers: Mutex<std::vec::IntoIter<Answer>>,
    fetching: AtomicUsize,
    pub(super) published: AtomicUsize,
    pub(super) pilots: Mutex<Vec<JoinHandle<()>>>,
    /// Verifications that nobody waits for any more.
    left: Mutex<Vec<Verdict>>,
    pub(super) flown: Mutex<Vec<Weak<Flight>>>,
}

/// Counts one fetch at one time.
struct Fetching<'w>(&'w AtomicUsize);

impl<'w> Fetching<'w> {
    fn begin(count: &'w AtomicUsize) -> Self {
        assert_eq!(count.fetch_add(1, Ordering::SeqCst), 0, "two fetches of one resource at one time");
        Self(count)
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A verification under way: who gives up its flight does not wait for it, but it must end.
struct Verification<'w>(&'w World, Option<Verdict>);

impl Drop for Verification<'_> {
    fn drop(&mut self) {
        if let Some(left) = self.1.take() {
            lock(&self.0.left).push(left);
        }
    }
}

fn memory_file() -> Arc<File> {
    Arc::new(memfd_create("model", MemfdFlags::CLOEXEC).unwrap().into())
}

fn bytes_of(letter: u8, count: u64) -> Vec<u8> {
    vec![letter; usize::try_from(count).unwrap()]
}

fn letter_of(landed: &Landed) -> u8 {
    let mut letter = [0];
    landed.file.read_exact_at(&mut letter, 0).unwrap();
    letter[0]
}

impl World {
    pub(super) fn new(resource: Resource, found: Option<Answer>, answers: Vec<Answer>) -> Arc<Self> {
        Arc::new(Self {
            flights: Arc::default(),
            resource,
            disk: Mutex::new(None),
            found: Mutex::new(found),
            answers: Mutex::new(answers.into_iter()),
            fetching: AtomicUsize::new(0),
            published: AtomicUsize::new(0),
            pilots: Mutex::default(),
            left: Mutex::default(),
            flown: Mutex::default(),
        })
    }

    /// `Mirror::fly`.
    fn fly(self: &Arc<Self>) -> Arc<Flight> {
        let (flight, landing) = self.flights.join(&self.resource);
        if let Some(landing) = landing {
            lock(&self.flown).push(Arc::downgrade(&flight));
            let world = Arc::clone(self);
            let pilot = spawn(async move { world.pilot(landing).await });
            lock(&self.pilots).push(pilot);
        }
        flight
    }

    async fn pilot(&self, landing: Landing) {
        let outcome = self.obtain(&landing.flight).await;
        landing.flight.end(outcome);
    }

    /// `Mirror::obtain`.
    async fn obtain(&self, flight: &Flight) -> Result<Landed, Refusal> {
        let here = lock(&self.disk).clone();
        if let Some(landed) = here {
            return Ok(landed);
        }
        let _fetching = Fetching::begin(&self.fetching);
        // `Mirror::land_from_disk`: all bytes are there, and not verified yet.
        let found = lock(&self.found).take();
        if let Some(found) = found {
            let file = memory_file();
            file.write_all_at(&bytes_of(found.letter, found.size), 0).unwrap();
            flight.begin(Arc::clone(&file), Some(found.size), found.size);
            yield_now().await;
            if found.fate == Fate::Right {
                return Ok(self.publish(file, found.size));
            }
            flight.abandon();
            if flight.is_committed() {
                return Err(Refusal::Upstream);
            }
        }
        loop {
            let answer = lock(&self.answers).next();
            let Some(answer) = answer else { return Err(Refusal::Upstream) };
            match self.attempt(flight, &answer).await {
                Some(landed) => return Ok(landed),
                None if flight.is_committed() => return Err(Refusal::Upstream),
                None => yield_now().await,
            }
        }
    }

    /// `Mirror::attempt`.
    async fn attempt(&self, flight: &Flight, answer: &Answer) -> Option<Landed> {
        yield_now().await;
        let file = memory_file();
        // What was given up with nothing promised can be promised to nobody who comes later.
        assert!(flight.begin(Arc::clone(&file), answer.announced.then_some(answer.size), 0), "promised since");
        let landed = self.receive(flight, answer, file).await;
        if landed.is_none() {
            flight.abandon();
            // Nobody waits for it there; but it must not need the next attempt to end.
            if thread_rng().r#gen() {
                self.end_verifications().await;
            }
        }
        landed
    }

    /// `Mirror::receive` and `Mirror::publish`.
    async fn receive(&self, flight: &Flight, answer: &Answer, file: Arc<File>) -> Option<Landed> {
        let mut behind = flight.reader().unwrap();
        let (letter, size) = (answer.letter, answer.size);
        let verdict = shuttle_tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            let ended = behind.read_to_end(&mut bytes).is_ok();
            assert!(bytes == bytes_of(letter, bytes.len() as u64), "bytes of two answers");
            ended && bytes.len() as u64 == size
        });
        let mut verification = Verification(self, Some(verdict));
        let mut written = 0;
        for piece in 1..=answer.pieces {
            if answer.fate == Fate::Breaks(piece) {
                return None;
            }
            yield_now().await;
            let until = size * piece / answer.pieces;
            file.write_all_at(&bytes_of(letter, until - written), written).unwrap();
            flight.advance(until - written);
            written = until;
        }
        flight.complete();
        let saw_all = verification.1.as_mut()?.await.unwrap();
        verification.1 = None;
        assert!(saw_all, "the verification did not see all bytes of an answer that came to its end");
        (answer.fate == Fate::Right).then(|| self.publish(file, size))
    }

    /// Waits until no verification is left that nobody waits for.
    pub(super) async fn end_verifications(&self) {
        let left = std::mem::take(&mut *lock(&self.left));
        for verification in left {
            verification.await.unwrap();
        }
    }

    fn publish(&self, file: Arc<File>, size: u64) -> Landed {
        self.published.fetch_add(1, Ordering::SeqCst);
        let landed = Landed { file, size, from: None };
        *lock(&self.disk) = Some(landed.clone());
        landed
    }

    /// `Mirror::get`, `Mirror::fetch_from` and what the server makes of it.
    pub(super) async fn ask(self: Arc<Self>, want: Want) -> Got {
        let here = lock(&self.disk).clone();
        if let Some(landed) = here {
            return Got::Whole(letter_of(&landed));
        }
        let flight = self.fly();
        let got = match want {
            Want::Landing => flight.landed().await.map_or_else(Got::Refused, |landed| Got::Whole(letter_of(&landed))),
            Want::Length => flight.length().await.map_or_else(Got::Refused, |_| Got::Told),
            Want::Body { spool } => match flight.head(spool).await {
                Err(refusal) => Got::Refused(refusal),
                Ok(Head::Landed(landed)) => Got::Whole(letter_of(&landed)),
                Ok(Head::Streaming(length)) => {
                    assert!(!spool || length.is_some(), "a body without a length was not spooled");
                    self.stream(&flight, length).await
                }
            },
        };
        agrees(&got, &flight.landed().await);
        got
    }

    /// Follows a flight to the end of the body.
    async fn stream(&self, flight: &Flight, length: Option<u64>) -> Got {
        let mut body = pin!(follow(flight));
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            let Ok(chunk) = chunk else { return Got::Short };
            assert!(!chunk.is_empty());
            bytes.extend_from_slice(&chunk);
            let all = length.is_some_and(|length| bytes.len() as u64 >= length);
            assert!(!all || lock(&self.disk).is_some(), "all bytes of a body that is not published went out");
        }
        let landed = lock(&self.disk).clone().expect("a body came to its end and nothing is published");
        assert_eq!(bytes.len() as u64, landed.size, "a short body looks whole");
        let letter = letter_of(&landed);
        assert!(bytes == bytes_of(letter, landed.size), "bytes of another answer");
        Got::Whole(letter)
    }
}

/// Who stayed got what its flight came to, and no other thing.
fn agrees(got: &Got, ended: &Result<Landed, Refusal>) {
    match got {
        Got::Whole(letter) => assert_eq!(Some(*letter), ended.as_ref().ok().map(letter_of), "a body of another flight"),
        Got::Refused(refusal) => assert_eq!(Some(refusal), ended.as_ref().err(), "refused though the flight landed"),
        Got::Short => assert!(ended.is_err(), "a body was cut short though its flight landed"),
        Got::Told => {}
    }
}

/// Any answer: tiny, just beyond what is held back, or of more than one chunk.
pub(super) fn any_answer(letter: u8) -> Answer {
    let mut random = thread_rng();
    let size = [1, 2, 3000, HOLD_BACK + 1, HOLD_BACK + 2000, 3 * HOLD_BACK + 5][random.gen_range(0..6)];
    let pieces = random.gen_range(1..4);
    let fate = match random.gen_range(0..4) {
        0 => Fate::Wrong,
        1 => Fate::Breaks(random.gen_range(1..=pieces)),
        _ => Fate::Right,
    };
    Answer { letter, size, announced: random.gen_range(0..4) > 0, pieces, fate }
}
