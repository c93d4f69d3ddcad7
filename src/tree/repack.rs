//! Tarballs of other packings into gzip tarballs: what clients of every age unpack.
//!
//! Artifacts lie at their addresses as gzip, bzip2, xz, zstd or plain tar; Pkg unpacks what it
//! finds by its first bytes, whatever the name says (7z, `PlatformEngines.jl`), and so does this.
//! Gzip stays as it is, byte for byte. Of the others the tar archive in them is packed again; it is
//! not looked into here, that is for whoever hashes the result.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read, Write};

use bzip2::bufread::MultiBzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use super::header::BLOCK;
use super::inflate::{guess, is_tar};
use super::{Limits, TreeError};

const BUFFER: usize = 64 << 10;
/// gzip's own default.
const LEVEL: u32 = 6;
/// The largest window that clients take: 128 MiB (`zstd -d` without `--long`).
const ZSTD_WINDOW_LOG: u32 = 27;
/// Memory for xz, in bytes: its highest level needs 65 MiB.
const XZ_MEMORY: u64 = 160 << 20;

/// How a tar archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// zstd.
    Zstd,
    /// Not at all.
    Plain,
}

impl Packing {
    /// Tells by the first [`TAR_BLOCK`](super::TAR_BLOCK) bytes, or all that there are.
    pub fn of(head: &[u8]) -> Result<Self, TreeError> {
        match head {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Ok(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Self::Xz),
            // The second begins with a frame to be skipped (RFC 8878, 3.1.2), as pzstd writes them.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            _ if head.get(257..262) == Some(b"ustar") || is_tar(head) => Ok(Self::Plain),
            _ => Err(TreeError::NotTarball { found: guess(head) }),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Plain => "tar",
        }
    }
}

/// Why a tarball could not be packed again.
#[derive(Debug, thiserror::Error)]
pub enum RepackError {
    /// The tarball, or whoever gave it.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Whoever takes the result.
    #[error("cannot write the tarball")]
    Write(#[source] io::Error),
}

/// Reads a tarball to its very end and writes it as a gzip tarball to `out`, which is not flushed.
/// The same bytes give the same bytes.
///
/// What was written counts only if this is `Ok`: bytes after the end come last.
pub fn repack(mut reader: impl Read, limits: &Limits, out: impl Write) -> Result<(), RepackError> {
    let watch = Watch::default();
    let mut watched = Watched { reader: &mut reader, watch: &watch };
    let mut head = Vec::with_capacity(BLOCK);
    let read = watched.by_ref().take(BLOCK as u64).read_to_end(&mut head);
    read.map_err(|error| watch.blame(error, "tar", 0))?;
    let packing = Packing::of(&head)?;
    let mut packed = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(watched));
    let copy = Copy { watch: &watch, limits, packing };
    if packing == Packing::Gzip {
        return copy.bytes(&mut packed, out).map(drop);
    }
    let gzip = GzBuilder::new().mtime(0).operating_system(255).write(out, Compression::new(LEVEL));
    let gzip = copy.unpacked(&mut packed, gzip)?;
    gzip.finish().map_err(RepackError::Write)?;
    // What is after the end of one packed stream is another, or else no decoder looks at it.
    match packed.fill_buf().map(<[u8]>::is_empty) {
        Ok(true) => Ok(()),
        Ok(false) => Err(copy.broken(io::Error::other("bytes after the end"), 0)),
        Err(error) => Err(copy.broken(error, 0)),
    }
}

type Packed<'w> = BufReader<Chain<Cursor<Vec<u8>>, Watched<'w>>>;

struct Copy<'w> {
    watch: &'w Watch,
    limits: &'w Limits,
    packing: Packing,
}

impl Copy<'_> {
    fn unpacked<W: Write>(&self, packed: &mut Packed<'_>, out: GzEncoder<W>) -> Result<GzEncoder<W>, RepackError> {
        match self.packing {
            Packing::Gzip | Packing::Plain => self.bytes(packed, out),
            Packing::Bzip2 => self.bytes(MultiBzDecoder::new(packed), out),
            Packing::Xz => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED);
                let stream = stream.map_err(|error| self.broken(error.into(), 0))?;
                self.bytes(XzDecoder::new_stream(packed, stream), out)
            }
            Packing::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(packed).map_err(|error| self.broken(error, 0))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|error| self.broken(error, 0))?;
                self.bytes(decoder, out)
            }
        }
    }

    fn bytes<W: Write>(&self, mut from: impl Read, mut out: W) -> Result<W, RepackError> {
        let mut buffer = vec![0; BUFFER];
        let mut unpacked = 0_u64;
        loop {
            let filled = fill(&mut from, &mut buffer).map_err(|error| self.broken(error, unpacked))?;
            unpacked = unpacked.saturating_add(filled as u64);
            self.limits.check_stream(self.watch.packed.get(), unpacked)?;
            out.write_all(buffer.get(..filled).unwrap_or_default()).map_err(RepackError::Write)?;
            if filled < buffer.len() {
                return Ok(out);
            }
        }
    }

    fn broken(&self, error: io::Error, unpacked: u64) -> RepackError {
        self.watch.blame(error, self.packing.name(), unpacked).into()
    }
}

/// Fills the buffer unless the bytes end: what gzip makes of them depends on the pieces in which
/// they come.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(free @ [_, ..]) = buffer.get_mut(filled..) {
        match from.read(free) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What the caller's reader did: bytes that it gave, and its own failure, which must not be taken
/// for a fault of the bytes.
#[derive(Default)]
struct Watch {
    packed: Cell<u64>,
    fault: Cell<Option<io::Error>>,
}

impl Watch {
    fn blame(&self, error: io::Error, packing: &'static str, offset: u64) -> TreeError {
        match self.fault.take() {
            Some(fault) => TreeError::Read(fault),
            None => TreeError::Packing { packing, offset, source: error },
        }
    }
}

struct Watched<'w> {
    reader: &'w mut dyn Read,
    watch: &'w Watch,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.reader.read(buffer) {
                Ok(count) => {
                    self.watch.packed.set(self.watch.packed.get().saturating_add(count as u64));
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.watch.fault.set(Some(error));
                    return Err(io::Error::other("the reader failed"));
                }
            }
        }
    }
}
