//! A project with the files beside it that take part when its versions are chosen: the members of
//! its workspace, the folders of its `[sources]`, its `test/Project.toml`.

use super::inputs::{InputError, read_text};
use crate::julia::{Project, ProjectSource};
use crate::protocol::Uuid;
use fs_err as fs;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Names of a project, in Julia's order (`base/loading.jl`, `project_names`).
const NAMES: [&str; 2] = ["JuliaProject.toml", "Project.toml"];

/// A project whose versions nobody has chosen yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectInput {
    /// The project itself.
    pub project: Project,
    /// It was named, not found in a folder that was.
    pub named: bool,
    /// The members of its workspace.
    pub members: Vec<Project>,
    /// The folders that it and its members take packages from, as far as they are here.
    pub folders: Vec<Project>,
    /// The project of its tests.
    pub tests: Option<Project>,
    /// The folders of its members, to know them when they are met.
    pub(super) member_folders: BTreeSet<PathBuf>,
}

/// Reads a project and what belongs to it. What belongs to it and is broken makes it broken: without
/// that too little would come.
pub(super) fn read_project(path: &Path, project: Project, named: bool) -> Result<ProjectInput, InputError> {
    let root = path.parent().unwrap_or(Path::new(""));
    let mut read = Reader { seen: BTreeSet::from([canonical(root)]) };
    let mut members = Vec::new();
    let mut member_folders = BTreeSet::new();
    let mut below: Vec<_> = project.workspace.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = below.pop() {
        member_folders.insert(canonical(&folder));
        if let Some(member) = read.folder(&folder)? {
            below.extend(member.workspace.iter().map(|inner| folder.join(inner)));
            members.push((folder, member));
        }
    }
    let mut folders = Vec::new();
    let of = |folder: &Path, project: &Project| sources(folder, project);
    let mut sources: Vec<_> = of(root, &project);
    sources.extend(members.iter().flat_map(|(folder, member)| of(folder, member)));
    while let Some(folder) = sources.pop() {
        if let Some(source) = read.folder(&folder)? {
            sources.extend(of(&folder, &source));
            folders.push(source);
        }
    }
    let tests = read.folder(&root.join("test"))?;
    let members = members.into_iter().map(|(_, member)| member).collect();
    Ok(ProjectInput { project, named, members, folders, tests, member_folders })
}

/// The name and the uuid of the package in a folder, as far as a project there says.
pub(super) fn package_in(folder: &Path) -> Option<(String, Uuid)> {
    let path = NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file())?;
    let project = Project::parse(&read_text(&path).ok()?).ok()?;
    Some((project.name?, project.uuid?))
}

fn sources(folder: &Path, project: &Project) -> Vec<PathBuf> {
    let paths = project.sources.values().filter_map(|source| match source {
        ProjectSource::Path(path) => Some(folder.join(path)),
        ProjectSource::Git(_) => None,
    });
    paths.collect()
}

struct Reader {
    /// Each folder is read once, so that circles end.
    seen: BTreeSet<PathBuf>,
}

impl Reader {
    /// The project of a folder, if it has one and was not read yet.
    fn folder(&mut self, folder: &Path) -> Result<Option<Project>, InputError> {
        if !self.seen.insert(canonical(folder)) {
            return Ok(None);
        }
        let Some(path) = NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file()) else {
            return Ok(None);
        };
        let project = Project::parse(&read_text(&path)?);
        project.map(Some).map_err(|error| InputError::Format { path, error })
    }
}

fn canonical(folder: &Path) -> PathBuf {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned())
}
