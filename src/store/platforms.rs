//! The platforms that this cache serves: what prewarm was asked for, remembered for the view.
//!
//! A text file, one triplet (or `all`) on a line, `#` before a comment, so that it can be read and
//! mended by hand.

use super::{Lock, Store, StoreError, is_absent};
use crate::julia::Platforms;
use fs_err as fs;
use std::collections::BTreeSet;

const HEADER: &str = "# Platforms that prewarm was asked for: a version whose artifacts for one of these are not all here\n\
                      # is shown as yanked.\n";

impl Store {
    /// The platforms, as triplets or `all`, in the order of their names. A line that is neither is
    /// passed over with a warning.
    pub fn served_platforms(&self) -> Result<Vec<String>, StoreError> {
        let text = match fs::read(self.root.join(".airlock/platforms")) {
            Ok(text) => text,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let known = lines.filter(|line| !line.is_empty()).filter(|line| {
            let problem = line.parse::<Platforms>().err();
            problem.inspect(|problem| tracing::warn!(".airlock/platforms: {problem}")).is_none()
        });
        Ok(known.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Adds platforms to those that are served.
    pub fn remember_platforms(&self, platforms: &[String]) -> Result<(), StoreError> {
        let _lock = Lock::acquire(&self.root.join(".airlock/locks/platforms"))?;
        let known = self.served_platforms()?;
        let all: BTreeSet<_> = known.iter().chain(platforms).map(String::as_str).collect();
        if all.len() == known.len() {
            return Ok(());
        }
        let lines: String = all.into_iter().flat_map(|platform| [platform, "\n"]).collect();
        self.replace(&self.root.join(".airlock/platforms"), (HEADER.to_owned() + &lines).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_add_up_and_a_bad_line_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.served_platforms().unwrap(), Vec::<String>::new());
        let remember = |names: &[&str]| {
            store.remember_platforms(&names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
            store.served_platforms().unwrap()
        };
        assert_eq!(remember(&["x86_64-linux-gnu"]), ["x86_64-linux-gnu"]);
        assert_eq!(remember(&["aarch64-linux-gnu", "x86_64-linux-gnu"]), ["aarch64-linux-gnu", "x86_64-linux-gnu"]);
        fs::write(folder.path().join(".airlock/platforms"), b"all # of them\n\xffnonsense\n\n i686-linux-gnu \n")
            .unwrap();
        assert_eq!(store.served_platforms().unwrap(), ["all", "i686-linux-gnu"]);
        assert_eq!(remember(&["x86_64-linux-musl"]), ["all", "i686-linux-gnu", "x86_64-linux-musl"]);
    }
}
