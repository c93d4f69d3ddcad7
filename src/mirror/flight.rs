//! A flight: one resource on its way in, and everybody who waits for it.
//!
//! There is one flight per resource, whoever asks, and it belongs to the mirror: a client that
//! leaves does not stop it. Its bytes go into a staged file; the hasher and every client read that
//! file behind the writer, so memory does not grow with the resource nor with the clients.
//!
//! Hold-back: a client gets bytes as they arrive, but the last [`HOLD_BACK`] only after the tree
//! hash was found right and the file is published. While that takes long, held bytes trickle out,
//! all but the last one, because Julia's clients leave after 20 s without a byte (Downloads.jl).
//!
//! Once a client has got a byte, the bytes are fixed: two servers gzip one tree differently, so
//! the flight may then no longer start over from another answer.

use super::Refusal;
use crate::protocol::Resource;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Bytes at the end that no client gets before the resource is verified and published.
pub const HOLD_BACK: u64 = 64 << 10;

/// A client that has waited so long gets a held byte.
pub(super) const TRICKLE_AFTER: Duration = Duration::from_secs(5);

/// One resource on its way in.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) resource: Resource,
    pub(super) started: Instant,
    state: watch::Sender<State>,
}

/// How far a flight is.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// The file that grows, of the attempt under way.
    pub(super) file: Option<Arc<File>>,
    /// Counts the files: a reader of an older one must stop.
    attempt: u32,
    /// Bytes in the file.
    pub(super) written: u64,
    /// Bytes that the source announced.
    pub(super) length: Option<u64>,
    /// Whether all bytes are in the file.
    complete: bool,
    /// Whether a client has been promised bytes of this attempt.
    committed: bool,
    /// How it ended.
    pub(super) outcome: Option<Result<Landed, Refusal>>,
}

/// A resource that was verified and published.
#[derive(Clone, Debug)]
pub struct Landed {
    /// Open for reading.
    pub file: Arc<File>,
    /// Bytes.
    pub size: u64,
    /// Which source it came from, if it was fetched just now.
    pub from: Option<Arc<str>>,
}

/// What can be told to a client that waits.
pub(super) enum Head {
    /// Published; serve it as a hit.
    Landed(Landed),
    /// Bytes can be had; the length if the source announced it.
    Streaming(Option<u64>),
}

