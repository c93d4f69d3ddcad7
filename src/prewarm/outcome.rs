//! What came of one resource.

use crate::closure::one_line;
use crate::mirror::Refusal;
use serde::Serialize;

/// What came of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was here already.
    Cached,
    /// It was fetched by this run.
    Fetched,
    /// It could not be had.
    Failed,
    /// The policy denies it, or it is private and no source that may be asked has it.
    Denied,
    /// It is wanted and not here: a dry run, or a run that was stopped.
    Planned,
}

/// What came of a resource, with what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// In a word.
    pub status: Status,
    /// Its size, where it is here.
    pub bytes: Option<u64>,
    /// One line of words, where something is to be explained.
    pub reason: Option<String>,
    /// Where it came from, if this run fetched it: a package server, a repository or an address.
    pub from: Option<String>,
}

impl Outcome {
    /// It is here.
    pub fn here(bytes: u64, cached: bool) -> Self {
        let status = if cached { Status::Cached } else { Status::Fetched };
        Self { status, bytes: Some(bytes), reason: None, from: None }
    }

    /// It could not be had.
    pub fn failed(reason: &str) -> Self {
        Self { status: Status::Failed, bytes: None, reason: Some(one_line(reason)), from: None }
    }

    /// It is wanted, and nothing was done about it.
    pub const fn planned() -> Self {
        Self { status: Status::Planned, bytes: None, reason: None, from: None }
    }

    /// The run was stopped before it was done.
    pub fn interrupted() -> Self {
        Self { reason: Some("the run was stopped before it was fetched".to_owned()), ..Self::planned() }
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::Denied(_) | Refusal::Private(_) => Status::Denied,
            _ => Status::Failed,
        };
        Self { status, ..Self::failed(&refusal.to_string()) }
    }
}
