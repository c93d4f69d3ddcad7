//! Which resource goes into which volume, decided before anything is written: to the byte, with
//! headers, padding, trailer, and the index, whose own length depends on the answer.

use super::order::ExportError;
use super::write::{TRAILER, entry_size};
use crate::exchange::{BundleIndex, Entry, Volume};
use std::path::{Path, PathBuf};

/// A bundle whose volumes are decided.
pub(super) struct Layout {
    pub(super) index: BundleIndex,
    /// What comes first in every volume: names and contents.
    pub(super) metadata: Vec<(&'static str, Vec<u8>)>,
}

/// Decides. `seal` makes the first entries of an index; their sizes may depend on it.
pub(super) fn lay_out(
    mut index: BundleIndex,
    out: &Path,
    volume_size: Option<u64>,
    seal: impl Fn(&BundleIndex) -> Result<Vec<(&'static str, Vec<u8>)>, ExportError>,
) -> Result<Layout, ExportError> {
    let mut reserved = 0;
    // Grows with each round, and an index that is a little shorter than was reserved fits too.
    loop {
        let volumes = assign(&mut index.resources, reserved, volume_size)?;
        index.volumes = describe(&index.resources, volumes, out);
        let metadata = seal(&index)?;
        let size = metadata.iter().map(|(_, bytes)| entry_size(bytes.len() as u64)).sum();
        if size <= reserved {
            return Ok(Layout { index, metadata });
        }
        reserved = size;
    }
}

/// Fills one volume after the other, and returns how many there are.
fn assign(entries: &mut [Entry], reserved: u64, volume_size: Option<u64>) -> Result<u32, ExportError> {
    let most = volume_size.unwrap_or(u64::MAX);
    let empty = reserved.saturating_add(TRAILER);
    if empty > most {
        return Err(ExportError::Volume { least: empty });
    }
    let (mut volume, mut used) = (1, empty);
    for entry in entries {
        let size = entry_size(entry.size);
        if empty.saturating_add(size) > most {
            let name = entry.name.clone().unwrap_or_else(|| entry.resource.to_string());
            // Room for the index to grow: it may need more digits then.
            let least = empty.saturating_add(size).next_multiple_of(1 << 20);
            return Err(ExportError::TooLarge { name, size: entry.size, least });
        }
        if used.saturating_add(size) > most {
            (volume, used) = (volume + 1, empty);
        }
        entry.volume = volume;
        used = used.saturating_add(size);
    }
    Ok(volume)
}

fn describe(entries: &[Entry], volumes: u32, out: &Path) -> Vec<Volume> {
    let describe = |number| {
        let of_it = || entries.iter().filter(move |entry| entry.volume == number);
        let path = path(out, number, volumes);
        Volume {
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            resources: of_it().count() as u64,
            bytes: of_it().map(|entry| entry.size).sum(),
        }
    };
    (1..=volumes).map(describe).collect()
}

/// `x.tar`, or of several volumes `x.2of3.tar`.
pub(super) fn path(out: &Path, number: u32, volumes: u32) -> PathBuf {
    if volumes == 1 {
        return out.to_owned();
    }
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    let extension = out.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    out.with_file_name(format!("{stem}.{number}of{volumes}{extension}"))
}

/// The bytes of a volume.
pub(super) fn volume_bytes(layout: &Layout, number: u32) -> u64 {
    let metadata = layout.metadata.iter().map(|(_, bytes)| bytes.len() as u64);
    let entries = layout.index.of_volume(number).map(|entry| entry.size);
    metadata.chain(entries).map(entry_size).sum::<u64>() + TRAILER
}
