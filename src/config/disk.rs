//! `[disk]`: the room that stays free on the disk of the cache.

use bytesize::ByteSize;
use serde::Deserialize;

/// `[disk]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiskSettings {
    /// With less room than this nothing new is cached.
    pub min_free: Option<ByteSize>,
}

/// The room that stays free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Bytes; `None` for what the size of the disk suggests.
    pub min_free: Option<u64>,
}

impl Disk {
    pub(super) fn new(file: &DiskSettings) -> Self {
        Self { min_free: file.min_free.map(|size| size.as_u64()) }
    }
}
