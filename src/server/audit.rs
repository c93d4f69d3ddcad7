//! The audit log: who fetched what, when, from where. Off unless an admin turns it on.
//!
//! One line of JSON for each request for a resource, in a file for each day (UTC), in a folder that
//! only this user can read. A thread of its own writes them. No answer ever waits for it: when it
//! cannot keep up, or the disk is full, lines are lost, and that is said and counted.

use crate::config;
use crate::protocol::{RequestId, Resource};
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::fmt;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The folder, if nobody names another.
const FOLDER: &str = ".airlock/audit";
/// Lines that may wait to be written.
const QUEUE: usize = 8192;
/// Lines that are written at once.
const BATCH: usize = 512;
/// How often it is said that lines are being lost.
const COMPLAINT: Duration = Duration::from_mins(1);
/// A day that is this many days after the last file of the log is taken for a clock that jumped.
const JUMP: i32 = 7;
/// How long the end of the server waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(5);

/// One line. Every key is always there, `null` where nothing is known.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Entry {
    /// When the answer ended.
    pub(super) time: jiff::Timestamp,
    /// As in the log.
    pub(super) id: RequestId,
    pub(super) client: Option<IpAddr>,
    pub(super) token: Option<String>,
    pub(super) method: String,
    pub(super) resource: Resource,
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) status: u16,
    /// `hit`, `fetched` or `miss`.
    pub(super) cache: &'static str,
    /// Bytes of the body that were sent.
    pub(super) bytes: u64,
    /// Whether those were all that were promised.
    pub(super) whole: bool,
}

/// The way into the log.
#[derive(Debug)]
pub(super) struct Audit {
    queue: SyncSender<Message>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
enum Message {
    Line(Box<Entry>),
    /// Answered when all that came before was written, or lost.
    Flush(oneshot::Sender<()>),
}

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
    complained: Mutex<Option<Instant>>,
}

impl Audit {
    /// Starts the log of a server; `None` if there is to be none.
    pub(super) fn start(config: &config::Audit, cache: &Path) -> Option<Self> {
        let folder = || config.folder.clone().unwrap_or_else(|| cache.join(FOLDER));
        config.enabled.then(|| Self::write_to(Log { folder: folder(), keep_days: config.keep_days, day: None }, QUEUE))
    }

    fn write_to(mut log: Log, lines: usize) -> Self {
        let counts = Arc::new(Counts::default());
        let (queue, messages) = sync_channel(lines);
        let of_thread = Arc::clone(&counts);
        let started = std::thread::Builder::new().name("audit".into()).spawn(move || log.write(&messages, &of_thread));
        if let Err(error) = started {
            // Every line is lost then, and that is said.
            tracing::error!("the audit log cannot be written: {error}");
        }
        Self { queue, counts }
    }

    /// Writes a line, soon. Never waits.
    pub(super) fn record(&self, entry: Entry) {
        if self.queue.try_send(Message::Line(Box::new(entry))).is_err() {
            self.counts.lost(1, &"more came than could be written");
        }
    }

    /// Waits until everything was written that was recorded before, but not forever.
    pub(super) async fn flush(&self) {
        let (sender, done) = oneshot::channel();
        let queue = self.queue.clone();
        let flushed = async {
            let sent = tokio::task::spawn_blocking(move || queue.send(Message::Flush(sender))).await;
            if let Ok(Ok(())) = sent {
                let _ = done.await;
            }
        };
        if tokio::time::timeout(LAST_LINES, flushed).await.is_err() {
            tracing::error!("the last lines of the audit log could not be written in time");
        }
    }

    pub(super) fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }
}

impl Counts {
    fn lost(&self, lines: u64, why: &dyn fmt::Display) {
        let lost = self.dropped.fetch_add(lines, Ordering::Relaxed) + lines;
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|last| last.elapsed() >= COMPLAINT) {
            *complained = Some(Instant::now());
            tracing::error!(lost, "lines of the audit log are being lost: {why}");
        }
    }
}

/// The files.
#[derive(Debug)]
struct Log {
    folder: PathBuf,
    keep_days: u32,
    /// The day of the last line.
    day: Option<Date>,
}

impl Log {
    fn write(&mut self, messages: &Receiver<Message>, counts: &Counts) {
        while let Ok(first) = messages.recv() {
            let rest = messages.try_iter().take(BATCH - 1);
            let (mut lines, mut waiting) = (Vec::new(), Vec::new());
            for message in std::iter::once(first).chain(rest) {
                match message {
                    Message::Line(entry) => lines.push(*entry),
                    Message::Flush(done) => waiting.push(done),
                }
            }
            for of_a_day in lines.chunk_by(|one, next| day_of(one) == day_of(next)) {
                match self.append(of_a_day) {
                    Ok(()) => _ = counts.written.fetch_add(of_a_day.len() as u64, Ordering::Relaxed),
                    Err(error) => counts.lost(of_a_day.len() as u64, &error),
                }
            }
            for done in waiting {
                let _ = done.send(());
            }
        }
    }

