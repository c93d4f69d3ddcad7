//! The report as a document for other programs.

use super::{How, Outside, PLAIN, demo};
use serde_json::Value;
use std::path::Path;

#[tokio::test]
async fn the_document_has_exactly_these_keys() {
    let outside = Outside::new().await;
    let git =
        "[[Forge]]\nuuid='354e2ac8-8ada-4e21-9862-af9efd059799'\nrepo-url='https://forge.example.invalid/F.git'\n";
    let manifest = outside.file("Manifest.toml", git);
    for how in [PLAIN, How { dry_run: true, ..PLAIN }, How { offline: true, ..PLAIN }] {
        let report = outside.prewarm(&[&demo(), &manifest, Path::new("/gone")], how).await;
        let document = serde_json::to_value(&report).unwrap();
        assert_eq!(keys(&document), TOP_KEYS);
        for (list, expected) in LIST_KEYS {
            let items = document[list].as_array().unwrap();
            assert!(!items.is_empty(), "{list}");
            for item in items {
                assert_eq!(&keys(item), expected, "{list}");
            }
        }
        assert_eq!(keys(&document["totals"]), ["bytes", "cached", "denied", "failed", "fetched", "planned"]);
    }
}

#[tokio::test]
async fn what_was_chosen_has_exactly_these_keys() {
    let outside = Outside::new().await;
    let asked = |add: &str| super::by_name::by_name(&[add], &["1.10"]);
    let document = serde_json::to_value(outside.ask(asked("Pebble")).await).unwrap();
    let solved = &document["solved"][0];
    assert_eq!(keys(solved), ["input", "julia", "manifest", "packages", "roots", "tests"]);
    assert_eq!(keys(&solved["packages"][0]), ["name", "tree", "uuid", "version"]);
    assert_eq!(solved["roots"]["Pebble"], "354e2ac8-8ada-4e21-9862-af9efd059799");
    let document = serde_json::to_value(outside.ask(asked("Nope")).await).unwrap();
    assert_eq!(keys(&document["conflicts"][0]), ["input", "julia", "why"]);
    assert_eq!(
        (document["inputs"][0]["kind"].as_str(), document["inputs"][0]["path"].as_str()),
        (Some("names"), Some("--add"))
    );
}

const TOP_KEYS: [&str; 14] = [
    "artifacts",
    "conflicts",
    "estimate",
    "inputs",
    "local_paths",
    "packages",
    "registries",
    "repositories",
    "solved",
    "standard_libraries",
    "totals",
    "unmirrorable",
    "unopened_packages",
    "unwritten",
];

const LIST_KEYS: [(&str, &[&str]); 5] = [
    ("inputs", &["error", "julia_version", "kind", "manifest_format", "path", "warnings"]),
    ("registries", &["bytes", "reason", "status", "tree", "uuid"]),
    ("packages", &["bytes", "from", "name", "reason", "status", "tree", "uuid", "version"]),
    ("artifacts", &["bytes", "from", "lazy", "names", "package", "platforms", "reason", "status", "tree"]),
    ("unmirrorable", &["kind", "name", "repo_url", "uuid", "version"]),
];

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn the_same_cache_gives_the_same_document() {
    let outside = Outside::new().await;
    outside.prewarm(&[&demo()], PLAIN).await;
    let document = async || serde_json::to_string(&outside.prewarm(&[&demo()], PLAIN).await).unwrap();
    assert_eq!(document().await, document().await);
}
