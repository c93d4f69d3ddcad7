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
mod tests;
