//! Registries made to break the solver: nothing panics, hangs or grows without bound.

use super::tests::{catalogue, uuid};
use super::*;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Far above what any of these takes on a slow machine, far below a hang.
const PATIENCE: Duration = Duration::from_mins(1);

fn ask(catalogue: &Arc<Catalogue>, roots: &[&str]) -> Result<Solution, Conflict> {
    let roots = roots.iter().map(|name| Root { uuid: uuid(name), ranges: Vec::new() }).collect();
    let begun = Instant::now();
    let question = Question::new("1.10.2".parse().unwrap(), roots);
    let solved = solve(std::slice::from_ref(catalogue), &question);
    assert!(begun.elapsed() < PATIENCE);
    solved
}

fn of_files(files: &[(&str, &str)]) -> Arc<Catalogue> {
    let mut builder = CatalogueBuilder::default();
    let registry = format!(
        "name='R'\nuuid='{0}'\n[packages]\n{0}={{name='App',path='A'}}\n{1}={{name='Lib',path='../../L'}}",
        uuid("App"),
        uuid("Lib")
    );
    builder.file("Registry.toml", registry.into_bytes());
    for (path, text) in files {
        builder.file(path, text.as_bytes().to_vec());
    }
    Arc::new(builder.finish().unwrap())
}

const VERSION: &str = "[\"1.0.0\"]\ngit-tree-sha1 = \"46e44e869b4d90b96bd8ed1fdcf32244fddfb6cc\"\n";

#[test]
fn a_file_that_cannot_be_read_takes_its_package_and_no_other() {
    for (file, text) in [
        ("A/Deps.toml", "[1"),
        ("A/Deps.toml", "[\"1-2-3\"]"),
        ("A/Compat.toml", "[1]\njulia = 7"),
        ("A/WeakDeps.toml", "[1]\nLib = 'x'"),
        ("A/Compat.toml", "[\"99999999999999999999\"]"),
    ] {
        let catalogue = of_files(&[("A/Versions.toml", VERSION), (file, text), ("../../L/Versions.toml", VERSION)]);
        let error = ask(&catalogue, &["App"]).unwrap_err().to_string();
        assert!(error.starts_with("no version of App may be chosen: its ") && error.contains("line "), "{error}");
        assert!(ask(&catalogue, &["Lib"]).is_ok(), "a path is only a name");
    }
    let broken = of_files(&[("A/Versions.toml", "[\"1.0.0\"")]);
    assert!(ask(&broken, &["App"]).unwrap_err().to_string().contains("of which there is no version"));
}

#[test]
fn cycles_and_packages_that_need_themselves() {
    let cycle = catalogue(&[
        "A 1.0.0 B",
        "B 1.0.0 C",
        "C 1.0.0 A=1",
        "Self 1.0.0 Self=2",
        "Self 0.9.0 Self",
        "Self 2.0.0 Self=1",
    ]);
    assert_eq!(ask(&cycle, &["A"]).unwrap().packages.len(), 3);
    assert_eq!(ask(&cycle, &["Self"]).unwrap().packages[&uuid("Self")].version.as_deref(), Some("0.9.0"));
}

#[test]
fn sections_that_overlap_all_count() {
    let lib = |text: &str| format!("{text}\nLib = \"{}\"\n", uuid("Lib"));
    let versions = "[\"1.0.0\"]\ngit-tree-sha1 = \"46e44e869b4d90b96bd8ed1fdcf32244fddfb6cc\"\n\
                    [\"2.0.0\"]\ngit-tree-sha1 = \"46e44e869b4d90b96bd8ed1fdcf32244fddfb6cd\"\n";
    let catalogue = of_files(&[
        ("A/Versions.toml", VERSION),
        ("A/Deps.toml", &(lib("[1]") + &lib("[\"1.0\"]") + &lib("[\"0-*\"]") + &lib("[\"2-1\"]"))),
        ("A/Compat.toml", "[1]\nLib = \"1-2\"\n[\"0-1\"]\nLib = \"*\"\n[\"1.0.0\"]\nLib = [\"1\", \"5-4\"]\n"),
        ("../../L/Versions.toml", versions),
    ]);
    assert_eq!(ask(&catalogue, &["App"]).unwrap().packages[&uuid("Lib")].version.as_deref(), Some("1.0.0"));
}

#[test]
fn a_million_versions_of_one_package() {
    let mut versions = String::new();
    let mut compat = String::new();
    for number in 0..1_000_000 {
        let (minor, patch) = (number / 1000, number % 1000);
        write!(versions, "[\"1.{minor}.{patch}\"]\ngit-tree-sha1 = \"{number:040x}\"\n").unwrap();
        if number % 100 == 0 {
            write!(compat, "[\"0-1.{minor}.{patch}\"]\njulia = \"1.{}\"\n", number % 11).unwrap();
        }
    }
    let catalogue = of_files(&[
        ("A/Versions.toml", VERSION),
        ("A/Deps.toml", &format!("[1]\nLib = \"{}\"", uuid("Lib"))),
        ("A/Compat.toml", "[1]\nLib = \"1.7-1.8\""),
        ("../../L/Versions.toml", &versions),
        ("../../L/Compat.toml", &compat),
    ]);
    let error = ask(&catalogue, &["App"]).unwrap_err().to_string();
    assert!(error.contains("not for Julia 1.10.2") && error.len() < 500, "{error}");
    let solution = ask(&catalogue, &["Lib"]).unwrap();
    assert_eq!(solution.packages[&uuid("Lib")].version.as_deref(), Some("1.999.999"));
}

