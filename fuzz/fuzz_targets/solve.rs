//! A registry whose files are parts of any text, divided by lines of `---`, and a solution over it:
//! no panic, no hang. `cargo +nightly fuzz run solve`.
#![no_main]

use airlock::julia::parse_compat;
use airlock::resolve::{CatalogueBuilder, Question, Root, solve};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

/// Two packages by these uuids, which the text may name.
const REGISTRY: &[u8] = b"name = 'R'
uuid = '11111111-1111-1111-1111-111111111111'
[packages]
22222222-2222-2222-2222-222222222222 = { name = 'A', path = 'A' }
33333333-3333-3333-3333-333333333333 = { name = 'B', path = 'B' }
";

const FILES: [&str; 5] = ["Versions", "Deps", "Compat", "WeakDeps", "WeakCompat"];

fuzz_target!(|text: &str| {
    let mut builder = CatalogueBuilder::default();
    builder.file("Registry.toml", REGISTRY.to_vec());
    let paths = ["A", "B"].iter().flat_map(|folder| FILES.map(|file| format!("{folder}/{file}.toml")));
    for (path, part) in paths.zip(text.split("\n---\n")) {
        builder.file(&path, part.as_bytes().to_vec());
    }
    let Ok(catalogue) = builder.finish() else { return };
    let Ok(uuid) = "22222222-2222-2222-2222-222222222222".parse() else { return };
    let ranges = parse_compat(text.lines().next().unwrap_or_default()).unwrap_or_default();
    let Ok(julia) = "1.10.2".parse() else { return };
    let question = Question { julia, roots: vec![Root { uuid, ranges }], forbids: &|_, _| None };
    if let Err(conflict) = solve(&[Arc::new(catalogue)], &question) {
        assert!(!conflict.to_string().is_empty());
    }
});
