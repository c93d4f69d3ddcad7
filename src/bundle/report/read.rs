//! Reading the volumes: the SHA-256 of each file, and each package's licence, in one pass each.

use crate::bundle::{Bundle, Licence, Place};
use crate::exchange::{Entry, Item, Sha256};
use crate::protocol::{Kind, Resource};
use crate::tree::Limits;
use sha2::{Digest as _, Sha256 as Hasher};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

/// What is read at once.
const CHUNK: usize = 256 << 10;

/// A package's licence, or why it could not be read.
pub(super) type ReadPackage = Result<Licence, String>;

/// A volume's size and SHA-256, or why it could not be read.
pub(super) type ReadVolume = Result<(u64, Sha256), String>;

/// What was found in the volumes.
#[derive(Default)]
pub(super) struct Findings {
    /// Of each volume that was given.
    pub(super) volumes: BTreeMap<u32, ReadVolume>,
    /// Of each package in them.
    pub(super) packages: HashMap<Resource, ReadPackage>,
}

enum Task<'a> {
    Volume(u32, &'a File),
    Package(&'a Entry, Place<'a>),
}

/// Reads everything with `jobs` threads.
pub(super) fn read(bundle: &Bundle, limits: &Limits, jobs: usize, progress: &(impl Fn(&str, u64) + Sync)) -> Findings {
    let volumes = bundle.volumes().map(|volume| Task::Volume(volume.number(), volume.file()));
    let packages = bundle.items().filter_map(|(item, place)| match item {
        Item::Resource(entry) if entry.resource.kind() == Kind::Package => Some(Task::Package(entry, place)),
        Item::Resource(_) | Item::Repository(_) => None,
    });
    // The volumes first: they take longest.
    let tasks = Mutex::new(volumes.chain(packages));
    let findings = Mutex::new(Findings::default());
    let work = || {
        loop {
            let next = tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
            match next {
                None => return,
                Some(Task::Volume(number, file)) => {
                    let read = hash(file).map_err(|error| format!("cannot be read: {error}"));
                    progress(bundle.file_name(number), read.as_ref().map_or(0, |(size, _)| *size));
                    findings.lock().unwrap_or_else(PoisonError::into_inner).volumes.insert(number, read);
                }
                Some(Task::Package(entry, place)) => {
                    let read = package(entry, place, limits);
                    let mut findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
                    findings.packages.insert(entry.resource, read);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    findings.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn hash(file: &File) -> io::Result<(u64, Sha256)> {
    let mut part = Part { file, at: 0, left: u64::MAX, hasher: Hasher::new() };
    let mut buffer = vec![0; CHUNK];
    loop {
        match part.read(&mut buffer) {
            Ok(0) => return Ok((part.at, part.sha256())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn package(entry: &Entry, place: Place<'_>, limits: &Limits) -> ReadPackage {
    let (volume, at) = match place {
        Place::At(volume, at) => (volume, at),
        Place::Damaged => return Err("damaged: it is not where it should be in its volume".to_owned()),
        Place::Absent => return Err(format!("volume {} is missing", entry.volume)),
    };
    let mut part = Part { file: volume.file(), at, left: entry.size, hasher: Hasher::new() };
    let licence = Licence::read(&mut part, limits);
    // A reader of archives may stop at a fault; what comes after it was signed for too.
    io::copy(&mut part, &mut io::sink()).map_err(|error| format!("cannot be read: {error}"))?;
    if part.sha256() != entry.sha256 {
        return Err("damaged: its SHA-256 is not the one in bundle.json".to_owned());
    }
    licence.map_err(|error| error.to_string())
}

/// A part of a file, hashed while it is read.
struct Part<'a> {
    file: &'a File,
    at: u64,
    left: u64,
    hasher: Hasher,
}

impl Part<'_> {
    fn sha256(self) -> Sha256 {
        Sha256::from_bytes(self.hasher.finalize().into())
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..most).unwrap_or_default();
        let count = self.file.read_at(buffer, self.at)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
