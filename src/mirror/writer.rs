//! The staged file of a flight and what waits to be written to it.

use super::flight::Flight;
use crate::store::Staged;
use bytes::Bytes;
use std::io;
use tokio::task::JoinHandle;

/// The staged file and what waits to be written to it. While one write is under way on a blocking
/// thread, the next chunks gather.
pub(super) struct Writer {
    idle: Option<Staged>,
    busy: Option<JoinHandle<io::Result<(Staged, u64)>>>,
    queue: Vec<Bytes>,
    pub(super) queued: usize,
}

impl Writer {
    pub(super) fn new(staged: Staged) -> Self {
        Self { idle: Some(staged), busy: None, queue: Vec::new(), queued: 0 }
    }

    pub(super) fn push(&mut self, chunk: Bytes) {
        self.queued += chunk.len();
        self.queue.push(chunk);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.busy.is_none() && self.queue.is_empty()
    }

    /// Starts to write what has gathered, unless a write is under way.
    pub(super) fn begin(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let Some(mut staged) = self.idle.take() else { return };
        let chunks = std::mem::take(&mut self.queue);
        let bytes = std::mem::take(&mut self.queued) as u64;
        self.busy = Some(tokio::task::spawn_blocking(move || {
            chunks.iter().try_for_each(|chunk| staged.write_all(chunk))?;
            Ok((staged, bytes))
        }));
    }

    /// Waits for the write under way; cancel-safe.
    pub(super) async fn written(&mut self) -> io::Result<u64> {
        let Some(busy) = &mut self.busy else { return Ok(0) };
        let (staged, bytes) = busy.await.map_err(io::Error::other)??;
        self.busy = None;
        self.idle = Some(staged);
        Ok(bytes)
    }

    /// Writes everything that has gathered.
    pub(super) async fn settle(&mut self, flight: &Flight) -> io::Result<()> {
        self.begin();
        while self.is_busy() {
            flight.advance(self.written().await?);
            self.begin();
        }
        Ok(())
    }

    pub(super) fn into_staged(self) -> io::Result<Staged> {
        self.idle.ok_or_else(|| io::Error::other("a write is still under way"))
    }
}
