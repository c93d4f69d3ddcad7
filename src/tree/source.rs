//! The unpacked bytes as the tar reader sees them: inflated in place at first, on a second thread
//! once the tarball proves large.
//!
//! Most packages unpack to less than [`INLINE`] and would pay more for a thread than it saves.

use std::mem;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{Builder, Scope};

use super::TreeError;
use super::inflate::{Chunk, Inflater};

/// Unpacked bytes after which inflating moves to its own thread.
const INLINE: u64 = 1 << 20;
/// Chunks under way between the two threads.
const QUEUE: usize = 8;

/// A stream of unpacked bytes.
pub(super) struct Source<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    feed: Feed<'env>,
    chunk: Chunk,
    /// Read position in `chunk`.
    at: usize,
    /// Unpacked bytes consumed so far.
    offset: u64,
}

enum Feed<'env> {
    Inline(Box<Inflater<'env>>),
    Thread { full: Receiver<Result<Chunk, TreeError>>, empty: SyncSender<Chunk> },
    Ended,
}

impl<'scope, 'env> Source<'scope, 'env> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, inflater: Inflater<'env>) -> Self {
        Self { scope, feed: Feed::Inline(Box::new(inflater)), chunk: Chunk::new(), at: 0, offset: 0 }
    }

    /// Unpacked bytes consumed so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes, at most `most`; empty only at the end of a whole gzip stream.
    pub(super) fn next(&mut self, most: u64) -> Result<&[u8], TreeError> {
        if self.at >= self.chunk.bytes().len() {
            self.refill()?;
        }
        let rest = self.chunk.bytes().len().saturating_sub(self.at);
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(rest);
        let start = self.at;
        self.at += count;
        self.offset = self.offset.saturating_add(count as u64);
        Ok(self.chunk.bytes().get(start..start + count).unwrap_or_default())
    }

    /// Feeds exactly `size` bytes to `sink`, piece by piece.
    pub(super) fn read(&mut self, size: u64, mut sink: impl FnMut(&[u8])) -> Result<(), TreeError> {
        let mut left = size;
        while left > 0 {
            let bytes = self.next(left)?;
            if bytes.is_empty() {
                return Err(TreeError::Cut { offset: self.offset });
            }
            left -= bytes.len() as u64;
            sink(bytes);
        }
        Ok(())
    }

    fn refill(&mut self) -> Result<(), TreeError> {
        self.at = 0;
        match mem::replace(&mut self.feed, Feed::Ended) {
            Feed::Inline(mut inflater) => {
                inflater.fill(&mut self.chunk)?;
                self.feed = if inflater.unpacked() < INLINE { Feed::Inline(inflater) } else { self.spawn(inflater)? };
            }
            Feed::Thread { full, empty } => {
                // A pump that ended without an error has sent its last, short chunk.
                let next = full.recv().unwrap_or_else(|_| Ok(Chunk::empty()))?;
                let used = mem::replace(&mut self.chunk, next);
                let _ = empty.try_send(used);
                self.feed = Feed::Thread { full, empty };
            }
            Feed::Ended => self.chunk = Chunk::empty(),
        }
        Ok(())
    }

    fn spawn(&self, mut inflater: Box<Inflater<'env>>) -> Result<Feed<'env>, TreeError> {
        let (full_sender, full) = sync_channel(QUEUE);
        let (empty, empty_receiver) = sync_channel(QUEUE + 2);
        Builder::new()
            .name("inflate".into())
            .spawn_scoped(self.scope, move || pump(&mut inflater, &full_sender, &empty_receiver))
            .map_err(TreeError::Read)?;
        Ok(Feed::Thread { full, empty })
    }
}

/// Inflates until the end, an error, or the parser's leaving.
fn pump(inflater: &mut Inflater<'_>, full: &SyncSender<Result<Chunk, TreeError>>, empty: &Receiver<Chunk>) {
    loop {
        let mut chunk = match empty.try_recv() {
            Ok(chunk) if chunk.has_room() => chunk,
            Ok(_) | Err(TryRecvError::Empty) => Chunk::new(),
            Err(TryRecvError::Disconnected) => return,
        };
        let filled = inflater.fill(&mut chunk);
        let last = filled.is_err() || !chunk.is_full();
        if full.send(filled.map(|()| chunk)).is_err() || last {
            return;
        }
    }
}
