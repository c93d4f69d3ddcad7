//! What an upstream can do wrong, one variant each.

use std::sync::Arc;
use tokio::sync::Notify;

/// What the next answer for a path does instead of a good one.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A status without a useful body, and a `Retry-After` in seconds if there is one.
    Status(u16, Option<u64>),
    /// A redirect (302) to this address.
    Redirect(String),
    /// These bytes with status 200 instead of the right ones.
    Replace(Vec<u8>),
    /// The right bytes, sent in this way.
    Send(Body),
    /// The connection is closed without an answer.
    Drop,
    /// No answer and no close, until the upstream is dropped.
    Silence,
}

/// How a body is sent.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// `Content-Length` is left out and the body sent in chunks.
    pub chunked: bool,
    /// `ETag` is left out.
    pub no_etag: bool,
    /// Bytes in a second, if that is bounded.
    pub rate: Option<u32>,
    /// After this many bytes of the whole body, wherever a resumed one starts, do what `then` says.
    pub after: usize,
    /// What happens after `after` bytes.
    pub then: Then,
}

/// What happens in the middle of a body.
#[derive(Clone, Debug, Default)]
pub enum Then {
    /// The rest follows.
    #[default]
    Finish,
    /// The connection is closed in good order (FIN), short of what was announced.
    Close,
    /// The connection is reset (RST).
    Reset,
    /// Nothing more comes.
    Stall,
    /// The rest follows when the gate opens.
    Wait(Gate),
}

impl Body {
    /// Waits at a gate after `after` bytes.
    pub fn gated(after: usize, gate: &Gate) -> Fault {
        Fault::Send(Self { after, then: Then::Wait(gate.clone()), ..Self::default() })
    }

    /// Closes short after `after` bytes.
    pub fn short(after: usize) -> Fault {
        Fault::Send(Self { after, then: Then::Close, ..Self::default() })
    }

    /// Resets the connection after `after` bytes.
    pub fn reset(after: usize) -> Fault {
        Fault::Send(Self { after, then: Then::Reset, ..Self::default() })
    }

    /// Stalls after `after` bytes.
    pub fn stall(after: usize) -> Fault {
        Fault::Send(Self { after, then: Then::Stall, ..Self::default() })
    }

    /// The same without a `Content-Length`.
    #[must_use]
    pub fn chunked(fault: Fault) -> Fault {
        match fault {
            Fault::Send(body) => Fault::Send(Self { chunked: true, ..body }),
            other => other,
        }
    }

    /// The same without an `ETag`, so that nothing can be resumed.
    #[must_use]
    pub fn without_etag(fault: Fault) -> Fault {
        match fault {
            Fault::Send(body) => Fault::Send(Self { no_etag: true, ..body }),
            other => other,
        }
    }
}

/// A point where an answer waits until it is told to go on.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Notify>, Arc<std::sync::atomic::AtomicBool>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everything through, now and later.
    pub fn open(&self) {
        self.1.store(true, std::sync::atomic::Ordering::SeqCst);
        self.0.notify_waiters();
    }

    /// Waits until the gate is open.
    pub async fn passed(&self) {
        let opened = self.0.notified();
        tokio::pin!(opened);
        // Registered before the flag is read, so that an `open` in between is not missed.
        opened.as_mut().enable();
        if !self.1.load(std::sync::atomic::Ordering::SeqCst) {
            opened.await;
        }
    }
}
