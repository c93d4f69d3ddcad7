//! Reading a volume: a plain tar whose first entries say what it belongs to.
//!
//! The layout is fixed: `bundle.json`, `bundle.json.minisig` if it is signed, `SHA256SUMS`,
//! `sbom.cdx.json`, then what the index has in this volume, in its order. So the index alone says
//! where each resource and each git bundle must be, and its header is only compared: a damaged header
//! costs that one file, and memory grows with the index, never with what lies in the file.

use super::header::{head_bytes, is_file, is_head};
use crate::exchange::{BundleIndex, IndexError, Item, Sha256};
use crate::tree::{TAR_BLOCK, TarHeader, read_tar_header};
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use sha2::{Digest as _, Sha256 as Hasher};
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest index, list of sums or bill of materials, in bytes.
const MAX_METADATA: u64 = 256 << 20;
/// Longest signature, in bytes.
const MAX_SIGNATURE: u64 = 64 << 10;
/// Files of a volume that are looked at to tell which one a file is.
const PROBES: usize = 16;
/// Padding after the end that is looked at, in bytes.
const MAX_TAIL: u64 = 1 << 20;

/// The name of the index in a volume.
pub const INDEX_NAME: &str = "bundle.json";
/// The name of its signature.
pub const SIGNATURE_NAME: &str = "bundle.json.minisig";
/// The name of the list that `sha256sum -c` checks.
pub const SUMS_NAME: &str = "SHA256SUMS";
/// The name of the bill of materials.
pub const SBOM_NAME: &str = "sbom.cdx.json";

/// A file, or bytes, that can be read at any place.
pub trait ReadAt {
    /// Fills the buffer from this offset.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let bytes = rest.and_then(|rest| rest.get(..buffer.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// What is wrong with a file that was given as a volume.
#[derive(Debug, thiserror::Error)]
pub enum VolumeProblem {
    /// The system did not give it.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// No such file.
    #[error("is not there")]
    Absent,
    /// A folder, a pipe, a device.
    #[error("is not a file")]
    NotAFile,
    /// No bytes.
    #[error("is empty")]
    Empty,
    /// Somebody compressed it.
    #[error("is compressed with {0}; a volume is a plain tar: decompress it first")]
    Compressed(&'static str),
    /// Something else.
    #[error("is no volume of a bundle: {0}")]
    NotAVolume(String),
    /// It ends within what every volume starts with.
    #[error("is cut short, before its first resource: carry that volume again")]
    Cut,
    /// Somebody writes to it.
    #[error("changed while it was read: wait until it is copied, and try again")]
    Changed,
    /// Its index cannot be used.
    #[error("cannot be used: {0}")]
    Index(#[from] IndexError),
    /// No resource of any volume is where it should be.
    #[error("is damaged: it cannot be told which volume of its bundle it is; carry it again")]
    Unplaced,
}

/// A file that cannot be used as a volume, and why.
#[derive(Debug, thiserror::Error)]
#[error("{file} {problem}", file = file.display())]
pub struct VolumeError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: VolumeProblem,
}

/// A part of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    offset: u64,
    size: u64,
}

/// What lies where in a volume.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The index.
    pub index: Arc<BundleIndex>,
    /// SHA-256 of the bytes of the index: volumes of one bundle have the same.
    pub index_sha256: Sha256,
    /// Which volume of the bundle this is, counted from 1.
    pub number: u32,
    /// What does not belong there or is not there, in words; what can be used is used all the same.
    pub oddity: Option<&'static str>,
    /// Of each file of this volume, in the order of the index, the offset of its bytes. `None` where
    /// its header is not there.
    places: Vec<Option<u64>>,
    head: Head,
}

/// What every volume starts with.
#[derive(Clone, Copy, Debug)]
struct Head {
    index: Span,
    signature: Option<Span>,
    sums: Span,
    sbom: Span,
    end: u64,
}

/// An open volume.
#[derive(Clone, Debug)]
pub struct VolumeFile {
    path: PathBuf,
    file: Arc<File>,
    layout: Layout,
}

