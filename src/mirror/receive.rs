//! One attempt at one source: its bytes go to the disk and to the verification behind it, each at
//! its own pace; a download that breaks goes on where it broke.

use super::fetch::within;
use super::flight::{Flight, Landed};
use super::judge::{describe, hash, held_artifacts, judge};
use super::patience::Patience;
use super::refusal::Refusal;
use super::writer::Writer;
use super::{Mirror, blocking};
use crate::fault;
use crate::protocol::Resource;
use crate::source::{Answer, Fault, Resume, Source, Wanted};
use crate::store::{Staged, StoreError};
use crate::tree::{Contents, TreeError};
use futures_util::stream::StreamExt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bytes that may wait for the disk before the source has to.
const QUEUE: usize = 1 << 20;
/// How often one download may be resumed without coming to its end.
const RESUMES: u32 = 20;

/// What one attempt at one source came to.
pub(super) enum Failed {
    Source(Fault),
    Here(Refusal),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Source(fault)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Here(error.into())
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Here(error.into())
    }
}

impl Mirror {
    /// One attempt at one source: fetch, receive, verify, publish.
    pub(super) async fn attempt(
        &self,
        flight: &Flight,
        source: &dyn Source,
        wanted: &Wanted,
        patience: Patience,
    ) -> Result<Landed, Failed> {
        let answer = within(patience.deadline(flight.started), source.fetch(wanted, None));
        let store = Arc::clone(&self.store);
        // Staged while the source is thinking: what comes then does not wait for it.
        let (answer, staged) = futures_util::future::join(answer, blocking(move || store.stage())).await;
        // Running out of our own time, spent on the sources before, says nothing about this one.
        let answer = answer.ok_or_else(|| Failed::Here(Refusal::Slow(too_late(patience).to_string())))??;
        let staged = staged??;
        fault::point("flight.staged");
        if !flight.begin(staged.file(), answer.length, 0) {
            return Err(Fault::Broken("clients already have bytes of another answer".to_owned()).into());
        }
        let landed = self.land(flight, (source, wanted), answer, Writer::new(staged), patience).await;
        if landed.is_err() {
            flight.abandon();
        }
        let from = wanted.origins.address().unwrap_or_else(|| source.name().to_owned());
        landed.map(|landed| Landed { from: Some(from.into()), ..landed })
    }

    async fn land(
        &self,
        flight: &Flight,
        from: (&dyn Source, &Wanted),
        answer: Answer,
        writer: Writer,
        patience: Patience,
    ) -> Result<Landed, Failed> {
        let (staged, contents) = self.receive(flight, from, answer, writer, patience).await?;
        judge(&flight.resource, &contents).map_err(Fault::Content)?;
        self.publish(flight.resource, staged, contents).await
    }

    /// Receives the body while it is being verified behind.
    async fn receive(
        &self,
        flight: &Flight,
        (source, wanted): (&dyn Source, &Wanted),
        mut answer: Answer,
        mut writer: Writer,
        patience: Patience,
    ) -> Result<(Staged, Contents), Failed> {
        let behind = flight.reader().ok_or_else(|| io::Error::other("no file"))?;
        let limits = self.limits.clone();
        let mut verification = Verification(tokio::task::spawn_blocking(move || hash(behind, &limits)));
        let (length, etag) = (answer.length, answer.etag.clone());
        for resumes in 0.. {
            let before = flight.written();
            let broken = match self.copy(flight, answer, &mut writer, &mut verification).await {
                Ok(()) => break,
                Err(Failed::Source(fault @ (Fault::Broken(_) | Fault::Stalled(_)))) => fault,
                Err(failed) => return Err(failed),
            };
            writer.settle(flight).await?;
            let written = flight.written();
            let resumable = length.is_some() && (etag.is_some() || !flight.is_committed());
            if !resumable || written == before || resumes >= RESUMES {
                return Err(broken.into());
            }
            let resume = Resume { at: written, etag: etag.clone() };
            let asked = source.fetch(wanted, Some(&resume));
            let resumed = within(patience.deadline(Instant::now()), asked).await.ok_or_else(|| too_late(patience))?;
            answer = match resumed {
                Ok(answer) if (answer.start, answer.length, &answer.etag) == (written, length, &etag) => answer,
                _ => return Err(broken.into()),
            };
            tracing::info!(resource = %flight.resource, source = source.name(), at = written, "resumed");
        }
        fault::point("flight.received");
        flight.complete();
        let contents = verification.verdict().await?;
        Ok((writer.into_staged()?, contents))
    }

    /// Copies one answer to the file: the source, the disk and the verification each at their own
    /// pace, with a bounded queue between.
    async fn copy(
        &self,
        flight: &Flight,
        mut answer: Answer,
        writer: &mut Writer,
        verification: &mut Verification,
    ) -> Result<(), Failed> {
        let mut ended = false;
        while !ended || !writer.is_idle() {
            tokio::select! {
                chunk = answer.body.next(), if !ended && writer.queued < QUEUE => match chunk {
                    Some(Ok(chunk)) => {
                        self.counters.received.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                        writer.push(chunk);
                    }
                    Some(Err(fault)) => return Err(fault.into()),
                    None => ended = true,
                },
                written = writer.written(), if writer.is_busy() => flight.advance(written?),
                // It cannot be done before the end, so this is a fault.
                early = &mut verification.0 => return Err(early_fault(early)),
            }
            writer.begin();
        }
        match answer.length {
            Some(length) if flight.written() != length => {
                Err(Fault::Broken(format!("{} of {length} bytes came", flight.written())).into())
            }
            _ => Ok(()),
        }
    }

    async fn publish(&self, resource: Resource, staged: Staged, contents: Contents) -> Result<Landed, Failed> {
        let store = Arc::clone(&self.store);
        let artifacts = held_artifacts(&resource, &contents);
        let file = staged.file();
        let size = file.metadata()?.len();
        self.names.learn_artifacts(&resource, &artifacts);
        let disk = Arc::clone(&self.disk);
        let published = blocking(move || {
            // Without room for it the file is only passed on: unlinked here, and read by who has it open.
            let takes = disk.takes_staged(&store, size);
            if takes { store.publish(staged, &resource, contents.strict, &artifacts) } else { Ok(()) }
        });
        published.await??;
        Ok(Landed { file, size, from: None })
    }
}

/// A verification under way on a blocking thread.
struct Verification(JoinHandle<Result<Contents, TreeError>>);

impl Verification {
    async fn verdict(&mut self) -> Result<Contents, Failed> {
        (&mut self.0).await.map_err(io::Error::other)?.map_err(|error| tree_fault(&error))
    }
}

fn early_fault(early: Result<Result<Contents, TreeError>, tokio::task::JoinError>) -> Failed {
    match early {
        Ok(Ok(_)) => Fault::Content("bytes after the end".to_owned()).into(),
        Ok(Err(error)) => tree_fault(&error),
        Err(error) => io::Error::other(error).into(),
    }
}

fn tree_fault(error: &TreeError) -> Failed {
    match error {
        TreeError::Read(error) => Failed::Here(Refusal::Store(error.to_string())),
        error => Fault::Content(describe(error)).into(),
    }
}

fn too_late(patience: Patience) -> Fault {
    Fault::Stalled(patience.silence.unwrap_or_default())
}
