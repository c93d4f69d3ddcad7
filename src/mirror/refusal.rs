//! Why a resource cannot be given.

use crate::source::Fault;
use crate::store::{Reason, StoreError};
use std::io;

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
    /// No room left in the cache directory.
    #[error("the disk of the cache is full")]
    Full,
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
            Self::Full | Self::Store(_) | Self::Closing => None,
        }
    }

    /// The verdict over all sources: what speaks most for asking again, or telling somebody, wins.
    pub(super) fn from_faults(faults: &[Fault]) -> Self {
        let worst = faults.iter().max_by_key(|fault| match fault {
            Fault::NotFound => 0,
            Fault::Absent(_) => 1,
            Fault::Connect(_) | Fault::Stalled(_) => 2,
            Fault::Broken(_) | Fault::Status { .. } => 3,
            Fault::Content(_) => 4,
        });
        match worst {
            None => Self::Offline,
            Some(Fault::NotFound) => Self::NotFound,
            Some(Fault::Absent(words)) => Self::Absent(words.clone()),
            Some(Fault::Content(detail)) => Self::Content(detail.clone()),
            Some(fault @ Fault::Stalled(_)) => Self::Slow(fault.to_string()),
            Some(fault) => Self::Upstream(fault.to_string()),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        if error.is_full() { Self::Full } else { Self::Store(error.to_string()) }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        StoreError::from(error).into()
    }
}
