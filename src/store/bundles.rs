//! What was sent: the index of every bundle that was exported from this cache, by destination.
//!
//! `.airlock/bundles/sent/<destination>/<number>.json`; the number of the next bundle is one more
//! than the highest of these names, whatever is in the files.

use super::{Lock, Store, StoreError, is_absent, publish};
use crate::exchange::{BundleIndex, is_destination};
use fs_err as fs;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

const SENT: &str = ".airlock/bundles/sent";

impl Store {
    /// The numbers of the bundles that were sent to a destination.
    pub fn sent(&self, destination: &str) -> Result<BTreeSet<u64>, StoreError> {
        let names = match fs::read_dir(self.sent_folder(destination)?) {
            Ok(names) => names,
            Err(error) if is_absent(&error) => return Ok(BTreeSet::new()),
            Err(error) => return Err(error.into()),
        };
        let mut numbers = BTreeSet::new();
        for name in names {
            let name = name?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".json")?.parse::<u64>().ok()));
        }
        Ok(numbers)
    }

    /// What was sent under a number; `None` if nothing was, or nobody can read it any more.
    pub fn sent_index(&self, destination: &str, number: u64) -> Result<Option<BundleIndex>, StoreError> {
        match fs::read(self.sent_folder(destination)?.join(file_name(number))) {
            Ok(bytes) => Ok(BundleIndex::parse(&bytes).ok()),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The lock on the numbers of a destination; waits for it. Hold it from looking for the next
    /// number until that is recorded, so that no number is taken twice.
    pub fn lock_sent(&self, destination: &str) -> Result<Lock, StoreError> {
        self.sent_folder(destination)?;
        Ok(Lock::acquire(&self.root().join(".airlock/locks").join(format!("sent-{destination}")))?)
    }

    /// Writes down that a bundle goes out, durably: the bytes of its index.
    pub fn record_sent(&self, destination: &str, number: u64, index: &[u8]) -> Result<(), StoreError> {
        let folder = self.sent_folder(destination)?;
        publish::make_folders(&folder)?;
        let mut staged = self.stage()?;
        staged.write_all(index)?;
        Ok(publish::replace(&staged, &folder.join(file_name(number)))?)
    }

    fn sent_folder(&self, destination: &str) -> Result<PathBuf, StoreError> {
        if !is_destination(destination) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a destination").into());
        }
        Ok(self.root().join(SENT).join(destination))
    }
}

fn file_name(number: u64) -> String {
    format!("{number:06}.json")
}
