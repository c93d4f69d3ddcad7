//! One attempt at one source: its bytes go to the disk and to the verification behind it, each at
//! its own pace; a download that breaks goes on where it broke.

use super::disk::Disk;
use super::fetch::within;
use super::flight::{Flight, HOLD_BACK, Landed, TRICKLE_AFTER};
use super::judge::{describe, hash, held_artifacts, judge};
use super::patience::Patience;
use super::refusal::Refusal;
use super::writer::Writer;
use super::{Mirror, blocking};
use crate::fault;
use crate::protocol::{Resource, TreeHash};
use crate::source::{Answer, Fault, Resume, Source, Wanted};
use crate::store::{HeldArtifact, Staged, Store, StoreError};
use crate::tree::{Contents, TreeError};
use futures_util::stream::{self, StreamExt};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bytes that may wait for the disk before the source has to.
const QUEUE: usize = 1 << 20;
/// How long a small body is waited for before it is streamed like a large one, whose clients get a
/// byte now and then.
const SOON: Duration = Duration::from_millis(200);
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
        let answer = answer.ok_or_else(|| too_late(patience))??;
        let staged = staged??;
        fault::point("flight.staged");
        let landed = match gather(answer).await {
            Ok(body) if !flight.is_committed() => self.land_small(flight, body, staged).await,
            Ok(_) => Err(of_another()),
            Err(answer) if !flight.begin(staged.file(), answer.length, 0) => Err(of_another()),
            Err(answer) => {
                let landed = self.land(flight, (source, wanted), answer, Writer::new(staged), patience).await;
                if landed.is_err() {
                    flight.abandon();
                }
                landed
            }
        };
        let from = wanted.origins.address().unwrap_or_else(|| source.name().to_owned());
        landed.map(|landed| Landed { from: Some(from.into()), ..landed })
    }

    /// A small body: no client may have any of it before it is verified and published, so all of
    /// that is one step.
    async fn land_small(&self, flight: &Flight, body: Vec<u8>, mut staged: Staged) -> Result<Landed, Failed> {
        let (resource, size) = (flight.resource, body.len() as u64);
        self.counters.received.fetch_add(size, Ordering::Relaxed);
        let (file, is_written) = (staged.file(), Arc::new(AtomicBool::new(false)));
        let written = Arc::clone(&is_written);
        let (store, limits, disk) = (Arc::clone(&self.store), self.limits.clone(), Arc::clone(&self.disk));
        let landed = blocking(move || {
            staged.write_all(&body)?;
            written.store(true, Ordering::Release);
            fault::point("flight.received");
            let contents = hash(body.as_slice(), &limits).map_err(|error| tree_fault(&error))?;
            judge(&resource, &contents).map_err(Fault::Content)?;
            let (file, artifacts) = (staged.file(), held_artifacts(&resource, &contents));
            publish_if_room(&store, &disk, staged, &resource, contents.strict, &artifacts)?;
            Ok::<_, Failed>((Landed { file, size, from: None }, artifacts))
        });
        tokio::pin!(landed);
        // A disk that takes long: who waits is given held bytes now and then, as of a large body.
        let late = flight.started + TRICKLE_AFTER;
        let done = match tokio::time::timeout_at(late, &mut landed).await {
            Ok(done) => done,
            Err(_late) => {
                if is_written.load(Ordering::Acquire) {
                    flight.begin(file, Some(size), size);
                }
                landed.await
            }
        };
        let (landed, artifacts) = done.map_err(Failed::from).and_then(|done| done).inspect_err(|_| flight.abandon())?;
        self.names.learn_artifacts(&resource, &artifacts);
        Ok(landed)
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
            // It may have waited for a place, which says nothing about this source either.
            let resumed = within(patience.deadline(Instant::now()), asked).await.ok_or_else(|| too_late(patience))?;
            answer = match resumed {
                Ok(answer) if (answer.start, answer.length, &answer.etag) == (written, length, &etag) => answer,
                _ => return Err(broken.into()),
            };
            tracing::info!(resource = %flight.resource, source = source.name(), at = written, "resumed");
        }
        fault::point("flight.received");
        flight.complete();
        let mut staged = writer.into_staged()?;
        // The disk works while the end is being verified.
        let synced = blocking(move || staged.sync().map(|()| staged));
        let (contents, staged) = futures_util::future::join(verification.verdict(), synced).await;
        let contents = contents?;
        Ok((staged??, contents))
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
        blocking(move || publish_if_room(&store, &disk, staged, &resource, contents.strict, &artifacts)).await??;
        Ok(Landed { file, size, from: None })
    }
}

/// Without room for it a file is only passed on: unlinked here, and read by who has it open.
fn publish_if_room(
    store: &Store,
    disk: &Disk,
    staged: Staged,
    resource: &Resource,
    strict: TreeHash,
    artifacts: &[HeldArtifact],
) -> Result<(), StoreError> {
    if disk.takes_staged(store, staged.written()) { store.publish(staged, resource, strict, artifacts) } else { Ok(()) }
}

/// The whole of a small body that is there soon; otherwise the answer, with what came of it so far.
async fn gather(answer: Answer) -> Result<Vec<u8>, Answer> {
    if answer.start > 0 || answer.length.is_some_and(|length| length > HOLD_BACK) {
        return Err(answer);
    }
    let deadline = Instant::now() + SOON;
    let (mut chunks, mut size, mut body) = (Vec::new(), 0, answer.body.fuse());
    let last = loop {
        match tokio::time::timeout_at(deadline, body.next()).await {
            Ok(Some(Ok(chunk))) => {
                size += chunk.len() as u64;
                chunks.push(chunk);
                if size > HOLD_BACK {
                    break None;
                }
            }
            Ok(None) if answer.length.is_none_or(|length| length == size) => return Ok(chunks.concat()),
            Ok(last) => break last,
            Err(_late) => break None,
        }
    };
    let so_far = stream::iter(chunks.into_iter().map(Ok).chain(last));
    Err(Answer { body: so_far.chain(body).boxed(), ..answer })
}

fn of_another() -> Failed {
    Fault::Broken("clients already have bytes of another answer".to_owned()).into()
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

fn too_late(patience: Patience) -> Failed {
    Failed::Here(Refusal::Slow(Fault::Stalled(patience.silence.unwrap_or_default()).to_string()))
}
