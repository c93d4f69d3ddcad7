//! Which resource goes into which volume, decided before anything is written: to the byte, with
//! headers, padding, trailer, and the index, whose own length depends on the answer.

use super::order::ExportError;
use super::write::{TRAILER, entry_size, item_size};
use crate::exchange::{BundleIndex, Item, MAX_VOLUMES, Volume, is_file_name};
use std::path::{Path, PathBuf};

/// Most bytes that a further volume adds to the index, name and all.
const GROWTH: u64 = 1024;

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
    let size_of = |metadata: &[(_, Vec<u8>)]| metadata.iter().map(|(_, bytes)| entry_size(bytes.len() as u64)).sum();
    index.volumes = describe(&index, 1, out);
    let mut reserved: u64 = size_of(&seal(&index)?);
    check(&index, reserved, volume_size)?;
    // Grows with each round, and an index that is a little shorter than was reserved fits too.
    loop {
        let volumes = assign(&mut index, reserved, volume_size);
        if volumes as usize > MAX_VOLUMES {
            return Err(ExportError::Volumes(volumes));
        }
        index.volumes = describe(&index, volumes, out);
        let metadata = seal(&index)?;
        let size = size_of(&metadata);
        if size <= reserved {
            // What no import would read must not be written.
            if let Some(volume) = index.volumes.iter().find(|volume| !is_file_name(&volume.file)) {
                return Err(ExportError::Name(volume.file.clone()));
            }
            return Ok(Layout { index, metadata });
        }
        reserved = size;
        check(&index, reserved, volume_size)?;
    }
}

/// Whether each file fits into a volume of its own.
fn check(index: &BundleIndex, reserved: u64, volume_size: Option<u64>) -> Result<(), ExportError> {
    let most = volume_size.unwrap_or(u64::MAX);
    // An index of more volumes is longer: by their descriptions, and by digits.
    let growth = (index.items().count() as u64).saturating_mul(GROWTH);
    let needs = |bytes: u64| reserved.saturating_add(TRAILER).saturating_add(bytes);
    let enough = |bytes: u64| needs(bytes).saturating_add(growth).next_multiple_of(1 << 20);
    let largest = index.items().max_by_key(|item| item_size(*item));
    let size = largest.map_or(0, item_size);
    match largest {
        _ if needs(0) > most => Err(ExportError::Volume { least: enough(size) }),
        Some(item) if needs(size) > most => {
            Err(ExportError::TooLarge { name: item.label(), size: item.size(), least: enough(size) })
        }
        _ => Ok(()),
    }
}

/// Fills one volume after the other, and returns how many there are.
fn assign(index: &mut BundleIndex, reserved: u64, volume_size: Option<u64>) -> u32 {
    let most = volume_size.unwrap_or(u64::MAX);
    let empty = reserved.saturating_add(TRAILER);
    let (mut volume, mut used) = (1, empty);
    let sizes: Vec<_> = index.items().map(item_size).collect();
    let resources = index.resources.iter_mut().map(|entry| &mut entry.volume);
    let repositories = index.repositories.iter_mut().map(|entry| &mut entry.volume);
    for (of_item, size) in resources.chain(repositories).zip(sizes) {
        if used > empty && used.saturating_add(size) > most {
            (volume, used) = (volume + 1, empty);
        }
        *of_item = volume;
        used = used.saturating_add(size);
    }
    volume
}