impl VolumeFile {
    /// Opens a file and reads what it is. Blocks; reads the index and one header for each resource.
    pub fn open(path: &Path) -> Result<Self, VolumeError> {
        let wrong = |problem| VolumeError { file: path.to_owned(), problem };
        let (file, length) = open(path).map_err(wrong)?;
        let layout = Layout::read(&file, length).map_err(wrong)?;
        Ok(Self { path: path.to_owned(), file: Arc::new(file), layout })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, open for reading.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// What lies where in it.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The index.
    pub fn index(&self) -> &Arc<BundleIndex> {
        &self.layout.index
    }

    /// Takes the index of another volume of the same bundle, so that it is held once.
    pub(super) fn share_index(&mut self, index: &Arc<BundleIndex>) {
        self.layout.index = Arc::clone(index);
    }

    /// Which volume of the bundle this is, counted from 1.
    pub fn number(&self) -> u32 {
        self.layout.number
    }

    /// The bytes of the index: what is signed.
    pub fn index_bytes(&self) -> Result<Vec<u8>, VolumeError> {
        let bytes = self.span(self.layout.head.index)?;
        // What is verified must be what was parsed, whatever is written to the file meanwhile.
        if sha256(&bytes) != self.layout.index_sha256 {
            return Err(VolumeError { file: self.path.clone(), problem: VolumeProblem::Changed });
        }
        Ok(bytes)
    }

    /// The signature, if there is one.
    pub fn signature(&self) -> Result<Option<Vec<u8>>, VolumeError> {
        self.layout.head.signature.map(|span| self.span(span)).transpose()
    }

    /// What is wrong with the files that only people and other tools read, and that no signature
    /// covers but through the index.
    pub(super) fn misleading(&self) -> Option<&'static str> {
        let Head { sums: named, sbom, .. } = self.layout.head;
        if !self.span(named).is_ok_and(|bytes| bytes == sums(&self.layout.index)) {
            return Some("its SHA256SUMS is not what its bundle.json says");
        }
        let is_named = |bytes: Vec<u8>| sha256(&bytes) == self.layout.index.sbom_sha256;
        if self.span(sbom).is_ok_and(is_named) {
            None
        } else {
            Some("its sbom.cdx.json is not the one that its bundle.json names")
        }
    }

    fn span(&self, span: Span) -> Result<Vec<u8>, VolumeError> {
        let wrong = |error: io::Error| VolumeError { file: self.path.clone(), problem: error.into() };
        read_span(self.file.as_ref(), span).map_err(wrong)
    }
}

/// What `sha256sum -c` reads, after all volumes were unpacked into one folder.
pub fn sums(index: &BundleIndex) -> Vec<u8> {
    let mut sums = format!("{}  {SBOM_NAME}\n", index.sbom_sha256);
    for item in index.items() {
        let _ = writeln!(sums, "{}  {}", item.sha256(), item.path());
    }
    sums.into_bytes()
}

fn open(path: &Path) -> Result<(File, u64), VolumeProblem> {
    // Whatever lies there must not keep anybody waiting, as a pipe would.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => VolumeProblem::Absent,
            _ => bare(&error).into(),
        })?
        .into_file();
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata.len())) } else { Err(VolumeProblem::NotAFile) }
}

/// The error without the path: whoever reads it gets the path from [`VolumeError`].
fn bare(error: &io::Error) -> io::Error {
    error.kind().into()
}

impl Layout {
    /// Reads what every volume starts with, and finds the resources.
    pub fn read<S: ReadAt + ?Sized>(source: &S, length: u64) -> Result<Self, VolumeProblem> {
        let head = Head::read(source, length)?;
        let bytes = read_span(source, head.index)?;
        let index = BundleIndex::parse(&bytes)?;
        let index_sha256 = sha256(&bytes);
        drop(bytes);
        let number = which(source, length, &index, head.end)?;
        let mut places = Vec::new();
        let mut end = head.end;
        for item in index.of_volume(number) {
            places.push(place(source, length, end, item));
            end = after_item(end, item).ok_or(VolumeProblem::Cut)?;
        }
        let oddity = oddity(source, length, end);
        Ok(Self { index: Arc::new(index), index_sha256, number, oddity, places, head })
    }

    /// Of each file of this volume, in the order of the index, the offset of its bytes; `None` where
    /// its header is not there.
    pub fn offsets(&self) -> impl Iterator<Item = Option<u64>> {
        self.places.iter().copied()
    }

    /// The files of this volume, likewise.
    pub fn items(&self) -> impl Iterator<Item = (Item<'_>, Option<u64>)> {
        self.index.of_volume(self.number).zip(self.offsets())
    }
}

impl Head {
    fn read<S: ReadAt + ?Sized>(source: &S, length: u64) -> Result<Self, VolumeProblem> {
        refuse_what_is_no_tar(source, length)?;
        let no_volume = |what: String| VolumeProblem::NotAVolume(what);
        let mut offset = 0;
        let mut next = |name: &str, most: u64| {
            let header = header_at(source, length, offset)?.map_err(|what| no_volume(what.to_owned()))?;
            if header.path != name.as_bytes() {
                return Ok(None);
            }
            if !is_file(&header) || header.size > most {
                return Err(no_volume(format!("its {name} is not a file of at most {most} bytes")));
            }
            let span = Span { offset: offset + TAR_BLOCK as u64, size: header.size };
            offset = after(offset, header.size).filter(|&end| end <= length).ok_or(VolumeProblem::Cut)?;
            Ok(Some(span))
        };
        let missing = |name: &str| no_volume(format!("{name} is not where it should be"));
        let index = next(INDEX_NAME, MAX_METADATA)?.ok_or_else(|| missing(INDEX_NAME))?;
        let signature = next(SIGNATURE_NAME, MAX_SIGNATURE)?;
        let sums = next(SUMS_NAME, MAX_METADATA)?.ok_or_else(|| missing(SUMS_NAME))?;
        let sbom = next(SBOM_NAME, MAX_METADATA)?.ok_or_else(|| missing(SBOM_NAME))?;
        Ok(Self { index, signature, sums, sbom, end: offset })
    }
}

