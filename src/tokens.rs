//! The file of tokens: read, changed by one process at a time, and followed by a server while it runs.
//!
//! It is a small JSON file that only its owner may read, by default in `.airlock/`, which never crosses the gap.
//! There are only hashes in it (`access/token.rs`). Everything here blocks.

use crate::access::{Label, Scope, Token, TokenList, TokenListError};
use crate::config::Secret;
use crate::store::Stamp;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use jiff::Timestamp;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Longest file that is read, in bytes: about ten thousand tokens.
const MAX_FILE: u64 = 4 << 20;
/// A file that was written to so short a time before it was read may change once more without looking
/// different, in nanoseconds: file systems have coarse clocks.
const RACY: i128 = 2_000_000_000;

/// The file of tokens.
#[derive(Clone, Debug)]
pub struct TokensFile(PathBuf);

/// Why the tokens cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file system said no. The error names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
    /// What is there is no list of tokens.
    #[error("{file}: {error}", file = file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        error: TokenListError,
    },
    /// What was asked for cannot be.
    #[error(transparent)]
    List(#[from] TokenListError),
}

impl TokensFile {
    /// At a path, where nothing need be yet.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// All tokens; none without a file.
    pub fn read(&self) -> Result<TokenList, TokensError> {
        read(&self.0).map(|(list, _)| list)
    }

    /// Makes a token. What is returned with it is shown once and kept nowhere.
    pub fn add(
        &self,
        label: Label,
        scopes: Vec<Scope>,
        expires: Option<Timestamp>,
    ) -> Result<(Token, Secret), TokensError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(TokensError::Random)?;
        let (token, secret) = Token::new(&random, label, scopes, Timestamp::now(), expires);
        self.change(|list| list.add(token.clone()))?;
        Ok((token, secret))
    }

    /// Takes the token with this id or label away; `None` if there is none.
    pub fn revoke(&self, which: &str) -> Result<Option<Arc<Token>>, TokensError> {
        if self.read()?.remove(which).is_none() {
            return Ok(None);
        }
        let mut gone = None;
        self.change(|list| {
            gone = list.remove(which);
            Ok(())
        })?;
        Ok(gone)
    }

    /// Reads, changes and writes the list while nobody else does. What cannot be read is not overwritten.
    fn change(&self, change: impl FnOnce(&mut TokenList) -> Result<(), TokenListError>) -> Result<(), TokensError> {
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let lock = self.0.with_extension("lock");
        // Left where it is: somebody may wait for it.
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock)?;
        lock.file().lock()?;
        let mut list = self.read()?;
        change(&mut list)?;
        // For its owner alone, as all files of `tempfile` are.
        let mut new = tempfile::Builder::new().prefix(".tokens-").tempfile_in(folder)?;
        new.write_all(&list.to_json())?;
        new.as_file().sync_all()?;
        new.persist(&self.0).map_err(|error| error.error)?;
        fs::File::open(folder)?.sync_all()?;
        Ok(())
    }
}

/// The list, and how its file looked; without a file it is empty.
fn read(path: &Path) -> Result<(TokenList, Option<Stamp>), TokensError> {
    // A pipe would keep its reader waiting for ever.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((TokenList::default(), None)),
        file => file?,
    };
    let stamp = Stamp::of(&file.metadata()?);
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    let list = TokenList::parse(&bytes).map_err(|error| TokensError::Broken { file: path.to_owned(), error })?;
    Ok((list, Some(stamp)))
}

/// The tokens of a server: those of the file as it is now.
#[derive(Debug, Default)]
pub struct LiveTokens(Mutex<Option<Seen>>);

/// The file as it was read last.
#[derive(Debug)]
struct Seen {
    path: PathBuf,
    /// How it looked; `None` where it must be read again whatever it looks like.
    stamp: Option<Stamp>,
    list: Arc<TokenList>,
    /// What was said of it, which need not be said again.
    complaint: Option<String>,
}

