//! A body that a thread writes which may block: unpacking, packing, hashing, reading a clone.

use super::Fault;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::io::{self, Write};
use tokio::sync::mpsc;

/// Bytes that are handed over at one time.
const CHUNK: usize = 64 << 10;
/// Chunks that may wait for whoever takes them.
const QUEUE: usize = 8;

/// A body on its way.
pub(super) type Body = BoxStream<'static, Result<Bytes, Fault>>;

/// Runs `work` on a thread of its own; what it writes is the body. The body ends well only if the
/// work does: its fault comes before the end, whatever was written.
pub(super) fn piped(work: impl FnOnce(&mut Pipe) -> Result<(), Fault> + Send + 'static) -> Body {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        let mut pipe = Pipe { sender, chunk: Vec::with_capacity(CHUNK) };
        let done = work(&mut pipe).and_then(|()| {
            // An empty chunk says that all of it was good.
            pipe.flush().and_then(|()| pipe.send(Ok(Bytes::new()))).map_err(|error| Fault::Broken(error.to_string()))
        });
        if let Err(fault) = done {
            let _ = pipe.send(Err(fault));
        }
    });
    stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Ok(bytes)) if bytes.is_empty() => None,
            Some(Ok(bytes)) => Some((Ok(bytes), Some(receiver))),
            Some(Err(fault)) => Some((Err(fault), None)),
            None => Some((Err(Fault::Broken("the thread that packs is gone".to_owned())), None)),
        }
    })
    .boxed()
}

/// Where the work writes.
pub(super) struct Pipe {
    sender: mpsc::Sender<Result<Bytes, Fault>>,
    chunk: Vec<u8>,
}

impl Pipe {
    /// Tells when nobody takes the body any more.
    pub(super) fn taker(&self) -> Taker {
        Taker(self.sender.clone())
    }

    fn send(&self, sent: Result<Bytes, Fault>) -> io::Result<()> {
        self.sender.blocking_send(sent).map_err(|_| io::Error::other("nobody takes it any more"))
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.send(Ok(full.into()))
    }
}

/// Whoever takes the body.
pub(super) struct Taker(mpsc::Sender<Result<Bytes, Fault>>);

impl Taker {
    /// Waits until it has left.
    pub(super) async fn left(&self) {
        self.0.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn taken(work: impl FnOnce(&mut Pipe) -> Result<(), Fault> + Send + 'static) -> (usize, Option<Fault>) {
        let (mut bytes, mut fault) = (0, None);
        let mut body = piped(work);
        while let Some(sent) = body.next().await {
            match sent {
                Ok(chunk) => bytes += chunk.len(),
                Err(error) => fault = Some(error),
            }
        }
        (bytes, fault)
    }

    #[tokio::test]
    async fn only_work_that_ends_well_gives_a_body_that_does() {
        let write = |pipe: &mut Pipe| pipe.write_all(&vec![1; 3 * CHUNK + 1]).map_err(|_| Fault::NotFound);
        assert_eq!(taken(write).await, (3 * CHUNK + 1, None));
        let wrong = move |pipe: &mut Pipe| write(pipe).and(Err(Fault::Content("wrong".to_owned())));
        let (_, fault) = taken(wrong).await;
        assert_eq!(fault, Some(Fault::Content("wrong".to_owned())));
        let (_, fault) = taken(|_| panic!("meant to")).await;
        assert!(matches!(fault, Some(Fault::Broken(_))));
    }
}