/// Each version of App needs what Lib does not allow with it: every one must be tried.
#[test]
fn thousands_of_versions_that_all_fail() {
    let mut lines: Vec<_> = (0..1000).map(|number| format!("App 1.0.{number} Lib=1.0.{number} Other")).collect();
    lines.extend((0..1000).map(|number| format!("Lib 1.0.{number} Other=2")));
    lines.extend(["Other 1.0.0".to_owned(), "Other 2.0.0 Missing".to_owned()]);
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let error = ask(&catalogue(&lines), &["App"]).unwrap_err().to_string();
    assert!(error.len() < 5000, "{}", error.len());
}

/// As many holes as pigeons less one, each hole a package whose version says who sits there.
#[test]
fn pigeons_without_enough_holes() {
    let (pigeons, holes) = (9, 8);
    let mut lines = Vec::new();
    for pigeon in 1..=pigeons {
        for hole in 1..=holes {
            lines.push(format!("Pigeon{pigeon} {hole}.0.0 Hole{hole}={pigeon}"));
        }
    }
    for hole in 1..=holes {
        lines.extend((1..=pigeons).map(|pigeon| format!("Hole{hole} {pigeon}.0.0")));
    }
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let roots: Vec<_> = (1..=pigeons).map(|pigeon| format!("Pigeon{pigeon}")).collect();
    let roots: Vec<_> = roots.iter().map(String::as_str).collect();
    let error = ask(&catalogue(&lines), &roots).unwrap_err();
    assert!(matches!(error, Conflict::TooLong | Conflict::Unsolvable { .. }), "{error}");
    assert!(error.to_string().len() < 5000, "{error}");
}

/// A derivation as deep as the chain: neither to be told nor to be dropped by recursion.
#[test]
fn a_chain_of_thousands_that_breaks_at_its_end() {
    let mut lines: Vec<_> = (0..10_000).map(|number| format!("C{number} 1.0.0 C{}=1 End=2", number + 1)).collect();
    lines.extend(["C10000 1.0.0 End=1".to_owned(), "End 1.0.0".to_owned(), "End 2.0.0".to_owned()]);
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    assert!(ask(&catalogue(&lines), &["C9000"]).is_err());
    let lines: Vec<_> = lines.iter().map(|line| line.replace(" End=2", "")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    assert_eq!(ask(&catalogue(&lines), &["C7000"]).unwrap().packages.len(), 3_002);
}

/// Two packages of thousands of versions, each of which names the other by more names than the one
/// before: the files are small, what they stand for is not.
fn sections_of_every_version() -> Arc<Catalogue> {
    let (mut versions, mut deps, mut compat) = (String::new(), String::new(), String::new());
    for number in 0..4000 {
        write!(versions, "[\"1.0.{number}\"]\ngit-tree-sha1 = \"{number:040x}\"\n").unwrap();
        write!(deps, "[\"1.0.{number}-1\"]\nD{number} = \"{}\"\n", uuid("Lib")).unwrap();
        write!(compat, "[\"1.0.{number}-1\"]\nD{number} = \"1.0.0-1.0.{}\"\n", 4000 - number).unwrap();
    }
    let back = deps.replace(&uuid("Lib").to_string(), &uuid("App").to_string());
    of_files(&[
        ("A/Versions.toml", &versions),
        ("A/Deps.toml", &deps),
        ("A/Compat.toml", &compat),
        ("../../L/Versions.toml", &versions),
        ("../../L/Deps.toml", &back),
        ("../../L/Compat.toml", &compat),
    ])
}

#[test]
fn many_sections_times_many_versions() {
    let catalogue = sections_of_every_version();
    match ask(&catalogue, &["App"]) {
        Ok(solution) => assert_eq!(solution.packages.len(), 2),
        Err(error) => assert_eq!(error, Conflict::TooLong),
    }
}

#[test]
fn nothing_goes_on_that_nobody_waits_for() {
    let catalogue = sections_of_every_version();
    let asked = std::cell::Cell::new(0);
    let stopped = || asked.replace(asked.get() + 1) >= 3;
    let roots = vec![Root { uuid: uuid("App"), ranges: Vec::new() }];
    let question = Question { stopped: &stopped, ..Question::new("1.10.2".parse().unwrap(), roots) };
    assert_eq!(solve(&[catalogue], &question), Err(Conflict::Stopped));
    assert!(asked.get() < 10, "{} times", asked.get());
}
