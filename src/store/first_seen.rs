//! When this cache first saw each version in a registry, on this machine's own clock.
//!
//! One append-only text for each registry, `.airlock/first-seen/<uuid>`: a line is a time, the uuid
//! of a package and the trees of the versions that were new then. A line `baseline <time>` says that
//! all before it is old enough whatever its time. Lines are never in the past of earlier ones: a
//! clock that goes backwards must not make anything older than it is. A line that cannot be read
//! costs that line: what it named is seen anew, and is younger for it.

use super::lines::{append_text, whole_lines};
use super::{Lock, Store, StoreError, is_absent};
use crate::protocol::{TreeHash, Uuid};
use fs_err as fs;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::io::BufReader;
use std::path::PathBuf;

/// Its folder.
pub(super) const FOLDER: &str = ".airlock/first-seen";
const BASELINE: &str = "baseline";

/// When the versions of a registry were first seen here.
#[derive(Clone, Debug, Default)]
pub struct FirstSeen {
    versions: HashMap<(Uuid, TreeHash), u32>,
    packages: HashSet<Uuid>,
    /// The times, in the order of the lines.
    times: Vec<Timestamp>,
    /// Times before this one are before the last baseline.
    baseline: u32,
    /// Bytes of the file that was read.
    bytes: u64,
}

/// When a version was first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Then.
    pub since: Timestamp,
    /// Whether somebody said afterwards that it is old enough.
    pub is_baseline: bool,
}

impl FirstSeen {
    /// When a version was first seen, if it ever was.
    pub fn version(&self, package: Uuid, tree: TreeHash) -> Option<Seen> {
        let place = *self.versions.get(&(package, tree))?;
        let since = *self.times.get(usize::try_from(place).ok()?)?;
        Some(Seen { since, is_baseline: place < self.baseline })
    }

    /// Whether any version of a package was ever seen.
    pub fn has(&self, package: Uuid) -> bool {
        self.packages.contains(&package)
    }

    /// How many versions were seen.
    pub fn count(&self) -> usize {
        self.versions.len()
    }

    fn latest(&self) -> Option<Timestamp> {
        self.times.iter().copied().max()
    }

    fn time(&mut self, time: Timestamp) -> u32 {
        if self.times.last() != Some(&time) || self.next() == self.baseline {
            self.times.push(time);
        }
        self.next().saturating_sub(1)
    }

    /// The place of the next time.
    fn next(&self) -> u32 {
        u32::try_from(self.times.len()).unwrap_or(u32::MAX)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (first, rest) = line.split_once(' ')?;
        if first == BASELINE {
            self.baseline = self.next();
            return Some(());
        }
        let place = self.time(first.parse().ok()?);
        let mut words = rest.split(' ');
        let package: Uuid = words.next()?.parse().ok()?;
        self.packages.insert(package);
        for tree in words.filter_map(|word| word.parse().ok()) {
            self.versions.entry((package, tree)).or_insert(place);
        }
        Some(())
    }
}

