//! A registry that lists only what is here, made from the files of a full one.
//!
//! Pkg has no way to say "only what the server has": it resolves to the newest version that the
//! registry lists and then goes to GitHub for it. So the mirror shows a registry of the same uuid
//! and name in which a version is listed only if it can be given. In two steps, since packages of
//! one registry depend on packages of others: what each registry keeps and needs, then its files.

use super::error::{FormatError, Problem, quoted};
use super::range::VersionRange;
use super::reader::Document;
use super::registry::{PackageEntry, PackageToml, RegistryToml, parse_versions};
use super::registry_builder::RegistryError;
use super::version::Version;
use crate::protocol::{TreeHash, Uuid};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use toml::{Table, Value};

const REGISTRY_TOML: &str = "Registry.toml";
const PACKAGE_TOML: &str = "Package.toml";
const VERSIONS_TOML: &str = "Versions.toml";
/// What a package depends on, by ranges of its versions.
const DEPS: [&str; 2] = ["Deps.toml", "WeakDeps.toml"];
/// With which versions of it.
const COMPAT: [&str; 2] = ["Compat.toml", "WeakCompat.toml"];

/// The package versions that are here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Here(HashMap<Uuid, HashMap<TreeHash, bool>>);

/// The files of a full registry, as far as Pkg reads them.
#[derive(Debug, Clone, Default)]
pub struct RegistryFiles(HashMap<String, Vec<u8>>);

/// A registry of which it is known what stays.
#[derive(Debug)]
pub struct KeptRegistry {
    /// `Registry.toml` without its packages.
    head: Table,
    packages: BTreeMap<Uuid, PackageEntry>,
    files: RegistryFiles,
    /// The `Versions.toml` of each package that has a version here.
    kept: BTreeMap<Uuid, Versions>,
    needs: BTreeSet<Uuid>,
    problems: Vec<RegistryError>,
}

/// What of a `Versions.toml` stays.
#[derive(Debug)]
struct Versions {
    table: Table,
    kept: Vec<Version>,
}

/// A registry that lists only what is here.
#[derive(Debug)]
pub struct DerivedRegistry {
    /// Its files by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// How many packages have a version in it.
    pub packages: usize,
    /// How many versions it lists, those marked as yanked too.
    pub versions: usize,
    /// Files that cannot be read: their packages are left out.
    pub problems: Vec<RegistryError>,
}

impl Here {
    /// A version that is here; `complete` if what it needs to be installed is here too.
    pub fn add(&mut self, package: Uuid, tree: TreeHash, complete: bool) {
        self.0.entry(package).or_default().insert(tree, complete);
    }
}

impl RegistryFiles {
    /// Takes a file of the registry; one that Pkg does not read is passed over.
    pub fn file(&mut self, path: &str, bytes: Vec<u8>) {
        let known =
            |name| [PACKAGE_TOML, VERSIONS_TOML].contains(&name) || DEPS.contains(&name) || COMPAT.contains(&name);
        if path == REGISTRY_TOML || path.rsplit_once('/').is_some_and(|(_, name)| known(name)) {
            self.0.insert(path.to_owned(), bytes);
        }
    }

    /// Finds out what of the registry stays when only this is here, and what that depends on. A
    /// broken package does not stop the others.
    pub fn keep(self, here: &Here) -> Result<KeptRegistry, RegistryError> {
        let text = self.text(REGISTRY_TOML)?.ok_or(RegistryError::NoRegistryToml)?;
        let broken = broken(REGISTRY_TOML);
        let packages = RegistryToml::parse(text).map_err(&broken)?.packages;
        let mut head = table(text).map_err(broken)?;
        head.remove("packages");
        let mut registry = KeptRegistry {
            head,
            packages,
            files: self,
            kept: BTreeMap::new(),
            needs: BTreeSet::new(),
            problems: Vec::new(),
        };
        let present = registry.packages.iter().filter_map(|(uuid, entry)| Some((*uuid, entry, here.0.get(uuid)?)));
        let results: Vec<_> =
            present.map(|(uuid, entry, trees)| (uuid, registry.files.keep_package(entry, trees))).collect();
        for (uuid, result) in results {
            match result {
                Ok((versions, _)) if versions.kept.is_empty() => {}
                Ok((versions, needs)) => {
                    registry.kept.insert(uuid, versions);
                    registry.needs.extend(needs);
                }
                Err(problem) => registry.problems.push(problem),
            }
        }
        Ok(registry)
    }

    /// The versions of a package that stay, and all that they depend on.
    fn keep_package(
        &self,
        entry: &PackageEntry,
        trees: &HashMap<TreeHash, bool>,
    ) -> Result<(Versions, BTreeSet<Uuid>), RegistryError> {
        let path = format!("{}/{VERSIONS_TOML}", entry.path);
        let text = self.text(&path)?.unwrap_or_default();
        let versions = keep_versions(text, trees).map_err(broken(&path))?;
        let mut needs = BTreeSet::new();
        for path in DEPS.map(|name| format!("{}/{name}", entry.path)) {
            let text = self.text(&path)?.unwrap_or_default();
            depends_on(text, &versions.kept, &mut needs).map_err(broken(&path))?;
        }
        Ok((versions, needs))
    }

    fn text(&self, path: &str) -> Result<Option<&str>, RegistryError> {
        let decode = |bytes| str::from_utf8(bytes).map_err(|_| RegistryError::Encoding { path: path.to_owned() });
        self.0.get(path).map(|bytes| decode(bytes)).transpose()
    }
}

