//! Which cache this is, so that two closed networks behind one outside are told apart.

use super::{Lock, Store, StoreError, is_absent};
use crate::protocol::Uuid;
use fs_err as fs;
use std::io;

const FILE: &str = ".airlock/site";

impl Store {
    /// Which cache this is: a random uuid, made when it is first asked for.
    pub fn site(&self) -> Result<Uuid, StoreError> {
        let _lock = Lock::acquire(&self.root.join(".airlock/locks/site"))?;
        match fs::read_to_string(self.root.join(FILE)) {
            Ok(text) if text.trim().parse::<Uuid>().is_ok() => Ok(text.trim().parse().map_err(io::Error::other)?),
            Ok(_) => self.make_site(),
            Err(error) if is_absent(&error) => self.make_site(),
            Err(error) => Err(error.into()),
        }
    }

    fn make_site(&self) -> Result<Uuid, StoreError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let site = Uuid::from_random(bytes);
        self.replace(&self.root.join(FILE), format!("{site}\n").as_bytes())?;
        Ok(site)
    }
}
