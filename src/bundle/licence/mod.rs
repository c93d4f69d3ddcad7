//! The licence of a package, as its tarball has it.

mod recognise;

use super::report::plain;
use crate::tree::{Limits, TreeError, read_files};
use recognise::recognise;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Read;

/// Most bytes of all licence files of one package.
const MOST_BYTES: u64 = 4 << 20;
/// What the names of licence files start with, in any case.
const NAMES: [&str; 4] = ["license", "licence", "copying", "unlicense"];
/// Names of project files; clients prefer the first.
const PROJECTS: [&str; 2] = ["JuliaProject.toml", "Project.toml"];

/// What a package says of its licence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Licence {
    /// The licence files at its root and in `LICENSES/`, by path.
    pub files: Vec<LicenceFile>,
    /// `license` in its project file.
    pub declared: Option<String>,
}

/// One licence file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LicenceFile {
    /// Its path in the package.
    pub path: String,
    /// The SPDX identifiers of the licences whose terms are in it, word for word; empty if none was
    /// recognised.
    pub ids: Vec<&'static str>,
    /// The first line of it that is no part of those licences and may change what they mean; its first line if none was recognised.
    pub other: Option<String>,
}

impl Licence {
    /// Reads the tarball of a package. Blocks.
    pub fn read(tarball: impl Read + Send, limits: &Limits) -> Result<Self, TreeError> {
        let limits = Limits { kept_bytes: limits.kept_bytes.min(MOST_BYTES), ..limits.clone() };
        let mut licence = Self::default();
        for file in read_files(tarball, &limits, &|path| is_licence(path) || PROJECTS.contains(&path))? {
            let text = String::from_utf8_lossy(&file.contents);
            if is_licence(&file.path) {
                let found = recognise(&text);
                licence.files.push(LicenceFile {
                    path: plain(&file.path),
                    ids: found.ids.into_iter().collect(),
                    other: found.other.as_deref().map(plain),
                });
            } else if licence.declared.is_none() {
                licence.declared = declared(&text).as_deref().map(plain);
            }
        }
        Ok(licence)
    }
}

impl fmt::Display for Licence {
    /// For a cell of a table: `MIT`, or what a person must look at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = self.files.len() > 1;
        for (at, file) in self.files.iter().enumerate() {
            let (ids, path) = (file.ids.join(" AND "), &file.path);
            f.write_str(if at > 0 { "; " } else { "" })?;
            match (&file.other, file.ids.is_empty()) {
                (None, true) => write!(f, "{path}, empty")?,
                (None, false) if many => write!(f, "{ids} ({path})")?,
                (None, false) => f.write_str(&ids)?,
                (Some(line), true) => write!(f, "{path}, not recognised: “{line}”")?,
                (Some(line), false) => write!(f, "{ids}, with other text in {path}: “{line}”")?,
            }
        }
        if self.files.is_empty() {
            f.write_str("none found")?;
        }
        let said = self.files.iter().flat_map(|file| &file.ids).copied().collect::<Vec<_>>().join(" AND ");
        match &self.declared {
            Some(declared) if *declared != said => write!(f, "; Project.toml says “{declared}”"),
            _ => Ok(()),
        }
    }
}

/// Whether a path is that of a licence: `LICENSE.md`, `COPYING.LESSER`, `License-MIT`, or anything
/// in the folder that REUSE prescribes.
fn is_licence(path: &str) -> bool {
    if let Some((folder, name)) = path.split_once('/') {
        return folder == "LICENSES" && !name.contains('/');
    }
    let name = path.to_ascii_lowercase();
    let rest = NAMES.iter().find_map(|start| name.strip_prefix(start));
    // `license.jl` is code.
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '_']) && rest != ".jl")
}

fn declared(project: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Project {
        license: Option<String>,
    }
    toml::from_str::<Project>(project).ok()?.license
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{TarEntry, write_tar_gz};

    const UNLICENSE: &str = include_str!("texts/Unlicense.txt");
    const BSL: &str = include_str!("texts/BSL-1.0.txt");

    fn read(files: &[(&str, &str)]) -> String {
        let mut tarball = Vec::new();
        let entries = files.iter().map(|&(path, text)| TarEntry::file(path, text, false));
        write_tar_gz(entries, &mut tarball, 6).unwrap();
        Licence::read(tarball.as_slice(), &Limits::default()).unwrap().to_string()
    }

    #[test]
    fn licences_are_found_by_the_names_that_people_give_them() {
        for path in
            ["LICENSE", "LICENSE.md", "Licence.txt", "license.rst", "COPYING", "UNLICENSE", "LICENSES/Unlicense.txt"]
        {
            assert_eq!(read(&[(path, UNLICENSE), ("src/X.jl", "")]), "Unlicense", "{path}");
        }
        for path in ["src/LICENSE", "license.jl", "licensed", "README.md", "LICENSES/a/b"] {
            assert_eq!(read(&[(path, UNLICENSE)]), "none found", "{path}");
        }
    }

    #[test]
    fn a_cell_says_what_a_person_must_look_at() {
        assert_eq!(read(&[("LICENSE-A", UNLICENSE), ("LICENSE-B", BSL)]), "Unlicense (LICENSE-A); BSL-1.0 (LICENSE-B)");
        assert_eq!(read(&[("LICENSE.md", "Ask Ada.\nShe knows.")]), "LICENSE.md, not recognised: “Ask Ada.”");
        assert_eq!(read(&[("LICENSE", "")]), "LICENSE, empty");
        let more = format!("{UNLICENSE}\nNot on Sundays.");
        assert_eq!(read(&[("LICENSE", &more)]), "Unlicense, with other text in LICENSE: “Not on Sundays.”");
        assert_eq!(read(&[("LICENSE", "a\x1b[31m\u{202e}b")]), "LICENSE, not recognised: “a\u{fffd}[31m\u{fffd}b”");
    }

    #[test]
    fn what_the_project_file_says_is_shown_when_it_differs() {
        let project = |said: &str| format!("name = \"X\"\nlicense = {said}\n");
        assert_eq!(read(&[("LICENSE", UNLICENSE), ("Project.toml", &project("\"Unlicense\""))]), "Unlicense");
        assert_eq!(
            read(&[("LICENSE", UNLICENSE), ("Project.toml", &project("\"MIT\""))]),
            "Unlicense; Project.toml says “MIT”"
        );
        assert_eq!(read(&[("Project.toml", &project("\"MIT\""))]), "none found; Project.toml says “MIT”");
        for broken in ["[", "license = 3", "license = [\"MIT\"]", "\u{0}"] {
            assert_eq!(read(&[("Project.toml", broken)]), "none found", "{broken}");
        }
    }

    #[test]
    fn a_huge_licence_is_refused_and_not_held() {
        let mut tarball = Vec::new();
        let huge = vec![b'x'; usize::try_from(MOST_BYTES).unwrap() + 1];
        write_tar_gz([TarEntry::file("LICENSE", huge, false)], &mut tarball, 6).unwrap();
        let refused = Licence::read(tarball.as_slice(), &Limits::default());
        assert!(matches!(refused, Err(TreeError::Limit { .. })), "{refused:?}");
    }
}
