//! Each rule by which a registry is cut down to what is here.

use super::*;
use proptest::prelude::*;

const APP: &str = "11111111-1111-1111-1111-111111111111";
const LIB: &str = "22222222-2222-2222-2222-222222222222";
const OLD: &str = "33333333-3333-3333-3333-333333333333";
const OUT: &str = "44444444-4444-4444-4444-444444444444";

fn uuid(text: &str) -> Uuid {
    text.parse().unwrap()
}

fn tree(digit: char) -> TreeHash {
    digit.to_string().repeat(40).parse().unwrap()
}

fn version(version: &str, digit: char, more: &str) -> String {
    format!("[\"{version}\"]\ngit-tree-sha1 = \"{}\"\n{more}\n", tree(digit))
}

/// App 1 depends on Lib, App 2 on Old and weakly on Out; Lib has versions a JLL may have.
fn registry() -> Vec<(String, String)> {
    let package = |name: &str, uuid: &str, rest: &str| format!("name = \"{name}\"\nuuid = \"{uuid}\"\n{rest}");
    let packages = [("App", APP), ("Lib", LIB), ("Old", OLD), ("Out", OUT)];
    let listed =
        packages.map(|(name, uuid)| format!("{uuid} = {{ name = '{name}', path = '{}/{name}' }}\n", &name[..1]));
    let listed = listed.concat();
    let files = [
        (
            "Registry.toml",
            format!(
                "name = \"R\"\nuuid = \"{OUT}\"\nrepo = \"https://r/R.git\"\ndescription = '''\nHello\n'''\n[packages]\n{listed}"
            ),
        ),
        (
            "A/App/Package.toml",
            package(
                "App",
                APP,
                "repo = \"https://a/App.git\"\nsubdir = \"lib/App\"\n[metadata.deprecated]\nreason = \"x\"\n",
            ),
        ),
        (
            "A/App/Versions.toml",
            version("1.0.0", 'a', "")
                + &version("2.0.0", 'b', "")
                + &version("2.1.0", 'c', "yanked = true\nnote = \"n\"\n"),
        ),
        ("A/App/Deps.toml", format!("[1]\nLib = \"{LIB}\"\n\n[2]\nOld = \"{OLD}\"\n")),
        ("A/App/WeakDeps.toml", format!("[\"2.1-2\"]\nOut = \"{OUT}\"\n")),
        ("A/App/Compat.toml", "# as it was\n[1]\nLib = [\"1\", \"3\"]\n".to_owned()),
        ("A/App/WeakCompat.toml", "[2]\nOut = \"1\"\n".to_owned()),
        ("L/Lib/Package.toml", package("Lib", LIB, "")),
        ("L/Lib/Versions.toml", version("1.0.0+0", 'd', "") + &version("1.0.0+1", 'e', "")),
        ("O/Old/Package.toml", package("Old", OLD, "repo = \"https://o/Old.git\"\n")),
        ("O/Old/Versions.toml", version("1.0.0", 'f', "")),
        ("O/Old/Compat.toml", "[1]\njulia = \"1\"\n".to_owned()),
        ("O/Out/Package.toml", package("Out", OUT, "")),
        ("O/Out/Versions.toml", version("1.0.0", '9', "")),
        (".github/README.md", "not for Pkg".to_owned()),
    ];
    files.into_iter().map(|(path, text)| (path.to_owned(), text)).collect()
}

fn files(files: &[(String, String)]) -> RegistryFiles {
    let mut registry = RegistryFiles::default();
    for (path, text) in files {
        registry.file(path, text.clone().into_bytes());
    }
    registry
}

fn here(versions: &[(&str, char, bool)]) -> Here {
    let mut here = Here::default();
    for &(package, digit, complete) in versions {
        here.add(uuid(package), tree(digit), complete);
    }
    here
}

fn derived(registry: &[(String, String)], versions: &[(&str, char, bool)]) -> DerivedRegistry {
    let kept = files(registry).keep(&here(versions)).unwrap();
    let needs = kept.needs().clone();
    kept.derive(&needs).unwrap()
}

fn text<'d>(derived: &'d DerivedRegistry, path: &str) -> &'d str {
    str::from_utf8(&derived.files[path]).unwrap()
}

/// The packages that it lists, and the versions of each with their keys.
fn listed(derived: &DerivedRegistry) -> Vec<(String, Vec<String>)> {
    let registry = RegistryToml::parse(text(derived, REGISTRY_TOML)).unwrap();
    let versions = |path: &str| {
        let versions = parse_versions(text(derived, &format!("{path}/Versions.toml"))).unwrap();
        versions.into_iter().map(|it| it.version + if it.yanked { " yanked" } else { "" }).collect()
    };
    registry.packages.values().map(|entry| (entry.name.clone(), versions(&entry.path))).collect()
}

fn pairs(expected: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let owned = |versions: &&[&str]| versions.iter().map(ToString::to_string).collect();
    expected.iter().map(|(name, versions)| ((*name).to_owned(), owned(versions))).collect()
}

#[test]
fn what_is_here_stays_with_what_it_depends_on() {
    let one = derived(&registry(), &[(APP, 'a', true), (OUT, 'a', true)]);
    assert_eq!(listed(&one), pairs(&[("App", &["1.0.0"]), ("Lib", &[])]), "Old is needed by App 2 only");
    assert_eq!((one.packages, one.versions, one.problems.len()), (1, 1, 0));
    let both = derived(&registry(), &[(APP, 'b', true), (LIB, 'e', true), (APP, 'a', true)]);
    assert_eq!(listed(&both), pairs(&[("App", &["1.0.0", "2.0.0"]), ("Lib", &["1.0.0+1"]), ("Old", &[])]));
    let weak = derived(&registry(), &[(APP, 'c', true)]);
    assert_eq!(listed(&weak), pairs(&[("App", &["2.1.0 yanked"]), ("Old", &[]), ("Out", &[])]));
    assert_eq!(listed(&derived(&registry(), &[])), []);
}