    /// Opened anew each time: somebody may move the files away.
    fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let Some(day) = entries.first().map(day_of) else { return Ok(()) };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        if self.day != Some(day) {
            // What cannot be removed must not keep a line from being written.
            if let Err(error) = self.remove_old(day) {
                tracing::warn!("old files of the audit log cannot be removed: {error}");
            }
            self.day = Some(day);
        }
        let mut file =
            fs::OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(self.path_of(day))?;
        let mut text = Vec::new();
        // A line that a full disk or a crash cut short must not swallow the next.
        let (length, mut last) = (file.metadata()?.len(), [b'\n']);
        if length > 0 {
            file.file().read_exact_at(&mut last, length - 1)?;
        }
        if last != *b"\n" {
            text.push(b'\n');
        }
        for entry in entries {
            serde_json::to_writer(&mut text, entry)?;
            text.push(b'\n');
        }
        file.write_all(&text)
    }

    fn path_of(&self, day: Date) -> PathBuf {
        self.folder.join(format!("{day}.jsonl"))
    }

    /// Removes what has been kept for long enough. If the day is long after the last line, the clock may
    /// have jumped, and what would be removed now could not be brought back: then nothing is, until the
    /// next day begins.
    fn remove_old(&self, today: Date) -> io::Result<()> {
        let mut days = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let day = name.to_str().and_then(|name| name.strip_suffix(".jsonl")?.parse::<Date>().ok());
            days.extend(day.filter(|day| self.path_of(*day).file_name() == Some(&name)));
        }
        let since = |day: Date| today.since(day).map_or(0, |span| span.get_days());
        let Some(last) = days.iter().copied().filter(|day| *day != today).max() else { return Ok(()) };
        if since(last) > JUMP {
            tracing::warn!(last = %last, %today, "the audit log has a gap, or the clock jumped: nothing is removed from it today");
            return Ok(());
        }
        for day in days.into_iter().filter(|day| i64::from(since(*day)) > i64::from(self.keep_days)) {
            match fs::remove_file(self.path_of(day)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!("an old file of the audit log cannot be removed: {error}");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn day_of(entry: &Entry) -> Date {
    entry.time.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn entry(time: &str) -> Entry {
        Entry {
            time: time.parse().unwrap(),
            id: RequestId::from_number(1),
            client: Some("10.0.0.1".parse().unwrap()),
            token: None,
            method: "GET".to_owned(),
            resource: Resource::Artifact { tree: crate::protocol::TreeHash::EMPTY },
            name: None,
            version: None,
            status: 200,
            cache: "hit",
            bytes: 1,
            whole: true,
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn log(folder: &Path) -> Log {
        Log { folder: folder.join("audit"), keep_days: 2, day: None }
    }

    #[test]
    fn each_day_has_its_file_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path());
        let lines = |day: &str| fs::read_to_string(log_path(&folder, day)).unwrap().lines().count();
        for time in ["2030-01-01T23:59:59Z", "2030-01-02T00:00:00Z", "2030-01-02T12:00:00Z", "2030-01-03T00:00:00Z"] {
            log.append(&[entry(time)]).unwrap();
        }
        assert_eq!(["2030-01-01", "2030-01-02", "2030-01-03"].map(lines), [1, 2, 1]);
        fs::write(folder.path().join("audit/notes.jsonl"), "somebody's own").unwrap();
        log.append(&[entry("2030-01-04T00:00:00Z")]).unwrap();
        let left = ["2030-01-02.jsonl", "2030-01-03.jsonl", "2030-01-04.jsonl", "notes.jsonl"];
        assert_eq!(names(&folder.path().join("audit")), left);
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.path().join("audit")), 0o700);
        assert_eq!(mode(log_path(&folder, "2030-01-04")), 0o600);
    }

    fn log_path(folder: &tempfile::TempDir, day: &str) -> PathBuf {
        folder.path().join("audit").join(format!("{day}.jsonl"))
    }

    #[test]
    fn a_clock_that_jumps_removes_nothing_at_once_and_can_be_set_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path());
        for time in ["2030-01-01T00:00:00Z", "2035-06-01T00:00:00Z", "2030-01-01T01:00:00Z", "2030-01-02T00:00:00Z"] {
            log.append(&[entry(time)]).unwrap();
        }
        let all = ["2030-01-01.jsonl", "2030-01-02.jsonl", "2035-06-01.jsonl"];
        assert_eq!(names(&folder.path().join("audit")), all);
        // The server was off for a month: first a day passes.
        log.append(&[entry("2035-06-02T00:00:00Z")]).unwrap();
        assert_eq!(names(&folder.path().join("audit")), ["2035-06-01.jsonl", "2035-06-02.jsonl"]);
    }

    #[test]
    fn a_cut_line_loses_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = log(folder.path());
        log.append(&[entry("2030-01-01T00:00:00Z")]).unwrap();
        let path = log_path(&folder, "2030-01-01");
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"time\":").unwrap();
        log.append(&[entry("2030-01-01T00:00:01Z"), entry("2030-01-01T00:00:02Z")]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
        assert_eq!(text.lines().map(read).collect::<Vec<_>>(), [true, false, true, true]);
    }

    #[tokio::test]
    async fn lines_that_cannot_be_written_are_counted_and_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        // A file where the folder should be.
        fs::write(folder.path().join("audit"), "").unwrap();
        let audit = Audit::write_to(log(folder.path()), 8);
        audit.record(entry("2030-01-01T00:00:00Z"));
        audit.flush().await;
        assert_eq!((audit.written(), audit.dropped()), (0, 1));
        fs::remove_file(folder.path().join("audit")).unwrap();
        audit.record(entry("2030-01-01T00:00:00Z"));
        audit.flush().await;
        assert_eq!((audit.written(), audit.dropped()), (1, 1), "it goes on as soon as it can");
    }

    #[test]
    fn lines_for_which_there_is_no_room_are_counted_and_nobody_waits() {
        let (queue, messages) = sync_channel(1);
        let audit = Audit { queue, counts: Arc::default() };
        // Nobody takes them.
        (0..3).for_each(|_| audit.record(entry("2030-01-01T00:00:00Z")));
        assert_eq!(audit.dropped(), 2);
        drop(messages);
    }
}