/// Says what a file is instead, where that can be told.
fn refuse_what_is_no_tar<S: ReadAt + ?Sized>(source: &S, length: u64) -> Result<(), VolumeProblem> {
    let mut start = [0; 6];
    let known = usize::try_from(length).unwrap_or(usize::MAX).min(start.len());
    source.read_exact_at(start.get_mut(..known).unwrap_or_default(), 0)?;
    match start {
        _ if length == 0 => Err(VolumeProblem::Empty),
        [0x1f, 0x8b, ..] => Err(VolumeProblem::Compressed("gzip")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(VolumeProblem::Compressed("zstd")),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Err(VolumeProblem::Compressed("xz")),
        _ if length < TAR_BLOCK as u64 => Err(VolumeProblem::NotAVolume("this is not a tar archive".to_owned())),
        _ => Ok(()),
    }
}

/// The header at an offset, or what is wrong with it. That the file ends before it is an error.
fn header_at<S: ReadAt + ?Sized>(
    source: &S,
    length: u64,
    offset: u64,
) -> Result<Result<TarHeader, &'static str>, VolumeProblem> {
    if offset.checked_add(TAR_BLOCK as u64).is_none_or(|end| end > length) {
        return Err(VolumeProblem::Cut);
    }
    let mut block = [0; TAR_BLOCK];
    source.read_exact_at(&mut block, offset)?;
    Ok(if block == [0; TAR_BLOCK] { Err("the archive ends too early") } else { read_tar_header(&block) })
}

/// Which volume this is: the one whose first file is where it should be; should that header be
/// damaged, the one of which any of the next ones is.
fn which<S: ReadAt + ?Sized>(source: &S, length: u64, index: &BundleIndex, start: u64) -> Result<u32, VolumeProblem> {
    let volumes = 1..=u32::try_from(index.volumes.len()).unwrap_or(u32::MAX);
    if volumes == (1..=1) {
        return Ok(1);
    }
    let mut firsts = std::collections::BTreeMap::new();
    for item in index.items() {
        let of_volume: &mut Vec<Item<'_>> = firsts.entry(item.volume()).or_default();
        if of_volume.len() < PROBES {
            of_volume.push(item);
        }
    }
    let matches = |items: &[Item<'_>]| {
        let mut offset = start;
        items.iter().any(|&item| {
            let found = place(source, length, offset, item).is_some();
            offset = after_item(offset, item).unwrap_or(u64::MAX);
            found
        })
    };
    let found = firsts.iter().find(|(_, items)| matches(items.get(..1).unwrap_or_default()));
    let found = found.or_else(|| firsts.iter().find(|(_, items)| matches(items)));
    found.map(|(&volume, _)| volume).ok_or(VolumeProblem::Unplaced)
}

/// Where the bytes of a file are whose head is at `offset`, if it is there and they can be.
fn place<S: ReadAt + ?Sized>(source: &S, length: u64, offset: u64, item: Item<'_>) -> Option<u64> {
    let name = item.path();
    let bytes = offset.checked_add(head_bytes(&name))?;
    let fits = bytes.checked_add(item.size()).is_some_and(|end| end <= length);
    (fits && is_head(source, offset, &name, item.size())).then_some(bytes)
}

/// What is odd about the end of a volume. It starts with two blocks of zeros, and more may follow.
fn oddity<S: ReadAt + ?Sized>(source: &S, length: u64, end: u64) -> Option<&'static str> {
    const END: u64 = 2 * TAR_BLOCK as u64;
    let Some(tail) = length.checked_sub(end).filter(|&tail| tail >= END) else { return Some("it is cut short") };
    if tail > MAX_TAIL {
        return Some("there is something after its end");
    }
    match read_span(source, Span { offset: end, size: tail }) {
        Ok(bytes) if bytes.iter().all(|&byte| byte == 0) => None,
        Ok(_) => Some("there is something after its end"),
        Err(_) => Some("its end cannot be read"),
    }
}

/// The end of an entry whose header is at `offset`; `None` beyond all files.
fn after(offset: u64, size: u64) -> Option<u64> {
    offset.checked_add(TAR_BLOCK as u64)?.checked_add(size.checked_next_multiple_of(TAR_BLOCK as u64)?)
}

/// The end of a file of the index whose head is at `offset`, likewise.
fn after_item(offset: u64, item: Item<'_>) -> Option<u64> {
    after(offset.checked_add(head_bytes(&item.path()) - TAR_BLOCK as u64)?, item.size())
}

/// Reads a part that was found to be in the file.
fn read_span<S: ReadAt + ?Sized>(source: &S, span: Span) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(span.size).map_err(io::Error::other)?];
    source.read_exact_at(&mut bytes, span.offset)?;
    Ok(bytes)
}

pub(super) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256::from_bytes(Hasher::digest(bytes).into())
}
