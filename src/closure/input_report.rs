//! An input as reports name it. Every key is always there, `null` where nothing is known.

use super::{Content, Input};
use crate::exchange::Wish;
use crate::julia::FileKind;
use serde::Serialize;
use std::path::Path;

/// An input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputReport {
    /// As it was named or found.
    pub path: String,
    /// What it is, if that could be told.
    pub kind: Option<InputKind>,
    /// The format of a manifest.
    pub manifest_format: Option<String>,
    /// The Julia that wrote a manifest.
    pub julia_version: Option<String>,
    /// Why it could not be used, with file and line.
    pub error: Option<String>,
    /// What the reader was not sure of.
    pub warnings: Vec<String>,
}

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// A manifest.
    Manifest,
    /// An `Artifacts.toml`.
    Artifacts,
    /// A list of misses.
    Misses,
    /// A request.
    Request,
    /// A project.
    Project,
    /// Names on the command line.
    Names,
}

impl InputReport {
    /// A path of which nothing is known.
    pub fn of(path: &Path) -> Self {
        Self {
            path: path.display().to_string(),
            kind: None,
            manifest_format: None,
            julia_version: None,
            error: None,
            warnings: Vec::new(),
        }
    }

    /// An input as it was read.
    pub fn new(input: &Input) -> Self {
        let report = Self { kind: input.kind.map(InputKind::from), ..Self::of(&input.path) };
        match &input.content {
            Ok(Content::Manifest(manifest)) => Self {
                manifest_format: Some(manifest.format.clone()),
                julia_version: manifest.julia_version.clone(),
                warnings: manifest.warnings.clone(),
                ..report
            },
            Ok(Content::Request(request)) => Self { warnings: wishes(&request.wishes).into_iter().collect(), ..report },
            Ok(Content::Project(_)) => Self { warnings: vec![NO_JULIA.to_owned()], ..report },
            Ok(Content::Resolved(resolved)) => {
                let kind = report.kind.or(Some(InputKind::Names));
                Self { kind, warnings: resolved.notes.iter().cloned().collect(), ..report }
            }
            Ok(Content::Versions(_)) => Self { kind: Some(InputKind::Names), ..report },
            Ok(Content::Artifacts(..) | Content::Misses(_)) => report,
            Err(error) => Self { error: Some(one_line(&error.to_string())), ..report },
        }
    }
}

/// Said of a project that was found, not named.
const NO_JULIA: &str = "this project has no manifest, and no Julia is known to choose versions for: give --julia, or set \
                        prewarm.julia; nothing is taken from it";

/// What is not done about the wishes of a request.
fn wishes(wishes: &[Wish]) -> Option<String> {
    let first = wishes.first()?;
    let others = wishes.len() - 1;
    let more = if others == 0 { String::new() } else { format!(" and {others} more") };
    Some(format!("wishes ({first}{more}) are not prewarmed: they are resolved by `airlock bundle export --for`"))
}

impl From<FileKind> for InputKind {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::Manifest => Self::Manifest,
            FileKind::Artifacts => Self::Artifacts,
            FileKind::MissList => Self::Misses,
            FileKind::Request => Self::Request,
            FileKind::Project => Self::Project,
        }
    }
}

/// On one line: a text may quote an upstream or a tarball, and must not forge lines.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
