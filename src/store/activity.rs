//! What was done to this cache, when: a few lines a day, for `airlock status` and for people.

use super::lines::{append_rebuildable, read_lines};
use super::{Store, StoreError};
use serde::{Deserialize, Serialize};

const FILE: &str = ".airlock/activity.jsonl";

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// When it ended.
    pub time: jiff::Timestamp,
    /// What.
    pub what: Action,
    /// In words, on one line.
    pub summary: String,
    /// Whether nothing was left to be done.
    pub complete: bool,
}

/// What may be done to a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Manifests were prewarmed.
    Prewarm,
    /// A bundle was exported.
    Export,
    /// A bundle was imported.
    Import,
    /// A depot was adopted.
    Adopt,
    /// A request was exported.
    Request,
    /// Everything was hashed again.
    Verify,
    /// What nobody needs was removed.
    Gc,
    /// A registry was put back to another tree, pinned or unpinned.
    Registry,
    /// All versions that are known were said to be old enough.
    Policy,
    /// A server has read everything again.
    Scrub,
}

impl Store {
    /// What was done to this cache, oldest first.
    pub fn activities(&self) -> Result<Vec<Activity>, StoreError> {
        read_lines(&self.root.join(FILE))
    }

    /// Writes down what was done. A disk that is too full for one line must not fail what was done.
    pub fn note(&self, what: Action, complete: bool, summary: String) {
        let activity = Activity { time: jiff::Timestamp::now(), what, summary, complete };
        if let Err(error) = append_rebuildable(&self.root.join(FILE), &[activity]) {
            tracing::warn!("cannot write down what was done: {error}");
        }
        crate::fault::point("activity.noted");
    }
}