#[test]
fn what_lacks_artifacts_is_marked_and_a_mark_stays() {
    let derived = derived(&registry(), &[(APP, 'a', false), (APP, 'b', true), (APP, 'c', true)]);
    assert_eq!(listed(&derived)[0], pairs(&[("App", &["1.0.0 yanked", "2.0.0", "2.1.0 yanked"])])[0]);
    assert!(text(&derived, "A/App/Versions.toml").contains("note = \"n\""), "other keys stay");
}

#[test]
fn the_repository_leads_nowhere_and_all_else_is_as_it_was() {
    let derived = derived(&registry(), &[(APP, 'a', true)]);
    let package: Table = toml::from_str(text(&derived, "A/App/Package.toml")).unwrap();
    assert_eq!(package["repo"].as_str(), Some("file:///not-in-this-mirror/App.git"));
    assert_eq!(package["subdir"].as_str(), Some("lib/App"));
    assert_eq!(package["metadata"]["deprecated"]["reason"].as_str(), Some("x"));
    assert!(
        text(&derived, "L/Lib/Package.toml").contains("file:///not-in-this-mirror/Lib.git"),
        "where there was none"
    );
    for (path, text_before) in registry() {
        let verbatim =
            path.starts_with("A/App/") && !path.ends_with("Package.toml") && !path.ends_with("Versions.toml");
        assert!(!verbatim || text(&derived, &path) == text_before, "{path}");
    }
    let head: Table = toml::from_str(text(&derived, REGISTRY_TOML)).unwrap();
    assert_eq!((head["name"].as_str(), head["repo"].as_str()), (Some("R"), Some("https://r/R.git")));
    assert_eq!((head["uuid"].as_str(), head["description"].as_str()), (Some(OUT), Some("Hello\n")));
    let paths: Vec<_> = derived.files.keys().filter(|path| path.starts_with("L/")).collect();
    assert_eq!(paths, ["L/Lib/Package.toml", "L/Lib/Versions.toml"], "an empty entry");
    assert!(!derived.files.contains_key(".github/README.md"));
}

#[test]
fn needs_of_other_registries_count() {
    let kept = files(&registry()).keep(&here(&[(LIB, 'd', true)])).unwrap();
    let derived = kept.derive(&[uuid(OLD), uuid(LIB), uuid("55555555-5555-5555-5555-555555555555")].into()).unwrap();
    assert_eq!(listed(&derived), pairs(&[("Lib", &["1.0.0+0"]), ("Old", &[])]));
}

#[test]
fn a_broken_package_is_left_out_and_costs_no_other() {
    for (path, broken) in [
        ("A/App/Versions.toml", "[\"1.0.0\"]\ngit-tree-sha1 = 1"),
        ("A/App/Versions.toml", "\"1.0.0\" = 1"),
        ("A/App/Deps.toml", "[\"^1\"]\nX = 'x'"),
        ("A/App/Deps.toml", "[1]\nX = 'x'"),
        ("A/App/WeakDeps.toml", "x"),
        ("A/App/Package.toml", ""),
        ("A/App/Package.toml", "name = 'App'\nuuid = 'x'"),
    ] {
        let mut registry = registry();
        registry.iter_mut().filter(|(at, _)| at == path).for_each(|(_, text)| *text = broken.to_owned());
        let derived = derived(&registry, &[(APP, 'a', true), (OUT, '9', true)]);
        assert_eq!(listed(&derived).last(), pairs(&[("Out", &["1.0.0"])]).last(), "{path}: {broken}");
        assert!(listed(&derived).iter().all(|(name, _)| name != "App"), "{path}: {broken}");
        assert!(derived.problems[0].to_string().contains(path), "{:?}", derived.problems);
    }
    let mut unreadable = registry();
    unreadable[2].1 += &version("1.x", '8', "");
    assert_eq!(listed(&derived(&unreadable, &[(APP, '8', true)])), [], "a version that Julia cannot read");
}

#[test]
fn without_a_registry_toml_there_is_nothing_to_derive_from() {
    let keep = |text: &str| files(&[("Registry.toml".into(), text.into())]).keep(&Here::default()).unwrap_err();
    assert!(matches!(keep("x"), RegistryError::Format { .. }));
    assert_eq!(RegistryFiles::default().keep(&Here::default()).unwrap_err(), RegistryError::NoRegistryToml);
}

proptest! {
    #[test]
    fn the_order_of_the_files_does_not_matter(order in Just(registry()).prop_shuffle()) {
        let versions = [(APP, 'a', false), (LIB, 'd', true), (OUT, '9', true), (APP, 'c', true)];
        prop_assert_eq!(derived(&order, &versions).files, derived(&registry(), &versions).files);
    }

    #[test]
    fn hostile_files_do_no_harm(path in r"[A-Z]/[A-Za-z]{3}/(Package|Versions|Deps|Compat)\.toml", body in r"\PC{0,40}") {
        let mut registry = registry();
        registry.push((path, body));
        let _: Result<_, RegistryError> = files(&registry).keep(&here(&[(APP, 'a', true)]));
    }
}
