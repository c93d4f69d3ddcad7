//! Bodies on their way out, as streams of large chunks.
//!
//! A chunk is read ahead while the one before it is being sent. Two chunks per client are all the
//! memory that a client costs, however large the resource.

use super::flight::{Flight, HOLD_BACK, Landed, State, TRICKLE_AFTER};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::sync::watch;

/// Bytes read at once.
const CHUNK: u64 = 256 << 10;
/// Bytes that trickle out at once while everything else is held.
const TRICKLE: u64 = 1 << 10;

/// A part of a verified file.
pub fn read(file: Arc<File>, range: std::ops::Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let starts =
        stream::iter((0..(range.end - range.start).div_ceil(CHUNK)).map(move |index| range.start + index * CHUNK));
    starts.map(move |start| read_at(Arc::clone(&file), start, range.end.min(start + CHUNK))).buffered(2)
}

/// A flight from its first byte; ends with an error when the flight fails, so that the connection
/// is closed short and no client ever completes a wrong body.
pub(super) fn follow(flight: &Flight) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let state = flight.subscribe();
    let file = state.borrow().file.clone();
    stream::try_unfold((state, file, 0), |(mut state, file, at)| async move {
        let file = file.ok_or_else(cut)?;
        match next(&mut state, &file, at).await? {
            Some(until) => {
                let bytes = read_at(Arc::clone(&file), at, until).await?;
                let at = at + bytes.len() as u64;
                Ok(Some((bytes, (state, Some(file), at))))
            }
            None => Ok(None),
        }
    })
}

/// Waits for bytes after `at` and says up to where; `None` at the end of a verified resource. What
/// landed must be the very file that is being followed.
async fn next(state: &mut watch::Receiver<State>, file: &Arc<File>, at: u64) -> io::Result<Option<u64>> {
    let mut trickle = false;
    loop {
        let released = {
            let now = state.borrow_and_update();
            match &now.outcome {
                Some(Ok(landed)) if !Arc::ptr_eq(&landed.file, file) => return Err(cut()),
                Some(Ok(Landed { size, .. })) if at >= *size => return Ok(None),
                Some(Ok(Landed { size, .. })) => *size,
                Some(Err(refusal)) => return Err(io::Error::other(refusal.to_string())),
                None if trickle => now.written.saturating_sub(1).min(at + TRICKLE),
                None => now.written.saturating_sub(HOLD_BACK),
            }
        };
        if released > at {
            return Ok(Some(released.min(at + CHUNK)));
        }
        tokio::select! {
            changed = state.changed() => changed.map_err(|_| cut())?,
            () = tokio::time::sleep(TRICKLE_AFTER) => trickle = true,
        }
    }
}

fn cut() -> io::Error {
    io::Error::other("the download was given up")
}

async fn read_at(file: Arc<File>, start: u64, end: u64) -> io::Result<Bytes> {
    super::blocking(move || {
        let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, start)?;
        Ok(Bytes::from(bytes))
    })
    .await?
}
