//! Real manifests and `Artifacts.toml` files are read exactly as an independent reader read them.
//!
//! The data is big and not part of the repository: `AIRLOCK_TEST_DATA` says where it is, else it
//! is looked for in `../shared/data`. Without it these tests say loudly that they did nothing.

use airlock::julia::{Artifact, ArtifactsToml, FileKind, Manifest, ManifestEntry, Origin, Platforms};
use airlock::protocol::TreeHash;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[test]
fn every_real_manifest_is_read_as_expected() {
    check("manifests", 233, |text| {
        assert_eq!(FileKind::sniff(text), Ok(FileKind::Manifest));
        manifest_as_json(&Manifest::parse(text).unwrap())
    });
}

#[test]
fn every_real_artifacts_file_is_read_as_expected() {
    check("artifacts", 39, |text| {
        assert_eq!(FileKind::sniff(text), Ok(FileKind::Artifacts));
        let artifacts = ArtifactsToml::parse(text).unwrap();
        assert!(artifacts.iter().all(|artifact| Platforms::All.applies(artifact)));
        json!({ "artifacts": sorted(artifacts.iter().map(artifact_as_json)) })
    });
}

/// Compares what `read` makes of each file in a folder with `<folder>.expected.json`.
#[expect(clippy::unwrap_used, reason = "a test that cannot read its data must fail")]
fn check(folder: &str, files: usize, read: impl Fn(&str) -> Value) {
    let Some(data) = data() else { return };
    let expected = fs_err::read_to_string(data.join(format!("{folder}.expected.json"))).unwrap();
    let expected: BTreeMap<String, Value> = serde_json::from_str(&expected).unwrap();
    assert_eq!(expected.len(), files);
    assert_eq!(fs_err::read_dir(data.join(folder)).unwrap().count(), files);
    for (name, expected) in expected {
        let text = fs_err::read_to_string(data.join(folder).join(&name)).unwrap();
        assert_eq!(read(&text), sorted_lists(expected), "{name}");
    }
}

fn data() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let data = std::env::var_os("AIRLOCK_TEST_DATA").map_or(default, PathBuf::from);
    let found = data.join("manifests").is_dir();
    if !found {
        crate::support::skip(&format!("data: {} has no manifests", data.display()));
    }
    found.then_some(data)
}

fn manifest_as_json(manifest: &Manifest) -> Value {
    let of_kind = |kind: &str| {
        let entries = manifest.entries.iter().map(entry_as_json);
        sorted(entries.filter(|(of, _)| *of == kind).map(|(_, entry)| entry))
    };
    json!({
        "format": manifest.format,
        "julia_version": manifest.julia_version,
        "registered": of_kind("registered"),
        "git": of_kind("git"),
        "path": of_kind("path"),
        "stdlib_or_unhashed": of_kind("stdlib_or_unhashed"),
    })
}

fn entry_as_json(entry: &ManifestEntry) -> (&'static str, Value) {
    let (kind, tree) = match &entry.origin {
        Origin::Registered { tree } => ("registered", Some(*tree)),
        Origin::Git { tree, .. } => ("git", *tree),
        Origin::Path { tree, .. } => ("path", *tree),
        Origin::Unhashed => ("stdlib_or_unhashed", None),
    };
    let ManifestEntry { name, uuid, version, .. } = entry;
    let tree = tree.as_ref().map(TreeHash::to_string);
    (kind, json!({ "name": name, "uuid": uuid, "version": version, "tree": tree }))
}

fn artifact_as_json(artifact: &Artifact) -> Value {
    json!({
        "name": artifact.name,
        "tree": artifact.tree,
        "lazy": artifact.lazy,
        "tags": artifact.tags,
        "array": artifact.platform_specific,
        "downloads": artifact.downloads.len(),
    })
}

/// The expected lists have an order of their own.
fn sorted_lists(value: Value) -> Value {
    match value {
        Value::Array(items) => sorted(items),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, sorted_lists(value))).collect(),
        other => other,
    }
}

fn sorted(items: impl IntoIterator<Item = Value>) -> Value {
    let mut items: Vec<Value> = items.into_iter().collect();
    items.sort_by_key(Value::to_string);
    Value::Array(items)
}
