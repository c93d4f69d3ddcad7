//! The version of the layout of `.airlock`: an older one is brought up to date step by step, a newer
//! one is refused with what to do.
//!
//! The file `format` has the version, a number, and `made-by` which airlock wrote that. What is in
//! the other files can be told by itself: a line that cannot be read is passed over (`lines.rs`), a
//! fact that does not fit costs a verification. So a number is only needed where an older airlock
//! would do harm, or a newer one would miss something.
//!
//! A cache without `format` is a new one, or came without it: none of our own files is needed to
//! serve what is here. One with an empty file was cut by a power failure when it was made.

use super::publish::sync_folder;
use super::usage::Usage;
use super::{StoreError, is_absent};
use fs_err as fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The layout that this version reads and writes.
pub const FORMAT: &str = "1";
const VERSION: u32 = 1;

/// From one layout to the next. Run on a cache that nobody else has open, and again from its
/// beginning if it was cut: what it did already must not harm it.
#[derive(Clone, Copy)]
struct Step {
    /// Where it starts from; it leads to the number after that.
    from: u32,
    /// What it does, for the log.
    what: &'static str,
    /// Gets `.airlock`.
    run: fn(&Path) -> io::Result<()>,
}

/// All there are: layout 1 is the first that was released.
const STEPS: &[Step] = &[];

/// Sees to it that `.airlock`, which is there, has the layout of this version. Before this nothing
/// else in it may be read or written.
pub(super) fn ensure(root: &Path, state: &Path) -> Result<(), StoreError> {
    bring_to(root, state, VERSION, STEPS)
}

fn bring_to(root: &Path, state: &Path, current: u32, steps: &[Step]) -> Result<(), StoreError> {
    let found = match read(root, state)? {
        None => return write(state, current),
        Some(found) if found == current => {
            // What a power cut left.
            for name in ["format", "made-by"] {
                let _ = fs::remove_file(new_of(&state.join(name)));
            }
            return Ok(());
        }
        Some(found) => found,
    };
    if found > current {
        let found = found.to_string();
        return Err(StoreError::Format { root: root.to_owned(), found, made_by: made_by(state) });
    }
    // Another process may be at work on it in the old layout, or be bringing it up to date just now.
    fs::create_dir_all(state.join("locks"))?;
    let _alone = Usage::alone(state)?;
    let mut at = read(root, state)?.unwrap_or(current);
    while at < current {
        let step = steps.iter().find(|step| step.from == at).ok_or_else(|| StoreError::Format {
            root: root.to_owned(),
            found: at.to_string(),
            made_by: made_by(state),
        })?;
        (step.run)(state)?;
        at += 1;
        write(state, at)?;
        tracing::info!(cache = %root.display(), "the cache has layout {at} now: {}", step.what);
    }
    Ok(())
}

/// `None` if nothing says it.
fn read(root: &Path, state: &Path) -> Result<Option<u32>, StoreError> {
    let text = match fs::read(state.join("format")) {
        Ok(text) => text,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let text = String::from_utf8_lossy(&text);
    // A file system that lost its last seconds leaves zeros where text should be.
    let text = text.trim_matches(|character: char| character.is_whitespace() || character == '\0');
    if text.is_empty() {
        return Ok(None);
    }
    let found = || text.chars().take(40).collect();
    let version = text.parse().map_err(|_| StoreError::Unformatted { root: root.to_owned(), found: found() })?;
    Ok(Some(version))
}

fn made_by(state: &Path) -> String {
    let text = fs::read_to_string(state.join("made-by")).unwrap_or_default();
    let text: String = text.trim().chars().filter(|character| !character.is_control()).take(60).collect();
    if text.is_empty() { "a later airlock".to_owned() } else { text }
}

/// Who made it first: `format` is what counts.
fn write(state: &Path, version: u32) -> Result<(), StoreError> {
    replace(&state.join("made-by"), concat!("airlock ", env!("CARGO_PKG_VERSION"), "\n"))?;
    Ok(replace(&state.join("format"), &format!("{version}\n"))?)
}

/// There is no session yet to stage it in. Two processes may do so at one time, with the same text, so it
/// does not matter whose file gets the name.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let new = new_of(file);
    let mut written = fs::File::create(&new)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    match fs::rename(&new, file) {
        Err(error) if !(is_absent(&error) && file.exists()) => return Err(error),
        _ => {}
    }
    file.parent().map_or(Ok(()), sync_folder)
}