impl Flight {
    pub(super) fn new(resource: Resource) -> Self {
        Self { resource, started: Instant::now(), state: watch::channel(State::default()).0 }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Begins a file. Fails when a client already has bytes of another.
    pub(super) fn begin(&self, file: Arc<File>, length: Option<u64>, written: u64) -> bool {
        self.state.send_if_modified(|state| {
            if state.committed {
                return false;
            }
            *state = State { file: Some(file), attempt: state.attempt + 1, length, written, ..State::default() };
            true
        })
    }

    /// More bytes are in the file.
    pub(super) fn advance(&self, bytes: u64) {
        self.state.send_modify(|state| state.written += bytes);
    }

    /// All bytes are in the file.
    pub(super) fn complete(&self) {
        self.state.send_modify(|state| state.complete = true);
    }

    /// The attempt failed: whoever reads its file for verification stops, and whoever comes later
    /// gets nothing of it.
    pub(super) fn abandon(&self) {
        self.state.send_modify(|state| {
            state.attempt += 1;
            if !state.committed {
                *state = State { attempt: state.attempt, ..State::default() };
            }
        });
    }

    pub(super) fn is_committed(&self) -> bool {
        self.state.borrow().committed
    }

    pub(super) fn written(&self) -> u64 {
        self.state.borrow().written
    }

    /// Ends the flight. Only the first end counts.
    pub(super) fn end(&self, outcome: Result<Landed, Refusal>) {
        self.state.send_modify(|state| {
            state.attempt += 1;
            state.outcome.get_or_insert(outcome);
        });
    }

    /// Waits for the end.
    pub(super) async fn landed(&self) -> Result<Landed, Refusal> {
        let mut state = self.subscribe();
        let ended = state.wait_for(|state| state.outcome.is_some()).await;
        ended.ok().and_then(|state| state.outcome.clone()).unwrap_or(Err(Refusal::Closing))
    }

    /// Waits until a client can be given a head. `spool` waits for the end unless the length is
    /// known: a client that cannot see a short close must not be sent unverified bytes.
    pub(super) async fn head(&self, spool: bool) -> Result<Head, Refusal> {
        let mut state = self.subscribe();
        loop {
            if let Some(head) = self.try_head(spool) {
                return head;
            }
            // Wakes up once more when waiting in silence becomes too long.
            let late = self.started + TRICKLE_AFTER;
            let timer = async {
                if Instant::now() < late { tokio::time::sleep_until(late).await } else { std::future::pending().await }
            };
            tokio::select! {
                changed = state.changed() => if changed.is_err() { return Err(Refusal::Closing) },
                () = timer => {}
            }
        }
    }

    /// Decides and commits in one step, so that the flight cannot start over in between.
    fn try_head(&self, spool: bool) -> Option<Result<Head, Refusal>> {
        let mut head = None;
        self.state.send_if_modified(|state| {
            head = match &state.outcome {
                Some(Ok(landed)) => Some(Ok(Head::Landed(landed.clone()))),
                Some(Err(refusal)) => Some(Err(refusal.clone())),
                None if spool && state.length.is_none() => None,
                None => {
                    let flows = state.written > HOLD_BACK;
                    let late = self.started.elapsed() >= TRICKLE_AFTER && state.written > 1;
                    (state.file.is_some() && (flows || late)).then(|| Ok(Head::Streaming(state.length)))
                }
            };
            let commits = matches!(head, Some(Ok(Head::Streaming(_)))) && !state.committed;
            state.committed |= commits;
            commits
        });
        head
    }

    /// Waits until the length is known, for `HEAD`: `None` if the source does not say.
    pub(super) async fn length(&self) -> Result<Option<u64>, Refusal> {
        let mut state = self.subscribe();
        let known = state.wait_for(|state| state.outcome.is_some() || state.file.is_some()).await;
        let state = known.map_err(|_| Refusal::Closing)?;
        match &state.outcome {
            Some(Ok(landed)) => Ok(Some(landed.size)),
            Some(Err(refusal)) => Err(refusal.clone()),
            None => Ok(state.length),
        }
    }

    /// The growing file as a blocking reader, for verification.
    pub(super) fn reader(&self) -> Option<Behind> {
        let state = self.subscribe();
        let (file, attempt) = {
            let now = state.borrow();
            (now.file.clone()?, now.attempt)
        };
        Some(Behind { state, file, attempt, at: 0, runtime: tokio::runtime::Handle::current() })
    }
}

/// Reads a growing file behind its writer. Blocks; for blocking threads only.
#[derive(Debug)]
pub(super) struct Behind {
    state: watch::Receiver<State>,
    file: Arc<File>,
    attempt: u32,
    at: u64,
    runtime: tokio::runtime::Handle,
}

impl Read for Behind {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let (written, complete, attempt) = {
                let state = self.state.borrow_and_update();
                (state.written, state.complete, state.attempt)
            };
            if attempt != self.attempt {
                return Err(io::Error::other("the download was given up"));
            }
            let ready = written.saturating_sub(self.at).min(buffer.len() as u64);
            if ready > 0 {
                let ready = usize::try_from(ready).unwrap_or(buffer.len());
                let read = self.file.read_at(&mut buffer[..ready], self.at)?;
                self.at += read as u64;
                return Ok(read);
            }
            if complete || buffer.is_empty() {
                return Ok(0);
            }
            let changed = self.runtime.block_on(self.state.changed());
            changed.map_err(|_| io::Error::other("the download was given up"))?;
        }
    }
}
