//! Append-only files of lines, most of them one JSON document each, which any number of processes may
//! append to.
//!
//! A line that cannot be read is passed over: a crash, or a later version, costs that line only. What
//! was appended is on disk for good when the call returns, unless it can be made again anyway.

use super::{StoreError, is_absent, publish};
use fs_err as fs;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// All lines, the oldest first. No file has none.
pub(super) fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, StoreError> {
    let mut all = Vec::new();
    for_each_line(path, |value| all.push(value))?;
    Ok(all)
}

/// Hands every line to `visit`, the oldest first: for what is added up rather than kept.
pub(super) fn for_each_line<T: DeserializeOwned>(path: &Path, mut visit: impl FnMut(T)) -> Result<(), StoreError> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for line in whole_lines(BufReader::new(file)) {
        if let Ok(value) = serde_json::from_slice(&line?) {
            visit(value);
        }
    }
    Ok(())
}

/// Lines with their newline; a last line without one is still being written.
pub(super) fn whole_lines(mut reader: impl BufRead) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        match reader.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => Some(Ok(line)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    })
}

/// Appends lines in one write, so that two processes never mix theirs, durably.
pub(super) fn append_lines(path: &Path, values: &[impl Serialize]) -> Result<(), StoreError> {
    append_durably(path, &to_lines(values)?)
}

/// The same for what nobody needs to keep: a power cut may take the last of it.
pub(super) fn append_rebuildable(path: &Path, values: &[impl Serialize]) -> Result<(), StoreError> {
    append(path, &to_lines(values)?).map(drop)
}

/// Appends lines of plain text in one write, each with its newline, durably.
pub(super) fn append_text(path: &Path, lines: &str) -> Result<(), StoreError> {
    append_durably(path, lines.as_bytes())
}

fn to_lines(values: &[impl Serialize]) -> Result<Vec<u8>, StoreError> {
    let mut lines = Vec::new();
    for value in values {
        serde_json::to_writer(&mut lines, value).map_err(io::Error::from)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn append_durably(path: &Path, new: &[u8]) -> Result<(), StoreError> {
    let file = append(path, new)?;
    crate::fault::point("ledger.appended");
    file.sync_data()?;
    // Not only when it is new: whoever made it may have met its end before it synced the folder.
    path.parent().map_or(Ok(()), publish::sync_folder)?;
    crate::fault::point("ledger.synced");
    Ok(())
}

/// A line that a crash cut short is closed first: it must not swallow the next.
fn append(path: &Path, new: &[u8]) -> Result<fs::File, StoreError> {
    let mut file = fs::OpenOptions::new().create(true).append(true).read(true).open(path)?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.file().read_exact_at(&mut last, length - 1)?;
    }
    let mut lines = if last == *b"\n" { Vec::new() } else { vec![b'\n'] };
    lines.extend_from_slice(new);
    file.write_all(&lines)?;
    Ok(file)
}
