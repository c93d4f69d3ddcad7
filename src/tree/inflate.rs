//! Gzip members into chunks of unpacked bytes, with the reader's faults told from the content's.
//!
//! Julia's clients unpack several members as one stream and refuse a file with other bytes after
//! the last one, so this does too.

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use super::header::{self, BLOCK};
use super::{Limits, TreeError};

const PACKED_BUFFER: usize = 64 << 10;
const CHUNK: usize = 128 << 10;

/// A reused buffer of unpacked bytes.
pub(super) struct Chunk {
    buffer: Box<[u8]>,
    len: usize,
}

impl Chunk {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; CHUNK].into_boxed_slice(), len: 0 }
    }

    /// Stands for "no more bytes"; cannot be filled.
    pub(super) fn empty() -> Self {
        Self { buffer: Box::default(), len: 0 }
    }

    /// Whether there is a buffer to reuse.
    pub(super) fn has_room(&self) -> bool {
        !self.buffer.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == self.buffer.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

/// The unpacking end of a tarball.
pub(super) struct Inflater<'r> {
    decoder: MultiGzDecoder<BufReader<Chain<Cursor<Vec<u8>>, Watched<'r>>>>,
    limits: Limits,
    unpacked: u64,
}

impl<'r> Inflater<'r> {
    /// Reads the first block and refuses what is not gzip.
    pub(super) fn new(reader: Box<dyn Read + Send + 'r>, limits: &Limits) -> Result<Self, TreeError> {
        let mut watched = Watched { reader, packed: 0, fault: None };
        let mut head = Vec::with_capacity(BLOCK);
        watched.by_ref().take(BLOCK as u64).read_to_end(&mut head).map_err(|error| watched.blame(error, 0))?;
        if !head.starts_with(&[0x1f, 0x8b]) {
            return Err(TreeError::NotGzip { found: guess(&head) });
        }
        let packed = BufReader::with_capacity(PACKED_BUFFER, Cursor::new(head).chain(watched));
        Ok(Self { decoder: MultiGzDecoder::new(packed), limits: limits.clone(), unpacked: 0 })
    }

    /// Fills `chunk`; it stays short only at the end of the last member, whose checksum then held.
    pub(super) fn fill(&mut self, chunk: &mut Chunk) -> Result<(), TreeError> {
        chunk.len = 0;
        while let Some(free @ [_, ..]) = chunk.buffer.get_mut(chunk.len..) {
            match self.decoder.read(free) {
                Ok(0) => break,
                Ok(count) => chunk.len += count,
                Err(error) => {
                    let unpacked = self.unpacked.saturating_add(chunk.len as u64);
                    return Err(self.watched().blame(error, unpacked));
                }
            }
        }
        self.unpacked = self.unpacked.saturating_add(chunk.len as u64);
        let packed = self.watched().packed;
        self.limits.check_stream(packed, self.unpacked)
    }

    /// Unpacked bytes so far.
    pub(super) fn unpacked(&self) -> u64 {
        self.unpacked
    }

    fn watched(&mut self) -> &mut Watched<'r> {
        self.decoder.get_mut().get_mut().get_mut().1
    }
}

/// The caller's reader, with the bytes it gave counted and its own failure kept apart from what
/// the decoder thinks of the bytes.
struct Watched<'r> {
    reader: Box<dyn Read + Send + 'r>,
    packed: u64,
    fault: Option<io::Error>,
}

impl Watched<'_> {
    fn blame(&mut self, error: io::Error, offset: u64) -> TreeError {
        match self.fault.take() {
            Some(fault) => TreeError::Read(fault),
            // The first head was good, so this is what follows the last member: zeros, for example.
            None if offset > 0 && error.to_string() == "invalid gzip header" => {
                TreeError::Gzip { offset, source: io::Error::new(error.kind(), "bytes after the end") }
            }
            None => TreeError::Gzip { offset, source: error },
        }
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.reader.read(buffer) {
                Ok(count) => {
                    self.packed = self.packed.saturating_add(count as u64);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.fault = Some(error);
                    return Err(io::Error::other("the reader failed"));
                }
            }
        }
    }
}

/// Names what a body that is not gzip looks like.
pub(super) fn guess(head: &[u8]) -> &'static str {
    let text = head.trim_ascii_start();
    match head {
        [] => "empty",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [b'B', b'Z', b'h', ..] => "bzip2",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
        [b'P', b'K', 3, 4, ..] => "zip",
        _ if text.starts_with(b"<") => "HTML or XML",
        _ if text.starts_with(b"{") => "JSON",
        _ if is_tar(head) => "plain tar",
        _ => "unknown bytes",
    }
}

pub(super) fn is_tar(head: &[u8]) -> bool {
    head.get(..BLOCK).unwrap_or_default().try_into().is_ok_and(|block: &[u8; BLOCK]| header::parse(block).is_ok())
}
