//! How far the scrub has come: one small file that survives a restart. It is replaced as a whole, and
//! what cannot be read of it costs a pass that begins anew.

use super::{Lock, Store, StoreError, is_absent};
use crate::protocol::Resource;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::io;

const FILE: &str = ".airlock/scrub.json";

/// One pass over everything that is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubPass {
    /// When it began.
    pub started: jiff::Timestamp,
    /// When it was through.
    pub ended: Option<jiff::Timestamp>,
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were not what their name says, and were set aside.
    pub damaged: u64,
    /// Files that could not be read, and were set aside.
    pub unreadable: u64,
    /// How many of these are here again.
    pub repaired: u64,
}

impl ScrubPass {
    /// A pass that begins now.
    pub fn begin() -> Self {
        let started = jiff::Timestamp::now();
        Self { started, ended: None, files: 0, bytes: 0, damaged: 0, unreadable: 0, repaired: 0 }
    }

    /// Whether all was right, or is again.
    pub const fn is_clean(&self) -> bool {
        self.damaged + self.unreadable == self.repaired
    }
}

/// How far the scrub has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubRecord {
    /// The pass that is under way, or was when its process ended.
    pub pass: Option<ScrubPass>,
    /// The last resource that it is done with; they are read in their order.
    pub after: Option<Resource>,
    /// The last pass that went through.
    pub last: Option<ScrubPass>,
}

impl Store {
    /// The right to scrub this cache: one mirror at a time has it, in whatever process.
    pub fn try_lock_scrub(&self) -> Result<Option<Lock>, StoreError> {
        Ok(Lock::try_acquire(&self.root.join(".airlock/locks/scrub"))?)
    }

    /// How far the scrub has come.
    pub fn scrub_record(&self) -> Result<ScrubRecord, StoreError> {
        match fs::read(self.root.join(FILE)) {
            Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
            Err(error) if is_absent(&error) => Ok(ScrubRecord::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes down how far the scrub has come. Hold [`Store::try_lock_scrub`].
    pub fn set_scrub_record(&self, record: &ScrubRecord) -> Result<(), StoreError> {
        let text = serde_json::to_vec(record).map_err(io::Error::from)?;
        self.replace(&self.root.join(FILE), &text)?;
        crate::fault::point("scrub.recorded");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::TreeHash;

    #[test]
    fn what_is_torn_begins_anew_and_one_at_a_time_has_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.scrub_record().unwrap(), ScrubRecord::default());
        let after = Some(Resource::Artifact { tree: TreeHash::EMPTY });
        let record = ScrubRecord { pass: Some(ScrubPass::begin()), after, last: None };
        store.set_scrub_record(&record).unwrap();
        assert_eq!(store.scrub_record().unwrap(), record);
        let text = fs::read(folder.path().join(FILE)).unwrap();
        for length in 0..text.len() {
            fs::write(folder.path().join(FILE), &text[..length]).unwrap();
            assert_eq!(store.scrub_record().unwrap(), ScrubRecord::default(), "{length}");
        }
        let held = store.try_lock_scrub().unwrap();
        assert!(held.is_some() && store.try_lock_scrub().unwrap().is_none(), "not twice in one process either");
    }
}
