//! What was done to this cache, when: a few lines a day, for `airlock status` and for people.

use super::StoreError;
use super::facts::{append_lines, whole_lines};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::io::{self, BufReader};
use std::path::Path;

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
    /// A request was exported.
    Request,
    /// Everything was hashed again.
    Verify,
    /// What nobody needs was removed.
    Gc,
    /// A registry was put back to another tree, pinned or unpinned.
    Registry,
}

pub(super) fn read(path: &Path) -> Result<Vec<Activity>, StoreError> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut all = Vec::new();
    for line in whole_lines(BufReader::new(file)) {
        all.extend(serde_json::from_slice::<Activity>(&line?));
    }
    Ok(all)
}

pub(super) fn append(path: &Path, activity: &Activity) -> Result<(), StoreError> {
    append_lines(path, std::slice::from_ref(activity))
}
