//! One registry tarball, hashed while it comes.

use super::client::{NoAnswer, explain};
use crate::protocol::TreeHash;
use crate::tree::{Limits, hash_tar_gz};
use bytes::{Buf, Bytes};
use futures_util::StreamExt as _;
use reqwest::Client;
use std::io::{self, Read};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Pieces of a body that wait for the hash.
const QUEUE: usize = 16;

/// What came of it.
pub(super) enum Tarball {
    /// All of it.
    Whole { bytes: u64, strict: TreeHash },
    /// All of it, and it is no tarball that a client unpacks.
    Bad(String),
    /// Another status than 200.
    Status(u16),
    /// None of it, or not all.
    NoAnswer(NoAnswer),
    /// So many bytes until the deadline.
    Unfinished(u64),
}

/// Fetches and hashes it. The hash runs away from the async threads; it ends with its input.
pub(super) async fn fetch(client: &Client, url: &str, deadline: Instant) -> Tarball {
    let silent = || Tarball::NoAnswer(NoAnswer::Silent(Duration::ZERO));
    let response = match timeout_at(deadline, client.get(url).send()).await {
        Err(_) => return silent(),
        Ok(Err(error)) => return Tarball::NoAnswer(explain(&error, Duration::ZERO)),
        Ok(Ok(response)) if response.status() != 200 => return Tarball::Status(response.status().as_u16()),
        Ok(Ok(response)) => response,
    };
    let (queue, pieces) = mpsc::channel(QUEUE);
    let reader = Pieces { pieces, piece: Bytes::new() };
    let hash = tokio::task::spawn_blocking(move || hash_tar_gz(reader, &Limits::default(), |_| false));
    let (mut bytes, mut body) = (0, response.bytes_stream());
    let fed = timeout_at(deadline, async {
        while let Some(piece) = body.next().await {
            let piece = piece?;
            bytes += piece.len() as u64;
            // The hash has gone if the content proved bad: it says so below.
            if queue.send(Ok(piece)).await.is_err() {
                break;
            }
        }
        Ok::<_, reqwest::Error>(())
    });
    match fed.await {
        Err(_) if bytes == 0 => return silent(),
        Err(_) => return Tarball::Unfinished(bytes),
        Ok(Err(error)) => return Tarball::NoAnswer(explain(&error, Duration::ZERO)),
        Ok(Ok(())) => drop(queue),
    }
    match timeout_at(deadline, hash).await {
        Ok(Ok(Ok(contents))) => Tarball::Whole { bytes, strict: contents.strict },
        Ok(Ok(Err(error))) => Tarball::Bad(error.to_string()),
        Ok(Err(_)) => Tarball::Bad("the hash ended early".to_owned()),
        Err(_) => Tarball::Unfinished(bytes),
    }
}

/// What came, as a reader. Blocks: for a thread of its own.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.split_to(length).copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
