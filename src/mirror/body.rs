//! Bodies on their way out, as streams of large chunks.
//!
//! What the page cache has is read at once: to hand it to another thread would cost more than the
//! copy. What must come from the disk is read on a blocking thread, the next chunk while the one
//! before it is being sent. A client costs the memory of three chunks, however large the resource,
//! and they are used over and over: fresh memory would be cleared twice, by the kernel and here.

use super::Mutex;
use super::flight::{Flight, HOLD_BACK, Landed, State, TRICKLE_AFTER};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::sync::watch;

/// Bytes read at once.
const CHUNK: u64 = 128 << 10;
/// Bytes that trickle out at once while everything else is held.
const TRICKLE: u64 = 1 << 10;

/// A part of a verified file.
pub fn read(file: Arc<File>, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let starts =
        stream::iter((0..(range.end - range.start).div_ceil(CHUNK)).map(move |index| range.start + index * CHUNK));
    let buffers = Buffers::default();
    starts.map(move |start| read_at(buffers.take(), Arc::clone(&file), start..range.end.min(start + CHUNK))).buffered(2)
}

/// A flight from its first byte; ends with an error when the flight fails, so that the connection
/// is closed short and no client ever completes a wrong body.
pub(super) fn follow(flight: &Flight) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let state = flight.subscribe();
    let file = state.borrow().file.clone();
    let buffers = Buffers::default();
    stream::try_unfold((state, file, 0), move |(mut state, file, at)| {
        let buffers = buffers.clone();
        async move {
            let file = file.ok_or_else(cut)?;
            let Some(until) = next(&mut state, &file, at).await? else { return Ok(None) };
            let bytes = read_at(buffers.take(), Arc::clone(&file), at..until).await?;
            Ok(Some((bytes, (state, Some(file), until))))
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

async fn read_at(mut buffer: Buffer, file: Arc<File>, range: Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    buffer.bytes.resize(length, 0);
    let cached = read_cached(&file, &mut buffer.bytes, range.start);
    if cached < length {
        buffer = super::blocking(move || {
            let rest = buffer.bytes.get_mut(cached..).unwrap_or_default();
            file.read_exact_at(rest, range.start + cached as u64).map(|()| buffer)
        })
        .await??;
    }
    Ok(Bytes::from_owner(buffer))
}

/// Reads what the page cache has, without ever waiting for a disk. Returns how much that is; 0
/// also where the kernel or the file system cannot tell.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, bytes: &mut [u8], at: u64) -> usize {
    use rustix::io::{ReadWriteFlags, preadv2};
    preadv2(file, &mut [io::IoSliceMut::new(bytes)], at, ReadWriteFlags::NOWAIT).unwrap_or(0)
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_: &File, _: &mut [u8], _: u64) -> usize {
    0
}

/// The buffers of one client that are not on their way out.
#[derive(Clone, Debug, Default)]
struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer that goes back when its bytes have been sent.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    home: Buffers,
}

impl Buffers {
    fn take(&self) -> Buffer {
        let bytes = super::lock(&self.0).pop().unwrap_or_default();
        Buffer { bytes, home: self.clone() }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        super::lock(&self.home.0).push(std::mem::take(&mut self.bytes));
    }
}