impl Store {
    /// When the versions of a registry were first seen here.
    pub fn first_seen(&self, registry: Uuid) -> Result<FirstSeen, StoreError> {
        let mut seen = FirstSeen::default();
        let file = match fs::File::open(self.first_seen_file(registry)) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(seen),
            Err(error) => return Err(error.into()),
        };
        seen.bytes = file.metadata()?.len();
        for line in whole_lines(BufReader::with_capacity(1 << 20, file)) {
            // What it could not take in is seen anew.
            let _ = str::from_utf8(&line?).ok().and_then(|line| seen.line(line.trim_end()));
        }
        Ok(seen)
    }

    /// The registries of which any version was ever seen here.
    pub fn registries_seen(&self) -> Result<Vec<Uuid>, StoreError> {
        let mut uuids = Vec::new();
        for entry in fs::read_dir(self.root.join(FOLDER))? {
            uuids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<Uuid>().ok()));
        }
        Ok(uuids)
    }

    /// Whether nothing was written down since this was read.
    pub fn is_current(&self, registry: Uuid, seen: &FirstSeen) -> bool {
        fs::metadata(self.first_seen_file(registry)).map_or(0, |metadata| metadata.len()) == seen.bytes
    }

    /// Writes down those versions of a registry that were never seen before. The first ones of all
    /// count from when that registry was first published here, for that is when they were known.
    pub fn see(
        &self,
        registry: Uuid,
        versions: impl Iterator<Item = (Uuid, TreeHash)>,
        now: Timestamp,
    ) -> Result<FirstSeen, StoreError> {
        let _lock = Lock::acquire(&self.root.join(".airlock/locks/first-seen"))?;
        let mut seen = self.first_seen(registry)?;
        let mut new = BTreeMap::<Uuid, Vec<TreeHash>>::new();
        for (package, tree) in versions.filter(|version| !seen.versions.contains_key(version)) {
            new.entry(package).or_default().push(tree);
        }
        if new.is_empty() {
            return Ok(seen);
        }
        let time = if let Some(latest) = seen.latest() {
            latest.max(now)
        } else {
            let log = self.generations()?.into_iter().filter(|entry| entry.uuid == registry);
            log.map(|entry| entry.time).min().unwrap_or(now)
        };
        let time = Timestamp::from_second(time.as_second()).unwrap_or(time);
        let place = seen.time(time);
        let mut text = String::new();
        for (package, trees) in new {
            let _ = write!(text, "{time} {package}");
            seen.packages.insert(package);
            for tree in trees {
                if seen.versions.insert((package, tree), place).is_none() {
                    let _ = write!(text, " {tree}");
                }
            }
            text.push('\n');
        }
        append_text(&self.first_seen_file(registry), &text)?;
        seen.bytes = fs::metadata(self.first_seen_file(registry))?.len();
        Ok(seen)
    }

    /// Says that all that was seen of a registry until now is old enough. Returns how many versions
    /// that are.
    pub fn baseline(&self, registry: Uuid, now: Timestamp) -> Result<usize, StoreError> {
        let _lock = Lock::acquire(&self.root.join(".airlock/locks/first-seen"))?;
        let count = self.first_seen(registry)?.count();
        if count > 0 {
            append_text(&self.first_seen_file(registry), &format!("{BASELINE} {now:.0}\n"))?;
        }
        Ok(count)
    }

    fn first_seen_file(&self, registry: Uuid) -> PathBuf {
        self.root.join(FOLDER).join(registry.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Flavor, GENERAL};
    use crate::store::Generation;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn version(digit: u8) -> (Uuid, TreeHash) {
        (GENERAL, TreeHash::from_bytes([digit; 20]))
    }

    struct Cache {
        store: Store,
        folder: tempfile::TempDir,
    }

    impl Cache {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Self { store: Store::open(folder.path()).unwrap(), folder }
        }

        fn see(&self, digits: &[u8], now: i64) {
            self.store.see(GENERAL, digits.iter().map(|digit| version(*digit)), at(now)).unwrap();
        }

        /// The seconds since which versions are known, `None` for never.
        fn since(&self, digits: &[u8]) -> Vec<Option<i64>> {
            let seen = self.store.first_seen(GENERAL).unwrap();
            let since = |digit: &u8| seen.version(GENERAL, version(*digit).1).map(|seen| seen.since.as_second());
            digits.iter().map(since).collect()
        }
    }

    #[test]
    fn a_version_is_as_old_as_its_first_day_and_no_clock_makes_it_older() {
        let cache = Cache::new();
        cache.see(&[1, 1, 2], 100);
        cache.see(&[1, 2, 3], 200);
        cache.see(&[4], 50);
        cache.see(&[5], 300);
        assert_eq!(cache.since(&[1, 2, 3, 4, 5, 6]), [Some(100), Some(100), Some(200), Some(200), Some(300), None]);
        let text = fs::read_to_string(cache.folder.path().join(FOLDER).join(GENERAL.to_string())).unwrap();
        assert_eq!(text.lines().count(), 4, "{text}");
    }

    #[test]
    fn what_an_older_cache_has_counts_from_when_its_registry_was_first_published() {
        let cache = Cache::new();
        for time in [70, 30, 90] {
            let (flavor, tree) = (Flavor::Eager, version(9).1);
            let entry = Generation { time: at(time), flavor, uuid: GENERAL, tree, source: "s".into() };
            cache.store.append_generation(&entry).unwrap();
        }
        cache.see(&[1], 500);
        cache.see(&[2], 600);
        assert_eq!(cache.since(&[1, 2]), [Some(30), Some(600)]);
    }

    #[test]
    fn a_baseline_is_about_what_came_before_it() {
        let cache = Cache::new();
        assert_eq!(cache.store.baseline(GENERAL, at(1)).unwrap(), 0);
        cache.see(&[1], 100);
        assert_eq!(cache.store.baseline(GENERAL, at(100)).unwrap(), 1);
        cache.see(&[2], 100);
        let seen = cache.store.first_seen(GENERAL).unwrap();
        let is_baseline = |digit| seen.version(GENERAL, version(digit).1).map(|seen| seen.is_baseline);
        assert_eq!((is_baseline(1), is_baseline(2)), (Some(true), Some(false)));
        assert_eq!(cache.since(&[1, 2]), [Some(100), Some(100)]);
    }

    #[test]
    fn a_line_that_was_cut_short_or_mangled_costs_only_itself() {
        let cache = Cache::new();
        cache.see(&[1], 100);
        let file = cache.folder.path().join(FOLDER).join(GENERAL.to_string());
        let mut text = fs::read(&file).unwrap();
        text.extend_from_slice(
            b"nonsense\n\xff\xfe x\n1970-01-01T00:00:00Z not-a-uuid\n1970-01-01T00:00:07Z 7876af07-9",
        );
        fs::write(&file, text).unwrap();
        cache.see(&[1, 2], 200);
        assert_eq!(cache.since(&[1, 2]), [Some(100), Some(200)]);
    }
}
