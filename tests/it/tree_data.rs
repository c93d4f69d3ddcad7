//! Tree hashes of published tarballs, where the test data is at hand.

use std::path::PathBuf;

use airlock::tree::{Limits, hash_tar_gz, read_file, visit_files};

/// A file of the test data, or `None` after saying so.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration to read it for them")]
fn test_data(name: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data"));
    let directory = std::env::var("AIRLOCK_TEST_DATA").map_or_else(|_| beside(), PathBuf::from);
    let path = directory.join(name);
    if path.is_file() {
        return Some(path);
    }
    crate::support::skip(&format!("data: {} is not there", path.display()));
    None
}

#[test]
fn general_of_2024_has_its_published_hash() {
    let Some(path) = test_data("General-2024-04-04.tar.gz") else { return };
    let file = fs_err::File::open(path).unwrap();
    let contents = hash_tar_gz(file, &Limits::default(), |path| path == "Registry.toml").unwrap();
    assert_eq!(contents.strict.to_string(), "ff7de6d04928785426b131bad7b2b1d785f2a8d7");
    assert_eq!(contents.lenient, contents.strict);
    assert_eq!(contents.kept.len(), 1);
}

#[test]
fn a_visit_of_general_sees_every_file() {
    let Some(path) = test_data("General-2024-04-04.tar.gz") else { return };
    let mut versions = 0;
    let mut registry = None;
    let file = fs_err::File::open(&path).unwrap();
    visit_files(file, &Limits::default(), &mut |path, contents| match path {
        "Registry.toml" => registry = Some(contents),
        _ => versions += usize::from(path.ends_with("/Versions.toml")),
    })
    .unwrap();
    let file = fs_err::File::open(&path).unwrap();
    assert_eq!(read_file(file, &Limits::default(), "Registry.toml").unwrap(), registry);
    let registry = String::from_utf8(registry.unwrap()).unwrap();
    assert_eq!(versions, registry.matches("path = \"").count());
}
