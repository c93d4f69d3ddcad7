//! Why a resource cannot be given.

use crate::source::Fault;
use crate::store::{Reason, StoreError};
use std::io;

/// Letters of a refusal that are written to the ledger of misses.
const LONGEST_DETAIL: usize = 1000;

/// Why a resource cannot be given. Everybody who waits for a flight gets the same one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not here, and there is no upstream by decision.
    #[error("not in this mirror, which is offline")]
    Offline,
    /// Every upstream was asked and none has it.
    #[error("no upstream has it")]
    NotFound,
    /// The same, and where else it was looked for.
    #[error("no upstream has it; {0}")]
    Absent(String),
    /// Upstreams could not be asked, or failed.
    #[error("upstream failed: {0}")]
    Upstream(String),
    /// Upstreams did not answer in time.
    #[error("upstream did not answer in time: {0}")]
    Slow(String),
    /// What came, or what was here, is not what its name says.
    #[error("wrong content: {0}")]
    Content(String),
    /// The policy of this mirror forbids it.
    #[error("denied: {0}")]
    Denied(String),
    /// Only public upstreams are left to ask, and it is not for them to know of.
    #[error("asked of no public upstream, and no other has it: {0}")]
    Private(String),
    /// No room left in the cache directory.
    #[error("the disk of the cache is full")]
    Full,
    /// What is left of the disk must stay free, so it is not cached, and it is of use only if it is.
    #[error("{0}")]
    Low(String),
    /// The cache directory failed.
    #[error("the cache directory failed: {0}")]
    Store(String),
    /// Shutting down.
    #[error("shutting down")]
    Closing,
}

impl Refusal {
    /// Why the ledger of misses should name this; `None` if it is no miss but a fault on this side.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Offline => Some(Reason::Offline),
            Self::NotFound | Self::Absent(_) => Some(Reason::NotFoundUpstream),
            Self::Upstream(_) | Self::Slow(_) => Some(Reason::UpstreamError),
            Self::Content(_) => Some(Reason::HashMismatch),
            Self::Denied(_) | Self::Private(_) => Some(Reason::Denied),
            Self::Full | Self::Low(_) | Self::Store(_) | Self::Closing => None,
        }
    }

    /// More words than the reason itself, for the ledger of misses.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Offline | Self::NotFound | Self::Full | Self::Low(_) | Self::Store(_) | Self::Closing => None,
            Self::Absent(_)
            | Self::Upstream(_)
            | Self::Slow(_)
            | Self::Content(_)
            | Self::Denied(_)
            | Self::Private(_) => Some(self.to_string().chars().take(LONGEST_DETAIL).collect()),
        }
    }

    /// The verdict over all sources: what speaks most for asking again, or telling somebody, wins.
    /// What fall-backs say is said beside it.
    pub(super) fn from_faults(faults: &[Fault]) -> Self {
        let Some(worst) = faults.iter().max_by_key(|fault| fault.weight()) else { return Self::Offline };
        let says_more = |fault: &&Fault| matches!(fault, Fault::Worded { .. });
        let first = Some(worst).filter(|worst| !says_more(worst) && **worst != Fault::NotFound);
        let words: Vec<_> = first.into_iter().chain(faults.iter().filter(says_more)).map(ToString::to_string).collect();
        let words = words.join("; ");
        match worst.root() {
            Fault::NotFound if words.is_empty() => Self::NotFound,
            Fault::NotFound => Self::Absent(words),
            Fault::Content(_) => Self::Content(words),
            Fault::Stalled(_) | Fault::Busy(_) => Self::Slow(words),
            Fault::Connect(_)
            | Fault::LeftAlone(_)
            | Fault::Broken(_)
            | Fault::Status { .. }
            | Fault::Worded { .. } => Self::Upstream(words),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            error if error.is_full() => Self::Full,
            error @ StoreError::Low(_) => Self::Low(error.to_string()),
            error => Self::Store(error.to_string()),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        StoreError::from(error).into()
    }
}
