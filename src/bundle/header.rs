//! The head of a file in a volume: one tar header, or for a name that has no room in one, GNU tar's
//! way: the name as a file of its own before it. All tars that people have read that.
//!
//! Only the git bundle of a repository with a long address has such a name.

use super::volume::ReadAt;
use crate::tree::{TAR_BLOCK, TarHeader, read_tar_header};

/// Bytes of a name that a header has room for.
const LONGEST: usize = 100;
/// What GNU tar calls a long name.
const LONG_NAME: &str = "././@LongLink";
const LONG_NAME_FLAG: u8 = b'L';

/// Bytes of the head of a file of this name.
pub(super) const fn head_bytes(name: &str) -> u64 {
    let block = TAR_BLOCK as u64;
    if name.len() <= LONGEST { block } else { 2 * block + (name.len() as u64 + 1).next_multiple_of(block) }
}

/// The head of a file.
pub(super) fn head(name: &str, size: u64, time: jiff::Timestamp) -> Vec<u8> {
    let own = |name: &str, flag: u8, size: u64| {
        let mut header = tar::Header::new_gnu();
        let short = name.as_bytes().get(..LONGEST).unwrap_or(name.as_bytes());
        for (to, byte) in header.as_old_mut().name.iter_mut().zip(short) {
            *to = *byte;
        }
        header.set_entry_type(tar::EntryType::new(flag));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size);
        header.set_mtime(u64::try_from(time.as_second()).unwrap_or_default());
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let mut head = Vec::new();
    if name.len() > LONGEST {
        let length = name.len() + 1;
        head.extend(own(LONG_NAME, LONG_NAME_FLAG, length as u64));
        head.extend(name.as_bytes());
        head.resize(head.len() + length.next_multiple_of(TAR_BLOCK) - name.len(), 0);
    }
    head.extend(own(name, b'0', size));
    head
}

/// Whether the head of a file of this name and size is at an offset.
pub(super) fn is_head<S: ReadAt + ?Sized>(source: &S, mut offset: u64, name: &str, size: u64) -> bool {
    let mut own = name;
    if name.len() > LONGEST {
        let length = name.len() as u64 + 1;
        let is_long = |header: &TarHeader| {
            header.type_flag == LONG_NAME_FLAG && header.path == LONG_NAME.as_bytes() && header.size == length
        };
        let mut named = vec![0; name.len() + 1];
        let is_named = header_at(source, offset).is_some_and(|header| is_long(&header))
            && source.read_exact_at(&mut named, offset + TAR_BLOCK as u64).is_ok()
            && named.strip_suffix(b"\0") == Some(name.as_bytes());
        if !is_named {
            return false;
        }
        offset += head_bytes(name) - TAR_BLOCK as u64;
        own = name.get(..LONGEST).unwrap_or(name);
    }
    header_at(source, offset)
        .is_some_and(|header| header.path == own.as_bytes() && is_file(&header) && header.size == size)
}

fn header_at<S: ReadAt + ?Sized>(source: &S, offset: u64) -> Option<TarHeader> {
    let mut block = [0; TAR_BLOCK];
    source.read_exact_at(&mut block, offset).ok()?;
    read_tar_header(&block).ok()
}

/// Whether a header is of a plain file.
pub(super) fn is_file(header: &TarHeader) -> bool {
    matches!(header.type_flag, b'0' | 0) && header.link.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_head_is_as_long_as_it_was_said_and_any_tar_reads_the_name() {
        for length in [1, 99, 100, 101, 255, 256, 511, 512, 1023, 1024] {
            let name: String = "git/h/".chars().chain(std::iter::repeat('x')).take(length).collect();
            let mut file = head(&name, 3, jiff::Timestamp::UNIX_EPOCH);
            assert_eq!(file.len() as u64, head_bytes(&name), "{length}");
            assert!(is_head(&file[..], 0, &name, 3), "{length}");
            assert!(!is_head(&file[..], 0, &name, 4) && !is_head(&file[..], 512, &name, 3), "{length}");
            let other = format!("{}y", &name[..length - 1]);
            assert!(!is_head(&file[..], 0, &other, 3), "{length}: the last letter counts");
            file.extend(b"abc");
            file.resize(file.len().next_multiple_of(TAR_BLOCK) + 2 * TAR_BLOCK, 0);
            let mut archive = tar::Archive::new(&file[..]);
            let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
            assert_eq!(entry.path_bytes(), name.as_bytes());
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            assert_eq!(content, "abc");
        }
    }
}
