//! The layers of `ARCHITECTURE.md`, held to the code: a lower one never imports a higher one.

use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each module with its layer and the crates that it must not use.
const LAYERS: &[(&str, u8, &[&str])] = &[
    ("fault", 0, &["tokio", "axum", "reqwest", "hyper", "clap", "anyhow"]),
    ("protocol", 0, &["tokio", "axum", "reqwest", "hyper", "clap", "anyhow", "fs_err", "std::fs", "std::net"]),
    ("config", 0, &["tokio", "axum", "reqwest", "hyper", "clap", "anyhow"]),
    ("tree", 1, &["tokio", "axum", "reqwest", "hyper", "clap", "anyhow", "std::net"]),
    ("julia", 1, &["tokio", "axum", "reqwest", "hyper", "clap", "anyhow", "fs_err", "std::fs", "std::net"]),
    ("exchange", 1, &["tokio", "axum", "reqwest", "hyper", "clap", "anyhow", "fs_err", "std::fs", "std::net"]),
    ("pem", 1, &["tokio", "axum", "reqwest", "hyper", "clap", "anyhow", "fs_err", "std::fs", "std::net"]),
    ("git", 1, &["tokio", "axum", "reqwest", "hyper", "clap", "anyhow"]),
    ("store", 2, &["axum", "reqwest", "hyper", "clap", "anyhow", "std::net"]),
    ("source", 2, &["axum", "clap", "anyhow", "fs_err", "std::fs"]),
    ("policy", 2, &["tokio", "axum", "reqwest", "hyper", "clap", "anyhow", "fs_err", "std::fs", "std::net"]),
    ("resolve", 2, &["tokio", "axum", "reqwest", "hyper", "clap", "anyhow", "fs_err", "std::fs", "std::net"]),
    ("mirror", 3, &["axum", "reqwest", "hyper", "clap", "anyhow"]),
    ("server", 4, &["reqwest", "clap", "anyhow"]),
    ("closure", 4, &["axum", "reqwest", "clap", "anyhow", "tokio"]),
    ("sample", 4, &["axum", "reqwest", "clap", "anyhow"]),
    ("verify", 4, &["axum", "reqwest", "clap", "anyhow", "tokio"]),
    ("check", 5, &["axum", "reqwest", "clap", "anyhow", "tokio"]),
    ("gc", 5, &["axum", "reqwest", "clap", "anyhow", "tokio"]),
    ("status", 4, &["axum", "reqwest", "clap", "anyhow", "tokio"]),
    ("doctor", 4, &["axum", "clap", "anyhow"]),
    ("prewarm", 5, &["axum", "reqwest", "clap", "anyhow"]),
    ("bundle", 5, &["axum", "reqwest", "clap", "anyhow"]),
    ("adopt", 5, &["axum", "reqwest", "hyper", "clap", "anyhow", "tokio", "std::net"]),
    ("request", 5, &["axum", "reqwest", "hyper", "clap", "anyhow", "tokio", "std::net"]),
    ("cli", 6, &[]),
];

/// Imports within one layer that are meant.
const SIDEWAYS: &[(&str, &str)] = &[("bundle", "prewarm")];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The code without comments and without its tests, which may use what they like.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// What comes after each `marker`, up to the end of the word; a list in braces counts as many.
fn mentioned(code: &str, marker: &str) -> BTreeSet<String> {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(marker) {
        if code[..at].chars().next_back().is_some_and(|before| is_word(before) || before == '$') {
            continue;
        }
        let rest = &code[at + marker.len()..];
        let list = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or(list));
        let words = if rest.starts_with('{') { list.split(',').collect::<Vec<_>>() } else { vec![list] };
        found.extend(words.into_iter().map(|word| word.trim().chars().take_while(|&c| is_word(c)).collect::<String>()));
    }
    found.remove("");
    found
}

#[test]
fn lower_layers_never_import_higher_ones() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layers: BTreeMap<_, _> = LAYERS.iter().map(|&(name, layer, banned)| (name, (layer, banned))).collect();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in sources(&src) {
        let relative = file.strip_prefix(&src).unwrap();
        let top = relative.iter().next().unwrap().to_string_lossy();
        let module = top.trim_end_matches(".rs").to_owned();
        if module == "lib" || module == "main" {
            continue;
        }
        let Some(&(layer, banned)) = layers.get(module.as_str()) else {
            wrong.push(format!("{module} is in no layer"));
            continue;
        };
        let code = code(&file);
        for used in mentioned(&code, "crate::").into_iter().filter(|used| layers.contains_key(used.as_str())) {
            let sideways = SIDEWAYS.contains(&(module.as_str(), used.as_str()));
            if layers[used.as_str()].0 > layer
                || (layers[used.as_str()].0 == layer && used != module && layer >= 2 && !sideways)
            {
                wrong.push(format!("{} uses {used}", relative.display()));
            }
        }
        for krate in banned.iter().filter(|krate| code.contains(&format!("{krate}::"))) {
            wrong.push(format!("{} uses {krate}", relative.display()));
        }
        seen.insert(module);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(seen.len(), LAYERS.len(), "a layer has no module: {seen:?}");
}

#[test]
fn every_file_says_what_lives_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let silent: Vec<_> = ["src", "tests", "benches", "examples"]
        .iter()
        .flat_map(|folder| sources(&root.join(folder)))
        .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn the_reader_of_imports_sees_them() {
    let code = "use crate::{store::Store, server};\nlet x = crate::cli::main();\nmycrate::julia";
    assert_eq!(mentioned(code, "crate::"), ["cli", "server", "store"].map(String::from).into());
}
