//! Progress on long work: a bar on a terminal, a line now and then elsewhere.

use super::say;
use super::table::bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The progress of one command, on standard error.
pub(super) struct Bar {
    drawn: ProgressBar,
    what: &'static str,
    bytes: AtomicU64,
    started: Instant,
    /// Seconds after the start at which the last line was written.
    last_line: AtomicU64,
}

impl Bar {
    pub(super) fn new(total: u64, what: &'static str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let drawn = ProgressBar::with_draw_target(Some(total), target);
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {msg}") {
            drawn.set_style(style.progress_chars("=> "));
        }
        drawn.set_prefix(what);
        Self { drawn, what, bytes: AtomicU64::new(0), started: Instant::now(), last_line: AtomicU64::new(0) }
    }

    /// So many there are by now.
    pub(super) fn set_total(&self, total: u64) {
        self.drawn.set_length(total);
    }

    /// A new stretch of work, so many steps long.
    pub(super) fn restart(&self, total: u64, text: &'static str) {
        self.bytes.store(0, Ordering::Relaxed);
        self.drawn.reset();
        self.drawn.set_length(total);
        self.drawn.set_message(text);
    }

    /// What is being done.
    pub(super) fn message(&self, text: &'static str) {
        self.drawn.set_message(text);
    }

    /// One more is done.
    pub(super) fn step(&self, name: &str, count: u64) {
        let sum = self.bytes.fetch_add(count, Ordering::Relaxed) + count;
        self.drawn.inc(1);
        self.drawn.set_message(format!("{} {name}", bytes(sum)));
        let (now, last) = (self.started.elapsed().as_secs(), self.last_line.load(Ordering::Relaxed));
        if self.drawn.is_hidden() && now >= last + LINE_EVERY.as_secs() {
            self.last_line.store(now, Ordering::Relaxed);
            let total = self.drawn.length().unwrap_or_default();
            say(&format!("{}: {} of {total}, {}", self.what, self.drawn.position(), bytes(sum)));
        }
    }

    pub(super) fn finish(&self) {
        self.drawn.finish_and_clear();
    }
}
