//! `Project.toml`: what an environment or a package asks for, in names and ranges.
//!
//! Only what decides which versions are chosen is read; the keys are Pkg's (`project.jl`). What Pkg
//! does not know may look as it likes.

use super::compat::parse_compat;
use super::error::{FormatError, Problem, quoted};
use super::range::VersionRange;
use super::reader::{Document, Table, Value};
use super::version::Version;
use crate::protocol::Uuid;
use std::collections::{BTreeMap, BTreeSet};

/// A project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Project {
    /// The name, if it is a package.
    pub name: Option<String>,
    /// The uuid, if it is a package.
    pub uuid: Option<Uuid>,
    /// Its version, if it says one that can be read.
    pub version: Option<Version>,
    /// The file that is loaded, where it is not `src/NAME.jl`; known since Julia 1.11.
    pub entryfile: Option<String>,
    /// What it needs, by name.
    pub deps: BTreeMap<String, Uuid>,
    /// What it works with, by name. What is in `deps` too is a dependency for Julia before 1.9 only.
    pub weakdeps: BTreeMap<String, Uuid>,
    /// What its targets may name.
    pub extras: BTreeMap<String, Uuid>,
    /// What its tests need besides, as names of `extras`, `weakdeps` or `deps`.
    pub test_target: BTreeSet<String>,
    /// `[compat]`, by name; `julia` is Julia itself.
    pub compat: BTreeMap<String, CompatEntry>,
    /// `[sources]`: dependencies that come from elsewhere than a registry.
    pub sources: BTreeMap<String, ProjectSource>,
    /// `[workspace]`: the folders of the projects that share its manifest.
    pub workspace: Vec<String>,
    /// What its extensions need, by the name of the extension.
    pub extensions: BTreeMap<String, Vec<String>>,
}

/// What a project says about the versions of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompatEntry {
    /// As it is written.
    pub text: String,
    /// The versions that will do: those in any of these ranges.
    pub ranges: Vec<VersionRange>,
}

impl CompatEntry {
    /// Whether a version will do.
    pub fn accepts(&self, version: &Version) -> bool {
        self.ranges.iter().any(|range| range.contains(version))
    }
}

/// Where a dependency comes from that is not taken from a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectSource {
    /// A folder, relative to the project or absolute.
    Path(String),
    /// A git repository.
    Git(String),
}

impl Project {
    /// Reads a project. An empty text is an empty project.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let document = Document::parse(text)?;
        let root = document.root();
        let strings = |key| root.get(key).map(Value::table).transpose().map(Option::into_iter);
        let compat = strings("compat")?.flat_map(Table::values).map(compat).collect::<Result<_, _>>()?;
        let sources = strings("sources")?.flat_map(Table::values).map(source);
        let sources = sources.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        let extensions = strings("extensions")?.flat_map(Table::values).map(names).collect::<Result<_, _>>()?;
        let test_target = root.get("targets").map(Value::table).transpose()?.and_then(|targets| targets.get("test"));
        let workspace = root.get("workspace").map(Value::table).transpose()?;
        let workspace = workspace.and_then(|workspace| workspace.get("projects"));
        Ok(Self {
            name: root.get("name").map(Value::word).transpose()?.map(str::to_owned),
            uuid: root.get("uuid").map(Value::uuid).transpose()?,
            version: root.get("version").and_then(|version| version.str().ok()?.parse().ok()),
            entryfile: root.get("entryfile").and_then(|file| Some(file.str().ok()?.to_owned())),
            deps: uuids(root, "deps")?,
            weakdeps: uuids(root, "weakdeps")?,
            extras: uuids(root, "extras")?,
            test_target: test_target
                .map(names)
                .transpose()?
                .map(|(_, names)| names.into_iter().collect())
                .unwrap_or_default(),
            compat,
            sources,
            workspace: workspace
                .map(Value::strings)
                .transpose()?
                .unwrap_or_default()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            extensions,
        })
    }

    /// What the tests need besides, by name; what none of its sections explains is left out, as by
    /// Pkg.
    pub fn test_deps(&self) -> BTreeMap<String, Uuid> {
        let known = |name: &String| [&self.extras, &self.weakdeps, &self.deps].into_iter().find_map(|it| it.get(name));
        self.test_target.iter().filter_map(|name| Some((name.clone(), *known(name)?))).collect()
    }
}

