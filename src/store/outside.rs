//! Small files that leave the cache: requests, lists of misses, manifests, keys. A file of such a name
//! is always a whole one, whatever ends the process that writes it.

use super::lock::is_still;
use super::publish::sync_folder;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::TryLockError;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A file that is written and does not have its name yet; dropped before, it is gone.
#[derive(Debug)]
pub struct Outside {
    part: PathBuf,
    to: PathBuf,
    /// Locked while it is at work; `None` once it has its name.
    file: Option<std::fs::File>,
}

impl Outside {
    /// Writes a file beside its name, in place of what a dead process left there, and syncs it. The
    /// umask takes from `mode` as ever.
    pub fn stage(to: &Path, contents: &[u8], mode: u32) -> io::Result<Self> {
        if fs::metadata(to).is_ok_and(|there| !there.is_file()) {
            return Err(io::Error::other(format!("{} is not a plain file; - is standard output", to.display())));
        }
        let part = part_of(to);
        let mut file = make_alone(&part, mode)?;
        let staged = Self { part, to: to.to_owned(), file: Some(file.try_clone()?) };
        file.write_all(contents)?;
        file.sync_all()?;
        // What is published after this one may say after a power cut that this was here.
        sync_folder(folder_of(to))?;
        crate::fault::point("outside.staged");
        Ok(staged)
    }

    /// Gives it its name, for good. `AlreadyExists` if a file is there that it may not replace.
    pub fn publish(mut self, replace: bool) -> io::Result<()> {
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        match renameat_with(CWD, &self.part, CWD, &self.to, flags) {
            // No such rename on this file system (FAT, some network ones).
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if fs::symlink_metadata(&self.to).is_err() => {
                fs::rename(&self.part, &self.to)?;
            }
            renamed => renamed?,
        }
        self.file = None;
        crate::fault::point("outside.renamed");
        sync_folder(folder_of(&self.to))
    }

    /// Whether a process died before it could give a file this name.
    pub fn was_cut_off(to: &Path) -> bool {
        fs::symlink_metadata(to).is_err() && fs::symlink_metadata(part_of(to)).is_ok()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.part);
        }
    }
}

fn part_of(to: &Path) -> PathBuf {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

fn folder_of(to: &Path) -> &Path {
    to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file, in place of what a dead process left; one that is being written is locked. What was left
/// is never written to: after a power cut it may have its final name too.
fn make_alone(part: &Path, mode: u32) -> io::Result<std::fs::File> {
    let busy = || io::Error::other(format!("{} is being written by another airlock", part.display()));
    loop {
        match fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(part) {
            Ok(file) => {
                let file = file.into_file();
                match file.try_lock() {
                    Err(TryLockError::WouldBlock) => return Err(busy()),
                    // Somebody took it for one of the dead before it was locked.
                    Ok(()) if !is_still(&file, part) => {}
                    // Without locks (some network file systems) it is taken as it is.
                    _ => return Ok(file),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let left = match fs::File::open(part) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    left => left?.into_parts().0,
                };
                match left.try_lock() {
                    Err(TryLockError::WouldBlock) => return Err(busy()),
                    Ok(()) if !is_still(&left, part) => {}
                    _ => fs::remove_file(part)?,
                }
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_whole_or_as_it_was_and_what_the_dead_left_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("out.key");
        fs::write(part_of(&to), "left over, and longer").unwrap();
        assert!(Outside::was_cut_off(&to));
        let staged = Outside::stage(&to, b"one", 0o600).unwrap();
        assert!(Outside::stage(&to, b"two", 0o600).unwrap_err().to_string().contains("another airlock"));
        assert!(!to.exists());
        staged.publish(false).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"one");
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        let there = Outside::stage(&to, b"three", 0o600).unwrap().publish(false).unwrap_err();
        assert_eq!(there.kind(), io::ErrorKind::AlreadyExists);
        Outside::stage(&to, b"three", 0o600).unwrap().publish(true).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"three");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