impl KeptRegistry {
    /// The packages of this and other registries on which a version that stays depends.
    pub fn needs(&self) -> &BTreeSet<Uuid> {
        &self.needs
    }

    /// The registry with what stays. Of a package in `needed` that has no version here the entry
    /// stays, without versions: without it Pkg aborts ("cannot find name corresponding to UUID"),
    /// with it the resolver tries another version of what depends on it.
    pub fn derive(mut self, needed: &BTreeSet<Uuid>) -> Result<DerivedRegistry, RegistryError> {
        let mut derived = DerivedRegistry {
            files: BTreeMap::new(),
            packages: 0,
            versions: 0,
            problems: std::mem::take(&mut self.problems),
        };
        let mut listed = String::new();
        for (uuid, entry) in &self.packages {
            let versions = self.kept.get(uuid);
            if versions.is_none() && !needed.contains(uuid) {
                continue;
            }
            match self.files_of(entry, versions) {
                Ok(files) => derived.files.extend(files),
                Err(problem) => {
                    derived.problems.push(problem);
                    continue;
                }
            }
            derived.packages += usize::from(versions.is_some());
            derived.versions += versions.map_or(0, |versions| versions.kept.len());
            let (name, path) = (Value::String(entry.name.clone()), Value::String(entry.path.clone()));
            let _ = writeln!(listed, "{uuid} = {{ name = {name}, path = {path} }}");
        }
        let head = written(&self.head).map_err(broken(REGISTRY_TOML))?;
        // Its own keys come first: what follows the header of a table belongs to that table.
        derived.files.insert(REGISTRY_TOML.to_owned(), format!("{head}\n[packages]\n{listed}").into_bytes());
        Ok(derived)
    }

    fn files_of(
        &self,
        entry: &PackageEntry,
        versions: Option<&Versions>,
    ) -> Result<Vec<(String, Vec<u8>)>, RegistryError> {
        let path = |name: &str| format!("{}/{name}", entry.path);
        let package = self.files.text(&path(PACKAGE_TOML))?.unwrap_or_default();
        let package = no_repository(package, &entry.name).map_err(broken(&path(PACKAGE_TOML)))?;
        let listed = versions.map(|versions| written(&versions.table)).transpose();
        let listed = listed.map_err(broken(&path(VERSIONS_TOML)))?.unwrap_or_default();
        let mut files = vec![(path(PACKAGE_TOML), package.into_bytes()), (path(VERSIONS_TOML), listed.into_bytes())];
        if versions.is_some() {
            let verbatim = DEPS.iter().chain(&COMPAT).map(|name| path(name));
            files
                .extend(verbatim.filter_map(|path| self.files.0.get(&path).map(|bytes| (path.clone(), bytes.clone()))));
        }
        Ok(files)
    }
}

/// A version stays if it is here. One that cannot be installed from here is marked as yanked: the
/// resolver skips it, and a manifest that names it still finds it.
fn keep_versions(text: &str, trees: &HashMap<TreeHash, bool>) -> Result<Versions, FormatError> {
    let mut versions = Versions { table: table(text)?, kept: Vec::new() };
    for entry in parse_versions(text)? {
        // A version that Julia cannot read would cost its clients the whole package.
        match (trees.get(&entry.tree), entry.version.parse()) {
            (Some(complete), Ok(version)) => {
                versions.kept.push(version);
                let keys = versions.table.get_mut(&entry.version).and_then(Value::as_table_mut);
                if let Some(keys) = keys.filter(|_| !complete) {
                    keys.insert("yanked".to_owned(), Value::Boolean(true));
                }
            }
            _ => _ = versions.table.remove(&entry.version),
        }
    }
    Ok(versions)
}

/// Adds what these versions depend on.
fn depends_on(text: &str, versions: &[Version], needs: &mut BTreeSet<Uuid>) -> Result<(), FormatError> {
    for value in Document::parse(text)?.root().values() {
        let key = value.key()?;
        let range: VersionRange = key.parse().map_err(|_| value.error(Problem::Range(quoted(key))))?;
        if versions.iter().any(|version| range.contains(version)) {
            for dependency in value.table()?.values() {
                needs.insert(dependency.uuid()?);
            }
        }
    }
    Ok(())
}

/// `Package.toml` with a repository that fails at once and on the client itself: Pkg cannot be
/// kept from falling back to it, and clients up to 1.10 cannot do without the key.
fn no_repository(text: &str, name: &str) -> Result<String, FormatError> {
    // Without its name and uuid clients could not read it.
    PackageToml::parse(text)?;
    let mut package = table(text)?;
    package.insert("repo".to_owned(), Value::String(format!("file:///not-in-this-mirror/{name}.git")));
    written(&package)
}

fn table(text: &str) -> Result<Table, FormatError> {
    toml::from_str(text).map_err(|error| FormatError::syntax(text, &error))
}

fn written(table: &Table) -> Result<String, FormatError> {
    toml::to_string(table)
        .map_err(|error| FormatError { line: 1, problem: Problem::Syntax(quoted(&error.to_string())) })
}

fn broken(path: &str) -> impl Fn(FormatError) -> RegistryError {
    let path = path.to_owned();
    move |source| RegistryError::Format { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
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
        let derived =
            kept.derive(&[uuid(OLD), uuid(LIB), uuid("55555555-5555-5555-5555-555555555555")].into()).unwrap();
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
}