fn uuids(root: Table<'_>, key: &str) -> Result<BTreeMap<String, Uuid>, FormatError> {
    let table = root.get(key).map(Value::table).transpose()?;
    table.into_iter().flat_map(Table::values).map(|value| Ok((value.key_word()?.to_owned(), value.uuid()?))).collect()
}

fn compat(value: Value<'_>) -> Result<(String, CompatEntry), FormatError> {
    let text = value.str()?;
    let ranges = parse_compat(text).map_err(|_| value.error(Problem::Range(quoted(text))))?;
    Ok((value.key_word()?.to_owned(), CompatEntry { text: text.to_owned(), ranges }))
}

fn names(value: Value<'_>) -> Result<(String, Vec<String>), FormatError> {
    let names = value.strings()?.into_iter().map(str::to_owned).collect();
    Ok((value.key_word()?.to_owned(), names))
}

/// Where it says neither, Pkg takes the package from a registry.
fn source(value: Value<'_>) -> Result<Option<(String, ProjectSource)>, FormatError> {
    let table = value.table()?;
    let source = match (table.string("path")?, table.string("url")?) {
        (Some(path), _) => Some(ProjectSource::Path(path)),
        (None, url) => url.map(ProjectSource::Git),
    };
    source.map(|source| Ok((value.key_word()?.to_owned(), source))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "11111111-1111-1111-1111-111111111111";
    const B: &str = "22222222-2222-2222-2222-222222222222";
    const C: &str = "33333333-3333-3333-3333-333333333333";

    #[test]
    fn every_section_is_read() {
        let project = Project::parse(&format!(
            "name='App'\nuuid='{C}'\nversion='0.1.0'\nauthors=['x']\n[deps]\nA='{A}'\n[weakdeps]\nB='{B}'\n\
             [extras]\nC='{C}'\n[targets]\ntest=['B','C','Unknown']\n[compat]\nA='1.2, 2'\njulia='1.6'\n\
             [sources]\nA={{url='https://h/A.git', rev='main'}}\nB={{path='../B'}}\nC={{subdir='x'}}\n\
             [workspace]\nprojects=['test','docs']\n[extensions]\nAppBExt='B'\nBoth=['B','A']\n"
        ))
        .unwrap();
        assert_eq!((project.name.as_deref(), project.uuid.unwrap().to_string()), (Some("App"), C.to_owned()));
        let names = |map: &BTreeMap<String, Uuid>| map.keys().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!([names(&project.deps), names(&project.weakdeps), names(&project.extras)], ["A", "B", "C"]);
        assert_eq!(names(&project.test_deps()), "B C");
        assert_eq!(project.compat["A"].text, "1.2, 2");
        let accepts =
            |version: &str| project.compat["A"].ranges.iter().any(|it| it.contains(&version.parse().unwrap()));
        assert_eq!(["1.1.9", "1.9.0", "2.5.0", "3.0.0"].map(accepts), [false, true, true, false]);
        assert_eq!(project.sources["A"], ProjectSource::Git("https://h/A.git".to_owned()));
        assert_eq!(project.sources["B"], ProjectSource::Path("../B".to_owned()));
        assert!(!project.sources.contains_key("C"));
        assert_eq!(project.workspace, ["test", "docs"]);
        assert_eq!(project.extensions["Both"], ["B", "A"]);
    }

    #[test]
    fn nothing_is_an_empty_project() {
        assert_eq!(Project::parse("# nothing\n"), Ok(Project::default()));
    }

    #[test]
    fn a_broken_file_is_refused_with_its_line() {
        for (line, text) in [
            (1, "deps=1"),
            (2, "[deps]\nA='x'"),
            (2, "[deps]\n'A b'='11111111-1111-1111-1111-111111111111'"),
            (2, "[compat]\nA='latest'"),
            (2, "[compat]\nA=['1']"),
            (2, "[sources]\nA='x'"),
            (2, "[targets]\ntest=[1]"),
            (1, "uuid='x'"),
        ] {
            assert_eq!(Project::parse(text).unwrap_err().line, line, "{text}");
        }
    }

    proptest! {
        #[test]
        fn hostile_text_is_an_error_of_one_line(text in r#"([\[\]{}='".#\n\\a]|uuid|deps|\[compat\]|sources|\PC){0,40}"#) {
            if let Err(error) = Project::parse(&text) {
                prop_assert!(!error.to_string().contains(char::is_control));
            }
        }
    }
}