fn new_of(file: &Path) -> PathBuf {
    file.with_extension("new")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Cache(tempfile::TempDir);

    impl Cache {
        fn new(format: Option<&str>) -> Self {
            let cache = Self(tempfile::tempdir().unwrap());
            fs::create_dir(cache.state()).unwrap();
            if let Some(format) = format {
                fs::write(cache.state().join("format"), format).unwrap();
            }
            cache
        }

        fn state(&self) -> PathBuf {
            self.0.path().join(".airlock")
        }

        fn bring(&self, current: u32, steps: &[Step]) -> Result<(), StoreError> {
            bring_to(self.0.path(), &self.state(), current, steps)
        }

        fn says(&self, file: &str) -> String {
            fs::read_to_string(self.state().join(file)).unwrap_or_default()
        }
    }

    fn log(state: &Path, line: &str) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(state.join("steps"))?;
        file.write_all(line.as_bytes())
    }

    const ONE: Step = Step { from: 1, what: "the first", run: |state| log(state, "1 ") };
    const TWO: Step = Step { from: 2, what: "the second", run: |state| log(state, "2 ") };
    const CUT: Step = Step {
        from: 2,
        what: "cut",
        run: |state| log(state, "cut ").and_then(|()| Err(io::ErrorKind::StorageFull.into())),
    };

    #[test]
    fn an_older_layout_goes_up_step_by_step_and_on_where_it_was_cut() {
        let cache = Cache::new(Some("1\n"));
        assert!(matches!(cache.bring(3, &[TWO, ONE][1..]), Err(StoreError::Format { .. })), "no step from 2");
        assert_eq!((cache.says("format"), cache.says("steps")), ("2\n".to_owned(), "1 ".to_owned()));
        assert!(cache.bring(3, &[ONE, CUT]).unwrap_err().is_full());
        assert_eq!(cache.says("format"), "2\n");
        cache.bring(3, &[ONE, TWO]).unwrap();
        cache.bring(3, &[ONE, TWO]).unwrap();
        assert_eq!((cache.says("format"), cache.says("steps")), ("3\n".to_owned(), "1 cut 2 ".to_owned()));
        assert_eq!(cache.says("made-by"), concat!("airlock ", env!("CARGO_PKG_VERSION"), "\n"));
    }

    #[test]
    fn while_somebody_uses_it_no_step_is_taken() {
        let cache = Cache::new(Some("1"));
        fs::create_dir(cache.state().join("locks")).unwrap();
        let _used = Usage::shared(&cache.state()).unwrap();
        assert!(matches!(cache.bring(2, &[ONE]), Err(StoreError::InUse)));
        assert_eq!(cache.says("steps"), "");
    }

    #[test]
    fn a_newer_layout_and_what_is_none_are_refused_with_what_to_do() {
        let cache = Cache::new(Some("7\n"));
        fs::write(cache.state().join("made-by"), "airlock 9.1\u{1b}\n").unwrap();
        let said = cache.bring(1, STEPS).unwrap_err().to_string();
        assert!(said.contains("layout 7") && said.contains("airlock 9.1") && !said.contains('\u{1b}'), "{said}");
        let said = Cache::new(Some("<html>")).bring(1, STEPS).unwrap_err().to_string();
        assert!(said.contains(".airlock/format") && said.contains("<html>"), "{said}");
    }

    #[test]
    fn a_cache_without_a_number_is_new() {
        for format in [None, Some(""), Some(" \n"), Some("\0\0"), Some("1\n"), Some("1")] {
            let cache = Cache::new(format);
            cache.bring(1, STEPS).unwrap();
            assert_eq!(cache.says("format").trim(), "1", "{format:?}");
        }
    }

    #[test]
    fn the_steps_lead_to_this_version_without_a_gap() {
        let from: Vec<_> = STEPS.iter().map(|step| step.from).collect();
        assert_eq!(from, (1..VERSION).collect::<Vec<_>>());
        assert_eq!(VERSION.to_string(), FORMAT);
    }
}
