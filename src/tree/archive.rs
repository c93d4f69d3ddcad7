//! Header blocks into entries: extended headers applied, and everything refused that a Julia
//! client (`Tar.jl`) refuses whatever else is in the archive.

use super::header::{self, BLOCK, Header};
use super::limits::check;
use super::source::Source;
use super::{Limits, TreeError};

/// An extended header longer than this is an attack: what matters in it is two paths.
const EXTENDED_BYTES: u64 = 1 << 20;

/// What an entry makes of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    Directory,
}

/// One entry that is fine by itself; how it fits the entries before it is still open.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where its header block begins.
    pub(super) offset: u64,
    /// As written: may hold empty and `.` components, never `..`, a leading `/` or a NUL.
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) executable: bool,
    /// Bytes of content that follow, before padding.
    pub(super) size: u64,
}

impl Entry {
    pub(super) fn refuse(&self, what: &'static str) -> TreeError {
        refuse(self.offset, &self.path, what)
    }
}

fn refuse(offset: u64, path: &[u8], what: &'static str) -> TreeError {
    TreeError::Entry { offset, path: String::from_utf8_lossy(path).into_owned(), what }
}

/// What extended headers say instead of the header block.
#[derive(Debug, Clone, Default)]
struct Overrides {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Overrides {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(header::decimal(value).ok_or("malformed size in an extended header")?),
            _ => {}
        }
        Ok(())
    }
}

/// The entries of a tar stream, in order.
pub(super) struct Archive<'scope, 'env> {
    source: Source<'scope, 'env>,
    limits: &'env Limits,
    globals: Overrides,
    entries: u64,
}

impl<'scope, 'env> Archive<'scope, 'env> {
    pub(super) fn new(source: Source<'scope, 'env>, limits: &'env Limits) -> Self {
        Self { source, limits, globals: Overrides::default(), entries: 0 }
    }

    /// Entries so far.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Unpacked bytes so far.
    pub(super) fn offset(&self) -> u64 {
        self.source.offset()
    }

    /// The next entry; its content must be read before the one after it. `None` is the end of the
    /// archive and of a gzip stream that is whole.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, TreeError> {
        let mut overrides = self.globals.clone();
        let mut extended = false;
        loop {
            let offset = self.source.offset();
            let Some(block) = self.block()? else {
                return if extended { Err(TreeError::Cut { offset }) } else { Ok(None) };
            };
            let header = header::parse(&block).map_err(|what| TreeError::Header { offset, what })?;
            extended = self.extend(&header, offset, &mut overrides)?;
            if !extended {
                self.entries += 1;
                check("entries", self.entries, self.limits.entries)?;
                return self.entry(offset, header, overrides).map(Some);
            }
        }
    }

    /// Reads `size` bytes of content and the padding after them.
    pub(super) fn content(&mut self, size: u64, sink: impl FnMut(&[u8])) -> Result<(), TreeError> {
        let room = self.limits.unpacked_bytes.saturating_sub(self.source.offset());
        if size > room {
            return Err(TreeError::Limit { name: "unpacked bytes", limit: self.limits.unpacked_bytes });
        }
        self.source.read(size, sink)?;
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        self.source.read(padding, |_| {})
    }

    /// The next header block. At the first all-zero one the rest is read and ignored, as clients do.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TreeError> {
        let mut block = [0; BLOCK];
        let first = self.source.next(BLOCK as u64)?;
        let got = first.len();
        if got == 0 {
            return Ok(None);
        }
        block[..got].copy_from_slice(first);
        let mut free = &mut block[got..];
        self.source.read((BLOCK - got) as u64, |bytes| {
            let (head, tail) = std::mem::take(&mut free).split_at_mut(bytes.len());
            head.copy_from_slice(bytes);
            free = tail;
        })?;
        if block.iter().any(|byte| *byte != 0) {
            return Ok(Some(block));
        }
        while !self.source.next(u64::MAX)?.is_empty() {}
        Ok(None)
    }

    /// Takes in an extended header; false if `header` is not one.
    fn extend(&mut self, header: &Header, offset: u64, overrides: &mut Overrides) -> Result<bool, TreeError> {
        let fault = |what| TreeError::Header { offset, what };
        match header.type_flag {
            b'x' | b'g' => {
                let data = self.extended_data(header.size)?;
                let globals = (header.type_flag == b'g').then_some(&mut self.globals);
                read_pax(&data, overrides, globals).map_err(fault)?;
            }
            b'L' | b'K' if header.path == b"././@LongLink" => {
                let mut data = self.extended_data(header.size)?;
                if data.pop() != Some(0) {
                    return Err(fault("long name without its final NUL"));
                }
                let slot = if header.type_flag == b'L' { &mut overrides.path } else { &mut overrides.link };
                *slot = Some(data);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn extended_data(&mut self, size: u64) -> Result<Vec<u8>, TreeError> {
        check("bytes of an extended header", size, EXTENDED_BYTES)?;
        let mut data = Vec::new();
        self.content(size, |bytes| data.extend_from_slice(bytes))?;
        Ok(data)
    }

    fn entry(&self, offset: u64, header: Header, overrides: Overrides) -> Result<Entry, TreeError> {
        let path = overrides.path.unwrap_or(header.path);
        let link = overrides.link.unwrap_or(header.link);
        let size = overrides.size.unwrap_or(header.size);
        self.limits.check_path(&path)?;
        self.limits.check_path(&link)?;
        let kind = match header.type_flag {
            b'0' | 0 => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'5' => Kind::Directory,
            b'3' | b'4' => return Err(refuse(offset, &path, "a device")),
            b'6' => return Err(refuse(offset, &path, "a fifo")),
            _ => return Err(refuse(offset, &path, "an entry of unknown type")),
        };
        let entry = Entry { offset, path, link, kind, executable: header.mode & 0o100 != 0, size };
        check_entry(&entry).map_err(|what| entry.refuse(what))?;
        Ok(entry)
    }
}

fn read_pax(data: &[u8], overrides: &mut Overrides, globals: Option<&mut Overrides>) -> Result<(), &'static str> {
    header::pax_records(data, |key, value| overrides.set(key, value))?;
    globals.map_or(Ok(()), |globals| header::pax_records(data, |key, value| globals.set(key, value)))
}

fn check_entry(entry: &Entry) -> Result<(), &'static str> {
    let is_link = matches!(entry.kind, Kind::HardLink | Kind::Symlink);
    check_location(&entry.path)?;
    if is_link && entry.link.is_empty() {
        return Err("a link without a target");
    }
    if !is_link && !entry.link.is_empty() {
        return Err("a target on what is no link");
    }
    if entry.link.contains(&0) {
        return Err("a NUL in the link target");
    }
    if entry.kind == Kind::HardLink {
        check_location(&entry.link).map_err(|_| "a hard link to an unsafe path")?;
    }
    if entry.kind != Kind::File && entry.size != 0 {
        return Err("content on what is no file");
    }
    let last = entry.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    if entry.kind != Kind::Directory && matches!(last, b"" | b".") {
        return Err("the path of a directory on what is none");
    }
    Ok(())
}

/// Nothing that could leave the directory it is unpacked in.
fn check_location(path: &[u8]) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("an empty path");
    }
    if path.starts_with(b"/") {
        return Err("an absolute path");
    }
    if path.contains(&0) {
        return Err("a NUL in the path");
    }
    if path.split(|byte| *byte == b'/').any(|part| part == b"..") {
        return Err("a path with a .. component");
    }
    Ok(())
}