fn describe(index: &BundleIndex, volumes: u32, out: &Path) -> Vec<Volume> {
    let describe = |number| {
        let of_it = || index.of_volume(number);
        let path = path(out, number, volumes);
        Volume {
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            resources: of_it().count() as u64,
            bytes: of_it().map(Item::size).sum(),
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
    let metadata = layout.metadata.iter().map(|(_, bytes)| entry_size(bytes.len() as u64));
    metadata.chain(layout.index.of_volume(number).map(item_size)).sum::<u64>() + TRAILER
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Base, Entry, INDEX_FORMAT, RepositoryEntry, Sha256};
    use crate::protocol::{GENERAL, Resource, TreeHash};
    use proptest::prelude::*;

    fn entry(number: usize, size: u64) -> Entry {
        let mut tree = [0; 20];
        tree[..8].copy_from_slice(&number.to_be_bytes());
        Entry {
            resource: Resource::Artifact { tree: TreeHash::from_bytes(tree) },
            size,
            sha256: Sha256::from_bytes([0; 32]),
            volume: 1,
            name: None,
            version: None,
            repository: None,
            replaces: None,
        }
    }

    /// Of a git bundle, whose name may be longer than a header has room for.
    fn repository(number: usize, size: u64) -> RepositoryEntry {
        RepositoryEntry {
            file: format!("git/h/{}{number}.bundle", "a/".repeat(number * 23)).parse().unwrap(),
            size,
            sha256: Sha256::from_bytes([0; 32]),
            volume: 1,
            url: None,
            packages: [].into(),
            trees: [].into(),
        }
    }

    fn index(sizes: &[u64], repositories: &[u64]) -> BundleIndex {
        BundleIndex {
            airlock_bundle: INDEX_FORMAT,
            id: GENERAL,
            created: jiff::Timestamp::UNIX_EPOCH,
            origin: GENERAL,
            destination: "all".into(),
            sequence: 1,
            repeats: [].into(),
            builds_on: Base::default(),
            platforms: Vec::new(),
            registries: Vec::new(),
            resources: sizes.iter().enumerate().map(|(number, &size)| entry(number, size)).collect(),
            repositories: repositories.iter().enumerate().map(|(number, &size)| repository(number, size)).collect(),
            volumes: Vec::new(),
            uncarried: Vec::new(),
            sbom_sha256: Sha256::from_bytes([0; 32]),
        }
    }

    fn laid_out(sizes: &[u64], volume_size: Option<u64>) -> Result<Layout, ExportError> {
        laid_out_with(sizes, &[], volume_size)
    }

    fn laid_out_with(sizes: &[u64], repositories: &[u64], volume_size: Option<u64>) -> Result<Layout, ExportError> {
        let seal = |index: &BundleIndex| Ok(vec![("bundle.json", index.to_json())]);
        lay_out(index(sizes, repositories), Path::new("x.tar"), volume_size, seal)
    }

    proptest! {
        #[test]
        fn volumes_keep_their_size_and_the_index_can_be_read(
            sizes in prop::collection::vec(0u64..9_000, 1..60),
            repositories in prop::collection::vec(0u64..9_000, 0..20),
            volume_size in 20_000u64..60_000
        ) {
            match laid_out_with(&sizes, &repositories, Some(volume_size)) {
                Ok(layout) => {
                    let count = u32::try_from(layout.index.volumes.len()).unwrap();
                    for number in 1..=count {
                        prop_assert!(volume_bytes(&layout, number) <= volume_size);
                        prop_assert!(count == 1 || layout.index.of_volume(number).count() > 0);
                    }
                    prop_assert_eq!(BundleIndex::parse(&layout.metadata[0].1), Ok(layout.index));
                }
                Err(ExportError::TooLarge { least, .. } | ExportError::Volume { least }) => {
                    prop_assert!(laid_out_with(&sizes, &repositories, Some(least)).is_ok(), "{} would not do", least);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn the_largest_is_named_with_a_size_that_would_do() {
        let error = laid_out(&[10, 5_000_000, 3_000_000], Some(1_000_000)).err().unwrap();
        assert!(matches!(error, ExportError::TooLarge { size: 5_000_000, least: 5_242_880, .. }), "{error}");
    }

    #[test]
    fn a_git_bundle_that_is_too_large_is_named() {
        let error = laid_out_with(&[10], &[5_000_000], Some(1_000_000)).err().unwrap();
        assert!(matches!(&error, ExportError::TooLarge { name, .. } if name == "git/h/0.bundle"), "{error}");
    }

    #[test]
    fn more_volumes_than_an_import_reads_are_refused() {
        let error = laid_out(&vec![20_000_000; 10_001], Some(30_000_000)).err().unwrap();
        assert!(matches!(error, ExportError::Volumes(10_001)), "{error}");
    }

    #[test]
    fn names_of_volumes_stand_before_the_extension() {
        let named = |out, number, count| path(Path::new(out), number, count).display().to_string();
        assert_eq!(named("a/x.tar", 1, 1), "a/x.tar");
        assert_eq!(named("a/x.y.tar", 2, 3), "a/x.y.2of3.tar");
        assert_eq!(named("x", 3, 3), "x.3of3");
    }
}