impl LiveTokens {
    /// The tokens in the file as it is now. A file that cannot be read, or is no list, changes nothing and
    /// is complained about; of a file that was never good nobody has a token. A file that is gone has
    /// none either.
    pub fn now(&self, path: &Path) -> Arc<TokenList> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
        if let Some(seen) =
            seen.as_ref().filter(|seen| seen.path == path && seen.stamp.is_some() && seen.stamp == stamp)
        {
            return Arc::clone(&seen.list);
        }
        let before = seen.take().filter(|seen| seen.path == path);
        let new = match read(path) {
            Ok((list, stamp)) => {
                if before.as_ref().is_some_and(|before| before.complaint.is_some()) {
                    tracing::info!(file = %path.display(), "the tokens can be read again");
                }
                let stamp = stamp.filter(is_settled);
                Seen { path: path.to_owned(), stamp, list: Arc::new(list), complaint: None }
            }
            Err(error) => {
                let complaint = error.to_string();
                if before.as_ref().and_then(|before| before.complaint.as_ref()) != Some(&complaint) {
                    let kept = if before.is_some() { "those of before stay" } else { "nobody has one" };
                    tracing::error!("the tokens cannot be read, {kept}: {complaint}");
                }
                let list = before.map(|before| before.list).unwrap_or_default();
                Seen { path: path.to_owned(), stamp: None, list, complaint: Some(complaint) }
            }
        };
        Arc::clone(&seen.insert(new).list)
    }
}

fn is_settled(stamp: &Stamp) -> bool {
    let changed = stamp.mtime.max(stamp.ctime);
    Timestamp::now().as_nanosecond() - i128::from(changed) > RACY
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn label(text: &str) -> Label {
        text.parse().unwrap()
    }

    fn labels(list: &TokenList) -> Vec<String> {
        list.iter().map(|token| token.label.to_string()).collect()
    }

    #[test]
    fn many_who_change_it_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokensFile::new(folder.path().join("below/tokens.json"));
        std::thread::scope(|scope| {
            for number in 0..16 {
                let file = &file;
                scope.spawn(move || file.add(label(&format!("t{number}")), vec![Scope::All], None).unwrap());
            }
        });
        assert_eq!(file.read().unwrap().iter().count(), 16);
        std::thread::scope(|scope| {
            for number in 0..8 {
                let file = &file;
                scope.spawn(move || file.revoke(&format!("t{number}")).unwrap().unwrap());
            }
        });
        assert_eq!(file.read().unwrap().iter().count(), 8);
        assert_eq!(file.revoke("t0").unwrap(), None);
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path().join("below")).unwrap().count(), 2, "the file and its lock");
    }

    #[test]
    fn what_changed_counts_at_once_and_what_is_broken_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokensFile::new(folder.path().join("tokens.json"));
        let live = LiveTokens::default();
        assert_eq!(labels(&live.now(file.path())), [""; 0]);
        for number in 0..10 {
            file.add(label(&format!("t{number}")), vec![Scope::All], None).unwrap();
            assert_eq!(live.now(file.path()).iter().count(), number + 1);
        }
        let good = fs::read(file.path()).unwrap();
        for broken in [&good[..good.len() / 2], b"", b"{}", b"\xff"] {
            fs::write(file.path(), broken).unwrap();
            assert_eq!(live.now(file.path()).iter().count(), 10, "those of before stay");
            assert!(file.add(label("new"), vec![Scope::All], None).is_err());
            assert_eq!(fs::read(file.path()).unwrap(), broken, "what cannot be read is not overwritten");
            assert_eq!(LiveTokens::default().now(file.path()).iter().count(), 0);
        }
        fs::write(file.path(), &good).unwrap();
        file.revoke("t3").unwrap();
        assert!(!labels(&live.now(file.path())).contains(&"t3".to_owned()));
        let other = TokensFile::new(folder.path().join("other.json"));
        other.add(label("elsewhere"), vec![Scope::All], None).unwrap();
        assert_eq!(labels(&live.now(other.path())), ["elsewhere"], "a reload may name another file");
        fs::remove_file(other.path()).unwrap();
        assert_eq!(labels(&live.now(other.path())), [""; 0]);
    }

    #[test]
    fn a_file_that_was_read_long_after_it_was_written_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokensFile::new(folder.path().join("tokens.json"));
        file.add(label("one"), vec![Scope::All], None).unwrap();
        let stamp = Stamp::of(&fs::metadata(file.path()).unwrap());
        assert!(!is_settled(&stamp), "it may change again within one tick");
        let old = 3_000_000_000;
        assert!(is_settled(&Stamp { mtime: stamp.mtime - old, ctime: stamp.ctime - old, ..stamp }));
        let live = LiveTokens::default();
        let first = live.now(file.path());
        let mut seen = live.0.lock().unwrap();
        seen.as_mut().unwrap().stamp = Some(stamp);
        drop(seen);
        assert!(Arc::ptr_eq(&first, &live.now(file.path())));
    }
}
