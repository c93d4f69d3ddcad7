//! The ledger of wishes: packages that people asked for by name, so that somebody can bring them.
//!
//! A file of increments like the ledger of misses; reading it adds them up. No user name and no
//! client address is ever written.

use super::lines::{append_lines, for_each_line};
use super::{Lock, Store, StoreError};
use crate::exchange::{MAX_WISHES, Wish};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

const FILE: &str = ".airlock/wishes/wishes.jsonl";
/// Bytes of increments beyond which the file is added up and written anew. All the wishes that are
/// kept are shorter.
const COMPACT_AT: u64 = 8 << 20;

/// One wish, or an increment to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedWish {
    /// Which.
    pub wish: Wish,
    /// First asked for.
    pub first: jiff::Timestamp,
    /// Last asked for.
    pub last: jiff::Timestamp,
    /// How often.
    pub count: u64,
}

impl Store {
    /// All wishes, the one asked for last first.
    pub fn wishes(&self) -> Result<Vec<RecordedWish>, StoreError> {
        let mut wishes = HashMap::<Wish, RecordedWish>::new();
        for_each_line(&self.root().join(FILE), |later: RecordedWish| {
            let known = wishes.entry(later.wish.clone()).or_insert(RecordedWish { count: 0, ..later.clone() });
            known.first = known.first.min(later.first);
            known.last = known.last.max(later.last);
            known.count = known.count.saturating_add(later.count);
        })?;
        let mut wishes: Vec<_> = wishes.into_values().collect();
        wishes.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.wish.cmp(&b.wish)));
        Ok(wishes)
    }

    /// Records wishes: all of them, or none if there is no room for those that are new.
    pub fn add_wishes(&self, wishes: &[Wish]) -> Result<(), StoreError> {
        let _lock = self.lock_wishes()?;
        let known = self.wishes()?;
        let distinct = known.iter().map(|known| &known.wish).chain(wishes).collect::<std::collections::HashSet<_>>();
        // What was asked for before may always be asked for again.
        if distinct.len() > MAX_WISHES.max(known.len()) {
            return Err(StoreError::TooManyWishes);
        }
        let now = jiff::Timestamp::now();
        let increment = |wish: &Wish| RecordedWish { wish: wish.clone(), first: now, last: now, count: 1 };
        let path = self.root().join(FILE);
        append_lines(&path, &wishes.iter().map(increment).collect::<Vec<_>>())?;
        crate::fault::point("wishes.appended");
        if fs::metadata(&path)?.len() > COMPACT_AT {
            self.replace_wishes(&self.wishes()?)?;
        }
        Ok(())
    }

    /// Forgets the wishes that `which` accepts, and says how many those were.
    pub fn remove_wishes(&self, which: impl Fn(&Wish) -> bool) -> Result<usize, StoreError> {
        let _lock = self.lock_wishes()?;
        let (gone, kept): (Vec<_>, Vec<_>) = self.wishes()?.into_iter().partition(|known| which(&known.wish));
        if !gone.is_empty() {
            self.replace_wishes(&kept)?;
        }
        Ok(gone.len())
    }

    fn lock_wishes(&self) -> Result<Lock, StoreError> {
        Ok(Lock::acquire(&self.root().join(".airlock/locks/wishes"))?)
    }

    fn replace_wishes(&self, wishes: &[RecordedWish]) -> Result<(), StoreError> {
        let mut lines = Vec::new();
        for wish in wishes {
            serde_json::to_writer(&mut lines, wish).map_err(std::io::Error::from)?;
            lines.push(b'\n');
        }
        self.replace(&self.root.join(FILE), &lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn wish(text: &str) -> Wish {
        text.parse().unwrap()
    }

    fn texts(store: &Store) -> Vec<(String, u64)> {
        let mut texts: Vec<_> = store.wishes().unwrap().iter().map(|it| (it.wish.to_string(), it.count)).collect();
        texts.sort_unstable();
        texts
    }

    #[test]
    fn wishes_add_up_and_go_and_a_cut_line_loses_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.add_wishes(&[wish("A"), wish("A@1"), wish("B")]).unwrap();
        let mut file = fs::OpenOptions::new().append(true).open(folder.path().join(FILE)).unwrap();
        file.write_all(b"{\"wish\":\"C").unwrap();
        store.add_wishes(&[wish("B")]).unwrap();
        assert_eq!(texts(&store), [("A".into(), 1), ("A@1".into(), 1), ("B".into(), 2)]);
        assert_eq!(store.wishes().unwrap()[0].wish, wish("B"), "the last first");
        assert_eq!(store.remove_wishes(|it| it.name == "A").unwrap(), 2);
        assert_eq!(texts(&store), [("B".into(), 2)], "what is left keeps its count");
        assert_eq!((store.remove_wishes(|_| true).unwrap(), store.remove_wishes(|_| true).unwrap()), (1, 0));
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let many: Vec<_> = (1..MAX_WISHES).map(|number| wish(&format!("A{number}"))).collect();
        store.add_wishes(&many).unwrap();
        assert!(matches!(store.add_wishes(&[wish("B"), wish("C")]), Err(StoreError::TooManyWishes)));
        store.add_wishes(&[wish("B"), wish("B")]).unwrap();
        store.add_wishes(&[wish("A1")]).unwrap();
        assert!(matches!(store.add_wishes(&[wish("C")]), Err(StoreError::TooManyWishes)));
        assert_eq!(store.wishes().unwrap().len(), MAX_WISHES);
    }
}
